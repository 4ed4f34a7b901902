"""The libraries of the GPU benchmark, on NumPy in CuPy's words, and the processes that they are in."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from in_process import SMALLEST, Dying

from arrconv.errors import UnsupportedError
from benchmarks.gpu import libraries, rivals
from benchmarks.gpu.measure import measure
from benchmarks.gpu.rivals import LIVES, Rival
from benchmarks.gpu.work import DTYPES, with_images
from benchmarks.peers.libraries import arrconv as own
from benchmarks.peers.measure import Measured, compare
from benchmarks.peers.session import Late, Missing, Session
from benchmarks.peers.work import DIRECTIONS, ROWS, Task


class Device(libraries.Host):
    """NumPy in CuPy's words, and a clock that goes on by a second with each call of `tick`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cuda = SimpleNamespace(Event=self._event, get_elapsed_time=lambda start, end: 1e3 * (end.at - start.at))

    def tick(self) -> None:
        self.now += 1.0

    def _event(self) -> Any:
        event = SimpleNamespace(at=-1.0, synchronize=lambda: None)
        event.record = lambda: setattr(event, "at", self.now)
        return event


def test_events_time_the_calls_after_the_first() -> None:
    device = Device()
    assert libraries.OnCupy(device).seconds(device.tick, 5) == 1.0
    assert device.now == 6.0


def test_operands_are_those_of_one_image_again_and_again() -> None:
    task = Task(with_images(ROWS["smallest"], 3), "weight gradient", "float64")
    (x, w, g), given = libraries.repeated(task, np.asarray, lambda a, n: a.repeat(n, axis=0)), SMALLEST.row
    host = Task(given, "weight gradient", "float64").operands
    assert (x.shape[0], w.shape, g.shape[0]) == (3, host[1].shape, 3)
    assert np.array_equal(x[2:], host[0])
    call = libraries.OnCupy(Device()).prepare(task)
    once = own.prepare(Task(given, "weight gradient", "float64"))()
    assert np.allclose(call(), 3 * once, rtol=1e-12)


def test_an_algorithm_is_asked_for_by_name() -> None:
    for direction in DIRECTIONS:
        for row in ("smallest", "denoiser 1 transposed"):
            task = Task(with_images(ROWS[row], 1), direction, "float64")
            refused = libraries.OnCupy(Device(), "cuda").prepare(task)
            with pytest.raises(UnsupportedError, match="algorithm='cuda' cannot serve this call"):
                refused()
            found = libraries.OnCupy(Device(), "taps").prepare(task)()
            assert np.allclose(found, own.prepare(task)(), rtol=1e-12)


def test_products_and_copies_count_what_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "PRODUCT_SIZE", dict.fromkeys(DTYPES, 8 * libraries.SMALLER))
    monkeypatch.setattr(libraries, "COPIED", 64 * libraries.SMALLER)
    square, copy = libraries.Product(Device()), libraries.Copy(Device())
    for dtype in DTYPES:
        assert square.prepare(replace(SMALLEST, dtype=dtype))().shape == (8, 8)
    assert (square.operations(SMALLEST), copy.operations(SMALLEST)) == (2 * 8**3, 128)
    copy.prepare(SMALLEST)()
    assert not square.is_convolution
    assert not copy.is_convolution


def test_pytorch_computes_all_dtypes_and_tf32_where_it_is_asked_for() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    flags = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        plain = libraries.library("torch", "cpu")
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
        for dtype, direction in product(DTYPES, DIRECTIONS):
            task, measured = Task(SMALLEST.row, direction, dtype), Measured()
            compare(task, plain.result(plain.prepare(task)), measured)
            assert measured.apart is not None
            # on a processor PyTorch adds gradients of float16 in float16
            assert measured.apart <= 1 or dtype == "float16", task
        assert plain.seconds(plain.prepare(SMALLEST), 2) > 0
        with pytest.raises(Missing, match="TF32 is of CUDA devices"):
            libraries.library("torch-tf32", "cpu")
        cuda: Any = SimpleNamespace(is_available=lambda: True, empty_cache=lambda: None)
        there = SimpleNamespace(backends=torch.backends, cuda=cuda)
        short = libraries.OnTorch(there, "cuda", tf32=True)
        assert torch.backends.cudnn.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32
        with pytest.raises(NotImplementedError, match="a way to compute with float32"):
            short.prepare(Task(SMALLEST.row, "forward", "float64"))
    finally:
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = flags[:2]
        torch.backends.cuda.matmul.allow_tf32 = flags[2]


def test_without_a_device_there_is_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(is_available=lambda: False))
    with pytest.raises(Missing, match="there is no CUDA device"):
        libraries.library("arrconv", "cuda")


def test_a_process_that_is_lost_is_started_again_but_not_for_ever() -> None:
    died, lost = RuntimeError("it ended"), {"lacks": "OSError: an illegal address", "is_lost": True}
    processes = [Dying({"seconds": 1.0}, died), Dying({"lacks": "refused"}, lost), Dying(died), Dying({"seconds": 1.0})]
    waiting = iter(processes)
    rival = Rival(lambda: next(waiting))  # type: ignore[arg-type, return-value]
    said = [rival.ask("time", 1.0).get("lacks") for _ in range(6)]
    assert LIVES == 3
    assert said[:5] == [None, "it ended", "refused", "OSError: an illegal address", "it ended"]
    assert said[5] == "not tried again after: it ended"
    assert [one.is_closed for one in processes] == [True, True, True, False]


def test_one_that_does_not_answer_is_not_asked_again() -> None:
    rival = Rival(lambda: Dying(Late("no answer within 1 s"), {"seconds": 1.0}))  # type: ignore[arg-type, return-value]
    assert rival.ask("time", 1.0)["lacks"] == "no answer within 1 s"
    assert rival.ask("time", 1.0)["lacks"] == "not tried again after: no answer within 1 s"


def test_a_process_measures_and_one_that_takes_too_long_is_ended() -> None:
    """A real one, of what NumPy can do."""
    there, missing = rivals.started("benchmarks.gpu.worker", ["copy", "arrconv:no such"], "cpu")
    assert not missing
    ((_, found),) = measure([SMALLEST], there, 1)
    assert found["copy"].seconds[0] > 0
    assert "'no such' is unknown" in found["arrconv:no such"].lacks
    session = there["copy"]._session
    assert session is not None
    with pytest.raises(Late, match="cpu copy: no answer within 0 s"):
        session.ask("time", 0.0, calls=10**6)
    assert session._process.wait(5) == -9
    for one in there.values():
        one.close()


def test_what_cannot_be_started_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(name: str, *_: Any, **__: Any) -> Any:
        if name == "cuda torch":
            raise Missing(f"{name}: No module named 'torch'")
        return Dying()

    monkeypatch.setattr(rivals, "Session", make)
    there, missing = rivals.started("a.module", ["copy", "torch"], "cuda")
    assert (list(there), missing) == (["copy"], {"torch": "No module named 'torch'"})


def test_sessions_are_ended_where_they_do_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peers.session.ENDING", 0.2)
    session = Session.__new__(Session)
    session._process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])  # type: ignore[assignment]
    session.close()
    assert session._process.returncode == -9
