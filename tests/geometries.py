"""Seeded random geometries that hide nothing: sizes pairwise different, every option, few enough products to loop."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from arrconv import ConvSpec, Geometry
from arrconv.spec import PADDING_MODES

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_PRODUCTS = {0: 4000, 1: 3000, 2: 6000, 3: 9000}


def random_geometries(count: int, *, seed: int) -> Iterator[Geometry]:
    """`count` geometries with all options, taking turns over 0 … 3 spatial dimensions."""
    rng = random.Random(seed)
    for number in range(count):
        yield _geometry(rng, number % 4)


def transposable_geometries(count: int, *, seed: int) -> Iterator[Geometry]:
    """`count` geometries of 1 to 3 dimensions with the same zeros at both ends, taking turns; others cannot."""
    rng = random.Random(seed)
    for number in range(count):
        yield _geometry(rng, 1 + number % 3, symmetric=True)


def _geometry(rng: random.Random, ndim: int, symmetric: bool = False) -> Geometry:
    while True:
        candidate = _candidate(rng, ndim, symmetric)
        products = candidate.products("y") * math.prod(candidate.output_shape)
        if products <= _MOST_PRODUCTS[ndim] and _telling(candidate):
            return candidate


def _candidate(rng: random.Random, ndim: int, symmetric: bool) -> Geometry:
    groups = rng.choice([1, 1, 2, 3, 4])
    channels, multiplier = rng.choice([1, 1, 2, 3]), rng.choice([1, 2, 3])
    longest = {0: 1, 1: 23, 2: 11, 3: 7}[ndim]
    kernel = [rng.randint(1, 4 if ndim < 3 else 3) for _ in range(ndim)]
    size = rng.sample(range(2, longest + 1), ndim) if ndim else []
    mode = "zeros" if symmetric else rng.choice(["zeros", *PADDING_MODES])
    low = -1 if mode == "zeros" else 0
    pairs = tuple((rng.randint(low, 5), rng.randint(low, 5)) for _ in range(ndim))
    if symmetric:
        pairs = tuple((max(begin, 0),) * 2 for begin, _ in pairs)
    elif rng.random() < 0.15:
        pairs = rng.choice(["valid", "same_upper", "same_lower"])
    spec = ConvSpec.of(
        ndim,
        stride=tuple(rng.randint(1, 4) for _ in range(ndim)),
        padding=pairs,
        dilation=tuple(rng.randint(1, 3) for _ in range(ndim)),
        groups=groups,
        padding_mode=mode,  # type: ignore[arg-type]
    )
    lead = () if rng.random() < 0.1 else (rng.choice([2, 3]),)
    return Geometry.forward(spec, (*lead, groups * channels, *size), (groups * multiplier, channels, *kernel))


def _telling(geometry: Geometry) -> bool:
    """Whether no two of batch, channels and output sizes are equal, so that an exchange of axes shows."""
    numbers = [geometry.batch, geometry.in_channels, geometry.out_channels]
    return len(set(numbers)) == len(numbers) and 0 not in geometry.output_size and _differ(geometry.input_size)


def _differ(sizes: tuple[int, ...]) -> bool:
    return len(set(sizes)) == len(sizes)
