"""The training loop: it learns, it stops anywhere and goes on with the same bits, and it says what went wrong."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pytest

from arrconv import ShapeError, SpecError, UnsupportedError, limits, nn
from arrconv.train import (
    SGD,
    Adam,
    AdamW,
    Cosine,
    FreshPairs,
    Gaussian,
    NotFiniteError,
    Pairs,
    Report,
    crops,
    dead_leaves,
    evaluate,
    fit,
    load_weights,
    save_weights,
)
from tests.nn.networks import denoiser

PICTURES = crops(list(dead_leaves(3, 40, seed=1)), 90, 12, seed=2)
PAIRS = Pairs.noisy(PICTURES, Gaussian(0.1), seed=3)
# Its noise depends on the number of the step, so that going on must draw what would have come.
FRESH = FreshPairs(PICTURES, Gaussian(0.1), seed=3)
CLEAN = Pairs.noisy(PICTURES[:20], Gaussian(0.1), seed=4, target="clean")


def network(library: Any = np, **options: Any) -> nn.Sequential:
    """One with a random layer, and one that remembers batches."""
    first, last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)
    net = nn.Sequential(first, nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.1, seed=3), last)
    return net.initialise(library, seed=7, **options)


def digest(net: nn.Layer) -> str:
    return hashlib.sha256(b"".join(value.tobytes() for value in net.state_dict().values())).hexdigest()


def train(folder: Path | None = None, *, resume: bool = False, on_report: Any = lambda _: None) -> tuple[Any, Any]:
    net = network()
    optimiser = AdamW(net, lr=0.02)
    progress = fit(
        net, optimiser, FRESH, epochs=3, batch=8, seed=5, schedule=Cosine(36, warmup=3), clip=1.0, validation=CLEAN,
        folder=folder, resume=resume, every=1, on_report=on_report,
    )  # fmt: skip
    return net, progress


@pytest.fixture(scope="module")
def straight() -> tuple[str, list[dict[str, float]]]:
    """What comes of training that is never stopped."""
    net, progress = train()
    return digest(net), progress.history


def test_one_seed_gives_one_digest_on_any_number_of_threads(straight: tuple[str, Any]) -> None:
    for threads in (1, 2, 3):
        with limits(threads=threads):
            net, progress = train()
        assert (digest(net), progress.history) == straight


def test_a_denoiser_learns() -> None:
    net = denoiser((3, 16, 32)).initialise(np, seed=0)
    pictures = crops(list(dead_leaves(4, 64, seed=6)), 1500, 16, seed=6)
    pairs = Pairs.noisy(pictures, Gaussian(0.2), seed=1)
    test = Pairs.noisy(crops(list(dead_leaves(2, 64, seed=9)), 100, 16, seed=6), Gaussian(0.2), seed=2, target="clean")
    before = evaluate(net, test)
    progress = fit(net, Adam(net, lr=3e-3), pairs, epochs=4, batch=32, validation=test)
    losses = [row["loss"] for row in progress.history]
    assert losses == sorted(losses, reverse=True)
    assert progress.history[-1]["psnr"] > before + 3
    assert [row["epoch"] for row in progress.history] == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("stops", [(1,), (10,), (11,), (12,), (13, 20), (5, 7, 9, 30), (34,), (35,)])
def test_stopping_anywhere_and_going_on_gives_the_same_bits(
    stops: tuple[int, ...], straight: tuple[str, Any], tmp_path: Path
) -> None:
    """Twelve steps an epoch. Ctrl-C after a step is answered after the next, which is the last of an epoch or not."""
    for stop in stops:

        def interrupt(report: Report, stop: int = stop) -> None:
            if report.epoch * report.batches + report.batch == stop:
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, resume=True, on_report=interrupt)
    net, progress = train(tmp_path, resume=True)
    assert (digest(net), progress.history) == straight
    again, progress = train(tmp_path, resume=True)  # of training that is done nothing is done again
    assert (digest(again), progress.history) == straight
    rows = (tmp_path / "log.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "epoch,loss,lr,psnr"
    assert len(rows) == 4


PROGRAM = """
import sys
from pathlib import Path
from tests.train.test_loop import digest, train
print("ready", flush=True)
try:
    net, _ = train(Path(sys.argv[1]), resume=True, on_report=lambda r: __import__("time").sleep(0.01))
