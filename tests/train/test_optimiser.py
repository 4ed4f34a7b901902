"""Optimisers: the same steps as PyTorch's, states that go on where they were left, schedules and clipping."""

from __future__ import annotations

import math
from typing import Any

import array_api_strict
import numpy as np
import pytest

import arrconv
from arrconv import ShapeError, SpecError, nn
from arrconv.train import SGD, Adam, AdamW, Constant, Cosine, StepDecay, clip_gradients

OPTIMISERS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "SGD": (SGD, {"lr": 0.1}),
    "momentum": (SGD, {"lr": 0.1, "momentum": 0.9}),
    "Nesterov": (SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    "decay": (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}),
    "Adam": (Adam, {"lr": 0.02}),
    "Adam, decay": (Adam, {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    "AdamW": (AdamW, {"lr": 0.02, "weight_decay": 0.1}),
}
X, T = (np.random.default_rng(seed).standard_normal(shape) for seed, shape in ((1, (6, 4, 9)), (2, (6, 2, 9))))


def network(library: Any = np, dtype: str = "float64") -> nn.Sequential:
    net = nn.Sequential(nn.Conv1d(4, 5, 3, padding=1), nn.Tanh(), nn.BatchNorm1d(5), nn.Conv1d(5, 2, 1))
    return net.initialise(library, seed=1, dtype=dtype)


def pass_through(net: nn.Sequential, x: Any = X, t: Any = T) -> Any:
    net.zero_grad()
    y = net.forward(x)
    net.backward(arrconv.mse_loss_backward(y, t), needs_input=False)
    return arrconv.mse_loss(y, t)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_are_those_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    kind, options = OPTIMISERS[name]
    net = network()
    twin = torch.nn.Sequential(
        torch.nn.Conv1d(4, 5, 3, padding=1), torch.nn.Tanh(), torch.nn.BatchNorm1d(5), torch.nn.Conv1d(5, 2, 1)
    ).double()
    twin.load_state_dict({key: torch.tensor(value) for key, value in net.state_dict().items()}, strict=False)
    ours, theirs = kind(net, **options), getattr(torch.optim, kind.__name__)(twin.parameters(), **options)
    for _ in range(12):
        pass_through(net)
        ours.step()
        theirs.zero_grad()
        torch.nn.functional.mse_loss(twin(torch.tensor(X)), torch.tensor(T)).backward()
        theirs.step()
    for key, value in net.state_dict().items():
        assert value == pytest.approx(twin.state_dict()[key].numpy(), rel=1e-9, abs=1e-11), key


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_state_goes_on_where_it_was_left(name: str) -> None:
    kind, options = OPTIMISERS[name]
    net, other = network(), network()
    first = kind(net, **options)
    for _ in range(3):
        pass_through(net)
        first.step()
    other.load_state_dict(net.state_dict())
    second = kind(other, **options)
    second.load_state_dict(first.state_dict())
    for _ in range(3):
        for one, optimiser in ((net, first), (other, second)):
            pass_through(one)
            optimiser.step()
    assert second.steps == first.steps == 6
    for key, value in net.state_dict().items():
        assert np.array_equal(value, other.state_dict()[key])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_loss_falls(name: str) -> None:
    kind, options = OPTIMISERS[name]
    net = network(dtype="float32")
    x, t = X.astype(np.float32), T.astype(np.float32)
    optimiser = kind(net, **options)
    before = float(pass_through(net, x, t))
    for _ in range(30):
        optimiser.step()
        optimiser.zero_grad()
        after = float(pass_through(net, x, t))
    assert after < 0.9 * before
    assert all(value.dtype == np.float32 for value in net.state_dict().values())


@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_stay_on_their_device(name: str) -> None:
    kind, options = OPTIMISERS[name]
    device = array_api_strict.Device("device1")
    x, t = (array_api_strict.asarray(array, device=device) for array in (X, T))
    net = nn.Sequential(nn.Conv1d(4, 2, 1)).initialise(array_api_strict, seed=1, dtype="float64", device=device)
    optimiser = kind(net, **options)
    for _ in range(2):
        pass_through(net, x, t)
        clip_gradients(net, 0.1)
        optimiser.step()
    assert all(value.device == device for value in net.state_dict().values())
    assert all(array.device == device for key, array in optimiser.state_dict().items() if key != "steps")


def test_what_has_no_gradient_stays() -> None:
    net = network()
    before = dict(net.state_dict())
    SGD(net, lr=1.0, weight_decay=0.5).step()
    assert all(value is before[key] for key, value in net.state_dict().items())


@pytest.mark.parametrize("most", [0.01, 1e3])
def test_clipped_gradients_keep_their_direction(most: float) -> None:
    net = network()
    pass_through(net)
    before = [g.copy() for _, g in net.param()]
    norm = math.sqrt(sum(float((g**2).sum()) for g in before))
    assert float(clip_gradients(net, most)) == pytest.approx(norm, rel=1e-14)
    factor = min(1.0, most / (norm + 1e-6))
    for (_, g), old in zip(net.param(), before, strict=True):
        assert g == pytest.approx(old * factor, rel=1e-14, abs=1e-300)


def test_schedules_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for ours, make in (
        (Cosine(total=20, final=0.1), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20, eta_min=0.1)),
        (StepDecay(every=7, factor=0.3), lambda o: torch.optim.lr_scheduler.StepLR(o, 7, gamma=0.3)),
        (Constant(), lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1.0)),
    ):
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        theirs = make(optimiser)
        for step in range(20):
            assert ours(step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12), (ours, step)
            optimiser.step()
            theirs.step()


def test_a_warm_up_rises_in_a_straight_line() -> None:
    schedule = Cosine(total=10, warmup=4)
    assert [schedule(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert schedule(10) == schedule(100) == 0.0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: SGD(network(), lr=-1), SpecError, "lr must not be negative, but got -1"),
        (lambda: SGD(network(), lr=math.nan), SpecError, "lr must be finite"),
        (lambda: SGD(network(), lr=1, nesterov=True), SpecError, "nesterov needs a momentum above 0"),
        (lambda: Adam(network(), betas=(0.9, 1.0)), SpecError, "betas must be two numbers below 1"),
        (lambda: AdamW(network(), weight_decay=-0.1), SpecError, "weight_decay must not be negative"),
        (lambda: clip_gradients(network(), 1.0), ShapeError, "there is no gradient to clip"),
        (lambda: clip_gradients(network(), 0.0), SpecError, "most must be above 0"),
        (lambda: StepDecay(every=0), SpecError, "every must be at least 1"),
        (lambda: Cosine(total=5, warmup=5), SpecError, "warmup must be below total=5, but got 5"),
        (
            lambda: SGD(network(), 1).load_state_dict({"steps": 1, "9.weight.velocity": X}),
            SpecError,
            "no parameter",
        ),
        (
            lambda: SGD(network(), 1).load_state_dict({"steps": 1, "0.bias.velocity": X}),
            ShapeError,
            "bias.velocity",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
