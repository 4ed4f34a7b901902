"""Shrinking: for libraries of which it is known when they fail, the smallest case that still does is found."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from arrconv_conformance import Case, quick
from arrconv_conformance.features import features_of
from arrconv_conformance.judge import Verdict
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.shrink import shrunk, simpler, sort_of
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

WRONG = Verdict("deviates", "1 of 2 elements are wrong; (0,) is 1.0, exactly 2.0, and must be exact", "exact")
START = (
    "n=3 c=12 o=8 g=4 x=11,14 k=3,4 s=2,3 p=1:2,0:1 d=1,2 member=conv_backward dtype=float64 data=normal "
    "needs=input,weight layout=x:last,y:strided before=data"
)


@dataclass
class Library:
    """One that fails exactly where it is said to."""

    fails: Callable[[Case], Any]
    verdict: Verdict = WRONG
    asked: list[Case] = field(default_factory=list)

    def ask(self, case: Case) -> Verdict:
        self.asked.append(case)
        return self.verdict if self.fails(case) else Verdict("agrees")


def smallest(start: str, fails: Callable[[Case], Any], **options: Any) -> str:
    library = Library(fails)
    case = Case.parse(start)
    assert fails(case)
    return str(shrunk(case, WRONG, library.ask, **options).case)


def needs(case: Case) -> set[str]:
    return set(case.needs or MEMBERS[str(case.member)].needs)


def axes(case: Case) -> Any:
    return case.geometry.axes


@pytest.mark.parametrize(
    ("start", "fails", "expected"),
    [
        (START, lambda _: True, "n=1 c=1 o=1 x=- k=- member=conv_grad_input dtype=float32 data=ones"),
        (
            START,
            lambda case: (
                case.geometry.groups > 1 and axes(case)[1:] and axes(case)[1].stride >= 2 and "bias" not in needs(case)
            ),
            "n=1 c=2 o=2 g=2 x=0,0 k=1,1 s=1,2 member=conv_grad_input dtype=float32 data=ones",
        ),
        (
            START,
            lambda case: case.geometry.groups > 1 and any(axis.stride >= 2 for axis in axes(case)),
            "n=1 c=2 o=2 g=2 x=0 k=1 s=2 member=conv_grad_input dtype=float32 data=ones",
        ),
        (
            START,
            lambda case: any(axis.dilation > 1 and axis.kernel_size > 1 for axis in axes(case)),
            "n=1 c=1 o=1 x=0 k=2 d=2 member=conv_grad_input dtype=float32 data=ones",
        ),
        (
            START,
            lambda case: 0 not in case.geometry.output_size and any(axis.begin < axis.end for axis in axes(case)),
            "n=1 c=1 o=1 x=0 k=1 p=0:1 member=conv_grad_input dtype=float32 data=ones",
        ),
        (
            START,
            lambda case: case.geometry.in_channels > case.geometry.out_channels,
            "n=1 c=2 o=1 x=- k=- member=conv_grad_input dtype=float32 data=ones",
        ),
        (
            START,
            lambda case: needs(case) == {"input", "weight"} and case.before == "data",
            "n=1 c=1 o=1 x=- k=- member=conv_backward dtype=float32 data=ones needs=input,weight before=data",
        ),
        (
            START,
            lambda case: dict(case.layout).get("y") == "strided" and case.dtype == "float64",
            "n=1 c=1 o=1 x=- k=- member=conv_grad_input dtype=float64 data=ones layout=y:strided",
        ),
        (
            START,
            lambda case: case.data == "normal" and case.geometry.batch > 1,
            "n=2 c=1 o=1 x=- k=- member=conv_grad_input dtype=float32 data=normal",
        ),
        (
            "n=2 c=3 o=4 x=9,7 k=3,2 p=2:1,1 mode=reflect member=conv dtype=float16 data=wide",
            lambda case: case.geometry.padding_mode != "zeros" and any(axis.begin > 1 for axis in axes(case)),
            "n=1 c=1 o=1 x=1 k=1 p=2:0 mode=reflect member=conv dtype=float32 data=ones bias=none",
        ),
        (
            "n=2 c=3 o=4 x=9,7 k=3,2 p=same_lower member=conv dtype=float32 data=integers",
            lambda case: case.padding == "same_lower" and case.bias is None,
            "n=1 c=1 o=1 x=- k=- p=same_lower member=conv dtype=float32 data=ones",
        ),
        (
            "n=2 c=3 o=4 x=9,7 k=3,2 p=-2,-1:1 member=conv dtype=float32 data=nan",
            lambda case: any(axis.begin < 0 for axis in axes(case)) and case.data == "nan",
            "n=1 c=1 o=1 x=0 k=1 p=-1:0 member=conv dtype=float32 data=nan bias=none",
        ),
        (
            "n=2 c=6 o=4 g=2 x=11,8 k=3,2 s=2,1 member=conv dtype=float32 data=integers wrong=stride",
            lambda case: case.wrong == "stride",
            "n=1 c=1 o=1 x=1 k=1 member=conv dtype=float32 data=ones bias=none wrong=stride",
        ),
    ],
)
def test_the_smallest_case_that_fails_is_found(start: str, fails: Callable[[Case], Any], expected: str) -> None:
    assert smallest(start, fails) == expected
    assert smallest(start, fails) == expected  # again, the same


def test_the_number_of_cases_that_are_asked_is_bounded() -> None:
    for tries in (0, 1, 7, 40):
        library = Library(lambda case: case.geometry.groups > 1)
        found = shrunk(Case.parse(START), WRONG, library.ask, tries)
        assert len(library.asked) <= tries
        assert library.fails(found.case)
    library = Library(lambda _: True)
    shrunk(Case.parse(START), WRONG, library.ask)
    assert len(library.asked) < 60  # large steps come first


CHECKS = [case for case in islice(quick(), 0, None, 97) if case.wrong is None]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(CHECKS), st.data())
def test_no_simpler_case_fails(start: Case, data: st.DataObject) -> None:
    """For a library that fails where a case has some of the features and fields of the first one."""
    features = data.draw(st.sets(st.sampled_from(features_of(start))))
    fields = data.draw(st.sets(st.sampled_from(["member", "dtype", "data", "layout", "bias", "before", "needs"])))

    def fails(case: Case) -> bool:
        same = all(getattr(case, name) == getattr(start, name) for name in fields)
        return same and features <= set(features_of(case))

    library = Library(fails)
    found = shrunk(start, WRONG, library.ask)
    assert fails(found.case)
    assert found.verdict == WRONG
    assert len(set(library.asked)) == len(library.asked)
    assert start not in library.asked
    for case in library.asked:
        assert case.is_applicable
        assert case.is_single
        assert Case.parse(str(case)) == case
    assert len(library.asked) <= 600
    if len(library.asked) < 600:
        assert not [case for case in simpler(found.case) if case.is_applicable and fails(case) and case != found.case]


# The same sort of failure


def test_a_case_that_fails_in_another_way_is_not_taken() -> None:
    """Without groups it refuses, and in one dimension it crashes; neither is the wrong value that is reduced."""

    def ask(case: Case) -> Verdict:
        if case.geometry.ndim < 2:
            return Verdict("crashes", "the process ended of signal SIGSEGV")
        return WRONG if case.geometry.groups > 1 else Verdict("refuses", "ValueError: one group")

    found = shrunk(Case.parse(START), WRONG, ask)
    assert str(found.case) == "n=1 c=2 o=2 g=2 x=0,0 k=1,1 member=conv_grad_input dtype=float32 data=ones"
    assert found.verdict == WRONG


def test_the_verdict_is_that_on_the_smallest_case() -> None:
    def ask(case: Case) -> Verdict:
        return Verdict(
            "refuses", f"ValueError: {case.geometry.in_channels} channels in {case.geometry.ndim} dimensions"
        )

    case = Case.parse(START)
    found = shrunk(case, ask(case), ask)
    assert found.verdict.message == "ValueError: 1 channels in 0 dimensions"


def said(message: str, outcome: Any = "refuses", kind: Any = "") -> tuple[str, str]:
    return sort_of(Verdict(outcome, message, kind))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ValueError: expected 3 channels", "ValueError: expected 12 channels"),
        ("bad shape (2, 3, 4)", "bad shape (7,)"),
        ("bad size [2 x 3]", "bad size [10 x 11 x 12]"),
        ("took 1.5 s", "took 20.25 s"),
        ("no answer after 60 s", "no answer after 2 s"),
    ],
)
def test_messages_are_alike_but_for_their_numbers(one: str, other: str) -> None:
    assert said(one) == said(other)
    assert said(one) != said(other.replace(" ", " not ", 1))


def test_outcomes_and_kinds_are_told_apart() -> None:
    exact, bound = said("1 of 2", "deviates", "exact"), said("another", "deviates", "bound")
    assert exact == bound
    assert exact != said("1 of 2", "deviates", "statistics")
    assert exact != said("1 of 2", "deviates", "form")
    assert said("the operand x was written to", "deviates", "behaviour") != said("overwritten", "deviates", "behaviour")
    assert said("no", "refuses") != said("no", "crashes") != said("no", "hangs")
