"""Singular values: of periodic convolutions all of them, exactly; of others by their matrix, where that is small."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from arrconv.errors import SpecError
from arrconv.kernels.stacks import each
from arrconv.linop.frequencies import frequency_form
from arrconv.linop.matrices import BUDGET, check_precision, matrix_within

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.circular import Circulant
    from arrconv.linop.operator import Operator


def singular_values(operator: Operator, /, *, budget: int = BUDGET) -> Array:
    """All singular values of an operator, the largest first, as many as its matrix's smaller side.

    A convolution of periodic arrays has those of its symbol, a matrix of channels at each frequency, for any stride
    that divides the sizes; others have those of their matrix.

    Args:
        operator: any.
        budget: the bytes that a matrix, or a symbol, may take.

    Returns:
        (min(size_in, size_out),), real.

    Raises:
        UnsupportedError: it would exceed the budget.
        SpecError: there are numbers that are not finite.
        DTypeError: the dtype is float16.

    Source: H. Sedghi, V. Gupta, P. M. Long, "The singular values of convolutional layers", 2019.

    >>> import numpy as np
    >>> from arrconv.linop import CircularConv
    >>> np.round(singular_values(CircularConv(np.asarray([1.0, 1.0]), (4,))), 12)
    array([2.        , 1.41421356, 1.41421356, 0.        ])
    """
    xp = operator.xp
    if not operator.size_in or not operator.size_out:
        return xp.zeros((0,), dtype=xp.real(operator.example).dtype if operator.is_complex else operator.dtype,
                        device=operator.device)  # fmt: skip
    check_precision(operator)
    form = frequency_form(operator, budget)
    matrices = form.circulant.symbol if form else matrix_within(operator, budget)
    if not bool(xp.all(xp.isfinite(matrices))):
        raise SpecError(f"{operator} has numbers that are not finite, and no singular values")
    return xp.sort(_of_symbol(form.circulant) if form else xp.linalg.svdvals(matrices), descending=True)


def _of_symbol(circulant: Circulant) -> Array:
    xp, symbol = circulant.xp, circulant.symbol
    values = each(xp, xp.linalg.svdvals, symbol) if circulant.has_channels else xp.abs(symbol)[..., None]
    flat = xp.reshape(values, (-1,))
    if circulant.is_complex:
        return flat
    # Of the frequencies that are not there each is the conjugate of one that is, and has the same singular values.
    last = circulant.size[-1]
    twins = values[(..., slice(1, (last + 1) // 2), slice(None))]
    return xp.concat([flat, xp.reshape(twins, (-1,))])


def rank(operator: Operator, /, *, rcond: float | None = None, budget: int = BUDGET) -> int:
    """How many singular values exceed rcond times the largest.

    Args:
        operator, budget: as for `singular_values`.
        rcond: not negative; without it, the larger side of the matrix times the dtype's rounding.

    Returns:
        The rank.

    Raises:
        UnsupportedError, SpecError: as for `singular_values`.
    """
    values = singular_values(operator, budget=budget)
    if not values.shape[0]:
        return 0
    return int(operator.xp.sum(operator.xp.astype(values > cut_off(operator, rcond) * values[0], operator.xp.int64)))


def condition(operator: Operator, /, *, budget: int = BUDGET) -> float:
    """The largest singular value by the smallest; infinite where that is 0, NaN where there is none.

    Args:
        operator, budget: as for `singular_values`.

    Returns:
        The condition number, in the 2-norm.

    Raises:
        UnsupportedError, SpecError: as for `singular_values`.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> condition(Diagonal(np.asarray([4.0, 2.0])))
    2.0
    """
    values = singular_values(operator, budget=budget)
    if not values.shape[0]:
        return math.nan
    largest, least = float(values[0]), float(values[-1])
    return largest / least if least else math.inf


def cut_off(operator: Operator, rcond: float | None) -> float:
    """The share of the largest singular value up to which others count as 0."""
    if rcond is None:
        return max(operator.size_in, operator.size_out) * float(operator.xp.finfo(operator.dtype).eps)
    if not 0 <= rcond < math.inf:
        raise SpecError(f"rcond must be from 0 on and finite, but got {rcond!r}")
    return float(rcond)
