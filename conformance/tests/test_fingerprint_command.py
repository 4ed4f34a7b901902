"""The `arrconv fingerprint` command, and released frameworks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from arrconv_conformance.adapters import Unavailable, load_adapter
from arrconv_conformance.fingerprint import FUNCTIONS, Shape, fingerprint
from arrconv_conformance.fingerprint.process import Isolated
from typer.testing import CliRunner

from arrconv.cli import app

if TYPE_CHECKING:
    from pathlib import Path

ADAPTER = """
import os
import arrconv
name, version = "mine", "1.2"

def conv(x, w, bias, **options):
    print("frameworks print")
    return arrconv.conv(x, w, bias, **options)
"""
CRASHES = ADAPTER + """
def conv_transpose(y, w, bias, **options):
    os.write(2, b"a last word\\n")
    os.abort()
"""  # fmt: skip


def asked(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["fingerprint", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.split())


def test_the_command_prints_a_table_and_writes_what_was_found(tmp_path: Path) -> None:
    path, file = tmp_path / "mine.py", tmp_path / "found.json"
    path.write_text(ADAPTER, encoding="utf-8")
    status, output = asked(str(path), "--dtype", "float16", "--json", str(file))
    assert status == 0
    assert "mine: 1.2" in output
    assert "sums 23 bits (float32)" in output
    assert output.endswith("mine: as claimed")
    found = json.loads(file.read_text(encoding="utf-8"))
    assert (found["name"], found["version"]) == ("mine", "1.2")
    assert [part["function"] for part in found["parts"]] == list(FUNCTIONS)
    assert found["parts"][0]["verdict"] == "as claimed"
    assert found["parts"][1]["line"].startswith("not offered: no conv_backward")


def test_a_crash_is_one_line_and_the_other_parts_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(CRASHES, encoding="utf-8")
    status, output = asked(str(path), "--dtype", "float16")
    assert status == 1
    assert output.count("SIGABRT") == 1
    assert output.endswith("mine: 0 of 2 differ from what is claimed, 1 were lost")
    isolated = Isolated(str(path))
    try:
        found = isolated.fingerprint(["float16"], ["transposed", "forward"])
    finally:
        isolated.close()
    assert found.parts[0].lost == "the process ended of signal SIGABRT: a last word"
    assert found.parts[1].verdict == "as claimed"


def test_a_framework_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(ADAPTER.replace("print(", "import time; time.sleep(600) or print("), encoding="utf-8")
    isolated = Isolated(str(path), limit=0.2)
    try:
        [part] = isolated.fingerprint(["float16"], ["forward"]).parts
    finally:
        isolated.close()
    assert part.lost == "no answer after 0.2 s"


def test_what_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("raise ImportError('not here')", encoding="utf-8")
    status, output = asked(str(path))
    assert status == 2
    assert "cannot be imported here (ImportError: not here)" in output
    with pytest.raises(Unavailable, match="no such adapter"):
        Isolated("nobody")
    status, output = asked(str(path), "--dtype", "float8")
    assert status == 2
    assert output.startswith("fingerprint: no dtype float8; there are float32, float64")


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_released_frameworks_are_recognised(library: str) -> None:
    """Facts that hold on every machine: PyTorch and JAX add float32 in float32 or wider, without FFT, on the CPU."""
    pytest.importorskip(library)
    shapes = [Shape("3x3", "n=3 c=5 o=7 x=9,8 k=3 p=1")]
    found = fingerprint(load_adapter(library), ["float32"], ["forward", "weight gradient"], shapes)
    for finding in [finding for part in found.parts for finding in part.findings]:
        assert [operand.bits for operand in finding.operands] == [23, 23]
        assert finding.sums is not None
        assert finding.sums.smallest >= 23
