"""The GPU check without a GPU: how steps end and what is kept of them, and that each finds what is wrong."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import typer
from arrconv_conformance.adapters import Unavailable
from arrconv_conformance.adapters import numpy as own
from arrconv_conformance.gpu_check import __main__ as command
from arrconv_conformance.gpu_check import marked, operators, running, training
from arrconv_conformance.gpu_check.device import look
from arrconv_conformance.gpu_check.place import Findings, Place, finish
from arrconv_conformance.gpu_check.plan import FULL, TINY, Size, plan
from arrconv_conformance.gpu_check.running import LIMIT, Outcome, Step, run, run_all
from typer.testing import CliRunner

from arrconv import linop
from benchmarks.gpu import __main__ as benchmark
from benchmarks.gpu import training as epochs

if TYPE_CHECKING:
    from pathlib import Path

NUMPY = Place.of("numpy")
LATE = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    {then}
"""


def python(name: str, text: str, share: float = 1.0) -> Step:
    return Step(name, (sys.executable, "-S", "-c", text), share)


@pytest.mark.parametrize(
    ("text", "verdict", "line"),
    [
        ("print('first\\n7 checks\\n')", "ok", "7 checks"),
        ("", "ok", "exit status 0"),
        ("print('no device'); raise SystemExit(77)", "skipped", "no device"),
        ("raise ValueError('no')", "failed", "ValueError: no"),
        ("import os; os._exit(3)", "failed", "exit status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "failed", "exit status -11"),
    ],
)
def test_a_step_ends_in_a_verdict_and_its_last_line(text: str, verdict: str, line: str, tmp_path: Path) -> None:
    outcome = run(python("a step", text), tmp_path / "output.txt", tmp_path, 20.0)
    assert (outcome.verdict, outcome.line) == (verdict, line)


@pytest.mark.parametrize("then", ["print('what there is')", "time.sleep(60)"])
def test_what_takes_too_long_is_interrupted_and_then_killed(
    then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "GRACE", 0.3)
    began = time.monotonic()
    outcome = run(python("late", LATE.format(then=then)), tmp_path / "output.txt", tmp_path, 0.4)
    child = (tmp_path / "output.txt").read_text(encoding="utf-8").split()[0]
    ending = "what there is" if then.startswith("print") else child
    assert (outcome.verdict, outcome.line) == ("failed", f"its time of 0 s was over; {ending}")
    assert time.monotonic() - began < 10
    assert is_gone(int(child))


def is_gone(process: int) -> bool:
    """Whether a process has ended, or does within some seconds; what nobody waits for may stay as a zombie."""
    for _ in range(100):
        try:
            with open(f"/proc/{process}/stat", encoding="ascii") as stat:  # noqa: PTH123 - no file of ours
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_what_a_step_leaves_of_its_time_is_for_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 400 s: a quarter; two thirds of what is left; all that is left."""
    now = [0.0]

    def taking(step: Step, output: Path, root: Path, limit: float) -> Outcome:  # noqa: ARG001 - as `run` has it
        now[0] += 40.0
        return Outcome(step.name, "failed" if step.name == "b" else "ok", "", 40.0, limit)

    monkeypatch.setattr(running, "run", taking)
    monkeypatch.setattr(running.time, "monotonic", lambda: now[0])
    said: list[str] = []
    steps = [python(name, "", share) for name, share in (("a", 1.0), ("b", 2.0), ("c", 1.0))]
    outcomes = run_all(steps, tmp_path, tmp_path, 400.0, said.append)
    assert [outcome.limit for outcome in outcomes] == [100.0, 240.0, 320.0]
    assert said == ["a: ok (40 s)", "b: failed (40 s)", "c: ok (40 s)"]
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert [(one["name"], one["verdict"]) for one in summary["steps"]] == [("a", "ok"), ("b", "failed"), ("c", "ok")]


@pytest.mark.parametrize(("is_right", "status"), [(True, 0), (False, 1), (None, 77)])
def test_findings_become_a_file_a_line_and_a_status(
    is_right: bool | None, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        finish(Findings("a line", {"number": 3}, is_right), str(tmp_path / "step.json"))
    assert ended.value.code == status
    assert json.loads((tmp_path / "step.json").read_text(encoding="utf-8")) == {"number": 3}
    assert capsys.readouterr().out == "a line\n"


def test_every_step_is_there_to_be_run(tmp_path: Path) -> None:
    for library in ("cupy", "numpy"):
        for step in plan(library, tmp_path, FULL):
            option, name = step.command[1:3]
            if option == "-m":
                assert importlib.util.find_spec(name) is not None, name
            else:
                assert option == "-c" or (command.ROOT / option).is_file(), option
    names = [step.name for step in plan("array-api-strict", tmp_path, TINY)]
    assert names == [step.name for step in plan("cupy", tmp_path, TINY)][: len(names)]
    assert "benchmark" not in names


@pytest.mark.parametrize(("limit", "told"), [(75.4, "65"), (3.0, "1")])
def test_a_step_may_be_told_its_time(limit: float, told: str, tmp_path: Path) -> None:
    step = Step("told", (sys.executable, "-S", "-c", "import sys; print(*sys.argv[1:])", "LIMIT", "NO-LIMIT"), 1.0)
    assert run(step, tmp_path / "output.txt", tmp_path, limit).line == f"{told} NO-LIMIT"


@pytest.mark.parametrize("size", [TINY, FULL])
@pytest.mark.parametrize(("name", "module"), [("epochs", epochs), ("benchmark", benchmark)])
def test_what_measures_takes_its_options(
    name: str, module: Any, size: Size, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (step,) = [step for step in plan("cupy", tmp_path, size) if step.name == name]
    assert step.command[2] == module.__name__.removesuffix(".__main__")
    monkeypatch.setattr(module, "started", lambda *_: ({}, {"arrconv": "there is no CUDA device"}))
    app = typer.Typer()
    app.command()(module.main)
    result = CliRunner().invoke(app, ["1" if word == LIMIT else word for word in step.command[3:]])
    assert result.exit_code == 2
    assert result.output.endswith("there is no CUDA device\n")


def checked(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command.main)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_the_command_runs_steps_and_leaves_what_they_found(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    status, output = checked(str(folder), "--tiny", "--library", "numpy", "--only", "training")
    assert status == 0
    first, trained = output.splitlines()
    assert "NumPy" in first
    assert trained.startswith("training: ok: 2 steps, loss 0.1")
    assert len(json.loads((folder / "training.json").read_text(encoding="utf-8"))["float64"]["numpy"]) == 3
    assert (folder / "training.txt").is_file()


@pytest.mark.parametrize("is_there", [True, False])
def test_the_device_and_the_versions_are_noted(is_there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an adapter that knows its device, and with PyTorch or without."""
    cudnn = SimpleNamespace(version=lambda: 92000)
    torch = SimpleNamespace(__version__="9", version=SimpleNamespace(cuda="13"), backends=SimpleNamespace(cudnn=cudnn))
    monkeypatch.setitem(sys.modules, "torch", torch if is_there else None)
    monkeypatch.setattr(own, "device", lambda: {"name": "a device", "driver": 13000}, raising=False)
    found = look(NUMPY)
    assert found.line == f"{NUMPY.version}; name a device; driver 13000"
    assert found.record["numpy"] == np.__version__
    expected = {"version": "9", "cuda": "13", "cudnn": 92000}
    assert found.record["torch"] == expected if is_there else "not installed" in found.record["torch"]


def test_a_step_that_fails_is_the_status_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [python("wrong", "raise SystemExit('no')"), python("right", ""), python("nothing", "raise SystemExit(77)")]
    monkeypatch.setattr(command, "plan", lambda *_: steps)
    assert checked(str(tmp_path), "--library", "numpy")[0] == 1
    assert checked(str(tmp_path), "--library", "numpy", "--only", "right", "--only", "nothing")[0] == 0


def test_what_cannot_be_run_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: str) -> Any:
        raise Unavailable("cupy: no CUDA device here (cudaErrorNoDevice)")

    assert checked(str(tmp_path), "--library", "numpy", "--only", "dvice") == (
        2, "gpu_check: 'dvice' is no step; there are device, tests, conform, kernels, digests, training, operators, "
        "epochs, benchmark\n",
    )  # fmt: skip
    monkeypatch.setattr(command, "ROOT", tmp_path)
    assert checked(str(tmp_path))[1].startswith("gpu_check: the tests and the benchmark are not in ")
    monkeypatch.undo()
    monkeypatch.setattr(command, "load_adapter", none)
    assert checked(str(tmp_path / "x")) == (2, "gpu_check: cupy: no CUDA device here (cudaErrorNoDevice)\n")
    assert not (tmp_path / "x").exists()


