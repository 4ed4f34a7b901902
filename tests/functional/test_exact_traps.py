"""algorithm="exact" on sums in which a bit far below decides, of thousands of terms, and in large contractions."""

from __future__ import annotations

from itertools import permutations, product

import hard_sums
import numpy as np
import pytest
from hard_sums import dot_products, joined, matrix_products, trap_arrays
from rational import FORMATS, PARTS, Case, Scaled, check, dtype_of, rounded, rounded_bits

import arrconv

SPAN = {"float16": 16, "bfloat16": 120, "float32": 120, "float64": 900}


@pytest.mark.parametrize("alone", [False, True], ids=["products", "terms"])
@pytest.mark.parametrize("dtype", FORMATS)
def test_a_bit_far_away_decides(dtype: str, alone: bool) -> None:
    rng, form = np.random.default_rng([7, alone, list(FORMATS).index(dtype)]), FORMATS[dtype]
    a, b = trap_arrays(rng, dtype, 600, alone=alone)
    made = [*dot_products(a, b), *([hard_sums.sums(a)] if alone else [])]
    compared = sum(map(check, made))
    assert compared == 600 * len(made)
    (part,) = made[0].exact[0]
    fields = [(pattern & form.infinity) >> form.precision - 1 for pattern in rounded_bits([part], form)]
    assert min(fields.count(0), fields.count(form.infinity >> form.precision - 1)) >= 10  # tiny, or infinite
    spans = [
        abs(whole).bit_length() - (whole & -whole).bit_length()
        for whole in part.whole.flat
        if rounded(whole, part.places, form) != rounded(whole - (whole & -whole), part.places, form)
    ]
    assert sum(span > SPAN[dtype] for span in spans) >= 15  # so often the last bit of all decides, and so far away


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_a_bit_far_away_decides_both_parts(dtype: str) -> None:
    rng = np.random.default_rng(8)
    real, imaginary = (trap_arrays(rng, PARTS[dtype], 200, alone=False) for _ in range(2))
    for case in dot_products(*map(joined, real, imaginary)):
        assert check(case) == 400


DISTANCES = {
    "float16": [14, 28],
    "bfloat16": [20, 100, 200],
    "float32": [30, 150, 250],
    "float64": [60, 300, 600, 1000, 1900],
}


