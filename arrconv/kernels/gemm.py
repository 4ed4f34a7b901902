"""The engine for NumPy and CuPy: blocks of windows gathered into a bounded workspace, one matrix product a block.

All three contractions are the same walk. `conv` gathers windows of x; the transposed convolution gathers, for each
phase of the stride, windows of y (see `Axis.phases`); the weight gradient gathers windows of x and multiplies them
by y. Work is split over outputs only, in blocks that the thread count does not influence, so neither do the bits.
"""

from __future__ import annotations

import math
import sys
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.kernels import taps
from arrconv.kernels.base import Kernel, Problem, in_dtype
from arrconv.kernels.blocks import REACH, SMALL, Box, block_workspace, cut, plan, shares
from arrconv.kernels.gather import Gather
from arrconv.kernels.limits import current_limits
from arrconv.kernels.threads import for_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array
    from arrconv.axis import Phase, Windows
    from arrconv.geometry import Direction, Geometry

_MOST_ROWS = 1024  # gathered rows of one block of the weight gradient
_DIRECT = 4  # up to this many channel pairs a group, multiplying and adding arrays beats gathering


def refuses(problem: Problem) -> str | None:
    """Why gemm cannot serve a problem, or None."""
    backend, geometry = problem.backend, problem.geometry
    if backend.library not in ("numpy", "cupy"):
        return f"it works on NumPy and CuPy arrays, not on those of {backend.library}"
    if backend.library == "cupy" and problem.direction == "x":
        return "on CuPy it would have to wait for the device to learn whether w is finite"
    needed, room = _gathered(geometry, problem.direction) * _dtype(problem).itemsize, block_workspace()
    if needed > room:
        return f"gathering the products of one output takes {needed} bytes, more than the {room} of the workspace"
    return None


@lru_cache(maxsize=1024)
def _gathered(geometry: Geometry, direction: Direction) -> int:
    """The number of elements that are gathered for one output."""
    channels = geometry.out_channels if direction == "x" else geometry.in_channels
    return channels // geometry.groups * math.prod(geometry.kernel_size)


@lru_cache(maxsize=1024)
def _windows(geometry: Geometry) -> tuple[Windows, ...]:
    """How outputs read inputs, on each axis."""
    return tuple(axis.windows() for axis in geometry.axes)


@lru_cache(maxsize=1024)
def _phases(geometry: Geometry) -> tuple[tuple[Phase, ...], ...]:
    """How inputs read outputs: each combination of phases of the stride along the axes."""
    return tuple(product(*(axis.phases() for axis in geometry.axes)))


def contract(problem: Problem, first: Array, second: Array) -> Array:
    """The contraction in blocks, in the accumulator's dtype."""
    return _CONTRACTIONS[problem.direction](problem, first, second)


def _contract_y(problem: Problem, x: Array, w: Array) -> Array:
    geometry, lib = problem.geometry, _library(problem)
    y = lib.empty(_grouped_shape(geometry, geometry.out_channels, geometry.output_size), _dtype(problem))
    _correlate(lib, _grouped(x, geometry), _grouped_weight(w, geometry), _windows(geometry), y)
    return y.reshape(geometry.output_shape)


def _contract_x(problem: Problem, w: Array, y: Array) -> Array:
    """∂T/∂x as one convolution of y, with some of the taps, for each combination of phases of the stride."""
    geometry, lib = problem.geometry, _library(problem)
    if not problem.backend.is_integer and not lib.isfinite(w).all():
        # The blocks multiply w by zeros beyond the border of y, which are no part of the form; an infinite w shows it.
        return taps.contract(problem, w, y)
    x = lib.zeros(_grouped_shape(geometry, geometry.in_channels, geometry.input_size), _dtype(problem))
    w = _grouped_weight(w, geometry).swapaxes(1, 2)  # (G, C/G, O/G, *kernel)
    for phases in _phases(geometry):
        matrix = w[(..., *(_taps_backwards(phase) for phase in phases))]
        strides = (axis.stride for axis in geometry.axes)
        places = tuple(slice(phase.first, None, stride) for phase, stride in zip(phases, strides, strict=True))
        _correlate(lib, _grouped(y, geometry), matrix, tuple(phase.windows for phase in phases), x[(..., *places)])
    return x.reshape(geometry.input_shape)


