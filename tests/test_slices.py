"""Slices of few bits, and that sums of their products are exact: against Python integers, and one bit short of it."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import array_api_strict
import numpy as np
import pytest

from arrconv.slices import PAIRS, Slices, bits_of_slices

if TYPE_CHECKING:
    from collections.abc import Iterator

TERMS = [1, 2, 3, 4, 5, 7, 8, 9, 100, 513, 1024, 1025]


def spacing(top: int, bits: int, number: int) -> Fraction:
    """That of a slice, as the module says."""
    return Fraction(2) ** (top + 1 - (number + 1) * bits)


def exact(array: Any) -> list[Fraction]:
    return [Fraction(number) for number in np.asarray(array).tolist()]


def operands(seed: int, top: int) -> Iterator[np.ndarray]:
    """Arrays of numbers up to 2**top: dense, all at the top, halves of spacings, all sizes, zeros."""
    rng, size = np.random.default_rng(seed), 40
    signs = rng.choice([-1.0, 1.0], size)
    largest = math.ldexp(1.0, top)
    yield rng.uniform(-largest, largest, size)
    yield signs * largest
    yield signs * largest * (1 - 2.0**-53)
    yield signs * largest * 2.0 ** -rng.integers(0, 60, size)
    yield signs * largest * (2.0 ** -rng.integers(1, 30, size) - 2.0 ** -rng.integers(30, 54, size))
    yield signs * largest * rng.integers(0, 2**12, size) / 2**12  # with ties at every spacing
    yield signs * largest * np.exp(-rng.uniform(0, 180, size))
    yield np.where(rng.random(size) < 0.7, 0 * signs, rng.uniform(-largest, largest, size))


def cut_up(xp: Any, array: np.ndarray, top: int, bits: int, count: int = 100) -> Slices:
    slices = Slices(xp, xp.asarray(array), top, bits)
    while not slices.ends and not slices.is_deepest and len(slices.parts) < count:
        slices.cut()
    return slices


# The number of bits


def test_bits_are_as_many_as_four_sums_of_products_allow() -> None:
    rng = np.random.default_rng(1)
    powers = [2**k + offset for k in range(41) for offset in (-1, 0, 1)]
    for terms in [*range(1, 600), *powers, *rng.integers(1, 2**40, 2000).tolist()]:
        if 1 <= terms <= 2**40:
            bits = bits_of_slices(terms)
            largest = 2 ** (bits - 1)  # of a slice, in spacings
            assert PAIRS * terms * largest**2 <= 2**53 < PAIRS * terms * (2 * largest) ** 2, terms
            assert terms * 2 ** (2 * bits) <= 2**53
    assert bits_of_slices(0) == bits_of_slices(1) == 26


# What slices are


@pytest.mark.parametrize(("xp", "top"), [(np, 0), (np, 1), (np, -100), (np, 100), (array_api_strict, 37)])
def test_slices_are_few_multiples_of_their_spacing_and_add_up(xp: Any, top: int) -> None:
    for bits in (26, 25, 16, 8):
        for array in operands(top + 200, top):
            slices = Slices(xp, xp.asarray(array), top, bits)
            before, number = np.asarray(array).copy(), 0
            while not slices.ends and not slices.is_deepest:
                rest = exact(slices.rest)
                assert max(map(abs, rest)) <= Fraction(slices.most(number))
                slices.cut()
                unit = spacing(top, bits, number)
                part = exact(slices.parts[number])
                assert all((value / unit).denominator == 1 for value in part)
                assert max(map(abs, part)) <= min(Fraction(slices.most(number)), 2 ** (bits - 1) * unit)
                assert max(map(abs, exact(slices.rest))) <= unit / 2
                assert all(abs(a - b) <= unit / 2 for a, b in zip(rest, part, strict=True))  # the nearest multiple
                number += 1
                assert len(slices.parts) == number
                total = [sum(parts) for parts in zip(*map(exact, [*slices.parts, slices.rest]), strict=True)]
                assert total == exact(array)
                assert slices.ends == (not np.asarray(slices.rest).any())
            assert np.array_equal(array, before)


def test_halves_of_a_spacing_go_to_even_multiples() -> None:
    slices = Slices(np, np.asarray([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 8.0, -8.0]), 3, 4)  # spacings 1, 1/16, …
    slices.cut()
    assert slices.parts[0].tolist() == [0, 2, 2, 0, -2, -2, 8, -8]
    assert slices.rest.tolist() == [0.5, -0.5, 0.5, -0.5, 0.5, -0.5, 0, 0]
    slices.cut()
    assert slices.ends
    assert [slices.most(number) for number in range(3)] == [8, 0.5, 2.0**-5]


def test_nothing_is_cut_from_zeros_or_beyond_the_end() -> None:
    for array in (np.zeros((2, 3)), np.zeros((0, 4)), np.asarray([-0.0])):
        slices = Slices(np, array, 0, 26)
        assert slices.ends
        assert slices.is_zero
        assert not slices.is_deepest
        slices.cut()
        assert slices.parts == []
        assert slices.is_zero
    slices = Slices(np, np.asarray([[3.0], [0.0]]), 2, 26)
    assert not slices.is_zero
    assert not slices.ends
    for _ in range(3):
        slices.cut()
    assert slices.ends
    assert not slices.is_zero
    assert [part.tolist() for part in slices.parts] == [[[3.0], [0.0]]]
    assert slices.rest.tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("bits", [26, 20, 7])
def test_the_deepest_slice_keeps_products_of_two_operands_normal(bits: int) -> None:
    """Numbers of at most 2^100, as they come after scaling; a slice is cut only where it is not too deep."""
    for top in (-100, 0, 100):
        slices = cut_up(np, np.asarray([2.0**top, 2.0 ** (top - 600)]), top, bits)
        assert slices.is_deepest
        assert not slices.ends
        lowest = spacing(top, bits, len(slices.parts) - 1)
        assert lowest**2 >= Fraction(2) ** -1022
        assert spacing(top, bits, len(slices.parts)) < Fraction(2) ** (top + 1 - 320)
        last = 320 // bits  # the most slices there may be; here they are just enough
        ended = cut_up(np, np.asarray([2.0**top, 2.0 ** (top + 1 - last * bits)]), top, bits)
        assert ended.ends
        assert len(ended.parts) == last
        assert not ended.is_deepest


# Sums of their products


def float_sums(rng: np.random.Generator, products: np.ndarray) -> list[float]:
    """The same sum in float64 in several ways: in random order, pairwise, and by the library's matrix product."""
    shuffled = rng.permutation(products)
    return [float(np.cumsum(shuffled)[-1]), float(np.sum(products)), float(products @ np.ones(len(products)))]