@pytest.mark.parametrize("dtype", FORMATS)
def test_the_first_bit_dropped_is_decided_far_below(dtype: str) -> None:
    """1 + ½ulp ± 2^−distance, next to a large number and its opposite; every sign, for each member."""
    form = FORMATS[dtype]
    for distance in DISTANCES[dtype]:
        half, big, tiny = 2.0**-form.precision, 2.0 ** (form.top - 1), 2.0 ** -(distance // 2)
        signs = list(product([1.0, -1.0], repeat=2))
        a = np.asarray([[s * 1.0, big, s * half, t * tiny, -big] for s, t in signs]).astype(dtype_of(dtype))
        b = np.asarray([[1.0, 1.0, 1.0, tiny, 1.0]] * 4).astype(dtype_of(dtype))
        expected = [s * (1 + 2 * half) if s == t else s for s, t in signs]
        for case in dot_products(a, b):
            check(case)
            (got,) = case.run(algorithm="exact")
            assert got.reshape(-1).astype(float).tolist() == expected, (case.member, distance)


# The example that shows what each way of adding up loses


def example_terms(dtype: str) -> tuple[list[float], float]:
    top, tiny = {"float16": (15, 24), "bfloat16": (60, 110), "float32": (60, 110), "float64": (60, 110)}[dtype]
    unit = 2.0 ** -FORMATS[dtype].precision
    return [2.0**top, 1.0, unit, 2.0**-tiny, -(2.0**top)], 1 + 2 * unit


def test_the_example_by_hand() -> None:
    terms, expected = np.asarray([2.0**60, 1, 2.0**-53, 2.0**-110, -(2.0**60)]), 1 + 2.0**-52
    ones, zero = np.ones((1, 1, 5)), np.zeros(1)
    line = terms.reshape(1, 1, 5)
    assert arrconv.conv(line, ones, algorithm="exact").item() == expected
    assert arrconv.conv(ones, line, zero, algorithm="exact").item() == expected
    assert arrconv.conv(line[..., 1:], ones[..., 1:], terms[:1], algorithm="exact").item() == expected
    assert arrconv.conv_grad_bias(line, algorithm="exact").item() == expected
    assert arrconv.conv_grad_weight(line, ones, kernel_size=(1,), algorithm="exact").item() == expected
    assert arrconv.conv_grad_input(line, ones, input_size=(1,), padding=4, algorithm="exact").item() == expected
    assert arrconv.conv_transpose(line, ones, padding=4, algorithm="exact").tolist() == [[[expected]]]
    high, low = arrconv.exact_parts("conv", line, ones)
    assert (high.item(), low.item()) == (expected, 2.0**-110 - 2.0**-53)
    assert arrconv.conv(line, ones, algorithm="taps").item() != expected  # or it would show nothing


@pytest.mark.parametrize("dtype", FORMATS)
def test_the_example_in_every_order_and_at_every_scale(dtype: str) -> None:
    terms, expected = example_terms(dtype)
    orders = np.asarray(list(permutations(terms)))
    rows = np.concatenate([orders, -orders])
    shifts = {"float16": [0], "bfloat16": [0, 17, -20], "float32": [0, 30, -35], "float64": [0, 400, -400, 700, -900]}
    for s in shifts[dtype]:
        a, b = rows * 2.0**s, np.full_like(rows, 2.0**-s)
        for case in dot_products(a.astype(dtype_of(dtype)), b.astype(dtype_of(dtype))):
            check(case)
            (got,) = case.run(algorithm="exact")
            assert got.reshape(-1).astype(float).tolist() == [expected] * 120 + [-expected] * 120
    check(hard_sums.sums(rows.astype(dtype_of(dtype))))


@pytest.mark.parametrize("total", [-1020, -1021, -1022, -1023, -1030, -1060, -1073, -1074, -1075, -1076, 1023, 1024])
def test_the_example_at_both_ends_of_float64(total: int) -> None:
    terms = np.asarray(list(permutations(example_terms("float64")[0]))[::7])
    for s in (total // 2, total - total // 2):
        for case in dot_products(np.ldexp(terms, s), np.full_like(terms, 2.0 ** (total - s))):
            check(case)


@pytest.mark.parametrize("dtype", FORMATS)
def test_sums_of_thousands_of_terms(dtype: str) -> None:
    """Numbers of full length that all add up, and of all sizes; more terms than short counters or carries hold."""
    form, rng = FORMATS[dtype], np.random.default_rng(5)
    longest = np.full((1, 4_001), 2 - 2.0 ** (1 - form.precision)).astype(dtype_of(dtype))
    varied = [hard_sums.reals(rng, (2, 1500), dtype, "half-range", at) for at in (0, 1)]
    for a, b in [(longest, longest), (longest, -longest), varied]:
        for case in [*dot_products(a, b), hard_sums.sums(a)]:
            check(case)


@pytest.mark.parametrize("dtype", [*FORMATS, "complex64", "complex128"])
@pytest.mark.parametrize("kind", ["normal", "half-range", "cancelling", "opposite", "ties", "near-ties"])
def test_matrix_products(kind: str, dtype: str) -> None:
    """Hundreds of elements at once, of which few, many or all are hard."""
    rng = np.random.default_rng([11, hard_sums.KINDS.index(kind)])
    shapes = [(2, 17, 29), (2, 29, 19)] if dtype in PARTS else [(1, 31, 43), (1, 43, 29)]
    parts = [hard_sums.reals(rng, shape, PARTS.get(dtype, dtype), kind, at) for at, shape in enumerate(shapes)]
    a, b = (joined(*part) if dtype in PARTS else part[0] for part in parts)
    for case in matrix_products(a, b):
        check(case)


def test_a_few_traps_in_a_large_problem() -> None:
    """More elements than are looked at together, nearly all of them easy."""
    rng = np.random.default_rng(12)
    a, b = rng.standard_normal((2, 40_000, 10))
    at = rng.choice(len(a), 150, replace=False)
    a[at], b[at] = trap_arrays(rng, "float64", 150, alone=False)
    *_, transposed = dot_products(a, b)
    check(transposed)


@pytest.mark.parametrize("dtype", FORMATS)
def test_a_million_terms_of_full_length(dtype: str) -> None:
    terms, digits = 1_000_001, FORMATS[dtype].precision
    a = np.full((1, terms), 2.0**digits - 1).astype(dtype_of(dtype))
    for b in (a, np.full_like(a, 2 ** (digits - 1)), -a):
        exact = [[Scaled(np.asarray([[terms * int(a[0, 0]) * int(b[0, 0])]], dtype=object), 0)]]
        check(Case("conv", (a, b), {}, exact))
        check(Case("conv_transpose", (a, b.T), {}, exact))
