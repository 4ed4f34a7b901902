"""Faults of the loops over space: flips, exchanged axes, strides, dilations, sizes and remainders."""

# ruff: noqa: E501 - each fault is one row of a table

from __future__ import annotations

from dataclasses import replace
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv_conformance.faults.call import (
    FORWARD,
    INPUT,
    TRANSPOSED,
    TRANSPOSED_INPUT,
    TRANSPOSED_WEIGHT,
    WEIGHT,
)
from arrconv_conformance.faults.fault import Broken, Fault
from arrconv_conformance.faults.walk import Walk, along, walked, walks_of, with_numbers

if TYPE_CHECKING:
    from arrconv.axis import Axis
    from arrconv_conformance.data import Array
    from arrconv_conformance.faults.call import Call

PASSES = {
    "the forward pass": FORWARD,
    "the input gradient": INPUT,
    "the weight gradient": WEIGHT,
    "the transposed pass": TRANSPOSED,
    "its input gradient": TRANSPOSED_INPUT,
    "its weight gradient": TRANSPOSED_WEIGHT,
}


def fit(array: Array, like: Array) -> Array:
    """Cropped, or filled up with zeros, to the shape of another."""
    result = np.zeros_like(like)
    common = tuple(slice(min(a, b)) for a, b in zip(array.shape, like.shape, strict=True))
    result[common] = array[common]
    return result


def _flipped(call: Call, first: int = 0) -> Array:
    """With a flipped kernel: a result that is a weight is flipped itself."""
    space = tuple(range(2 + first, 2 + call.ndim))
    if call.role == "w":
        return np.ascontiguousarray(np.flip(call.right(), space))
    return call.with_operands(w=np.ascontiguousarray(np.flip(call["w"], space))).right()


def _column_major(call: Call) -> Array:
    """The taps of two axes, read as though the first were the fastest."""
    if call.ndim < 2:
        return call.right()

    def other(w: Array) -> Array:
        *lead, rows, columns = w.shape
        return np.ascontiguousarray(w.reshape(*lead, columns, rows).swapaxes(-1, -2))

    if call.role == "w":
        return other(call.right())
    return call.with_operands(w=other(call["w"])).right()


def _backwards(call: Call, name: str) -> Array:
    return with_numbers(call, **{name: [getattr(axis, name) for axis in call.geometry.axes][::-1]})


def _first_for_all(call: Call, name: str, at: int = 0) -> Array:
    axes = call.geometry.axes
    return with_numbers(call, **{name: [getattr(axes[at], name)] * len(axes)}) if axes else call.right()


def _no_dilation(axis: Axis) -> Axis:
    return replace(axis, dilation=1)


def _no_dilation_beside_stride(axis: Axis) -> Axis:
    return replace(axis, dilation=1) if axis.stride > 1 else axis


def _last_windows(axis: Axis) -> Axis:
    """The remainder of an inexact division at the begin."""
    rest = axis.padded_size - axis.extent - (axis.output_size - 1) * axis.stride
    return replace(axis, begin=axis.begin - max(rest, 0))


def _short_stride(axis: Axis) -> Axis:
    return replace(axis, stride=min(axis.stride, axis.extent))


def _rounded_up(call: Call) -> Array:
    more = [(axis.begin, axis.end + axis.stride - 1) for axis in call.geometry.axes]
    return call.with_options(padding=tuple(more)).right()


def _towards_zero(call: Call) -> Array:
    def more(axis: Axis) -> int:
        beyond = axis.extent - axis.padded_size
        return beyond if 0 < beyond < axis.stride else 0

    return call.with_options(padding=tuple((axis.begin, axis.end + more(axis)) for axis in call.geometry.axes)).right()


def _pointwise(call: Call, change: Broken) -> Array:
    """What a path of its own for kernels of one tap gets wrong."""
    return change(call) if call.ndim and max(call.geometry.kernel_size) == 1 else call.right()


def _without_taps(call: Call, lost: list[Array]) -> Array:
    """Without the taps of which any axis says that they are lost; their gradient is zero."""
    dead = np.zeros(call.geometry.kernel_size, bool)
    for axis, gone in enumerate(lost):
        dead |= np.asarray(gone, bool).reshape([-1 if at == axis else 1 for at in range(call.ndim)])
    if not dead.any():
        return call.right()
    if call.role == "w":
        result = call.right()
        result[..., dead] = 0
        return result
    w = call["w"].copy()
    w[..., dead] = 0
    return call.with_operands(w=w).right()


def _beyond_stride(call: Call) -> Array:
    """Taps in phases of the stride, which miss those that a common factor with the dilation brings together."""

    def lost(axis: Axis) -> Array:
        common = gcd(axis.stride, axis.dilation)
        first = axis.stride // common
        return (np.arange(axis.kernel_size) >= first) if common > 1 else np.zeros(axis.kernel_size, bool)

    return _without_taps(call, [lost(axis) for axis in call.geometry.axes])


