"""The program that one writes with NumPy: all windows copied into one matrix, one product, and back tap by tap."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.peers.work import Array, Task


def prepare(task: Task) -> Callable[[], Array]:
    geometry = task.row.geometry
    given, w, cotangent = task.operands
    if given.dtype == np.float16:
        raise NotImplementedError("NumPy multiplies matrices of float16 one number at a time")
    options: dict[str, Any] = dict(geometry.options)
    if options["groups"] > 1:
        raise NotImplementedError("groups are one product for each: another program")
    x, y = (cotangent, given) if task.row.is_transposed else (given, cotangent)
    kind = {"forward": "x" if task.row.is_transposed else "y", "weight gradient": "w"}.get(
        task.direction, "y" if task.row.is_transposed else "x"
    )
    conjugate = task.direction != "forward"
    if kind == "y":
        return lambda: _forward(x, w.conj() if conjugate else w, options)
    if kind == "x":
        return lambda: _backward(w.conj() if conjugate else w, y, x.shape, options)
    if task.row.is_transposed:
        return lambda: _weights(x, y.conj(), w.shape, options)
    return lambda: _weights(x.conj(), y, w.shape, options)


def _columns(x: Array, kernel: tuple[int, ...], options: dict[str, Any]) -> Array:
    """(N, positions…, C, taps…) as a copy."""
    ndim = len(kernel)
    axes = tuple(range(2, 2 + ndim))
    padded = np.pad(x, [(0, 0), (0, 0), *options["padding"]])
    extents = [step * (taps - 1) + 1 for step, taps in zip(options["dilation"], kernel, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, extents, axes)
    positions = tuple(slice(None, None, step) for step in options["stride"])
    taps = tuple(slice(None, None, step) for step in options["dilation"])
    windows = windows[(slice(None), slice(None), *positions, *taps)]
    return np.ascontiguousarray(np.moveaxis(windows, 1, 1 + ndim))


def _forward(x: Array, w: Array, options: dict[str, Any]) -> Array:
    columns = _columns(x, w.shape[2:], options)
    places = columns.shape[1 : w.ndim - 1]
    y = columns.reshape(-1, w[0].size) @ w.reshape(len(w), -1).T
    return np.ascontiguousarray(np.moveaxis(y.reshape(len(x), *places, len(w)), -1, 1))


def _weights(x: Array, y: Array, shape: tuple[int, ...], options: dict[str, Any]) -> Array:
    columns = _columns(x, shape[2:], options)
    rows = np.moveaxis(y, 1, 0).reshape(shape[0], -1)
    found: Array = (rows @ columns.reshape(rows.shape[1], -1)).reshape(shape)
    return found


def _backward(w: Array, y: Array, shape: tuple[int, ...], options: dict[str, Any]) -> Array:
    columns = np.moveaxis(y, 1, -1).reshape(-1, len(w)) @ w.reshape(len(w), -1)
    columns = np.moveaxis(columns.reshape(len(y), *y.shape[2:], *w.shape[1:]), w.ndim - 1, 1)  # (N, C, …places, …taps)
    sizes = [size + begin + end for size, (begin, end) in zip(shape[2:], options["padding"], strict=True)]
    padded = np.zeros((*shape[:2], *sizes), y.dtype)
    for tap in product(*(range(size) for size in w.shape[2:])):
        places = tuple(
            slice(at * dilation, at * dilation + (count - 1) * stride + 1, stride)
            for at, dilation, stride, count in zip(
                tap, options["dilation"], options["stride"], y.shape[2:], strict=True
            )
        )
        padded[(..., *places)] += columns[(..., *tap)]
    inner = tuple(slice(begin, begin + size) for size, (begin, _) in zip(shape[2:], options["padding"], strict=True))
    return np.ascontiguousarray(padded[(..., *inner)])


def as_array(result: Array) -> Array:
    return result


def versions() -> dict[str, str]:
    return {"numpy": np.__version__}
