"""Captured training steps: the bits are those of eager ones, and what cannot be captured is refused.

On the CPU a stand-in for CuPy captures; tests that need a GPU are marked so.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from captures import CALLS, MemoryPool, Stream, captures, using_allocator
from stand_in import RAW, STANDARD, get, put, stand_in

from arrconv import SpecError, UnsupportedError, mse_loss, mse_loss_backward, nn
from arrconv._namespace import namespace_of
from arrconv.train import SGD, Adam, AdamW, Cosine, FreshPairs, Gaussian, Pairs, clip_gradients, fit
from arrconv.train.graph import CapturedStep, Recording
from arrconv.train.networks import seed_network, unet
from arrconv.train.pictures import host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOOKING = ("arrconv.train.pictures.carried", "arrconv.train.pictures.host", "arrconv.nn.layer.copied_like")
PICTURES = np.random.default_rng(0).integers(0, 256, (15, 3, 8, 12), dtype=np.uint8)
PAIRS, OTHERS = (Pairs.noisy(PICTURES[:count], Gaussian(0.1), seed=seed) for seed, count in ((0, 15), (1, 5)))
NETWORKS: dict[str, Callable[[], nn.Layer]] = {
    "seed": lambda: seed_network(width=4),
    "unet": lambda: unet(width=3, depth=1),
    "the others": lambda: nn.Sequential(
        nn.Conv2d(3, 4, (3, 1), padding="same", padding_mode="reflect"), nn.BatchNorm2d(4), nn.Tanh(), nn.MaxPool2d(2),
        nn.GroupNorm(2, 4), nn.Softplus(), nn.AvgPool2d(2), nn.Upsample(4), nn.ConvTranspose2d(4, 3, 3, padding=1),
        nn.Linear(12, 12),
    ),
}  # fmt: skip
OPTIMISERS: dict[str, Callable[[nn.Layer], SGD | Adam]] = {
    "SGD": lambda net: SGD(net, lr=0.5),
    "momentum": lambda net: SGD(net, lr=0.1, momentum=0.9, weight_decay=0.05),
    "Nesterov": lambda net: SGD(net, lr=0.1, momentum=0.8, nesterov=True),
    "Adam": lambda net: Adam(net, lr=0.02, weight_decay=0.1),
    "AdamW": lambda net: AdamW(net, lr=0.02, weight_decay=0.1),
}
CASES = [("seed", name) for name in OPTIMISERS] + [("unet", "Adam"), ("the others", "AdamW")]


@pytest.fixture(params=["stand-in", pytest.param("cupy", marks=pytest.mark.gpu)])
def library(request: Any) -> Iterator[Any]:
    if request.param == "stand-in":
        with stand_in(*LOOKING), captures():
            yield STANDARD
        return
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not cupy.is_available():
        pytest.skip("there is no CUDA device")
    yield cupy


@pytest.fixture
def device() -> Iterator[Any]:
    """The stand-in alone."""
    with stand_in(*LOOKING), captures():
        yield STANDARD


def state(net: nn.Layer, optimiser: SGD | Adam) -> dict[str, np.ndarray]:
    """All that a step moves."""
    arrays = {f"net {key}": host(value) for key, value in net.state_dict().items()}
    return arrays | {key: host(value) for key, value in optimiser.state_dict().items() if key != "steps"}


def bits(
    library: Any, name: str, make: Any, *, graph: bool, epochs: int = 3, pairs: Any = PAIRS, **options: Any
) -> Any:
    """What comes of three epochs of three batches and a short one: losses, two at a time, and the state."""
    net, losses = NETWORKS[name]().initialise(library, seed=3), list[float]()
    optimiser = make(net)
    settings: dict[str, Any] = {"schedule": Cosine(12, warmup=3), "clip": 0.05, "validation": OTHERS} | options
    progress = fit(
        net, optimiser, pairs, epochs=epochs, batch=4, every=2, graph=graph,
        on_report=lambda report: losses.append(report.loss), **settings,
    )  # fmt: skip
    found = {key: (array.dtype.name, array.tobytes()) for key, array in state(net, optimiser).items()}
    return losses, progress.history, optimiser.steps, optimiser.lr, found


@pytest.mark.parametrize(("name", "optimiser"), CASES)
def test_captured_steps_have_the_bits_of_eager_ones(library: Any, name: str, optimiser: str) -> None:
    eager, captured = (bits(library, name, OPTIMISERS[optimiser], graph=graph) for graph in (False, True))
    assert captured == eager


@pytest.mark.gpu
def test_noise_is_drawn_outside_of_graphs() -> None:
    """The stand-in has no generator."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not cupy.is_available():
        pytest.skip("there is no CUDA device")
    pairs = FreshPairs(PICTURES, Gaussian(0.1), seed=1)
    eager, captured = (bits(cupy, "unet", OPTIMISERS["Adam"], graph=graph, pairs=pairs) for graph in (False, True))
    assert captured == eager


