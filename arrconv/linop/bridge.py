"""Operators for the solvers of SciPy, and their sparse matrices; of CuPy where arrays are CuPy's."""

from __future__ import annotations

import math
from importlib import import_module
from typing import TYPE_CHECKING, Any

from arrconv._namespace import library_name
from arrconv.errors import UnsupportedError
from arrconv.linop.circular import Circulant, differences, unravelled
from arrconv.linop.convolution import Conv
from arrconv.linop.operator import Adjoint, Conjugate

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator

    Entries = tuple[Array, ...]

_MODULES = {"numpy": "scipy.sparse", "cupy": "cupyx.scipy.sparse"}
_AT_ONCE = 2**24  # numbers of a matrix that are looked through together


def to_scipy(operator: Operator, /) -> Any:
    """The operator as a `LinearOperator` between lists of numbers, in the order of `reshape`.

    Args:
        operator: of NumPy arrays, for SciPy (and what takes its operators, such as PyLops), or of CuPy's, for CuPy.

    Returns:
        A `scipy.sparse.linalg.LinearOperator`, or CuPy's, of shape (size_out, size_in).

    Raises:
        UnsupportedError: the arrays are of another library, or SciPy is not installed.
    """
    linalg = _module(operator, ".linalg")

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


def to_sparse(operator: Operator, /) -> Any:
    """The matrix of an operator, without its zeros.

    That of a convolution or of a circulant is made tap by tap, in the memory that its numbers need; that of another
    operator, of parts of the full matrix.

    Args:
        operator: of NumPy arrays, for SciPy, or of CuPy's, for CuPy.

    Returns:
        A `scipy.sparse.csr_array`, or CuPy's `csr_matrix`, of shape (size_out, size_in). The taps of a convolution are
        stored where they are zero, too.

    Raises:
        UnsupportedError: the arrays are of another library, or SciPy is not installed.
    """
    sparse = _module(operator)
    if isinstance(operator, Adjoint):
        matrix = to_sparse(operator.operator)
        return (matrix.conj() if operator.is_complex else matrix).T.tocsr()
    if isinstance(operator, Conjugate):
        return to_sparse(operator.operator).conj()
    if isinstance(operator, Conv):
        values, rows, columns = _of_conv(operator)
    else:
        values, rows, columns = _of_circulant(operator) if isinstance(operator, Circulant) else _of_any(operator)
    make = getattr(sparse, "coo_array", None) or sparse.coo_matrix
    return make((values, (rows, columns)), shape=(operator.size_out, operator.size_in)).tocsr()


def _of_conv(conv: Conv) -> Entries:
    """w[o, c, k] is where output l of channel o reads its tap k of channel c."""
    xp, geometry, device = conv.xp, conv.geometry, conv.device
    made, own = conv.w.shape[:2]
    lead = (made, own, *(1,) * (2 * geometry.ndim))  # (O, C/G, L0, K0, L1, K1, …)

    def channels(count: int, axis: int) -> Array:
        shape = [1] * len(lead)
        shape[axis] = count
        return xp.reshape(xp.arange(count, dtype=xp.int64, device=device), tuple(shape))

    rows, first = channels(made, 0), channels(made, 0) // (made // geometry.groups) * own
    columns, is_read = first + channels(own, 1), xp.ones((1,) * len(lead), dtype=xp.bool, device=device)
    for number, axis in enumerate(geometry.axes):
        shape = [1] * len(lead)
        shape[2 + 2 * number : 4 + 2 * number] = axis.output_size, axis.kernel_size
        numbers = [-1 if i is None else i for read in axis.reads(geometry.padding_mode) for i in read]
        sources = xp.reshape(xp.asarray(numbers, dtype=xp.int64, device=device), tuple(shape))
        rows = rows * axis.output_size + channels(axis.output_size, 2 + 2 * number)
        columns, is_read = columns * axis.input_size + sources, is_read & (sources >= 0)
    kernel = [part for size in geometry.kernel_size for part in (1, size)]
    arrays = xp.broadcast_arrays(xp.reshape(conv.w, (made, own, *kernel)), rows, columns, is_read)
    values, rows, columns, is_read = (xp.reshape(array, (math.prod(array.shape),)) for array in arrays)
    there = xp.nonzero(is_read)[0]
    return tuple(xp.take(array, there) for array in (values, rows, columns))


def _of_circulant(circulant: Circulant) -> Entries:
    """The numbers of its kernel that are not 0, each once for every place."""
    xp, size, kernel = circulant.xp, circulant.size, circulant.kernel()
    count = math.prod(size)
    made, given = kernel.shape[:2] if circulant.has_channels else (1, 1)
    to, of, shift = xp.nonzero(xp.reshape(kernel, (made, given, count)))
    flat = xp.take(xp.reshape(kernel, (made * given * count,)), (to * given + of) * count + shift)
    places = xp.arange(count, dtype=xp.int64, device=circulant.device)
    columns = differences(unravelled(places, size), unravelled(shift, size), size) + of[None, :] * count
    arrays = xp.broadcast_arrays(flat[None, :], to[None, :] * count + places[:, None], columns)
    return tuple(xp.reshape(array, (count * shift.shape[0],)) for array in arrays)


def _of_any(operator: Operator) -> Entries:
    """The numbers of its matrix that are not 0, from as many of its columns at a time as fit."""
    xp, n = operator.xp, operator.size_in
    found = []
    step = max(1, _AT_ONCE // max(1, n, operator.size_out))
    for start in range(0, max(1, n), step):
        columns = xp.arange(start, min(n, start + step), dtype=xp.int64, device=operator.device)
        is_own = xp.arange(n, dtype=xp.int64, device=operator.device)[None, :] == columns[:, None]
        units = xp.reshape(xp.astype(is_own, operator.dtype), (columns.shape[0], *operator.shape_in))
        images = xp.reshape(operator.apply(units), (columns.shape[0], operator.size_out))
        own, rows = xp.nonzero(images)
        flat = xp.reshape(images, (math.prod(images.shape),))
        found.append((xp.take(flat, own * operator.size_out + rows), rows, own + start))
    return tuple(xp.concat(parts) for parts in zip(*found, strict=True))


def _module(operator: Operator, name: str = "") -> Any:
    """SciPy's module of sparse matrices, or one below it, or CuPy's."""
    library = library_name(operator.xp)
    if library not in _MODULES:
        raise UnsupportedError(f"SciPy takes NumPy's arrays, and CuPy its own, but not {library}'s")
    try:
        return import_module(_MODULES[library] + name)
    except ImportError:
        raise UnsupportedError(f"{_MODULES[library]}{name} is needed: pip install 'arrconv[scipy]'") from None
