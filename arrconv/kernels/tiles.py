"""The compiled engine for NumPy: tiles of sums that read windows where they lie, so that none is ever copied.

A sum is one chain of fused multiply-adds, channel by channel and tap by tap, whatever the tiles and blocks: on every
processor that has them its bits are the same. Numba compiles a function for each size of tiles when it is first used.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.kernels.base import Kernel, Problem
from arrconv.kernels.blocks import block_workspace, even
from arrconv.kernels.correlate import correlate, store
from arrconv.kernels.correlations import contract_x, contract_y
from arrconv.kernels.finite import where_finite
from arrconv.kernels.gather import Buffer, fill
from arrconv.kernels.gemm import is_scattered
from arrconv.kernels.threads import for_each, threads_for
from arrconv.kernels.tile_plan import SLAB_BYTES, Block, plan_blocks
from arrconv.kernels.walks import phases_of, windows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array
    from arrconv.axis import Windows
    from arrconv.geometry import Direction, Geometry

_LEAST_PRODUCTS = 2**23  # worth the time to compile
_LEAST_READS = 3  # of each element of an image, and
_MOST_ROWS = 128  # of the matrix: beyond, and below, a matrix product makes up for the copy of its columns

_TERMS = 192  # of a sum that are added at a time, so that what they read stays in the nearest cache


def refuses(problem: Problem) -> str | None:
    """Why tiles cannot serve a problem, or None."""
    backend, geometry, direction = problem.backend, problem.geometry, problem.direction
    if backend.library != "numpy":
        return f"it works on NumPy arrays, not on those of {backend.library}"
    if geometry.ndim == 0:
        return "it has no tiles where there is no axis"
    if direction == "w":
        return "it has no weight gradient"
    if (dtype := str(problem.dtype)) not in ("float32", "float64"):
        return f"it adds in float32 or float64, not in {dtype}"
    needed, room = _copied(geometry, direction, problem.dtype.itemsize), block_workspace()
    if needed > room:
        return f"it copies at least {needed} bytes, more than the {room} of the workspace"
    return _lacks_compiler()


def yields(problem: Problem) -> str | None:
    """Why another kernel is faster, or None."""
    return None if problem.direction == "w" else _misfit(problem.geometry, problem.direction)


@lru_cache(maxsize=1024)
def _misfit(geometry: Geometry, direction: Direction) -> str | None:
    products = geometry.products("y") * math.prod(geometry.output_shape)  # those of any direction
    if products < _LEAST_PRODUCTS:
        return f"{products} products are fewer than {_LEAST_PRODUCTS}, and not worth the time to compile"
    if direction == "x" and is_scattered(geometry):
        return "gemm adds products for few input channels instead, which are fewer than sums"
    correlations = _correlations(geometry, direction)
    reads = max(math.prod(w.taps / w.step for w in windows) for windows, _ in correlations)
    if reads < _LEAST_READS:
        return f"an element is read {reads:.2g} times, and with fewer than {_LEAST_READS} gemm is faster"
    rows = max(rows for _, rows in correlations)
    if rows > _MOST_ROWS:
        return f"its matrix has {rows} rows, and with more than {_MOST_ROWS} gemm is faster"
    return None


def _correlations(geometry: Geometry, direction: Direction) -> list[tuple[tuple[Windows, ...], int]]:
    """The windows, and the rows of the matrix, of each correlation that a contraction is."""
    if direction == "y":
        return [(windows_of(geometry), geometry.out_channels // geometry.groups)]
    channels = geometry.in_channels // geometry.groups
    return [(windows, channels * len(alike)) for windows, alike in phases_of(geometry).items()]


@lru_cache(maxsize=1024)
def _copied(geometry: Geometry, direction: Direction, itemsize: int) -> int:
    """The bytes of what one position reads, or of the matrix, whichever is more: both are copied."""
    channels = (geometry.in_channels if direction == "y" else geometry.out_channels) // geometry.groups
    most = 0
    for windows, rows in _correlations(geometry, direction):
        position = math.prod(w.part(0, min(1, w.count)).span for w in windows) * windows[-1].step
        matrix = geometry.groups * rows * math.prod(w.taps for w in windows)
        most = max(most, channels * itemsize * max(position, matrix))
    return most


@cache
def _lacks_compiler() -> str | None:
    try:
        from arrconv.kernels.microkernel import vector_bytes
    except ImportError as reason:
        return f"it is compiled by Numba, which cannot be imported ({reason}): pip install 'arrconv[fast]'"
    return None if vector_bytes() else "this processor has no fused multiply-add"


def contract(problem: Problem, first: Array, second: Array) -> Array:
    """The contraction in tiles, in the accumulator's dtype."""
    return (contract_y if problem.direction == "y" else contract_x)(by_tiles, problem, first, second)


