"""Activations: their values against PyTorch and at the limits, their backward passes against differences."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest

import arrconv
from arrconv import DTypeError, ShapeError, SpecError, check_gradient

X = np.concatenate([np.linspace(-4, 4, 11) + 0.05, [-0.3, 0.7]]).reshape(1, 13)
EXTREME = np.asarray([-np.inf, -1e4, -800.0, -40.0, -1e-300, -0.0, 0.0, 1e-300, 40.0, 800.0, 1e4, np.inf])
PAIRS: dict[str, tuple[Any, Any]] = {
    "relu": (arrconv.relu, arrconv.relu_backward),
    "leaky_relu": (arrconv.leaky_relu, arrconv.leaky_relu_backward),
    "sigmoid": (arrconv.sigmoid, lambda x, gy: arrconv.sigmoid_backward(arrconv.sigmoid(x), gy)),
    "tanh": (arrconv.tanh, lambda x, gy: arrconv.tanh_backward(arrconv.tanh(x), gy)),
    "softplus": (arrconv.softplus, arrconv.softplus_backward),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_backward_pass_is_the_gradient(name: str) -> None:
    check = check_gradient(*PAIRS[name], X)
    assert check, str(check)


@pytest.mark.parametrize("name", PAIRS)
def test_values_and_gradients_are_those_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    forward, backward = PAIRS[name]
    x = np.concatenate([X.reshape(-1), EXTREME[1:-1]])
    gy = np.linspace(-1, 2, x.size)
    given = torch.tensor(x, requires_grad=True)
    y = getattr(torch.nn.functional, name)(given)
    y.backward(torch.tensor(gy))
    assert forward(x) == pytest.approx(y.detach().numpy(), rel=4e-16, abs=0 if name != "softplus" else 1e-16)
    # Softplus is a straight line above 20 in PyTorch, and its derivative 1.
    assert backward(x, gy) == pytest.approx(given.grad.numpy(), rel=1e-8 if name == "softplus" else 1e-13, abs=1e-300)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_number_overflows(dtype: str) -> None:
    x = EXTREME.astype(dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise", under="ignore"):
        y = arrconv.sigmoid(x)
        plus = arrconv.softplus(x)
    assert y.dtype == plus.dtype == dtype
    assert y.tolist()[:2] == [0.0, 0.0]
    assert y.tolist()[-3:] == [1.0, 1.0, 1.0]
    assert plus.tolist()[-3:] == x.tolist()[-3:]
    small = np.asarray([-700.0])
    assert arrconv.sigmoid(small) == pytest.approx(np.exp(small), rel=1e-15)  # not rounded away beside 1


@pytest.mark.parametrize("name", PAIRS)
def test_nan_stays_nan(name: str) -> None:
    x = np.asarray([np.nan, 1.0])
    assert np.isnan(PAIRS[name][0](x)).tolist() == [True, False]


def test_at_zero_nothing_is_let_through() -> None:
    x, gy = np.asarray([0.0, -0.0, 5e-324]), np.asarray([1.0, 2.0, 3.0])
    assert arrconv.relu_backward(x, gy).tolist() == [0.0, 0.0, 3.0]
    assert arrconv.leaky_relu_backward(x, gy, negative_slope=-0.5).tolist() == [-0.5, -1.0, 3.0]


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.7, 1.0, 1.5, -0.5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_leaky_relu_is_its_definition_bit_for_bit(slope: float, dtype: str) -> None:
    x = np.concatenate([X.ravel(), [0.0, -0.0, np.inf, -np.inf, 5e-324, -5e-324]]).astype(dtype)
    gy = np.linspace(-3, 3, x.size).astype(dtype)
    factor = np.asarray(slope, dtype)
    with np.errstate(invalid="ignore"):  # 0·inf
        found = arrconv.leaky_relu(x, negative_slope=slope)
        assert np.array_equal(found, np.where(x > 0, x, x * factor), equal_nan=True)
    found = arrconv.leaky_relu_backward(x, gy, negative_slope=slope)
    assert np.array_equal(found, np.where(x > 0, gy, gy * factor))
    assert found.dtype == x.dtype


@pytest.mark.parametrize("name", PAIRS)
def test_any_library_gives_the_same(name: str) -> None:
    forward, backward = PAIRS[name]
    x, gy = X[:, :5], X[:, 5:10]
    strict = [array_api_strict.asarray(array) for array in (x, gy)]
    assert np.array_equal(np.asarray(forward(strict[0])), forward(x))
    assert np.array_equal(np.asarray(backward(*strict)), backward(x, gy))


def test_another_device_is_never_left() -> None:
    device = array_api_strict.Device("device1")
    x = array_api_strict.asarray(X, device=device)
    for forward, backward in PAIRS.values():
        assert forward(x).device == device
        assert backward(x, x).device == device


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: arrconv.relu([1.0]), DTypeError, "x is a list, not an array"),
        (lambda: arrconv.relu(np.arange(3)), DTypeError, "x has dtype int64, but must hold real"),
        (lambda: arrconv.sigmoid(np.ones(3, complex)), DTypeError, "x has dtype complex128"),
        (lambda: arrconv.relu_backward(np.ones(3), np.ones(4)), ShapeError, r"gy has shape \(4,\), but x has \(3,\)"),
        (lambda: arrconv.tanh_backward(np.ones(3), np.ones(3, np.float32)), DTypeError, "must share one dtype"),
        (lambda: arrconv.leaky_relu(np.ones(3), negative_slope=np.inf), SpecError, "negative_slope must be finite"),
        (
            lambda: arrconv.leaky_relu(np.ones(3), negative_slope="steep"),
            SpecError,
            "must be a number, but got 'steep'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
