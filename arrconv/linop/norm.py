"""The norm of an operator, its largest singular value: from below by iteration, from above by what contains it."""

from __future__ import annotations

import math

from arrconv.errors import SpecError
from arrconv.functional.reals import as_number
from arrconv.kernels.stacks import each
from arrconv.linop.border import embedding, has_zeros_around, torus_size
from arrconv.linop.convolution import Conv
from arrconv.linop.frequencies import frequency_form, symbol_bytes
from arrconv.linop.laws import random_like, two_norm
from arrconv.linop.matrices import BUDGET, check_precision
from arrconv.linop.operator import Adjoint, Conjugate, Operator
from arrconv.linop.spectrum import singular_values
from arrconv.linop.stacked import NormBounds
from arrconv.spec import as_int

_LOOKS = 8  # steps from one singular value of the bidiagonal matrix to the next


def norm_bounds(
    operator: Operator, /, *, rtol: float = 1e-3, iterations: int = 200, seed: int = 0, budget: int = BUDGET
) -> NormBounds:
    """Bounds of the norm of an operator, its largest singular value.

    That of a convolution of periodic arrays is exact. One with zeros around its input is part of one on a larger torus,
    whose norm bounds its own from above; with other paddings the sums of |w| over rows and columns of the matrix do.
    From below it is bounded by bidiagonalisation, which goes on until both bounds agree or do not change any more.

    Args:
        operator: any; an upper bound is known for `Circulant` and `Conv`, their adjoints and conjugates.
        rtol: how near the bounds should come, relative to the norm; from 0 on.
        iterations: the most that are taken.
        seed: what decides where the iteration begins.
        budget: the bytes that a symbol may take. Above, the upper bound is that of the sums, for any padding.

    Returns:
        The bounds.

    Raises:
        SpecError: an option has no meaning, or there are numbers that are not finite.
        DTypeError: the dtype is float16.

    Source: G. Golub, W. Kahan, "Calculating the singular values and pseudo-inverse of a matrix", 1965; for the sums
    √(‖A‖₁·‖A‖∞), N. J. Higham, "Accuracy and stability of numerical algorithms", 2nd edition, 2002, section 6.2.

    >>> import numpy as np
    >>> from arrconv.linop import Conv
    >>> bounds = norm_bounds(Conv(np.asarray([1.0, 2.0, 1.0]), (50,), padding=1))
    >>> bounds.low <= 2 + 2 * np.cos(np.pi / 51) <= bounds.high <= 1.001 * bounds.low
    True
    """
    if as_number(rtol, "rtol") < 0:
        raise SpecError(f"rtol must not be negative, but got {rtol!r}")
    iterations = as_int(iterations, "iterations", 1)
    check_precision(operator)
    if not operator.size_in or not operator.size_out:
        return NormBounds(0.0, 0.0, 0)
    if isinstance(operator, Adjoint | Conjugate):
        return norm_bounds(operator.operator, rtol=rtol, iterations=iterations, seed=seed, budget=budget)
    is_small = not isinstance(operator, Conv) or symbol_bytes(operator, torus_size(operator, 0)) <= budget
    if is_small and frequency_form(operator, budget) is not None:
        exact = float(singular_values(operator, budget=budget)[0])
        return NormBounds(exact, exact, 0)
    high = _above(operator, is_small)
    if math.isnan(high):
        raise SpecError(f"{operator} has numbers that are not finite, and no norm")
    return _below(operator, high, rtol, iterations, seed)


def _above(operator: Operator, is_small: bool) -> float:
    """An upper bound, by a small symbol if it can; infinite where none is known, NaN where numbers are not finite."""
    if not isinstance(operator, Conv):
        return math.inf
    xp, w = operator.xp, operator.w
    if not bool(xp.all(xp.isfinite(w))):
        return math.nan
    if has_zeros_around(operator) and is_small:
        return float(xp.max(each(xp, xp.linalg.svdvals, embedding(operator).circulant.symbol)))
    size = Conv(xp.abs(w), operator.geometry.input_size, **operator.geometry.options)
    ones = [xp.ones((1, *shape), dtype=size.dtype, device=size.device) for shape in (size.shape_in, size.shape_out)]
    return math.sqrt(float(xp.max(size._map(ones[0]))) * float(xp.max(size._map_back(ones[1]))))


def _below(operator: Operator, high: float, rtol: float, iterations: int, seed: int) -> NormBounds:
    """The largest singular value of the bidiagonal matrix of so many steps, which cannot exceed the operator's."""
    v = random_like(operator.example, (1, *operator.shape_in), seed, 12)
    v = v / two_norm(v)
    u = operator._map(v)
    alpha = two_norm(u)
    diagonal, beside, found = [alpha], [0.0], alpha
    for step in range(1, iterations + 1):
        if not math.isfinite(alpha):
            raise SpecError(f"{operator} has numbers that are not finite, and no norm")
        if found * (1 + rtol) >= high:
            break
        u = u / alpha if alpha else u
        v = operator._map_back(u) - alpha * v
        beta = two_norm(v)
        if not alpha or not beta:  # the space is exhausted
            found = _largest(operator, diagonal, beside)
            break
        v = v / beta
        u = operator._map(v) - beta * u
        alpha = two_norm(u)
        diagonal.append(alpha)
        beside.append(beta)
        if step % _LOOKS == 0 or step == iterations:
            before, found = found, _largest(operator, diagonal, beside)
            if found - before <= 1e-3 * min(rtol, 1e-3) * found:
                break
    return NormBounds(found, max(high, found), step)


def _largest(operator: Operator, diagonal: list[float], above: list[float]) -> float:
    """The largest singular value of an upper bidiagonal matrix."""
    xp, n = operator.xp, len(diagonal)
    rows = [[0.0] * n for _ in range(n)]
    for i, number in enumerate(diagonal):
        rows[i][i] = number
        if i:
            rows[i - 1][i] = above[i]
    return float(xp.max(xp.linalg.svdvals(xp.asarray(rows, dtype=xp.float64, device=operator.device))))
