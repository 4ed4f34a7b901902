"""Faults of padding: amounts, names, modes and their adjoints, and the output padding of the transposed pass."""

# ruff: noqa: E501 - each fault is one row of a table

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv_conformance.faults.axes import PASSES
from arrconv_conformance.faults.call import (
    FORWARD,
    INPUT,
    TRANSPOSED,
    TRANSPOSED_INPUT,
    TRANSPOSED_WEIGHT,
    WEIGHT,
)
from arrconv_conformance.faults.fault import Broken, Fault
from arrconv_conformance.faults.walk import Walk, along, beyond, reads, walked, walks_of, with_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv.axis import Axis
    from arrconv_conformance.data import Array
    from arrconv_conformance.faults.call import Call

FROM_X = (FORWARD, WEIGHT)


def _swapped(axis: Axis) -> Axis:
    return replace(axis, begin=axis.end)


def _begins_exchanged(call: Call) -> Array:
    return with_numbers(call, begin=[axis.begin for axis in call.geometry.axes][::-1])


def _begin_at_both_ends(axis: Axis) -> Axis:
    """Half of the sum at either end, the odd one at the begin."""
    return replace(axis, begin=axis.begin + axis.end - (axis.begin + axis.end) // 2)


def _by_name(call: Call, change: Callable[[Axis], Axis], *names: str) -> Array:
    return along(call, change) if call.named in names else call.right()


def _total(axis: Axis, *, stride: int | None = None, extent: int | None = None) -> int:
    """The padding that keeps ⌈size/stride⌉ outputs."""
    s, e = stride or axis.stride, extent or axis.extent
    return max(0, (-(-axis.input_size // s) - 1) * s + e - axis.input_size)


def _odd_side(axis: Axis) -> Axis:
    return replace(axis, begin=axis.end)


def _without_stride(axis: Axis) -> Axis:
    return replace(axis, begin=_total(axis, stride=1) // 2)


def _without_dilation(axis: Axis) -> Axis:
    return replace(axis, begin=_total(axis, extent=axis.kernel_size) // 2)


def _half_the_kernel(axis: Axis) -> Axis:
    return replace(axis, begin=axis.kernel_size // 2)


def _clamped(axis: Axis) -> Axis:
    return replace(axis, begin=min(axis.begin, axis.kernel_size - 1))


def _unsigned(axis: Axis) -> Axis:
    return replace(axis, begin=max(axis.begin, 0))


def _read_on(call: Call) -> Array:
    """A crop at the begin beside padding at the end: the end reads on, in what comes next in memory."""

    def walk(axis: Axis) -> Walk:
        right = Walk.of(axis, call.mode)
        if axis.begin >= 0 or axis.end <= 0 or not axis.input_size:
            return right
        around = np.arange(len(right.reads)) - axis.begin
        return right.reading(lambda _: np.where(around < axis.input_size, around, around % axis.input_size))

    return call.right() if call.is_empty else walked(call, [walk(axis) for axis in call.geometry.axes])


def _net(axis: Axis) -> Axis:
    """What is cropped at one end taken from the padding of the other."""
    if axis.begin * axis.end >= 0:
        return axis
    return replace(axis, begin=max(0, axis.begin + axis.end))


def _no_wide_padding(call: Call) -> Array:
    """Of outputs that see nothing but padding, uninitialised memory."""
    result = call.right()
    for number, axis in enumerate(call.geometry.axes, start=2):
        if call.is_empty or call.mode != "zeros" or axis.begin < axis.extent:
            continue
        blind = np.arange(axis.output_size) * axis.stride + axis.extent <= axis.begin
        np.moveaxis(result, number, 0)[blind] = 77 if result.dtype.kind in "iu" else np.nan
    return result


def _in_mode(call: Call, source: Callable[[Array, int, str], Array], *modes: str) -> Array:
    """With another map from padded positions to inputs, in some modes."""
    if call.is_empty or call.mode not in modes:
        return call.right()
    return walked(call, [Walk.of(axis, call.mode, source) for axis in call.geometry.axes])


def _once_round(positions: Array, size: int, mode: str) -> Array:
    return np.where((positions >= -size) & (positions < 2 * size), reads(positions, size, mode), -1)


def _clipped_after_once(positions: Array, size: int, _: str) -> Array:
    """A mirror that is good for one reflection."""
    folded = np.where(positions < 0, -positions, np.where(positions >= size, 2 * (size - 1) - positions, positions))
    return np.asarray(folded.clip(0, size - 1))


def _edge_repeated(positions: Array, size: int, _: str) -> Array:
    around = positions % (2 * size)
    return np.asarray(np.minimum(around, 2 * size - 1 - around))


def _short_period(positions: Array, size: int, _: str) -> Array:
    inside = (positions >= 0) & (positions < size)
    return np.where(inside, positions, positions % max(1, size - 1))


def _as(mode: str) -> Callable[[Array, int, str], Array]:
    return lambda positions, size, _: reads(positions, size, mode)


def _one_end(at_end: bool) -> Callable[[Array, int, str], Array]:
    """Zeros at one end."""

    def source(positions: Array, size: int, mode: str) -> Array:
        lost = positions >= size if at_end else positions < 0
        return np.where(lost, -1, reads(positions, size, mode))

    return source


def _one_axis(call: Call, last: bool) -> Array:
    """The mode along one axis alone, zeros along the others."""
    if call.is_empty or call.mode == "zeros":
        return call.right()
    axes = list(enumerate(call.geometry.axes))
    kept = len(axes) - 1 if last else 0
    return walked(call, [Walk.of(axis, call.mode if number == kept else "zeros") for number, axis in axes])


def _no_corners(call: Call) -> Array:
    """Positions that lie beyond two edges are left empty."""
    if call.is_empty or call.mode == "zeros":
        return call.right()
    count: Array = np.zeros((), int)
    for axis in call.geometry.axes:
        count = count[..., None] + beyond(axis)
    return walked(call, walks_of(call), lambda padded: np.where(count > 1, padded.dtype.type(0), padded))


def _overwritten(call: Call) -> Array:
    return call.right() if call.is_empty or call.mode == "zeros" else walked(call, walks_of(call), adds=False)


def _edge_twice(call: Call) -> Array:
    """The inputs at the edges counted twice where padding folds back on them."""
    if call.is_empty or call.mode not in ("reflect", "replicate"):
        return call.right()

    def factors(walk: Walk, axis: Axis) -> Array:
        outside = beyond(axis)
        inside_edge = ~outside & ((walk.reads == 0) | (walk.reads == axis.input_size - 1))
        return np.where(inside_edge & bool(outside.any()), 2, 1)

    scale: Array = np.ones((), int)
    walks = walks_of(call)
    for walk, axis in zip(walks, call.geometry.axes, strict=True):
        scale = scale[..., None] * factors(walk, axis)
    return walked(call, walks, lambda padded: padded * scale.astype(padded.dtype))


def _first_only(call: Call) -> Array:
    """The first position of the padding at each end is left out by the adjoint."""

    def source(positions: Array, size: int, mode: str) -> Array:
        return np.where((positions == -1) | (positions == size), -1, reads(positions, size, mode))

    return _in_mode(call, source, "circular", "reflect", "replicate")


def _capped(call: Call) -> Array:
    """No more padding than there are inputs, the rest zeros."""

    def source(positions: Array, size: int, mode: str) -> Array:
        most = size if mode == "circular" else size - 1
        return np.where((positions < -most) | (positions >= size + most), -1, reads(positions, size, mode))

    return _in_mode(call, source, "circular", "reflect")


def _exchanged_in_mode(call: Call) -> Array:
    return _begins_exchanged(call) if call.mode == "circular" else call.right()


def _halved(call: Call) -> Array:
    """Half of the amount at either end, as though it were a total."""
    return along(call, _begin_at_both_ends) if call.mode == "circular" else call.right()


def _empty_end(call: Call) -> Array:
    """`x[-0:]` is all of x: without padding at the end the begin gets none either."""

    def change(axis: Axis) -> Axis:
        return replace(axis, begin=0) if axis.end == 0 else axis

    return along(call, change) if call.mode == "circular" else call.right()


def _output_padding_first(call: Call) -> Array:
    extra = call.geometry.slack
    if call.is_empty or not any(extra):
        return call.right()
    return with_numbers(call, begin=[axis.begin + by for axis, by in zip(call.geometry.axes, extra, strict=True)])


def _output_padding_zeros(call: Call) -> Array:
    if call.is_empty or not any(call.geometry.slack):
        return call.right()
    wide = call.widened()
    result = wide.with_operands(bias=None).right()
    beside = np.ones(call.geometry.input_size, bool)
    beside[tuple(slice(axis.input_size - axis.slack) for axis in call.geometry.axes)] = False
    result[..., beside] = 0
    if "bias" in call.operands:
        result = result + wide["bias"].reshape(-1, *(1,) * call.ndim).astype(result.dtype)
    return call.rounded(result)


def _output_padding_ignored(call: Call) -> Array:
    """What lies in the output padding has no influence on a gradient."""
    kept: tuple[Any, ...] = (..., *(slice(axis.input_size - max(0, axis.slack)) for axis in call.geometry.axes))
    x = np.zeros_like(call["x"])
    x[kept] = call["x"][kept]
    return call.with_operands(x=x).right()


def _output_padding_exchanged(call: Call) -> Array:
    extra = call.options["output_padding"][::-1]
    limits = [max(axis.stride, axis.dilation) for axis in call.geometry.axes]
    if call.is_empty or any(by >= limit for by, limit in zip(extra, limits, strict=True)):
        return call.right()
    return call.with_options(output_padding=extra).right() if call.named is None else call.right()


def _crops_positions(call: Call) -> Array:
    """Padding beyond the kernel takes whole positions of y away, before they are spread by the stride."""
    y = call["y"].copy()
    for number, axis in enumerate(call.geometry.axes, start=2):
        if axis.stride > 1:
            np.moveaxis(y, number, 0)[: max(0, axis.begin - (axis.extent - 1))] = 0
    return call.with_operands(y=y).right()


def _modes_in(name: str, imitates: str, broken: Broken, link: str | None = None) -> list[Fault]:
    """A fault in what the windows read, and the same in the adjoint."""
    return [
        Fault(name, imitates, broken, FROM_X, link),
        Fault(f"{name}, in the input gradient", f"the adjoint of {imitates}", broken, (INPUT,), link),
    ]


_SAME = ("same_upper", "same_lower")

# fmt: off
FAULTS = [
    *(Fault(f"padding exchanged in {where}", "the padding of the last axis for that of the first", _begins_exchanged, (member,)) for where, member in PASSES.items()),
    *(Fault(f"ends swapped in {where}", "(end, begin) for (begin, end)", lambda call: along(call, _swapped), (member,)) for where, member in PASSES.items()),
    Fault("unequal padding made equal", "a library below that knows one amount per axis", lambda call: along(call, _begin_at_both_ends), link="https://github.com/FluxML/Flux.jl/issues/1605"),
    Fault("padding by name: odd one at the other end", "same_lower for same_upper", lambda call: _by_name(call, _odd_side, *_SAME), link="https://github.com/root-project/root/pull/21793"),
    Fault("padding by name: same_lower as same_upper", "one name for both", lambda call: _by_name(call, _odd_side, "same_lower"), (FORWARD,)),
    Fault("padding by name: odd one at the other end, transposed", "two results in the wrong order", lambda call: _by_name(call, _odd_side, *_SAME), (TRANSPOSED,), "https://github.com/robertknight/rten/pull/1399"),
    Fault("padding by name without the stride", "the amounts of stride 1", lambda call: _by_name(call, _without_stride, *_SAME)),
    Fault("padding by name without the dilation", "the kernel for its extent", lambda call: _by_name(call, _without_dilation, *_SAME), link="https://github.com/elixir-nx/nx/pull/189"),
    Fault("padding by name is half the kernel", "a formula for odd kernels and stride 1", lambda call: _by_name(call, _half_the_kernel, *_SAME), (FORWARD,), "https://github.com/root-project/root/pull/21793"),
    Fault("padding below the kernel", "a clamped amount", lambda call: along(call, _clamped)),
    Fault("junk from padding alone", "windows that see no input are skipped", _no_wide_padding, (FORWARD,)),
    Fault("negative padding as none", "an unsigned amount", lambda call: along(call, _unsigned)),
    Fault("crop at the begin, and the end reads on", "a bound that the crop moved", _read_on, (FORWARD, WEIGHT), "https://github.com/openxla/xla/issues/48713"),
    Fault("crop and padding netted", "a crop folded into the padding", lambda call: along(call, _net), (FORWARD, INPUT), "https://github.com/openxla/xla/issues/48715"),
    *_modes_in("end padded with zeros", "a mode ignored at one end", lambda call: _in_mode(call, _one_end(True), "circular", "reflect", "replicate")),
    *_modes_in("begin padded with zeros", "a mode ignored at the other end", lambda call: _in_mode(call, _one_end(False), "circular", "reflect", "replicate")),
    *_modes_in("reflect repeats the edge", "symmetric for reflect", lambda call: _in_mode(call, _edge_repeated, "reflect")),
    *_modes_in("circular as replicate", "clipped indices", lambda call: _in_mode(call, _as("replicate"), "circular")),
    *_modes_in("reflect as circular", "a modulo for a mirror", lambda call: _in_mode(call, _as("circular"), "reflect")),
    *_modes_in("replicate as reflect", "a mirror for the edge", lambda call: _in_mode(call, _as("reflect"), "replicate")),
    *_modes_in("circular once round only", "no modulo", lambda call: _in_mode(call, _once_round, "circular")),
    *_modes_in("reflect there, and not back", "a mirror without a modulo", lambda call: _in_mode(call, _clipped_after_once, "reflect")),
    *_modes_in("circular with a period too short", "modulo n − 1", lambda call: _in_mode(call, _short_period, "circular")),
    *_modes_in("mode along the last axis alone", "one-dimensional padding", lambda call: _one_axis(call, True)),
    *_modes_in("mode along the first axis alone", "a loop that ends early", lambda call: _one_axis(call, False)),
    *_modes_in("no corners", "edges padded, corners forgotten", _no_corners),
    *_modes_in("no more padding than inputs", "a length that is capped", _capped),
    *_modes_in("nearest position of the padding lost", "an edge off by one", _first_only),
    *_modes_in("circular padding exchanged", "(H, W) for (W, H)", _exchanged_in_mode, "https://github.com/pytorch/pytorch/issues/37844"),
    Fault("circular padding halved", "the amount as a total", _halved, (FORWARD,), "https://github.com/pytorch/pytorch/issues/20981"),
    Fault("circular without an end has no begin", "a slice that ends at −0", _empty_end, (FORWARD,), "https://github.com/pytorch/pytorch/issues/24504"),
    Fault("padding's gradient cropped", "the adjoint of zeros for a mode's", lambda call: _in_mode(call, _as("zeros"), "circular", "reflect", "replicate"), (INPUT,)),
    Fault("modes ignored in the weight gradient", "x saved before it was padded", lambda call: _in_mode(call, _as("zeros"), "circular", "reflect", "replicate"), (WEIGHT,)),
    Fault("padding's gradient written, not added", "an assignment for an addition", _overwritten, (INPUT,)),
    Fault("edge's gradient counted twice", "the edge belongs to the padding, too", _edge_twice, (INPUT,)),
    Fault("output padding at the begin", "the wrong end", _output_padding_first, (TRANSPOSED,), "https://github.com/apache/tvm/issues/19524"),
    Fault("output padding as zeros", "padding what a kernel reaches", _output_padding_zeros, (TRANSPOSED,)),
    Fault("output padding exchanged", "that of the last axis for that of the first", _output_padding_exchanged, (TRANSPOSED,)),
    Fault("output padding not in the gradients", "a forgotten pass", _output_padding_ignored, (TRANSPOSED_INPUT, TRANSPOSED_WEIGHT)),
    Fault("crop before spreading", "padding beyond the kernel applied to the positions", _crops_positions, (TRANSPOSED,), "https://github.com/tillahoffmann/jax-mps/pull/150"),
]
# fmt: on
"""Faults of padding."""
