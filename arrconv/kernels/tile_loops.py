"""Loops around the tiles of sums, compiled by Numba; they run without the interpreter's lock."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from arrconv.kernels.microkernel import move, tile, vector_bytes, vector_length

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZES = {
    16: ((4, 3), (6, 2), (3, 3), (2, 5), (2, 4), *((1, vectors) for vectors in range(8, 0, -1))),
    32: ((4, 6), (6, 4), (8, 3), (3, 6), (2, 8), *((1, vectors) for vectors in range(16, 0, -1))),
}
"""(rows, vectors) of tiles whose sums, and what they are made of, fit so many registers."""


@cache
def tile_size(dtype: str, rows: int, terms: int, count: int) -> tuple[int, int]:
    """Rows and vectors of the tiles for a matrix (rows, terms) and positions in rows of so many: the fewest cycles.

    Processors begin two fused multiply-adds or two loads a cycle, and have the result of one after four.
    """
    length = vector_length(dtype)

    def cycles(size: tuple[int, int]) -> float:
        """For each position."""
        height, vectors = size
        lanes = vectors * length
        loads = 1 + height + vectors * (1 + vector_bytes() / 64)  # those that begin anywhere may end a line farther
        of_term = max(height * vectors, loads, 8) / 2
        to_store = height * (vectors if count % lanes == 0 else lanes)
        return -(-rows // height) * (terms * of_term + to_store) / lanes

    return min(_SIZES[16 if vector_bytes() == 32 else 32], key=cycles)


@cache
def multiply(dtype: str, rows: int, vectors: int) -> Callable[..., int]:
    """The function that computes all sums of a block in tiles of one size.

    Arguments:
        source, source_step: an array, flat, and its elements from group to group; it has as many elements as a tile is
            wide behind the last that a position reads.
        offsets: (terms,), from where a position begins in the source to what its sum reads.
        weights: (groups, tiles, terms, rows).
        tiles: (tiles + 1, 2), where each begins in the source, and its first segment.
        segments: (segments, 3), the lane of a tile, the position and how many.
        result, begin, channel_step: an array, flat, the element where it begins, and those from channel to channel.
        channels: of a group of the result.
        part: how many terms are added at a time.

    Returns whether any sum may be not finite, 0 or 1; sums of no position count, too.
    """
    sum_up = tile(dtype, rows, vectors)
    number, item, width = numba.from_dtype(np.dtype(dtype)), np.dtype(dtype).itemsize, vectors * vector_length(dtype)

    @numba.njit(nogil=True)  # type: ignore[untyped-decorator]
    def loops(
        source: Any, source_step: int, offsets: Any, weights: Any, tiles: Any, segments: Any,
        result: Any, begin: int, channel_step: int, channels: int, part: int,
    ) -> int:  # fmt: skip
        groups, heights, terms, _ = weights.shape
        sums = np.empty((heights * rows, width), number)
        # Addresses, and no parts of arrays, for which Numba would count references.
        from_source, from_weights, from_offsets = source.ctypes.data, weights.ctypes.data, offsets.ctypes.data
        to_result, to_sums = result.ctypes.data, sums.ctypes.data
        found = 0
        for group in range(groups):
            target = begin + group * channels * channel_step
            for at in range(len(tiles) - 1):
                read = from_source + item * (group * source_step + tiles[at, 0])
                first, last = tiles[at, 1], tiles[at + 1, 1]
                is_full = terms <= part and segments[first, 2] == width
                direct = channels // rows if is_full else 0  # so many are written where they belong
                written = to_result + item * (target + segments[first, 1])
                for term in range(0, terms, part):
                    factors = from_weights + item * rows * (group * heights * terms + term)
                    for high in range(heights):
                        if high < direct:
                            to, step = written + item * high * rows * channel_step, channel_step
                        else:
                            to, step = to_sums + item * high * rows * width, width
                        factors_of = factors + item * rows * high * terms
                        count = min(part, terms - term)
                        found |= sum_up(read, from_offsets + 8 * term, factors_of, count, to, step, term)
                for channel in range(direct * rows, channels):
                    for segment in range(first, last):
                        lane, position = segments[segment, 0], segments[segment, 1]
                        place = target + channel * channel_step + position
                        for on in range(segments[segment, 2]):
                            result[place + on] = sums[channel, lane + on]
        return found

    compiled: Callable[..., int] = loops
    return compiled


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def copy(
    source: Any, begin: int, channel_step: int, channels: int, rows: Any, parts: Any, every: int, target: Any
) -> None:
    """Copy rows of channels to a target (channels, rows, parts, columns), flat, with zeros around.

    Arguments:
        source, begin, channel_step, channels: an array, flat, where the first channel begins, the elements from one to
            the next, and how many.
        rows: (rows,), where each begins in a channel; −1 for one of zeros.
        parts: (parts, 3), of each part of a row the column, the element of the row, and how many.
        every: from which on every so many elements are copied.
        target: an array, flat.
    """
    size = target.size // channels
    columns = size // (len(rows) * len(parts))
    item, from_source, to_target = target.itemsize, source.ctypes.data, target.ctypes.data
    target[:] = 0
    for channel in range(channels):
        for row in range(len(rows)):
            if rows[row] < 0:
                continue
            for part in range(len(parts)):
                to = channel * size + (row * len(parts) + part) * columns + parts[part, 0]
                first = begin + channel * channel_step + rows[row] + parts[part, 1]
                if every == 1:
                    move(to_target + item * to, from_source + item * first, item * parts[part, 2])
                else:
                    for number in range(parts[part, 2]):
                        target[to + number] = source[first + every * number]
