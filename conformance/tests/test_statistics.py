"""The statistics of errors: by hand, on correct convolutions, and on convolutions with less precision than claimed."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from arrconv_conformance.statistics import FEWEST_OUTPUTS, Statistics, statistics

import arrconv
from arrconv import Arithmetic

if TYPE_CHECKING:
    from collections.abc import Iterator

DTYPES = ["float16", "bfloat16", "float32", "float64"]
DATA = ["normal", "wide", "one-signed"]
FLOAT32, FLOAT64 = Arithmetic.of("float32"), Arithmetic.of("float64")
FRACTION_BITS = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}

Array = np.ndarray[Any, Any]


# By hand


def of(got: list[float], exact: list[float], magnitude: list[float], products: int, **options: Any) -> Statistics:
    claimed = options.pop("claimed", FLOAT32)
    low = np.asarray(options.pop("low", [0.0] * len(got)))
    return statistics(np.asarray(got), np.asarray(exact), low, np.asarray(magnitude), products, claimed, **options)


def test_three_errors_by_hand() -> None:
    u = 2.0**-24
    # In units of B·u the errors are 3, −1 and 0.
    got, exact, magnitude = [1 + 6 * u, 8 - 4 * u, 5], [1, 8, 5], [2, 4, 100]
    found = of(got, exact, magnitude, 5)
    assert found.largest == 3 / 10
    assert found.mean_square == pytest.approx(10 / (1.6 * 5 * 3))
    assert found.bias == pytest.approx(2 / math.sqrt(16 * 5 * 3))
    biased = of(got, exact, magnitude, 5, bias=True)  # one more term
    assert biased.largest == 3 / 12
    assert biased.mean_square == pytest.approx(10 / (1.6 * 6 * 3))
    assert biased.bias == pytest.approx(2 / math.sqrt(16 * 6 * 3))


@pytest.mark.parametrize(
    ("claimed", "products", "terms"),
    [
        ("float32", 7, 7),
        ("float64", 4096, 4096),
        ("bfloat16", 256, 1),  # 2^((23 − 7)/2) products are worth one
        ("bfloat16", 257, 2),
        ("float16", 90, 1),  # 2^((23 − 10)/2) = 90.5
        ("float16", 91, 2),
        ("float16", 1000, 12),
    ],
)
def test_a_wider_accumulator_counts_fewer_terms(claimed: str, products: int, terms: int) -> None:
    unit = 2.0 ** -(1 + FRACTION_BITS[claimed])
    for bias in (False, True):
        found = of([1 + 2 * unit], [1], [1], products, bias=bias, claimed=Arithmetic.of(claimed))
        assert found.largest == pytest.approx(1 / (terms + bias), rel=1e-14)


def test_an_output_wider_than_its_accumulator_has_the_precision_and_the_range_of_that() -> None:
    claimed = Arithmetic("float16", "float16", "float32")
    assert of([1 + 2.0**-10], [1], [1], 1, claimed=claimed).largest == 1
    assert of([2.0**-14], [0], [2.0**-20], 1, claimed=claimed).largest == 0.5


def test_errors_of_tiny_sums_are_measured_by_the_smallest_normal_number() -> None:
    assert of([3 * 2.0**-126], [2.0**-126], [2.0**-110], 1).largest == 1
    assert of([3 * 2.0**-101], [2.0**-101], [2.0**-100], 1).largest == 2.0**23
    assert of([3 * 2.0**-1022], [2.0**-1022], [2.0**-1022], 1, claimed=FLOAT64).largest == 1


def test_what_float64_cannot_hold_of_the_exact_value_counts() -> None:
    found = of([1.0, 1.0], [1.0, 1.0], [1, 1], 1, low=[2.0**-54, -(2.0**-54)], claimed=FLOAT64)
    assert found == Statistics(0.25, pytest.approx(0.25 / 1.6), 0.0)
    found = of([1 + 2.0**-52], [1.0], [1], 1, low=[2.0**-53], claimed=FLOAT64)
    assert found.largest == 0.5


def test_the_limits_themselves_are_kept() -> None:
    u = 2.0**-24
    many = [1.0] * 999
    for direction in (1, -1):
        at, beyond = 1 + direction * 2 * 7 * u, 1 + direction * 15 * u
        assert of([at, *many], [1.0, *many], [1.0] * 1000, 7).within
        assert not of([beyond, *many], [1.0, *many], [1.0] * 1000, 7).within
    spread = [1 + 2 * u, 1 - 2 * u]  # squares of 4
    assert of(spread * 500, [1.0] * 1000, [1.0] * 1000, 3).within
    assert not of(spread * 500, [1.0] * 1000, [1.0] * 1000, 2).within


def test_a_bias_is_told_apart_from_errors_of_either_sign() -> None:
    u = 2.0**-24
    either = of([1 + 2 * u, 1 - 2 * u] * 500, [1.0] * 1000, [1.0] * 1000, 3)
    same = of([1 + 2 * u] * 1000, [1.0] * 1000, [1.0] * 1000, 3)
    assert either.within
    assert same.within
    assert either.unbiased
    assert not same.unbiased
    assert same.bias == pytest.approx(2000 / math.sqrt(16 * 3 * 1000))
    assert same.bias == of([1 - 2 * u] * 1000, [1.0] * 1000, [1.0] * 1000, 3).bias


# What must be exact, and what is no number


@pytest.mark.parametrize("value", [0.0, -0.0, 2.0**-149, -1.0, math.inf, math.nan])
def test_a_sum_of_zeros_is_zero(value: float) -> None:
    found = of([1.0, value], [1.0, 0.0], [1.0, 0.0], 9)
    assert found.within == found.unbiased == (value == 0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_finite_sum_must_be_finite(value: float) -> None:
    found = of([1.0, value], [1.0, 2.0], [1.0, 2.0], 9)
    assert found == Statistics(math.inf, math.inf, math.inf)
    assert not found.within
    assert not found.unbiased


def test_infinities_of_either_sign_do_not_cancel() -> None:
    assert of([math.inf, -math.inf], [1.0, 2.0], [1.0, 2.0], 9).bias == math.inf
    assert of([1e308, -1e308], [0.0, 0.0], [1e-300, 1e-300], 9).bias == math.inf


@pytest.mark.parametrize("exact", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.0])
def test_what_is_not_finite_must_be_the_same(value: float, exact: float) -> None:
    found = of([1.0, value], [1.0, exact], [1.0, math.nan if math.isnan(exact) else math.inf], 9)
    assert found.within == (value == exact or (math.isnan(value) and math.isnan(exact)))


def test_an_empty_result_is_within() -> None:
    empty = np.empty((2, 0))
    found = statistics(empty, empty, empty, empty, 0, FLOAT32)
    assert found == Statistics(0.0, 0.0, 0.0)
    assert found.within
    assert found.unbiased


def test_an_empty_sum_is_zero_or_its_bias() -> None:
    assert of([0.0], [0.0], [0.0], 0).within
    assert not of([1.0], [0.0], [0.0], 0).within
    assert of([3.0], [3.0], [3.0], 0, bias=True).within


# Convolutions, one product after the other


def shape_of(products: int) -> tuple[int, int, int]:
    """Channels and kernel with so many products."""
    for kernel in ((3, 3), (2, 2), (1, 1)):
        if products % math.prod(kernel) == 0:
            return products // math.prod(kernel), *kernel
    raise AssertionError(products)


def draw(products: int, data: str, dtype: str, seed: int = 0) -> list[Array]:
    """x, w and a bias for 1080 outputs; a wide number is a normal one times exp(2z)."""
    rng = np.random.default_rng([products, seed])
    channels, height, width = shape_of(products)
    arrays = []
    for shape in ((2, channels, 8 + height, 11 + width), (5, channels, height, width), (5,)):
        values = rng.standard_normal(shape)
        if data == "wide":
            values = values * np.exp((2 if dtype != "float16" else 1) * rng.standard_normal(shape))
        elif data == "one-signed":
            values = np.abs(values)
        arrays.append(values.astype(getattr(ml_dtypes, dtype, dtype)))
    assert arrays[0].shape[0] * 5 * 9 * 12 >= FEWEST_OUTPUTS
    return arrays


def factors(x: Array, w: Array) -> Iterator[tuple[Array, Array]]:
    """For each product of a sum, what x and w give to it, with axes that broadcast to (N, O, height, width)."""
    height, width = x.shape[2] - w.shape[2] + 1, x.shape[3] - w.shape[3] + 1
    for c, i, j in np.ndindex(w.shape[1:]):
        yield x[:, c, None, i : i + height, j : j + width], w[None, :, c, i, j, None, None]


def split(a: Array) -> tuple[Array, Array]:
    """Two numbers of at most 26 bits each that add up to a (T. J. Dekker, 1971)."""
    c = (2.0**27 + 1) * a
    return c - (c - a), a - (c - (c - a))


def exactly(x: Array, w: Array, bias: Array | None = None) -> tuple[Array, Array, Array]:
    """High and low part of the exact convolution, from products without error and exact sums; and B."""
    parts, magnitude = [], np.zeros(())
    for a, b in factors(x.astype(np.float64), w.astype(np.float64)):
        (a1, a2), (b1, b2) = split(a), split(b)
        product = a * b
        parts += [product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2]
        magnitude = magnitude + np.abs(product)
    if bias is not None:
        column = bias.astype(np.float64)[None, :, None, None]
        parts.append(np.broadcast_to(column, magnitude.shape))
        magnitude = magnitude + np.abs(column)
    rows = np.stack([part for part in parts if part.any()], axis=-1).reshape(magnitude.size, -1).tolist()
    high = [math.fsum(row) for row in rows]
    low = [math.fsum([*row, -top]) for row, top in zip(rows, high, strict=True)]
    return np.reshape(high, magnitude.shape), np.reshape(low, magnitude.shape), magnitude


def test_the_exact_values_are_those_of_fractions() -> None:
    x, w, bias = draw(8, "wide", "float64")
    high, low, magnitude = exactly(x, w, bias)
    as_fractions = np.vectorize(Fraction, otypes=[object])
    for a, b, column, found in (
        (x, w, bias, (high, low)),
        (np.abs(x), np.abs(w), np.abs(bias), (magnitude, 0 * magnitude)),
    ):
        pairs = factors(as_fractions(a), as_fractions(b))
        sums = sum(left * right for left, right in pairs) + as_fractions(column)[None, :, None, None]
        accuracy = 2.0**-104 if found[1].any() else 2.0**-49
        for top, rest, exact in zip(*(part.flat for part in found), sums.flat, strict=True):
            assert abs(Fraction(top) + Fraction(rest) - exact) <= Fraction(accuracy) * abs(exact)


# Correct convolutions


@pytest.mark.parametrize("products", [1, 2, 3, 8, 27, 64, 504, 4096])
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_correct_convolution_stays_well_within(dtype: str, data: str, products: int) -> None:
    x, w, added = draw(products, data, dtype)
    rng = np.random.default_rng(products)
    bias = added if rng.random() < 0.5 else None
    exact = exactly(x, w, bias)
    orders = [np.arange(x.shape[1]), np.arange(x.shape[1])[::-1], rng.permutation(x.shape[1])]
    for kernel in ("gemm", "taps"):
        for order in orders if x.shape[1] > 1 else orders[:1]:
            got = arrconv.conv(x[:, order], w[:, order], bias, algorithm=kernel)
            found = statistics(got, *exact, products, Arithmetic.of(dtype), bias=bias is not None)
            # Half of the first limit is what a single rounding to nearest may take; elsewhere there is room for luck.
            assert found.largest <= 0.5, found
            assert found.mean_square <= 0.25, found
            assert found.bias <= 0.5 or bias is not None or data == "one-signed", found


# Convolutions with less precision than they claim


def rounded(array: Array, name: str) -> Array:
    """Float32 numbers rounded to a format of as many exponents, ties to even, or to float16."""
    if name == "float16":
        return array.astype(np.float16)
    fraction, exponent = np.frexp(array.astype(np.float64))
    bits = {"tf32": 11, "bfloat16": 8, "float32": 24}[name]
    return np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits).astype(np.float32)


def emulate(x: Array, w: Array, claimed: Arithmetic) -> Array:
    """A convolution one product after the other, every operation rounded as claimed; the result is a float32."""
    accumulator = np.dtype(claimed.accumulate)
    total = np.zeros((), accumulator)
    for a, b in factors(rounded(x, claimed.input), rounded(w, claimed.input)):
        total = total + a.astype(accumulator) * b.astype(accumulator)  # NumPy rounds each operation to its dtype
    assert total.dtype == accumulator
    return total.astype(np.float32)


def test_roundings_by_hand() -> None:
    numbers = np.asarray([1 + 2.0**-11, 1 + 3 * 2.0**-11, -1 - 2.0**-11 - 2.0**-20, 3e38, 0], np.float32)
    assert rounded(numbers, "tf32")[:3].tolist() == [1, 1 + 2.0**-9, -1 - 2.0**-10]
    assert np.array_equal(rounded(numbers, "float32"), numbers)
    assert rounded(numbers[:3], "float16").tolist() == [1, 1 + 2.0**-9, -1 - 2.0**-10]
    finer = np.random.default_rng(5).standard_normal(1000).astype(np.float32)
    assert np.array_equal(rounded(finer, "bfloat16"), finer.astype(ml_dtypes.bfloat16).astype(np.float32))


def test_every_operation_is_rounded() -> None:
    x = np.asarray([1, 2.0**-11, 2.0**-11], np.float32).reshape(1, 3, 1, 1)
    w = np.ones((1, 3, 1, 1), np.float32)
    half = Arithmetic("float16", "float16", "float32")
    assert emulate(x, w, half).item() == 1
    assert emulate(x[:, ::-1], w, half).item() == 1 + 2.0**-10
    assert emulate(x, w, FLOAT32).item() == 1 + 2.0**-10


OTHERS = {
    "TF32 inputs": Arithmetic("tf32", "float32", "float32"),
    "bfloat16 inputs": Arithmetic("bfloat16", "float32", "float32"),
    "float16 throughout": Arithmetic("float16", "float16", "float32"),
}
LADDER = [1, 2, 3, 4, 8, 16, 27, 32, 64, 128, 144, 192, 256]


def shares(products: int, data: str, actual: Arithmetic) -> tuple[float, Statistics, float]:
    """Of an emulation: its share of float32's bound, its statistics as a float32, its share of its own bound."""
    x, w, _ = draw(products, data, "float32")
    got, (high, low, magnitude) = emulate(x, w, actual), exactly(x, w)
    errors = np.abs((got.astype(np.float64) - high) - low)
    single, own = (arrconv.error_bound("conv", x, w, arithmetic=a) for a in (FLOAT32, actual))
    found = statistics(got, high, low, magnitude, products, FLOAT32)
    return float(np.max(errors / single)), found, float(np.max(errors / own))


