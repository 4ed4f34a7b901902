"""The record of a run: what is counted where, and what is kept."""

from __future__ import annotations

import pytest
from arrconv_conformance import Case
from arrconv_conformance.expectations import Expectation
from arrconv_conformance.judge import Verdict
from arrconv_conformance.record import Failure, Run, Tally

GEOMETRY = "n=2 c=4 o=6 g=2 x=9,7 k=3,2 s=2,1"
CASE = Case.parse(f"{GEOMETRY} member=conv dtype=float64 data=normal layout=x:last")
WRONG = Verdict("deviates", "wrong", "bound", ratio=7.0)


def run(*expectations: Expectation) -> Run:
    return Run("asked", "some", "1.2", list(expectations))


def test_every_outcome_is_counted_once_and_failures_are_kept() -> None:
    one = run(Expectation("refuses", "known", "it is known"))
    for verdict in (
        Verdict("agrees"),
        Verdict("refuses", "known to everybody"),
        Verdict("refuses", "new"),
        Verdict("crashes", "known"),
        WRONG,
        Verdict("hangs", "no answer"),
        Verdict("unsupported", "not offered"),
        Verdict("unsupported", "known"),
    ):
        one.record(CASE, verdict)
    [tally] = one.members.values()
    assert tally == Tally(agrees=1, explained=1, failed=4, unsupported=2)
    assert tally.judged == one.checks == 6
    assert [failure.verdict.message for failure in one.failures] == ["new", "known", "wrong", "no answer"]
    assert one.failures[2] == Failure(CASE, WRONG)
    assert one.explained == {"it is known": 1}


def test_what_explains_a_failure_is_told_and_the_first_one_counts() -> None:
    one = run(Expectation("deviates", "w", "first"), Expectation("deviates", "wrong", "second"))
    assert one.record(CASE, WRONG) == "first"
    assert one.record(CASE, Verdict("agrees")) is None
    assert one.record(CASE, Verdict("refuses", "wrong")) is None
    assert one.explained == {"first": 1}
    assert [expectation.reason for expectation in one.unused] == ["second"]


def test_counts_are_kept_by_member_and_dtype_and_by_member_and_feature() -> None:
    one = run(Expectation("deviates", "wrong", "why"))
    one.record(CASE, WRONG)
    one.record(Case.parse(f"{GEOMETRY} member=conv dtype=int8 data=ones"), Verdict("agrees"))
    one.record(Case.parse("n=2 c=4 o=6 x=9 k=3 member=conv_grad_bias dtype=int8 data=ones"), Verdict("agrees"))
    assert set(one.members) == {("conv", "float64"), ("conv", "int8"), ("conv_grad_bias", "int8")}
    assert one.features["conv", "stride"] == Tally(agrees=1, explained=1)
    assert one.features["conv", "groups"] == Tally(agrees=1, explained=1)
    assert one.features["conv", "layouts"] == Tally(explained=1)
    assert one.features["conv_grad_bias", "plain"] == one.features["conv_grad_bias", "1-D"] == Tally(agrees=1)
    assert ("conv", "plain") not in one.features
    assert one.reasons["conv", "float64"] == one.reasons["conv", "stride"] == {"why": 1}
    assert ("conv", "int8") not in one.reasons


def test_the_largest_shares_of_what_agrees_are_kept() -> None:
    one = run()
    for ratio, share in ((0.25, 0.5), (0.75, 0.125), (0.5, 0.25)):
        one.record(CASE, Verdict("agrees", ratio=ratio, share=share))
    one.record(CASE, Verdict("deviates", "wrong", "bound", ratio=9.0, share=9.0))
    [tally] = one.members.values()
    assert (tally.ratio, tally.share) == (0.75, 0.5)


def test_results_that_vary_are_counted() -> None:
    one = run()
    for varies in (True, False, None, True):
        one.record(CASE, Verdict("agrees", varies=varies))
    [tally] = one.members.values()
    assert (tally.agrees, tally.varies) == (4, 2)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("n=2 c=5 o=6 x=9,7 k=3,2 member=conv", 32),  # 5·3·2 products
        ("n=2 c=8 o=6 x=9,7 k=2,2 member=conv", 32),  # 8·2·2: a power of two is not rounded up
        ("n=2 c=5 o=6 x=9,7 k=3,2 member=conv_grad_input", 64),  # 6·3·2
        ("n=2 c=5 o=6 x=9,7 k=3,2 member=conv_grad_weight", 128),  # 2·7·6
        ("n=2 c=5 o=6 x=9,7 k=3,2 member=conv_grad_bias", 128),  # 2·7·6 elements of y
        ("n=2 c=5 o=6 x=9,8 k=3,2 member=conv_transpose_grad_bias", 256),  # 2·9·8 elements of x
        ("n=2 c=5 o=6 x=9,7 k=3,2 member=conv_backward", 128),  # the longest of them
        ("n=2 c=1 o=6 x=- k=- member=conv", 1),
        ("n=2 c=0 o=6 x=9 k=3 member=conv", 1),
    ],
)
def test_ratios_are_kept_by_dtype_data_and_length(text: str, length: int) -> None:
    one = run()
    for ratio in (0.5, 0.75, 0.25, 0.0):
        one.record(Case.parse(f"{text} dtype=float32 data=wide"), Verdict("agrees", ratio=ratio))
    one.record(Case.parse(f"{text} dtype=float32 data=wide"), WRONG)
    assert one.ratios == {("float32", "wide", length): 0.75}


def test_an_empty_run_has_nothing_to_show() -> None:
    expectation = Expectation("refuses", "no", "why")
    one = run(expectation)
    assert one.checks == 0
    assert one.unused == [expectation]
    assert one.failures == []
