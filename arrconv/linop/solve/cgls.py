"""Conjugate gradients for least squares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from arrconv.linop.solve.least_squares import LeastSquares, LeastSquaresOptions
from arrconv.spec import check_options

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator
    from arrconv.linop.solve.solution import Solution


def cgls(operator: Operator, b: Array, /, **options: Unpack[LeastSquaresOptions]) -> Solution:
    """Find the x with the least ‖A x − b‖² + damp²·‖x‖²; from 0 on, the one with the least ‖x‖ of several.

    Args:
        operator: A, of any shape.
        b: (*batch, *shape_out); each is solved on its own.
        options: damp, preconditioner, x0, rtol, atol, iterations, callback and check, as for `LeastSquaresOptions` and
            `SolverOptions`; the scale is ‖A.H b‖.

    Returns:
        A `Solution`, whose norms are those of A.H (b − A x) − damp²·x, with a preconditioner, too.

    Raises:
        ShapeError: shapes do not fit.
        SpecError: an option has no meaning.
        DTypeError, DeviceError: arrays are of another library or dtype than the operator, or on another device.

    Source: Å. Björck, "Numerical methods for least squares problems", 1996, sections 7.4.1 and 7.4.2.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> np.round(cgls(Diagonal(np.asarray([3.0, 0.0])), np.asarray([3.0, 5.0])).x, 12)
    array([1., 0.])
    """
    check_options("cgls", options, LeastSquaresOptions)
    problem = LeastSquares(operator, b, **options)
    a, x = problem.operator, problem.start()
    r = problem.residual(x)
    s = a._map_back(r)
    p = z = problem.preconditioned(s)
    gamma, limit = problem.inner(s, z), problem.limit_from(problem.norm(s), problem.norm)
    while problem.goes_on(x, problem.norm(s), limit):
        q = a._map(p)
        alpha = problem.ratio(gamma, problem.inner(q, q))
        x, r = problem.updated(x, x + problem.times(alpha, p)), r - problem.times(alpha, q)
        s = a._map_back(r)
        z = problem.preconditioned(s)
        before, gamma = gamma, problem.inner(s, z)
        p = z + problem.times(problem.ratio(gamma, before), p)
    return problem.solution(x)
