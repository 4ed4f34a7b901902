"""Layouts: how the elements of an operand lie in memory. Its values, and its index order, stay the same.

`plain` is C order in memory of its own. All others are views of a larger or differently ordered buffer; what a buffer
holds beside the elements is NaN, or the largest integer, so that whoever reads it shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv_conformance.data import Array


def _plain(array: Array) -> Array:
    return np.array(array, order="C")


def _last(array: Array) -> Array:
    return np.moveaxis(np.array(np.moveaxis(array, 1, -1), order="C"), -1, 1)


def _slice(array: Array) -> Array:
    """Channels last, and some of more channels."""
    shape = (array.shape[0], *array.shape[2:], array.shape[1] + 2)
    view = np.moveaxis(_junk(shape, array.dtype), -1, 1)[:, 1:-1]
    view[...] = array
    return view


def _fortran(array: Array) -> Array:
    return np.array(array, order="F")


def _reversed(array: Array) -> Array:
    everywhere = (slice(None, None, -1),) * array.ndim
    return np.array(array[everywhere], order="C")[everywhere]


def _strided(array: Array) -> Array:
    buffer = _junk(tuple(2 * size + 1 for size in array.shape), array.dtype)
    view = buffer[tuple(slice(1, 2 * size + 1, 2) for size in array.shape)]
    view[...] = array
    return view


def _offset(array: Array) -> Array:
    """In C order, but in the middle of each axis of a larger buffer, at an address that no wide load likes."""
    buffer = _junk(tuple(size + 2 for size in array.shape), array.dtype)
    view = buffer[(slice(1, -1),) * array.ndim]
    view[...] = array
    return view


def _readonly(array: Array) -> Array:
    view = _plain(array)
    view.flags.writeable = False
    return view


def _broadcast(array: Array) -> Array:
    return np.broadcast_to(_plain(array[:1]), array.shape)


def _junk(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    return np.full(shape, np.iinfo(str(dtype)).max if dtype.kind in "iu" else np.nan, dtype)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "plain": _plain,
    "last": _last,
    "slice": _slice,
    "fortran": _fortran,
    "reversed": _reversed,
    "strided": _strided,
    "offset": _offset,
    "readonly": _readonly,
    "broadcast": _broadcast,
}
"""All layouts by name: C order; channels last; some of more channels, which are last; all axes in reverse order;
negative strides; every second element of a larger buffer; a window of one; not writeable; and the first entry of the
first axis for all (the values with it)."""


def laid_out(array: Array, layout: str) -> Array:
    """A view of the array's values, in a layout; an array without channels, or without elements, is plain."""
    if array.ndim < 2 or not array.size:
        layout = "readonly" if layout == "readonly" else "plain"
    return LAYOUTS[layout](array)


def buffer_of(view: Array) -> Array:
    """The whole buffer of which an array is a view."""
    while isinstance(view.base, np.ndarray):
        view = view.base
    return view