def test_captured_steps_go_on_where_they_were_left(library: Any, tmp_path: Path) -> None:
    run = partial(bits, library, "seed", OPTIMISERS["Adam"], graph=True, folder=tmp_path)
    run(epochs=1)
    resumed = run(epochs=3, resume=True)
    assert resumed[1:] == bits(library, "seed", OPTIMISERS["Adam"], graph=False)[1:]


class Frozen(SGD):
    """Its rates are numbers, those of the last step that Python has seen."""

    def move(self, *_: Any) -> None:
        super().move(*self.seen)

    def rates(self) -> tuple[float, ...]:
        self.seen = super().rates()
        return self.seen


def test_a_number_that_a_graph_has_kept_is_seen(device: Any) -> None:
    make = lambda net: Frozen(net, lr=0.5)  # noqa: E731 - short, and used here alone
    eager, captured = (bits(device, "seed", make, graph=graph, clip=None) for graph in (False, True))
    assert captured[0][:3] == eager[0][:3]  # of the first epoch, of which no step is repeated
    assert captured != eager
    constant = {"clip": None, "schedule": None}
    eager, captured = (bits(device, "seed", make, graph=graph, **constant) for graph in (False, True))
    assert captured == eager  # at a constant rate there is nothing to see


@pytest.mark.parametrize("fault", ["_give", "_settle"])
def test_what_is_not_carried_to_its_place_is_seen(device: Any, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    eager = bits(device, "seed", OPTIMISERS["momentum"], graph=False)
    whole = getattr(CapturedStep, fault)
    monkeypatch.setattr(CapturedStep, fault, lambda self, *args: whole(self, *args) if self.eager else None)
    assert bits(device, "seed", OPTIMISERS["momentum"], graph=True) != eager


def gradients(net: nn.Layer, x: Any, t: Any) -> Any:
    net.zero_grad()
    y = net.forward(x)
    net.backward(mse_loss_backward(y, t), needs_input=False)
    clip_gradients(net, 1.0)
    return mse_loss(y, t)


def batch(library: Any, seed: int) -> tuple[Any, Any]:
    pictures = np.random.default_rng(seed).random((2, 4, 3, 8, 12), np.float32)
    x, t = (put(array) if library is STANDARD else library.asarray(array) for array in pictures)
    return x, t


def test_a_repeated_step_calls_for_little_more_than_its_products(device: Any) -> None:
    net = unet(width=3, depth=1).initialise(device, seed=0)
    step, calls = CapturedStep(partial(gradients, net), Adam(net), 4), list[int]()
    for number in range(6):
        before = CALLS[0]
        step(*batch(device, number))
        calls.append(CALLS[0] - before)
    assert step.recording is not None
    products = len(step.recording._pieces) // 2  # between graphs
    assert calls[3] == calls[4] == calls[5] <= products + 6
    assert calls[5] < calls[1] / 10


def small(*layers: nn.Layer) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 3, 1), *layers)


def test_arrays_that_a_network_was_given_are_not_written_to(library: Any) -> None:
    net, other = small(), small().initialise(library, seed=0)
    given = dict(other.state_dict())
    net.load_state_dict(given)
    before = {key: host(value).copy() for key, value in given.items()}
    step = CapturedStep(partial(gradients, net), SGD(net, lr=0.1), 4)
    for number in range(4):
        step(*batch(library, number))
    assert all(np.array_equal(host(given[key]), before[key]) for key in given)
    assert not any(np.array_equal(host(value), before[key]) for key, value in net.state_dict().items())


class Late(SGD):
    """Takes the learning rate as it moves."""

    def move(self, *_: Any) -> None:
        super().move(self.lr)


class Own(SGD):
    """Does not move by its rates."""

    def step(self) -> None:
        self.steps += 1


class More(SGD):
    """Remembers something from the third step on."""

    def move(self, *rates: Any) -> None:
        super().move(*rates)
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > 2:
            self.memory["0.weight"]["late"] = self.net.example * 2


class Looking(nn.ReLU):
    """Has the host wait."""

    def forward(self, x: Any) -> Any:
        assert float(x[0, 0, 0, 0]) == float(x[0, 0, 0, 0])
        return super().forward(x)


class Carrying(nn.ReLU):
    """Brings something from the host."""

    def forward(self, x: Any) -> Any:
        return super().forward(x + namespace_of(x).asarray(np.float32(1)))


