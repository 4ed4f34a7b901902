"""The judge: what it accepts, what it rejects, and what it says."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from arrconv_conformance import Case
from arrconv_conformance.claims import Claim
from arrconv_conformance.exact import Exact
from arrconv_conformance.judge import Verdict, judge
from arrconv_conformance.question import Expected, Question

from arrconv import Arithmetic

Array = Any
NAN, INF = math.nan, math.inf


def claim(dtype: str, **changes: Any) -> Claim:
    arithmetic = replace(Arithmetic.of(dtype), **changes)
    return Claim(arithmetic, tuple(dict.fromkeys((dtype, changes.get("output", dtype)))))


FLOAT64, FLOAT32, COMPLEX64 = claim("float64"), claim("float32"), claim("complex64")


def must_be(high: Any, allowed: Any = 0.0, low: Any = 0.0, special: Any = None, padded: Any = None) -> Expected:
    high = np.asarray(high, np.complex128 if np.iscomplexobj(high) else np.float64)
    some = [None if values is None else np.asarray(values) for values in (special, padded)]
    exact = Exact(high, np.broadcast_to(np.asarray(low, high.dtype), high.shape), *some)
    return Expected(exact, np.broadcast_to(np.asarray(allowed, float), high.shape), np.abs(high), 1)


def verdict(got: Any, expected: Expected, claimed: Claim = FLOAT64, data: str = "normal") -> Verdict:
    return judge(got, expected, claimed, data)


def asked(data: str, dtype: str) -> Question:
    text = f"n=2 c=3 o=4 x=9,7 k=3,2 member=conv dtype={dtype} data={data}"
    return Question(Case.parse(text), claim(dtype))


def fraction(expected: Expected, index: tuple[int, ...]) -> Fraction:
    return Fraction(float(expected.exact.high[index])) + Fraction(float(expected.exact.low[index]))


def rounded(question: Question) -> Array:
    """The exact result rounded once, number by number."""
    [expected] = question.expected.values()
    result = np.empty(expected.exact.high.shape, str(question.case.dtype))
    for index in np.ndindex(result.shape):
        result[index] = float(fraction(expected, index))
    return result


# Real numbers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("data", ["integers", "uniform"])
def test_the_correctly_rounded_result_agrees(data: str, dtype: str) -> None:
    question = asked(data, dtype)
    found = verdict(rounded(question), question.expected["result"], question.claim, data)
    assert found.outcome == "agrees"
    assert found.message == found.kind == ""
    assert found.ratio < 0.5
    assert (found.ratio > 0) == (data == "uniform")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_error_of_the_bound_is_accepted_and_one_of_an_ulp_more_is_not(dtype: str) -> None:
    """At the last number of the dtype within the bound, and at the first one beyond it, found with fractions."""
    question = asked("uniform", dtype)
    expected = question.expected["result"]
    assert expected.allowed is not None
    for index in [(0, 0, 0, 0), (1, 3, 6, 5), (0, 2, 4, 1)]:
        exact, allowed = fraction(expected, index), Fraction(float(expected.allowed[index]))
        for direction in (-np.inf, np.inf):
            inside = beyond = rounded(question)[index]
            while abs(Fraction(float(beyond)) - exact) <= allowed:
                inside, beyond = beyond, np.nextafter(beyond, beyond.dtype.type(direction))
            for value, outcome in ((inside, "agrees"), (beyond, "deviates")):
                got = rounded(question)
                got[index] = value
                assert verdict(got, expected, question.claim).outcome == outcome


def test_the_bound_itself_is_allowed_though_float64_cannot_see_the_error() -> None:
    exact = must_be([1.0, 3 * 2.0**-60], [2.0**-60, 0.25], [2.0**-60, 0.0])
    assert verdict(np.array([1.0, 3 * 2.0**-60]), exact).outcome == "agrees"
    tight = must_be([1.0, 3 * 2.0**-60], [2.0**-60 * (1 - 2.0**-40), 0.25], [2.0**-60, 0.0])
    found = verdict(np.array([1.0, 3 * 2.0**-60]), tight)
    assert found.outcome == "deviates"
    assert "1 of 2 elements are wrong; (0,) is 1.0" in found.message
    assert verdict(np.array([1 + 2.0**-52, 0.0]), tight).outcome == "deviates"


def least_root(square: Fraction) -> float:
    """The least float64 number whose square is not less."""
    root = math.nextafter(math.sqrt(square), 0)
    while Fraction(root) ** 2 < square:
        root = math.nextafter(root, INF)
    return root


@pytest.mark.parametrize("parts", [1, 2])
def test_no_error_within_the_bound_is_rejected_because_float64_rounds(parts: int) -> None:
    """The bound is the error itself, rounded up to the next float64 number."""
    rng = np.random.default_rng(3)
    high, got = rng.standard_normal((2, 999, parts))
    low = np.ldexp(rng.uniform(-1, 1, (999, parts)), np.frexp(high)[1] - 54)
    rows = zip(high.tolist(), low.tolist(), got.tolist(), strict=True)
    squares = [
        sum((Fraction(g) - Fraction(h) - Fraction(rest)) ** 2 for h, rest, g in zip(*row, strict=True)) for row in rows
    ]
    allowed = np.array([least_root(Fraction(square)) for square in squares])
    if parts == 2:
        high, low, got = (array[:, 0] + 1j * array[:, 1] for array in (high, low, got))
    else:
        high, low, got = (array[:, 0] for array in (high, low, got))
    claimed = claim("complex128") if parts == 2 else FLOAT64
    assert verdict(got, must_be(high, allowed, low), claimed).outcome == "agrees"
    found = verdict(got, must_be(high, allowed * (1 - 2.0**-40), low), claimed)
    assert found.message.startswith("999 of 999 elements are wrong")


@pytest.mark.parametrize("data", ["integers", "uniform"])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_one_element_that_is_no_number_is_wrong(data: str, value: float) -> None:
    question = asked(data, "float32")
    got = rounded(question)
    got[1, 2, 3, 4] = value
    found = verdict(got, question.expected["result"], question.claim, data)
    assert found.outcome == "deviates"
    assert "1 of 336 elements are wrong; (1, 2, 3, 4) is " + repr(value) in found.message


def test_the_exact_verdict_rejects_one_unit_in_one_element() -> None:
    question = asked("integers", "float32")
    for unit in (1, -1):
        got = rounded(question)
        got[0, 1, 2, 3] += unit
        found = verdict(got, question.expected["result"], question.claim, "integers")
        assert (found.outcome, found.kind) == ("deviates", "exact")
        assert found.message.endswith("and must be exact")
        assert found.ratio == INF


def test_the_exact_verdict_rejects_one_ulp() -> None:
    got = np.array([np.nextafter(np.float32(81), np.float32(100)), np.float32(0)])
    assert verdict(got, must_be([81, 0]), FLOAT32).outcome == "deviates"
    assert verdict(np.array([81, 0], np.float32), must_be([81, 0]), FLOAT32).outcome == "agrees"


@pytest.mark.parametrize(
    ("dtype", "exact", "right"),
    [
        ("float16", 2049, 2048),  # half way, to even
        ("float16", 2051, 2052),
        ("float16", 2049.001, 2050),
        ("bfloat16", 257, 256),
        ("bfloat16", 259, 260),
        ("bfloat16", 1 + 2.0**-8 + 2.0**-40, 1 + 2.0**-7),  # the second rounding of two would go down
        ("bfloat16", -1 - 3 * 2.0**-8 + 2.0**-40, -1 - 2.0**-7),
        ("float32", 2**24 + 1, 2**24),
        ("float32", 2**24 + 3, 2**24 + 4),
    ],
)
def test_an_exact_sum_must_be_rounded_once_to_nearest_even(dtype: str, exact: float, right: float) -> None:
    claimed = claim(dtype, accumulate="float64")
    numbers = np.dtype(dtype) if dtype != "bfloat16" else pytest.importorskip("ml_dtypes").bfloat16
    assert verdict(np.array([right]).astype(numbers), must_be([exact]), claimed).outcome == "agrees"
    for wrong in (right * (1 + 2.0**-7), right * (1 - 2.0**-7)):
        assert verdict(np.array([wrong]).astype(numbers), must_be([exact]), claimed).outcome == "deviates"


def test_the_sign_of_zero_does_not_matter() -> None:
    for allowed in (0.0, 1.0):
        assert verdict(np.array([-0.0, 5.0]), must_be([0, 5], allowed)).outcome == "agrees"
        assert verdict(np.array([0.0, 5.0]), must_be([-0.0, 5], allowed)).outcome == "agrees"


def test_the_smallest_number_is_not_zero() -> None:
    assert verdict(np.array([5e-324]), must_be([0])).outcome == "deviates"
    assert verdict(np.array([0.0]), must_be([5e-324])).outcome == "deviates"


def test_where_no_bound_is_any_number_is_accepted() -> None:
    for value in (0.0, 1e300, NAN, -INF):
        assert verdict(np.array([value, 2.0]), must_be([1, 2], [INF, 0.5])).outcome == "agrees"
    assert verdict(np.array([1.0, 9.0]), must_be([1, 2], [INF, 0.5])).outcome == "deviates"


# What it says


@pytest.mark.parametrize(
    ("got", "message"),
    [
        ([1.0, 2.0], "the result is a list, not an array"),
        (None, "the result is a NoneType, not an array"),
        (np.float64(1), "the result is a float64, not an array"),
        (np.zeros((2, 1)), r"the result has shape \(2, 1\), not \(2,\)"),
        (np.zeros(3), r"the result has shape \(3,\), not \(2,\)"),
        (np.zeros(()), r"the result has shape \(\), not \(2,\)"),
        (np.zeros(2, dtype=np.float32), "the result has dtype float32, not float64"),
        (np.zeros(2, dtype=np.int64), "the result has dtype int64, not float64"),
        (np.zeros(2, dtype=object), "the result has dtype object, not float64"),
        (np.zeros(2, dtype=complex), "the result has dtype complex128, not float64"),
    ],
)
def test_what_is_no_array_of_the_shape_and_dtype_is_wrong(got: Any, message: str) -> None:
    found = verdict(got, must_be([0, 0], 9.0))
    assert (found.outcome, found.kind) == ("deviates", "form")
    assert re.fullmatch(message, found.message)


def test_each_output_that_is_claimed_is_accepted_and_no_other() -> None:
    claimed = claim("float16", output="float32")
    assert claimed.outputs == ("float16", "float32")
    for dtype in ("float16", "float32"):
        assert verdict(np.ones(1, dtype), must_be([1]), claimed).outcome == "agrees"
    found = verdict(np.ones(1), must_be([1]), claimed)
    assert found.message == "the result has dtype float64, not float16 or float32"


def test_the_message_names_the_count_the_worst_element_and_its_values() -> None:
    exact = must_be([10, 20, 30, 40], [0.5, 0.5, 0.5, 0.25])
    found = verdict(np.array([10.75, 17.0, 30.5, 40.0]), exact)
    assert found.message == "2 of 4 elements are wrong; (1,) is 17.0, exactly 20.0, and may err by 0.5"
    assert (found.kind, found.ratio) == ("bound", 6.0)
    found = verdict(np.array([10.75, NAN, 30.0, 90.0]), exact)
    assert found.message == "3 of 4 elements are wrong; (1,) is nan, exactly 20.0, and may err by 0.5"
    found = verdict(np.array([10.0, 20.0, 30.0, 40.0]), must_be([10, 21, 30, 40]))
    assert found.message == "1 of 4 elements are wrong; (1,) is 20.0, exactly 21.0, and must be exact"
    assert found.kind == "exact"


def test_the_share_of_the_bound_is_the_largest() -> None:
    exact = must_be([10, 20, 30], [0.5, 1.0, 0.0])
    assert verdict(np.array([10.25, 19.25, 30.0]), exact).ratio == 0.75
    assert verdict(np.array([10.0, 20.0, 30.0]), must_be([10, 20, 30], [0.5, INF, 0.0])).ratio == 0


@pytest.mark.parametrize("allowed", [0.0, 1.0])
def test_empty_results_agree(allowed: float) -> None:
    empty = must_be(np.empty((2, 0)), allowed)
    assert verdict(np.empty((2, 0)), empty).outcome == "agrees"
    assert verdict(np.empty((0, 2)), empty).outcome == "deviates"


def test_strided_results_are_judged_by_value() -> None:
    exact = must_be([1, 2, 3])
    assert verdict(np.array([1.0, 9.0, 2.0, 9.0, 3.0])[::2], exact).outcome == "agrees"
    assert verdict(np.array([3.0, 2.0, 1.0])[::-1], exact).outcome == "agrees"
    assert verdict(np.array([3.0, 2.0, 1.0]), exact).outcome == "deviates"


# Numbers that are not finite


def special_case(allowed: float) -> Expected:
    """A number, a NaN, an infinity of each sign, a number and an infinity that may be NaN because of the padding."""
    special, padded = [0, NAN, INF, -INF, 0, INF], [False, False, False, False, True, True]
    return must_be([3, 0, 0, 0, 4, 0], allowed, special=special, padded=padded)


@pytest.mark.parametrize("allowed", [0.0, 0.25])
def test_what_must_be_there_and_what_may(allowed: float) -> None:
    for got in ([3, NAN, INF, -INF, 4, INF], [3, NAN, INF, -INF, NAN, NAN], [3, NAN, INF, -INF, INF, NAN]):
        found = verdict(np.array(got, float), special_case(allowed))
        assert (found.outcome, found.ratio) == ("agrees", 0)


@pytest.mark.parametrize("allowed", [0.0, 0.25])
@pytest.mark.parametrize(
    ("place", "wrong", "must"),
    [
        (0, NAN, "exactly 3.0, and "),
        (0, INF, "exactly 3.0, and "),
        (1, 0.0, "and must be nan"),
        (1, INF, "and must be nan"),
        (2, NAN, "and must be inf"),
        (2, -INF, "and must be inf"),
        (2, 1e308, "and must be inf"),
        (3, INF, "and must be -inf"),
        (4, 5.0, "exactly 4.0, and "),
        (5, 0.0, "and must be inf"),
    ],
)
def test_one_that_is_not_right_is_wrong(place: int, wrong: float, must: str, allowed: float) -> None:
    got = np.array([3, NAN, INF, -INF, 4, INF], float)
    got[place] = wrong
    found = verdict(got, special_case(allowed))
    assert found.outcome == "deviates"
    assert f"1 of 6 elements are wrong; ({place},) is {wrong!r}" in found.message
    assert must in found.message
    assert found.kind == ("exact" if allowed == 0 or place in (1, 2, 3, 5) else "bound")


def test_any_complex_number_that_is_not_finite_will_do() -> None:
    expected = must_be([1 + 2j, 0], 0.0, special=[0, NAN], padded=[False, False])
    for value in (complex(NAN, 0), complex(0, INF), complex(-INF, NAN)):
        assert verdict(np.array([1 + 2j, value], np.complex64), expected, COMPLEX64).outcome == "agrees"
        found = verdict(np.array([value, complex(NAN, NAN)], np.complex64), expected, COMPLEX64)
        assert "(0,) is " in found.message
    found = verdict(np.array([1 + 2j, 7], np.complex64), expected, COMPLEX64)
    assert found.message.endswith("(1,) is (7+0j), and must be a number that is not finite")


# Complex numbers and integers


def test_complex_numbers_are_judged_by_the_distance_in_the_plane() -> None:
    expected = must_be([3 + 4j, 5j], 0.5)
    assert verdict(np.array([3.3 + 4.4j, 5j], np.complex64), expected, COMPLEX64).ratio == pytest.approx(1, abs=1e-6)
    assert verdict(np.array([3.3 + 4.3j, 5j], np.complex64), expected, COMPLEX64).outcome == "agrees"
    found = verdict(np.array([3.4 + 4.4j, 5j], np.complex64), expected, COMPLEX64)
    assert (found.outcome, found.kind) == ("deviates", "bound")
    assert "exactly (3+4j), and may err by 0.5" in found.message


def test_an_exact_complex_number_must_be_right_in_both_parts() -> None:
    expected = must_be([3 + 4j, 5j])
    assert verdict(np.array([3 + 4j, 5j], np.complex64), expected, COMPLEX64).outcome == "agrees"
    for wrong in (3 + 4.0001j, 3.0001 + 4j, 3 - 4j, 4 + 3j):
        assert verdict(np.array([wrong, 5j], np.complex64), expected, COMPLEX64).outcome == "deviates"


def whole(numbers: list[int]) -> Expected:
    exact = np.array(numbers, np.int64)
    return Expected(Exact(exact, np.zeros_like(exact)), None, None, 1)


def test_integers_are_right_modulo_the_bits_of_the_claimed_output() -> None:
    sums = whole([300, -129, 2**63 - 1, 7])
    in_64, wraps = Claim(None, ("int64",)), Claim(None, ("int8",))
    assert verdict(np.array([300, -129, 2**63 - 1, 7]), sums, in_64).outcome == "agrees"
    assert verdict(np.array([44, 127, -1, 7], np.int8), sums, wraps).outcome == "agrees"
    assert verdict(np.array([44, 127, 255, 7], np.uint8), sums, Claim(None, ("uint8",))).outcome == "agrees"
    for claimed, got in ((in_64, [300, -129, 2**63 - 1, 8]), (wraps, [44, 127, -1, 8])):
        found = verdict(np.array(got, claimed.outputs[0]), sums, claimed)
        assert (found.outcome, found.kind) == ("deviates", "exact")
        assert found.message == "1 of 4 elements are wrong; (3,) is 8, exactly 7"
    assert verdict(np.array([127, -128, 127, 7], np.int8), sums, wraps).message.startswith("3 of 4 elements are wrong")
    assert verdict(np.array([44, 127, -1, 7]), sums, wraps).message == "the result has dtype int64, not int8"
