"""The strided slice of one axis, and its adjoint, of which padding and convolutions are made; and an exchange."""

from __future__ import annotations

from itertools import chain
from typing import Any

from arrconv._namespace import Array, device_of

_FEW = 256


def restrict(x: Array, axis: int, start: int, length: int, step: int = 1) -> Array:
    """The elements start, start + step, … of one axis, `length` of them."""
    stop = start + step * (length - 1) + 1 if length > 0 else start
    return x[(*(slice(None),) * axis, slice(start, stop, step), ...)]


def extend(xp: Any, y: Array, axis: int, start: int, size: int, step: int = 1) -> Array:
    """The adjoint of `restrict`: y laid down at start, start + step, … of an axis of `size` zeros."""
    shape, length = tuple(y.shape), y.shape[axis]
    if step > 1 and length > 1:
        gaps = _zeros(xp, y, (*shape[: axis + 1], step - 1, *shape[axis + 1 :]))
        y = xp.concat([xp.expand_dims(y, axis=axis + 1), gaps], axis=axis + 1)  # (…, length, step, …)
        y = xp.reshape(y, (*shape[:axis], length * step, *shape[axis + 1 :]))
        y = restrict(y, axis, 0, (length - 1) * step + 1)
    front = _zeros(xp, y, (*shape[:axis], start, *shape[axis + 1 :]))
    back = _zeros(xp, y, (*shape[:axis], size - start - y.shape[axis], *shape[axis + 1 :]))
    return xp.concat([front, y, back], axis=axis)


def _zeros(xp: Any, like: Array, shape: tuple[int, ...]) -> Array:
    return xp.zeros(shape, dtype=like.dtype, device=device_of(like))


def replaced(xp: Any, array: Array, places: Array, values: Array) -> Array:
    """A flat array with `values` at increasing `places`; the array itself stays as it is."""
    size, count = array.shape[0], places.shape[0]
    if count <= _FEW:  # much faster than looking up every place
        found = [int(places[number]) for number in range(count)]
        kept = [array[a:b] for a, b in zip([0, *(at + 1 for at in found)], [*found, size], strict=True)]
        changed = (values[number : number + 1] for number in range(count))
        return xp.concat([kept[0], *chain.from_iterable(zip(changed, kept[1:], strict=True))])
    numbers = xp.arange(size, dtype=places.dtype, device=device_of(array))
    rank = xp.searchsorted(places, numbers)
    is_changed = xp.take(places, xp.where(rank < count, rank, xp.zeros_like(rank))) == numbers
    return xp.take(xp.concat([array, values]), xp.where(is_changed, size + rank, numbers))
