"""The strided slice of one axis, and its adjoint, of which padding and the taps of a convolution are made."""

from __future__ import annotations

from typing import Any

from arrconv._namespace import Array, device_of


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


def filled(xp: Any, array: Array, gaps: Array, values: Array) -> Array:
    """A flat array with `values`, in order, where `gaps` is true; the array itself stays as it is."""
    if values.shape[0] == 0:
        return array
    rank = xp.cumulative_sum(xp.astype(gaps, xp.int64)) - 1
    return xp.where(gaps, xp.take(values, xp.where(rank < 0, xp.zeros_like(rank), rank)), array)
