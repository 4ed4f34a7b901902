"""The data: the generator as documented, in Python's integers, and the properties that the verdicts rely on."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from arrconv_conformance import catalogue
from arrconv_conformance.data import operand, stream
from arrconv_conformance.exact import Products
from arrconv_conformance.question import is_applicable

if TYPE_CHECKING:
    from arrconv import Geometry

WORD = 2**64


def fnv1a(text: str) -> int:
    """The 64-bit FNV-1a hash: for each octet exclusive or, then times the prime 2^40 + 2^8 + 0xb3."""
    hashed = 14695981039346656037
    for octet in text.encode("utf-8"):
        hashed = (hashed ^ octet) * (2**40 + 2**8 + 0xB3) % WORD
    return hashed


def splitmix64(state: int) -> int:
    """One output for an advanced state: two rounds of xor-shift and multiply, and a last xor-shift."""
    z = state % WORD
    z = (z ^ z // 2**30) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ z // 2**27) * 0x94D049BB133111EB % WORD
    return z ^ z // 2**31


def word(text: str, index: int) -> int:
    return splitmix64(fnv1a(text) + (index + 1) * 0x9E3779B97F4A7C15)


def test_the_parts_match_published_values() -> None:
    assert fnv1a("") == 0xCBF29CE484222325
    assert fnv1a("a") == 0xAF63DC4C8601EC8C
    assert fnv1a("foobar") == 0x85944171F73967E8
    # the first outputs of SplitMix64 for the seed 1234567
    gamma = 0x9E3779B97F4A7C15
    assert [splitmix64(1234567 + n * gamma) for n in (1, 2)] == [6457827717110365317, 3203168211198807973]


@pytest.mark.parametrize("text", ["", "x", "n=2 c=4 o=6 x=9 k=3 w", "⌈é⌉ y"])
def test_the_stream_is_what_its_documentation_says(text: str) -> None:
    assert [int(value) for value in stream(text, 25)] == [word(text, index) for index in range(25)]


@pytest.mark.parametrize(("dtype", "fraction"), [("float32", 23), ("float64", 52)])
def test_operands_follow_from_the_stream(dtype: str, fraction: int) -> None:
    case, role, shape = "c=2 o=3 x=5 k=2", "w", (3, 2, 2)
    words = [word(f"{case} {role}", index) for index in range(12)]
    integers = operand(case, role, shape, "integers", dtype)
    assert integers.integers.reshape(-1).tolist() == [w // 2**33 % 19 - 9 for w in words]
    assert integers.exponent == 0
    uniform = operand(case, role, shape, "uniform", dtype)
    expected = [Fraction(w // 2 ** (63 - fraction) - 2**fraction, 2 ** (fraction - 1)) for w in words]
    assert [int(i) * Fraction(2) ** uniform.exponent for i in uniform.integers.reshape(-1)] == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("data", ["integers", "uniform"])
def test_operands_are_in_range_and_exact_in_their_dtype(data: str, dtype: str) -> None:
    made = operand("c=40 o=50 x=5 k=2", "w", (50, 40, 2), data, dtype)
    array = made.array(dtype)
    assert array.dtype == dtype
    assert array.shape == (50, 40, 2)
    scale = Fraction(2) ** made.exponent
    assert all(
        Fraction(float(a)) == int(i) * scale for a, i in zip(array.reshape(-1), made.integers.reshape(-1), strict=True)
    )
    if data == "integers":
        assert set(np.unique(array)) == set(range(-9, 10))
    else:
        assert array.min() >= -2
        assert array.max() < 2
        assert len(np.unique(array)) > 3990  # of 4,000: hardly a number twice
        assert abs(float(array.mean())) < 0.06  # three standard deviations of the mean of 4,000
        last_bit = made.integers % 2
        assert 0.45 < float(last_bit.mean()) < 0.55  # all bits of the fraction are used


def test_roles_and_cases_have_data_of_their_own() -> None:
    arrays = [
        operand(case, role, (30,), "integers", "float32").array("float32").tobytes()
        for case in ("c=2 o=3 x=5 k=2", "c=2 o=3 x=5 k=2 s=2", "n=1 c=2 o=3 x=5 k=2")
        for role in ("x", "w", "y", "bias")
    ]
    assert len(set(arrays)) == len(arrays)


def test_every_sum_of_the_integer_data_is_exact_in_float32() -> None:
    """Σ|x||w| + |b| ≤ 2^24 bounds every partial sum, in whatever order, whatever is combined with what first."""
    largest = 0
    for case in catalogue():
        if any(is_applicable(single) for single in case.single()):
            largest = max(largest, most_added(case.geometry) * 9 * 9 + 9)
    assert 2**17 < largest <= 2**24


def most_added(geometry: Geometry) -> int:
    """The largest number of products, or of y alone, that any member adds into one element."""
    products = Products.of(geometry)
    counts = [int(np.bincount(role, minlength=1).max()) for role in (products.x, products.w, products.y)]
    positions = math.prod(geometry.output_shape) // max(1, geometry.out_channels)
    return max(*counts, positions)
