"""What cuDNN is tested with: dtypes, and geometries that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geometries import random_geometries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrconv import Geometry
    from arrconv.geometry import Direction

CASES = [
    "n=2 c=3 o=5 x=9,8 k=3,2 p=1:2,0 s=2,1 d=1,2",
    "n=2 c=6 o=9 g=3 x=7,5 k=2,3 p=1,0:2 s=2,3",
    "n=3 c=4 o=10 g=2 x=23 k=4 s=3 d=2 p=2:5",
    "n=2 c=1 o=3 x=5,4,6 k=2,3,2 s=1,2,1 p=1:0,2,0:1",
    "n=1 c=2 o=3 x=6,7 k=2,2 s=4,3",  # inputs that no tap reaches
    "n=4 c=5 o=7 x=3,6 k=1,1",
]
DIRECTIONS: tuple[Direction, ...] = ("y", "x", "w")
HALVES = {"float16": "HALF", "bfloat16": "BFLOAT16"}
"""Those of 16 bits, with cuDNN's names."""
DTYPES = [*HALVES, "float32", "float64"]


def served(count: int, seed: int) -> Iterator[Geometry]:
    """Random geometries that cuDNN has."""
    for g in random_geometries(count, seed=seed):
        if g.ndim and all(min(a.begin, a.end) >= 0 and a.output_size == a.full_output_size for a in g.axes):
            yield g
