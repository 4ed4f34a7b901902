"""A training step on another library or device beside NumPy's: equal where it must be, within the bounds elsewhere.

CuPy's tests are marked `gpu`; array-api-strict's second device stands in for it elsewhere.
"""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest

from arrconv import error_bound, mse_loss_backward, nn
from arrconv.train import SGD, FreshPairs, Gaussian, Pairs, Poisson, dead_leaves, fit
from arrconv.train.networks import seed_network
from arrconv.train.pictures import carried, host

OTHERS = ["strict", pytest.param("cupy", marks=pytest.mark.gpu)]


class Other:
    """A library, and where its arrays are put."""

    def __init__(self, name: str) -> None:
        if name == "cupy":
            self.library = pytest.importorskip("cupy", reason="CuPy is not installed")
            if not self.library.cuda.is_available():
                pytest.skip("there is no CUDA device")
            self.device = None
        else:
            self.library, self.device = array_api_strict, array_api_strict.Device("device1")

    def copy_of(self, net: nn.Sequential, make: Any, dtype: str) -> nn.Sequential:
        """The same network there."""
        other: nn.Sequential = make().initialise(self.library, seed=1, dtype=dtype, device=self.device)
        other.load_state_dict(net.state_dict())
        return other


@pytest.mark.parametrize("name", OTHERS)
def test_one_step_lies_within_the_bounds_layer_by_layer(name: str) -> None:
    """Each layer is given the same numbers in both; both may err by what they may."""
    other = Other(name)
    net = seed_network(width=6).initialise(np, seed=3)
    twin = other.copy_of(net, lambda: seed_network(width=6), "float32")
    rng = np.random.default_rng(0)
    x, t = rng.random((2, 5, 3, 16, 12), np.float32)
    given = [x]
    for layer, its in zip(net, twin, strict=True):
        y = layer.forward(given[-1])
        found = host(its.forward(carried(given[-1], twin.example)))
        assert (np.abs(y.astype(float) - found) <= 2 * forward_bound(layer, given[-1], y)).all()
        given.append(y)
    gy = mse_loss_backward(given[-1], t)
    for layer, its, x in reversed(list(zip(net, twin, given, strict=False))):
        gx = layer.backward(gy)
        found = [host(its.backward(carried(gy, twin.example))), *(host(g) for _, g in its.param())]
        for mine, theirs, bound in zip(
            [gx, *(g for _, g in layer.param())], found, backward_bounds(layer, x, gy), strict=True
        ):
            assert (np.abs(mine.astype(float) - theirs) <= 2 * bound).all(), type(layer).__name__
        gy = gx


def forward_bound(layer: Any, x: Any, y: Any) -> Any:
    if isinstance(layer, nn.Conv | nn.ConvTranspose):
        member = "conv" if isinstance(layer, nn.Conv) else "conv_transpose"
        return error_bound(member, x, layer.value("weight"), layer.value("bias"), **layer.options)
    return 4.0 * np.spacing(y) if isinstance(layer, nn.Sigmoid) else 0.0


def backward_bounds(layer: Any, x: Any, gy: Any) -> list[Any]:
    if isinstance(layer, nn.Conv | nn.ConvTranspose):
        member = "conv_backward" if isinstance(layer, nn.Conv) else "conv_transpose_backward"
        bounds = error_bound(member, x, layer.value("weight"), gy, **layer.options)
        return [bounds.input, bounds.weight, bounds.bias]
    # gy·y·(1 − y), of which y may differ, too
    return [8 * np.finfo(np.float32).eps * np.abs(gy) if isinstance(layer, nn.Sigmoid) else 0.0]


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_of_integers_agrees_bit_for_bit(dtype: str, name: str) -> None:
    other = Other(name)

    def make() -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(5, 4, (2, 3), dilation=(1, 2)), nn.ReLU(),
            nn.Upsampling(4, 3, 2),
        )  # fmt: skip

    net, rng = make().initialise(np, seed=1, dtype=dtype), np.random.default_rng(2)
    net.load_state_dict({key: rng.integers(-3, 4, a.shape).astype(dtype) for key, a in net.state_dict().items()})
    twin = other.copy_of(net, make, dtype)
    x = rng.integers(-4, 5, (2, 3, 11, 14)).astype(dtype)
    y, found = net.forward(x), twin.forward(carried(x, twin.example))
    assert np.array_equal(host(found), y)
    gy = rng.integers(-2, 3, y.shape).astype(dtype)
    assert np.array_equal(host(twin.backward(carried(gy, twin.example))), net.backward(gy))
    for (_, mine), (_, theirs) in zip(net.param(), twin.param(), strict=True):
        assert np.array_equal(host(theirs), mine)
        assert np.abs(mine).max() > 0


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("noise", [Gaussian(0.2), Poisson(30)])
def test_fresh_noise_is_drawn_there(noise: Any, name: str) -> None:
    other = Other(name)
    like = other.library.zeros(0, dtype=other.library.float32, **({"device": other.device} if other.device else {}))
    pictures = np.full((4, 3, 64, 64), 128, np.uint8)
    x, t = FreshPairs(pictures, noise, seed=1, target="noisy").placed(like)(np.asarray([2, 0, 1]), 5)
    assert (type(x), x.dtype, x.shape) == (type(like), like.dtype, (3, 3, 64, 64))
    strength = 0.2 if isinstance(noise, Gaussian) else np.sqrt(128 / 255 / 30)
    for copy in (host(x), host(t)):
        errors = copy - 128 / 255
        assert abs(errors.mean()) <= 4 * strength / np.sqrt(errors.size)
        assert errors.std() == pytest.approx(strength, rel=4 / np.sqrt(2 * errors.size))
    assert abs(np.corrcoef(host(x).ravel(), host(t).ravel())[0, 1]) <= 4 / np.sqrt(errors.size)


@pytest.mark.gpu
def test_a_hundred_steps_are_reported_side_by_side() -> None:
    """They are not judged: no tolerance derives over a hundred steps at a rate of 10."""
    other = Other("cupy")
    pictures = dead_leaves(4, 64, seed=1).reshape(4, 3, 2, 32, 2, 32).swapaxes(3, 4).reshape(-1, 3, 32, 32)
    pairs = Pairs.noisy(np.concatenate([pictures] * 200)[:3200], Gaussian(0.1), seed=2)
    curves = []
    for library in (np, other.library):
        net, losses = seed_network().initialise(library, seed=0), []
        fit(net, SGD(net, lr=10.0), pairs, epochs=1, every=10, on_report=lambda r, to=losses: to.append(r.loss))
        curves.append(losses)
    for mine, theirs in zip(*curves, strict=True):
        print(f"{mine:.6f} {theirs:.6f}")
    assert all(np.isfinite(curve).all() for curve in curves)
