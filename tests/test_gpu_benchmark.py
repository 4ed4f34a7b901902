"""The benchmark on a GPU, with libraries and clocks that stand in for those of one."""

from __future__ import annotations

import json
import sys
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.gpu import libraries
from benchmarks.gpu.__main__ import main, means, show
from benchmarks.gpu.measure import measure
from benchmarks.gpu.work import DTYPES, TIMES, enlarged, tasks, with_images
from benchmarks.peers.libraries import arrconv as own
from benchmarks.peers.report import from_json
from benchmarks.peers.work import DIRECTIONS, ROWS, Task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALLEST = Task(ROWS["smallest"], "forward", "float32")


class Fake:
    """A library that computes on the host, and says of each operation that it takes so many seconds."""

    def __init__(self, name: str, pace: float, operations: int | None = None, wrong: float = 0.0) -> None:
        self.name, self.is_convolution, self.pace, self.wrong = name, operations is None, pace, wrong
        self.asked, self._operations, self._task = list[int](), operations, SMALLEST

    def prepare(self, task: Task) -> Callable[[], Any]:
        self._task = task
        return own.prepare(task) if self.is_convolution else lambda: None

    def seconds(self, call: Callable[[], Any], calls: int) -> float:
        self.asked.append(calls)
        return self.pace * self.operations(self._task)

    def operations(self, task: Task) -> int:
        return self._operations or task.operations

    def result(self, call: Callable[[], Any]) -> Any:
        return call() + np.float32(self.wrong)


class Lacking(Fake):
    """A library that cannot do it."""

    def prepare(self, task: Task) -> Callable[[], Any]:
        raise MemoryError(f"no room for {task}")


def fakes() -> list[Any]:
    return [
        Fake("matmul", 1e-12, 10**9), Fake("copy", 1e-12, 10**9), Fake("torch", 4e-12),
        Fake("torch-tf32", 1e-12, wrong=1e-2), Fake("arrconv", 2e-12),
    ]  # fmt: skip


def test_rows_have_more_images_and_nothing_else_more() -> None:
    for row in ROWS.values():
        one, many = with_images(row, 1), enlarged(row)
        times = 1 if row.name == "smallest" else TIMES
        assert many.operations == times * row.operations == times * (row.geometry.batch or 0) * one.operations
        assert (many.name, many.geometry.weight_shape) == (row.name, row.geometry.weight_shape)
    assert len(list(tasks(None, None))) == len(ROWS) * len(DIRECTIONS) * len(DTYPES)


def test_what_is_measured_is_compared_and_taken_in_turns() -> None:
    ((task, found),) = measure([SMALLEST], [*fakes(), Lacking("jax", 1.0)], 2)
    assert task is SMALLEST
    assert found["arrconv"].seconds == [2e-12 * SMALLEST.operations] * 2
    assert found["arrconv"].apart == 0
    assert found["torch-tf32"].apart is not None
    assert found["torch-tf32"].apart > 1
    assert found["matmul"].apart is None
    assert found["jax"].lacks == "MemoryError: no room for smallest, forward, float32"
    assert not found["jax"].seconds


@pytest.mark.parametrize(("pace", "calls"), [(1e-12, 300), (1e-6, 3), (0.003 / SMALLEST.operations, 10)])
def test_short_calls_are_repeated(pace: float, calls: int) -> None:
    library = Fake("arrconv", pace)
    assert len(list(measure([SMALLEST], [library], 3))) == 1
    assert library.asked == [1, calls, calls, calls]


