"""The engine for NumPy and CuPy: blocks of windows gathered into a bounded workspace, one matrix product a block.

All three contractions are the same walk. `conv` gathers windows of x; the transposed convolution gathers, for each
phase of the stride, windows of y (see `Axis.phases`); the weight gradient gathers windows of x and multiplies them
by y. Work is split over outputs only, in blocks that the thread count does not influence, so neither do the bits.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from arrconv.kernels.base import Contract, Kernel, Problem
from arrconv.kernels.blocks import block_workspace, cut, plan, shares
from arrconv.kernels.correlate import correlate
from arrconv.kernels.correlations import contract_x, contract_y, empty_input, grouped, grouped_weight
from arrconv.kernels.dots import are_few, dots
from arrconv.kernels.finite import where_finite
from arrconv.kernels.gather import Buffer, Gather, Positions, side_by_side
from arrconv.kernels.integers import in_float64
from arrconv.kernels.scatter import scatter
from arrconv.kernels.threads import for_each, is_shared, threads_for
from arrconv.kernels.walks import phases_of, windows_of
from arrconv.products import matmul

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
    backend = problem.backend
    if backend.library not in ("numpy", "cupy"):
        return f"it works on NumPy and CuPy arrays, not on those of {backend.library}"
    if backend.library == "cupy" and problem.direction == "x":
        return "on CuPy it would have to wait for the device to learn whether w is finite"
    return lacks_room(problem)


def lacks_room(problem: Problem) -> str | None:
    """Why the workspace is too small to gather anything, or None."""
    needed = _gathered(problem.geometry, problem.direction) * problem.dtype.itemsize
    room = block_workspace()
    if needed > room:
        return f"gathering the products of one output takes {needed} bytes, more than the {room} of the workspace"
    return None


@lru_cache(maxsize=1024)
def _gathered(geometry: Geometry, direction: Direction) -> int:
    """The number of elements that are gathered for one output."""
    channels = geometry.out_channels if direction == "x" else geometry.in_channels
    return channels // geometry.groups * math.prod(geometry.kernel_size)


@lru_cache(maxsize=1024)
def is_scattered(geometry: Geometry) -> bool:
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


def _contract_x(problem: Problem, w: Array, y: Array) -> Array:
    geometry = problem.geometry
    if not is_scattered(geometry):
        return contract_x(correlate, problem, w, y)
    x = empty_input(problem)
    scatter(problem.library, grouped(y, geometry), grouped_weight(w, geometry), windows_of(geometry), x)
    return x.reshape(geometry.input_shape)


def _contract_w(problem: Problem, x: Array, y: Array) -> Array:
    geometry, windows = problem.geometry, windows_of(problem.geometry)
    rows, channels = geometry.out_channels // geometry.groups, geometry.in_channels // geometry.groups
    is_real = problem.library is np and not problem.backend.is_complex
    if is_real and not geometry.is_empty and are_few(rows, channels, windows):
        found = dots(grouped(x, geometry), grouped(y, geometry), windows, problem.dtype)
        if np.isfinite(found).all():
            return found.reshape(geometry.weight_shape)
    return contract_w(Gather, problem, x, y)


def contract_w(gatherer: type[Gather], problem: Problem, x: Array, y: Array) -> Array:
    """The weight gradient: y times windows of x, gathered block by block."""
    geometry, lib, dtype = problem.geometry, problem.library, problem.dtype
    if geometry.is_empty:
        return lib.zeros(geometry.weight_shape, dtype)
    x, y = grouped(x, geometry), grouped(y, geometry)
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
        gather, positions, inputs = gatherer(lib, x, dtype), Positions(lib, y, dtype), Positions(lib, x, dtype)
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
                matmul(lib, outputs[0], columns[0].swapaxes(1, 2), out=found)
                total += found

        return worker

    for_each(list(product(range(len(parts)), blocks.groups, channel_ranges)), make_worker, threads_for(lib, work))
    for part in sums[1:]:
        sums[0] += part
    return sums[0].reshape(geometry.weight_shape)


_CONTRACTIONS: dict[str, Contract] = {"y": partial(contract_y, correlate), "x": _contract_x, "w": _contract_w}


KERNEL = Kernel("gemm", refuses, where_finite(in_float64(contract)))
