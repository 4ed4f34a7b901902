"""Error-free transformations, and the rounding of expansions: against Python integers, on what is hard to add up."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise, permutations

import numpy as np
import pytest

from arrconv.bounds import FORMATS
from arrconv.expansion import first_place, grow, is_tie, leading, rounded, to_multiple, two_product, two_sum

GAPS = [0, 1, 24, 25, 52, 53, 54, 100]  # from the first bit of one number to that of the next
NAMES = ["float16", "bfloat16", "float32", "float64"]
EXAMPLE = [2.0**60, 1.0, 2.0**-53, 2.0**-110, -(2.0**60)]
UNIT = 1126  # integers count multiples of 2**-UNIT


def wholes(array: np.ndarray) -> list[int]:
    """Every number times 2**UNIT."""
    fraction, exponent = np.frexp(array)
    pairs = zip(np.ldexp(fraction, 53).astype(np.int64).tolist(), exponent.tolist(), strict=True)
    return [whole << place - 53 + UNIT for whole, place in pairs]


def sums(arrays: list[np.ndarray]) -> list[int]:
    """The exact sums over the arrays, element by element."""
    return [sum(numbers) for numbers in zip(*map(wholes, arrays), strict=True)]


def nearest(whole: int, digits: int = 53, least: int = 0) -> int:
    """Rounded to so many bits, or to a multiple of 2**least where that is coarser; ties to even."""
    dropped = max(abs(whole).bit_length() - digits, least)
    quotient, rest = divmod(2 * whole, 2 << dropped)
    return quotient + (rest > 1 << dropped or (rest == 1 << dropped and quotient % 2 == 1)) << dropped


def sign(number: float) -> int:
    return (number > 0) - (number < 0)


def significands(rng: np.random.Generator, size: int) -> np.ndarray:
    """From 1 to just below 2, of either sign: powers of two and their neighbours, few bits, all bits."""
    ulp = 2.0**-52
    fixed = rng.choice([1, 1, 1, 1 + ulp, 1 + 2 * ulp, 1.5, 1.5 - ulp, 2 - ulp, 2 - 2 * ulp], size)
    short = 1 + rng.integers(0, 8, size) / 8
    return rng.choice([-1, 1], size) * np.where(
        rng.random(size) < 0.3, rng.uniform(1, 2, size), np.where(rng.random(size) < 0.2, short, fixed)
    )


def numbers(
    rng: np.random.Generator, count: int, rows: int, gaps: list[int] = GAPS, top: int = 900
) -> list[np.ndarray]:
    """`count` arrays in any order: each number some gap below another, or zero, or what takes others away."""
    place = np.where(rng.random(rows) < 0.2, rng.integers(-1074, -900, rows), rng.integers(-900, top, rows))
    made: list[np.ndarray] = []
    for _ in range(count):
        value = np.ldexp(significands(rng, rows), place)
        if made:
            earlier = np.choose(rng.integers(len(made), size=rows), made)
            value = np.where(rng.random(rows) < 0.1, -earlier, value)
            value = np.where(rng.random(rows) < 0.05, -np.nextafter(earlier, 0), value)
            value = np.where(rng.random(rows) < 0.05, -reduce(np.add, made), value)
        value = np.where(rng.random(rows) < 0.07, rng.choice([0.0, -0.0], rows), value)
        made.append(value)
        place = np.maximum(place - rng.choice(gaps, rows), -1074)
    return list(rng.permuted(np.asarray(made), axis=0))


def grown(arrays: list[np.ndarray]) -> list[np.ndarray]:
    return reduce(grow, arrays[1:], arrays[:1])


# The judge


def test_the_judge_rounds_like_python() -> None:
    rng = np.random.default_rng(1)
    arrays = numbers(rng, 4, 2000)
    for whole in sums(arrays):
        assert nearest(whole, 53, UNIT - 1074) == wholes(np.asarray([whole / 2**UNIT]))[0]
        assert nearest(whole, 24) == -nearest(-whole, 24)
    assert [nearest(whole, 2) for whole in (5, 7, 9, 10, 11, 13, -5, -7)] == [4, 8, 8, 8, 12, 12, -4, -8]
    assert [nearest(whole, 53, 2) for whole in (1, 2, 3, 5, 6, 7, -2, -6)] == [0, 0, 4, 4, 8, 8, 0, -8]


def test_the_numbers_are_hard() -> None:
    """Among sums of five there are ties of both kinds, some broken far below, zeros and subnormal numbers."""
    totals = sums(numbers(np.random.default_rng(2), 5, 4000))
    ties = [whole for whole in totals if (whole >> max(abs(whole).bit_length() - 54, 0)) % 2 == 1]
    broken = [whole for whole in ties if abs(whole).bit_length() - (whole & -whole).bit_length() > 106]
    assert len(broken) > 200
    assert len(ties) - len(broken) > 200
    assert 50 < totals.count(0) < 1000
    assert sum(0 < abs(whole) < 1 << UNIT - 1022 for whole in totals) > 50


# Error-free transformations


def test_two_sum_is_exact_and_its_first_number_nearest() -> None:
    rng = np.random.default_rng(3)
    for top in (900, 1022):
        a, b = numbers(rng, 2, 10_000, top=top)
        total, error = two_sum(a, b)
        exact = sums([a, b])
        assert sums([total, error]) == exact
        assert wholes(total) == [nearest(whole) for whole in exact]


def test_two_product_is_exact_and_its_first_number_nearest() -> None:
    rng, rows = np.random.default_rng(4), 10_000
    places = [np.where(rng.random(rows) < 0.1, rng.choice([-400, 399], rows), rng.integers(-400, 400, rows))]
    places.append(np.where(rng.random(rows) < 0.1, places[0], rng.permutation(places[0])))
    halves = 1 + (2.0 ** rng.integers(0, 53, (2, rows)) + rng.integers(-1, 2, (2, rows))) * 2.0**-52  # 27 bits, and …
    a, b = (
        np.ldexp(np.where(rng.random(rows) < 0.3, np.clip(half, 1, 2 - 2.0**-52), significands(rng, rows)), place)
        for half, place in zip(halves, places, strict=True)
    )
    for factor in (a, b):
        factor[:50] = rng.choice([0.0, -0.0, 2.0**400, 2.0**-400, -(2.0**-400)], 50)
    product, error = two_product(a, b)
    exact = [p * q for p, q in zip(wholes(a), wholes(b), strict=True)]  # in units of 2**(−2·UNIT)
    assert [whole << UNIT for whole in sums([product, error])] == exact
    assert [whole << UNIT for whole in wholes(product)] == [nearest(whole) for whole in exact]
    assert np.count_nonzero(error) > rows / 3


@pytest.mark.parametrize("count", range(1, 9))
def test_grow_keeps_the_sum_and_what_makes_an_expansion(count: int) -> None:
    arrays = numbers(np.random.default_rng([5, count]), count, 3000)
    expansion = grown(arrays)
    assert len(expansion) == count
    assert sums(expansion) == sums(arrays)
    for components in zip(*map(wholes, expansion), strict=True):
        present = [component for component in components if component]
        # Below its last bit, and not next to it: then no carry ends in the next component.
        assert all(2 * abs(below) < above & -above for below, above in pairwise(present))


def test_grow_leaves_the_given_arrays_alone() -> None:
    arrays = numbers(np.random.default_rng(6), 4, 100)
    before = [array.copy() for array in arrays]
    given = list(arrays)
    grown(given)
    assert len(given) == 4
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))


# Leading parts


def check_leading(expansion: list[np.ndarray]) -> None:
    found = leading(np, expansion)
    columns = (wholes(found.high), wholes(found.low), found.rest.tolist(), sums(expansion))
    for high, low, rest, whole in zip(*columns, strict=True):
        assert high == nearest(whole)
        assert low == nearest(whole - high)
        assert sign(rest) == sign(whole - high - low)


@pytest.mark.parametrize("count", range(1, 9))
def test_leading_parts_of_what_grows(count: int) -> None:
    rng = np.random.default_rng([7, count])
    check_leading(grown(numbers(rng, count, 5000)))
    check_leading(grown(numbers(rng, count, 1000, gaps=[53, 54])))  # one tie below the other
    check_leading(grown(numbers(rng, count, 1000, gaps=[0, 1])))


@pytest.mark.parametrize("count", range(3, 9))
def test_leading_parts_of_runs_of_bits(count: int) -> None:
    """Components of ones or of one bit, with a zero between them or some: carries run as far as they can."""
    rng, rows = np.random.default_rng([8, count]), 3000
    place, expansion = rng.integers(-1074, 300, rows), []
    for _ in range(count):
        width = rng.choice([1, 1, 2, 3, 26, 51, 52, 53], rows)
        whole = np.where(rng.random(rows) < 0.5, 2.0**width - 1, 2.0 ** (width - 1))
        whole = np.where(rng.random(rows) < 0.3, np.floor(rng.random(rows) * 2.0**width), whole)
        expansion.append(np.ldexp(rng.choice([-1, 1], rows) * whole, place))
        place = place + width + rng.choice([1, 1, 1, 2, 53], rows)
    check_leading(expansion)
    check_leading(grown(list(rng.permuted(np.asarray(expansion), axis=0))))


def test_leading_parts_of_runs_of_ties() -> None:
    """±1 ± 2^−53 ± 2^−106 …: the last one decides about all before it, on both sides of a power of two."""
    rng = np.random.default_rng(9)
    for steps in ([53] * 5, [54] * 5, [53, 54, 53, 54, 53], [54, 53, 54, 53, 54], [53, 53, 200, 53, 53]):
        places = [0, *(-sum(steps[: number + 1]) for number in range(5))]
        terms = np.ldexp(rng.choice([-1.0, 0.0, 1.0], (6, 2000)), np.asarray(places)[:, None])
        terms[0] *= rng.choice([1, 1 + 2.0**-52, 2 - 2.0**-52], 2000)
        check_leading(grown(list(terms)))


def test_two_components_lose_what_grow_and_leading_keep() -> None:
    total = 1 + 2.0**-53 + 2.0**-110  # to which no float64 number is nearer than 1 + 2^−52
    expected = 1 + 2.0**-52
    assert total == 1.0  # added up in float64
    lost = 0
    for order in permutations(EXAMPLE):
        high, low = 0.0, 0.0
        for term in order:  # a sum of two float64 numbers, each addition but the last without error
            high, error = two_sum(high, term)
            high, low = two_sum(high, low + error)
        lost += high != expected
        found = leading(np, grown([np.asarray([term, -term]) for term in order]))
        assert found.high.tolist() == [expected, -expected]
        assert found.low.tolist() == [-(2.0**-53), 2.0**-53]
        assert np.sign(found.rest).tolist() == [1, -1]
    assert lost > 10


# Rounding


def test_to_multiple_is_nearest_with_ties_to_even() -> None:
    rng, rows = np.random.default_rng(10), 6000
    place = rng.integers(-1074, 900, rows)
    steps = rng.integers(0, 2**51, rows) >> rng.integers(0, 51, rows)
    offset = rng.choice([0, 0.5, -0.5, 0.25, 0.5 - 2.0**-53, 0.5 + 2.0**-52, 1 / 3], rows)
    signs = rng.choice([-1, 1], rows)
    array = np.ldexp(signs * (steps + offset), place)
    array[:4], array[4:8] = np.ldexp(2.0**51, place[:4]), -np.ldexp(2.0**51, place[4:8])
    spacing = np.ldexp(1.0, place)
    expected = [nearest(whole, 5000, at + UNIT) for whole, at in zip(wholes(array), place.tolist(), strict=True)]
    assert wholes(to_multiple(array, spacing)) == expected
    assert expected != wholes(array)
    for at in (-1074, -30, 0, 7, 900):
        same = np.ldexp(signs * (steps + offset), at)
        got = to_multiple(same, 2.0**at)
        assert wholes(got) == [nearest(whole, 5000, at + UNIT) for whole in wholes(same)]
    assert to_multiple(np.asarray([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -0.0]), 1.0).tolist() == [0, 2, 2, 0, -2, -2, 0]


@pytest.mark.parametrize("name", NAMES)
def test_rounded_rounds_the_sum_once(name: str) -> None:
    """To the bits of a format, and the grid of its subnormal numbers wherever that lies; nothing is too large."""
    rng, target = np.random.default_rng([11, NAMES.index(name)]), FORMATS[name]
    digits, turned = target.fraction_bits + 1, 0
    for count in (1, 2, 3, 4):
        expansion = grown(numbers(rng, count, 2500, [digits - 1, digits, digits + 1, 24, 53, 54, 100]))
        exact = sums(expansion)
        high = np.asarray([nearest(whole) / 2**UNIT for whole in exact])
        low = np.asarray([(whole - nearest(whole)) / 2**UNIT for whole in exact])
        lattice = np.frexp(high)[1] - rng.choice([*range(-3, 4), digits - 1, digits, digits + 1, 53, 60, 2000], 2500)
        lattice = np.clip(lattice, -1074, 900)
        for least in (lattice, np.full(2500, target.lowest_exponent), np.full(2500, -1074)):
            grid = np.ldexp(1.0, least)
            got = rounded(np, high, low, target, grid)
            expected = [nearest(w, digits, at + UNIT) for w, at in zip(exact, least.tolist(), strict=True)]
            assert wholes(got) == expected
            assert np.array_equal(np.signbit(got), high < 0)  # also of what rounds to zero
            hint = np.sign(low) * 2.0**-1074  # nothing but the sign of `low` counts
            assert np.array_equal(rounded(np, high, hint, target, grid), got)
            if least[0] == least[-1]:
                assert np.array_equal(rounded(np, high, low, target, float(grid[0])), got)
            turned += np.count_nonzero(rounded(np, high, 0 * low, target, grid) != got)
    assert turned > 100  # so often it is not enough to round `high`


@pytest.mark.parametrize("name", NAMES)
def test_rounded_between_two_numbers_by_hand(name: str) -> None:
    """Where what is beyond a midpoint is negative, nothing and positive; `tiny` is the smallest subnormal number."""
    target, tiny = FORMATS[name], 2.0**-20
    ulp = 2.0**-target.fraction_bits
    normal = tiny / ulp
    cases = [
        (tiny / 2, [0, 0, tiny]),
        (tiny * 3 / 2, [tiny, 2 * tiny, 2 * tiny]),
        (normal - tiny / 2, [normal - tiny, normal, normal]),
    ]
    if name != "float64":  # which has no room between its numbers
        cases += [
            (2 * normal - tiny / 2, [2 * normal - tiny, 2 * normal, 2 * normal]),
            (2 * normal + tiny, [2 * normal, 2 * normal, 2 * normal + 2 * tiny]),
            (2 * normal - tiny * 3 / 2, [2 * normal - 2 * tiny, 2 * normal - 2 * tiny, 2 * normal - tiny]),
            (2.0**900 * (2 - ulp / 2), [2.0**900 * (2 - ulp), 2.0**901, 2.0**901]),
        ]
    for high, expected in cases:
        low = np.asarray([-(2.0**-1074), 0, 2.0**-1074])
        for sign_ in (1, -1):
            got = rounded(np, np.full(3, sign_ * high), sign_ * low, target, tiny)
            assert got.tolist() == [sign_ * value for value in expected], high


def test_the_sign_of_zero_is_that_of_what_was_rounded() -> None:
    for name in NAMES:
        high = np.asarray([0.25, -0.25, 0.5, -0.5, 0.0, -0.0])
        got = rounded(np, high, np.asarray([1.0, -1.0, -1.0, 1.0, 0.0, 0.0]) * 2.0**-60, FORMATS[name], 1.0)
        assert got.tolist() == [0] * 6
        assert np.signbit(got).tolist() == [False, True, False, True, False, False]


# Places and ties


def test_first_place_is_the_largest_power_of_two_not_above() -> None:
    powers = np.ldexp(1.0, np.arange(-1074, 971))
    for size in (powers, np.nextafter(powers[1:], 0), np.nextafter(powers[:-1], np.inf)):
        expected = [1 << whole.bit_length() - 1 for whole in wholes(size)]
        assert wholes(first_place(size)) == expected
    size = np.abs(numbers(np.random.default_rng(12), 1, 5000)[0])
    assert wholes(first_place(size)) == [1 << whole.bit_length() - 1 if whole else 0 for whole in wholes(size)]


def test_a_tie_is_in_the_middle_between_two_numbers() -> None:
    rng, ties = np.random.default_rng(13), 0
    for gaps in (GAPS, [53, 54]):
        number, error = two_sum(*numbers(rng, 2, 8000, gaps))
        neighbour = np.nextafter(number, np.where(error > 0, np.inf, -np.inf))
        middle = [e and n + m == 2 * (n + e) for n, e, m in zip(*map(wholes, (number, error, neighbour)), strict=True)]
        assert is_tie(number, error).tolist() == [bool(is_middle) for is_middle in middle]
        ties += sum(map(bool, middle))
    assert ties > 1000
    ulp = 2.0**-52
    by_hand = {(1, ulp / 2): True, (1, -ulp / 4): True, (1, ulp / 4): False, (1, -ulp / 8): False, (1, 0): False}
    by_hand |= {(2 - ulp, -ulp / 2 + ulp * ulp): False, (2 - 2 * ulp, ulp / 2): True, (1 + ulp, ulp / 4): False}
    for (number, error), expected in by_hand.items():
        for sign_ in (1.0, -1.0):
            assert is_tie(np.asarray(sign_ * number), np.asarray(sign_ * error)) == expected
