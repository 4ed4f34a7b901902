"""Operators for the solvers of SciPy, and of CuPy where arrays are CuPy's."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from arrconv._namespace import library_name
from arrconv.errors import UnsupportedError

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator

_MODULES = {"numpy": "scipy.sparse.linalg", "cupy": "cupyx.scipy.sparse.linalg"}


def to_scipy(operator: Operator, /) -> Any:
    """The operator as a `LinearOperator` between lists of numbers, in the order of `reshape`.

    Args:
        operator: of NumPy arrays, for SciPy (and what takes its operators, such as PyLops), or of CuPy's, for CuPy.

    Returns:
        A `scipy.sparse.linalg.LinearOperator`, or CuPy's, of shape (size_out, size_in).

    Raises:
        UnsupportedError: the arrays are of another library, or SciPy is not installed.
    """
    library = library_name(operator.xp)
    if library not in _MODULES:
        raise UnsupportedError(f"SciPy's operators take NumPy's arrays, and CuPy's those of CuPy, but not {library}'s")
    try:
        linalg = import_module(_MODULES[library])
    except ImportError:
        raise UnsupportedError(f"{_MODULES[library]} is needed: pip install 'arrconv[scipy]'") from None

    def columns(own: Operator, vectors: Array) -> Array:
        """Of (size_in, columns): each column mapped."""
        xp = own.xp
        given = xp.reshape(xp.matrix_transpose(vectors), (vectors.shape[1], *own.shape_in))
        return xp.matrix_transpose(xp.reshape(own.apply(given), (vectors.shape[1], own.size_out)))

    def one(own: Operator, vector: Array) -> Array:
        return own.xp.reshape(own.apply(own.xp.reshape(vector, own.shape_in)), (-1,))

    adjoint = operator.H
    return linalg.LinearOperator(
        (operator.size_out, operator.size_in), dtype=operator.dtype,
        matvec=lambda v: one(operator, v), rmatvec=lambda v: one(adjoint, v),
        matmat=lambda m: columns(operator, m), rmatmat=lambda m: columns(adjoint, m),
    )  # fmt: skip
