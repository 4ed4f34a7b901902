"""Operators in SciPy: the same matrix, and its solvers find what ours find."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any

import array_api_strict
import numpy as np
import pytest

from arrconv import UnsupportedError
from arrconv.linop import CircularConv, Conv, Downsample, Identity, Operator, to_scipy, to_sparse
from arrconv.linop.solve import lsmr


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_scipy_takes_the_operator(dtype: str) -> None:
    linalg = pytest.importorskip("scipy.sparse.linalg", reason="scipy is not installed")
    rng = np.random.default_rng(0)
    w = rng.standard_normal((3, 2, 3, 2)).astype(dtype)
    operator = Conv(w + 1j * w[::-1] if dtype == "complex128" else w, (4, 5), padding=1)
    bridged, matrix = to_scipy(operator), operator.to_matrix()
    assert (bridged.shape, bridged.dtype) == (matrix.shape, matrix.dtype)
    assert np.allclose(bridged @ np.eye(matrix.shape[1], dtype=dtype), matrix, rtol=0, atol=1e-14)
    assert np.allclose(bridged.H @ np.eye(matrix.shape[0], dtype=dtype), matrix.conj().T, rtol=0, atol=1e-14)
    b = rng.standard_normal(matrix.shape[0]).astype(dtype)
    found = linalg.lsmr(bridged, b, atol=1e-13, btol=1e-13, maxiter=1000)[0]
    own = lsmr(operator, b.reshape(operator.shape_out), rtol=1e-12).x
    assert np.allclose(found, own.ravel(), rtol=0, atol=1e-9)


OPERATORS: dict[str, Any] = {
    "zeros": lambda w: Conv(w, (4, 7), padding=((1, 0), (2, 3)), stride=(1, 2), dilation=(1, 2), groups=2),
    "cropped": lambda w: Conv(w, (6, 7), padding=((-1, 0), (2, -1)), groups=2),
    "circular": lambda w: Conv(w, (3, 4), padding=5, groups=2, padding_mode="circular"),
    "reflected": lambda w: Conv(w, (3, 4), padding=(2, 3), groups=2, padding_mode="reflect"),
    "adjoint": lambda w: Conv(w, (4, 5), groups=2).H,
    "transpose": lambda w: Conv(w, (4, 5), groups=2).T,
    "conjugate": lambda w: Conv(w, (4, 5), groups=2).conj(),
    "circulant": lambda w: CircularConv(w, (5, 4), origin="centre"),
    "composition": lambda w: Downsample((6, 4), (2,), w) @ Conv(w[0, 0], (7, 5)),
    "no outputs": lambda w: Conv(w, (2, 1), groups=2),
    "no inputs": lambda w: Conv(w, (0, 4), padding=2, groups=2),
    "no channels, no axes": lambda w: Conv(w[0, 0, 0, 0], ()),
}


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("name", OPERATORS)
def test_sparse_matrices_are_the_full_ones(name: str, dtype: str) -> None:
    """In small whole numbers, so that they are equal; those of circulants, too, whatever the transform rounds."""
    pytest.importorskip("scipy.sparse", reason="scipy is not installed")
    numbers = np.random.default_rng(1).integers(1, 9, (2, 4, 3, 2, 2))
    operator: Operator = OPERATORS[name]((numbers[0] + (1j * numbers[1] if dtype == "complex128" else 0)).astype(dtype))
    found, expected = to_sparse(operator), operator.to_matrix()
    assert found.format == "csr"
    assert found.dtype == dtype
    assert np.array_equal(found.toarray(), expected)
    assert found.nnz == np.count_nonzero(expected)


def test_the_sparse_matrix_of_a_large_convolution_takes_the_memory_of_its_taps() -> None:
    pytest.importorskip("scipy.sparse", reason="scipy is not installed")
    operator = Conv(np.ones((2, 3, 3, 3)), (100, 120), padding=1)
    tracemalloc.start()
    try:
        found = to_sparse(operator)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.shape == (24_000, 36_000)
    assert found.nnz == 2 * 3 * (3 * 100 - 2) * (3 * 120 - 2)
    assert peak <= 100 * found.nnz
    x = np.random.default_rng(0).standard_normal(operator.shape_in)
    assert np.allclose(found @ x.ravel(), (operator @ x).ravel(), rtol=0, atol=1e-12)


def test_what_scipy_cannot_take_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedError, match="but not array_api_strict's"):
        to_scipy(Identity((2,), array_api_strict.zeros(0)))
    with pytest.raises(UnsupportedError, match="but not array_api_strict's"):
        to_sparse(Identity((2,), array_api_strict.zeros(0)))
    monkeypatch.setitem(sys.modules, "scipy.sparse.linalg", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'arrconv\[scipy\]'"):
        to_scipy(Identity((2,), np.zeros(0)))
