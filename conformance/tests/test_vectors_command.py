"""The commands for test vectors: which vectors are exported, and what is said where none can be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from arrconv_conformance import vectors_command
from arrconv_conformance.cases import Case, catalogue
from arrconv_conformance.data import DATA_SETS, DTYPES
from arrconv_conformance.features import FEATURES, features_of
from arrconv_conformance.selection import Selection
from arrconv_conformance.vectors import VECTOR_MEMBERS, has_oracle
from arrconv_conformance.vectors_command import questions_of
from typer.testing import CliRunner

from arrconv.cli import app

if TYPE_CHECKING:
    from pathlib import Path

SMALL = "n=2 c=4 o=6 g=2 x=9,7 k=2,3 s=2,3 p=1:2,0:1 d=2,1"


def run(*arguments: object) -> tuple[int, str]:
    """The exit status and the output of `arrconv vectors`; what escapes as an exception is raised here."""
    result = CliRunner().invoke(app, ["vectors", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_quick_has_every_member_with_every_dtype_data_set_and_feature() -> None:
    pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    questions = questions_of(Selection("quick"))
    assert len(set(questions)) == len(questions) < 2000
    for member in VECTOR_MEMBERS:
        dtypes = {case.dtype for case in questions if case.member == member}
        assert dtypes == set(DTYPES) or (member.endswith("bias") and len(dtypes) >= 8)  # those are few
    judged = [data for data in DATA_SETS if data not in ("count", "ones")]
    assert {case.data for case in questions} >= set(judged)
    for member in ("conv", "conv_transpose"):
        assert {case.data for case in questions if case.member == member} >= set(judged)
    assert {feature for case in questions for feature in features_of(case)} >= set(FEATURES) - {"layouts"}
    asked = {case.geometry for case in questions if case.member == "conv"}
    assert asked == {one.geometry for one in catalogue() if has_oracle(one) and has_conv(one)}
    assert all(not case.layout and case.before is None and case.wrong is None for case in questions)


def test_large_geometries_are_asked_in_exact_integers_alone() -> None:
    named = {one.geometry for one in catalogue() if one.data is not None}
    large = [case for case in questions_of(Selection("quick")) if elements(case) > 2200 and case.geometry not in named]
    assert len(large) > 20
    assert {(case.dtype, case.data) for case in large} <= {("float32", "integers"), ("float64", "integers")}


def elements(case: Case) -> int:
    geometry = case.geometry
    return sum(math.prod(shape) for shape in (geometry.input_shape, geometry.weight_shape, geometry.output_shape))


def has_conv(case: Case) -> bool:
    is_asked = case.wrong is None and case.member in (None, "conv")
    return is_asked and all(axis.output_size == axis.full_output_size for axis in case.geometry.axes)


def test_full_has_what_quick_has_and_random_geometries_are_the_same_again() -> None:
    full = questions_of(Selection("full"))
    assert set(full) > set(questions_of(Selection("quick")))
    some = questions_of(Selection("7", seed=3))
    assert some == questions_of(Selection("7", seed=3))
    assert some != questions_of(Selection("7", seed=4))
    assert {case.geometry for case in questions_of(Selection("9", seed=3))} > {case.geometry for case in some}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--case", "n=2 c=3"], "vectors: case 'n=2 c=3' lacks o=, x=, k="),
        (["--case", f"{SMALL} member=conv_backward"], "vectors: no vector can be made of"),
        (["--case", "n=9 c=64 o=64 x=40,39 k=3,3 member=conv"], "vectors have 400000 at most"),
        (["--cases", "some"], "vectors: cases are quick, full, or a number of random geometries, but got 'some'"),
    ],
)
def test_an_export_that_cannot_be_made_ends_with_status_two(tmp_path: Path, arguments: list[str], message: str) -> None:
    status, output = run("export", tmp_path / "new", *arguments)
    assert status == 2
    assert message in output
    assert not (tmp_path / "new").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    status, output = run("export", tmp_path, "--case", SMALL)
    assert status == 2
    assert "is there already, and is not an empty folder" in output
    assert contents(tmp_path) == {"mine.txt": b"mine"}


def test_without_onnx_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_command, "find_spec", lambda _: None)
    case = f"{SMALL} member=conv data=integers dtype=float32"
    status, output = run("export", tmp_path / "new", "--case", case)
    assert status == 0
    assert "left out: directories for ONNX, which need the onnx package: pip install 'arrconv[vectors]'" in output
    status, output = run("export", tmp_path / "other", "--case", case, "--onnx")
    assert status == 2
    assert "the directories for ONNX need the onnx package: pip install 'arrconv[vectors]'" in output
