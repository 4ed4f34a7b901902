"""The verdict on all elements together: where it is given, and the lower precision that only it can see."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from arrconv_conformance.claims import Claim
from arrconv_conformance.exact import Exact
from arrconv_conformance.judge import Verdict, judge
from arrconv_conformance.question import Expected

from arrconv import Arithmetic

Array = Any
TERMS, ROWS, COLUMNS = 1500, 37, 31
FLOAT32 = Claim(Arithmetic.of("float32"), ("float32",))
rng = np.random.default_rng(12)
X = rng.standard_normal((ROWS, TERMS)).astype(np.float32)
W = rng.standard_normal((TERMS, COLUMNS)).astype(np.float32)


def tf32(array: Array) -> Array:
    """Rounded to ten bits of fraction."""
    fractions, exponents = np.frexp(array.astype(np.float64))
    return np.ldexp(np.round(fractions * 2**11), exponents - 11)


def exact_product(x: Array = X, w: Array = W) -> Array:
    return x.astype(np.float64) @ w.astype(np.float64)  # its error is 2^-29 of what is judged


def must_be(**changes: Any) -> Expected:
    magnitude = exact_product(np.abs(X), np.abs(W))
    allowed = TERMS * 2.0**-24 * magnitude
    exact = Exact(exact_product(), np.zeros((ROWS, COLUMNS)))
    return replace(Expected(exact, allowed, magnitude, TERMS), **changes)


IN_TF32 = exact_product(tf32(X), tf32(W)).astype(np.float32)


def verdict(got: Array, expected: Expected, claim: Claim = FLOAT32, data: str = "normal") -> Verdict:
    return judge(got, expected, claim, data)


def test_tensor_cores_hide_within_the_bound_but_not_from_the_statistics() -> None:
    expected = must_be()
    assert expected.allowed is not None
    assert np.all(np.abs(IN_TF32 - exact_product()) <= expected.allowed)
    found = verdict(IN_TF32, expected)
    assert (found.outcome, found.kind) == ("deviates", "statistics")
    assert "the errors of 1147 elements together exceed what the claimed arithmetic makes" in found.message
    assert found.share > 1
    assert 0 < found.ratio <= 1


def test_true_float32_agrees_and_says_how_near_it_came() -> None:
    total = np.zeros((ROWS, COLUMNS), np.float32)
    for term in range(TERMS):
        total += X[:, term, None] * W[term]
    found = verdict(total, must_be())
    assert found.outcome == "agrees"
    assert 0 < found.share < 1
    assert 0 < found.ratio < 1


@pytest.mark.parametrize(
    ("why", "expected", "claim", "data"),
    [
        (
            "what is claimed is TF32",
            must_be(),
            Claim(replace(FLOAT32.arithmetic, input="tf32"), ("float32",)),
            "normal",
        ),
        (
            "a number that must be exact",
            must_be(allowed=np.where(np.eye(ROWS, COLUMNS) > 2, 0.0, math.inf)),
            FLOAT32,
            "normal",
        ),
    ],
)
def test_where_the_limits_are_for_something_else_they_are_not_asked(
    why: str, expected: Expected, claim: Claim, data: str
) -> None:
    found = verdict(IN_TF32, expected, claim, data)
    assert (found.outcome, found.share) == ("agrees", 0), why


def test_an_element_that_must_be_exact_leaves_the_limits_out() -> None:
    expected = must_be()
    assert expected.allowed is not None
    allowed = expected.allowed.copy()
    got = IN_TF32.copy()
    allowed[5, 7], got[5, 7] = 0.0, exact_product()[5, 7]
    high = expected.exact.high.copy()
    high[5, 7] = got[5, 7]
    found = verdict(got, replace(expected, allowed=allowed, exact=Exact(high, np.zeros_like(high))))
    assert (found.outcome, found.share) == ("agrees", 0)


def test_a_special_element_leaves_the_limits_out() -> None:
    none, never = np.zeros((ROWS, COLUMNS)), np.zeros((ROWS, COLUMNS), bool)
    found = verdict(IN_TF32, must_be(exact=Exact(exact_product(), none, none, never)))
    assert (found.outcome, found.share) == ("agrees", 0)


def test_fewer_than_a_thousand_elements_say_too_little() -> None:
    expected = must_be()
    assert expected.magnitude is not None
    assert expected.allowed is not None
    for columns, outcome in ((27, "agrees"), (28, "deviates")):  # 999 and 1036 elements
        part = np.s_[:, :columns]
        some = Expected(
            Exact(expected.exact.high[part], expected.exact.low[part]),
            expected.allowed[part],
            expected.magnitude[part],
            TERMS,
        )
        assert verdict(IN_TF32[part], some).outcome == outcome


def test_a_complex_result_has_no_statistics() -> None:
    high = exact_product() * (1 + 0j)
    claim = Claim(Arithmetic.of("complex64"), ("complex64",))
    found = verdict(IN_TF32.astype(np.complex64), must_be(exact=Exact(high, 0 * high)), claim)
    assert (found.outcome, found.share) == ("agrees", 0)


def drifting() -> Array:
    """Every element a little too large: within the limits of each and of the mean square, not of the sum."""
    expected = must_be()
    assert expected.magnitude is not None
    return (exact_product() + 12 * 2.0**-24 * expected.magnitude).astype(np.float32)


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        ("normal", "deviates"),
        ("uniform", "deviates"),
        ("wide", "deviates"),
        ("positive", "agrees"),
        ("cancelling", "agrees"),
    ],
)
def test_the_sum_of_errors_is_asked_of_data_of_either_sign_alone(data: str, outcome: str) -> None:
    found = verdict(drifting(), must_be(), FLOAT32, data)
    assert found.outcome == outcome
    assert (found.share > 1) == (outcome == "deviates")


def test_a_bias_is_one_more_term() -> None:
    expected = must_be()
    shares = [judge(drifting(), expected, FLOAT32, "positive", bias=bias).share for bias in (False, True)]
    assert shares[0] / shares[1] == pytest.approx((TERMS + 1) / TERMS)


def test_a_single_wrong_element_is_found_first() -> None:
    got = IN_TF32.copy()
    got[3, 4] += 1
    found = verdict(got, must_be())
    assert found.kind == "bound"
    assert found.message.startswith("1 of 1147 elements are wrong; (3, 4) is ")
