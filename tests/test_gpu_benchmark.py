"""The benchmark on a GPU, with libraries and clocks that stand in for those of one."""

from __future__ import annotations

import json
import math
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import typer
from in_process import SMALLEST, Dying, Fake, Here, Lacking, started
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import measure as measuring
from benchmarks.gpu.__main__ import main, record_of, records
from benchmarks.gpu.aims import Aim, Figure, grid, summary
from benchmarks.gpu.measure import measure
from benchmarks.gpu.report import AIMS, clocks, figures, pieces, show
from benchmarks.gpu.rivals import Rival
from benchmarks.gpu.work import BY_WEIGHT, DTYPES, TIMES, enlarged, one_image, tasks, with_images
from benchmarks.gpu.worker import Worker
from benchmarks.peers.measure import Measured
from benchmarks.peers.report import from_json
from benchmarks.peers.work import DIRECTIONS, ROWS, Task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KNOWN: dict[str, Any] = {
    "date": "2026-01-01", "rounds": 2, "device": {"name": "a device"}, "versions": {"cupy": "0"}, "missing": {},
    "timed_by": "fakes", "clocks": {},
}  # fmt: skip


class Broken(Fake):
    """A library on whose device nothing works any more once something went wrong."""

    def seconds(self, call: Callable[[], Any], calls: int) -> float:
        raise OSError("an illegal address")


def fakes() -> dict[str, Any]:
    return {
        "matmul": Here(Worker(Fake(1e-12, 10**9))), "copy": Here(Worker(Fake(1e-12, 10**9))),
        "torch": Here(Worker(Fake(4e-12))), "torch-tf32": Here(Worker(Fake(1e-12, wrong=1e-2))),
        "arrconv": Here(Worker(Fake(2e-12))), "arrconv:cuda": Here(Worker(Fake(1.6e-12))),
        "arrconv:fft": Here(Worker(Fake(1e-13, wrong=1e-2))), "arrconv:cudnn": Here(Worker(Lacking(1.0))),
    }  # fmt: skip


def test_rows_have_more_images_and_nothing_else_more() -> None:
    for row in ROWS.values():
        one, many = with_images(row, 1), enlarged(row)
        times = 1 if row.name == "smallest" else TIMES
        assert many.operations == times * row.operations == times * (row.geometry.batch or 0) * one.operations
        assert (many.name, many.geometry.weight_shape) == (row.name, row.geometry.weight_shape)


def test_all_dtypes_and_directions_have_the_same_rows_wherever_time_is_over() -> None:
    assert sorted(BY_WEIGHT) == sorted(ROWS)
    work = list(tasks(None, None))
    of_row = len(DTYPES) * len(DIRECTIONS)
    assert len(work) == len(ROWS) * of_row
    for number in range(0, len(work), of_row):
        some = work[number : number + of_row]
        assert len({task.row.name for task in some}) == 1
        assert len({(task.dtype, task.direction) for task in some}) == of_row
    assert [str(task) for task in tasks(["3×3 at 7"], [])] == []
    assert {task.row.name for task in tasks(["3×3 at 7"], None)} == {"3×3 at 7"}


def test_a_task_goes_to_its_process_and_comes_back_as_it_was() -> None:
    task = Task(enlarged(ROWS["DCGAN 4×4 s2"]), "weight gradient", "bfloat16")
    assert Task.of(json.loads(json.dumps(task.data))) == task
    assert task.traffic == 2 * (512 * 256 * 8 * 8 + 256 * 128 * 16 + 512 * 128 * 16 * 16)
    assert one_image(task).row.geometry.batch == 1
    assert one_image(one_image(task)) is one_image(task)


def test_what_is_measured_is_compared_and_taken_in_turns() -> None:
    there = fakes()
    ((task, found),) = measure([SMALLEST], there, 3)
    assert task is SMALLEST
    assert found["arrconv"].seconds == [2e-12 * SMALLEST.operations] * 3
    assert found["arrconv:cuda"].seconds == [1.6e-12 * SMALLEST.operations] * 2
    assert found["arrconv"].apart == 0
    assert found["torch-tf32"].apart is not None
    assert found["torch-tf32"].apart > 1
    assert found["matmul"].apart is None
    assert found["arrconv:cudnn"].lacks == "UnsupportedError: no room for smallest, forward, float32"
    assert not found["arrconv:cudnn"].seconds


@pytest.mark.parametrize(("pace", "calls"), [(1e-12, 300), (1e-6, 3), (0.001 / SMALLEST.operations, 10)])
def test_short_calls_are_repeated(pace: float, calls: int) -> None:
    library = Fake(pace)
    there: Any = {"arrconv": Here(Worker(library))}
    assert len(list(measure([SMALLEST], there, 3))) == 1
    assert library.asked == [1, calls, calls, calls]