def test_tables_means_and_the_record(tmp_path: Path) -> None:
    file, screen = tmp_path / "gpu.json", StringIO()
    work = [Task(row, "forward", "float32") for row in (with_images(ROWS["denoiser 1"], 2), ROWS["smallest"])]
    show(work, fakes(), {"cupy": "0"}, 2, file, Console(file=screen, width=180))
    record = json.loads(file.read_text(encoding="utf-8"))
    assert record["means"] == {"float32 forward": pytest.approx(2), "smallest float32 forward": pytest.approx(2)}
    assert (record["tasks_in_all"], len(record["tasks"]), record["versions"]) == (2, 2, {"cupy": "0"})
    assert means(from_json(record)) == record["means"]
    text = screen.getvalue()
    assert "500.0 (2.00×)" in text
    assert "1000.0! (4.00×)" in text  # TF32, which is not what was asked for
    assert "50%" in text  # of the matrix product
    assert text.endswith("arrconv as multiples of torch: float32 forward 2.00×; smallest float32 forward 2.00×\n")


class Device:
    """CuPy's words for NumPy's arrays, and a clock that goes on by a second with each call of `tick`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cuda = SimpleNamespace(Event=lambda: SimpleNamespace(), get_elapsed_time=self._between)
        self.cuda.Event = self._event

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def asnumpy(self, array: Any) -> Any:
        return array

    def tick(self) -> None:
        self.now += 1.0

    def _event(self) -> Any:
        event = SimpleNamespace(at=-1.0, synchronize=lambda: None)
        event.record = lambda: setattr(event, "at", self.now)
        return event

    def _between(self, start: Any, end: Any) -> float:
        return float(end.at - start.at) * 1e3


def test_events_time_the_calls_after_the_first() -> None:
    device = Device()
    assert libraries.OnCupy(device).seconds(device.tick, 5) == 1.0
    assert device.now == 6.0


def test_operands_are_those_of_the_host_again_and_again() -> None:
    task = Task(with_images(ROWS["smallest"], 3), "weight gradient", "float64")
    (x, w, g), given = libraries.repeated(task, np.asarray, np.concatenate), SMALLEST.row
    host = Task(given, "weight gradient", "float64").operands
    assert (x.shape[0], w.shape, g.shape[0]) == (3, host[1].shape, 3)
    assert np.array_equal(x[2:], host[0])
    call = libraries.OnCupy(Device()).prepare(task)
    once = own.prepare(Task(given, "weight gradient", "float64"))()
    assert np.allclose(call(), 3 * once, rtol=1e-12)


def test_products_and_copies_count_what_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(libraries.PRODUCT_SIZE, "float32", 8)
    monkeypatch.setattr(libraries, "COPIED", 64)
    product, copy = libraries.Product(Device()), libraries.Copy(Device())
    assert product.prepare(SMALLEST)().shape == (8, 8)
    assert (product.operations(SMALLEST), copy.operations(SMALLEST)) == (2 * 8**3, 128)
    copy.prepare(SMALLEST)()
    assert not product.is_convolution
    assert not copy.is_convolution


def test_tf32_is_on_while_it_is_asked_for() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    flags = SimpleNamespace(cudnn=SimpleNamespace(), cuda=SimpleNamespace(matmul=SimpleNamespace()))
    there = SimpleNamespace(
        backends=flags, cuda=None, cat=torch.cat, from_numpy=lambda a: SimpleNamespace(cuda=lambda: torch.from_numpy(a))
    )
    plain, short = libraries.OnTorch(there), libraries.OnTorch(there, tf32=True)
    calls = {library: library.prepare(SMALLEST) for library in (plain, short)}
    for library, is_short in ((short, True), (plain, False)):
        result = library.result(calls[library])
        assert flags.cudnn.allow_tf32 is flags.cuda.matmul.allow_tf32 is is_short
        assert np.allclose(result, own.prepare(SMALLEST)(), atol=1e-5)
    with pytest.raises(NotImplementedError, match="a way to compute with float32"):
        short.prepare(Task(SMALLEST.row, "forward", "float64"))


def test_without_a_device_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()
    app.command()(main)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(is_available=lambda: False))
    result = CliRunner().invoke(app, [])
    assert (result.exit_code, result.output) == (2, "benchmarks.gpu: there is no CUDA device\n")
    unknown = CliRunner().invoke(app, ["--row", "smalest"])
    assert unknown.exit_code == 2
    assert "--row 'smalest' is unknown" in unknown.output