@pytest.mark.parametrize("products", LADDER)
@pytest.mark.parametrize("name", OTHERS)
def test_less_precision_than_claimed_is_found(name: str, products: int) -> None:
    single, found, own = shares(products, "normal", OTHERS[name])
    assert own <= 1
    assert single > 1 or not found.within
    assert not found.within  # by itself; in fact
    assert found.mean_square > 100
    right, found, _ = shares(products, "normal", FLOAT32)
    assert right <= 1
    assert found.within
    assert found.unbiased


def test_the_statistics_find_what_the_bound_lets_through() -> None:
    """TF32 in long sums, where the bound has grown beyond it; on wide data it shows for longer still."""
    single, found, own = shares(2048, "normal", OTHERS["TF32 inputs"])
    assert single <= 1
    assert found.largest <= 1
    assert found.mean_square > 4
    assert own <= 1
    assert shares(2048, "wide", OTHERS["TF32 inputs"])[1].mean_square > 10 * found.mean_square


def test_an_accumulation_in_float16_is_not_one_in_float32() -> None:
    x, w, _ = draw(256, "one-signed", "float16")
    exact = exactly(x, w)
    for accumulator, within in (("float32", True), ("float16", False)):
        got = emulate(x, w, Arithmetic("float16", accumulator, "float32")).astype(np.float16)
        assert statistics(got, *exact, 256, Arithmetic.of("float16")).within == within
        assert statistics(got, *exact, 256, Arithmetic("float16", "float16", "float16")).within


def test_an_arithmetic_that_rounds_its_inputs_is_judged_by_the_rounded_inputs() -> None:
    x, w, _ = draw(27, "normal", "float32")
    for name in ("TF32 inputs", "bfloat16 inputs"):
        claimed = OTHERS[name]
        got = emulate(x, w, claimed)
        read = [rounded(array, claimed.input) for array in (x, w)]
        assert statistics(got, *exactly(*read), 27, claimed).within
        assert not statistics(got, *exactly(x, w), 27, claimed).within
