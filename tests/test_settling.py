"""What is said to be certain is: every sum in the interval rounds to the numbers found, in Python's integers."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest

from arrconv.bounds import FORMATS
from arrconv.expansion import Leading
from arrconv.settling import Known, Nearest, Parts, Settled

NAMES = ["float16", "bfloat16", "float32", "float64"]
UNIT = 1130  # integers count multiples of 2**-UNIT
WAYS = ["nearest", "above", "gap"]
PLACES = [-700, -30, -1, 0, 1, 60, 400]


def whole(number: float) -> int:
    """A number times 2**UNIT."""
    fraction, exponent = math.frexp(number)
    return int(fraction * 2.0**53) << exponent - 53 + UNIT


def wholes(array: np.ndarray) -> list[int]:
    return [whole(number) for number in array.tolist()]


def split(exact: int, way: str = "nearest") -> tuple[float, float, float]:
    """What is nearest to a sum, to what that leaves, and to what is left then; or another number, or 0 in between."""
    high = to_float(exact) if way != "above" else math.nextafter(to_float(exact), math.inf)
    low = to_float(exact - whole(high)) if way != "gap" else 0.0
    return high, low, to_float(exact - whole(high) - whole(low))


def to_float(exact: int) -> float:
    """The nearest number."""
    return exact / (1 << UNIT)


def nearest(exact: int, digits: int, least: int) -> int:
    """Rounded to so many bits, or to a multiple of 2**least where that is coarser; ties to even."""
    dropped = max(abs(exact).bit_length() - digits, least)
    quotient, rest = divmod(2 * exact, 2 << dropped)
    return quotient + (rest > 1 << dropped or (rest == 1 << dropped and quotient % 2 == 1)) << dropped


class Intervals(NamedTuple):
    """Sums and how far they may be off, as integers; `least` is where the subnormal numbers end."""

    middles: list[int]
    missing: list[int]
    least: int

    def known(self, way: str = "nearest") -> Known:
        """The same as arrays; leading parts that do not fit the other ways are the nearest."""
        pairs = zip(self.middles, self.missing, strict=True)
        parts = [split(m, way if width and sum(map(whole, split(m, way))) == m else "nearest") for m, width in pairs]
        arrays = [np.asarray(part) for part in [*zip(*parts, strict=True), list(map(to_float, self.missing))]]
        assert [sum(parts) for parts in zip(*map(wholes, arrays[:3]), strict=True)] == self.middles
        assert wholes(arrays[3]) == self.missing
        return Known(Leading(*arrays[:3]), arrays[3], math.ldexp(1.0, self.least - UNIT))


def boundaries(rng: random.Random, digits: int, least: int, count: int) -> list[int]:
    """Where the rounded number changes: midpoints, some next to powers of two, at zero, or of subnormal numbers."""
    found = []
    for _ in range(count):
        place = rng.choice(PLACES) + UNIT
        significand = rng.choice([1 << digits - 1, (1 << digits) - 1, rng.randrange(1 << digits - 1, 1 << digits)])
        sort = rng.random()
        if sort < 0.2:
            exact = rng.randrange(0, 9) * (1 << least - 1)  # in or near the smallest numbers
        elif sort < 0.3:
            exact = ((1 << digits - 1) + rng.randrange(-2, 3)) * 2 + rng.choice([-1, 0, 1]) << least - 1
        else:
            half = 2 * significand + rng.choice([-1, 1])
            if significand == 1 << digits - 1 and half < 2 * significand:
                half = 4 * significand - 1  # below a power of two the numbers are denser
                place -= 1
            exact = half << place - digits
        found.append(rng.choice([-1, 1]) * exact)
    return found


def short(rng: random.Random, place: int) -> int:
    """A number of few bits about 2**place."""
    return rng.randrange(1, 32) << max(place - 4, UNIT - 1074)


def intervals(rng: random.Random, digits: int, least: int, count: int, ulps: list[int]) -> Intervals:
    """Sums some bits away from a boundary, with more or less missing, or nothing."""
    middles, missing = [], []
    for boundary in boundaries(rng, digits, least, count):
        size = max(boundary.bit_length(), least)
        away = rng.choice([-1, 0, 1]) * short(rng, size - rng.choice(ulps))
        share = rng.choice([0, 1, 2, 3, 4])
        if share == 0 or away == 0:
            width = 0 if rng.random() < 0.6 else short(rng, size - rng.choice(ulps))
        elif share == 1:
            width = abs(away)  # exactly up to the boundary
        elif share == 2:
            width = abs(away) + rng.choice([-1, 1]) * (1 << max(abs(away).bit_length() - 30, UNIT - 1074))
        elif share == 3:
            width = abs(away) >> 1 or 1 << UNIT - 1074
        else:
            width = short(rng, abs(away).bit_length() - rng.choice([3, 20, 60]))
        middles.append(boundary + away)
        missing.append(width >> UNIT - 1074 << UNIT - 1074)
    return Intervals(middles, missing, least)


def ends(interval: tuple[int, int]) -> list[int]:
    middle, missing = interval
    return [middle - missing, middle - missing // 2, middle, middle + missing // 3, middle + missing]


def check_nearest(got: Settled, cases: Intervals, digits: int) -> tuple[int, int]:
    """Fail unless what is certain is so; how much of what had something missing was certain, and how much was not."""
    (numbers,) = got.numbers
    pairs = list(zip(cases.middles, cases.missing, strict=True))
    for value, number, certain, interval in zip(
        wholes(numbers), numbers.tolist(), got.certain.tolist(), pairs, strict=True
    ):
        assert certain or interval[1] > 0
        for exact in ends(interval) if certain else []:
            assert nearest(exact, digits, cases.least) == value, (interval, number)
            if value == 0:
                assert math.copysign(1, number) == (-1 if exact < 0 else 1)
    certain = [found for found, (_, missing) in zip(got.certain.tolist(), pairs, strict=True) if missing]
    return sum(certain), len(certain) - sum(certain)


# The nearest number


@pytest.mark.parametrize("least", [UNIT - 1074, UNIT - 40])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_certain_to_be_nearest_is(name: str, least: int) -> None:
    rng, target = random.Random(f"{name} {least}"), FORMATS[name]
    digits = target.fraction_bits + 1
    cases = intervals(rng, digits, least, 4000, [digits + 1, digits + 2, digits + 5, digits + 20, 90, 104])
    cases = fitting(cases)
    for way in WAYS:
        got = Nearest(target).settle(np, cases.known(way))
        assert min(check_nearest(got, cases, digits)) > 100


def fitting(cases: Intervals) -> Intervals:
    """Those whose sums are three float64 numbers."""
    kept = []
    for middle, missing in zip(cases.middles, cases.missing, strict=True):
        if sum(map(whole, split(middle))) == middle:
            kept.append((middle, missing))
    assert len(kept) > 0.5 * len(cases.middles)
    return Intervals([middle for middle, _ in kept], [missing for _, missing in kept], cases.least)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_missing_is_always_certain(name: str) -> None:
    """Then only the sign of the rest is meant, and a tie is decided by whatever is beyond it."""
    target, ulp = FORMATS[name], 2.0 ** -FORMATS[name].fraction_bits
    goal, smallest = Nearest(target), 2.0**-1000
    high, low, rest, expected = [], [], [], []
    for sign in (1.0, -1.0):
        for beyond in (-1, 0, 1):
            value = 1 + ulp if beyond > 0 else 1.0
            if name == "float64":
                high.append(sign * value)
                low.append(sign * (ulp / 2 if beyond <= 0 else -ulp / 2))
                rest.append(sign * beyond * 2.0**-400)
            else:
                high.append(sign * (1 + ulp / 2))
                low.append(sign * beyond * 2.0**-400)
                rest.append(0.0)
            expected.append(sign * value)
    arrays = [np.asarray(part) for part in (high, low, rest)]
    got = goal.settle(np, Known(Leading(*arrays), np.zeros(6), smallest))
    assert got.certain.all()
    assert got.numbers[0].tolist() == expected


@pytest.mark.parametrize("name", NAMES)
def test_most_of_what_is_not_near_a_boundary_is_certain(name: str) -> None:
    """Or nothing would ever be settled: numbers themselves with up to a quarter of their spacing missing."""
    rng, target = np.random.default_rng(2), FORMATS[name]
    significand = rng.integers(2**target.fraction_bits, 2 ** (target.fraction_bits + 1), 500).astype(float)
    high = np.ldexp(significand, rng.integers(-200, 200, 500)) * rng.choice([-1, 1], 500)
    missing = abs(high) * 2.0 ** -(target.fraction_bits + 4)
    zeros = np.zeros(500)
    assert Nearest(target).settle(np, Known(Leading(high, zeros, zeros), missing, 2.0**-400)).certain.all()
    beyond = Nearest(target).settle(np, Known(Leading(high, zeros, zeros), 32 * missing, 2.0**-400))
    assert not beyond.certain.any()


@pytest.mark.parametrize("goal", [Nearest(FORMATS["float32"]), Nearest(FORMATS["float64"]), Parts()])
def test_nothing_is_certain_about_zero_with_something_missing(goal: Nearest | Parts) -> None:
    high = np.asarray([0.0, -0.0, 2.0**-1000, -(2.0**-1000), 2.0**-700])
    missing = np.asarray([2.0**-1000, 2.0**-1074, 2.0**-1000, 2.0**-999, 2.0**-600])
    for smallest in (2.0**-1074, 2.0**-149, 1.0):  # the last: all rounds to zero, but its sign is not known
        assert not goal.settle(np, Known(Leading(high, 0 * high, 0 * high), missing, smallest)).certain.any()


def test_what_rounds_to_zero_keeps_a_sign_that_is_certain() -> None:
    high = np.asarray([0.25, -0.25, 0.5, -0.5, 0.5])
    zeros, missing = np.zeros(5), np.asarray([0.125, 0.125, 0.0, 0.0, 0.125])
    for name in NAMES:
        got = Nearest(FORMATS[name]).settle(np, Known(Leading(high, zeros, zeros), missing, 1.0))
        assert got.certain.tolist() == [True, True, True, True, False]
        assert np.array_equal(np.signbit(got.numbers[0][:4]), [False, True, False, True])
        assert not got.numbers[0][:4].any()


def test_each_element_may_have_its_own_smallest_number() -> None:
    high, zeros, smallest = np.full(4, 2.75), np.zeros(4), np.asarray([0.25, 0.5, 1.0, 8.0])
    for missing, certain in ((zeros, [True] * 4), (np.full(4, 2.0**-30), [True, False, True, True])):
        for name in ("float16", "float64"):
            got = Nearest(FORMATS[name]).settle(np, Known(Leading(high, zeros, zeros), missing, smallest))
            assert got.certain.tolist() == certain
            assert got.numbers[0][got.certain].tolist() == np.asarray([2.75, 3, 3, 0])[certain].tolist()


# Two numbers


def exact_parts(exact: int, least: int) -> tuple[int, int]:
    high = nearest(exact, 53, least)
    return high, nearest(exact - high, 53, least)


def part_intervals(rng: random.Random, least: int, count: int) -> Intervals:
    """Sums near a change of the high number, of the low one, or of that where it is subnormal."""
    middles, missing = [], []
    for boundary in boundaries(rng, 53, least, count):
        size, high, sign = max(boundary.bit_length(), least), nearest(boundary, 53, least), rng.choice([-1, 1])
        sort, far = rng.randrange(3), rng.choice([0, 0, 1]) * sign
        if sort == 0:
            middle = boundary + sign * short(rng, size - rng.choice([54, 70, 106, 107]))
            middle += rng.choice([-1, 0, 1]) * short(rng, size - rng.choice([108, 109, 110, 130]))
        elif sort == 1:  # between two low numbers
            place = max(size - 108 - rng.choice([0, 1, 30]), UNIT - 1074)
            middle = high + rng.choice([-1, 1]) * (rng.randrange(2**53, 2**54) | 1) * 2**place
            middle += far * short(rng, place - rng.choice([1, 20, 60]))
        else:
            middle = high + rng.choice([-1, 1]) * (2 * rng.randrange(2 ** rng.randrange(1, 54)) + 1 << least - 1)
            middle += far * short(rng, least - rng.choice([2, 50, 56, 90]))
        middles.append(middle)
        missing.append(short(rng, size - rng.choice([100, 108, 112, 120, 150, 170, 220])) * int(rng.random() < 0.8))
    return fitting(Intervals(middles, missing, least))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("least", [UNIT - 1074, UNIT - 120, UNIT - 60])
def test_parts_that_are_certain_are_right(least: int, way: str) -> None:
    rng = random.Random(least)
    cases = part_intervals(rng, least, 6000)
    known = cases.known(way)
    got, counts = Parts().settle(np, known), {True: 0, False: 0}
    columns = (cases.middles, cases.missing, *map(wholes, got.numbers), got.numbers[1].tolist(), got.certain.tolist())
    for middle, missing, h, l, low, certain in zip(*columns, strict=True):  # noqa: E741 - the low number
        assert certain or missing > 0
        counts[certain] += missing > 0
        for exact in ends((middle, missing)) if certain else []:
            assert (h, l) == exact_parts(exact, least), (middle, missing)
            if l == 0:
                assert math.copysign(1, low) == (-1 if exact - h < 0 else 1)
    assert counts[False] > 100
    assert way != "nearest" or counts[True] > 100
    if way == "nearest":  # where nothing is missing, nothing but the sign of the rest counts
        signs = np.sign(known.leading.rest)
        for hint in (signs * 2.0**-1074, signs * 2.0**50):
            same = Parts().settle(np, replace(known, leading=replace(known.leading, rest=hint)))
            for ours, theirs in zip(got.numbers, same.numbers, strict=True):
                assert np.array_equal(ours[known.missing == 0], theirs[known.missing == 0])


def test_parts_of_what_has_random_bits() -> None:
    """Here nearly all is certain once enough is known."""
    rng = np.random.default_rng(4)
    high = rng.standard_normal(2000)
    low = high * rng.uniform(-1, 1, 2000) * 2.0**-55
    rest = low * rng.uniform(-1, 1, 2000) * 2.0**-55
    known = Known(Leading(high, low, rest), abs(high) * 2.0**-125, 2.0**-1074)
    got = Parts().settle(np, known)
    assert got.certain.mean() > 0.99
    assert np.array_equal(got.numbers[0], high)
    assert np.array_equal(got.numbers[1][got.certain], low[got.certain])


# What is known approximately


def test_an_approximation_keeps_the_sum_in_its_interval() -> None:
    rng, rows = np.random.default_rng(5), 4000
    high = np.ldexp(rng.choice([1, -1, 1.5, 2 - 2.0**-52], rows), rng.integers(-300, 300, rows))
    low = abs(high) * rng.choice([0, 2.0**-54, -(2.0**-54), 2.0**-53, 1.3 * 2.0**-60], rows)
    rest = abs(high) * rng.choice([0, 2.0**-108, -1.7 * 2.0**-110, 1.1 * 2.0**-170], rows)
    tail = abs(high) * rng.choice([2.0**-50, -(2.0**-53), 1 / 3 * 2.0**-60, 2.0**-106, 0, -1.0], rows)
    tail = np.where(rng.random(rows) < 0.1, -rest * (1 + 2.0**-52), tail)
    missing = abs(tail) * rng.choice([0, 2.0**-53, 1.7 * 2.0**-48, 2.0**-80, 1], rows)
    known = Known.approximately(Leading(high, low, rest), tail, missing, 2.0**-149)
    assert known.smallest == 2.0**-149
    given = (wholes(part) for part in (high, low, rest, tail, missing))
    found = (wholes(part) for part in (known.leading.high, known.leading.low, known.leading.rest, known.missing))
    inexact = 0
    for (a, b, c, d, width), (*parts, wider) in zip(zip(*given, strict=True), zip(*found, strict=True), strict=True):
        total = a + b + c + d
        off = abs(total - sum(parts))
        assert off + width <= wider  # so each sum that was possible is in the new interval
        assert wider <= (width + (abs(c) + abs(d)) // 2**51) * (1 + Fraction(1, 2**30)) + 1  # and not much else
        inexact += off > 0
    assert inexact > 100


@pytest.mark.parametrize("name", NAMES)
def test_what_an_approximation_settles_is_right(name: str) -> None:
    """A sum near a tie, its bits beyond some place known as a tail that is off by no more than it says."""
    rng, target = random.Random(name), FORMATS[name]
    digits, least = target.fraction_bits + 1, UNIT - 1000
    cases = intervals(rng, digits, least, 3000, [digits + 3, digits + 9, 70, 90])
    columns: list[list[float]] = [[], [], [], [], []]
    for middle in cases.middles:
        tail = rng.choice([-1, 0, 1]) * short(rng, middle.bit_length() - rng.choice([20, 54, 60, 100]))
        off = short(rng, max(middle.bit_length() - rng.choice([40, 60, 80, 100, 120]), UNIT - 1000))
        left = middle - tail + rng.choice([-1, 0, 1]) * off
        parts = split(left)
        left -= sum(map(whole, parts))
        for column, part in zip(columns, parts, strict=False):
            column.append(part)
        columns[3].append(to_float(tail))
        columns[4].append(to_float(off + abs(left)))  # at least, also where rounded
    *leading, tails, missing = map(np.asarray, columns)
    known = Known.approximately(Leading(*leading), tails, np.nextafter(missing, np.inf), 2.0**-1000)
    got = Nearest(target).settle(np, known)
    certain = got.certain.tolist()
    for middle, value, sure in zip(cases.middles, wholes(got.numbers[0]), certain, strict=True):
        assert not sure or value == nearest(middle, digits, least)
    assert 300 < sum(certain) < 2800


# Sums that are known in full, and units


def test_of_a_fraction() -> None:
    largest = Fraction(2**1024 - 2**971)
    half, tiny = Fraction(2**970), Fraction(1, 2**1074)
    cases = [
        (Fraction(0), 0.0, 0.0),
        (Fraction(1, 3), 1 / 3, float(Fraction(1, 3) - Fraction(1 / 3))),
        (1 + Fraction(1, 2**53), 1.0, 2.0**-53),
        (1 + Fraction(3, 2**53), 1 + 2.0**-51, -(2.0**-53)),
        (1 + Fraction(1, 2**53) + Fraction(1, 2**1200), 1 + 2.0**-52, -(2.0**-53)),
        (largest, float(largest), 0.0),
        (largest + half - tiny, float(largest), 2.0**970),
        (largest + half, math.inf, 0.0),
        (Fraction(10) ** 400, math.inf, 0.0),
        (tiny / 2, 0.0, 0.0),
        (tiny * Fraction(3, 4), 2.0**-1074, -0.0),
        (tiny / 2**900, 0.0, 0.0),
    ]
    for exact, high, low in cases:
        for sign in (1, -1):
            got = Parts().of_fraction(sign * exact)
            assert got == (sign * high, sign * low)
            assert Nearest(FORMATS["float64"]).of_fraction(sign * exact) == (sign * high,)
            if exact:
                assert math.copysign(1, got[0]) == sign
    negative = Parts().of_fraction(-tiny / 8)
    assert math.copysign(1, negative[0]) == math.copysign(1, negative[1]) == -1


def test_beyond_infinity_there_is_nothing() -> None:
    numbers = (np.asarray([1.0, -1.0, 0.75, 0.0]), np.asarray([2.0**-53, 2.0**-60, -(2.0**-54), 0.0]))
    settled = Settled(numbers, np.ones(4, dtype=bool))
    for exponents in (1024, np.full(4, 1024.0)):
        high, low = settled.times_powers(np, exponents)
        assert high.tolist() == [math.inf, -math.inf, 0.75 * 2.0**1023 * 2, 0]
        assert low.tolist() == [0, 0, -(2.0**970), 0]
    high, low = settled.times_powers(np, np.asarray([0.0, 3.0, -5.0, 2000.0]))
    assert high.tolist() == [1, -8, 0.75 / 32, 0]
    assert low.tolist() == [2.0**-53, 2.0**-57, -(2.0**-59), 0]
    (alone,) = Settled(numbers[:1], settled.certain).times_powers(np, 1024)
    assert alone.tolist() == [math.inf, -math.inf, 0.75 * 2.0**1023 * 2, 0]


def test_goals_know_their_formats() -> None:
    assert Parts().format is FORMATS["float64"]
    for name in NAMES:
        assert Nearest(FORMATS[name]).bits == FORMATS[name].fraction_bits + 1