except KeyboardInterrupt:
    sys.exit(130)
print(digest(net))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_stopped_goes_on_with_the_same_bits(
    number: signal.Signals, straight: tuple[str, Any], tmp_path: Path
) -> None:
    """At a moment that nobody has chosen; killed, it goes on from the last epoch."""
    root = Path(__file__).parent.parent.parent
    rng = np.random.default_rng(time.time_ns())
    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    for _ in range(20):
        with subprocess.Popen(arguments, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(float(rng.uniform(0.05, 0.6)))
            process.send_signal(number)
            answer = process.stdout.read().strip()
            status = process.wait()
        if status == 0:
            assert answer == straight[0]
            break
        # Python itself ends by the signal where that comes before training, or behind it.
        assert status in ((130, -signal.SIGINT) if number == signal.SIGINT else (-signal.SIGKILL,))
        number = signal.SIGINT if rng.uniform() < 0.5 else number  # killed each time, it might never end
    else:
        net, _ = train(tmp_path, resume=True)
        assert digest(net) == straight[0]


def test_a_loss_that_is_not_finite_stops_at_once_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    net = network()
    fit(net, SGD(net, lr=0.01), PAIRS, epochs=1, batch=8, folder=tmp_path)
    good = digest(net)
    optimiser = SGD(net, lr=1e30)
    with (
        np.errstate(all="ignore"),
        pytest.raises(NotFiniteError, match=r"the loss is (nan|inf) in step \d: .* is not finite"),
    ):
        fit(net, optimiser, PAIRS, epochs=1, batch=8)
    kept = network()
    load_weights(tmp_path / "checkpoint.npz", kept)
    assert digest(kept) == good


def test_the_first_layer_whose_result_is_not_finite_is_named() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 1)), nn.Conv2d(4, 3, 1)
    ).initialise(np, seed=1)
    state = net.state_dict()
    state["1.1.weight"] = state["1.1.weight"] * np.float32(1e38)
    state["0.bias"] = np.full(4, 1e3, np.float32)
    net.load_state_dict(state)
    with (
        np.errstate(all="ignore"),
        pytest.raises(NotFiniteError, match=r"in step 1: .* is the result of the network, layer 1, layer 1, a Conv2d"),
    ):
        fit(net, SGD(net, lr=0.1), PAIRS, epochs=1, batch=8)
    state["2.bias"] = np.asarray([0, np.nan, 0], np.float32)
    net.load_state_dict(state)
    with np.errstate(all="ignore"), pytest.raises(NotFiniteError, match=r"in step 1: 2\.bias is not finite any more"):
        fit(net, SGD(net, lr=0.1), PAIRS, epochs=1, batch=8)


def test_training_stays_on_its_device() -> None:
    device = array_api_strict.Device("device1")
    net = nn.Sequential(nn.Conv2d(3, 3, 1)).initialise(array_api_strict, seed=1, device=device)
    reports: list[Report] = []
    few = Pairs(PAIRS.inputs[:20], PAIRS.targets[:20])
    progress = fit(net, SGD(net, lr=0.1, momentum=0.9), few, epochs=2, batch=8, every=2, on_report=reports.append)
    assert all(value.device == device for value in net.state_dict().values())
    other = nn.Sequential(nn.Conv2d(3, 3, 1)).initialise(np, seed=1)
    expected = fit(other, SGD(other, lr=0.1, momentum=0.9), few, epochs=2, batch=8)
    assert progress.history[-1]["loss"] == pytest.approx(expected.history[-1]["loss"], rel=1e-5)
    assert [(report.epoch, report.batch) for report in reports] == [(0, 2), (1, 0), (1, 2), (2, 0)]


def test_reports_say_how_it_goes() -> None:
    reports: list[Report] = []
    _, progress = train(on_report=reports.append)
    assert len(reports) == 36 + 3
    ends = [report for report in reports if not report.batch]
    assert [(end.loss, end.psnr) for end in ends] == [(row["loss"], row["psnr"]) for row in progress.history]
    assert [report.psnr for report in reports[13:16]] == [progress.history[0]["psnr"]] * 3
    assert np.isnan(reports[0].psnr)
    assert all(report.batches == 12 and report.epochs == 3 for report in reports)
    assert all(report.loss > 0 and report.pictures_a_second > 0 for report in reports)
    assert reports[-1].seconds_left == 0
    assert reports[0].seconds_left > 0


