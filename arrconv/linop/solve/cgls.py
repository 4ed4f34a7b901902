"""Conjugate gradients for least squares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrconv.functional.reals import as_number
from arrconv.linop.solve.solution import Options, Sides

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator
    from arrconv.linop.solve.solution import Callback, Solution


def cgls(
    operator: Operator,
    b: Array,
    /,
    *,
    damp: float = 0.0,
    x0: Array | None = None,
    rtol: float = 1e-8,
    atol: float = 0.0,
    iterations: int = 1000,
    callback: Callback | None = None,
    check: int = 1,
) -> Solution:
    """Find the x with the least ‖A x − b‖² + damp²·‖x‖²; from 0 on, the one with the least ‖x‖ of several.

    Args:
        operator: A, of any shape.
        b: (*batch, *shape_out); each is solved on its own.
        damp: not negative.
        x0: where the search begins, (*batch, *shape_in); 0 without it.
        rtol, atol: it stops where ‖A.H (b − A x) − damp²·x‖ ≤ max(rtol·‖A.H b‖, atol).
        iterations: the most that are taken.
        callback: is told of each iteration by a `Step`; it stops if that returns True.
        check: after so many iterations each it is looked whether all are done, which a GPU has to wait for.

    Returns:
        A `Solution`, whose norms are those of A.H (b − A x) − damp²·x.

    Raises:
        ShapeError: shapes do not fit.
        SpecError: an option has no meaning.

    Source: Å. Björck, "Numerical methods for least squares problems", 1996, section 7.4.1.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> np.round(cgls(Diagonal(np.asarray([3.0, 0.0])), np.asarray([3.0, 5.0])).x, 12)
    array([1., 0.])
    """
    power = as_number(damp, "damp") ** 2
    sides = Sides(operator, b, Options(x0, rtol, atol, iterations, callback, check))
    x = sides.start()
    r = sides.b - operator._map(x) if x0 is not None else sides.b
    s = operator._map_back(r) - power * x
    p, gamma = s, sides.inner(s, s)
    limit = sides.limit(sides.norm(operator._map_back(sides.b)) if x0 is not None else sides.norm(s))
    while sides.goes_on(x, sides.norm(s), limit):
        q = operator._map(p)
        alpha = sides.ratio(gamma, sides.inner(q, q) + power * sides.inner(p, p))
        x, r = x + sides.times(alpha, p), r - sides.times(alpha, q)
        s = operator._map_back(r) - power * x
        before, gamma = gamma, sides.inner(s, s)
        p = s + sides.times(sides.ratio(gamma, before), p)
    return sides.solution(x, limit)
