"""A convolution whose loops may be walked wrongly: which padded position reads what, and how the windows step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

import arrconv

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv.axis import Axis
    from arrconv_conformance.data import Array
    from arrconv_conformance.faults.call import Call


@dataclass(frozen=True, slots=True)
class Walk:
    """How the windows of one axis step over its padded positions, and which input each of these reads.

    Args:
        reads: the input that each position reads, −1 for a zero of the padding.
        stride: from window to window.
        dilation: from tap to tap.
    """

    reads: Array
    stride: int
    dilation: int

    @classmethod
    def of(cls, axis: Axis, mode: str, source: Callable[[Array, int, str], Array] | None = None) -> Walk:
        """The walk along an axis: exactly as many positions as its windows see."""
        count = (axis.output_size - 1) * axis.stride + axis.extent
        positions = np.arange(count) - axis.begin
        return cls((source or reads)(positions, axis.input_size, mode), axis.stride, axis.dilation)

    def reading(self, change: Callable[[Array], Array]) -> Walk:
        """The same, reading something else."""
        return replace(self, reads=change(self.reads))


def reads(positions: Array, size: int, mode: str) -> Array:
    """Which input a position reads that may lie beyond the 0 … size − 1 of the input itself; −1 is a zero."""
    match mode:
        case "circular":
            return positions % size
        case "replicate":
            return positions.clip(0, size - 1)
        case "reflect":
            around = positions % max(1, 2 * (size - 1))
            return np.asarray(np.minimum(around, 2 * (size - 1) - around))
        case _:
            return np.where((positions >= 0) & (positions < size), positions, -1)


def beyond(axis: Axis) -> Array:
    """Whether each padded position that the windows see lies beyond the input."""
    positions = np.arange((axis.output_size - 1) * axis.stride + axis.extent) - axis.begin
    return (positions < 0) | (positions >= axis.input_size)


def walked(
    call: Call, walks: list[Walk], between: Callable[[Array], Array] | None = None, *, adds: bool = True
) -> Array:
    """The result of a call whose axes are walked in some way.

    Args:
        call: the call; the gradient of a bias walks nowhere.
        walks: one for each axis.
        between: what is done to the padded array between its padding and the windows.
        adds: whether the adjoint of the padding adds what meets at one input, or writes the last.
    """
    if call.is_empty or call.role == "bias" or not call.fits:
        return call.right()
    wide = call.widened()
    options: dict[str, Any] = {
        "stride": tuple(walk.stride for walk in walks),
        "dilation": tuple(walk.dilation for walk in walks),
        "groups": call.groups,
    }
    change = between or (lambda array: array)
    match call.role:
        case "y":
            padded = change(padded_by(wide.factor("x"), walks))
            result = arrconv.conv(padded, wide.factor("w"), wide.operands.get("bias"), **options)
        case "w":
            padded = change(padded_by(wide.factor("x"), walks))
            kernel = call.geometry.kernel_size
            result = arrconv.conv_grad_weight(padded.conj(), wide.factor("y"), kernel_size=kernel, **options)
        case _:
            padded = change(arrconv.conv_transpose(wide.factor("y"), wide.factor("w"), **options))
            result = folded_by(padded, walks, call.geometry.input_size, adds=adds)
            if "bias" in wide.operands:
                result = result + wide["bias"].reshape(-1, *(1,) * call.ndim).astype(result.dtype)
    return call.rounded(result)


def padded_by(x: Array, walks: list[Walk]) -> Array:
    """The array as the windows see it."""
    for number, walk in enumerate(walks, start=2):
        shape = [1] * x.ndim
        shape[number] = -1
        x = np.where(walk.reads.reshape(shape) < 0, x.dtype.type(0), np.take(x, np.maximum(walk.reads, 0), axis=number))
    return x


def folded_by(padded: Array, walks: list[Walk], sizes: tuple[int, ...], *, adds: bool = True) -> Array:
    """The adjoint of `padded_by`: what each input was read by, added up."""
    for number, (walk, size) in enumerate(zip(walks, sizes, strict=True), start=2):
        moved = np.moveaxis(padded, number, 0)
        folded = np.zeros((size, *moved.shape[1:]), padded.dtype)
        inside = walk.reads >= 0
        if adds:
            np.add.at(folded, walk.reads[inside], moved[inside])
        else:
            folded[walk.reads[inside]] = moved[inside]
        padded = np.moveaxis(folded, 0, number)
    return np.ascontiguousarray(padded)


def walks_of(call: Call) -> list[Walk]:
    """The walks of a call."""
    return [Walk.of(axis, call.mode) for axis in call.geometry.axes]


def along(call: Call, change: Callable[[Axis], Axis]) -> Array:
    """The result along axes that may be changed in all but their sizes."""
    return _along(call, [change(axis) for axis in call.geometry.axes])


def with_numbers(call: Call, **numbers: list[int]) -> Array:
    """The result with other strides, dilations or begins, one for each axis."""
    axes = enumerate(call.geometry.axes)
    return _along(call, [replace(axis, **{name: given[at] for name, given in numbers.items()}) for at, axis in axes])


def _along(call: Call, axes: list[Axis]) -> Array:
    if call.is_empty or tuple(axes) == call.geometry.axes:
        return call.right()
    return walked(call, [Walk.of(axis, call.mode) for axis in axes])