def settings_of(file: Path) -> Any:
    with np.load(file) as arrays:
        return json.loads(bytes(arrays["about"]))["settings"]


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    net = network()
    run: Any = lambda **changed: fit(net, SGD(net, lr=0.1), **{"pairs": PAIRS, "epochs": 1, **changed})  # noqa: E731
    with pytest.raises(SpecError, match="there is no pair to learn from"):
        run(pairs=Pairs(PAIRS.inputs[:0], PAIRS.targets[:0]))
    with pytest.raises(SpecError, match="batch must be at least 1"):
        run(batch=0)
    with pytest.raises(SpecError, match="resume needs the folder"):
        run(resume=True)
    run(folder=tmp_path)
    assert settings_of(tmp_path / "checkpoint.npz")["pairs"] == 90
    with pytest.raises(SpecError, match="is of other settings: batch was 32, but is 9"):
        run(folder=tmp_path, resume=True, batch=9)
    other = nn.Sequential(nn.Conv2d(3, 3, 1)).initialise(np, seed=0)
    with pytest.raises(SpecError, match="the state does not fit: it lacks nothing, and has"):
        fit(other, SGD(other, lr=0.1), PAIRS, epochs=2, folder=tmp_path, resume=True)


def test_weights_are_read_from_checkpoints_and_plain_files_and_from_nothing_else(tmp_path: Path) -> None:
    net = network()
    np.savez(tmp_path / "weights.npz", **net.state_dict())
    fresh = network()
    fresh.update_parameters([value * 0 for value, _ in fresh.param()])
    load_weights(tmp_path / "weights.npz", fresh)
    assert digest(fresh) == digest(net)
    save_weights(tmp_path / "again.npz", net)
    fresh.update_parameters([value * 0 for value, _ in fresh.param()])
    load_weights(tmp_path / "again.npz", fresh)
    assert digest(fresh) == digest(net)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and then nothing")
    np.savez(tmp_path / "pickled.npz", weight=np.asarray([{}], dtype=object))
    (tmp_path / "text.npz").write_text("weights", encoding="utf-8")
    for name in ("broken", "pickled", "text"):
        with pytest.raises(SpecError, match=f"{name}.npz is no npz file of arrays"):
            load_weights(tmp_path / f"{name}.npz", fresh)
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "nothing.npz", fresh)
    np.savez(tmp_path / "future.npz", about=np.frombuffer(b'{"format": "arrconv checkpoint 9"}', np.uint8))
    with pytest.raises(SpecError, match="has the format 'arrconv checkpoint 9'"):
        load_weights(tmp_path / "future.npz", fresh)
    state = net.state_dict() | {"0.bias": np.zeros(5)}
    np.savez(tmp_path / "other.npz", **state)
    with pytest.raises(ShapeError, match=r"0\.bias has shape"):
        load_weights(tmp_path / "other.npz", fresh)


def test_weights_go_to_safetensors_and_back(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    net, other = network(array_api_strict, dtype="float64"), network(dtype="float64")
    other.update_parameters([value * 0 for value, _ in other.param()])
    file = tmp_path / "weights.safetensors"
    save_weights(file, net)
    assert list(safetensors.load_file(file)) == sorted(net.state_dict())
    load_weights(file, other)
    assert all(np.array_equal(np.asarray(net.state_dict()[name]), value) for name, value in other.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(SpecError, match=r"weights\.safetensors is no safetensors file"):
        load_weights(file, other)
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "nothing.safetensors", other)
    with pytest.raises(SpecError, match=r"weights\.pt must end in \.npz or \.safetensors"):
        save_weights(tmp_path / "weights.pt", net)


def test_without_safetensors_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (save_weights, load_weights):
        with pytest.raises(UnsupportedError, match=r"pip install 'arrconv\[safetensors\]'"):
            call(tmp_path / "weights.safetensors", network())
