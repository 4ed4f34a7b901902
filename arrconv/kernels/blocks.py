"""How a walk over groups and windows is cut into blocks whose gathered columns fit cache and workspace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

from arrconv.kernels.limits import current_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrconv.axis import Windows

BLOCK_BYTES = 2**22
"""Gathered columns of one block: enough for a matrix product at full rate, and in cache."""

_LEAST_COLUMNS = 128  # below this many columns a matrix product mostly reads the other matrix
_SMALL_BYTES = 2**18  # of the columns of an image that is too small to be cut
_SHARES = 4  # the least number of pieces to cut large work into, so that several threads have something to do
_PARTS = 4  # of the workspace: the columns, the slab they come from (up to two), a product that is not written in place


@dataclass(frozen=True, slots=True)
class Box:
    """A block of windows, and all that its sizes decide; made once for many images and calls.

    Attributes:
        windows: the part of each axis.
        places: where the block lies among the positions, as a slice of each axis.
        flat: the same as a range of the flattened positions.
        shape: the taps, then the positions, of the block's columns.
        span: what the windows read of the source, as a slice of each axis; meaningful where it is inside.
        is_inside: whether the windows read nothing beyond the source.
        is_dense: whether the span is worth copying whole: at most twice what the windows hold.
    """

    windows: tuple[Windows, ...]
    places: tuple[slice, ...]
    flat: slice
    shape: tuple[int, ...]
    span: tuple[slice, ...]
    is_inside: bool
    is_dense: bool

    @classmethod
    def of(cls, windows: tuple[Windows, ...], places: tuple[slice, ...], first: int) -> Box:
        """The block of these windows, whose first position has the flat index `first`."""
        counts = tuple(w.count for w in windows)
        shape = (*(w.taps for w in windows), *counts)
        reach = math.prod(w.span for w in windows)
        return cls(
            windows,
            places,
            flat=slice(first, first + math.prod(counts)),
            shape=shape,
            span=tuple(slice(w.start, w.stop) for w in windows),
            is_inside=all(w.is_inside for w in windows),
            is_dense=reach <= 2 * math.prod(shape),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """How a walk is cut: into ranges of images and of groups, and boxes of windows.

    `is_joined` says that the columns of several images make one matrix; `is_whole` that the windows are of one element
    each, the source in order: columns that need no gathering.
    """

    images: tuple[slice, ...]
    groups: tuple[slice, ...]
    boxes: tuple[Box, ...]
    is_joined: bool
    is_whole: bool


def block_workspace() -> int:
    """The bytes that the columns of one block may take."""
    return current_limits().workspace // _PARTS


def plan(
    images: int, groups: int, column_bytes: int, windows: tuple[Windows, ...], *, cached: bool, shared: int, joined: int
) -> Plan:
    """Cut images, groups and positions into blocks; a column, one window of one group, takes `column_bytes`.

    Blocks depend on the sizes and the workspace alone, never on the number of threads. With `cached` they are sized
    for a processor's cache, else for the workspace. Work that is in `shared` pieces already is cut into as many more
    as several threads need. Images of fewer than `joined` positions are joined.
    """
    workspace = block_workspace()
    target = min(workspace, BLOCK_BYTES) if cached else workspace
    return _plan(images, groups, max(1, column_bytes), windows, workspace, target, shared, joined)


def cut(length: int, parts: int) -> list[slice]:
    """0 … length in at most so many ranges of nearly equal length; one empty range if the length is 0."""
    step = max(1, -(-length // parts))
    return [slice(start, min(start + step, length)) for start in range(0, max(1, length), step)]


def even(length: int, most: int) -> list[slice]:
    """0 … length in ranges of at most so many, of nearly equal length."""
    return cut(length, -(-length // most))


def shares(pieces: int) -> int:
    """How often to cut again what is in so many pieces already."""
    return -(-_SHARES // pieces)


@lru_cache(maxsize=128)
def _plan(
    images: int,
    groups: int,
    column_bytes: int,
    windows: tuple[Windows, ...],
    workspace: int,
    target: int,
    shared: int,
    joined: int,
) -> Plan:
    positions = max(1, math.prod(w.count for w in windows))
    columns = max(target // column_bytes, min(_LEAST_COLUMNS, workspace // column_bytes), 1)
    if positions * column_bytes * groups > _SMALL_BYTES:
        columns = min(columns, max(_LEAST_COLUMNS, -(-positions // shares(images * shared))))
    columns = min(columns, positions)
    step = max(1, min(groups, target // (columns * column_bytes)))
    ranges = tuple(even(groups, step))
    cuts = tuple(boxes(windows, columns))
    together = 1
    if len(cuts) == 1:
        least = min(-(-_LEAST_COLUMNS // positions), workspace // (positions * column_bytes * step))
        fair = images * len(ranges) * shared // _SHARES
        together = max(1, min(max(target // (positions * column_bytes * step), least), fair))
    return Plan(
        tuple(even(images, together)),
        ranges,
        cuts,
        is_joined=together > 1 and positions < joined,
        is_whole=all(w.is_identity for w in windows),
    )


def boxes(windows: tuple[Windows, ...], columns: int) -> Iterator[Box]:
    """Boxes of at most `columns` positions, each a contiguous range of the flattened ones."""
    counts = [w.count for w in windows]
    lengths: list[int] = []
    inner = 1
    for count in reversed(counts):
        length = min(count, max(1, columns // inner))
        length = -(-count // -(-count // length)) if length else 1  # pieces of nearly equal length
        lengths.insert(0, length)
        inner = inner * count if length == count else columns + 1  # once an axis is cut, those before go one by one
    for corner in product(*(range(0, count, length) for count, length in zip(counts, lengths, strict=True))):
        places = tuple(
            slice(at, min(at + length, count)) for at, length, count in zip(corner, lengths, counts, strict=True)
        )
        parts = tuple(w.part(place.start, place.stop - place.start) for w, place in zip(windows, places, strict=True))
        first = 0
        for at, count in zip(corner, counts, strict=True):
            first = first * count + at
        yield Box.of(parts, places, first)
