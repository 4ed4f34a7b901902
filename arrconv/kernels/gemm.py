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
from arrconv.kernels.base import Kernel, Problem
from arrconv.kernels.blocks import block_workspace, cut, plan, shares
from arrconv.kernels.correlate import correlate
from arrconv.kernels.gather import Buffer, Gather, Positions, side_by_side
from arrconv.kernels.integers import in_float64
from arrconv.kernels.scatter import scatter
from arrconv.kernels.threads import for_each, is_shared, threads_for
from arrconv.kernels.walks import inputs_of, phases_of, taps_together, windows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array
    from arrconv.geometry import Direction, Geometry

_MOST_ROWS = 1024  # gathered rows of one block of the weight gradient
_FAIR = 4  # ranges of channels, or a multiple of it: five would leave one thread of two idle at the end
_LONG_ENOUGH = 512  # positions of an image, from which on images of the weight gradient are multiplied one by one
_FEW_CHANNELS = 16  # below which matrices are too narrow for the BLAS


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
def _is_scattered(geometry: Geometry) -> bool:
    """Whether ∂T/∂x adds products to where they belong, rather than gather what they are made of.

    The one adds C_in, the other copies C_out elements for each tap and output; and a matrix product of a few input
    channels is slow, as is one of sums over a few output channels. Where one tap reaches each input, there is nothing
    to copy or to add.
    """
    channels = geometry.in_channels // geometry.groups
    is_few = channels < _FEW_CHANNELS and max(2 * channels, _FEW_CHANNELS) <= geometry.out_channels // geometry.groups
    return is_few and any(w.taps > 1 for windows in phases_of(geometry) for w in windows)


def contract(problem: Problem, first: Array, second: Array) -> Array:
    """The contraction in blocks, in the accumulator's dtype."""
    return _CONTRACTIONS[problem.direction](problem, first, second)


def _contract_y(problem: Problem, x: Array, w: Array) -> Array:
    geometry, lib = problem.geometry, _library(problem)
    y = lib.empty(_grouped_shape(geometry, geometry.out_channels, geometry.output_size), _dtype(problem))
    correlate(lib, _grouped(x, geometry), _grouped_weight(w, geometry), windows_of(geometry), y)
    return y.reshape(geometry.output_shape)


def _contract_x(problem: Problem, w: Array, y: Array) -> Array:
    geometry, lib = problem.geometry, _library(problem)
    if not problem.backend.is_integer and not lib.isfinite(w).all():
        # The blocks multiply w by zeros beyond the border of y, which are no part of the form; an infinite w shows it.
        return taps.contract(problem, w, y)
    x = lib.zeros(_grouped_shape(geometry, geometry.in_channels, geometry.input_size), _dtype(problem))
    y, w = _grouped(y, geometry), _grouped_weight(w, geometry)
    if _is_scattered(geometry):
        scatter(lib, y, w, windows_of(geometry), x)
    else:
        _gather_phases(lib, y, w.swapaxes(1, 2), geometry, x)
    return x.reshape(geometry.input_shape)


def _gather_phases(lib: Any, y: Array, w: Array, geometry: Geometry, x: Array) -> None:
    """∂T/∂x as a convolution of y, with some of the taps of w (G, C/G, O/G, *kernel), for each phase of the stride.

    Phases that see the same windows are one convolution, with the channels of all of them.
    """
    for windows, alike in phases_of(geometry).items():
        matrix = taps_together(lib, w, alike)
        correlate(lib, y, matrix, windows, *(x[(..., *inputs_of(phases))] for phases in alike))


def _contract_w(problem: Problem, x: Array, y: Array) -> Array:
    geometry, lib, dtype = problem.geometry, _library(problem), _dtype(problem)
    if geometry.is_empty:
        return lib.zeros(geometry.weight_shape, dtype)
    x, y = _grouped(x, geometry), _grouped(y, geometry)
    images, groups, rows = y.shape[:3]
    channels, kernel = x.shape[2], math.prod(geometry.kernel_size)
    windows = windows_of(geometry)
    most = min(_MOST_ROWS, block_workspace() // (rows * dtype.itemsize))
    ranges = -(-channels // max(1, most // kernel))
    channel_ranges = cut(channels, ranges if ranges <= _FAIR else -(-ranges // _FAIR) * _FAIR)
    column_bytes = max(rows, channel_ranges[0].stop * kernel) * dtype.itemsize
    blocks = plan(
        images, groups, column_bytes, windows, cached=lib is np, shared=len(channel_ranges), joined=_LONG_ENOUGH
    )
    pieces = list(product(blocks.images, blocks.boxes))
    work = y.size * channels * kernel
    # A sum is cut into parts, added in order, only where there are too few channels to share out.
    parts = cut(len(pieces), shares(len(blocks.groups) * len(channel_ranges)) if is_shared(work) else 1)
    sums = lib.zeros((len(parts), groups, rows, channels * kernel), dtype)
    layout = side_by_side(geometry.ndim)

    def make_worker() -> Callable[[tuple[int, slice, slice]], None]:
        gather, positions, inputs = Gather(lib, x, dtype), Positions(lib, y, dtype), Positions(lib, x, dtype)
        buffer = Buffer(lib, dtype)

        def worker(task: tuple[int, slice, slice]) -> None:
            part, gs, cs = task
            total = sums[part, gs, :, cs.start * kernel : cs.stop * kernel]
            for ns, box in pieces[parts[part]]:
                is_joined = ns.stop - ns.start > 1
                outputs = positions(ns, gs, slice(None), box, is_joined=is_joined)  # (1, g, O, n·l)
                if blocks.is_whole:
                    columns = inputs(ns, gs, cs, box, is_joined=is_joined)
                else:
                    columns = gather(ns, gs, cs, box, layout)  # (1, g, c·K, n·l)
                found = buffer(*total.shape)
                lib.matmul(outputs[0], columns[0].swapaxes(1, 2), out=found)
                total += found

        return worker

    for_each(list(product(range(len(parts)), blocks.groups, channel_ranges)), make_worker, threads_for(lib, work))
    for part in sums[1:]:
        sums[0] += part
    return sums[0].reshape(geometry.weight_shape)


_CONTRACTIONS = {"y": _contract_y, "x": _contract_x, "w": _contract_w}


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


def _library(problem: Problem) -> Any:
    """The raw library, NumPy or CuPy: kernels need more of it than the standard offers."""
    return sys.modules[problem.backend.library]


KERNEL = Kernel("gemm", refuses, in_float64(contract))
