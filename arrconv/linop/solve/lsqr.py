"""LSQR: least squares by bidiagonalisation, whose residual falls in each iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from arrconv.linop.solve.least_squares import Bidiagonalisation, LeastSquares, LeastSquaresOptions
from arrconv.spec import check_options

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator
    from arrconv.linop.solve.solution import Solution


def lsqr(operator: Operator, b: Array, /, **options: Unpack[LeastSquaresOptions]) -> Solution:
    """Find the x with the least ‖A x − b‖² + damp²·‖x‖²; from 0 on, the one with the least ‖x‖ of several.

    In exact arithmetic each x is that of `cgls`.

    Args:
        operator: A, of any shape.
        b: (*batch, *shape_out); each is solved on its own.
        options: damp, preconditioner, x0, rtol, atol, iterations, callback and check, as for `LeastSquaresOptions` and
            `SolverOptions`; the scale is the norm for x = 0.

    Returns:
        A `Solution`, whose norms are those of s = A.H (b − A x) − damp²·x, as the recurrence has them; with a
        preconditioner M they are √⟨s, M s⟩ instead.

    Raises:
        ShapeError: shapes do not fit.
        SpecError: an option has no meaning.
        DTypeError, DeviceError: arrays are of another library or dtype than the operator, or on another device.

    Source: C. C. Paige, M. A. Saunders, "LSQR: an algorithm for sparse linear equations and sparse least squares",
    1982, sections 4 and 5.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> np.round(lsqr(Diagonal(np.asarray([3.0, 0.0])), np.asarray([3.0, 5.0])).x, 12)
    array([1., 0.])
    """
    check_options("lsqr", options, LeastSquaresOptions)
    problem = LeastSquares(operator, b, **options)
    xp, ratio, times = problem.xp, problem.ratio, problem.times
    x = problem.start()
    columns = Bidiagonalisation(problem, problem.residual(x))
    phi_bar, rho_bar, w = columns.beta, columns.alpha, columns.v
    norms = phi_bar * rho_bar
    limit = problem.limit_from(norms, problem.size)
    while problem.goes_on(x, norms, limit):
        columns.advance()
        rho = xp.sqrt(rho_bar**2 + columns.beta**2)
        c, s = ratio(rho_bar, rho), ratio(columns.beta, rho)
        theta, rho_bar = s * columns.alpha, -c * columns.alpha
        phi, phi_bar = c * phi_bar, s * phi_bar
        x = problem.updated(x, x + times(ratio(phi, rho), w))
        w = columns.v - times(ratio(theta, rho), w)
        norms = xp.abs(phi_bar * rho_bar)
    return problem.solution(x)