def test_nothing_is_begun_that_may_last_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each task lasts 10 s; after the fifth 2 s are left."""
    now = [0.0]

    def taking(*_: Any) -> dict[str, Measured]:
        now[0] += 10.0
        return {}

    monkeypatch.setattr(measuring, "_measured", taking)
    monkeypatch.setattr(measuring, "time", SimpleNamespace(monotonic=lambda: now[0]))
    work = list(tasks(["smallest", "3×3 at 7"], ["float32", "float64"]))
    assert len(list(measure(work, {}, 1, 52.0))) == 5
    now[0] = 0.0
    *_, record = records(work, {}, 1, 52.0, KNOWN)
    assert (len(record["tasks"]), record["tasks_in_all"], record["left_out"]) == (5, 12, {"smallest": 1, "3×3 at 7": 6})
    assert "left out for want of time: 3×3 at 7, 6 tasks" in list(pieces(record))


def report(record: dict[str, Any], file: Path | None = None) -> str:
    screen = StringIO()
    show(pieces(record), Console(file=screen, width=200), file)
    return screen.getvalue()


def test_tables_verdicts_and_the_record(tmp_path: Path) -> None:
    work = [Task(row, "forward", "float32") for row in (with_images(ROWS["denoiser 1"], 2), ROWS["smallest"])]
    *_, record = records(work, fakes(), 2, math.inf, KNOWN)
    assert json.loads(json.dumps(record)) == record
    assert [task.row.case for task, _ in from_json(record)] == [task.row.case for task in work]
    verdicts = {(one["figure"], one["asked"]): one["verdict"] for one in record["aims"]}
    assert verdicts["arrconv float32 forward", "≥ 0.8×"] == "met"
    assert verdicts["arrconv smallest float32 forward, time", "≤ 1.5×"] == "met"
    assert verdicts["arrconv float64 forward", "≥ 1.5×"] == "not measured"
    assert record_of(from_json(record), work, KNOWN)["aims"] == record["aims"]
    text = report(record, tmp_path / "page.md")
    assert "500.0 (2.00×)" in text
    assert "1000.0! (4.00×)" in text  # TF32, which is not what was asked for
    assert "50%" in text  # of the matrix product
    assert "cuda 1.25×" in text  # and not fft, which is faster and wrong
    assert "arrconv:fft is further off than rounding allows in 2 tasks" in text
    assert "arrconv:cudnn lacks 1 tasks: UnsupportedError: no room for smallest, forward, float32" in text
    assert text.endswith("2 of 2 tasks; of 33 aims 3 met, 0 not met, 30 not measured\n")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| arrconv float32 forward | ≥ 0.8× | 2.00× | 2.00 to 2.00 | 1 of 1 rows | met |" in page
    assert "| denoiser 1 | 1000 | 250.0 | 1000.0! (4.00×) | 500.0 (2.00×) | 625.0 (2.50×) |" in page


def test_shares_of_the_copy_are_those_of_bytes() -> None:
    """512 bytes that a copy would move in 2 s, in 4 s."""
    task = Task(with_images(ROWS["denoiser 1"], 2), "forward", "float32")
    found = {
        "copy": Measured(seconds=[2.0], operations=task.traffic),
        "arrconv": Measured(seconds=[4.0], operations=task.operations),
    }
    found["torch"] = found["arrconv"]
    record = record_of([(task, found)], [task], KNOWN | {"libraries": list(found), "tasks_in_all": 1})
    (one,) = [piece for piece in pieces(record) if not isinstance(piece, str) and piece.title.startswith("float32")]
    assert dict(zip(one.header, one.lines[0], strict=True))["arrconv of copy"] == "50%"


def test_a_mean_is_geometric_and_has_its_rounds() -> None:
    work = [Task(enlarged(ROWS[name]), "forward", "float16") for name in ("3×3 at 28", "3×3 at 7", "1×1 at 56")]
    operations = work[0].operations

    def row(task: Task, *seconds: float, apart: float = 0.5) -> Any:
        return task, {
            "torch": Measured(seconds=[8.0, 8.0, 8.0], operations=operations),
            "arrconv": Measured(seconds=list(seconds), operations=operations, apart=apart),
        }

    # 8, 4 and 2 times as fast; 1/4 times and as fast; wrong
    some = [row(work[0], 1.0, 2.0, 4.0), row(work[1], 32.0, 8.0), row(work[2], 1e-9, apart=math.nan)]
    found = figures(some)["arrconv float16 forward"]
    assert found.median == pytest.approx((4 * 0.625) ** 0.5)
    assert (found.least, found.most, found.of) == (pytest.approx(2**0.5), pytest.approx(2.0), "2 of 3 rows")


@pytest.mark.parametrize(
    ("is_at_most", "found", "verdict"),
    [(False, 0.8, "met"), (False, 0.79, "not met"), (True, 0.8, "met"), (True, 0.81, "not met")],
)
def test_an_aim_is_met_or_not(is_at_most: bool, found: float, verdict: str) -> None:
    aim = Aim("a rate", 0.8, "s", is_at_most)
    judged = [aim.judged({"a rate": Figure(found, 0.5, 1.0, "all")}), aim.judged({})]
    assert [one["verdict"] for one in judged] == [verdict, "not measured"]
    asked = f"{'≤' if is_at_most else '≥'} 0.8 s"
    assert grid(judged).lines[0] == ["a rate", asked, f"{found:.2f} s", "0.50 to 1.00", "all", verdict]
    failed = f": a rate {found:.2f} s ({asked})" if verdict == "not met" else ""
    assert summary(judged).endswith(f"1 not measured{failed}")


def test_aims_are_asked_of_figures_that_there_are() -> None:
    work = list(tasks(["smallest", "3×3 at 7"], None))
    one = {name: Measured(seconds=[1.0], operations=1) for name in ("torch", "arrconv", "arrconv:cudnn")}
    assert {aim.figure for aim in AIMS} <= set(figures([(task, one) for task in work]))


def test_what_goes_wrong_is_said_and_whether_the_device_still_answers() -> None:
    refusing, broken = Worker(Lacking(1.0)), Worker(Broken(1.0))
    assert refusing.prepare(SMALLEST.data, "nowhere") == {
        "lacks": "UnsupportedError: no room for smallest, forward, float32"
    }
    broken._library.is_convolution = False
    lost = {"lacks": "OSError: an illegal address", "is_lost": True}
    assert broken.prepare(SMALLEST.data, "nowhere") == broken.time(3) == lost


def test_one_lost_while_it_is_measured_lacks_the_task_and_others_go_on() -> None:
    prepared = {"seconds": 1.0, "operations": 1, "is_task": False}
    there = fakes() | {"arrconv:cuda": Rival(lambda: Dying(prepared, RuntimeError("it ended")))}  # type: ignore[arg-type, return-value]
    ((_, found),) = measure([SMALLEST], there, 2)
    assert found["arrconv:cuda"] == Measured("it ended")
    assert len(found["arrconv"].seconds) == 2


def ran(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_the_command_measures_reads_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "started", started)
    file, page = tmp_path / "gpu.json", tmp_path / "gpu.md"
    status, text = ran(
        "--device", "cpu", "--row", "smallest", "--dtype", "float64", "--dtype", "bfloat16", "--algorithm", "taps",
        "--rounds", "1", "--json", str(file),
    )  # fmt: skip
    assert status == 0, text
    record = json.loads(file.read_text(encoding="utf-8"))
    assert record["libraries"] == ["matmul", "copy", "arrconv", "arrconv:taps"]
    for task in record["tasks"]:
        for name in ("arrconv", "arrconv:taps"):
            assert task["libraries"][name]["apart"] <= 1
            assert len(task["libraries"][name]["seconds"]) == 1
    assert {task["dtype"] for task in record["tasks"]} == {"float64", "bfloat16"}
    assert "torch is not there: not tried" in text
    assert ran("--read", str(file), "--markdown", str(page)) == (0, text)
    assert "| bfloat16, weight gradient |" in page.read_text(encoding="utf-8")


def test_without_bfloat16_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "started", lambda *_: ({"arrconv": Here(Worker(Fake(1e-9)))}, {}))
    monkeypatch.setattr(command, "is_available", lambda dtype: dtype != "bfloat16")
    status, text = ran("--row", "smallest", "--device", "cpu")
    assert (status, "9 of 9 tasks" in text) == (0, True)
    assert "bfloat16 is not there: ml_dtypes is not installed" in text


def test_without_a_device_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "started", lambda *_: ({}, {"arrconv": "there is no CUDA device"}))
    assert ran() == (2, "benchmarks.gpu: there is no CUDA device\n")
    for option, name in (("--row", "smalest"), ("--algorithm", "cudn"), ("--dtype", "int8"), ("--device", "tpu")):
        status, text = ran(option, name)
        assert status == 2
        assert f"{option} {name!r} is unknown" in text


def test_clocks_are_the_drivers_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert clocks("cuda") == {"timed_by": "CUDA's events", "clocks": {}}
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '580.1, 1980 MHz, 1980 MHz, 3201 MHz, 300 W, 40'\n", encoding="utf-8")
    tool.chmod(0o755)
    assert clocks("cuda")["clocks"]["clocks.sm"] == "1980 MHz"