@pytest.mark.parametrize("terms", TERMS)
def test_sums_of_products_of_slices_are_exact(terms: int) -> None:
    """Of every two slices, and of as many pairs of one order together as there may be."""
    rng, bits = np.random.default_rng([2, terms]), bits_of_slices(terms)
    for magnitudes in ("any", "largest"):
        sides = []
        for _ in range(2):
            array = rng.uniform(-1, 1, terms)
            if magnitudes == "largest":  # in every slice nearly half a unit of the one before, all of one sign
                array = np.full(terms, sum(2.0 ** (-number * bits) for number in range(-(-53 // bits)))) * 0.5
            sides.append(cut_up(np, array, 0, bits, 6).parts)
        a, b = sides
        for order in range(len(a) + len(b) - 1):
            places = [s for s in range(order + 1) if s < len(a) and order - s < len(b)]
            digits = []
            for s in places:
                whole = sum(p * q for p, q in zip(exact(a[s]), exact(b[order - s]), strict=True))
                for got in [*float_sums(rng, a[s] * b[order - s]), float(a[s] @ b[order - s])]:
                    assert Fraction(got) == whole
                digits.append((a[s] * b[order - s], whole))
            for start in range(0, len(digits), PAIRS):
                together = np.concatenate([products for products, _ in digits[start : start + PAIRS]])
                whole = sum(total for _, total in digits[start : start + PAIRS])
                assert all(Fraction(got) == whole for got in float_sums(rng, together))


@pytest.mark.parametrize("terms", [2, 8, 32, 128, 2048])
def test_a_slice_one_bit_longer_would_lose(terms: int) -> None:
    """Slices at their largest but for one odd number: 4·K·2^(2·bits) is beyond 2^53, and the odd one is lost."""
    bits = bits_of_slices(terms)
    for wider, loses in ((0, False), (1, True)):
        length = bits + wider
        array = np.full(PAIRS * terms, 1.0)
        array[-1] = 1 - 2.0 ** (1 - length)  # one spacing less
        slices = Slices(np, array, 0, length)
        slices.cut()
        assert slices.ends
        units = slices.parts[0] * 2.0 ** (length - 1)
        assert set(units.tolist()) == {2.0 ** (length - 1), 2.0 ** (length - 1) - 1}
        whole = sum(int(unit) ** 2 for unit in units)
        assert whole % 2 == 1
        assert (whole > 2**53) == loses
        assert (int(np.cumsum(units**2)[-1]) != whole) == loses
