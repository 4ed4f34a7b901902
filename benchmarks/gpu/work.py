"""The tasks of `benchmarks.peers`, with more images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.peers.work import DIRECTIONS, ROWS, Row, Task

TIMES = 16
"""How many times the images of the CPU's tasks; the smallest call stays what it is."""

DTYPES = ("float64", "float32", "float16")


def with_images(row: Row, count: int) -> Row:
    """The same row with so many images."""
    return replace(row, case=str(replace(row.geometry, batch=count)))


def enlarged(row: Row) -> Row:
    """The row as it is measured."""
    return row if row.name == "smallest" else with_images(row, TIMES * (row.geometry.batch or 1))


def tasks(rows: list[str] | None, dtypes: list[str] | None) -> Iterator[Task]:
    """Those of some rows and dtypes, or of all."""
    for dtype in dtypes or DTYPES:
        for direction in DIRECTIONS:
            for name in rows or ROWS:
                yield Task(enlarged(ROWS[name]), direction, dtype)
