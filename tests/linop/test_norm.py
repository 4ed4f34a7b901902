"""Bounds of the norm: they hold the norm of the matrix, and are near each other where that is promised."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest

from arrconv import ShapeError, SpecError
from arrconv.linop import CircularConv, Conv, Diagonal, Identity, Operator, gram_iteration, norm_bounds


def normal(*shape: int, dtype: str) -> Any:
    rng = np.random.default_rng(shape)
    real = rng.standard_normal(shape)
    return (real + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else real).astype(dtype)


OPERATORS: dict[str, Any] = {
    "zeros": lambda t: Conv(normal(3, 2, 3, 3, dtype=t), (7, 8), padding=1),
    "zeros, strided": lambda t: Conv(normal(3, 2, 3, 3, dtype=t), (9, 8), padding=1, stride=2),
    "reflected": lambda t: Conv(normal(2, 3, 3, dtype=t), (11,), padding=2, padding_mode="reflect"),
    "replicated": lambda t: Conv(normal(3, 3, dtype=t), (8, 9), padding=2, padding_mode="replicate"),
    "circular": lambda t: CircularConv(normal(2, 3, 3, dtype=t), (11,)),
    "circular, more outputs": lambda t: Conv(normal(2, 3, 2, dtype=t), (8,), padding=2, padding_mode="circular"),
    "adjoint": lambda t: Conv(normal(3, 2, 3, dtype=t), (14,), padding=1).H,
    "transpose": lambda t: Conv(normal(3, 2, 3, dtype=t), (14,), padding=1).T,
    "composition": lambda t: Conv(normal(3, 2, 3, dtype=t), (14,), padding=1).gram(),
    "diagonal": lambda t: Diagonal(np.asarray([1, 5, 3], t)),
    "zero": lambda t: Conv(np.zeros((2, 2), t), (4, 4)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("name", OPERATORS)
def test_bounds_hold_the_norm_of_the_matrix(name: str, dtype: str) -> None:
    operator: Operator = OPERATORS[name](dtype)
    exact = float(np.linalg.norm(operator.to_matrix().astype("complex128"), 2))
    found = norm_bounds(operator, rtol=1e-6)
    unit = 50 * np.finfo(dtype).eps
    assert found.low <= exact * (1 + unit)
    assert found.high >= exact * (1 - unit)
    assert found.low >= exact * (1 - 1e-3)
    if name not in ("composition", "diagonal"):
        assert np.isfinite(found.high)
    if name == "circular":
        assert found.low == found.high


def test_zero_padding_is_bracketed_closely_where_the_array_is_large() -> None:
    found = norm_bounds(Conv(normal(4, 4, 3, 3, dtype="float64"), (40, 41), padding=1))
    assert found.low <= found.high <= 1.005 * found.low


def test_bounds_of_nothing_and_of_what_is_not_finite() -> None:
    assert norm_bounds(Identity((0,), np.zeros(0))).high == 0.0
    for operator in (Conv(np.asarray([1.0, np.nan]), (3,)), Diagonal(np.asarray([1.0, np.inf]))):
        with pytest.raises(SpecError, match="not finite, and no norm"):
            norm_bounds(operator)
    with pytest.raises(SpecError, match="rtol must not be negative"):
        norm_bounds(Diagonal(np.ones(2)), rtol=-1)
    with pytest.raises(SpecError, match="iterations must be at least 1"):
        norm_bounds(Diagonal(np.ones(2)), iterations=0)


def test_any_library_and_device() -> None:
    w = array_api_strict.asarray(normal(3, 2, 3, dtype="float64"), device=array_api_strict.Device("device1"))
    found = norm_bounds(Conv(w, (14,), padding=1))
    expected = norm_bounds(Conv(normal(3, 2, 3, dtype="float64"), (14,), padding=1))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("shape", [(5, 3, 4), (2, 3, 6, 2), (3, 3), (4, 1, 1)])
def test_gram_iteration_brackets_the_largest_singular_value(shape: tuple[int, ...], dtype: str) -> None:
    matrices = 1e3 * normal(*shape, dtype=dtype)
    matrices[(0,) * len(shape[:-2])] *= 1e-30
    largest = np.linalg.svdvals(matrices).max()
    for rtol in (0.5, 1e-3):
        found = gram_iteration(matrices, rtol=rtol)
        slack = 1 + 100 * np.finfo(dtype).eps
        assert found.low <= largest * slack
        assert largest <= found.high * slack
        assert found.high <= (1 + rtol) * found.low * slack
    assert gram_iteration(matrices, iterations=0).iterations == 0
    assert gram_iteration(np.zeros((2, 3, 3), dtype)).high == 0.0
    assert gram_iteration(np.zeros((0, 3, 3), dtype)).high == 0.0
    with pytest.raises(SpecError, match="not finite"):
        gram_iteration(matrices * np.asarray(np.nan, dtype))
    with pytest.raises(ShapeError, match="has two axes or more"):
        gram_iteration(matrices[(0,) * (len(shape) - 1)])


def test_a_symbol_beyond_the_budget_is_not_made() -> None:
    """The bound from above is then that of the sums, for zeros as for periods."""
    w = normal(8, 8, 3, 3, dtype="float64")
    for mode in ("zeros", "circular"):
        operator = Conv(w, (40, 30), padding=1, padding_mode=mode)
        near, far = norm_bounds(operator), norm_bounds(operator, budget=1000)
        assert near.high < far.high < 10 * near.high
        assert far.low <= near.high * (1 + 1e-12)
