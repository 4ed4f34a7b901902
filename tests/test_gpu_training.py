"""The benchmark of training on a GPU, on the processor: the same work in all ways, and what is made of the times."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import typer
from in_process import started
from typer.testing import CliRunner

from arrconv.functional.loss import mse_loss
from arrconv.train.networks import seed_network
from benchmarks.gpu import trainers, training
from benchmarks.gpu.rivals import Rival
from benchmarks.gpu.rivals import started as processes
from benchmarks.gpu.trainers import WAYS, Trainer, pictures
from benchmarks.gpu.training import AIMS, FIRST, figures, main, measure

if TYPE_CHECKING:
    from pathlib import Path


def test_pictures_are_noisy_copies_of_the_same() -> None:
    pairs = pictures(70)
    assert pairs.shape == (70, 3, 32, 32)
    x, t = (array.astype(int) for array in (pairs.inputs, pairs.targets))
    assert x.max() < 255  # nothing was carried over
    blocks = (x - t).reshape(70, 3, 8, 4, 8, 4)
    assert 0 < abs(x - t).max() < 64
    assert blocks.std(axis=(3, 5)).min() > 0
    assert np.ptp(x) > 200
    assert np.array_equal(pictures(70).inputs, pairs.inputs)


def test_losses_are_means_so_far_of_all_pairs_once() -> None:
    """Where nothing is learned they are those of all pairs, in whatever order."""
    pairs = pictures(21)
    net = seed_network(width=4).initialise(np, seed=0)
    x, t = (array.astype(np.float32) / np.float32(255) for array in (pairs.inputs, pairs.targets))
    expected = float(mse_loss(net.forward(x), t))
    for name in ("arrconv", "torch"):
        if name == "torch":
            pytest.importorskip("torch", reason="PyTorch is not installed")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trainers, "RATE", 0.0)
            way = WAYS[name]("cpu", pairs, 4)
            found = way.losses(8, 21, 1)
            assert len(found) == 4
            assert found[-2:] == [pytest.approx(expected, rel=1e-5)] * 2


@pytest.mark.parametrize("every", [1, 2])
def test_all_ways_do_the_same_work(every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    pairs = pictures(45)
    ways = [WAYS[name]("cpu", pairs, 4) for name in ("arrconv", "torch")]
    first, second = (way.losses(8, 45, every) for way in ways)
    assert len(first) == 6 // every + 1
    assert second == pytest.approx(first, rel=1e-5)
    assert ways[0].losses(8, 45, every) == first  # from the first weights again
    assert ways[1].losses(8, 45, every) == pytest.approx(first, rel=1e-5)
    assert ways[0].losses(8, 23, every) != first
    monkeypatch.setattr(trainers, "RATE", 0.0)
    assert ways[0].losses(8, 45, every) != pytest.approx(first, rel=1e-5)


class Told:
    """A way to train that takes so many seconds a step, and more at first, and has losses of one kind."""

    def __init__(self, clock: Any, pace: float, first: float = 0.0, loss: float = 0.5, lacks: str = "") -> None:
        self.clock, self.pace, self.first, self.loss, self.lacks = clock, pace, first, loss, lacks
        self.about, self.asked = {"versions": {}}, list[str]()

    def ask(self, do: str, patience: float | None, **options: Any) -> dict[str, Any]:
        self.asked.append(do)
        if do == "prepare":
            return {}
        if self.lacks:
            return {"lacks": self.lacks}
        steps = -(-options["count"] // options["batch"])
        seconds, self.first = self.pace * steps + self.first, 0.0
        self.clock.now += min(seconds, patience or math.inf)
        if patience is not None and seconds > patience:
            self.lacks = "no answer in time"
            return {"lacks": self.lacks}
        return {"losses": [self.loss] * (steps if options.get("every") == 1 else 1), "seconds": seconds}

    def close(self) -> None:
        """There is nothing to end."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    found = SimpleNamespace(now=0.0)
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: found.now))
    return found


def last(rivals: Any, sizes: list[int], pairs: int, rounds: int, ends: float = math.inf) -> dict[Any, Any]:
    *_, found = measure(rivals, sizes, (pairs, 4), rounds, ends)
    return {(one.way, one.batch): one for one in found}


def test_epochs_are_measured_in_turns_or_continued_in_thought(clock: Any) -> None:
    fast, slow = Told(clock, 0.01), Told(clock, 0.1, loss=0.5 + 1e-5)
    found = last({"arrconv": fast, "torch": slow}, [32, 512], 50_000, 3)
    assert [found["arrconv", n].steps_in_all for n in (32, 512)] == [1563, 98]
    assert found["arrconv", 32].seconds == [pytest.approx(15.63)] * 3
    assert found["torch", 512].seconds == [pytest.approx(9.8)] * 3
    cut = found["torch", 32]
    assert (cut.steps, cut.steps_in_all, cut.extent) == (200, 1563, "200 steps of 1563")
    assert cut.seconds == [pytest.approx(156.3)] * 3
    shown = figures(list(found.values()))
    assert shown["arrconv, batches of 512"].median == pytest.approx(0.98)
    assert shown["torch, batches of 32"].of == "200 steps of 1563"
    verdicts = [aim.judged(shown)["verdict"] for aim in AIMS]
    assert verdicts == ["not met", "met"]


