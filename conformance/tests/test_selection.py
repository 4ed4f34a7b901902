"""Selections: what users may say, and what it stands for."""

from __future__ import annotations

from itertools import islice

import pytest
from arrconv_conformance import Case, full, quick, sweep
from arrconv_conformance.generate import SEED
from arrconv_conformance.selection import Selection

from arrconv import ArrconvError

SMALL = "n=2 c=3 o=4 x=5 k=2"


def test_each_name_stands_for_its_cases() -> None:
    assert list(islice(Selection(), 300)) == list(islice(quick(), 300))
    assert list(islice(Selection("full"), 300)) == list(islice(full(), 300))
    assert list(Selection("3")) == list(sweep(3, SEED))
    assert list(Selection("3", seed=8)) == list(sweep(3, 8)) != list(sweep(3, SEED))
    assert list(Selection("0")) == []


def test_one_case_stands_for_all_that_it_does_not_name_whatever_else_is_said() -> None:
    for cases in ("quick", "5"):
        assert list(Selection(cases, only=SMALL)) == list(Case.parse(SMALL).singles())


def test_how_many_checks_there_are() -> None:
    assert Selection().about() == sum(1 for _ in quick())
    assert Selection(only=f"{SMALL} data=ones").about() == 110  # ten members, eleven dtypes
    assert Selection("0").about() == 0
    assert Selection("7").about() == len(list(Selection("7")))
    assert Selection("400").about() == sum(1 for _ in sweep(40, SEED)) * 10


def test_selections_that_mean_nothing_are_refused_at_once() -> None:
    for cases in ("all", "", "-3", "1.5", "Quick"):
        with pytest.raises(
            ValueError, match=f"cases are quick, full, or a number of random geometries, but got '{cases}'"
        ):
            Selection(cases)
    with pytest.raises(ArrconvError, match="lacks x=, k="):
        Selection(only="n=2 c=3 o=4")


def test_a_selection_says_what_it_is() -> None:
    assert str(Selection()) == "quick"
    assert str(Selection("700", seed=3)) == "700 random geometries of seed 3"
    assert str(Selection("7")) == f"7 random geometries of seed {SEED}"
    assert str(Selection(only=SMALL)) == f"'{SMALL}'"


@pytest.mark.parametrize(
    ("selection", "of_quick", "of_full"),
    [
        (Selection("quick"), True, False),
        (Selection("full"), True, True),
        (Selection("900"), False, False),
        (Selection("full", only=SMALL), False, False),
    ],
)
def test_an_expectation_is_only_missed_where_it_had_to_show(
    selection: Selection, of_quick: bool, of_full: bool
) -> None:
    assert selection.covers(needs_full=False) == of_quick
    assert selection.covers(needs_full=True) == of_full
