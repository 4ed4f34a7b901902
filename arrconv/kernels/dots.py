"""The weight gradient of few channels as dot products: of an image with its outputs, shifted by each tap.

Both are copied to rows of one length, that of the padded image, with zeros behind those of the outputs. So what a tap
sees is one run of memory, and no window is copied: a matrix product of a few rows would spend its time on copies.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.kernels.blocks import block_workspace, boxes, cut, even, shares
from arrconv.kernels.gather import Buffer, Gather
from arrconv.kernels.threads import for_each, is_shared, threads_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array
    from arrconv.axis import Windows
    from arrconv.kernels.blocks import Box

_MOST_PAIRS = 4  # of an input and an output channel: each is a dot product, which reads two numbers for one product
_PART_BYTES = 2**23  # of images and outputs that are copied at a time: in smaller ones threads wait for the interpreter


def are_few(rows: int, channels: int, windows: tuple[Windows, ...]) -> bool:
    """Whether dot products are faster: for few pairs of channels, and positions that are neighbours."""
    if not 0 < rows * channels <= _MOST_PAIRS or any(w.step > 1 for w in windows) or all(w.taps == 1 for w in windows):
        return False
    return math.prod(w.span for w in windows) <= 4 * math.prod(w.count for w in windows)


def dots(x: Array, y: Array, windows: tuple[Windows, ...], dtype: Any) -> Array:
    """Σ over images and positions of y (N, G, O, *positions) times windows of x (N, G, C, *sizes): (G, O, C, *taps).

    Zeros behind a row of y meet elements of x that a tap does not see: where x is not finite, sums that should be
    finite may not be.
    """
    images, groups, rows = y.shape[:3]
    channels, taps = x.shape[2], tuple(w.taps for w in windows)
    work = y.size * channels * math.prod(taps)
    blocks, together = _plan(groups, (rows + channels) * dtype.itemsize, windows, block_workspace())
    pieces, ranges = list(product(range(images), blocks)), even(groups, together)
    # A sum is cut into parts, added in order, only where there are too few groups to share out.
    parts = cut(len(pieces), shares(len(ranges)) if is_shared(work) else 1)
    sums = np.zeros((len(parts), groups, rows, channels, *taps), dtype)

    def make_worker() -> Callable[[tuple[int, slice]], None]:
        gather, buffer = Gather(np, x, dtype), Buffer(np, dtype)

        def worker(task: tuple[int, slice]) -> None:
            part, gs = task
            for image, box in pieces[parts[part]]:
                slab = gather.padded(slice(image, image + 1), gs, slice(None), box)[0]  # (g, C, *spans)
                lines = buffer(len(slab), rows, box.windows[0].count, *slab.shape[3:])
                lines[...] = 0
                lines[(..., *(slice(w.count) for w in box.windows))] = y[(image, gs, slice(None), *box.places)]
                seen = _seen(slab, box)  # (g, 1, C, *taps, l)
                of_all_taps = lines.reshape(len(slab), rows, *(1 for _ in seen.shape[2:-1]), -1)[..., : seen.shape[-1]]
                sums[part, gs] += np.vecdot(of_all_taps, seen)

        return worker

    for_each(list(product(range(len(parts)), ranges)), make_worker, threads_for(np, work))
    for part in sums[1:]:
        sums[0] += part
    total: Array = sums[0]
    return total


@lru_cache(maxsize=128)
def _plan(
    groups: int, position_bytes: int, windows: tuple[Windows, ...], workspace: int
) -> tuple[tuple[Box, ...], int]:
    """Blocks of positions, and how many groups go together; a position and what it reads take so many bytes."""
    most = max(1, min(_PART_BYTES, workspace // 4) // position_bytes)
    blocks = tuple(boxes(windows, most))
    largest = max(math.prod(w.span for w in box.windows) for box in blocks)
    return blocks, max(1, min(groups, most // largest))


def _seen(slab: Array, box: Box) -> Array:
    """What each tap sees of a slab (g, C, *spans), a run from the first position to the last: (g, 1, C, *taps, l)."""
    of_group, of_channel, *pitches = slab.strides
    last = sum((w.count - 1) * pitch for w, pitch in zip(box.windows, pitches, strict=True)) // slab.itemsize
    return np.lib.stride_tricks.as_strided(
        slab,
        (len(slab), 1, slab.shape[1], *(w.taps for w in box.windows), last + 1),
        (
            of_group,
            0,
            of_channel,
            *(w.spacing * pitch for w, pitch in zip(box.windows, pitches, strict=True)),
            slab.itemsize,
        ),
    )
