"""The benchmark beside other libraries: what it compares, refuses, skips and reports."""

from __future__ import annotations

import json
import math
from io import StringIO
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import arrconv
from benchmarks.peers import measure as measuring
from benchmarks.peers import worker as working
from benchmarks.peers.__main__ import main
from benchmarks.peers.libraries import im2col
from benchmarks.peers.measure import Measured, measure
from benchmarks.peers.report import digests, from_json, grids, limit, markdown, mean_share, shares, spread, table
from benchmarks.peers.session import Missing, Session
from benchmarks.peers.work import DIRECTIONS, DTYPES, ROWS, Row, Task

if TYPE_CHECKING:
    from pathlib import Path

SMALLEST = ROWS["smallest"]


def command(*arguments: str) -> tuple[int, str]:
    import typer

    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_operations_and_traffic_are_those_of_a_count_by_hand() -> None:
    task = Task(SMALLEST, "forward", "float32")  # 3→8 channels, 3×3, 8×8 to 6×6
    assert task.operations == 2 * 8 * 6 * 6 * 3 * 3 * 3
    assert task.traffic == 4 * (3 * 8 * 8 + 8 * 3 * 3 * 3 + 8 * 6 * 6)
    assert Task(SMALLEST, "forward", "complex128").operations == 4 * task.operations
    assert len(ROWS) == 18


@pytest.mark.parametrize(("direction", "dtype"), list(product(DIRECTIONS, ("float64", "complex128"))))
def test_the_program_that_one_writes_is_a_convolution(direction: str, dtype: str) -> None:
    """On small cases of each kind, transposed ones among them."""
    for case, is_transposed in (
        ("n=2 c=3 o=4 x=9,7 k=3,2 s=2,1 p=1,2 d=1,2", False),
        ("n=2 c=3 o=4 x=9,7 k=3,2 s=2,1 p=1,1", True),
        ("n=2 c=3 o=4 x=19 k=4 s=3 p=2", True),
        ("n=1 c=2 o=3 x=5,6,4 k=2,3,2", False),
    ):
        task = Task(Row("a small one", "none", case, is_transposed), direction, dtype)
        measured = Measured()
        measuring.compare(task, im2col.prepare(task)(), measured)
        assert measured.apart is not None
        assert measured.apart <= 1, case
        wrong = im2col.prepare(task)()
        wrong.reshape(-1)[0] += 1e-9
        measuring.compare(task, wrong, measured)
        assert measured.apart > 1, case
        with pytest.raises(ValueError, match=r"a small one, .*, not"):
            measuring.compare(task, wrong[..., :-1], measured)


def test_a_run_compares_and_reports(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    file, page, image = (tmp_path / name for name in ("record.json", "tables.md", "picture.svg"))
    names = ["matmul", "torch", "arrconv", "arrconv:1", "im2col"]
    chosen = [word for name in names for word in ("--library", name)]
    status, text = command("--row", "smallest", "--dtype", "float64", "--rounds", "2", *chosen, "--json", str(file))
    assert status == 0, text
    assert "arrconv and arrconv:1: 3 tasks, the same bits in each" in text
    record = json.loads(file.read_text(encoding="utf-8"))
    assert [(one["direction"], one["dtype"]) for one in record["tasks"]] == [(d, "float64") for d in DIRECTIONS]
    for one in record["tasks"]:
        for name in names[1:]:
            found = one["libraries"][name]
            assert found["apart"] <= 1
            assert len(found["seconds"]) == 2
        assert one["libraries"]["matmul"]["apart"] is None
    pools = {pool["num_threads"] for pool in record["libraries"]["arrconv:1"]["pools"]}
    assert pools <= {1}
    assert record["libraries"]["torch"]["versions"]["torch"]
    status, again = command("--read", str(file), "--markdown", str(page))
    assert status == 0, again
    assert again.strip() == text.strip()
    assert page.read_text(encoding="utf-8").count("| smallest |") == 3
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert command("--read", str(file), "--picture", str(image))[0] == 0
    assert image.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--row", "stem"), "'stem' is unknown"),
        (("--dtype", "float8"), "'float8' is unknown; there are float64, float32"),
        (("--direction", "backward"), "'backward' is unknown; there are forward"),
        (("--library", "torch,jax"), "'torch,jax' is unknown; there are arrconv,"),
        (("--library", "tropical:2"), "'tropical' is unknown"),
        (("--read", "a.json", "--json", "b.json"), "--read measures nothing"),
        (("--json", "nowhere/b.json"), "--json nowhere/b.json: there is no folder"),
    ],
)
def test_what_is_not_there_is_named(arguments: tuple[str, ...], message: str) -> None:
    status, text = command(*arguments)
    assert status == 2
    assert message in " ".join(text.replace("│", " ").split())


def test_a_library_that_is_not_installed_is_passed_over() -> None:
    with pytest.raises(Missing, match=r"nothing_of_this_name: No module named"):
        Session("nothing_of_this_name", 1)


def test_a_process_that_dies_is_named() -> None:
    session = Session("matmul", 1)
    session._process.kill()
    session._process.wait()
    with pytest.raises(RuntimeError, match=r"matmul: the process ended with status -9"):
        session.ask("time", calls=1)
    session.close()


