"""Powers of two, against Python's own ldexp, frexp and rational numbers, from one end of float64 to the other."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import array_api_strict
import numpy as np
import pytest

from arrconv.powers import exponents_of, powers_of_two, times_power, times_powers, top_exponent, unscaled

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARIES = [pytest.param(np, id="numpy"), pytest.param(array_api_strict, id="strict")]
LARGEST = math.ldexp(2 - 2.0**-52, 1023)
TINY, SMALL = 2.0**-1074, 2.0**-1022
EXTREMES = [TINY, 5 * TINY, SMALL - TINY, SMALL, 2.0**-500, 1 / 3, 1 - 2.0**-53, 1.0, 2.0**500, 2.0**1023, LARGEST]
NUMBERS = [0.0, -0.0, *EXTREMES, *(-number for number in EXTREMES)]
EXPONENTS = [-2097, -1075, -1074, -1022, -1000, -512, *range(-4, 5), 1022, 1023, 1024, 2046, 2097, 2098]
EXPONENTS += [exponent for exponent in range(-2200, 2101, 61) if exponent not in EXPONENTS]


def product(number: float, exponent: int) -> Fraction:
    return Fraction(number) * Fraction(2) ** exponent


def is_float(exact: Fraction) -> bool:
    return abs(exact) <= LARGEST and Fraction(float(exact)) == exact


def same(got: Any, expected: list[float]) -> bool:
    """Equal, signs of zeros included."""
    got = np.asarray(got)
    return np.array_equal(got, expected) and np.array_equal(np.signbit(got), np.signbit(expected))


def cases(wanted: Callable[[float, int], float | None]) -> tuple[list[float], list[int], list[float]]:
    """Numbers, exponents, and the products that are wanted, where any is."""
    found = [(n, e, value) for n in NUMBERS for e in EXPONENTS if (value := wanted(n, e)) is not None]
    numbers, exponents, expected = zip(*found, strict=True)
    return list(numbers), list(exponents), list(expected)


def where_exact(number: float, exponent: int) -> float | None:
    return math.ldexp(number, exponent) if is_float(product(number, exponent)) else None


def where_large(number: float, exponent: int) -> float | None:
    return math.copysign(math.inf, number) if abs(product(number, exponent)) >= 2**1024 else None


def where_either(number: float, exponent: int) -> float | None:
    large = where_large(number, exponent)
    return where_exact(number, exponent) if large is None else large


@pytest.mark.parametrize("xp", LIBRARIES)
def test_products_that_are_numbers_are_exact(xp: Any) -> None:
    numbers, exponents, expected = cases(where_exact)
    assert len(expected) > 500
    a, e = xp.asarray(numbers, dtype=xp.float64), xp.asarray(exponents, dtype=xp.float64)
    assert same(times_powers(xp, a, e), expected)
    for exponent in set(exponents):
        places = [at for at, other in enumerate(exponents) if other == exponent]
        some = xp.asarray([numbers[at] for at in places], dtype=xp.float64)
        assert same(times_power(some, exponent), [expected[at] for at in places]), exponent


@pytest.mark.parametrize("exponent", [-1, -2, -3, -4, -50, -1022, -1074, -1075, -2000])
def test_products_are_rounded_once_at_the_most(exponent: int) -> None:
    rng = np.random.default_rng(1)
    whole = np.concatenate([np.arange(-70.0, 71), rng.integers(1, 2**53, 100).astype(float)])
    for place in {-1074, max(-1074, -1074 - exponent), max(-1074, -1074 - exponent - 40)}:
        number = np.ldexp(whole, place)
        expected = [float(product(n, exponent)) for n in number.tolist()]
        assert times_power(number, exponent).tolist() == expected
        assert times_powers(np, number, np.full_like(number, exponent)).tolist() == expected


def test_times_powers_at_the_ends_of_its_range() -> None:
    assert same(times_powers(np, np.asarray([LARGEST, -1.0, 0.0, TINY]), np.full(4, -3000.0)), [0.0, -0.0, 0.0, 0.0])
    assert times_powers(np, np.asarray([0.0, -0.0]), np.full(2, 3000.0)).tolist() == [0, 0]
    assert times_powers(np, np.asarray([TINY, -TINY]), np.full(2, 2097.0)).tolist() == [2.0**1023, -(2.0**1023)]


def test_nothing_happens_for_an_exponent_of_zero() -> None:
    array = np.asarray(NUMBERS)
    assert times_power(array, 0) is array
    assert unscaled(np, array, 0) is array
    assert same(times_powers(np, array, np.zeros(len(NUMBERS))), NUMBERS)


@pytest.mark.parametrize("xp", LIBRARIES)
@pytest.mark.parametrize("sort", ["a number for each", "one number"])
def test_unscaled_is_exact_below_2_to_the_1024_and_then_infinite(xp: Any, sort: str) -> None:
    """Without a warning of overflow; numbers as large as 2^1022 have a test of their own."""
    numbers, exponents, expected = cases(lambda n, e: where_either(n, e) if abs(n) < 2**1022 else None)
    assert expected.count(math.inf) > 100
    if sort == "a number for each":
        a, e = xp.asarray(numbers, dtype=xp.float64), xp.asarray(exponents, dtype=xp.float64)
        assert np.array_equal(np.asarray(unscaled(xp, a, e)), expected)
        return
    for exponent in set(exponents):
        places = [at for at, other in enumerate(exponents) if other == exponent]
        some = xp.asarray([numbers[at] for at in places], dtype=xp.float64)
        assert np.array_equal(np.asarray(unscaled(xp, some, exponent)), [expected[at] for at in places]), exponent


@pytest.mark.parametrize("exponent", [-2000, -1022, -3, -1, 0, 1, 2])
def test_unscaled_of_the_largest_numbers(exponent: int) -> None:
    """Those are infinite only where the product is."""
    numbers = [n for n in NUMBERS if abs(n) >= 2**1022 and where_either(n, exponent) is not None]
    expected = [where_either(n, exponent) for n in numbers]
    got = [
        unscaled(np, np.asarray(numbers), exponent),
        unscaled(np, np.asarray(numbers), np.full(len(numbers), exponent * 1.0)),
    ]
    assert [array.tolist() for array in got] == [expected, expected]


def test_unscaled_just_below_infinity() -> None:
    below, power = np.asarray([1 - 2.0**-53, -(1 - 2.0**-53)]), np.asarray([1.0, -1.0])
    for scale in (0, 40, 1000, -1000):
        exponents = np.full(2, 1024.0 - scale)
        assert unscaled(np, np.ldexp(below, scale), exponents).tolist() == [LARGEST, -LARGEST], scale
        assert unscaled(np, np.ldexp(power, scale), exponents).tolist() == [math.inf, -math.inf], scale


@pytest.mark.parametrize("xp", LIBRARIES)
def test_powers_of_two_are_taken_within_float64(xp: Any) -> None:
    exponents = [-5000, -1076, *range(-1075, 1025), 1026, 5000]
    expected = [math.ldexp(1.0, min(max(exponent, -1074), 1023)) for exponent in exponents]
    got = powers_of_two(xp, xp.asarray(exponents, dtype=xp.float64))
    assert np.asarray(got).tolist() == expected
    block = powers_of_two(xp, xp.asarray([[0, 1], [2, -1074], [3, 1023]], dtype=xp.float64))
    assert np.asarray(block).tolist() == [[1, 2], [4, 2.0**-1074], [8, 2.0**1023]]
    assert powers_of_two(xp, xp.zeros((0, 3), dtype=xp.float64)).shape == (0, 3)


@pytest.mark.parametrize("xp", LIBRARIES)
def test_exponents_bracket_every_number(xp: Any) -> None:
    powers = np.ldexp(1.0, np.arange(-1074, 1024))
    with np.errstate(over="ignore"):
        around = [powers, np.nextafter(powers, np.inf), np.nextafter(powers[1:], 0), -powers, [LARGEST, -LARGEST]]
    array = np.concatenate([*around, np.random.default_rng(2).standard_normal(1000)])
    got = np.asarray(exponents_of(xp, xp.asarray(array)))
    assert np.array_equal(got, np.floor(got))
    for number, exponent in zip(np.abs(array).tolist(), got.tolist(), strict=True):
        assert product(1.0, int(exponent) - 1) <= Fraction(number) < product(1.0, int(exponent) + 2), number


@pytest.mark.parametrize("xp", LIBRARIES)
def test_top_exponent_is_the_smallest_power_not_below(xp: Any) -> None:
    for number in [*EXTREMES, 2.0, 2 - 2.0**-52, 2 + 2.0**-51, 3.0, 4.0, 0.5, 0.75, 2.0**-1073, 3 * 2.0**-1074]:
        for array in ([number], [-number, number / 2, 0.0], [[0.0, -0.0], [number / 3, -number]]):
            top = top_exponent(xp, xp.asarray(array, dtype=xp.float64))
            assert isinstance(top, int)
            assert product(1.0, top - 1) < Fraction(number) <= product(1.0, top), number
    assert top_exponent(xp, xp.asarray([0.0, -0.0])) == 0
    assert top_exponent(xp, xp.zeros((2, 0), dtype=xp.float64)) == 0