def test_other_work_is_no_measurement(clock: Any) -> None:
    rivals = {
        "arrconv": Told(clock, 1e-3),
        "torch": Told(clock, 1e-3, loss=0.501),
        "torch-tf32": Told(clock, 1e-3, loss=0.501),
        "torch-compiled": Told(clock, 1e-3, lacks="RuntimeError: no compiler"),
    }
    found = last(rivals, [32], 320, 1)
    assert (
        found["torch", 32].lacks
        == f"its losses are {[0.501] * FIRST}, not within 0.0001 of {[0.5] * FIRST}: other work"
    )
    assert not found["torch", 32].seconds
    assert found["torch-tf32", 32].seconds
    assert (found["torch-compiled", 32].lacks, found["torch-compiled", 32].seconds) == ("RuntimeError: no compiler", [])


def test_what_compiles_comes_last_and_ends_with_the_time(clock: Any) -> None:
    """10 s an epoch each time, and of the time for two rounds 5 s are left for compiling, which takes 60."""
    rivals = {"torch-compiled": Told(clock, 0.01, first=60.0), "arrconv": Told(clock, 0.01), "torch": Told(clock, 0.01)}
    warm = 2 * 0.01 * (2 + FIRST + training.TELLING)
    found = last(rivals, [10], 10_001, 2, 2 * 2 * 10.01 + warm + 5.0)
    assert [len(found[way, 10].seconds) for way in ("arrconv", "torch")] == [2, 2]
    assert found["torch-compiled", 10].lacks == "no answer in time"
    assert clock.now == pytest.approx(2 * 2 * 10.01 + warm + 5.0)
    assert rivals["torch-compiled"].asked == ["prepare", "train"]


def test_no_epoch_is_begun_for_which_there_is_no_time(clock: Any) -> None:
    found = last({"arrconv": Told(clock, 0.01)}, [10], 10_000, 3, 25.0)
    assert len(found["arrconv", 10].seconds) == 2
    assert not found["arrconv", 10].lacks
    clock.now = 1.0
    assert last({"arrconv": Told(clock, 0.01)}, [10], 10_000, 3, 0.0)["arrconv", 10].lacks == "there was no time"


def test_what_goes_wrong_is_said() -> None:
    trainer = Trainer("arrconv", "cpu")
    assert "AttributeError" in trainer.train(8, 8)["lacks"]  # it is not prepared
    trainer.prepare(16, 4)
    assert len(trainer.train(8, 16)["losses"]) == 1
    trainer._way = SimpleNamespace(losses=lambda *_: [0.1, math.nan])  # type: ignore[assignment]
    assert trainer.train(8, 16) == {"lacks": "its losses are [0.1, nan]"}


def test_a_process_trains() -> None:
    there, _ = processes("benchmarks.gpu.trainers", ["arrconv"], "cpu")
    assert isinstance(there["arrconv"], Rival)
    found = last(there, [8], 21, 1)
    there["arrconv"].close()
    assert found["arrconv", 8].seconds[0] > 0
    assert found["arrconv", 8].first == pytest.approx(
        WAYS["arrconv"]("cpu", pictures(21), 4).losses(8, 21, 1), rel=1e-6
    )


def ran(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_the_command_measures_reads_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "started", started)
    file, page = tmp_path / "epochs.json", tmp_path / "epochs.md"
    few = ("--device", "cpu", "--pairs", "40", "--width", "4", "--batch", "16", "--rounds", "2")
    status, text = ran(*few, "--json", str(file))
    assert status == 0, text
    record = json.loads(file.read_text(encoding="utf-8"))
    measured = [(one["way"], one["batch"], len(one["seconds"])) for one in record["epochs"] if not one["lacks"]]
    assert measured == [("arrconv", 16, 2)]
    assert "CUDA graphs need a network of CuPy arrays" in text
    assert "torch-compiled is not there: not tried" in text
    assert text.endswith("1 of 4 ways and sizes; of 2 aims 0 met, 0 not met, 2 not measured\n")
    assert ran("--read", str(file), "--markdown", str(page)) == (0, text)
    assert "| arrconv | 16 |" in page.read_text(encoding="utf-8")


def test_without_a_device_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "started", lambda *_: ({}, {"arrconv": "there is no CUDA device"}))
    assert ran() == (2, "benchmarks.gpu.training: there is no CUDA device\n")
    monkeypatch.setattr(training, "started", lambda *_: ({}, {"torch": "it is not installed"}))
    assert ran("--way", "torch") == (2, "benchmarks.gpu.training: it is not installed\n")
    status, text = ran("--way", "jax")
    assert status == 2
    assert "--way 'jax' is unknown; there are arrconv" in text
