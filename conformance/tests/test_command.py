"""The `arrconv conform` command, as a user meets it: exit status, output, and lines that run again."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from arrconv_conformance import Case, expectations, generate, runner
from typer.testing import CliRunner

import arrconv
from arrconv.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL = "n=2 c=3 o=4 x=5,6 k=2,3"
EXACT = f"{SMALL} dtype=float32 data=integers"  # one check of each member

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
    raise KeyError(f"never mind {y.shape[1]}")
"""
)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    runner._children.end()


def write(folder: Path, text: str, file: str = "mine.py") -> str:
    path = folder / file
    path.write_text(text, encoding="utf-8")
    return str(path)


def conform(*arguments: str) -> tuple[int, str]:
    """The exit status and the output; what escapes as an exception is raised here."""
    result = CliRunner().invoke(app, ["conform", "--jobs", "1", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def rerun_lines(output: str) -> list[str]:
    return [line.strip() for line in output.splitlines() if line.strip().startswith("arrconv conform")]


def rows(output: str) -> dict[str, list[str]]:
    """The table's rows by member: passed, explained, failed, not offered, and the ratios."""
    cells = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in output.splitlines() if "│" in line]
    return {member: rest for member, *rest in cells}


def test_agreement_ends_with_status_zero(tmp_path: Path) -> None:
    status, output = conform(write(tmp_path, RIGHT), "--case", EXACT)
    assert status == 0
    assert output.splitlines()[-1] == "6 checks: nothing deviates without an explanation"
    assert "mine: 1.2" in output
    assert rerun_lines(output) == []
    found = rows(output)
    assert found["conv"][:4] == ["1", "", "", ""]
    assert found["conv_transpose_backward"][:4] == ["0", "", "", "1"]  # it has none: not offered, and no failure


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run of a wrong library in a folder with a space, beside a right one and a missing one, leaves behind."""
    folder = tmp_path_factory.mktemp("my work")
    path, missing = write(folder, WRONG), write(folder, "import no_such_framework", "missing.py")
    files = ["--json", str(folder / "a.json"), "--jsonl", str(folder / "a.jsonl")]
    status, output = conform(path, "--if-present", missing, "--if-present", "numpy", "--case", EXACT, *files)
    return {"path": path, "missing": missing, "status": status, "output": output, "folder": folder}


def test_deviation_and_refusal_end_with_status_one_and_say_what_is_wrong(wrong: dict[str, Any]) -> None:
    output = wrong["output"]
    assert wrong["status"] == 1
    assert "mine deviates (1×): " in output
    assert "elements are wrong; (" in output
    assert "mine refuses (1×): KeyError: 'never mind 1'" in output  # the smallest case has one channel
    assert output.splitlines()[-1] == "16 checks: deviations without an explanation: mine"
    assert rows(output)["conv"][:4] == ["1", "", "", ""]  # the last table is that of arrconv


def test_what_is_not_present_is_passed_over_in_one_line(wrong: dict[str, Any]) -> None:
    passed = [line for line in wrong["output"].splitlines() if "passed over" in line]
    said = f"{wrong['missing']}: cannot be imported here (ModuleNotFoundError: No module named 'no_such_framework')"
    assert passed == [f"passed over: {said}"]


def test_every_cause_prints_one_line_that_fails_alone_again(wrong: dict[str, Any]) -> None:
    lines = rerun_lines(wrong["output"])
    assert len(set(lines)) == len(lines) == 2
    for line in lines:
        program, subcommand, *arguments = shlex.split(line)
        assert (program, subcommand, arguments[0]) == ("arrconv", "conform", wrong["path"])
        status, again = conform(*arguments)
        assert status == 1
        assert again.splitlines()[-1] == "1 checks: deviations without an explanation: mine"
        assert rerun_lines(again) == [line]
        assert "first seen" not in again


def test_the_json_holds_versions_counts_and_failures(wrong: dict[str, Any]) -> None:
    found = json.loads((wrong["folder"] / "a.json").read_text(encoding="utf-8"))
    assert found["arrconv"] == arrconv.__version__
    assert found["python"].split(".")[0] == str(sys.version_info.major)
    mine, numpy = found["frameworks"]
    assert (mine["name"], mine["version"], mine["checks"]) == ("mine", "1.2", 6)
    assert (numpy["name"], numpy["checks"], numpy["failures"]) == ("numpy", 10, [])
    [conv] = [row for row in mine["results"] if (row["member"], row["dtype"]) == ("conv", "float32")]
    assert (conv["agrees"], conv["explained"], conv["failed"], conv["unsupported"]) == (0, 0, 1, 0)
    assert sorted(failure["outcome"] for failure in mine["failures"]) == ["deviates", "refuses"]
    for failure in mine["failures"]:
        assert str(Case.parse(failure["case"])) == failure["case"]
        assert failure["message"]
        assert "print" in failure["script"]


def test_every_check_is_a_line_of_json(wrong: dict[str, Any]) -> None:
    lines = (wrong["folder"] / "a.jsonl").read_text(encoding="utf-8").splitlines()
    checks = [json.loads(line) for line in lines]
    singles = [str(case) for case in Case.parse(EXACT).singles()]
    assert [check["case"] for check in checks if check["framework"] == "mine"] == singles
    assert [check["case"] for check in checks if check["framework"] == "numpy"] == singles
    assert {check["outcome"] for check in checks if check["framework"] == "numpy"} == {"agrees"}
    assert all(check["explained"] is None for check in checks)


def test_the_first_deviation_stops_a_run_that_is_told_to(tmp_path: Path) -> None:
    path, lines = write(tmp_path, WRONG), tmp_path / "a.jsonl"
    status, output = conform(path, "--stop-first", "--case", EXACT, "--jsonl", str(lines))
    assert status == 1
    outcomes = [json.loads(line)["outcome"] for line in lines.read_text(encoding="utf-8").splitlines()]
    assert outcomes == ["deviates"]  # conv comes first
    assert output.splitlines()[-1] == "1 checks: deviations without an explanation: mine"


def test_an_object_of_a_file_and_calls_made_twice(tmp_path: Path) -> None:
    """The last bit of each second result is another one; that is counted, and no failure."""
    text = """
    import arrconv, numpy as np
    class Fickle:
        name, version, calls = "fickle", "0", 0
        def conv(self, x, w, bias, **options):
            self.calls += 1
            result = arrconv.conv(x, w, bias, **options)
            return np.nextafter(result, np.float32(9e9)) if self.calls % 2 else result
    it = Fickle()
    other = object()
    """
    path = write(tmp_path, "\n".join(line.removeprefix("    ") for line in text.splitlines()))
    file = tmp_path / "a.json"
    case = f"{SMALL} member=conv dtype=float32 data=normal"
    status, output = conform("--adapter", f"{path}:it", "--repeats", "--case", case, "--json", str(file))
    assert status == 0
    assert "fickle: 0" in output
    [row] = json.loads(file.read_text(encoding="utf-8"))["frameworks"][0]["results"]
    assert (row["agrees"], row["varies"]) == (1, 1)
    assert conform(f"{path}:Fickle", "--case", case)[0] == 0  # a class is called
    for name, complaint in (("other", "the adapter has no `name`"), ("nothing", "there is no `nothing` in it")):
        status, output = conform(f"{path}:{name}", "--case", case)
        assert status == 2
        assert len(output.splitlines()) == 1
        assert complaint in output


# Runs that cannot be made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["numby"], "conform: numby: no such adapter; there are numpy, cupy, array-api-strict"),
        (["missing.py"], "conform: missing.py: no such file"),
        (["numpy", "--case", "n=2 c=3"], "conform: case 'n=2 c=3' lacks o=, x=, k="),
        (["numpy", "--case", f"{SMALL} member=pool"], "'member=pool' is unknown; member= is one of conv,"),
        (["numpy", "--case", f"{SMALL} member=conv member=conv"], "member= is given twice"),
        (["numpy", "--cases", "all"], "cases are quick, full, or a number of random geometries, but got 'all'"),
        (["numpy", "--case", EXACT, "--json", "no/such/folder/a.json"], "conform: [Errno 2] No such file or directory"),
        (["--if-present", "numby", "--case", EXACT], "conform: no framework to judge is left"),
        (["--case", EXACT], "conform: name a framework, numpy, cupy, "),
    ],
)
def test_a_run_that_cannot_be_made_ends_with_status_two_and_one_line(arguments: list[str], message: str) -> None:
    status, output = conform(*arguments)
    assert status == 2
    assert message in output
    assert len(output.splitlines()) == 1 + ("--if-present" in arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'mine'", "the adapter has no `version`"),
        ("1 / 0", "cannot be imported here (ZeroDivisionError: division by zero)"),
        ("def", "cannot be imported here (SyntaxError: "),
        (RIGHT + "claims = {'float32': {'input': 'float8'}}", "'float8' is no known format"),
        ("import os\nos._exit(3)", "the process ended with status 3"),
    ],
)
def test_an_adapter_that_cannot_be_loaded_ends_with_status_two(tmp_path: Path, text: str, message: str) -> None:
    status, output = conform(write(tmp_path, text), "--case", EXACT)
    assert status == 2
    assert output.startswith("conform: ")
    assert message in output
    assert len(output.splitlines()) == 1


def test_a_run_without_a_single_check_is_no_agreement() -> None:
    status, output = conform("numpy", "--case", f"{SMALL} p=1 mode=circular member=conv_transpose")
    assert status == 2
    assert "0 checks: no framework offers what was asked" in output


def test_options_that_there_are_not_end_with_status_two() -> None:
    for arguments in (["numpy", "--unknown"], ["numpy", "--seed", "x"], ["numpy", "--limit", "soon"]):
        assert conform(*arguments)[0] == 2


# Expectations


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of what is known of the wrong library, over quick cases that are no more than ten."""
    monkeypatch.setattr(expectations, "_FOLDERS", (tmp_path,))
    monkeypatch.setattr(generate, "quick", lambda: Case.parse(EXACT).singles())
    return tmp_path / "mine.toml"


ENTRIES = """
[[deviates]]
message = "elements are wrong"
members = ["conv"]
reason = "the sign is another one"

[[refuses]]
message = "^KeyError: .never mind"
reason = "it does not mind"
"""
UNUSED = "\n[[hangs]]\nmessage = 'no answer'\nreason = 'it is slow'\n"


def test_what_is_explained_is_no_failure_and_what_explains_nothing_is_one(tmp_path: Path, known: Path) -> None:
    path = write(tmp_path, WRONG)
    known.write_text(ENTRIES, encoding="utf-8")
    status, output = conform(path)
    assert status == 0
    assert "mine: 1 explained: the sign is another one" in output
    assert "mine: 1 explained: it does not mind" in output
    assert rows(output)["conv"][:3] == ["0", "1", ""]
    assert output.splitlines()[-1] == "6 checks: nothing deviates without an explanation"

    known.write_text(ENTRIES + UNUSED, encoding="utf-8")
    status, output = conform(path)
    assert status == 1
    *_, unused, verdict = output.splitlines()
    assert unused == "mine: the expectation 'it is slow' explained nothing"
    assert verdict == "6 checks: expectations that explain nothing any more"
    assert conform(path, "--case", EXACT)[0] == 0  # of one case nothing more can be expected

    known.write_text(UNUSED, encoding="utf-8")
    status, output = conform(path, "--stop-first")  # the rest was not asked, and might have shown it
    assert status == 1
    assert "explained nothing" not in output

    for more in ("cases = 'full'\n", "versions = '^9'\n", "processor = 'some'\n"):  # it shows elsewhere
        known.write_text(ENTRIES + UNUSED + more, encoding="utf-8")
        assert conform(path)[0] == 0

    known.write_text("[[refuses]]\nmessage = 7\n", encoding="utf-8")
    status, output = conform(path)
    assert status == 2
    assert output == f"conform: {known}: every entry needs a message and a reason, but one is {{'message': 7}}\n"


# The program itself


def test_version_and_help() -> None:
    version = CliRunner().invoke(app, ["--version"])
    assert (version.exit_code, version.output) == (0, f"arrconv {arrconv.__version__}\n")
    for arguments, words in ((["--help"], ["conform"]), (["conform", "--help"], ["--case", "--json", "--if-present"])):
        shown = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).invoke(app, arguments)
        assert shown.exit_code == 0
        assert all(word in shown.output for word in words)


def test_the_exit_status_reaches_the_shell() -> None:
    command = [sys.executable, "-c", "from arrconv.cli import main; main()", "conform"]
    for name, status in (("numpy", 0), ("numby", 2)):
        done = subprocess.run([*command, name, "--case", f"{EXACT} member=conv"], capture_output=True, check=False)
        assert done.returncode == status
        assert done.stderr == b""
