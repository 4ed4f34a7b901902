"""Planted faults: the suite finds every one of them, accepts right libraries, and names failures after them."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from arrconv_conformance import Case, full, quick
from arrconv_conformance.claims import Claim
from arrconv_conformance.faults import FAULTS, KINDS, RIGHT, Call, Fault, Planted
from arrconv_conformance.faults.call import SINGLES
from arrconv_conformance.faults.sums import summed
from arrconv_conformance.faults.survey import Found, survey
from arrconv_conformance.faults.walk import Walk, folded_by, padded_by, walked, walks_of
from arrconv_conformance.grouping import grouped
from arrconv_conformance.likeness import likeness
from arrconv_conformance.question import Question
from arrconv_conformance.record import Failure
from arrconv_conformance.sessions import Child, InProcess

import arrconv

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # NaN and infinities are among the data
    pytest.mark.xdist_group("faults"),  # the survey takes a minute, and is for one process
]

LATE = {
    "counted in 16 bits": "n=65539 c=1 o=1 x=1 k=1 member=conv dtype=float32 data=integers",
    "complex products by three": "n=3 c=3 o=9 g=3 x=7,5,6 k=1,1,1 p=2,0,1 member=conv_transpose_grad_input "
    "dtype=complex128 data=normal",
}
"""What the quick run may miss, the second by how the BLAS rounds, and the check of the full run that finds it then."""


@pytest.fixture(scope="module")
def found() -> dict[str, Found]:
    """The first check of the quick run that finds each fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return survey(FAULTS.values(), quick())


def test_the_faults_are_many_and_have_names_of_their_own() -> None:
    assert len(FAULTS) == sum(len(faults) for faults in KINDS.values()) >= 75
    assert len({fault.broken for fault in FAULTS.values()}) > 200
    for fault in FAULTS.values():
        assert fault.members
        assert set(fault.members) <= set(SINGLES)
        assert fault.link is None or fault.link.startswith("https://github.com/")


@pytest.mark.parametrize("name", FAULTS)
def test_every_planted_fault_is_found(name: str, found: dict[str, Found]) -> None:
    if name in found:
        finding = found[name]
    else:
        assert name in LATE, "the quick run does not find it; where the full run does, say so in LATE"
        finding = survey([FAULTS[name]], [Case.parse(LATE[name])])[name]
    assert finding.verdict.outcome == "deviates", finding  # a fault that raises would prove nothing
    assert FAULTS[name].shows_in(str(finding.case.member), finding.case.needs)
    if finding.case.wrong is not None:
        assert FAULTS[name] in KINDS["wrong calls"], finding  # a wrong call is no proof of anything else


def test_the_quick_run_finds_nearly_all(found: dict[str, Found]) -> None:
    assert len(found) >= 0.9 * len(FAULTS)


def test_what_is_found_late_is_asked_by_the_full_run() -> None:
    asked = {str(case) for case in full()}
    assert set(LATE.values()) <= asked


@pytest.mark.parametrize("right", RIGHT, ids=lambda right: right.name)
def test_right_libraries_are_accepted(right: Fault) -> None:
    session = InProcess(Planted(right))
    for case in islice(quick(), len(right.name) % 7, None, 7):
        verdict = session.ask(case)
        assert verdict.outcome == "agrees", (str(case), verdict)


def test_right_libraries_differ_from_one_another() -> None:
    """Otherwise, accepting all of them would say little."""
    case = Case.parse("n=2 c=37 o=3 x=9 k=3 member=conv dtype=float32 data=normal")
    results = [Planted(right).conv(*arguments(case), **options(case)).tobytes() for right in RIGHT]
    assert len(set(results)) >= 4


def test_a_fault_that_never_shows_is_not_found() -> None:
    harmless = Fault("harmless", "nothing", Call.right, SINGLES)
    assert survey([harmless, FAULTS["kernel flipped"]], islice(quick(), 40)).keys() == {"kernel flipped"}


def question(case: str) -> Question:
    parsed = Case.parse(case)
    return Question(parsed, Claim.of(None, str(parsed.dtype)))


def arguments(case: Case) -> list[Any]:
    return Question(case, Claim.of(None, str(case.dtype))).arrays


def options(case: Case) -> dict[str, Any]:
    return Question(case, Claim.of(None, str(case.dtype))).options


def call_of(text: str, dtype: str = "float64") -> Call:
    asked = question(f"{text} dtype={dtype} data=integers")
    operands = {role: array for role, array in zip(asked.member.takes, asked.arrays, strict=True) if array is not None}
    chosen = {name: value for name, value in asked.options.items() if name != "needs"}
    return Call(asked.member.name, operands, chosen, asked.needs)


GEOMETRIES = [
    "n=2 c=3 o=4 x=9,7 k=3,2",
    "n=3 c=6 o=4 g=2 x=11,8 k=3,2 s=2,1 p=1:2,0:1 d=1,2",
    "n=2 c=2 o=3 x=6,5,7 k=1,2,2 p=-2:1,-1:1,1:0",
    "n=2 c=3 o=5 x=4 k=2 s=2 p=9:6 mode=circular",
    "n=1 c=4 o=6 g=2 x=6,14 k=2,4 s=3,2 p=2,0:3 d=2,1 mode=reflect",
    "n=3 c=2 o=4 x=7,12 k=2,3 s=2,2 p=3:4,2:0 mode=replicate",
    "n=3 c=4 o=5 x=- k=-",
]


