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
            # The factors are of the transpose, which lies in memory as LAPACK has it, and need no copy.
            self._factors: Any = self._linalg.lu_factor(matrix.T, overwrite_a=True, check_finite=False)
        else:
            self._inverse = self._xp.linalg.inv(matrix) if matrix.shape[0] else matrix

    def solve(self, b: Array) -> Array:
        """The x with matrix·x = b, (n, columns)."""
        if self._linalg is not None:
            return self._linalg.lu_solve(self._factors, b, trans=1, check_finite=False)
        return self._xp.matmul(self._inverse, b)

    def solve_adjoint(self, b: Array) -> Array:
        """The x with (the conjugate of the matrix, with rows for columns)·x = b."""
        xp = self._xp
        is_complex = xp.isdtype(b.dtype, "complex floating")
        b = xp.conj(b) if is_complex else b
        if self._linalg is not None:
            x = self._linalg.lu_solve(self._factors, b, check_finite=False)
        else:
            x = xp.matmul(xp.matrix_transpose(self._inverse), b)
        return xp.conj(x) if is_complex else x


def _scipy(library: str) -> Any:
    """The module of LU factors, if it is installed."""
    if library not in _SCIPY:
        return None
    try:
        return import_module(_SCIPY[library])
    except ImportError:
        return None
