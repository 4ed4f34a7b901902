"""Products added to where they belong: the transposed convolution of many channels to few.

The products of all taps with a block of y are one matrix product. To add those of a tap is to add one array to a part
of another, and fast where both are one run of memory: so the elements of x that a tap reaches, every stride-th one,
are kept together, and the rows of y end in as many zeros as keep the sums of one row from running into the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.axis import Windows
from arrconv.kernels.blocks import Box, cut, plan, shares
from arrconv.kernels.gather import Buffer, Gather
from arrconv.kernels.threads import for_each, threads_for
from arrconv.products import matmul

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array


@dataclass(frozen=True, slots=True)
class _Patch:
    """A block of positions, and the part of x that their windows reach.

    Attributes:
        box: the positions, with the zeros behind each row.
        sizes: of the elements of x that share residues modulo the stride, those that the zeros reach among them.
        taps: for each tap the residues that it reaches, by number, and how far on it does.
        residues: for each number where its elements lie in x, and where in the patch, those that are outside left out.
    """

    box: Box
    sizes: tuple[int, ...]
    taps: tuple[tuple[int, int], ...]
    residues: tuple[tuple[tuple[slice, ...], tuple[slice, ...]], ...]

    @property
    def room(self) -> int:
        """How many elements the patch has for each residue, and behind them those that only zeros reach."""
        return math.prod(self.sizes) + max(on for _, on in self.taps)


def scatter(lib: Any, source: Array, w: Array, windows: tuple[Windows, ...], out: Array) -> None:
    """Add to out (N, G, C, *sizes), through its windows, w (G, O, C, *taps) times source (N, G, O, *positions).

    Products are added patch by patch and tap by tap, so that a sum has one order; w must be finite.
    """
    if source.size == 0 or out.size == 0:
        return
    dtype = out.dtype
    groups, rows, channels, *taps = w.shape
    matrix = lib.ascontiguousarray(lib.moveaxis(w, 1, -1), dtype)  # (G, C, *taps, O)
    kernel = math.prod(taps)
    column_bytes = max(rows, channels * kernel) * dtype.itemsize
    blocks = plan(len(out), groups, column_bytes, windows, cached=lib is np, shared=1, joined=0)
    channel_ranges = cut(channels, shares(len(blocks.images) * len(blocks.groups)))

    def make_worker() -> Callable[[tuple[slice, slice, slice]], None]:
        gather = Gather(lib, source, dtype)
        products, sums = Buffer(lib, dtype), Buffer(lib, dtype)

        def worker(task: tuple[slice, slice, slice]) -> None:
            ns, gs, cs = task
            some = matrix[gs, cs].reshape(gs.stop - gs.start, -1, rows)  # (g, c·K, O)
            target = out[ns, gs, cs]
            lead = target.shape[:3]
            for box in blocks.boxes:
                patch = _patch(box.windows, tuple(place.start for place in box.places))
                columns = gather.padded(ns, gs, slice(None), patch.box)  # (n, g, O, *l)
                columns = columns.reshape(*columns.shape[:3], -1)
                found = products(*lead[:2], some.shape[1], columns.shape[3])
                matmul(lib, some, columns, out=found)
                found = found.reshape(*lead, kernel, -1)
                total = sums(*lead, len(patch.residues), patch.room)
                total[...] = 0
                for number, (residue, on) in enumerate(patch.taps):
                    total[..., residue, on : on + found.shape[4]] += found[..., number, :]
                for number, (places, within) in enumerate(patch.residues):
                    part = total[..., number, : math.prod(patch.sizes)].reshape(*lead, *patch.sizes)
                    target[(..., *places)] += part[(..., *within)]

        return worker

    work = source.size * channels * kernel
    for_each(list(product(blocks.images, blocks.groups, channel_ranges)), make_worker, threads_for(lib, work))


@lru_cache(maxsize=1024)
def _patch(windows: tuple[Windows, ...], corner: tuple[int, ...]) -> _Patch:
    """The patch of windows over x, the first of which is at these positions."""
    reached = [[divmod(w.spacing * tap, w.step) for tap in range(w.taps)] for w in windows]  # (on, residue)
    most = [max(on for on, _ in axis) for axis in reached]
    sizes = tuple(w.count + on for w, on in zip(windows, most, strict=True))
    counts = (windows[0].count, *sizes[1:])  # rows of the first axis have no row behind them to run into
    positions = tuple(
        Windows(first + w.count, 1, count, 1, 1, first) for w, first, count in zip(windows, corner, counts, strict=True)
    )
    numbers: dict[tuple[int, ...], int] = {}
    taps = []
    for tap in product(*reached):
        on = 0
        for (along, _), size in zip(tap, sizes, strict=True):
            on = on * size + along
        taps.append((numbers.setdefault(tuple(residue for _, residue in tap), len(numbers)), on))
    residues = []
    for number in numbers:
        found = [_elements(w, residue, size) for w, residue, size in zip(windows, number, sizes, strict=True)]
        residues.append((tuple(place for place, _ in found), tuple(within for _, within in found)))
    return _Patch(Box.of(positions, (), 0), sizes, tuple(taps), tuple(residues))


def _elements(windows: Windows, residue: int, size: int) -> tuple[slice, slice]:
    """Of so many elements a step apart, from the first that the windows reach and a residue on: where, and which."""
    reach = Windows(windows.size, 1, size, windows.step, 1, windows.start + residue)
    return reach.seen(0), reach.seeing(0)
