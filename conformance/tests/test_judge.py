"""The judge: what it accepts, what it rejects, and what it says."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from arrconv_conformance import Case
from arrconv_conformance.exact import Exact, Products
from arrconv_conformance.judge import judge
from arrconv_conformance.question import Question


def exact_of(numbers: list[int], exponent: int = 0) -> Exact:
    integers = np.empty(len(numbers), dtype=object)
    integers[:] = numbers
    return Exact(integers, exponent)


def asked(data: str, dtype: str) -> Question:
    case = Case.parse(f"n=2 c=3 o=4 x=9,7 k=3,2 member=conv dtype={dtype} data={data}")
    return Question.of(case, Products.of(case.geometry))


def rounded(question: Question) -> Any:
    """The exact result rounded once, number by number."""
    result = np.empty(question.exact.integers.shape, dtype=question.dtype)
    for index in np.ndindex(result.shape):
        result[index] = float(question.exact.fraction(index))
    return result


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("data", ["integers", "uniform"])
def test_the_correctly_rounded_result_agrees(data: str, dtype: str) -> None:
    question = asked(data, dtype)
    verdict = judge(rounded(question), question.exact, question.bound, dtype)
    assert verdict.outcome == "agrees"
    assert verdict.ratio < 0.5
    assert (verdict.ratio > 0) == (data == "uniform" and dtype == "float32")  # float64 rounds as the judge does


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_error_of_the_bound_is_accepted_and_one_of_an_ulp_more_is_not(dtype: str) -> None:
    """At the last number of the dtype within the bound, and at the first one beyond it, found with fractions."""
    question = asked("uniform", dtype)
    assert question.bound is not None
    for index in [(0, 0, 0, 0), (1, 3, 6, 5), (0, 2, 4, 1)]:
        exact, allowed = question.exact.fraction(index), Fraction(float(question.bound[index]))
        for direction in (-np.inf, np.inf):
            inside = beyond = rounded(question)[index]
            while abs(Fraction(float(beyond)) - exact) <= allowed:
                inside, beyond = beyond, np.nextafter(beyond, beyond.dtype.type(direction))
            for value, outcome in ((inside, "agrees"), (beyond, "deviates")):
                got = rounded(question)
                got[index] = value
                assert judge(got, question.exact, question.bound, dtype).outcome == outcome


def test_the_bound_itself_is_allowed_to_the_last_bit() -> None:
    exact, bound = exact_of([2**60 + 1, 3], -60), np.array([2.0**-60, 0.25])
    assert judge(np.array([1.0, 3 * 2.0**-60]), exact, bound, "float64").outcome == "agrees"
    # 1 errs by 2^-60 exactly, which float64 arithmetic cannot see; less than that is not allowed
    tight = np.array([np.nextafter(2.0**-60, 0), 0.25])
    verdict = judge(np.array([1.0, 3 * 2.0**-60]), exact, tight, "float64")
    assert verdict.outcome == "deviates"
    assert "1 of 2 elements are wrong; (0,) is 1.0" in verdict.message


@pytest.mark.parametrize("data", ["integers", "uniform"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_element_that_is_no_number_is_wrong(data: str, value: float) -> None:
    question = asked(data, "float32")
    got = rounded(question)
    got[1, 2, 3, 4] = value
    verdict = judge(got, question.exact, question.bound, "float32")
    assert verdict.outcome == "deviates"
    assert "1 of 336 elements are wrong; (1, 2, 3, 4) is " + repr(value) in verdict.message


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
    ],
)
def test_what_is_no_array_of_the_shape_and_dtype_is_wrong(got: Any, message: str) -> None:
    verdict = judge(got, exact_of([0, 0]), np.array([9.0, 9.0]), "float64")
    assert verdict.outcome == "deviates"
    assert re.fullmatch(message, verdict.message)


def test_the_exact_verdict_rejects_one_unit_in_one_element() -> None:
    question = asked("integers", "float32")
    assert question.bound is None
    for unit in (1, -1):
        got = rounded(question)
        got[0, 1, 2, 3] += unit
        verdict = judge(got, question.exact, question.bound, "float32")
        assert verdict.outcome == "deviates"
        assert verdict.message.endswith("and must be exact")
        assert verdict.ratio == math.inf


def test_the_exact_verdict_rejects_one_ulp() -> None:
    got = np.array([np.nextafter(np.float32(81), np.float32(100)), np.float32(0)])
    assert judge(got, exact_of([81, 0]), None, "float32").outcome == "deviates"


def test_the_sign_of_zero_does_not_matter() -> None:
    assert judge(np.array([-0.0, 5.0]), exact_of([0, 5]), None, "float64").outcome == "agrees"
    assert judge(np.array([-0.0, 5.0]), exact_of([0, 5]), np.zeros(2), "float64").outcome == "agrees"


def test_the_smallest_number_is_not_zero() -> None:
    assert judge(np.array([5e-324]), exact_of([0]), None, "float64").outcome == "deviates"


def test_the_message_names_the_count_the_worst_element_and_its_values() -> None:
    exact, bound = exact_of([10, 20, 30, 40]), np.array([0.5, 0.5, 0.5, 0.25])
    verdict = judge(np.array([10.75, 17.0, 30.5, 40.0]), exact, bound, "float64")
    assert verdict.message == "2 of 4 elements are wrong; (1,) is 17.0, exactly 20.0, and may err by 0.5"
    assert verdict.ratio == 6.0
    verdict = judge(np.array([10.75, math.nan, 30.0, 90.0]), exact, bound, "float64")
    assert verdict.message == "3 of 4 elements are wrong; (1,) is nan, exactly 20.0, and may err by 0.5"


def test_the_share_of_the_bound_is_the_largest() -> None:
    exact, bound = exact_of([10, 20, 30]), np.array([0.5, 1.0, 0.0])
    assert judge(np.array([10.25, 19.25, 30.0]), exact, bound, "float64").ratio == 0.75


@pytest.mark.parametrize("data", ["integers", "uniform"])
def test_empty_results_agree(data: str) -> None:
    empty = Exact(np.empty((2, 0), dtype=object), 0)
    bound = None if data == "integers" else np.empty((2, 0))
    assert judge(np.empty((2, 0)), empty, bound, "float64").outcome == "agrees"
    assert judge(np.empty((0, 2)), empty, bound, "float64").outcome == "deviates"


def test_strided_results_are_judged_by_value() -> None:
    exact = exact_of([1, 2, 3])
    assert judge(np.array([1.0, 9.0, 2.0, 9.0, 3.0])[::2], exact, None, "float64").outcome == "agrees"
    assert judge(np.array([3.0, 2.0, 1.0])[::-1], exact, None, "float64").outcome == "agrees"
