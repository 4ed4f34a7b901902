"""The `arrconv conform` command, as a user meets it: exit status, output, and lines that run again."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from arrconv_conformance import Case
from typer.testing import CliRunner

import arrconv
from arrconv.cli import app

if TYPE_CHECKING:
    from pathlib import Path

SMALL = "n=2 c=3 o=4 x=5,6 k=2,3"

RIGHT = """
import arrconv
name, version = "mine", "1.2"
conv, conv_transpose = arrconv.conv, arrconv.conv_transpose

def conv_backward(x, w, gy, *, needs, **options):
    grads = arrconv.conv_backward(x, w, gy, needs=needs, **options)
    return {need: getattr(grads, need) for need in needs}
"""

WRONG = (
    RIGHT
    + """
def conv(x, w, bias, **options):
    return -arrconv.conv(x, w, bias, **options)

def conv_transpose(y, w, bias, **options):
    raise NotImplementedError("not in float64") if y.dtype == "float64" else KeyError("never mind")
"""
)


def write(folder: Path, text: str, file: str = "mine.py") -> str:
    path = folder / file
    path.write_text(text, encoding="utf-8")
    return str(path)


def conform(*arguments: str) -> tuple[int, str]:
    """The exit status and the output; what escapes as an exception is raised here."""
    result = CliRunner().invoke(app, ["conform", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def rerun_lines(output: str) -> list[str]:
    return [line.strip() for line in output.splitlines() if line.strip().startswith("arrconv conform")]


def test_agreement_ends_with_status_zero(tmp_path: Path) -> None:
    status, output = conform(write(tmp_path, RIGHT), "--case", SMALL)
    assert status == 0
    assert "20 checks of 1 cases: nothing deviates without an explanation" in output
    assert rerun_lines(output) == []


def test_deviation_and_refusal_end_with_status_one_and_say_what_is_wrong(tmp_path: Path) -> None:
    status, output = conform(write(tmp_path, WRONG), "--case", SMALL)
    assert status == 1
    assert output.count("mine deviates: ") == output.count("elements are wrong; (") == 4
    assert output.count("mine refuses: NotImplementedError: not in float64") == 2
    assert output.count("mine refuses: KeyError: 'never mind'") == 2
    assert "20 checks of 1 cases: deviations without an explanation: mine" in output


def test_every_failure_prints_one_line_that_fails_alone_again(tmp_path: Path) -> None:
    _, output = conform(write(tmp_path, WRONG), "--case", SMALL)
    lines = rerun_lines(output)
    assert len(set(lines)) == len(lines) == 8
    for line in lines:
        program, subcommand, *arguments = shlex.split(line)
        assert (program, subcommand) == ("arrconv", "conform")
        status, again = conform(*arguments)
        assert status == 1
        assert "1 checks of 1 cases: deviations" in again
        assert rerun_lines(again) == [line]


def test_the_line_runs_again_where_the_path_has_a_space(tmp_path: Path) -> None:
    (tmp_path / "my work").mkdir()
    _, output = conform(write(tmp_path / "my work", WRONG), "--case", SMALL)
    assert conform(*shlex.split(rerun_lines(output)[0])[2:])[0] == 1


def test_a_framework_that_fails_throughout_prints_a_line_for_every_check(tmp_path: Path) -> None:
    text = "name, version = 'mine', '1'\n\ndef refuse(*operands, **options):\n    raise ValueError('no')\n"
    status, output = conform(write(tmp_path, text + "conv = conv_backward = conv_transpose = refuse"), "--case", SMALL)
    assert status == 1
    assert len(set(rerun_lines(output))) == output.count("mine refuses: ValueError: no") == 20


def test_the_json_holds_versions_counts_and_failures(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    conform(write(tmp_path, WRONG), "--if-present", "numpy", "--case", SMALL, "--json", str(file))
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["arrconv"] == arrconv.__version__
    assert found["python"].split(".")[0] == str(sys.version_info.major)
    mine, numpy = found["frameworks"]
    assert (mine["name"], mine["version"], mine["checks"]) == ("mine", "1.2", 20)
    assert (numpy["name"], numpy["checks"], numpy["failures"]) == ("numpy", 20, [])
    [conv] = [row for row in mine["results"] if (row["member"], row["dtype"]) == ("conv", "float32")]
    assert (conv["agrees"], conv["explained"], conv["failed"], conv["unsupported"]) == (0, 0, 2, 0)
    assert [failure["outcome"] for failure in mine["failures"]].count("deviates") == 4
    for failure in mine["failures"]:
        assert str(Case.parse(failure["case"])) == failure["case"]
        assert failure["case"] in failure["command"]
        assert failure["message"]


def test_what_an_adapter_lacks_is_unsupported_and_no_failure(tmp_path: Path) -> None:
    forward_only = "import arrconv\nname, version, conv = 'mine', '1', arrconv.conv"
    file = tmp_path / "results.json"
    status, output = conform(write(tmp_path, forward_only), "--case", SMALL, "--json", str(file))
    assert status == 0
    assert "4 checks of 1 cases" in output
    assert "n/a" in output
    [framework] = json.loads(file.read_text())["frameworks"]
    counts = {(row["member"], row["dtype"]): (row["agrees"], row["unsupported"]) for row in framework["results"]}
    assert counts["conv", "float64"] == (2, 0)
    assert counts["conv_grad_weight", "float32"] == counts["conv_transpose", "float64"] == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["numby"], "conform: numby: no such adapter; there are numpy, array-api-strict, cupy, torch, or give a path"),
        (["numpy", "--case", "n=2 c=3"], "conform: case 'n=2 c=3' lacks o=, x=, k="),
        (["numpy", "--case", SMALL + " g=2"], "conform: case "),
        (["numpy", "--case", SMALL + " member=pool"], "'member=pool' is unknown; member= is one of conv,"),
        (["missing.py"], "conform: missing.py: no such file"),
        (["numpy", "missing.py", "--case", SMALL], "conform: missing.py: no such file"),
    ],
)
def test_a_run_that_cannot_be_made_ends_with_status_two_and_one_line(arguments: list[str], message: str) -> None:
    status, output = conform(*arguments)
    assert status == 2
    assert message in output
    assert len(output.splitlines()) == 1


IMPORT = "conform: {path}: cannot be imported here (ModuleNotFoundError: No module named 'no_such_framework')"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_framework", IMPORT),
        ("name = 'mine'", "conform: {path}: the adapter has no `version`"),
        ("", "conform: {path}: the adapter has no `name`"),
        ("1 / 0", "conform: {path}: cannot be imported here (ZeroDivisionError: division by zero)"),
        ("def", "conform: {path}: cannot be imported here (SyntaxError: "),
        ("raise RuntimeError('no driver')", "conform: {path}: cannot be imported here (RuntimeError: no driver)"),
    ],
)
def test_an_adapter_that_cannot_be_loaded_ends_with_status_two(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    status, output = conform(path, "--case", SMALL)
    assert status == 2
    assert message.format(path=path) in output


@pytest.mark.parametrize("option", [["--cases", "all"], ["--unknown"], []])
def test_wrong_options_end_with_status_two(option: list[str]) -> None:
    assert conform(*(["numpy", *option] if option else []))[0] == 2


def test_what_is_not_present_is_passed_over_in_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, "import no_such_framework")
    status, output = conform("numpy", "--if-present", path, "--case", SMALL)
    assert status == 0
    passed = [line for line in output.splitlines() if "passed over" in line]
    assert passed == [IMPORT.format(path=path).replace("conform", "passed over")]
    assert "20 checks of 1 cases" in output


def test_what_is_present_is_judged(tmp_path: Path) -> None:
    status, output = conform("numpy", "--if-present", write(tmp_path, WRONG), "--case", SMALL)
    assert status == 1
    assert "40 checks of 1 cases" in output


@pytest.mark.parametrize("case", [SMALL + " mode=circular member=conv_transpose"])
def test_a_run_without_a_single_check_is_no_agreement(case: str) -> None:
    assert conform("numpy", "--case", case)[0] == 2


def test_a_token_given_twice_is_refused() -> None:
    assert conform("numpy", "--case", SMALL + " member=conv member=conv_transpose")[0] == 2


def test_version_and_help() -> None:
    version = CliRunner().invoke(app, ["--version"])
    assert (version.exit_code, version.output) == (0, f"arrconv {arrconv.__version__}\n")
    for arguments, words in ((["--help"], ["conform"]), (["conform", "--help"], ["--case", "--json", "--if-present"])):
        shown = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).invoke(app, arguments)
        assert shown.exit_code == 0
        assert all(word in shown.output for word in words)


def test_the_exit_status_reaches_the_shell(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from arrconv.cli import main; main()", "conform"]
    for name, status in (("numpy", 0), (write(tmp_path, WRONG), 1), ("numby", 2)):
        done = subprocess.run([*command, name, "--case", SMALL + " member=conv"], capture_output=True, check=False)
        assert done.returncode == status
        assert done.stderr == b""
