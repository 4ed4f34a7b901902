"""Random cases: geometries of every kind that small sizes have, and the checks that are made of a geometry."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from arrconv import ConvSpec, Geometry
from arrconv_conformance.cases import BEFORE, NAMED_PADDINGS, Case, catalogue
from arrconv_conformance.data import DATA_SETS, is_available
from arrconv_conformance.layouts import LAYOUTS
from arrconv_conformance.members import MEMBERS, NEEDS
from arrconv_conformance.wrong import WRONG

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DTYPES = {
    "float32": 6,
    "float64": 6,
    "float16": 3,
    "bfloat16": 3,
    "complex64": 2,
    "complex128": 2,
    "int64": 1,
    "int32": 1,
    "int16": 1,
    "int8": 1,
    "uint8": 1,
}
_DATA = {
    "integers": 6,
    "normal": 3,
    "wide": 2,
    "nan": 2,
    "inf": 2,
    "huge": 2,
    "sparse": 1,
    "uniform": 1,
    "positive": 1,
    "cancelling": 1,
    "subnormal": 1,
    "underflow": 1,
    "extremes": 4,
    "tall": 3,
}


SEED = 20240229


def quick() -> Iterator[Case]:
    """The checks of `quick`: every geometry of the catalogue, with a small sample of what it can be asked."""
    for case in catalogue():
        yield from checks_of(case, extra=2)


def full() -> Iterator[Case]:
    """The checks of `full`: those of `quick`, a larger sample, and a thousand random geometries."""
    more = (check for case in catalogue(full=True) for check in checks_of(case, extra=8, seed=1))
    asked = set()
    for check in chain(quick(), more, sweep(1000, SEED)):
        if check not in asked:
            asked.add(check)
            yield check


def sweep(count: int, seed: int) -> Iterator[Case]:
    """The checks of so many random geometries, one after the other; those of a seed begin with those of fewer."""
    for case in generated(count, seed):
        yield from checks_of(case, extra=3, seed=seed)


def checks_of(case: Case, extra: int, seed: int = 0) -> Iterator[Case]:
    """The checks that are made of a case's geometry: every member in exact integers, then a sample of all the rest.

    Args:
        case: a geometry, and whatever else is to be kept of it.
        extra: for each member, the number of checks of a random dtype, data set and layout.
        seed: of the sample, which depends on the case's text as well.
    """
    rng = random.Random(f"{seed} {case}")
    first = [
        replace(case, member=name, dtype=dtype, data="integers") for name in MEMBERS for dtype in ("float32", "float64")
    ]
    rest = [_sampled(case, name, rng) for _ in range(extra) for name in MEMBERS]
    wrong = [
        _wrong(replace(case, member=name, dtype="float32", data="integers"), rng)
        for name in MEMBERS
        if rng.random() < 0.04
    ]
    seen = set()
    of_member = [check for check in first + rest + wrong if case.member in (None, check.member)]
    for check in [_as_asked(check, case) for check in of_member]:
        if check.is_applicable and is_available(str(check.dtype)) and check not in seen:
            seen.add(check)
            yield check


def _wrong(check: Case, rng: random.Random) -> Case:
    """A call that is wrong in one of the ways in which it can be, if there are any."""
    ways = [way for way in WRONG if replace(check, wrong=way).is_applicable]
    return replace(check, wrong=rng.choice(ways)) if ways else check


def _as_asked(check: Case, case: Case) -> Case:
    """With the fields that the case itself names."""
    named = {name: value for name in ("member", "dtype", "data", "wrong") if (value := getattr(case, name)) is not None}
    return replace(check, **named)


def _sampled(case: Case, member: str, rng: random.Random) -> Case:
    dtype = _weighted(rng, _DTYPES)
    data = _weighted(rng, {name: weight for name, weight in _DATA.items() if dtype in DATA_SETS[name].dtypes})
    takes = MEMBERS[member].takes
    layouts = [(role, rng.choice(list(LAYOUTS)[1:])) for role in takes if role != "bias" and rng.random() < 0.3]
    needs: tuple[str, ...] = ()
    if member.endswith("_backward") and rng.random() < 0.5:
        left_out = rng.choice(NEEDS)
        needs = tuple(need for need in NEEDS if need != left_out)
    return replace(
        case,
        member=member,
        dtype=dtype,
        data=data,
        needs=needs,
        layout=tuple(layouts),
        bias="none" if takes[2] == "bias" and rng.random() < 0.4 else None,
        before=rng.choice(BEFORE) if rng.random() < 0.15 else None,
    )


def _weighted(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def generated(count: int, seed: int, start: int = 0) -> Iterator[Case]:
    """`count` random geometries of 0 to 4 spatial dimensions, each of which depends on the seed and its number alone.

    Args:
        count: how many.
        seed: the seed.
        start: the number of the first.
    """
    for number in range(start, start + count):
        rng = random.Random(f"{seed} {number}")
        case = None
        while case is None:
            case = _random_case(rng, _weighted_ndim(rng))
        yield case


def _weighted_ndim(rng: random.Random) -> int:
    return rng.choices([0, 1, 2, 3, 4], [1, 6, 10, 5, 1])[0]


_LARGEST_SIZE = {0: 2, 1: 60, 2: 16, 3: 9, 4: 6}


def _random_case(rng: random.Random, ndim: int) -> Case | None:
    """A case, or None where the numbers that came up make none, or none that is worth asking."""
    groups, channels, multiplier = rng.choice([1, 1, 1, 2, 3, 5]), rng.choice([1, 2, 3, 4, 9]), rng.choice([1, 2, 3, 7])
    kernel = [rng.randint(1, 5 if ndim < 3 else 3) for _ in range(ndim)]
    sizes = _distinct(rng, ndim)
    mode = rng.choice(["zeros", "zeros", "circular", "reflect", "replicate"]) if ndim else "zeros"
    padding = _random_padding(rng, ndim, crops=mode == "zeros")
    spec = ConvSpec.of(
        ndim,
        stride=tuple(rng.choice([1, 1, 2, 2, 3, 4]) for _ in range(ndim)),
        padding=padding,  # type: ignore[arg-type]
        dilation=tuple(rng.choice([1, 1, 1, 2, 3]) for _ in range(ndim)),
        groups=groups,
        padding_mode=mode,  # type: ignore[arg-type]
    )
    geometry = Geometry.forward(
        spec, (rng.randint(1, 3), groups * channels, *sizes), (groups * multiplier, channels, *kernel)
    )
    if geometry.products("y") * math.prod(geometry.output_shape) >= 40_000:
        return None
    if 0 in geometry.output_size and rng.random() < 0.95:  # an empty result says little
        return None
    return Case(geometry, padding=padding if isinstance(padding, str) else None)


def _random_padding(rng: random.Random, ndim: int, *, crops: bool) -> str | Sequence[tuple[int, int]]:
    """By name, alike at both ends, which is all that many frameworks have, unequal, or cropping."""
    kind = rng.choice(["name", "alike", "alike", "alike", "unequal", "unequal", "cropped"])
    if kind == "name" and ndim:
        return rng.choice(NAMED_PADDINGS)
    least = -2 if kind == "cropped" and crops else 0
    pairs = [(rng.randint(least, 4), rng.randint(least, 4)) for _ in range(ndim)]
    return tuple((begin, begin) for begin, _ in pairs) if kind == "alike" else tuple(pairs)


def _distinct(rng: random.Random, ndim: int) -> list[int]:
    """Different sizes for all axes, since a confusion of axes shows in them alone."""
    return rng.sample(range(1 if rng.random() < 0.1 else 2, _LARGEST_SIZE[ndim] + 1), ndim)
