"""The compiled engine for NumPy: tiles of sums that read windows where they lie, so that none is ever copied.

A sum is one chain of fused multiply-adds, channel by channel and tap by tap, whatever the tiles and blocks: on every
processor that has them its bits are the same. Numba compiles a function for each size of tiles when it is first used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.kernels.base import Kernel, Problem
from arrconv.kernels.blocks import block_workspace, boxes, even, shares
from arrconv.kernels.correlate import correlate, store
from arrconv.kernels.correlations import contract_x, contract_y
from arrconv.kernels.finite import where_finite
from arrconv.kernels.gather import Buffer, fill
from arrconv.kernels.gemm import is_scattered
from arrconv.kernels.threads import for_each, threads_for
from arrconv.kernels.walks import phases_of, windows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array
    from arrconv.axis import Windows
    from arrconv.geometry import Direction, Geometry
    from arrconv.kernels.blocks import Box

_LEAST_PRODUCTS = 2**23  # worth the time to compile
_LEAST_READS = 3  # of each element of an image, and
_MOST_ROWS = 128  # of the matrix: beyond, and below, a matrix product makes up for the copy of its columns

_SLAB_BYTES = 2**19  # of the source that one block reads: it is read once for every few channels
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


@dataclass(frozen=True, slots=True)
class _Block:
    """A block of positions, and where its sums read the part of the source that is copied for it, the slab.

    The last axis of the slab is taken apart into as many parts as the windows' step, so that neighbouring positions
    read neighbouring elements. A tile reads a run of elements; which of them are positions, its segments say.

    Attributes:
        box: the windows.
        shape: of a channel of the slab: the spans, the last one as (step, elements).
        rows: where the rows of the slab begin in a channel of the source, −1 where they are outside; and
        parts: what is copied of a row, both as `copy` of the compiled loops has them.
        offsets: of the terms of a sum, channel by channel and tap by tap, from where its position begins.
        tiles, segments: of all positions, as `multiply` of the compiled loops has them.
    """

    box: Box
    shape: tuple[int, ...]
    rows: Array
    parts: Array
    offsets: Array
    tiles: Array
    segments: Array

    @property
    def elements(self) -> int:
        """Of a channel of the slab."""
        return math.prod(self.shape)

    @property
    def positions(self) -> int:
        return math.prod(w.count for w in self.box.windows)


def by_tiles(lib: Any, source: Array, matrix: Array, windows: tuple[Windows, ...], *outs: Array) -> None:
    """Let out (N, G, O, *positions) = matrix (G, O, C, *taps) times the windows of source (N, G, C, *sizes).

    Where there are several outs, the matrix has the rows of all of them, one after the other.
    """
    from arrconv.kernels.microkernel import vector_length
    from arrconv.kernels.tile_loops import multiply, tile_size

    out, dtype = outs[0], outs[0].dtype
    groups, rows, channels = matrix.shape[:3]
    if out.size == 0 or channels == 0:
        for each in outs:
            each[...] = 0
        return
    terms = math.prod(matrix.shape[2:])
    height, vectors = tile_size(str(dtype), rows, terms, windows[-1].count)
    width = vectors * vector_length(str(dtype))
    weights = _packed(matrix.reshape(groups, rows, terms), height, dtype)
    blocks = _blocks(len(out), channels, windows, width, dtype.itemsize, block_workspace())
    together = max(1, _SLAB_BYTES // (channels * max(block.elements for block in blocks) * dtype.itemsize))
    part = -(-terms // -(-terms // _TERMS))
    copy, sum_up = _copier(source, dtype, windows[-1].step), multiply(str(dtype), height, vectors)
    suspects: set[int] = set()
    flat_out = out.reshape(-1) if len(outs) == 1 and out.flags.c_contiguous else None

    def make_worker() -> Callable[[tuple[int, slice, _Block]], None]:
        slab, buffer = Buffer(lib, dtype), Buffer(lib, dtype)

        def worker(task: tuple[int, slice, _Block]) -> None:
            image, gs, block = task
            g, size = gs.stop - gs.start, channels * block.elements
            read = slab(g * size + width)  # a tile reads to its end, whatever is there
            copy(image, gs, block, read[: g * size])
            if flat_out is not None:
                positions = out[0, 0, 0].size
                begin = (image * groups + gs.start) * rows * positions + block.box.flat.start
                target = (flat_out, begin, positions)
            else:
                found = buffer(1, g, rows, block.positions)
                target = (found.reshape(-1), 0, block.positions)
            if sum_up(read, size, block.offsets, weights[gs], block.tiles, block.segments, *target, rows, part):
                suspects.add(image)
            if flat_out is None:
                store(found, [each[(slice(image, image + 1), gs, slice(None), *block.box.places)] for each in outs])

        return worker

    tasks = list(product(range(len(out)), even(groups, together), blocks))
    for_each(tasks, make_worker, threads_for(lib, len(outs) * out.size * terms))
    for image in sorted(suspects):
        _complain(source, matrix, windows, [each[image : image + 1] for each in outs], image)


def _complain(source: Array, matrix: Array, windows: tuple[Windows, ...], outs: list[Array], image: int) -> None:
    """Let NumPy warn or raise, as its errstate says, if sums of an image overflow, by computing them once more."""
    if all(np.isfinite(out).all() for out in outs) or all(what == "ignore" for what in np.geterr().values()):
        return
    correlate(np, source[image : image + 1], matrix, windows, *(np.empty_like(out) for out in outs))


def _copier(source: Array, dtype: Any, step: int) -> Callable[[int, slice, _Block, Array], None]:
    """What copies to a flat slab what a block reads of some groups of an image, every `step` elements together."""
    from arrconv.kernels.tile_loops import copy

    groups, channels, *sizes = source.shape[1:]
    if source.dtype == dtype and source.flags.c_contiguous:
        flat, size = source.reshape(-1), math.prod(sizes)

        def copy_rows(image: int, gs: slice, block: _Block, slab: Array) -> None:
            begin = (image * groups + gs.start) * channels * size
            copy(flat, begin, size, (gs.stop - gs.start) * channels, block.rows, block.parts, step, slab)

        return copy_rows

    def copy_arrays(image: int, gs: slice, block: _Block, slab: Array) -> None:
        *others, last = block.box.windows
        target = slab.reshape(-1, channels, *block.shape)
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


@lru_cache(maxsize=128)
def _blocks(
    images: int, channels: int, windows: tuple[Windows, ...], width: int, itemsize: int, workspace: int
) -> tuple[_Block, ...]:
    """Blocks of positions whose slabs are small enough."""
    most = max(1, -(-math.prod(w.count for w in windows) // shares(images)))
    while True:
        blocks = tuple(_block(box, channels, width) for box in boxes(windows, most))
        if most == 1 or channels * itemsize * max(block.elements for block in blocks) <= min(_SLAB_BYTES, workspace):
            return blocks
        most = -(-most // 2)


def _block(box: Box, channels: int, width: int) -> _Block:
    *others, last = box.windows
    shape = (*(w.span for w in others), last.step, last.spanned(last.step).count)
    pitches = [math.prod(shape[axis + 1 :]) for axis in range(len(others))]
    taps = []
    for *tap, last_tap in product(*(range(w.taps) for w in box.windows)):
        on, part = divmod(last.spacing * last_tap, last.step)
        along = (w.spacing * t * pitch for w, t, pitch in zip(others, tap, pitches, strict=True))
        taps.append(sum(along) + part * shape[-1] + on)
    begins = [
        sum(w.step * at * pitch for w, at, pitch in zip(others, place, pitches, strict=True))
        for place in product(*(range(w.count) for w in others))
    ]
    offsets = np.add.outer(np.arange(channels) * math.prod(shape), np.asarray(taps)).reshape(-1)
    arrays = (_rows(box), _parts(last), offsets, *_cover(begins, last.count, width))
    return _Block(box, shape, *(np.asarray(array, np.int64) for array in arrays))


def _rows(box: Box) -> Array:
    """Where each row of a slab begins in a channel of the source, −1 outside."""
    *others, last = box.windows
    rows = np.zeros(1, np.int64)
    for w in others:
        read = np.arange(w.start, w.stop)
        is_inside = np.logical_and.outer(rows >= 0, (read >= 0) & (read < w.size))
        rows = np.where(is_inside, np.add.outer(rows * w.size, read), -1).reshape(-1)
    return np.where(rows >= 0, rows * last.size, -1)


def _parts(windows: Windows) -> list[tuple[int, int, int]]:
    """Of each part of a row of a slab the column where the source begins, the element there, and how many follow."""
    parts = [windows.spanned(windows.step, part) for part in range(windows.step)]
    return [(w.seeing(0).start, w.seen(0).start, w.seeing(0).stop - w.seeing(0).start) for w in parts]


def _cover(begins: list[int], count: int, width: int) -> tuple[list[tuple[int, int]], list[tuple[int, int, int]]]:
    """The fewest tiles that cover rows of so many positions, which begin at these elements; and their segments."""
    tiles: list[tuple[int, int]] = []
    segments: list[tuple[int, int, int]] = []
    end = -1
    for number, begin in enumerate(begins):
        at = begin
        while at < begin + count:
            if at >= end:
                tiles.append((at, len(segments)))
                end = at + width
            some = min(begin + count, end) - at
            segments.append((at - tiles[-1][0], number * count + at - begin, some))
            at += some
    return [*tiles, (0, len(segments))], segments


KERNEL = Kernel("tiles", refuses, where_finite(contract), yields)