def by_tiles(lib: Any, source: Array, matrix: Array, windows: tuple[Windows, ...], *outs: Array) -> None:
    """Let out (N, G, O, *positions) = matrix (G, O, C, *taps) times the windows of source (N, G, C, *sizes).

    Where there are several outs, the matrix has the rows of all of them, one after the other.
    """
    from arrconv.kernels.microkernel import vector_length
    from arrconv.kernels.tile_loops import multiply, tile_size

    out, dtype = outs[0], outs[0].dtype
    groups, rows, channels = matrix.shape[:3]
    terms = math.prod(matrix.shape[2:])
    height, vectors = tile_size(str(dtype), rows, terms, windows[-1].count)
    width = vectors * vector_length(str(dtype))
    weights = _packed(matrix.reshape(groups, rows, terms), height, dtype)
    blocks = plan_blocks(len(out), channels, windows, width, dtype.itemsize, block_workspace())
    together = max(1, SLAB_BYTES // (channels * max(block.pattern.elements for block in blocks) * dtype.itemsize))
    part = -(-terms // -(-terms // _TERMS))
    copy, sum_up = _copier(source, dtype, windows[-1].step), multiply(str(dtype), height, vectors)
    suspects: set[int] = set()
    flat_out = out.reshape(-1) if len(outs) == 1 and out.flags.c_contiguous else None

    def make_worker() -> Callable[[tuple[int, slice, Block]], None]:
        slab, buffer = Buffer(lib, dtype), Buffer(lib, dtype)

        def worker(task: tuple[int, slice, Block]) -> None:
            image, gs, block = task
            g, pattern = gs.stop - gs.start, block.pattern
            size = channels * pattern.elements
            read = slab(g * size + width)  # a tile reads to its end, whatever is there
            copy(image, gs, block, read[: g * size])
            if flat_out is not None:
                positions = out[0, 0, 0].size
                begin = (image * groups + gs.start) * rows * positions + block.box.flat.start
                target = (flat_out, begin, positions)
            else:
                found = buffer(1, g, rows, block.positions)
                target = (found.reshape(-1), 0, block.positions)
            if sum_up(read, size, pattern.offsets, weights[gs], pattern.tiles, pattern.segments, *target, rows, part):
                suspects.add(image)
            if flat_out is None:
                store(found, [each[(slice(image, image + 1), gs, slice(None), *block.box.places)] for each in outs])

        return worker

    tasks = list(product(range(len(out)), even(groups, together), blocks))
    for_each(tasks, make_worker, threads_for(lib, len(outs) * out.size * terms))
    for image in sorted(suspects):
        one = slice(image, image + 1)
        _complain(source[one], matrix, windows, [each[one] for each in outs])


def _complain(source: Array, matrix: Array, windows: tuple[Windows, ...], outs: list[Array]) -> None:
    """Let NumPy warn or raise, as its errstate says, if sums overflowed, by computing them once more."""
    if all(np.isfinite(out).all() for out in outs) or all(what == "ignore" for what in np.geterr().values()):
        return
    correlate(np, source, matrix, windows, *(np.empty_like(out) for out in outs))


def _copier(source: Array, dtype: Any, step: int) -> Callable[[int, slice, Block, Array], None]:
    """What copies to a flat slab what a block reads of some groups of an image, every `step` elements together."""
    from arrconv.kernels.tile_loops import copy

    groups, channels, *sizes = source.shape[1:]
    if source.dtype == dtype and source.flags.c_contiguous:
        flat, size = source.reshape(-1), math.prod(sizes)

        def copy_rows(image: int, gs: slice, block: Block, slab: Array) -> None:
            begin = (image * groups + gs.start) * channels * size
            copy(flat, begin, size, (gs.stop - gs.start) * channels, block.rows, block.parts, step, slab)

        return copy_rows

    def copy_arrays(image: int, gs: slice, block: Block, slab: Array) -> None:
        *others, last = block.box.windows
        target = slab.reshape(-1, channels, *block.pattern.shape)
        for part in range(step):
            elements = (*(w.spanned() for w in others), last.spanned(step, part))
            fill(np, target[..., part, :], source[image, gs], elements)

    return copy_arrays


def _packed(matrix: Array, height: int, dtype: Any) -> Array:
    """A matrix (G, rows, terms) as (G, tiles, terms, height), zeros in rows that are not there."""
    groups, rows, terms = matrix.shape
    packed = np.zeros((groups, -(-rows // height), terms, height), dtype)
    whole = rows // height
    packed[:, :whole] = matrix[:, : whole * height].reshape(groups, whole, height, terms).swapaxes(2, 3)
    if rows > whole * height:
        packed[:, whole, :, : rows - whole * height] = matrix[:, whole * height :].swapaxes(1, 2)
    return packed


KERNEL = Kernel("tiles", refuses, where_finite(contract), yields)
