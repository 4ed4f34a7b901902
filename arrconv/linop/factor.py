"""Systems of equations with one matrix, prepared once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from arrconv._namespace import library_name, namespace_of

if TYPE_CHECKING:
    from arrconv._namespace import Array

_SCIPY = {"numpy": "scipy.linalg", "cupy": "cupyx.scipy.linalg"}


class Factored:
    """A square matrix, ready to solve with: its LU factors, where the library has them, or else its inverse.

    The standard of array libraries has no LU factors; SciPy's and CuPy's take a third of the time of an inverse.

    Args:
        matrix: (n, n), real or complex, which may be overwritten.
    """

    def __init__(self, matrix: Array) -> None:
        self._xp = namespace_of(matrix)
        self._linalg = _scipy(library_name(self._xp)) if matrix.shape[0] else None
        if self._linalg is not None:
            self._factors: Any = self._linalg.lu_factor(matrix, overwrite_a=True, check_finite=False)
        else:
            self._inverse = self._xp.linalg.inv(matrix) if matrix.shape[0] else matrix

    def solve(self, b: Array) -> Array:
        """The x with matrix·x = b, (n, columns)."""
        if self._linalg is not None:
            return self._linalg.lu_solve(self._factors, b, check_finite=False)
        return self._xp.matmul(self._inverse, b)

    def solve_adjoint(self, b: Array) -> Array:
        """The x with (the conjugate of the matrix, with rows for columns)·x = b."""
        if self._linalg is not None:
            return self._linalg.lu_solve(self._factors, b, trans=2, check_finite=False)
        back = self._xp.matrix_transpose(self._inverse)
        return self._xp.matmul(self._xp.conj(back) if self._xp.isdtype(b.dtype, "complex floating") else back, b)


def _scipy(library: str) -> Any:
    """The module of LU factors, if it is installed."""
    if library not in _SCIPY:
        return None
    try:
        return import_module(_SCIPY[library])
    except ImportError:
        return None
