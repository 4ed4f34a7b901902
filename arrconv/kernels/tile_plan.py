"""How positions are cut into blocks and tiles, and where the sums of a tile read the copy of the source."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from arrconv.kernels.blocks import boxes, shares

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.axis import Windows
    from arrconv.kernels.blocks import Box

SLAB_BYTES = 2**19
"""Of the source that one block reads: it is read once for every few channels, and stays in cache."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Where sums read the slab, which is the part of the source that is copied for a block of positions.

    The last axis of the slab is taken apart into as many parts as the windows' step, so that neighbouring positions
    read neighbouring elements. A tile reads a run of elements; which of them are positions, its segments say.

    Attributes:
        shape: of a channel of the slab: the spans, the last one as (step, elements).
        offsets: of the terms of a sum, channel by channel and tap by tap, from where its position begins.
        tiles, segments: of all positions, as `multiply` of the compiled loops has them.
    """

    shape: tuple[int, ...]
    offsets: Array
    tiles: Array
    segments: Array

    @property
    def elements(self) -> int:
        """Of a channel of the slab."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of positions, and what is copied for it.

    Attributes:
        box: the windows.
        pattern: which many blocks share.
        rows: where the rows of the slab begin in a channel of the source, −1 where they are outside; and
        parts: what is copied of a row, both as `copy` of the compiled loops has them.
    """

    box: Box
    pattern: Pattern
    rows: Array
    parts: Array

    @property
    def positions(self) -> int:
        """How many there are."""
        return math.prod(w.count for w in self.box.windows)


@lru_cache(maxsize=128)
def plan_blocks(
    images: int, channels: int, windows: tuple[Windows, ...], width: int, itemsize: int, workspace: int
) -> tuple[Block, ...]:
    """Blocks of positions whose slabs are small enough."""
    most = max(1, -(-math.prod(w.count for w in windows) // shares(images)))
    room = min(SLAB_BYTES, workspace) // (channels * itemsize)
    while True:
        cuts = list(boxes(windows, most))
        if most == 1 or max(_elements(box.windows) for box in cuts) <= room:
            break
        most = -(-most // 2)
    anywhere = (tuple(replace(w, size=0, start=0) for w in box.windows) for box in cuts)
    patterns = (_pattern(some, channels, width) for some in anywhere)
    return tuple(Block(box, pattern, _rows(box), _parts(box)) for box, pattern in zip(cuts, patterns, strict=True))


def _elements(windows: tuple[Windows, ...]) -> int:
    """Of a channel of a slab."""
    return math.prod(_slab_shape(windows))


def _slab_shape(windows: tuple[Windows, ...]) -> tuple[int, ...]:
    *others, last = windows
    return (*(w.span for w in others), last.step, last.spanned(last.step).count)


@lru_cache(maxsize=128)
def _pattern(windows: tuple[Windows, ...], channels: int, width: int) -> Pattern:
    *others, last = windows
    shape = _slab_shape(windows)
    pitches = [math.prod(shape[axis + 1 :]) for axis in range(len(others))]
    taps = []
    for *tap, last_tap in product(*(range(w.taps) for w in windows)):
        on, part = divmod(last.spacing * last_tap, last.step)
        along = (w.spacing * t * pitch for w, t, pitch in zip(others, tap, pitches, strict=True))
        taps.append(sum(along) + part * shape[-1] + on)
    begins = [
        sum(w.step * at * pitch for w, at, pitch in zip(others, place, pitches, strict=True))
        for place in product(*(range(w.count) for w in others))
    ]
    offsets = np.add.outer(np.arange(channels) * math.prod(shape), np.asarray(taps)).reshape(-1)
    arrays = (offsets, *_cover(begins, last.count, width))
    return Pattern(shape, *(np.asarray(array, np.int64) for array in arrays))


def _rows(box: Box) -> Array:
    """Where each row of a slab begins in a channel of the source, −1 outside."""
    *others, last = box.windows
    rows = np.zeros(1, np.int64)
    for w in others:
        read = np.arange(w.start, w.stop)
        is_inside = np.logical_and.outer(rows >= 0, (read >= 0) & (read < w.size))
        rows = np.where(is_inside, np.add.outer(rows * w.size, read), -1).reshape(-1)
    return np.where(rows >= 0, rows * last.size, -1)


def _parts(box: Box) -> Array:
    """Of each part of a row of a slab the column where the source begins, the element there, and how many follow."""
    last = box.windows[-1]
    parts = [last.spanned(last.step, part) for part in range(last.step)]
    return np.asarray([(w.seeing(0).start, w.seen(0).start, w.seeing(0).stop - w.seeing(0).start) for w in parts])


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
