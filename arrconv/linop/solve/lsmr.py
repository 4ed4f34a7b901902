"""LSMR: least squares by bidiagonalisation, whose residual of the normal equations falls in each iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from arrconv.linop.solve.least_squares import Bidiagonalisation, LeastSquares, LeastSquaresOptions
from arrconv.spec import check_options

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator
    from arrconv.linop.solve.solution import Solution


def lsmr(operator: Operator, b: Array, /, **options: Unpack[LeastSquaresOptions]) -> Solution:
    """Find the x with the least ‖A x − b‖² + damp²·‖x‖²; from 0 on, the one with the least ‖x‖ of several.

    It finds what `cgls` finds, and its norms never grow, so that it can be stopped anywhere.

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

    Source: D. C.-L. Fong, M. Saunders, "LSMR: an iterative algorithm for sparse least-squares problems", 2011, section
    2.8.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> np.round(lsmr(Diagonal(np.asarray([3.0, 0.0])), np.asarray([3.0, 5.0])).x, 12)
    array([1., 0.])
    """
    check_options("lsmr", options, LeastSquaresOptions)
    problem = LeastSquares(operator, b, **options)
    xp, ratio, times = problem.xp, problem.ratio, problem.times
    x = problem.start()
    columns = Bidiagonalisation(problem, problem.residual(x))
    alpha_bar, norms = columns.alpha, columns.alpha * columns.beta
    zeta_bar, limit = norms, problem.limit_from(norms, problem.size)
    rho = rho_bar = c_bar = xp.ones_like(norms)
    s_bar = xp.zeros_like(norms)
    h, h_bar = columns.v, xp.zeros_like(x)
    while problem.goes_on(x, norms, limit):
        columns.advance()
        before, rho = rho, xp.sqrt(alpha_bar**2 + columns.beta**2)
        c, s = ratio(alpha_bar, rho), ratio(columns.beta, rho)
        theta, alpha_bar = s * columns.alpha, c * columns.alpha
        theta_bar, corner = s_bar * rho, c_bar * rho
        earlier, rho_bar = rho_bar, xp.sqrt(corner**2 + theta**2)
        c_bar, s_bar = ratio(corner, rho_bar), ratio(theta, rho_bar)
        zeta, zeta_bar = c_bar * zeta_bar, -s_bar * zeta_bar
        h_bar = h - times(ratio(theta_bar * rho, before * earlier), h_bar)
        x = problem.updated(x, x + times(ratio(zeta, rho * rho_bar), h_bar))
        h = columns.v - times(ratio(theta, rho), h)
        norms = xp.abs(zeta_bar)
    return problem.solution(x)
