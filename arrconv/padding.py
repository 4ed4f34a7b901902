"""Padding as a linear map along the spatial axes, beside its adjoint; every mode is the same walk over runs."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

from arrconv._namespace import Array, device_of
from arrconv.slicing import extend, restrict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrconv.axis import Axis, Run
    from arrconv.geometry import Geometry


def pad(xp: Any, x: Array, geometry: Geometry) -> Array:
    """Pad, or crop, x (…, *input) to (…, *padded) as the geometry's padding mode says."""
    for number, axis in enumerate(geometry.axes, start=x.ndim - geometry.ndim):
        x = _pad_axis(xp, x, number, axis, geometry.padding_mode)
    return x


def pad_adjoint(xp: Any, gx: Array, geometry: Geometry) -> Array:
    """The adjoint of `pad`: what each input was copied to, added up; (…, *padded) to (…, *input)."""
    for number, axis in enumerate(geometry.axes, start=gx.ndim - geometry.ndim):
        gx = _fold_axis(xp, gx, number, axis, geometry.padding_mode)
    return gx


def _pad_axis(xp: Any, x: Array, number: int, axis: Axis, mode: str) -> Array:
    if axis.begin == axis.end == 0:
        return x
    pieces = [_read(xp, x, number, run) for run in axis.runs(mode)]
    return xp.concat(pieces, axis=number) if pieces else restrict(x, number, 0, 0)


def _fold_axis(xp: Any, gx: Array, number: int, axis: Axis, mode: str) -> Array:
    if axis.begin == axis.end == 0:
        return gx
    pieces = _pieces(xp, gx, number, axis, mode)
    first = next(pieces, None)
    if first is None:  # everything was cropped away
        return extend(xp, restrict(gx, number, 0, 0), number, 0, axis.input_size)
    return reduce(add, pieces, first)


def _pieces(xp: Any, gx: Array, number: int, axis: Axis, mode: str) -> Iterator[Array]:
    """What each run of the padded axis adds to the inputs, one at a time, since each is as large as they are."""
    position = 0
    for run in axis.runs(mode):
        if run.start is not None:
            piece = restrict(gx, number, position, run.length)
            yield _read_adjoint(xp, piece, number, run, axis.input_size)
        position += run.length


def _read(xp: Any, x: Array, number: int, run: Run) -> Array:
    """The elements of x that a run reads."""
    if run.start is None:
        shape = (*x.shape[:number], run.length, *x.shape[number + 1 :])
        return xp.zeros(shape, dtype=x.dtype, device=device_of(x))
    match run.step:
        case 0:
            return xp.repeat(restrict(x, number, run.start, 1), run.length, axis=number)
        case -1:
            return xp.flip(restrict(x, number, run.start - run.length + 1, run.length), axis=number)
        case _:
            return restrict(x, number, run.start, run.length)


def _read_adjoint(xp: Any, piece: Array, number: int, run: Run, size: int) -> Array:
    """A run's piece added back to where it was read, in an axis of `size` elements."""
    assert run.start is not None
    match run.step:
        case 0:
            total = xp.sum(piece, axis=number, keepdims=True, dtype=piece.dtype)
            return extend(xp, total, number, run.start, size)
        case -1:
            return extend(xp, xp.flip(piece, axis=number), number, run.start - run.length + 1, size)
        case _:
            return extend(xp, piece, number, run.start, size)