def test_what_is_seen_before_is_refused_at_once(library: Any) -> None:
    net = small().initialise(np, seed=0)
    with pytest.raises(UnsupportedError, match="need a network of CuPy arrays, but its arrays are of numpy"):
        fit(net, SGD(net, lr=1.0), PAIRS, epochs=1, graph=True)
    net = small(nn.Dropout(0.5)).initialise(library, seed=0)
    with pytest.raises(UnsupportedError, match="Dropout counts its passes"):
        fit(net, SGD(net, lr=1.0), PAIRS, epochs=1, graph=True)
    net = small().initialise(library, seed=0)
    with pytest.raises(UnsupportedError, match="Own has a step of its own"):
        fit(net, Own(net, lr=1.0), PAIRS, epochs=1, graph=True)


@pytest.mark.parametrize(
    ("layer", "optimiser", "error", "message"),
    [
        (nn.ReLU, Late, UnsupportedError, "learning rate or the number of the step from elsewhere"),
        (nn.ReLU, More, SpecError, "remembers other things"),
        (Looking, SGD, UnsupportedError, "cannot be captured.*captur"),
        (Carrying, SGD, UnsupportedError, "cannot be captured.*captur"),
    ],
)
def test_what_is_seen_in_a_capture_is_refused_and_nothing_has_happened(
    library: Any, layer: Any, optimiser: Any, error: Any, message: str
) -> None:
    names = [f"{__name__}.{kind.__name__}.forward" for kind in (Looking, Carrying)]
    with stand_in(*LOOKING, *names) if library is STANDARD else nullcontext():
        net = small(layer()).initialise(library, seed=0)
        moving = optimiser(net, lr=0.1, momentum=0.9)
        step = CapturedStep(partial(gradients, net), moving, 4)
        for number in range(2):
            step(*batch(library, number))
        before = state(net, moving)
        with pytest.raises(error, match=message):
            step(*batch(library, 2))
        after = state(net, moving)
        assert after.keys() == before.keys()
        assert all(np.array_equal(after[key], before[key]) for key in before)
        assert (moving.steps, moving.lr) == (2, 0.1)
        assert float(host(net.forward(batch(library, 2)[0]).sum())) > 0  # outside of the capture all is as it was


def test_products_that_make_their_result_are_repeated_into_it(library: Any) -> None:
    net = nn.Sequential(nn.Linear(12, 5), nn.Linear(5, 12)).initialise(library, seed=0)
    x, found = batch(library, 0)[0], list[Any]()
    net.forward(x) * 2  # compiles
    recording = Recording(
        RAW.cuda if library is STANDARD else library.cuda, lambda: found.append(net.eval().forward(x) * 2)
    )
    for number in range(1, 3):
        x[...] = batch(library, number)[0]
        recording.replay()
        assert np.array_equal(host(found[0]), host(net.forward(x) * 2))


def test_the_stand_in_does_nothing_while_it_captures(device: Any) -> None:
    a, pool, stream = put(np.arange(6.0).reshape(2, 3)), MemoryPool(), Stream(non_blocking=True)
    RAW.cuda.get_current_stream().synchronize()
    with stream, using_allocator(pool.malloc):
        stream.begin_capture()
        b = a[1:, ::2]
        c = device.reshape(b + 1, (2,))
        a[...] = a * 2
        a += 1
        with pytest.raises(NotImplementedError, match="cuBLAS API during stream capture"):
            device.matmul(a, a)
        graph = stream.end_capture()
    assert np.array_equal(get(a), np.arange(6.0).reshape(2, 3))
    assert np.isnan(get(c)).all()
    graph.launch()
    assert np.array_equal(get(c), [4, 6])
    assert np.array_equal(get(a), [[1, 3, 5], [7, 9, 11]])
    graph.launch()
    assert np.array_equal(get(c), [8, 12])
    assert np.array_equal(get(b), [[15, 23]])  # a view sees what comes to its memory
    del pool
    with pytest.raises(AssertionError, match="memory of the graph has been given back"):
        graph.launch()


def test_the_stand_in_finds_what_a_device_would_take(device: Any) -> None:
    a, stream = put(np.arange(3.0)), Stream(non_blocking=True)
    with pytest.raises(RuntimeError, match="legacy"):
        RAW.cuda.get_current_stream().begin_capture()
    device.sum(a)
    with pytest.raises(AssertionError, match="may come too late"):
        stream.__enter__()
    RAW.cuda.get_current_stream().synchronize()
    with stream:
        stream.begin_capture()
        with pytest.raises(AssertionError, match="others may be given this memory"):
            device.sum(a)
        with pytest.raises(RuntimeError, match=r"capturing, so get\(\) is disallowed"):
            a.get()
        stream.end_capture()
    with pytest.raises(AssertionError, match="does not wait"), stream:
        device.sum(a)
    stream.synchronize()
    stream.__exit__()
