"""Grouping: one group for each cause, none hidden behind another, and every failure counted once."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from arrconv_conformance import Case, quick
from arrconv_conformance.features import features_of
from arrconv_conformance.grouping import Group, Groups, grouped, unreduced
from arrconv_conformance.judge import Verdict
from arrconv_conformance.record import Failure, Run
from arrconv_conformance.shrink import Shrunk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WRONG = Verdict("deviates", "1 of 2 elements are wrong; (0,) is 1.0, exactly 2.0, and must be exact", "exact")
CHECKS = [case for case in islice(quick(), 0, None, 11) if case.wrong is None and case.geometry.products("y") < 60]


@dataclass
class Library:
    """One with a fault for each of some conditions; the first that holds is what is seen."""

    faults: list[tuple[Callable[[Case], Any], Verdict]]
    name: str = "broken"
    version: str = "3"
    likened: list[list[Case]] = field(default_factory=list)

    def ask(self, case: Case) -> Verdict:
        return next((verdict for fails, verdict in self.faults if fails(case)), Verdict("agrees"))

    def likeness(self, cases: Sequence[Case]) -> tuple[str, ...]:
        self.likened.append(list(cases))
        return ("something known",)

    def close(self) -> None:
        pass

    def failures(self) -> list[Failure]:
        asked = [Failure(case, self.ask(case)) for case in CHECKS]
        return [failure for failure in asked if failure.verdict.outcome != "agrees"]


def library(*fails: Callable[[Case], Any]) -> Library:
    return Library([(condition, WRONG) for condition in fails])


def has(*features: str) -> Callable[[Case], bool]:
    return lambda case: set(features) <= set(features_of(case))


def of(member: str, *features: str) -> Callable[[Case], bool]:
    return lambda case: case.member == member and has(*features)(case)


def found(broken: Library, **options: Any) -> list[tuple[str, int]]:
    return [(str(group.smallest.case), group.count) for group in grouped(broken.failures(), broken, **options).groups]


def test_failures_of_one_cause_are_one_group() -> None:
    broken = library(of("conv", "stride", "groups"))
    failures = broken.failures()
    assert len(failures) > 5
    [group] = grouped(failures, broken).groups
    assert group.count == len(failures)
    assert str(group.smallest.case) == "n=1 c=4 o=2 g=2 x=0 k=1 s=2 member=conv dtype=float32 data=ones bias=none"
    assert group.smallest.verdict == WRONG
    assert group.first in failures
    assert set(group.failures) == set(failures)


def test_two_causes_are_two_groups_even_where_some_cases_have_both() -> None:
    dilated, circular = of("conv", "dilation"), of("conv", "circular")
    broken = library(dilated, circular)
    failures = broken.failures()
    assert any(dilated(failure.case) and circular(failure.case) for failure in failures)
    groups = grouped(failures, broken)
    assert groups.more == 0
    assert sum(group.count for group in groups.groups) == len(failures)
    for group in groups.groups:
        assert sum((dilated(group.smallest.case), circular(group.smallest.case))) == 1  # of one cause alone
        for failure in group.failures:
            assert any(fails(failure.case) and fails(group.smallest.case) for fails in (dilated, circular))
    assert {dilated(group.smallest.case) for group in groups.groups} == {True, False}


def test_a_cause_is_never_hidden_behind_that_of_another_member() -> None:
    broken = library(of("conv", "stride"), of("conv_grad_weight", "stride"))
    members = {group.smallest.case.member for group in grouped(broken.failures(), broken).groups}
    assert members == {"conv", "conv_grad_weight"}


def test_a_failure_is_not_reduced_to_one_that_is_explained() -> None:
    broken = library(of("conv", "stride"))
    failures = [failure for failure in broken.failures() if int(failure.case.geometry.batch or 0) > 1]

    def explains(case: Case, _: Verdict) -> str | None:
        return "known of small batches" if int(case.geometry.batch or 0) < 2 else None

    [known] = grouped(failures, broken).groups
    assert known.smallest.case.geometry.batch == 1
    [group] = grouped(failures, broken, explains=explains).groups
    assert group.smallest.case.geometry.batch == 2


@pytest.mark.parametrize("function", ["conv", "conv_transpose"])
def test_gradients_that_are_requested_together_belong_to_the_one_that_is_wrong(function: str) -> None:
    alone, together = f"{function}_grad_weight", f"{function}_backward"

    def fails(case: Case) -> bool:
        return has("stride")(case) and (
            case.member == alone or (case.member == together and (not case.needs or "weight" in case.needs))
        )

    broken = library(fails)
    failures = broken.failures()
    assert {failure.case.member for failure in failures} == {alone, together}
    assert [(case.partition(" member=")[2].split()[0], count) for case, count in found(broken)] == [
        (alone, len(failures))
    ]


def test_a_gradient_that_was_not_requested_is_not_to_blame() -> None:
    """The gradient of the weight is wrong; so is something of those of the input and the bias together."""
    together = ("input", "bias")
    broken = library(of("conv_grad_weight"), lambda case: case.needs == together and case.member == "conv_backward")
    groups = grouped(broken.failures(), broken).groups
    assert {group.smallest.case.member for group in groups} == {"conv_grad_weight", "conv_backward"}
    assert {failure.case.needs for failure in groups[-1].failures} in ({together}, {()})


@pytest.mark.parametrize(
    "condition",
    [
        lambda case: case.dtype == "complex64" and case.member == "conv",
        lambda case: case.before == "data" and case.member == "conv_grad_input",
        lambda case: case.layout and case.member == "conv_transpose",
        lambda case: case.data in ("nan", "inf") and case.member == "conv",
        lambda case: case.padding is not None and case.member == "conv",
    ],
)
def test_what_the_smallest_case_could_not_lose_all_of_its_group_have(condition: Callable[[Case], Any]) -> None:
    other = of("conv_grad_bias", "1-D")
    broken = library(condition, other)
    groups = grouped(broken.failures(), broken).groups
    assert sum(group.count for group in groups) == len(broken.failures())
    for group in groups:
        causes = {bool(condition(failure.case)) for failure in group.failures}
        assert causes == {bool(condition(group.smallest.case))}


def test_refusals_are_told_apart_by_what_they_say_but_for_its_numbers() -> None:
    def refusal(text: str) -> Callable[[Case], Verdict]:
        return lambda case: Verdict("refuses", text.format(case.geometry.in_channels))

    class Refusing(Library):
        def ask(self, case: Case) -> Verdict:
            if has("stride")(case):
                return refusal("ValueError: strides of {} channels")(case)
            return refusal("ValueError: {} groups")(case) if has("groups")(case) else Verdict("agrees")

    refusing = Refusing([])
    failures = refusing.failures()
    assert len({failure.verdict.message for failure in failures}) > 6
    groups = grouped(failures, refusing).groups
    assert sorted(group.smallest.verdict.message for group in groups) == [
        "ValueError: 4 groups",  # two of two channels, which makes them no depthwise ones
        "ValueError: strides of 1 channels",
    ]
    assert {len({failure.case.member for failure in group.failures}) for group in groups} != {1}  # of all members
    assert not refusing.likened  # there is no wrong value to compare


def test_outcomes_and_kinds_make_groups_of_their_own() -> None:
    verdicts = [
        WRONG,
        Verdict("deviates", "the errors of 1000 elements together", "statistics"),
        Verdict("deviates", "the operand x was written to", "behaviour"),
        Verdict("refuses", "ValueError: no"),
        Verdict("crashes", "the process ended of signal SIGSEGV"),
        Verdict("hangs", "no answer after 60 s"),
    ]
    features = ["circular", "reflect", "replicate", "cropping", "empty", "output padding"]
    broken = Library([(has(feature), verdict) for feature, verdict in zip(features, verdicts, strict=True)])
    groups = grouped(broken.failures(), broken).groups
    seen = {(group.smallest.verdict.outcome, group.smallest.verdict.kind) for group in groups}
    assert seen == {(verdict.outcome, verdict.kind) for verdict in verdicts}
    for group in groups:
        assert len({failure.verdict for failure in group.failures}) == 1


def test_the_same_failures_make_the_same_groups_in_any_order() -> None:
    broken = library(of("conv", "dilation"), has("replicate"), of("conv_transpose", "stride"))
    failures = broken.failures()
    first = grouped(failures, broken)
    assert grouped(list(failures), broken) == first
    backwards = grouped(failures[::-1], broken)
    assert {str(group.smallest.case) for group in backwards.groups} == {str(g.smallest.case) for g in first.groups}


def test_beyond_the_largest_number_of_groups_failures_are_counted() -> None:
    broken = library(*(of(member, "stride") for member in ("conv", "conv_grad_bias", "conv_transpose")))
    failures = broken.failures()
    everything = grouped(failures, broken)
    assert len(everything.groups) == 3
    some = grouped(failures, broken, most=2)
    first = [group.smallest.case for group in everything.groups[:2]]
    assert [group.smallest.case for group in some.groups] == first
    assert some.more == len(failures) - sum(group.count for group in some.groups) > 0
    assert grouped([], broken) == Groups([])


def test_groups_that_come_down_to_one_case_are_one() -> None:
    groups = grouped(library(lambda _: True).failures(), library(lambda _: True)).groups
    smallest = [group.smallest.case for group in groups]
    assert len(set(smallest)) == len(smallest)


def test_a_group_is_compared_with_planted_faults_by_its_smallest_case_and_a_few_more() -> None:
    broken = library(of("conv", "stride"))
    [group] = grouped(broken.failures(), broken).groups
    assert group.likeness == ("something known",)
    [cases] = broken.likened
    assert cases[0] == group.smallest.case
    assert 2 <= len(cases) <= 9
    assert set(cases[1:]) <= {failure.case for failure in group.failures}


def test_without_a_framework_each_failure_is_shown_by_itself() -> None:
    failures = library(of("conv", "stride")).failures()
    shown = unreduced(failures, 3)
    assert [(group.smallest.case, group.first, group.count) for group in shown.groups] == [
        (failure.case, failure, 1) for failure in failures[:3]
    ]
    assert shown.more == len(failures) - 3


# What is said of a group


RUN = Run("my file.py:it", "mine", "1", [])
SMALL, LARGE = (Case.parse(f"n={n} c=3 o=4 x=9 k=3 member=conv dtype=float32 data=ones") for n in (1, 5))


def test_a_group_is_told_in_lines_of_which_one_is_a_command() -> None:
    group = Group(Shrunk(SMALL, WRONG), Failure(LARGE, WRONG), 7, ("kernel flipped", "other"), "import numpy\nprint(1)")
    headline, likeness, command, first, *script = group.lines(RUN)
    assert headline == f"mine deviates (7×): {WRONG.message}"
    assert likeness.strip() == "behaves like: kernel flipped, other"
    assert shlex.split(command) == ["arrconv", "conform", "my file.py:it", "--case", str(SMALL)]
    assert first.strip() == f"first seen:  {LARGE}"
    assert [line.strip() for line in script] == ["import numpy", "print(1)"]
    short = Group(Shrunk(SMALL, WRONG), Failure(SMALL, WRONG), 1).lines(RUN)
    assert len(short) == 2


def test_a_group_is_told_as_data() -> None:
    group = Group(Shrunk(SMALL, WRONG), Failure(LARGE, WRONG), 7, ("kernel flipped",), "print(1)")
    assert group.as_json() == {
        "case": str(SMALL),
        "outcome": "deviates",
        "message": WRONG.message,
        "kind": "exact",
        "ratio": 0.0,
        "share": 0.0,
        "varies": None,
        "count": 7,
        "first": str(LARGE),
        "behaves like": ["kernel flipped"],
        "script": "print(1)",
    }


def test_failures_of_one_cause_are_reduced_once() -> None:
    """However the smallest case changes on the way: here it becomes empty, and needs output padding."""
    broken = library(of("conv_transpose", "stride"))
    failures = broken.failures()
    assert len(failures) > 20
    asked: list[Case] = []
    ask = broken.ask

    def counted(case: Case) -> Verdict:
        asked.append(case)
        return ask(case)

    broken.ask = counted  # type: ignore[method-assign]
    [group] = grouped(failures, broken).groups
    assert {"empty", "output padding"} <= set(features_of(group.smallest.case))
    assert group.count == len(failures)
    assert len(asked) < 60
