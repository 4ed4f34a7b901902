"""The tasks of `benchmarks.peers`, with more images, and those first that say most."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import lru_cache

from benchmarks.peers.work import DIRECTIONS, ROWS, Row, Task

TIMES = 16
"""How many times the images of the CPU's tasks; the smallest call stays what it is."""

DTYPES = ("float64", "float32", "float16", "bfloat16")

SMALLEST = "smallest"

BY_WEIGHT = (
    SMALLEST,
    "3×3 at 28",
    "denoiser 2",
    "U-Net 3×3 at 128",
    "1×1 at 56",
    "stem 7×7 s2",
    "depthwise 3×3",
    "DCGAN 4×4 s2",
    "3×3 at 56",
    "denoiser 2 transposed",
    "3×3 at 14",
    "grouped 3×3",
    "1-D, 31 taps",
    "3-D, 3×3×3",
    "denoiser 1",
    "denoiser 1 transposed",
    "3×3 at 7",
    "dilated 3×3",
)
"""All rows, one of each kind before others of the same kind: time may be over before the last."""


def with_images(row: Row, count: int) -> Row:
    """The same row with so many images."""
    return replace(row, case=str(replace(row.geometry, batch=count)))


def enlarged(row: Row) -> Row:
    """The row as it is measured."""
    return row if row.name == SMALLEST else with_images(row, TIMES * (row.geometry.batch or 1))


@lru_cache(maxsize=2)  # with its operands
def one_image(task: Task) -> Task:
    """The same task of a single image, which is small enough to be computed on the host."""
    return task if task.row.geometry.batch == 1 else replace(task, row=with_images(task.row, 1))


def tasks(rows: Collection[str] | None, dtypes: Collection[str] | None) -> Iterator[Task]:
    """Those of some rows and dtypes, or of all: row by row, so that all dtypes and directions have the same rows."""
    for name in BY_WEIGHT:
        if rows is None or name in rows:
            for dtype in DTYPES if dtypes is None else dtypes:
                for direction in DIRECTIONS:
                    yield Task(enlarged(ROWS[name]), direction, dtype)
