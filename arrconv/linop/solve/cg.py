"""Conjugate gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrconv.errors import ShapeError
from arrconv.linop.solve.solution import Options, Sides

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator
    from arrconv.linop.solve.solution import Callback, Solution


def cg(
    operator: Operator,
    b: Array,
    /,
    *,
    x0: Array | None = None,
    rtol: float = 1e-8,
    atol: float = 0.0,
    iterations: int = 1000,
    preconditioner: Operator | None = None,
    callback: Callback | None = None,
    check: int = 1,
) -> Solution:
    """Solve A x = b for a Hermitian, positive definite A, such as `gram()` plus a multiple of the identity.

    Args:
        operator: A.
        b: (*batch, *shape_out); each is solved on its own.
        x0: where the search begins, (*batch, *shape_in); 0 without it.
        rtol, atol: it stops where ‖b − A x‖ ≤ max(rtol·‖b‖, atol).
        iterations: the most that are taken.
        preconditioner: an operator near A⁻¹, Hermitian and positive definite, too.
        callback: is told of each iteration by a `Step`; it stops if that returns True.
        check: after so many iterations each it is looked whether all are done, which a GPU has to wait for.

    Returns:
        A `Solution`, whose norms are those of b − A x.

    Raises:
        ShapeError: the operator does not give what it takes, or shapes do not fit.
        SpecError: an option has no meaning.

    Source: M. R. Hestenes, E. Stiefel, "Methods of conjugate gradients for solving linear systems", 1952.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> found = cg(Diagonal(np.asarray([1.0, 2.0, 4.0])), np.asarray([1.0, 1.0, 1.0]))
    >>> found.message
    'converged after 3 iterations'
    >>> np.round(found.x, 12)
    array([1.  , 0.5 , 0.25])
    """
    if operator.shape_in != operator.shape_out:
        raise ShapeError(f"{operator} does not give what it takes, so that it cannot be Hermitian; cgls and lsmr can")
    if preconditioner is not None and {preconditioner.shape_in, preconditioner.shape_out} != {operator.shape_in}:
        raise ShapeError(f"the preconditioner {preconditioner} does not take and give what {operator} does")
    sides = Sides(operator, b, Options(x0, rtol, atol, iterations, callback, check))
    x = sides.start()
    r = sides.b - operator._map(x) if x0 is not None else sides.b
    z = preconditioner._map(r) if preconditioner else r
    p, rho, limit = z, sides.inner(r, z), sides.limit(sides.norm(sides.b))
    while sides.goes_on(x, sides.norm(r), limit):
        q = operator._map(p)
        curvature = sides.inner(p, q)
        if check == 1 and bool(sides.xp.any(curvature < 0)):
            sides.stop("the operator is not positive definite")
            break
        alpha = sides.ratio(rho, curvature)
        x, r = x + sides.times(alpha, p), r - sides.times(alpha, q)
        z = preconditioner._map(r) if preconditioner else r
        before, rho = rho, sides.inner(r, z)
        p = z + sides.times(sides.ratio(rho, before), p)
    return sides.solution(x, limit)
