"""The generated cases: the same for the same seed, and nothing that a case can say is left out."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import islice, product

import pytest
from arrconv_conformance import Case, catalogue, full, quick, sweep
from arrconv_conformance.cases import BEFORE, NAMED_PADDINGS
from arrconv_conformance.data import DATA_SETS, DTYPES, is_available
from arrconv_conformance.generate import checks_of, generated
from arrconv_conformance.layouts import LAYOUTS
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.wrong import WRONG

HERE = [dtype for dtype in DTYPES if is_available(dtype)]
VIEWS = [layout for layout in LAYOUTS if layout != "plain"]
ASKED = [data for data in DATA_SETS if data not in ("count", "ones")]  # these two are for people
NEEDS = [("input", "weight"), ("input", "bias"), ("weight", "bias")]


@cache
def quick_cases() -> list[Case]:
    return list(quick())


@cache
def full_cases() -> list[Case]:
    return list(full())


def test_the_quick_cases_are_the_same_in_every_process() -> None:
    """Whatever the order in which a process keeps its sets."""
    code = (
        "import hashlib, arrconv_conformance as a\n"
        "print(hashlib.sha256('\\n'.join(map(str, a.quick())).encode()).hexdigest())"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    here = hashlib.sha256("\n".join(map(str, quick_cases())).encode()).hexdigest()
    assert told.stdout.strip() == here
    assert told.stderr == ""


def test_the_quick_cases_follow_the_catalogue() -> None:
    cases = quick_cases()
    assert 11_000 <= len(cases) <= 20_000
    order = {(case.geometry, case.padding): place for place, case in reversed(list(enumerate(catalogue())))}
    places = [order[case.geometry, case.padding] for case in cases]
    assert places == sorted(places)
    assert set(range(300)) <= set(places)


def test_every_geometry_is_first_asked_of_every_member_in_exact_integers() -> None:
    for case in [case for case in catalogue() if case.data is None][::17]:
        asked = [check for check in quick_cases() if (check.geometry, check.padding) == (case.geometry, case.padding)]
        plain = [
            Case(case.geometry, padding=case.padding, member=member, dtype=dtype, data="integers")
            for member in MEMBERS
            for dtype in ("float32", "float64")
        ]
        plain = [check for check in plain if check.is_applicable]
        assert asked[: len(plain)] == plain
        assert len(asked) > len(plain)


def test_no_check_is_made_twice_and_every_one_can_be() -> None:
    cases = full_cases()
    assert len(cases) >= 20_000
    assert len(set(cases[: len(quick_cases())])) == len(quick_cases())
    assert len(set(cases)) > 0.99 * len(cases)  # random geometries without axes come again
    for case in cases[::29]:
        assert case.is_single
        assert case.is_applicable
        assert is_available(str(case.dtype))
        assert Case.parse(str(case)) == case


def test_the_full_cases_begin_with_the_quick_ones() -> None:
    assert full_cases()[: len(quick_cases())] == quick_cases()
    assert len(full_cases()) > 3 * len(quick_cases())
    large = {case.geometry for case in catalogue(full=True)} - {case.geometry for case in catalogue()}
    assert {case.geometry for case in full_cases()} >= large


# What the quick cases contain


def missing(wanted: product[tuple[object, ...]] | list[object], found: Counter[object]) -> list[object]:
    return [pair for pair in wanted if not found[pair]]


def test_every_value_of_every_choice_is_asked_in_quick() -> None:
    cases = quick_cases()
    for name, values in {
        "member": list(MEMBERS),
        "dtype": HERE,
        "data": ASKED,
        "before": [None, *BEFORE],
        "bias": [None, "none"],
        "needs": [(), *NEEDS],
        "padding": [None, *NAMED_PADDINGS],
        "wrong": [None, *WRONG],
    }.items():
        assert {getattr(case, name) for case in cases} == set(values), name


def test_every_pair_of_choices_is_asked_in_quick() -> None:
    cases = quick_cases()
    assert missing(product(MEMBERS, HERE), Counter((case.member, case.dtype) for case in cases)) == []
    assert missing(product(MEMBERS, ASKED), Counter((case.member, case.data) for case in cases)) == []
    exist = [(dtype, data) for dtype in HERE for data in ASKED if dtype in DATA_SETS[data].dtypes]
    assert missing(exist, Counter((case.dtype, case.data) for case in cases)) == []
    laid = [(case, role, layout) for case in cases for role, layout in case.layout]
    assert missing(product(MEMBERS, VIEWS), Counter((case.member, layout) for case, _, layout in laid)) == []
    assert missing(product("xwy", VIEWS), Counter((role, layout) for _, role, layout in laid)) == []
    backward = ("conv_backward", "conv_transpose_backward")
    assert missing(product(backward, NEEDS), Counter((case.member, case.needs) for case in cases)) == []
    assert missing(product(MEMBERS, BEFORE), Counter((case.member, case.before) for case in cases)) == []
    wrong = {(case.member, case.wrong) for case in cases if case.wrong is not None}
    assert {("conv", "bias"), ("conv_backward", "cotangent-size"), ("conv_transpose", "groups")} <= wrong
    forward = ("conv", "conv_transpose")
    assert missing(product(forward, ["none"]), Counter((case.member, case.bias) for case in cases)) == []
    assert missing(product(MEMBERS, NAMED_PADDINGS), Counter((case.member, case.padding) for case in cases)) == []


def test_layouts_and_needs_are_of_operands_and_gradients_that_there_are() -> None:
    for case in quick_cases():
        member = MEMBERS[str(case.member)]
        assert {role for role, _ in case.layout} <= set(member.takes) - {"bias"}
        assert "plain" not in dict(case.layout).values()
        assert set(case.needs) <= set(member.needs)
        assert case.bias is None or not member.needs


# Random geometries


def test_a_longer_sweep_begins_with_a_shorter_one() -> None:
    longer = list(sweep(30, 5))
    shorter = list(sweep(11, 5))
    assert longer[: len(shorter)] == shorter
    assert len(longer) > len(shorter) > 11
    assert list(sweep(11, 5)) == shorter
    assert list(sweep(11, 6)) != shorter
    assert list(sweep(0, 5)) == []


def test_random_geometries_depend_on_the_seed_and_their_number_alone() -> None:
    cases = list(generated(60, 7))
    assert list(generated(60, 7)) == cases
    assert list(generated(20, 7, start=40)) == cases[40:]
    assert list(islice(generated(10**9, 7), 5)) == cases[:5]
    assert len(set(cases) & set(generated(60, 8))) < 6


def test_random_geometries_are_of_every_kind_and_can_all_be_asked() -> None:
    cases = list(generated(400, 7))
    geometries = [case.geometry for case in cases]
    for case in cases:
        assert Case.parse(str(case)) == case
        asked = [case.__class__.parse(f"{case} member={member} dtype=float32 data=ones") for member in MEMBERS]
        assert any(check.is_applicable for check in asked)
    assert {g.ndim for g in geometries} == {0, 1, 2, 3, 4}
    assert {g.padding_mode for g in geometries} == {"zeros", "circular", "reflect", "replicate"}
    assert {case.padding for case in cases} == {None, *NAMED_PADDINGS}
    axes = [axis for g in geometries for axis in g.axes]
    assert any(axis.begin < 0 for axis in axes)
    assert any(axis.begin != axis.end for axis in axes)
    assert any(axis.begin == axis.end > 0 for axis in axes)
    assert any(axis.stride > 1 and axis.slack > 0 for axis in axes)
    assert any(axis.dilation > 1 for axis in axes)
    assert any(1 < g.groups < g.in_channels for g in geometries)
    assert any(1 < g.groups == g.in_channels for g in geometries)
    assert sum(0 in g.output_size for g in geometries) < 0.02 * len(geometries)  # an empty result says little
    for g in geometries:
        assert len(set(g.input_size)) == g.ndim  # pairwise different, so that a confusion of axes shows


@pytest.mark.parametrize(
    ("field", "value"), [("member", "conv_transpose"), ("dtype", "float16"), ("data", "wide"), ("wrong", "groups")]
)
def test_what_a_case_names_is_kept_in_its_checks(field: str, value: str) -> None:
    case = Case.parse(f"n=2 c=3 o=4 x=9,7 k=3,2 {field}={value}")
    checks = list(checks_of(case, extra=5))
    assert {getattr(check, field) for check in checks} == {value}
    assert len({(check.member, check.dtype, check.data) for check in checks}) > 3
    assert all(check.is_single and check.is_applicable for check in checks)
    assert len(set(checks)) == len(checks)
    assert list(checks_of(case, extra=5, seed=1)) != checks
