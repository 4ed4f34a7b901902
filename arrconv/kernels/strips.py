"""How a walk is cut into strips: windows that share what they read along the first axis, which is gathered once.

A window of k rows shares all but a step of them with the next. Columns that hold each row once, one row after the
other, need no copy for each tap along the first axis: k rows in a row are the columns of a window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

from arrconv.kernels.blocks import Box, boxes, even, shares

if TYPE_CHECKING:
    from arrconv.axis import Windows

_STRIP_BYTES = 2**22  # gathered elements of one strip: they are read several times, so they should stay in cache
_LEAST_COLUMNS = 64  # of one matrix product
_LEAST_WINDOWS = 4  # along the first axis, times its taps: what a strip reads beyond them is gathered twice


@dataclass(frozen=True, slots=True)
class Strip:
    """A block of windows that are kin along the first axis.

    Attributes:
        box: what is gathered: the windows, but each element of the first axis once, through one tap.
        count: the number of windows along the first axis.
        step: how many gathered rows lie between one and the next.
        places: where the strip lies among the positions, as a slice of each axis.
        flat: the same as a range of the flattened positions of the other axes.
    """

    box: Box
    count: int
    step: int
    places: tuple[slice, ...]
    flat: slice


@dataclass(frozen=True, slots=True)
class Strips:
    """Ranges of groups, and the strips of each image."""

    groups: tuple[slice, ...]
    strips: tuple[Strip, ...]


def share_rows(windows: tuple[Windows, ...]) -> bool:
    """Whether windows share so much along the first axis that strips gather at most half of what blocks do."""
    if len(windows) < 2 or math.prod(w.count for w in windows[1:]) < _LEAST_COLUMNS // 2:
        return False
    return 2 * windows[0].advance <= windows[0].taps and windows[0].count > 1


@lru_cache(maxsize=128)
def plan_strips(images: int, groups: int, column_bytes: int, windows: tuple[Windows, ...], workspace: int) -> Strips:
    """Cut groups and positions into strips; a gathered column of one row takes `column_bytes`.

    Strips depend on the sizes and the workspace alone, never on the number of threads.
    """
    first, others = windows[0], windows[1:]
    target = min(workspace, _STRIP_BYTES)
    places = math.prod(w.count for w in others)
    columns = target // (column_bytes * (_LEAST_WINDOWS + 1) * first.taps)
    columns = min(places, max(1, min(workspace // (column_bytes * first.taps), max(_LEAST_COLUMNS, columns))))
    rows = max(first.taps, target // (column_bytes * columns))
    longest = min(-(-first.count // first.kin), (rows - first.taps) // first.advance + 1)
    longest = min(longest, max(_LEAST_WINDOWS * first.taps, -(-first.count // shares(images * groups))))
    found = []
    for residue in range(min(first.kin, first.count)):
        kin = first.part(residue, len(range(residue, first.count, first.kin)), first.kin)
        for some, rest in product(even(kin.count, longest), tuple(boxes(others, columns))):
            part = kin.part(some.start, some.stop - some.start)
            start = residue + some.start * first.kin
            place = slice(start, start + (part.count - 1) * first.kin + 1, first.kin)
            box = Box.of((part.elements(), *rest.windows), (), 0)
            found.append(Strip(box, part.count, first.advance, (place, *rest.places), rest.flat))
    most = max(math.prod(w.count for w in strip.box.windows) for strip in found)
    together = max(1, min(groups, target // (column_bytes * most)))
    return Strips(tuple(even(groups, together)), tuple(found))