def _first_phase(call: Call) -> Array:
    """The first of the products into which a stride splits an input gradient, and no other."""
    if call.is_empty:
        return call.right()
    result = call.right()
    for number, axis in enumerate(call.geometry.axes, start=2):
        phases = (np.arange(axis.input_size) + axis.begin) % axis.stride
        shape = [1] * result.ndim
        shape[number] = -1
        result = np.where((phases == 0).reshape(shape), result, result.dtype.type(0))
    return result


def _taps_beyond(call: Call, most: int) -> Array:
    return _without_taps(call, [np.arange(size) >= most for size in call.geometry.kernel_size])


def _last_tap(call: Call, which: int) -> Array:
    dead = np.zeros(call.geometry.kernel_size, bool)
    dead[(which,) * call.ndim] = True
    if call.role == "w":
        result = call.right()
        result[..., dead] = 0
        return result
    w = call["w"].copy()
    w[..., dead] = 0
    return call.with_operands(w=w).right()


def _stride_for_dilation(axis: Axis) -> Axis:
    return replace(axis, stride=axis.dilation, dilation=axis.stride)


def _first_slack_only(call: Call) -> Array:
    """An input gradient in which at most one trailing position comes back; the others move the rest along."""
    if call.is_empty:
        return call.right()
    shift = [max(0, axis.slack - 1) for axis in call.geometry.axes]
    return with_numbers(call, begin=[axis.begin - by for axis, by in zip(call.geometry.axes, shift, strict=True)])


def _without_slack(call: Call) -> Array:
    """An input gradient of the size that a transposed convolution has by itself."""
    right = call.right()
    sizes = tuple(slice(max(0, axis.input_size - max(0, axis.slack))) for axis in call.geometry.axes)
    index: tuple[Any, ...] = (..., *sizes)
    return np.ascontiguousarray(right[index])


def _junk_in_gaps(call: Call) -> Array:
    """NaN, or a large number, in the inputs that no window sees."""
    result = call.right()
    if call.is_empty or call.mode != "zeros":
        return result
    seen = np.ones((1,), bool)
    walks: list[Walk] = walks_of(call)
    for number, walk in enumerate(walks):
        axis = call.geometry.axes[number]
        steps = np.arange(axis.output_size)[:, None] * axis.stride + np.arange(axis.kernel_size) * axis.dilation
        found = walk.reads[steps.reshape(-1)]
        here = np.isin(np.arange(axis.input_size), found)
        seen = seen[..., None] & here if number else here
    result[..., ~seen] = 77 if result.dtype.kind in "iu" else np.nan
    return result


def _not_square(call: Call) -> Array:
    """The gradient at a position computed from the number of rows, in place of columns."""
    axes = call.geometry.axes
    if call.is_empty or len(axes) < 2:
        return call.right()
    begins = [axis.begin for axis in axes]
    begins[-1] += axes[-1].output_size - axes[-2].output_size
    return with_numbers(call, begin=begins)


def _depth_as_batch(call: Call) -> Array:
    """Three dimensions by two: the stride of the first axis is forgotten."""
    if call.ndim < 3:
        return call.right()
    return with_numbers(call, stride=[1, *(axis.stride for axis in call.geometry.axes[1:])])


def _zero_windows_at_begin(call: Call) -> Array:
    """Windows that begin in the padding are left out."""

    def change(walk: Walk) -> Walk:
        inside = np.flatnonzero(walk.reads >= 0)
        return (
            walk
            if not len(inside)
            else walk.reading(lambda reads: np.where(np.arange(len(reads)) < inside[0] + (inside[0] > 0), -1, reads))
        )

    if call.is_empty or call.mode != "zeros":
        return call.right()
    return walked(call, [change(walk) for walk in walks_of(call)])


_EXCHANGED = [
    Fault(
        f"{name}s exchanged in {where}",
        f"the {name} of the last axis for that of the first",
        lambda call, name=name: _backwards(call, name),  # type: ignore[misc]
        (member,),
    )
    for name in ("stride", "dilation")
    for where, member in PASSES.items()
]

