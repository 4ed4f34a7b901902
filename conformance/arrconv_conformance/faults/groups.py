"""Faults of groups: offsets, orders, and paths of their own for some numbers of channels."""

# ruff: noqa: E501 - each fault is one row of a table

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from arrconv_conformance.faults.call import (
    BIAS,
    FORWARD,
    INPUT,
    TRANSPOSED,
    TRANSPOSED_INPUT,
    TRANSPOSED_WEIGHT,
    WEIGHT,
)
from arrconv_conformance.faults.fault import Broken, Fault
from arrconv_conformance.faults.walk import along, with_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv_conformance.data import Array
    from arrconv_conformance.faults.call import Call


def split(array: Array, groups: int, axis: int = 0) -> Array:
    """With the axis of channels cut into groups, which come first."""
    moved = np.moveaxis(array, axis, 0)
    return moved.reshape(groups, len(moved) // groups, *moved.shape[1:])


def joined(array: Array, axis: int = 0) -> Array:
    """The reverse of `split`."""
    return np.ascontiguousarray(np.moveaxis(array.reshape(-1, *array.shape[2:]), 0, axis))


def _by_weights(call: Call, how: Callable[[Array], Array]) -> Array:
    """With the weights of the groups rearranged; of a weight gradient that is the result."""
    if call.is_empty or call.groups == 1:
        return call.right()
    if call.role == "w":
        return joined(how(split(call.right(), call.groups)))
    return call.with_operands(w=joined(how(split(call["w"], call.groups)))).right()


def _by_channels(call: Call, role: str, how: Callable[[Array], Array]) -> Array:
    """With the channels of an operand, or of the result, rearranged."""
    if call.is_empty or call.groups == 1:
        return call.right()

    def change(array: Array) -> Array:
        return joined(how(split(array, call.groups, 1)), 1)

    if role == call.role:
        return change(call.right())
    return call.with_operands(**{role: change(call[role])}).right()  # type: ignore[index]


def _rotated(groups: Array) -> Array:
    return np.roll(groups, 1, axis=0)


def _first(groups: Array) -> Array:
    return np.broadcast_to(groups[:1], groups.shape)


def _interleaved(groups: Array) -> Array:
    return np.swapaxes(groups, 0, 1)


def _roles_exchanged(w: Array) -> Array:
    g, o, c, *kernel = w.shape
    return np.swapaxes(w.reshape(g, c, o, *kernel), 1, 2)


def _is_depthwise(call: Call) -> bool:
    return call.groups > 1 and call.geometry.in_channels == call.groups


def _is_between(call: Call) -> bool:
    return 1 < call.groups < call.geometry.in_channels


def _multiplies(call: Call) -> bool:
    return call.geometry.out_channels >= 2 * call.geometry.in_channels


def _where(condition: Callable[[Call], bool], broken: Broken) -> Broken:
    return lambda call: broken(call) if condition(call) and not call.is_empty else call.right()


def _no_dilation(call: Call) -> Array:
    return along(call, lambda axis: replace(axis, dilation=1))


def _one_stride(call: Call) -> Array:
    return with_numbers(call, stride=[axis.stride for axis in call.geometry.axes[:1]] * call.ndim)


def _no_stride(call: Call) -> Array:
    return along(call, lambda axis: replace(axis, stride=1))


def _multiplier_last(groups: Array) -> Array:
    """Outputs in the order (multiplier, group)."""
    return np.swapaxes(groups, 0, 1)


def _offset_by_inputs(call: Call) -> Array:
    """The group's first output channel computed from its number of input channels."""
    if call.is_empty or call.groups == 1:
        return call.right()
    w = call["w"]
    inputs, outputs = w.shape[1], len(w) // call.groups
    first = (np.arange(call.groups) * inputs)[:, None] + np.arange(outputs)
    taken = np.ascontiguousarray(w[first.reshape(-1) % len(w)])
    return call.with_operands(w=taken).right()


def _sum_of_groups(call: Call) -> Array:
    """A weight gradient added up over the groups, as though they shared a weight."""
    if call.is_empty or call.groups == 1:
        return call.right()
    groups = split(call.right(), call.groups)
    return joined(np.broadcast_to(groups.sum(axis=0, keepdims=True).astype(groups.dtype), groups.shape))


def _last_group_unwritten(call: Call) -> Array:
    if call.is_empty or call.groups == 1:
        return call.right()

    def change(groups: Array) -> Array:
        changed = groups.copy()
        changed[-1] = 0
        return changed

    return _by_channels(call, call.role, change) if call.role != "w" else _by_weights(call, change)


def _first_bias(call: Call) -> Array:
    """The bias of the first group for all."""
    if "bias" not in call.operands or call.is_empty or call.groups == 1:
        return call.right()
    return call.with_operands(bias=joined(_first(split(call["bias"], call.groups)))).right()


def _first_number_of_bias(call: Call) -> Array:
    """The first number of the bias for all channels, where there are groups."""
    if "bias" not in call.operands or call.is_empty or call.groups == 1:
        return call.right()
    return call.with_operands(bias=np.full_like(call["bias"], call["bias"][0])).right()


def _channels_last_groups(call: Call) -> Array:
    """Groups of an array whose channels are last, cut as though they were first."""
    x = call["x"]
    strides = [abs(stride) for stride in x.strides]
    is_last = x.ndim > 2 and strides[1] == min(strides) and x.shape[1] > 1 and not x.flags.c_contiguous
    return _by_channels(call, "x", _interleaved) if is_last and call.groups > 1 else call.right()


def _four_of_channels(call: Call) -> Array:
    """A path for multiples of four outputs that rotates the groups."""
    return _by_weights(call, _rotated) if call.geometry.out_channels % 4 == 0 else call.right()


def _no_remainder_of_depthwise(call: Call) -> Array:
    """Depthwise channels four at a time, and the rest unwritten."""
    if not _is_depthwise(call) or call.is_empty or call.groups < 4:
        return call.right()
    result = call.right()
    channels = result if call.role == "w" else np.moveaxis(result, 1, 0)
    channels[len(channels) // 4 * 4 :] = 0
    return result


def _shared_images(call: Call) -> Array:
    """The groups of the first image for all."""
    if call.is_empty or call.groups == 1:
        return call.right()
    x = call["x"].copy()
    x[1:, x.shape[1] // call.groups :] = x[:1, x.shape[1] // call.groups :]
    return call.with_operands(x=x).right()


# fmt: off
FAULTS = [
    Fault("groups' weights rotated", "a wrong group offset", lambda call: _by_weights(call, _rotated), (FORWARD,)),
    Fault("groups' weights rotated in the input gradient", "a wrong group offset", lambda call: _by_weights(call, _rotated), (INPUT,)),
    Fault("groups rotated in the weight gradient", "a wrong group offset", lambda call: _by_weights(call, _rotated), (WEIGHT,)),
    Fault("groups' weights rotated in the transposed pass", "a wrong group offset", lambda call: _by_weights(call, _rotated), (TRANSPOSED,)),
    Fault("first group for all", "groups ignored by the weights", lambda call: _by_weights(call, _first), (TRANSPOSED,)),
    Fault("first group's inputs for all", "groups ignored by x", lambda call: _by_channels(call, "x", _first), (FORWARD, WEIGHT), "https://github.com/pytorch/pytorch/issues/19912"),
    Fault("first group's outputs for all", "groups ignored by y", lambda call: _by_channels(call, "y", _first), (INPUT, TRANSPOSED)),
    Fault("first group's weight gradient for all", "a gradient of one group", lambda call: _by_weights(call, _first), (WEIGHT,), "https://github.com/pytorch/pytorch/issues/51430"),
    Fault("weight gradients of the groups added up", "a shared weight", _sum_of_groups, (WEIGHT, TRANSPOSED_WEIGHT)),
    Fault("roles exchanged in a group", "(C/g, O/g) for (O/g, C/g)", lambda call: _by_weights(call, _roles_exchanged), (TRANSPOSED,)),
    Fault("roles exchanged in a group's weight gradient", "(C/g, O/g) for (O/g, C/g)", lambda call: _by_weights(call, lambda w: np.swapaxes(w, 1, 2).reshape(w.shape)), (WEIGHT, TRANSPOSED_WEIGHT)),
    Fault("outputs interleaved", "(O/g, g) for (g, O/g)", lambda call: _by_channels(call, "y", _interleaved), (FORWARD,)),
    Fault("inputs interleaved", "(C/g, g) for (g, C/g)", lambda call: _by_channels(call, "x", _interleaved), (FORWARD, WEIGHT, INPUT)),
    Fault("group offset by the number of inputs", "C/g for O/g", _offset_by_inputs, (FORWARD, TRANSPOSED, INPUT)),
    Fault("last group unwritten", "a loop that ends early", _last_group_unwritten),
    Fault("groups wrong unless depthwise", "a path for one channel per group", _where(_is_between, lambda call: _by_weights(call, _rotated)), (FORWARD,)),
    Fault("groups wrong with 1 < groups < channels and a multiplier", "a path for equal channels", _where(lambda call: _is_between(call) and _multiplies(call), lambda call: _by_weights(call, _interleaved))),
    Fault("depthwise outputs interleaved", "(multiplier, channel) for (channel, multiplier)", _where(_is_depthwise, lambda call: _by_channels(call, "y", _multiplier_last)), (FORWARD, INPUT, WEIGHT)),
    Fault("depthwise weights of the first multiplier", "a multiplier of one", _where(lambda call: _is_depthwise(call) and _multiplies(call), lambda call: _by_weights(call, lambda w: np.broadcast_to(w[:, :1], w.shape)))),
    Fault("depthwise ignores the dilation", "a path of its own", _where(_is_depthwise, _no_dilation), link="https://github.com/Tencent/ncnn/issues/315"),
    Fault("depthwise has one stride", "a path for equal strides", _where(_is_depthwise, _one_stride)),
    Fault("depthwise weight gradient without the stride", "a path for stride 1", _where(_is_depthwise, _no_stride), (WEIGHT,), "https://github.com/tracel-ai/burn/pull/1891"),
    Fault("depthwise channels beyond the last four unwritten", "a vector loop without remainder", _no_remainder_of_depthwise),
    Fault("groups wrong with channels last", "an offset for channels first", _channels_last_groups, (FORWARD, WEIGHT)),
    Fault("groups wrong for multiples of four", "a vector path", _four_of_channels, (FORWARD, INPUT), "https://github.com/ROCm/composable_kernel/pull/2478"),
    Fault("groups of the first image for all", "an offset without the batch", _shared_images, (FORWARD, WEIGHT)),
    Fault("bias of the first group for all", "no offset for the bias", _first_bias, (FORWARD,)),
    Fault("first number of the bias for all, in groups", "a scalar for an array", _first_number_of_bias, (TRANSPOSED,)),
    Fault("dilation ignored in groups", "a path of its own", _where(lambda call: call.groups > 1, _no_dilation), (TRANSPOSED, TRANSPOSED_INPUT, INPUT, WEIGHT)),
    Fault("stride ignored in groups' gradients", "a path of its own", _where(lambda call: call.groups > 1, _no_stride), (INPUT, WEIGHT)),
    Fault("bias gradient of the first group for all", "groups where there are none", _where(lambda call: call.groups > 1, lambda call: joined(_first(split(call.right(), call.groups)))), (BIAS,)),
]
# fmt: on
"""Faults of groups."""
