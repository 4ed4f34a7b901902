"""The power iteration against singular value decompositions of matrices."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest

from arrconv import SpecError
from arrconv.linop import Conv, Diagonal, Identity, Matrix
from arrconv.linop.solve import power


def normal(*shape: int, dtype: str) -> Any:
    rng = np.random.default_rng(shape)
    real = rng.standard_normal(shape)
    return (real + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else real).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_the_largest_singular_value_and_its_vectors(dtype: str) -> None:
    operator = Conv(normal(3, 2, 2, 3, dtype=dtype), (4, 5), padding=1)
    a = operator.to_matrix().astype("complex128")
    found = power(operator, rtol=1e-4, check=9)
    unit = 50 * float(np.finfo(dtype).eps)
    assert found.is_converged
    assert found.message == f"converged after {found.iterations} iterations"
    assert found.iterations % 9 == 0
    first, second = np.linalg.svd(a)[1][:2]
    assert found.value == pytest.approx(first, rel=found.residual + unit)
    assert found.value > second
    u, v = found.left.reshape(-1).astype("complex128"), found.right.reshape(-1).astype("complex128")
    assert [np.linalg.norm(u), np.linalg.norm(v)] == pytest.approx([1, 1], abs=unit)
    assert np.abs(a @ v - found.value * u).max() <= unit * found.value
    residual = np.linalg.norm(a.conj().T @ (a @ v) - found.value**2 * v) / found.value**2
    assert found.residual == pytest.approx(residual, abs=unit)
    assert residual <= 1e-4 + unit


def test_it_says_where_it_did_not_arrive() -> None:
    operator = Diagonal(np.asarray([1.0, 0.999, 0.5]))
    found = power(operator, iterations=4)
    assert found.message == "stopped after 4 iterations, the most that were allowed"
    assert not found.is_converged
    assert found.residual > 1e-6
    assert 0.99 < found.value <= 1.0
    assert power(operator, iterations=0).iterations == 0


@pytest.mark.parametrize("operator", [Matrix(np.zeros((3, 2))), Identity((2, 0), np.zeros(0))], ids=["zero", "nothing"])
def test_an_operator_of_no_norm(operator: Any) -> None:
    found = power(operator)
    assert (found.value, found.residual, found.iterations) == (0.0, 0.0, 0)
    assert found.is_converged
    assert found.left.shape == operator.shape_out
    assert not found.left.any()


def test_any_library_and_device() -> None:
    device = array_api_strict.Device("device1")
    found = power(Matrix(array_api_strict.asarray(normal(4, 3, dtype="complex128"), device=device)))
    assert found.left.device == found.right.device == device
    assert found.value == pytest.approx(np.linalg.norm(normal(4, 3, dtype="complex128"), 2), rel=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: power(Diagonal(np.asarray([1.0, np.inf]))), "not finite, and no norm"),
        (lambda: power(Diagonal(np.ones(2)), rtol=-1), "rtol must not be negative"),
        (lambda: power(Diagonal(np.ones(2)), iterations=-1), "iterations must be at least 0"),
        (lambda: power(Diagonal(np.ones(2)), check=0), "check must be at least 1"),
    ],
)
def test_what_has_no_meaning_is_refused(call: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        call()