# fmt: off
FAULTS = [
    Fault("kernel flipped", "convolution for correlation", _flipped, (FORWARD,)),
    Fault("transposed kernel flipped", "a flip on top of the transposition", _flipped, (TRANSPOSED,)),
    Fault("kernel flipped in the input gradient", "a second flip", _flipped, (INPUT,)),
    Fault("kernel flipped in the weight gradient", "a convolution of x by gy", _flipped, (WEIGHT,)),
    Fault("kernel flipped in the transposed gradients", "conv for conv_transpose", _flipped, (TRANSPOSED_INPUT, TRANSPOSED_WEIGHT)),
    Fault("kernel flipped but for its first axis", "two-dimensional code for three axes", lambda call: _flipped(call, 1), (FORWARD, INPUT)),
    Fault("taps in column-major order", "a kernel that was stored by another language", _column_major, (FORWARD,)),
    Fault("taps of the weight gradient in column-major order", "a gradient written by another language", _column_major, (WEIGHT, TRANSPOSED_WEIGHT)),
    *_EXCHANGED,
    Fault("first stride for all axes", "one stride per call", lambda call: _first_for_all(call, "stride"), link="https://github.com/huggingface/candle/issues/575"),
    Fault("last dilation for all axes", "one dilation per call", lambda call: _first_for_all(call, "dilation", -1)),
    Fault("first stride of three forgotten", "three dimensions as a batch of two", _depth_as_batch),
    Fault("stride and dilation exchanged", "two arguments in the wrong order", lambda call: along(call, _stride_for_dilation), (INPUT, TRANSPOSED)),
    Fault("dilation ignored", "an option that is accepted", lambda call: along(call, _no_dilation), (FORWARD,), "https://github.com/Tencent/ncnn/issues/315"),
    Fault("dilation not in the input gradient", "a forgotten pass", lambda call: along(call, _no_dilation), (INPUT,)),
    Fault("dilation not in the weight gradient", "a forgotten pass", lambda call: along(call, _no_dilation), (WEIGHT,)),
    Fault("dilation not in the transposed pass", "a forgotten pass", lambda call: along(call, _no_dilation), (TRANSPOSED,), "https://github.com/apache/mxnet/issues/11203"),
    Fault("dilation not in the transposed gradients", "a forgotten pass", lambda call: along(call, _no_dilation), (TRANSPOSED_INPUT, TRANSPOSED_WEIGHT)),
    Fault("dilation ignored beside a stride", "a kernel that has one of both", lambda call: along(call, _no_dilation_beside_stride), (FORWARD, TRANSPOSED)),
    Fault("dilation ignored beside a stride, in gradients", "a kernel that has one of both", lambda call: along(call, _no_dilation_beside_stride), (INPUT, WEIGHT)),
    Fault("taps lost where stride and dilation share a factor", "phases of the stride that hold one tap each", _beyond_stride, (INPUT, TRANSPOSED)),
    Fault("first phase of the stride alone", "one product of several is launched", _first_phase, (INPUT, TRANSPOSED), "https://github.com/ROCm/rocm-libraries/pull/7732"),
    Fault("remainder at the begin", "windows aligned with the end", lambda call: along(call, _last_windows), (FORWARD,)),
    Fault("remainder at the begin in the weight gradient", "windows aligned with the end", lambda call: along(call, _last_windows), (WEIGHT,)),
    Fault("size rounded up", "ceil for floor", _rounded_up, (FORWARD,)),
    Fault("size divided towards zero", "a division that rounds a negative number up", _towards_zero, (FORWARD,), "https://github.com/pytorch/pytorch/issues/9592"),
    Fault("stride cut to the kernel", "no gaps between windows", lambda call: along(call, _short_stride)),
    Fault("junk where no window looks", "memory that is not cleared between windows", _junk_in_gaps, (INPUT, TRANSPOSED)),
    Fault("no slack", "an input gradient of the transposed size", _without_slack, (INPUT,), "https://github.com/tracel-ai/burn/pull/4806"),
    Fault("slack of one", "a remainder that is 0 or 1", _first_slack_only, (INPUT,), "https://github.com/tracel-ai/burn/pull/4806"),
    Fault("rows for columns", "the height in the place of the width", _not_square, (INPUT,), "https://github.com/renmengye/np-conv2d/pull/2"),
    Fault("first tap dropped", "a loop that starts late", lambda call: _last_tap(call, 0)),
    Fault("last tap dropped", "a loop that ends early", lambda call: _last_tap(call, -1), (FORWARD,)),
    Fault("last tap of the weight gradient dropped", "a loop that ends early", lambda call: _last_tap(call, -1), (WEIGHT,), "https://github.com/pytorch/pytorch/issues/50042"),
    Fault("taps from the eighth on dropped", "a table for kernels up to seven", lambda call: _taps_beyond(call, 7)),
    Fault("taps from the fifth on dropped", "unrolled kernels up to four", lambda call: _taps_beyond(call, 4), (WEIGHT,)),
    Fault("kernel of one tap ignores the stride", "a plain matrix product", lambda call: _pointwise(call, lambda c: along(c, lambda axis: replace(axis, stride=1)))),
    Fault("kernel of one tap ignores the padding", "a plain matrix product", lambda call: _pointwise(call, lambda c: along(c, lambda axis: replace(axis, begin=0))), (FORWARD, WEIGHT)),
    Fault("window at the edge of the padding cut", "vector code that wants whole windows", _zero_windows_at_begin, (FORWARD, WEIGHT), "https://github.com/modular/modular/issues/6712"),
]
# fmt: on
"""Faults of the loops over space."""
