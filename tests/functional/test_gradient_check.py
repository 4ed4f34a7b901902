"""The check of gradients: right ones agree, wrong ones do not, however slightly."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest

from arrconv import GradientCheck, ShapeError, SpecError, check_gradient, conv, conv_backward

X = np.linspace(-2, 3, 12).reshape(3, 4)


def cube(x: Any) -> Any:
    return x**3 - 2 * x


def test_a_right_gradient_agrees() -> None:
    check = check_gradient(cube, lambda x, gy: gy * (3 * x**2 - 2), X)
    assert check
    assert str(check).startswith("the gradients agree")


@pytest.mark.parametrize("error", [1e-6, -1e-7, np.nan])
def test_an_error_in_one_element_is_found(error: float) -> None:
    spoilt = np.zeros_like(X)
    spoilt[1, 2] = error
    check = check_gradient(cube, lambda x, gy: gy * (3 * x**2 - 2) + spoilt, X)
    assert not check
    assert (check.argument, check.element) == (0, 6)
    assert "element 6 of argument 0" in str(check)


@pytest.mark.parametrize("function", [np.sin, np.exp, np.tanh, lambda x: 1e6 * np.cos(3 * x), lambda x: 1e-6 * x**5])
def test_smooth_functions_of_any_size_agree(function: Any) -> None:
    def gradient(x: Any, gy: Any) -> Any:
        h = 1e-20
        return gy * np.imag(function(x + 1j * h)) / h

    assert check_gradient(function, gradient, X)


def test_several_arguments_and_results_of_another_shape() -> None:
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 4, 5, 3)), rng.standard_normal((6, 2, 3, 2))
    options: dict[str, Any] = {"stride": (2, 1), "padding": (1, 0), "groups": 2}

    def gradient(x: Any, w: Any, gy: Any) -> Any:
        found = conv_backward(x, w, gy, needs=("input", "weight"), **options)
        return found.input, found.weight

    assert check_gradient(lambda x, w: conv(x, w, **options), gradient, x, w)
    assert not check_gradient(lambda x, w: conv(x, w, **options), lambda *a: tuple(2 * g for g in gradient(*a)), x, w)


def test_any_library_will_do() -> None:
    x = array_api_strict.asarray(X)
    assert check_gradient(cube, lambda x, gy: gy * (3 * x**2 - 2), x)


def test_nothing_has_no_gap() -> None:
    assert check_gradient(cube, lambda x, gy: gy * x, np.zeros((0, 2))) == GradientCheck(0.0, 0.0, 0, 0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: check_gradient(cube, cube), SpecError, "needs an array"),
        (lambda: check_gradient(cube, cube, X.astype(np.float32)), SpecError, "differences need float64"),
        (lambda: check_gradient(cube, lambda _, gy: gy, X, step=0), SpecError, "step must be above 0"),
        (lambda: check_gradient(cube, lambda _, gy: gy[0], X), ShapeError, r"gradient 0 has shape \(4,\)"),
        (
            lambda: check_gradient(cube, lambda _, gy: (gy, gy), X),
            ShapeError,
            "takes 1 arrays, but the gradient returned 2",
        ),
        (lambda: check_gradient(cube, lambda _, gy: gy, X, gy=X[0]), ShapeError, "gy has shape"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