@pytest.mark.parametrize(("first", "calls"), [(1.0, 2), (9.0, 1)])
def test_a_first_call_may_be_slow_to_start(
    first: float, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that loads what it computes gradients with."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(working, "use_threads", lambda _: None)
    worker, times, made = working.Worker("matmul"), iter([first, 0.001]), []

    def call() -> Any:
        made.append(next(times))
        return np.zeros(1)

    monkeypatch.setattr(working.time, "perf_counter", lambda: sum(made))
    monkeypatch.setattr(worker._library, "prepare", lambda _: call)
    answer = worker.prepare(Task(SMALLEST, "forward", "float64").data, str(tmp_path / "result.npy"))
    assert len(made) == calls
    assert answer["seconds"] == pytest.approx(min(made))


class Slow:
    """A library of which each call takes so many seconds for an operation."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.asked = seconds, list[str]()

    def ask(self, do: str, **options: Any) -> dict[str, Any]:
        self.asked.append(do)
        if do == "memory":
            return {"bytes": 2**20}
        if do == "time":
            return {"seconds": self.task.operations * self.seconds}
        self.task = Task.of(options["task"])
        x, w, _ = self.task.operands
        np.save(options["save"], arrconv.conv(x, w, **self.task.row.geometry.options))
        return {
            "seconds": self.task.operations * self.seconds,
            "operations": self.task.operations,
            "is_task": True,
        }


def test_what_would_take_too_long_is_not_waited_for() -> None:
    tasks = [Task(ROWS[name], "forward", "float64") for name in ("denoiser 1", "1×1 at 56", "smallest")]
    fast, slow = Slow(1.5e-9), Slow(2e-8)
    (_, first), (_, second), (_, third) = measure(tasks, {"fast": fast, "slow": slow}, 3)  # type: ignore[dict-item]
    assert len(first["slow"].seconds) == 3
    assert second["slow"].lacks == f"a call is expected to take {tasks[1].operations * 2e-8:.0f} s"
    assert not second["slow"].seconds
    assert len(second["fast"].seconds) == 1  # more than a second: once is enough
    assert second["fast"].extra_bytes is None
    assert third["slow"].seconds
    assert slow.asked == ["prepare", "time", "time", "time", "memory"] * 2


def results() -> list[tuple[Task, dict[str, Measured]]]:
    task = Task(SMALLEST, "forward", "float64")
    return [
        (
            task,
            {
                "matmul": Measured(seconds=[1.0, 2.0, 4.0], operations=4 * task.operations),
                "copy": Measured(seconds=[1.0], operations=task.traffic),
                "torch": Measured(seconds=[2.0, 2.0, 2.0], operations=task.operations),
                "arrconv": Measured(
                    seconds=[1.0, 0.5, 2.0], operations=task.operations, apart=0.5, digest="a", extra_bytes=3 * 2**20
                ),
                "arrconv:1": Measured(seconds=[4.0], operations=task.operations, apart=2.0, digest="b"),
                "jax": Measured("no"),
            },
        )
    ]


def test_shares_are_of_one_round_and_their_mean_is_geometric() -> None:
    ((task, found),) = results()
    assert shares(found["arrconv"], found["torch"]) == [2, 4, 1]
    assert mean_share(results() * 2, "arrconv", "torch") == (pytest.approx(2), 2)
    assert math.isnan(mean_share(results(), "jax", "torch")[0])
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == (2, 3, 4)
    assert spread([7.0]) == (7, 7, 7)
    assert limit(task, found) == task.operations  # of memory: as many bytes as the task needs, in a second
    assert limit(task, {"matmul": found["matmul"]}) == 2 * task.operations
    assert limit(task, {}) is None


def test_a_grid_marks_what_is_wrong_and_leaves_out_what_is_not_there() -> None:
    (grid,) = grids(results(), ["matmul", "copy", "torch", "arrconv", "arrconv:1", "jax"])
    assert grid.header == [
        "row", "limit", "torch", "arrconv", "arrconv:1", "jax", "arrconv of matmul", "arrconv MiB beyond",
    ]  # fmt: skip
    assert grid.lines[0] == ["smallest", "0", "0.0", "0.0 (2.00×)", "0.0! (0.50×)", "–", "50%", "3"]
    assert grid.lines[1] == ["geometric mean", "", "", "2.00× (1)", "0.50× (1)", "", "50%", ""]
    assert "| smallest | 0 | 0.0 | 0.0 (2.00×) | 0.0! (0.50×) | – | 50% | 3 |" in markdown(grid)
    screen = StringIO()
    Console(width=200, file=screen).print(table(grid))
    assert "2.00×" in screen.getvalue()


def test_differing_bits_are_named() -> None:
    names = ["arrconv", "arrconv:1"]
    assert digests(results(), names) == ("arrconv and arrconv:1: 1 tasks, differing bits in smallest, forward, float64")
    assert digests(results(), ["arrconv", "torch"]) == ""


def test_a_record_reads_back_as_what_it_was() -> None:
    from benchmarks.peers.report import as_json

    record = json.loads(json.dumps(as_json(results(), {"threads": 2})))
    assert from_json(record) == results()


def test_all_dtypes_and_rows_have_operands() -> None:
    for dtype in DTYPES:
        x, w, g = Task(SMALLEST, "forward", dtype).operands
        assert {str(array.dtype) for array in (x, w, g)} == {dtype}
        assert (x.shape, w.shape, g.shape) == ((1, 3, 8, 8), (8, 3, 3, 3), (1, 8, 6, 6))
