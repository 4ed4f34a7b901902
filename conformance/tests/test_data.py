"""The data: the generator as documented, in Python's integers, and the properties that the verdicts rely on."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from arrconv_conformance import Case, catalogue
from arrconv_conformance.data import DATA_SETS, DTYPES, is_available, numpy_dtype, operand, stream
from splitmix import GAMMA, endless, fnv1a, splitmix64, words

PRECISION = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
LEAST = {"float16": -24, "bfloat16": -133, "float32": -149, "float64": -1074}  # exponents of the smallest numbers
PARTS = {"complex64": "float32", "complex128": "float64"}
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")
GENERIC = ("integers", "sparse", "count", "ones")

HERE = [dtype for dtype in DTYPES if is_available(dtype)]
MADE = [
    (data, dtype)
    for data in DATA_SETS
    for dtype in HERE
    if data in GENERIC or ((data == "extremes") == (dtype in INTEGERS) and (data != "tall" or dtype == "float16"))
]


# The generator, as its documentation has it


def test_the_parts_match_published_values() -> None:
    assert fnv1a("") == 0xCBF29CE484222325
    assert fnv1a("a") == 0xAF63DC4C8601EC8C
    assert fnv1a("foobar") == 0x85944171F73967E8
    # the first outputs of SplitMix64 for the seed 1234567
    assert [splitmix64(1234567 + n * GAMMA) for n in (1, 2)] == [6457827717110365317, 3203168211198807973]


@pytest.mark.parametrize("text", ["", "x", "n=2 c=4 o=6 x=9 k=3 w", "⌈é⌉ y"])
def test_the_stream_is_what_its_documentation_says(text: str) -> None:
    assert [int(word) for word in stream(text, 25)] == words(text, 25)


# The data sets, element by element


def nearest(number: Fraction, dtype: str) -> Fraction:
    """The number of a format that is nearest, of two the one whose last bit is zero."""
    if not number:
        return number
    exponent = math.floor(math.log2(abs(number)))
    exponent += (abs(number) >= Fraction(2) ** (exponent + 1)) - (abs(number) < Fraction(2) ** exponent)
    unit = Fraction(2) ** max(exponent - PRECISION[dtype] + 1, LEAST[dtype])
    return round(number / unit) * unit  # Python rounds a fraction half to even


def small(word: int, dtype: str) -> int:
    return word // 2**33 % 19 - (0 if dtype == "uint8" else 9)


def bell(each: list[int], dtype: str) -> Fraction:
    p = PRECISION[dtype] - 1
    total = sum(word // 2 ** (63 - p) - 2**p for word in each[:4])
    return nearest(Fraction(total, 2**p), dtype)


def wide(each: list[int], dtype: str) -> Fraction:
    bits = 8 if dtype == "float16" else 32
    return bell(each, dtype) * Fraction(2) ** ((each[4] >> 64 - bits).bit_count() - bits // 2)


def half_zero(word: int, dtype: str) -> int:
    return small(word, dtype) if word < 2**63 else 0


def real_part(text: str, shape: tuple[int, ...], data: str, dtype: str, factor: int) -> list[Fraction]:
    """The elements of one part in C order, by the definition of each data set."""
    source = endless(text)
    p = PRECISION.get(dtype, 0) - 1
    each = {"normal": 4, "wide": 5}.get(data, 1)
    scale = Fraction(1)
    if data == "subnormal" and factor != 1:
        scale = Fraction(2) ** LEAST[dtype]
    elif data == "underflow":
        scale = Fraction(2) ** ((LEAST[dtype] // 2, -(-LEAST[dtype] // 2), LEAST[dtype])[factor])

    def element(number: int, index: tuple[int, ...]) -> Any:
        drawn = [next(source) for _ in range(each)]
        first = drawn[0]
        match data:
            case "integers" | "subnormal" | "underflow":
                return small(first, dtype) * scale
            case "sparse":
                magnitude = int(first < 2**62)
                return magnitude if dtype in INTEGERS or first // 2**60 % 2 == 0 else -magnitude
            case "extremes":
                bits = np.iinfo(dtype).bits
                low = first % 2**bits
                return low - 2**bits if dtype != "uint8" and low >= 2 ** (bits - 1) else low
            case "uniform":
                return Fraction(first // 2 ** (63 - p) - 2**p, 2 ** (p - 1))
            case "normal":
                return bell(drawn, dtype)
            case "wide":
                return wide(drawn, dtype)
            case "positive":
                return Fraction(first // 2 ** (63 - p) + 1, 2**p)
            case "cancelling":
                value = 1 + Fraction(first // 2 ** (64 - p) // 64, 2**p)
                return -value if factor == 1 and sum(index) % 2 else value
            case "tall":
                value = (1 + Fraction(first // 2 ** (64 - p), 2**p)) * 128
                return -value if first % 2 else value
            case "nan" | "inf" | "huge":
                return half_zero(first, dtype)
            case "count":
                return number % 9 + 1
            case _:
                return 1

    indices = product(*(range(size) for size in shape))
    return [Fraction(element(number, index)) for number, index in enumerate(indices)]


def values(array: Any) -> list[Fraction]:
    return [Fraction(number if array.dtype.kind in "iu" else float(number)) for number in array.reshape(-1).tolist()]


@pytest.mark.parametrize("factor", [0, 1, 2])
@pytest.mark.parametrize(("data", "dtype"), MADE)
def test_every_element_is_what_the_documentation_says(data: str, dtype: str, factor: int) -> None:
    text, shape = "n=3 c=2 o=5 x=7 k=2 some role", (3, 2, 7)
    made, part = operand(text, shape, data, dtype, factor), PARTS.get(dtype, dtype)
    assert (made.shape, made.dtype) == (shape, numpy_dtype(dtype))
    if dtype not in PARTS:
        assert values(made) == real_part(text, shape, data, part, factor)
        return
    assert values(made.real) == real_part(text, shape, data, part, factor)
    assert values(made.imag) == real_part(f"{text} imaginary", shape, data, part, factor)


def test_no_array_without_elements_or_axes_is_a_special_case() -> None:
    for data, dtype in MADE:
        assert operand("t", (2, 0, 3), data, dtype, 1).shape == (2, 0, 3)
        assert values(operand("t", (), data, "float64" if dtype in PARTS else dtype, 1)) != []


def test_the_rounding_of_this_test_is_to_nearest_and_to_even() -> None:
    for dtype, made in (("float32", np.float32), ("float16", np.float16)):
        p = PRECISION[dtype]
        for k in (-3, 0, 5):
            for add in (Fraction(1, 2), Fraction(3, 2), Fraction(1, 2) + Fraction(1, 64), Fraction(31, 64)):
                number = (2 ** (p - 1) + add) * Fraction(2) ** k
                assert nearest(number, dtype) == Fraction(float(made(float(number))))
    tiny = Fraction(2) ** -24
    assert [nearest(n * tiny / 2, "float16") / tiny for n in (1, 2, 3, 5, 7)] == [0, 1, 2, 2, 4]


# What the data sets are for


def many(data: str, dtype: str, count: int = 40_000, factor: int = 0) -> Any:
    return operand(f"{data} {dtype}", (count,), data, dtype, factor).astype(np.float64)


@pytest.mark.parametrize("dtype", [dtype for dtype in HERE if dtype not in (*PARTS, *INTEGERS)])
def test_the_normal_numbers_have_the_moments_of_four_uniform_ones(dtype: str) -> None:
    numbers = many("normal", dtype)
    assert abs(numbers.mean()) < 4 * math.sqrt(4 / 3 / 40_000) + 2.0 ** -PRECISION[dtype] * 4  # grids end below the top
    assert numbers.var() == pytest.approx(4 / 3, rel=0.03)
    kurtosis = ((numbers - numbers.mean()) ** 4).mean() / numbers.var() ** 2
    assert kurtosis == pytest.approx(3 - 6 / 5 / 4, abs=0.06)
    assert -4 <= numbers.min() < -3.2 < 3.2 < numbers.max() < 4


@pytest.mark.parametrize(
    ("dtype", "deviation"), [("float16", math.sqrt(2)), ("float32", math.sqrt(8)), ("float64", math.sqrt(8))]
)
def test_the_wide_numbers_spread_over_many_powers_of_two(dtype: str, deviation: float) -> None:
    numbers = np.abs(many("wide", dtype))
    exponents = np.log2(numbers[numbers > 0])
    plain = np.abs(many("normal", dtype))
    own = np.log2(plain[plain > 0]).var()
    assert math.sqrt(exponents.var() - own) == pytest.approx(deviation, rel=0.03)
    assert exponents.mean() == pytest.approx(float(np.log2(plain[plain > 0]).mean()), abs=0.06)


def test_uniform_numbers_use_all_bits_and_positive_ones_are_never_zero() -> None:
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        if dtype not in HERE:
            continue
        uniform, positive = many("uniform", dtype), many("positive", dtype)
        assert uniform.min() >= -2
        assert uniform.max() < 2
        assert 0 < positive.min() < 0.01
        assert positive.max() <= 2
        last = uniform * 2.0 ** (PRECISION[dtype] - 2) % 2
        assert set(last) == {0, 1}
        assert 0.48 < last.mean() < 0.52
        assert abs(uniform.mean()) < 0.03 + 2.0 ** -PRECISION[dtype] * 4
        assert positive.mean() == pytest.approx(1, abs=0.03)


def test_sparse_numbers_are_mostly_zeros_of_both_signs() -> None:
    numbers = many("sparse", "float32")
    assert {-1, 0, 1} == set(numbers)
    assert np.count_nonzero(numbers) / numbers.size == pytest.approx(1 / 4, abs=0.01)
    negative = np.signbit(numbers[numbers == 0])
    assert 0.45 < negative.mean() < 0.55


def test_extremes_take_the_whole_range() -> None:
    for dtype in INTEGERS:
        numbers = operand("t", (40_000,), "extremes", dtype, 0)
        limits = np.iinfo(dtype)
        span = int(limits.max) - int(limits.min)
        assert int(numbers.max()) > limits.max - span // 1000 - 1
        assert int(numbers.min()) < limits.min + span // 1000 + 1
        assert set(range(256)) == set((numbers.astype(np.int64) % 256).tolist())


@pytest.mark.parametrize("dtype", [dtype for dtype in HERE if dtype in PRECISION])
def test_neighbours_cancel(dtype: str) -> None:
    """Sums over an even number of neighbours along any axis lose all but a sixtieth of what they add up."""
    x, w = (operand(f"{role} of {dtype}", (5, 4, 6), "cancelling", dtype, f) for f, role in ((0, "x"), (1, "w")))
    products = x.astype(np.float64) * w.astype(np.float64)
    for axis in range(3):
        kept = products[:4] if axis == 0 else products
        sums, sizes = kept.sum(axis=axis), np.abs(kept).sum(axis=axis)
        assert np.all(np.abs(sums) <= sizes / 60)
        assert np.all(sizes >= 4)
    assert np.all(x.astype(np.float64) >= 1)
    assert set(np.sign(w.astype(np.float64)).reshape(-1)) == {-1, 1}


@pytest.mark.parametrize("data", ["subnormal", "underflow"])
@pytest.mark.parametrize("dtype", [dtype for dtype in HERE if dtype in PRECISION])
def test_their_products_are_subnormal_and_exact(data: str, dtype: str) -> None:
    x, w, bias = (values(operand(f"{data} {f}", (11, 7), data, dtype, f)) for f in (0, 1, 2))
    smallest_normal = Fraction(2) ** (LEAST[dtype] + PRECISION[dtype] - 1)
    products = [a * b for a in x for b in w]
    assert all(abs(number) < smallest_normal for number in [*products, *bias])
    assert all((number / Fraction(2) ** LEAST[dtype]).denominator == 1 for number in [*products, *bias])
    assert len(set(products)) > 30
    factors_are_subnormal = [abs(number) < smallest_normal for number in x if number]
    assert all(factors_are_subnormal) if data == "subnormal" else not any(factors_are_subnormal)


def most_added(case: Case) -> int:
    """The largest number of products, or of y alone, that any member adds into one element."""
    geometry = case.geometry
    positions = math.prod(geometry.output_shape) // max(1, geometry.out_channels)
    return max(geometry.products("y"), geometry.products("x"), geometry.products("w"), positions)


def test_every_sum_of_the_integer_data_is_exact_in_float32() -> None:
    """Σ|x||w| + |b| ≤ 2^24 bounds every partial sum, whatever is combined with what first; complex parts add two."""
    largest = max(most_added(case) for case in catalogue()) * 2 * 9 * 9 + 9
    assert 2**17 < largest <= 2**24
