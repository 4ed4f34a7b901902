"""Conjugate gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from arrconv.errors import ShapeError
from arrconv.linop.solve.solution import Sides, SolverOptions
from arrconv.spec import check_options

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator
    from arrconv.linop.solve.solution import Solution


class ConjugateOptions(SolverOptions, total=False):
    """The keyword options of `cg`: those of every solver, and a preconditioner.

    Attributes:
        preconditioner: an operator near A⁻¹, Hermitian and positive definite, too.
    """

    preconditioner: Operator | None


def cg(operator: Operator, b: Array, /, **options: Unpack[ConjugateOptions]) -> Solution:
    """Solve A x = b for a Hermitian, positive definite A, such as `gram()` plus a multiple of the identity.

    Args:
        operator: A.
        b: (*batch, *shape_out); each is solved on its own.
        options: preconditioner, x0, rtol, atol, iterations, callback and check, as for `ConjugateOptions` and
            `SolverOptions`; the scale is ‖b‖.

    Returns:
        A `Solution`, whose norms are those of b − A x.

    Raises:
        ShapeError: the operator does not give what it takes, or shapes do not fit.
        SpecError: an option has no meaning.
        DTypeError, DeviceError: arrays are of another library or dtype than the operator, or on another device.

    Source: M. R. Hestenes, E. Stiefel, "Methods of conjugate gradients for solving linear systems", 1952.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> found = cg(Diagonal(np.asarray([1.0, 2.0, 4.0])), np.asarray([1.0, 1.0, 1.0]))
    >>> found.message
    'converged after 3 iterations'
    >>> np.round(found.x, 12)
    array([1.  , 0.5 , 0.25])
    """
    check_options("cg", options, ConjugateOptions)
    if operator.shape_in != operator.shape_out:
        raise ShapeError(f"{operator} does not give what it takes, so that it cannot be Hermitian; cgls and lsmr can")
    sides = Sides(operator, b, **options)
    x = sides.start()
    r = sides.residual(x)
    p = z = sides.preconditioned(r)
    rho, limit = sides.inner(r, z), sides.limit(sides.norm(sides.b))
    while sides.goes_on(x, sides.norm(r), limit):
        q = operator._map(p)
        curvature = sides.inner(p, q)
        if sides.check == 1 and bool(sides.xp.any(curvature < 0)):
            sides.stop("the operator is not positive definite")
            break
        alpha = sides.ratio(rho, curvature)
        x, r = sides.updated(x, x + sides.times(alpha, p)), r - sides.times(alpha, q)
        z = sides.preconditioned(r)
        before, rho = rho, sides.inner(r, z)
        p = z + sides.times(sides.ratio(rho, before), p)
    return sides.solution(x)