def _contract_w(problem: Problem, x: Array, y: Array) -> Array:
    geometry, lib, dtype = problem.geometry, _library(problem), _dtype(problem)
    if geometry.is_empty:
        return lib.zeros(geometry.weight_shape, dtype)
    x, y = _grouped(x, geometry), _grouped(in_dtype(y, dtype), geometry)
    y = y.reshape(*y.shape[:3], -1)  # (N, G, O/G, L)
    images, groups, rows, _ = y.shape
    channels, kernel = x.shape[2], math.prod(geometry.kernel_size)
    windows = _windows(geometry)
    most = min(_MOST_ROWS, block_workspace() // (rows * dtype.itemsize))
    channel_ranges = cut(channels, -(-channels // max(1, most // kernel)))
    column_bytes = channel_ranges[0].stop * kernel * dtype.itemsize
    blocks = plan(groups, column_bytes, windows, cached=lib is np, split=False)
    pieces = [(n, box) for n in range(images) for box in blocks.boxes]
    work = y.size * channels * kernel
    # A sum is cut into parts, added in order, only where there are too few channels to share out.
    parts = cut(len(pieces), shares(len(blocks.groups) * len(channel_ranges)) if work > SMALL else 1)
    sums = lib.zeros((len(parts), groups, rows, channels * kernel), dtype)

    def make_worker() -> Callable[[tuple[int, slice, slice]], None]:
        gather = Gather(lib, x, blocks, dtype)

        def worker(task: tuple[int, slice, slice]) -> None:
            part, gs, cs = task
            total = sums[part, gs, :, cs.start * kernel : cs.stop * kernel]
            for n, box in pieces[parts[part]]:
                columns = gather(n, gs, cs, box)  # (g, c·K, l)
                total += lib.matmul(y[n, gs, :, box.flat], columns.swapaxes(1, 2))

        return worker

    for_each(list(product(range(len(parts)), blocks.groups, channel_ranges)), make_worker, _threads(lib, work))
    for part in sums[1:]:
        sums[0] += part
    return sums[0].reshape(geometry.weight_shape)


_CONTRACTIONS = {"y": _contract_y, "x": _contract_x, "w": _contract_w}


def _correlate(lib: Any, source: Array, matrix: Array, windows: tuple[Windows, ...], out: Array) -> None:
    """Let out (N, G, O, *positions) = matrix (G, O, C, *taps) times the windows of source (N, G, C, *sizes)."""
    groups, rows, channels = matrix.shape[:3]
    if out.size == 0 or channels == 0:
        out[...] = 0
        return
    flat_out = out.reshape(*out.shape[:3], -1) if out.flags.c_contiguous else None  # (N, G, O, L), a view
    matrix = lib.ascontiguousarray(matrix.reshape(groups, rows, -1), out.dtype)  # (G, O, C·K)
    options = {"cached": lib is np, "split": len(out) < 4}
    direct = groups > 1 and rows * channels <= _DIRECT
    if direct:  # without gathering, a block takes what it reads of each channel, and one term
        blocks = plan(groups, (REACH * channels + 1) * out.dtype.itemsize, windows, **options)
        direct = blocks.is_compact
    if not direct:
        # A product that is not written in place needs room for itself, which may be more than for its columns.
        height = matrix.shape[2] if flat_out is not None else max(matrix.shape[1:])
        blocks = plan(groups, height * out.dtype.itemsize, windows, **options)

    def make_worker() -> Callable[[tuple[int, slice, Box]], None]:
        gather = Gather(lib, source, blocks, out.dtype)

        def worker(task: tuple[int, slice, Box]) -> None:
            n, gs, box = task
            if direct:
                _accumulate(lib, gather.view(n, gs, box), matrix[gs], out[(n, gs, slice(None), *box.places)])
                return
            columns = gather(n, gs, slice(None), box)  # (g, C·K, l)
            if flat_out is not None:
                lib.matmul(matrix[gs], columns, out=flat_out[n, gs, :, box.flat])
            else:
                target = out[(n, gs, slice(None), *box.places)]
                target[...] = lib.matmul(matrix[gs], columns).reshape(target.shape)

        return worker

    tasks = list(product(range(len(out)), blocks.groups, blocks.boxes))
    for_each(tasks, make_worker, _threads(lib, out.size * matrix.shape[2]))


def _accumulate(lib: Any, view: Array, matrix: Array, out: Array) -> None:
    """Let out (g, O, *l) = Σ over c, k of matrix (g, O, C·K) times view (g, C, *K, *l), without gathering."""
    ndim = out.ndim - 2
    term = lib.empty(out[:, 0].shape, out.dtype)
    for row in range(out.shape[1]):
        for number, tap in enumerate(product(*(range(size) for size in view.shape[1 : 2 + ndim]))):
            factor = matrix[:, row, number].reshape(-1, *(1,) * ndim)
            if number == 0:
                lib.multiply(view[(slice(None), *tap)], factor, out=out[:, row])
            else:
                lib.multiply(view[(slice(None), *tap)], factor, out=term)
                out[:, row] += term


def _taps_backwards(phase: Phase) -> slice:
    last = phase.first_tap + phase.tap_step * (phase.windows.taps - 1)
    return slice(last, phase.first_tap - 1 if phase.first_tap else None, -phase.tap_step)


def _grouped_shape(geometry: Geometry, channels: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    return (geometry.batch or 0, geometry.groups, channels // geometry.groups, *sizes)


def _grouped(array: Array, geometry: Geometry) -> Array:
    """(N, channels, *sizes) as (N, G, channels/G, *sizes): a view, since it only splits an axis."""
    return array.reshape(_grouped_shape(geometry, array.shape[1], array.shape[2:]))


def _grouped_weight(w: Array, geometry: Geometry) -> Array:
    """(O, C/G, *kernel) as (G, O/G, C/G, *kernel): a view."""
    return w.reshape(geometry.groups, geometry.out_channels // geometry.groups, *w.shape[1:])


def _dtype(problem: Problem) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(problem.backend.accumulator)
    return dtype


def _threads(lib: Any, work: int) -> int:
    return current_limits().threads if lib is np and work > SMALL else 1


def _library(problem: Problem) -> Any:
    """The raw library, NumPy or CuPy: kernels need more of it than the standard offers."""
    return sys.modules[problem.backend.library]


KERNEL = Kernel("gemm", refuses, contract)
