"""Upsampling by an integer factor as a transposed convolution, beside its backward pass."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from arrconv._namespace import backend_of, device_of
from arrconv.errors import ShapeError, SpecError
from arrconv.functional.conv import conv, conv_transpose
from arrconv.functional.reals import mixed_namespace
from arrconv.geometry import Geometry
from arrconv.padding import pad, pad_adjoint
from arrconv.spec import ConvSpec, per_axis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arrconv._namespace import Array

Interpolation = Literal["nearest", "linear"]


def upsample(x: Array, factor: int | Sequence[int], /, *, mode: Interpolation = "nearest") -> Array:
    """x on a grid that is `factor` times as fine, by the nearest element or by linear interpolation.

    The elements are the middles of cells, as in an image, and beyond the first and last of an axis nothing changes:
    PyTorch's `interpolate` with `align_corners=False`. "linear" is bilinear in two dimensions, trilinear in three. Each
    axis is a transposed convolution with that stride: every element lays down a box, or a triangle of twice its width.

    Args:
        x: real floating-point numbers, (N, C, *size).
        factor: one integer for all axes or one for each, at least 1.
        mode: "nearest" or "linear".

    Returns:
        (N, C, *(factor·size)).

    Raises:
        DTypeError: x does not hold real floating-point numbers.
        ShapeError: x has less than three axes.
        SpecError: the factor is no integer of at least 1, or there is no such mode.

    Source: J. Long, E. Shelhamer, T. Darrell, "Fully convolutional networks for semantic segmentation", 2015, section
    3.3: upsampling by an integer factor is a convolution run backwards.

    >>> import numpy as np
    >>> upsample(np.asarray([[[0.0, 4.0]]]), 2, mode="linear")
    array([[[0., 1., 3., 4.]]])
    """
    factors = _checked("x", x, factor, mode)
    for number, size in enumerate(factors, start=2):
        x = _along(x, number, partial(_stretched, factor=size, mode=mode)) if size > 1 else x
    return x


def upsample_backward(gy: Array, factor: int | Sequence[int], /, *, mode: Interpolation = "nearest") -> Array:
    """The adjoint of `upsample`: each element collects what it was spread to.

    Args:
        gy: the gradient by its result, (N, C, *(factor·size)).
        factor, mode: what `upsample` was given.

    Returns:
        The gradient by its input, (N, C, *size).

    Raises:
        DTypeError, SpecError: as for `upsample`.
        ShapeError: gy has less than three axes, or a size that is no multiple of the factor.

    >>> import numpy as np
    >>> upsample_backward(np.asarray([[[1.0, 2.0, 3.0, 4.0]]]), 2)
    array([[[3., 7.]]])
    """
    factors = _checked("gy", gy, factor, mode)
    for number, size in enumerate(factors, start=2):
        if gy.shape[number] % size:
            raise ShapeError(f"gy has {gy.shape[number]} elements on axis {number}, no multiple of the factor {size}")
    for number, size in enumerate(factors, start=2):
        gy = _along(gy, number, partial(_collected, factor=size, mode=mode)) if size > 1 else gy
    return gy


def _checked(name: str, array: Array, factor: Any, mode: str) -> tuple[int, ...]:
    """The factor of each axis."""
    mixed_namespace(**{name: array})
    if array.ndim < 3:
        raise ShapeError(f"{name} has shape {tuple(array.shape)}, but needs (N, C, *size)")
    if mode not in get_args(Interpolation):
        raise SpecError(f"mode={mode!r} is unknown; there are {', '.join(get_args(Interpolation))}")
    return per_axis(factor, array.ndim - 2, "factor", 1)


def _along(array: Array, number: int, change: Callable[[Array], Array]) -> Array:
    """A function of rows (M, 1, size) along one axis of an array."""
    xp = backend_of(array=array).xp
    if array.shape[number] == 0:
        return array  # as many times nothing is nothing
    last = xp.moveaxis(array, number, -1)
    lead = last.shape[:-1]
    rows = change(xp.reshape(last, (math.prod(lead), 1, last.shape[-1])))
    return xp.moveaxis(xp.reshape(rows, (*lead, rows.shape[-1])), -1, number)


def _stretched(rows: Array, factor: int, mode: str) -> Array:
    """Rows (M, 1, size) as (M, 1, factor·size)."""
    xp, w, crop = _kernel(rows, factor, mode)
    if mode == "linear":
        rows = pad(xp, rows, _edges(rows.shape[2], rows.shape[0]))
    return conv_transpose(rows, w, stride=factor, padding=crop)


def _collected(rows: Array, factor: int, mode: str) -> Array:
    """The adjoint: rows (M, 1, factor·size) as (M, 1, size)."""
    xp, w, crop = _kernel(rows, factor, mode)
    collected = conv(rows, w, stride=factor, padding=crop)
    if mode == "linear":
        collected = pad_adjoint(xp, collected, _edges(rows.shape[2] // factor, rows.shape[0]))
    return collected


def _kernel(like: Array, factor: int, mode: str) -> tuple[Any, Array, int]:
    """What an element lays down, (1, 1, k), and how much of the result is cropped at both ends.

    A triangle of two cells, from the middle of the cell before to the middle of the one behind: 1 − |t|/factor at t
    fine elements from the middle. With one more cell at either end, half of the outer triangles lies beyond the result.
    """
    xp = backend_of(like=like).xp
    where: dict[str, Any] = {"dtype": like.dtype, "device": device_of(like)}
    if mode == "nearest":
        return xp, xp.ones((1, 1, factor), **where), 0
    size = 2 * factor - factor % 2
    distance = xp.abs(xp.arange(size, **where) - (size - 1) / 2)
    return xp, xp.reshape(1 - distance / factor, (1, 1, size)), (size + factor) // 2


def _edges(size: int, rows: int) -> Geometry:
    """Rows (M, 1, size) whose first and last elements are there once more."""
    return Geometry.forward(ConvSpec.of(1, padding=1, padding_mode="replicate"), (rows, 1, size), (1, 1, 1))