@pytest.mark.parametrize("member", SINGLES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("dtype", ["float64", "float16", "complex64", "int16"])
def test_what_faults_are_made_of_is_right_by_itself(geometry: str, member: str, dtype: str) -> None:
    """Otherwise a fault would be more than one thing that is wrong."""
    if "mode" in geometry and member.startswith("conv_transpose"):
        pytest.skip("a transposed convolution has no padding modes")
    call = call_of(f"{geometry} member={member}", dtype)
    right = call.right()
    for made in (walked(call, walks_of(call)), summed(call, lambda total: total)):
        assert made.dtype == right.dtype
        assert np.array_equal(made, right)


def test_padding_and_folding_are_adjoint() -> None:
    walks = [Walk(np.array([2, 1, 0, 1, 2, -1]), 1, 1), Walk(np.array([-1, 0, 0, 3, 3]), 1, 1)]
    rng = np.random.default_rng(5)
    x, padded = rng.integers(-9, 10, (2, 3, 3, 4)), rng.integers(-9, 10, (2, 3, 6, 5))
    assert np.sum(padded_by(x, walks) * padded) == np.sum(x * folded_by(padded, walks, (3, 4)))
    assert padded_by(np.arange(1, 5).reshape(1, 1, 4), walks[1:]).tolist() == [[[0, 1, 1, 4, 4]]]


NAMED = [
    "kernel flipped",
    "strides exchanged in the input gradient",
    "remainder at the begin",
    "first phase of the stride alone",
    "padding by name without the stride",
    "reflect repeats the edge",
    "no corners",
    "output padding as zeros",
    "groups' weights rotated",
    "depthwise ignores the dilation",
    "last image missing",
    "bias along the last axis",
    "bias gradient zero without that of the weight",
    "weight gradient not conjugated",
    "TF32",
    "sums wrap at 16 bits",
    "NaN all over tiles of four",
    "slices of channels-last arrays read without gaps",
    "weight overwritten",
    "weights remembered",
    "too long a bias accepted",
]


@pytest.mark.parametrize("name", NAMED)
def test_failures_are_named_after_the_fault_that_they_have(name: str, found: dict[str, Found]) -> None:
    session = InProcess(Planted(FAULTS[name]))
    groups = grouped([Failure(found[name].case, found[name].verdict)], session).groups
    assert [name in group.likeness for group in groups] == [True], groups
    assert len(groups[0].likeness) <= 3


def test_a_right_answer_is_like_no_fault() -> None:
    asked = question("n=2 c=4 o=6 g=2 x=9,7 k=3,2 s=2,1 p=1,1 member=conv dtype=float32 data=normal")
    right = arrconv.conv(*asked.arrays, **asked.options)
    assert likeness(asked, {"result": right}) == ()
    assert likeness(asked, {"result": right[:, ::-1].copy()}) == ()


def test_a_likeness_is_the_same_within_rounding_but_not_beyond() -> None:
    asked = question("n=2 c=4 o=6 g=2 x=9,7 k=3,2 s=2,1 p=1,1 member=conv dtype=float32 data=normal bias=none")
    x, w, _ = asked.arrays
    flipped = arrconv.conv(x, np.flip(w, (2, 3)).copy(), algorithm="exact", **asked.options)
    assert likeness(asked, {"result": flipped}) == ("kernel flipped",)
    assert likeness(asked, {"result": np.nextafter(flipped, np.float32(9))}) == ("kernel flipped",)
    assert likeness(asked, {"result": flipped * np.float32(1.001)}) == ()


def test_a_child_process_is_asked_for_the_likeness(tmp_path: Path) -> None:
    adapter = tmp_path / "mine.py"
    adapter.write_text(
        "from arrconv_conformance.faults import FAULTS, Planted\n"
        "name, version = 'mine', '1'\n"
        "conv = Planted(FAULTS['groups\\' weights rotated']).conv\n",
        encoding="utf-8",
    )
    case = Case.parse("n=2 c=6 o=4 g=2 x=9 k=3 member=conv dtype=float64 data=integers")
    session = Child(str(adapter))
    try:
        verdict = session.ask(case)
        assert verdict.outcome == "deviates"
        assert "groups' weights rotated" in session.likeness([case])
        assert session.likeness([replace(case, dtype="complex64", bias="none")]) != ()
        assert session.ask(case) == verdict
    finally:
        session.close()


def test_the_command_shows_which_check_finds_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "faults.md"
    run = [sys.executable, "-m", "arrconv_conformance.faults"]
    done = subprocess.run(
        [*run, "kernel flipped", "bias twice", "--markdown", str(file)], capture_output=True, text=True, check=True
    )
    assert "2 of 2 faults found, 2 of them among the " in done.stdout
    first = str(next(quick()))
    assert f"| kernel flipped | convolution for correlation | quick 1 | `{first}` |" in file.read_text(encoding="utf-8")
    failed = subprocess.run([*run, "no such thing"], capture_output=True, text=True, check=False)
    assert failed.returncode != 0
    assert "no such fault: no such thing" in failed.stderr
