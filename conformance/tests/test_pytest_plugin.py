"""The suite as tests of pytest, in processes of their own: counts, reports, options, and what happens without any."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from varied_adapter import ends, processes

if TYPE_CHECKING:
    from pathlib import Path

GEOMETRY = "n=2 c=3 o=4 x=5,6 k=2,3"

RIGHT = """
import os, pathlib
import arrconv
name, version = "mine", "1.2"
conv = arrconv.conv
pathlib.Path(__file__).with_name(f"process-{os.getpid()}").touch()
"""

VARIED = (
    RIGHT
    + """
def conv(x, w, bias, **options):
    if x.dtype == "float16":
        raise NotImplementedError("no halves")
    if x.dtype == "int16":
        raise KeyError("short")
    if x.dtype == "int8":
        os.kill(os.getpid(), 11)
    y = arrconv.conv(x, w, bias, **options)
    return -y if x.dtype == "int64" else y
"""
)

DTYPES = 11  # that integers are asked in


def write(folder: Path, text: str, file: str = "mine.py") -> str:
    (folder / file).write_text(text, encoding="utf-8")
    return file


def run(folder: Path, *arguments: str, package: bool = True) -> subprocess.CompletedProcess[str]:
    """What pytest does in an empty project, whatever the options of this one."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        *(["--pyargs", "arrconv_conformance"] * package),
    ]
    return subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env=environment | {"COLUMNS": "300"},
        text=True,
        capture_output=True,
        check=False,
    )


