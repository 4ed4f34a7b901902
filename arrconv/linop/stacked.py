"""Stacks of matrices (..., rows, columns), such as symbols: their inverses, if they have any, and largest norms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrconv._namespace import device_of, namespace_of
from arrconv.errors import ShapeError, SpecError
from arrconv.kernels.stacks import each
from arrconv.linop.spectrum import cut_off

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator


@dataclass(frozen=True, slots=True)
class NormBounds:
    """Between what a norm lies, that of an operator or the largest of a stack of matrices, but for rounding.

    Attributes:
        low, high: the bounds; high is infinite where none is known.
        iterations: how many were taken.
    """

    low: float
    high: float
    iterations: int


def gram_iteration(matrices: Array, /, *, rtol: float = 1e-6, iterations: int = 30) -> NormBounds:
    """Bounds of the largest singular value of any of a stack of matrices, by squaring their Gram matrices.

    With G ← G G.H, k times, ‖A‖ is at most the 2^k-th root of the Frobenius norm of G, and at least that by the
    2^(k+1)-th root of its side. Each iteration halves what they differ by; matrices that cannot be the largest any more
    are left out, so that the first few iterations take nearly all the time.

    Args:
        matrices: (..., rows, columns), real or complex; symbols, for instance.
        rtol: it stops where the bounds differ by no more than that, relative; above 0.
        iterations: the most that are taken.

    Returns:
        The bounds, true but for rounding.

    Raises:
        SpecError: a number is not finite.
        ShapeError: there are fewer than two axes.

    Source: B. Delattre, Q. Barthélemy, A. Araujo, A. Allauzen, "Efficient bound of Lipschitz constant for convolutional
    layers by Gram iteration", 2023.

    >>> import numpy as np
    >>> found = gram_iteration(np.asarray([[[1.0, 1.0], [0.0, 1.0]], [[0.5, 0.0], [0.0, 0.1]]]))
    >>> found.low <= (1 + 5**0.5) / 2 <= found.high <= found.low * (1 + 1e-6)
    True
    """
    xp = namespace_of(matrices)
    if matrices.ndim < 2:
        raise ShapeError(f"a stack of matrices has two axes or more, but this has shape {tuple(matrices.shape)}")
    if not math.prod(matrices.shape):
        return NormBounds(0.0, 0.0, 0)
    rows, columns = matrices.shape[-2:]
    scale = float(xp.max(xp.abs(matrices)))  # so that no square leaves the range of the dtype
    if not math.isfinite(scale):
        raise SpecError("there are numbers that are not finite, and no norm")
    g = xp.reshape(matrices / (scale or 1.0), (-1, rows, columns))
    g = g if rows <= columns else adjoint(xp, g)
    side = min(rows, columns)
    logs = xp.zeros((g.shape[0],), dtype=_real(xp, g), device=device_of(g))  # of the norms that were divided by
    for done in range(iterations + 1):
        norms = xp.linalg.vector_norm(xp.reshape(g, (g.shape[0], g.shape[-2] * g.shape[-1])), axis=-1)
        safe = xp.where(norms > 0, norms, xp.ones_like(norms))
        logs = xp.where(norms > 0, logs + xp.log(safe), xp.full_like(logs, -math.inf))
        high = float(xp.max(logs)) / 2**done
        low = high - math.log(side) / 2 ** (done + 1)
        if high == -math.inf or high - low <= math.log1p(rtol) or done == iterations:
            return NormBounds(scale * math.exp(low), scale * math.exp(high), done)
        kept = xp.nonzero(logs / 2**done >= low)[0]
        g = xp.take(g / safe[:, None, None], kept, axis=0)
        g, logs = each(xp, lambda part: xp.matmul(part, adjoint(xp, part)), g), 2 * xp.take(logs, kept)
    raise AssertionError  # the last iteration returns


def inverses(matrices: Array, condition: float) -> Array | None:
    """The inverses of square matrices; None where any two of their singular values may have so large a ratio."""
    xp = namespace_of(matrices)
    try:
        found = each(xp, xp.linalg.inv, matrices)
    except (ValueError, RuntimeError):  # what libraries make of a singular matrix
        return None
    bound = _frobenius(xp, matrices) * _frobenius(xp, found)
    return found if bound < condition else None


def pinv_of(operator: Operator, matrices: Array, rcond: float | None) -> Array:
    """The pseudo-inverses of matrices (..., rows, columns), with one limit for all singular values."""
    xp = operator.xp
    rows, columns = matrices.shape[-2:]
    if 0 in matrices.shape:
        return xp.matrix_transpose(matrices)
    check_finite(operator, matrices)
    share = cut_off(operator, rcond)
    # Where all are kept the inverse is the same, and several times as fast.
    if rows == columns:
        found = inverses(matrices, 1 / share if share else math.inf)
        if found is not None:
            return found

    def inverted(values: Array) -> Array:
        is_kept = values > share * xp.max(values)
        return xp.where(is_kept, 1 / xp.where(is_kept, values, xp.ones_like(values)), xp.zeros_like(values))

    return _with_values(xp, matrices, inverted)


def inverse_of(operator: Operator, matrices: Array) -> Array:
    """The inverses of square matrices, which must have one."""
    if 0 in matrices.shape:
        return matrices
    check_finite(operator, matrices)
    found = None
    if matrices.shape[-2] == matrices.shape[-1]:
        found = inverses(matrices, matrices.shape[-1] / float(operator.xp.finfo(operator.dtype).eps))
    if found is None:
        raise SpecError(
            f"{operator} is singular, or too near to it for {operator.dtype}; pinv and tikhonov can do without"
        )
    return found


def _with_values(xp: Any, matrices: Array, change: Callable[[Array], Array]) -> Array:
    """The adjoints of matrices with other singular values."""
    left, values, right = xp.linalg.svd(matrices, full_matrices=False)
    # NumPy gives complex matrices real values, and the product needs one dtype
    changed = xp.astype(change(values), matrices.dtype)[..., None, :]
    return xp.matmul(adjoint(xp, right) * changed, adjoint(xp, left))


def tikhonov_of(operator: Operator, matrices: Array, power: float) -> Array:
    """(A.H A + p)⁻¹ A.H = A.H (A A.H + p)⁻¹, whichever is smaller."""
    xp = operator.xp
    check_finite(operator, matrices)
    rows, columns = matrices.shape[-2:]
    if 0 in matrices.shape:
        return xp.matrix_transpose(matrices)
    largest = float(xp.max(xp.sum(xp.abs(matrices) ** 2, axis=(-2, -1))))  # of the squares of singular values, or more
    if power < math.sqrt(float(xp.finfo(matrices.dtype).eps)) * largest:  # squared, small values would be lost
        return _with_values(xp, matrices, lambda values: values / (values**2 + power))
    back = adjoint(xp, matrices)
    gram = each(xp, xp.matmul, *((matrices, back) if rows <= columns else (back, matrices)))
    gram = gram + power * xp.eye(min(rows, columns), dtype=matrices.dtype, device=operator.device)
    solved = each(xp, xp.linalg.solve, gram, matrices if rows <= columns else back)
    return adjoint(xp, solved) if rows <= columns else solved


def wiener_of(operator: Operator, symbol: Array, signal: Array, noise: Array) -> Array:
    """S K.H (S K K.H + N)⁻¹ at each frequency."""
    xp = operator.xp
    check_finite(operator, symbol)
    eye = xp.eye(symbol.shape[-2], dtype=symbol.dtype, device=operator.device)
    scaled = symbol * signal
    gram = each(xp, xp.matmul, scaled, adjoint(xp, symbol)) + noise * eye
    return adjoint(xp, each(xp, xp.linalg.solve, gram, scaled))


def check_finite(operator: Operator, matrices: Array) -> None:
    """Raise a SpecError unless all numbers are finite."""
    if not bool(operator.xp.all(operator.xp.isfinite(matrices))):
        raise SpecError(f"{operator} has numbers that are not finite, and no inverse")


def _frobenius(xp: Any, matrices: Array) -> float:
    return float(xp.max(xp.linalg.matrix_norm(matrices)))


def adjoint(xp: Any, matrices: Array) -> Array:
    """Matrices with rows for columns, conjugated."""
    back = xp.matrix_transpose(matrices)
    return xp.conj(back) if xp.isdtype(matrices.dtype, "complex floating") else back


def _real(xp: Any, array: Array) -> Any:
    return xp.real(array[:0, ...]).dtype if xp.isdtype(array.dtype, "complex floating") else array.dtype
