"""Operators in SciPy: the same matrix, and its solvers find what ours find."""

from __future__ import annotations

import sys

import array_api_strict
import numpy as np
import pytest

from arrconv import UnsupportedError
from arrconv.linop import Conv, Identity, to_scipy
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


def test_what_scipy_cannot_take_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedError, match="but not array_api_strict's"):
        to_scipy(Identity((2,), array_api_strict.zeros(0)))
    monkeypatch.setitem(sys.modules, "scipy.sparse.linalg", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'arrconv\[scipy\]'"):
        to_scipy(Identity((2,), np.zeros(0)))