def counts(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """The numbers in the last line, by what they count."""
    [line] = [line for line in done.stdout.splitlines() if re.search(r" in [\d.]+s", line)]
    return {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", line.partition(" in ")[0])}


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run in which every verdict occurs."""
    folder = tmp_path_factory.mktemp("varied")
    case = f"{GEOMETRY} member=conv data=integers"
    arguments = ["--framework", write(folder, VARIED), "--conformance-case", case, "--junitxml", "junit.xml"]
    return folder, run(folder, "-rA", *arguments)


def test_every_verdict_has_its_outcome(varied: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, done = varied
    assert done.returncode == 1
    assert counts(done) == {"passed": DTYPES - 4, "failed": 3, "skipped": 1}
    assert "mine: no halves" in done.stdout


def test_a_failure_says_what_is_wrong_and_how_to_ask_again_without_a_traceback(
    varied: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = varied
    case = f"{GEOMETRY} member=conv dtype={{}} data=integers"
    for dtype, words in (
        ("int64", r"mine deviates: \d+ of 128 elements are wrong; "),
        ("int16", "mine refuses: KeyError: 'short'"),
        ("int8", "mine crashes: the process ended of signal SIGSEGV"),
    ):
        assert re.search(words, done.stdout)
        assert f"    arrconv conform mine.py --case '{case.format(dtype)}'" in done.stdout.splitlines()
    assert "Traceback" not in done.stdout + done.stderr
    assert "pytest_checks.py:" not in done.stdout.partition("short test summary")[0]


def test_the_crash_of_one_case_does_not_touch_the_others(
    varied: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = varied
    assert f"{GEOMETRY} member=conv dtype=uint8 data=integers" in done.stdout.partition("PASSED")[2]
    assert len(processes(folder)) == 2
    assert all(ends(process) for process in processes(folder))


def test_junit_has_the_case_strings(varied: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = varied
    found = {
        test.get("name"): [child.tag for child in test]
        for test in ElementTree.parse(folder / "junit.xml").iter("testcase")
    }
    case = f"{GEOMETRY} member=conv dtype={{}} data=integers"
    assert len(found) == DTYPES
    for dtype, tags in (("float32", []), ("float16", ["skipped"]), ("int64", ["failure"])):
        assert found[case.format(dtype)] == tags


def test_what_is_expected_is_no_failure(tmp_path: Path) -> None:
    adapter = (
        "import numpy\nname, version = 'torch', '2.13'\n\ndef conv(x, w, bias, **options):\n    raise RuntimeError(%r)"
    )
    write(tmp_path, adapter % "Padding value causes wrapping around more than once.")
    case = "n=2 c=3 o=4 x=5,6 k=2,3 p=7:7,0:0 mode=circular member=conv data=integers dtype={}"
    asked = ["--framework", "mine.py", "--conformance-case"]
    done = run(tmp_path, "-rx", *asked, case.format("float32"))
    assert (done.returncode, counts(done)) == (0, {"xfailed": 1})
    assert "an amount larger than the axis raises" in done.stdout
    done = run(tmp_path, "--runxfail", *asked, case.format("float32"))
    assert (done.returncode, counts(done)) == (1, {"failed": 1})
    write(tmp_path, adapter % "something else")
    assert counts(run(tmp_path, *asked, case.format("float32"))) == {"failed": 1}


def test_workers_of_xdist_have_processes_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    done = run(
        tmp_path,
        "-n",
        "2",
        "--framework",
        write(tmp_path, VARIED),
        "--conformance-case",
        f"{GEOMETRY} member=conv data=integers",
    )
    assert counts(done) == {"passed": DTYPES - 4, "failed": 3, "skipped": 1}
    assert 3 <= len(processes(tmp_path)) <= 4  # the first look, the workers, and one more after the crash
    assert all(ends(process) for process in processes(tmp_path))


def test_several_frameworks_and_a_number_of_cases(tmp_path: Path) -> None:
    write(tmp_path, RIGHT)
    write(tmp_path, RIGHT.replace("mine", "other"), "other.py")
    options = [
        "--conformance-framework",
        "other.py",
        "--framework",
        "mine.py",
        "--framework",
        "mine.py",
        "--conformance-cases",
        "1",
    ]
    done = run(tmp_path, "--collect-only", "-q", *options, "--conformance-seed", "5")
    names = [line.split("::")[1:] for line in done.stdout.splitlines() if "::" in line]
    assert [framework for framework, _ in names] == ["other.py"] * (len(names) // 2) + ["mine.py"] * (len(names) // 2)
    assert [case for framework, case in names if framework == "mine.py"] == [
        case for framework, case in names if framework == "other.py"
    ]
    assert names != [
        line.split("::")[1:]
        for line in run(tmp_path, "--collect-only", "-q", *options, "--conformance-seed", "6").stdout.splitlines()
        if "::" in line
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--framework", "numby"], "ERROR: numby: no such adapter; there are numpy, "),
        (["--framework", "missing.py"], "ERROR: missing.py: no such file"),
        (
            ["--framework", "numpy", "--conformance-cases", "all"],
            "ERROR: cases are quick, full, or a number of random geometries, but got 'all'",
        ),
        (["--framework", "numpy", "--conformance-case", "n=2 c=3"], "ERROR: case 'n=2 c=3' lacks o=, x=, k="),
        (["--framework", "numby", "-n", "2"], "ERROR: numby: no such adapter; there are numpy, "),
    ],
)
def test_what_cannot_be_run_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    [line] = [line for line in done.stderr.splitlines() if line]
    assert line.startswith(message)


def test_without_a_framework_nothing_is_collected_and_nothing_is_warned_of(tmp_path: Path) -> None:
    done = run(tmp_path, "-W", "error")
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "collected 0 items" in done.stdout
    assert "warning" not in done.stdout.lower()


def test_without_a_framework_the_plugin_imports_nothing_that_takes_time(tmp_path: Path) -> None:
    text = """
import sys

def test_modules():
    assert "arrconv_conformance.pytest_plugin" in sys.modules
    assert not {"numpy", "arrconv", "rich"} & {name.partition(".")[0] for name in sys.modules}
"""
    write(tmp_path, text, "test_it.py")
    assert counts(run(tmp_path, "-p", "no:hypothesispytest", package=False)) == {"passed": 1}


def test_a_project_with_an_option_of_that_name_keeps_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        "def pytest_addoption(parser):\n    parser.addoption('--framework', type=int, default=3)\n",
        "conftest.py",
    )
    write(tmp_path, "def test_option(request):\n    assert request.config.getoption('framework') == 7\n", "test_it.py")
    assert counts(run(tmp_path, "--framework", "7", package=False)) == {"passed": 1}
    write(tmp_path, RIGHT)
    case = f"{GEOMETRY} member=conv data=integers dtype=float32"
    done = run(tmp_path, "--conformance-framework", "mine.py", "--conformance-case", case)
    assert counts(done) == {"passed": 1}


def test_the_options_are_explained(tmp_path: Path) -> None:
    shown = run(tmp_path, "--help", package=False).stdout
    for option in (
        "--framework=NAME",
        "--conformance-case=TEXT",
        "--conformance-cases=quick|full|N",
        "--conformance-limit=SECONDS",
        "--conformance-seed=SEED",
    ):
        assert option in shown