TESTS = """
import pytest
gpu = pytest.mark.gpu
@gpu
def test_skipped():
    pytest.skip("there is no CUDA device")
def test_of_others():
    raise AssertionError
"""


@pytest.mark.parametrize(
    ("more", "is_right", "line"),
    [
        ("", None, "there is no CUDA device"),
        ("@gpu\ndef test_right(): pass\n", True, "1 passed, 1 skipped"),
        (
            "@gpu\ndef test_right(): pass\n@gpu\ndef test_wrong(): assert 0\n",
            False,
            "1 failed, 1 passed, exit status 1",
        ),
        ("raise ValueError('no')", False, "1 failed, 0 passed, exit status 1"),
    ],
)
def test_marked_tests_are_counted(
    more: str, is_right: bool | None, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # which it sets; undone here
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n", encoding="utf-8")
    file = tmp_path / f"test_them_{len(more)}.py"
    file.write_text(TESTS + more, encoding="utf-8")
    found = marked.run_marked([str(file)], str(tmp_path / "tests.xml"))
    assert (found.is_right, found.line) == (is_right, line)
    assert (tmp_path / "tests.xml").is_file()


def test_a_file_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # which it sets; undone here
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n", encoding="utf-8")
    files = [tmp_path / f"test_{name}_of_two.py" for name in ("first", "second")]
    for file, text in zip(files, ("import no_such_module\n", "@gpu\ndef test_right(): pass\n"), strict=True):
        file.write_text(TESTS + text, encoding="utf-8")
    found = marked.run_marked([str(file) for file in files], str(tmp_path / "tests.xml"))
    assert found.line == "1 failed, 1 passed, exit status 1"
    assert found.record["failures"] == ["test_first_of_two.py"]


def test_the_files_of_marked_tests_are_found() -> None:
    names = {os.path.basename(path) for path in marked.files(command.ROOT)}  # noqa: PTH119
    assert {"test_laws.py", "test_traffic.py", "test_exact_digests.py", "test_other_devices.py"} <= names
    assert "test_geometry.py" not in names


def test_training_finds_other_arithmetic() -> None:
    assert training.train(NUMPY, 2, width=4).is_right
    short = replace(NUMPY, put=lambda array: array.astype(np.float16).astype(array.dtype))
    found = training.train(short, 2, width=4)
    assert not found.is_right
    assert found.record["apart"] > found.record["allowed"]
    empty = replace(NUMPY, put=lambda array: array * np.nan)
    assert not training.train(empty, 2, width=4).is_right


def test_operators_are_right_and_faults_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "DTYPES", ("float64", "complex64"))
    found = operators.judge(NUMPY)
    assert found.is_right, found.line
    assert found.line == f"{len(found.record['checks'])} checks"

    def put(array: Any) -> Any:
        if array.dtype == np.complex64:
            raise NotImplementedError("no complex numbers of so few bits")
        return array * np.linspace(1, 1 + 1e-6, array.size).reshape(array.shape)

    monkeypatch.setattr(operators, "SOLVERS", {"cg": operators.SOLVERS["cg"]})
    found = operators.judge(replace(NUMPY, put=put))
    assert not found.is_right
    right = [f"adjoint of {name}, float64" for name in operators.OPERATORS]  # of another operator, but its adjoint
    names = [check["name"] for check in found.record["checks"]]
    assert found.line == f"{len(names)} checks, wrong: {'; '.join(name for name in names if name not in right)}"
    errors = [check["error"] for check in found.record["checks"] if check["error"]]
    assert errors == ["NotImplementedError: no complex numbers of so few bits"] * len(right)


class Odd(linop.Identity):
    """An operator whose adjoint is not its adjoint."""

    def _map_back(self, y: Any) -> Any:
        return 2 * y


def test_an_adjoint_that_is_none_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "OPERATORS", {"odd": lambda put, t: Odd((5,), put(np.ones(1, t)))})
    check = next(operators.checks(NUMPY))
    assert not check.is_right
    assert str(check).startswith("WRONG: adjoint of odd, float32: ")
