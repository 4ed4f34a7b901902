"""Losses: against their definitions in plain Python, PyTorch, and differences."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import array_api_strict
import numpy as np
import pytest

import arrconv
from arrconv import DTypeError, ShapeError, SpecError, check_gradient

RNG = np.random.default_rng(4)
SHAPE = (2, 3, 4, 5)
Z, P = RNG.standard_normal(SHAPE) * 2, RNG.uniform(0.05, 0.95, SHAPE)
T, BITS = RNG.standard_normal(SHAPE), RNG.integers(0, 2, SHAPE).astype(float)
CLASSES = RNG.integers(0, 3, (2, 4, 5))
SHARES = RNG.dirichlet(np.ones(3), (2, 4, 5)).transpose(0, 3, 1, 2).copy()
REDUCTIONS = ["mean", "pixel_mean", "sum", "none"]
LOSSES: dict[str, tuple[Any, Any, Any, Any]] = {
    # name: the loss, its backward pass, a prediction, a target
    "mse": (arrconv.mse_loss, arrconv.mse_loss_backward, Z, T),
    "l1": (arrconv.l1_loss, arrconv.l1_loss_backward, Z, T),
    "huber": (
        partial(arrconv.huber_loss, delta=0.7), partial(arrconv.huber_loss_backward, delta=0.7), Z, T
    ),
    "binary": (arrconv.binary_cross_entropy, arrconv.binary_cross_entropy_backward, P, BITS),
    "logits": (
        arrconv.binary_cross_entropy_with_logits, arrconv.binary_cross_entropy_with_logits_backward, Z, BITS
    ),
    "classes": (arrconv.softmax_cross_entropy, arrconv.softmax_cross_entropy_backward, Z, CLASSES),
    "shares": (arrconv.softmax_cross_entropy, arrconv.softmax_cross_entropy_backward, Z, SHARES),
}  # fmt: skip
TERMS: dict[str, Any] = {
    "mse": lambda p, t: (p - t) ** 2,
    "l1": lambda p, t: abs(p - t),
    "huber": lambda p, t: (p - t) ** 2 / 2 if abs(p - t) <= 0.7 else 0.7 * (abs(p - t) - 0.35),
    "binary": lambda p, t: -t * math.log(p) - (1 - t) * math.log(1 - p),
    "logits": lambda z, t: -t * math.log(1 / (1 + math.exp(-z))) - (1 - t) * math.log(1 - 1 / (1 + math.exp(-z))),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_the_backward_pass_is_the_gradient(name: str, reduction: Any) -> None:
    loss, backward, prediction, target = LOSSES[name]
    part = (slice(0, 1), slice(None), slice(0, 2), slice(0, 2))  # a few elements, each of which takes four calls
    prediction = prediction[part]
    target = target[part] if target.ndim == 4 else target[0:1, 0:2, 0:2]

    def gradient(p: Any, g: Any) -> Any:
        return backward(p, target, reduction=reduction, gl=g)

    check = check_gradient(lambda p: loss(p, target, reduction=reduction), gradient, prediction)
    assert check, str(check)


@pytest.mark.parametrize("name", TERMS)
def test_values_are_those_of_the_definition(name: str) -> None:
    loss, _, prediction, target = LOSSES[name]
    terms = [TERMS[name](p, t) for p, t in zip(prediction.ravel().tolist(), target.ravel().tolist(), strict=True)]
    assert loss(prediction, target, reduction="none").ravel() == pytest.approx(terms, rel=1e-12)
    for reduction, divisor in (("sum", 1), ("mean", 120), ("pixel_mean", 40)):
        assert float(loss(prediction, target, reduction=reduction)) == pytest.approx(sum(terms) / divisor, rel=1e-13)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_are_those_of_pytorch(name: str, reduction: Any) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    loss, backward, prediction, target = LOSSES[name]
    f = torch.nn.functional
    theirs = {
        "mse": f.mse_loss, "l1": f.l1_loss, "huber": partial(f.huber_loss, delta=0.7),
        "binary": f.binary_cross_entropy, "logits": f.binary_cross_entropy_with_logits,
        "classes": f.cross_entropy, "shares": f.cross_entropy,
    }[name]  # fmt: skip
    given = torch.tensor(prediction, requires_grad=True)
    value = theirs(given, torch.tensor(target), reduction=reduction)
    value.sum().backward()
    assert loss(prediction, target, reduction=reduction) == pytest.approx(value.detach().numpy(), rel=1e-13, abs=1e-15)
    assert backward(prediction, target, reduction=reduction) == pytest.approx(given.grad.numpy(), rel=1e-12, abs=1e-15)


def test_the_two_means_differ_by_the_channels() -> None:
    mean, of_pixels = (float(arrconv.mse_loss(Z, T, reduction=r)) for r in ("mean", "pixel_mean"))
    assert of_pixels == pytest.approx(3 * mean, rel=1e-15)
    gradients = [arrconv.mse_loss_backward(Z, T, reduction=r) for r in ("mean", "pixel_mean")]
    assert gradients[1] == pytest.approx(3 * gradients[0], rel=1e-15)


def test_certain_and_wrong_predictions_have_a_finite_loss() -> None:
    p, t = np.asarray([0.0, 1.0, 0.0, 1.0]), np.asarray([1.0, 0.0, 0.0, 1.0])
    with np.errstate(over="raise", invalid="raise", divide="raise", under="ignore"):
        assert arrconv.binary_cross_entropy(p, t, reduction="none").tolist() == [100.0, 100.0, 0.0, 0.0]
        assert np.isfinite(arrconv.binary_cross_entropy_backward(p, t)).all()
        huge = np.asarray([[1e4, -1e4]])
        assert arrconv.softmax_cross_entropy(huge, np.asarray([1])) == 2e4
    with np.errstate(over="raise", invalid="raise"):
        assert arrconv.binary_cross_entropy_with_logits(np.asarray([-1e4]), np.asarray([1.0])) == 1e4


@pytest.mark.parametrize("name", LOSSES)
def test_any_library_and_device_gives_the_same(name: str) -> None:
    loss, backward, prediction, target = LOSSES[name]
    device = array_api_strict.Device("device1")
    arrays = [array_api_strict.asarray(array, device=device) for array in (prediction, target)]
    value, gradient = loss(*arrays), backward(*arrays)
    assert value.device == gradient.device == device
    back = [
        np.asarray(array_api_strict.asarray(array, device=array_api_strict.Device("CPU_DEVICE")))
        for array in (value, gradient)
    ]
    assert back[0] == pytest.approx(loss(prediction, target), rel=1e-15)
    assert back[1] == pytest.approx(backward(prediction, target), rel=1e-15)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: arrconv.mse_loss(Z, T, reduction="median"),
            SpecError,
            "reduction='median' is unknown; there are",
        ),
        (lambda: arrconv.mse_loss(Z, T[:1]), ShapeError, "target has shape"),
        (lambda: arrconv.mse_loss(Z, T.astype(np.float32)), DTypeError, "must share one dtype"),
        (
            lambda: arrconv.l1_loss(np.ones(3), np.ones(3), reduction="pixel_mean"),
            ShapeError,
            r"needs \(N, C",
        ),
        (lambda: arrconv.huber_loss(Z, T, delta=0), SpecError, "delta must be above 0"),
        (lambda: arrconv.mse_loss_backward(Z, T, gl=np.ones(3)), ShapeError, "gl has shape"),
        (lambda: arrconv.softmax_cross_entropy(Z, CLASSES[:1]), ShapeError, "target has shape"),
        (lambda: arrconv.softmax_cross_entropy(Z, SHARES.astype(np.float32)), DTypeError, "must hold integers"),
        (lambda: arrconv.softmax_cross_entropy(Z[0, 0, 0], CLASSES), ShapeError, "prediction has shape"),
        (lambda: arrconv.softmax_cross_entropy(Z, array_api_strict.asarray(CLASSES)), DTypeError, "two libraries"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
