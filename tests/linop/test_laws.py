"""What is the transpose of a circular convolution? The right answer passes each check; the usual wrong ones fail."""

from __future__ import annotations

import math
from typing import Any

import array_api_strict
import numpy as np
import pytest

from arrconv import SpecError
from arrconv.linop import CircularConv, DotTest, adjoint_gap, dot_test, linearity_gap
from arrconv.linop.laws import LIMIT, random_like

DTYPES = ("float32", "float64", "complex64", "complex128")


def kernel(n: int, dtype: str) -> Any:
    """Not symmetric, zero but for small regions near the corners."""
    rng = np.random.default_rng(n)
    k = np.zeros((n, n), dtype)
    for rows in (slice(0, 4), slice(n - 3, n)):
        for columns in (slice(0, 2), slice(n - 4, n)):
            part = k[rows, columns]
            part[...] = rng.standard_normal(part.shape)
            if dtype.startswith("complex"):
                part[...] += 1j * rng.standard_normal(part.shape)
    return k


def matrix(k: Any) -> Any:
    """Its circular convolution's: each column is the kernel, rolled to where the column's element lies."""
    return np.stack([np.roll(k, at, axis=range(k.ndim)).ravel() for at in np.ndindex(*k.shape)], axis=1)


def adjoint_kernel(k: Any) -> Any:
    """Flipped, shifted by one, conjugated: the element t goes to −t mod n."""
    axes = tuple(range(k.ndim))
    return np.roll(np.flip(k, axes), 1, axes).conj()


def test_the_matrix_of_one_dimension() -> None:
    rng = np.random.default_rng(0)
    k = rng.standard_normal(256) + 1j * rng.random(256)
    operator, expected = CircularConv(k), matrix(k)
    size = np.abs(k).sum()
    assert np.abs(operator.to_matrix() - expected).max() <= 4e-16 * size
    assert np.abs(operator.H.to_matrix() - expected.conj().T).max() <= 4e-16 * size
    assert np.abs(operator.T.to_matrix() - expected.T).max() <= 4e-16 * size
    assert np.abs(CircularConv(adjoint_kernel(k)).to_matrix() - expected.conj().T).max() <= 4e-16 * size
    assert np.array_equal(matrix(adjoint_kernel(k)), expected.conj().T)  # without a Fourier transform: exactly


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_matrix_of_two_dimensions(dtype: str) -> None:
    k = kernel(16, dtype)
    expected, unit = matrix(k), np.finfo(dtype).eps * np.abs(k).sum()
    for operator, right in (
        (CircularConv(k), expected),
        (CircularConv(k).H, expected.conj().T),
        (CircularConv(k).T, expected.T),
        (CircularConv(adjoint_kernel(k)), expected.conj().T),
    ):
        assert np.abs(operator.to_matrix() - right).max() <= 2 * unit


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_adjoint_of_a_million_elements_passes(dtype: str) -> None:
    found = dot_test(CircularConv(kernel(1024, dtype)), rounds=1)
    assert found
    assert found.largest <= 1.0  # what correct ones stay below


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [16, 256])
def test_the_right_adjoint_passes_and_the_usual_wrong_ones_fail(n: int, dtype: str) -> None:
    k = kernel(n, dtype)
    operator, unit = CircularConv(k), float(np.finfo(dtype).eps)
    assert dot_test(operator)
    u, v = (random_like(k, (n, n), 7, side) for side in (0, 1))
    gap: Any = lambda other: adjoint_gap(operator.apply, CircularConv(other).apply, u, v) / unit  # noqa: E731
    assert gap(adjoint_kernel(k)) <= LIMIT
    assert gap(np.flip(k).conj()) > 100 * LIMIT  # without the shift
    assert gap(np.rot90(k).conj()) > 100 * LIMIT  # turned by a quarter
    assert gap(np.roll(np.flip(k, 0), 1, 0).conj()) > 100 * LIMIT  # one axis forgotten
    if dtype.startswith("complex"):
        assert gap(adjoint_kernel(k).conj()) > 100 * LIMIT  # the transpose
        assert adjoint_gap(operator.apply, operator.T.apply, u, v) / unit > 100 * LIMIT


def test_a_gap_does_not_depend_on_how_large_the_product_happens_to_be() -> None:
    """Relative to |⟨A u, v⟩|, which nearly cancels here, the error of a correct operator would look like a fault."""
    rng = np.random.default_rng(3)
    operator = CircularConv(rng.standard_normal((64, 64)).astype("float32"))
    u = rng.standard_normal((64, 64)).astype("float32")
    image = operator @ u
    v = rng.standard_normal((64, 64)).astype("float32")
    v -= image * (np.vdot(image, v) / np.vdot(image, image))
    unit = float(np.finfo("float32").eps)
    assert adjoint_gap(operator.apply, operator.H.apply, u, v) <= unit
    left = np.vdot(image.astype(float), v.astype(float))
    right = np.vdot(u.astype(float), operator.H.apply(v).astype(float))
    assert abs(left - right) / abs(left) > 10 * unit


def test_gaps_of_nothing_and_of_nan() -> None:
    nothing = np.zeros((0,))
    assert adjoint_gap(lambda x: x, lambda y: y, nothing, nothing) == 0.0
    assert linearity_gap(lambda x: x, nothing, nothing) == 0.0
    assert math.isnan(adjoint_gap(lambda x: x * np.nan, lambda y: y, np.ones(3), np.ones(3)))
    assert not DotTest((0.1, math.nan))
    assert DotTest(())
    with pytest.raises(SpecError, match="rounds must be at least 1"):
        dot_test(CircularConv(np.ones(3)), rounds=0)


def test_gaps_of_arrays_of_any_library() -> None:
    w = array_api_strict.asarray([1.0, 2.0, 3.0], device=array_api_strict.Device("device1"))
    assert adjoint_gap(lambda x: w * x, lambda y: w * y, w, w + 1) == 0.0
    assert linearity_gap(lambda x: w * x, w, w + 1) <= 1e-16
