"""The same networks with the same weights in PyTorch: results, gradients and states, to the last bits of float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import arrconv
from arrconv import nn
from tests.nn.networks import denoiser, torch_denoiser, torch_unet, unet

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

NETWORKS: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "denoiser": (denoiser, lambda: torch_denoiser(torch), (4, 3, 16, 12)),
    "U-Net": (unet, lambda: torch_unet(torch), (2, 3, 8, 12)),
}


@pytest.fixture(params=NETWORKS)
def both(request: pytest.FixtureRequest) -> tuple[Any, Any, Any]:
    """A network, its twin with the same weights, and an input."""
    ours, theirs, shape = NETWORKS[request.param]
    net, twin = ours(), theirs().double()
    net.load_state_dict({name: value.numpy() for name, value in twin.state_dict().items()})
    return net, twin, np.random.default_rng(2).standard_normal(shape)


def close(ours: Any, theirs: Any, scale: float = 0.0) -> None:
    """Within a few roundings of the largest number, or of a larger one that sums to it."""
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert abs(ours - theirs).max() <= 64 * np.finfo(np.float64).eps * max(scale, abs(theirs).max())


def test_results_and_gradients_are_the_same(both: tuple[Any, Any, Any]) -> None:
    net, twin, x = both
    given = torch.tensor(x, requires_grad=True)
    y, expected = net.forward(x), twin(given)
    close(y, expected)
    target = np.random.default_rng(3).uniform(size=y.shape)
    torch.nn.functional.mse_loss(expected, torch.tensor(target)).backward()
    gx = net.backward(arrconv.mse_loss_backward(y, target))
    close(gx, given.grad)
    theirs = dict(twin.named_parameters())
    largest = max(float(parameter.grad.abs().max()) for parameter in theirs.values())
    for name, parameter in net.named_parameters():
        if parameter.is_learned:  # a bias before a normalisation has a gradient of zero, which is a sum of others
            close(parameter.grad, theirs[name].grad, largest)


def test_a_state_goes_there_and_back(both: tuple[Any, Any, Any]) -> None:
    net, twin, x = both
    net.forward(x)  # which moves the running means
    state = {name: torch.tensor(value) for name, value in net.state_dict().items()}
    missing, others = twin.load_state_dict(state, strict=False)
    assert not others
    assert all(name.endswith("num_batches_tracked") for name in missing)
    close(net.eval().forward(x), twin.eval()(torch.tensor(x)))


@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d", "Linear"])
def test_first_values_have_the_range_of_pytorchs(name: str) -> None:
    arguments = (40, 30) if name == "Linear" else (40, 30, 3)
    ours = getattr(nn, name)(*arguments).initialise(np, seed=0)
    theirs = getattr(torch.nn, name)(*arguments)
    for key, value in theirs.state_dict().items():
        most = float(value.abs().max())
        assert abs(ours.value(key)).max() == pytest.approx(most, rel=0.15)


def test_default_options_are_those_of_pytorch() -> None:
    x = np.random.default_rng(4).standard_normal((3, 4, 6, 8))
    for name, arguments in {
        "LeakyReLU": (), "Softplus": (), "MaxPool2d": (2,), "AvgPool2d": (2,), "BatchNorm2d": (4,),
        "GroupNorm": (2, 4), "Flatten": (), "Conv2d": (4, 6, 3), "ConvTranspose2d": (4, 6, 3), "ReLU": (), "Tanh": (),
    }.items():  # fmt: skip
        twin = getattr(torch.nn, name)(*arguments).double()
        layer = getattr(nn, name)(*arguments)
        layer.load_state_dict({key: value.numpy() for key, value in twin.state_dict().items()})
        assert layer.forward(x) == pytest.approx(twin(torch.tensor(x)).detach().numpy(), rel=1e-8, abs=1e-12), name
