"""LSMR: least squares by bidiagonalisation, whose residual of the normal equations falls in each iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrconv.errors import SpecError
from arrconv.functional.reals import as_number
from arrconv.linop.solve.solution import Options, Sides

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator
    from arrconv.linop.solve.solution import Callback, Solution


def lsmr(
    operator: Operator,
    b: Array,
    /,
    *,
    damp: float = 0.0,
    rtol: float = 1e-8,
    atol: float = 0.0,
    iterations: int = 1000,
    callback: Callback | None = None,
    check: int = 1,
) -> Solution:
    """Find the x with the least ‖A x − b‖² + damp²·‖x‖²; the one with the least ‖x‖ of several.

    It finds what `cgls` finds, and its norms never grow, so that it can be stopped anywhere.

    Args:
        operator: A, of any shape.
        b: (*batch, *shape_out); each is solved on its own.
        damp: not negative.
        rtol, atol: it stops where ‖A.H (b − A x) − damp²·x‖ ≤ max(rtol·‖A.H b‖, atol).
        iterations: the most that are taken.
        callback: is told of each iteration by a `Step`; it stops if that returns True.
        check: after so many iterations each it is looked whether all are done, which a GPU has to wait for.

    Returns:
        A `Solution`, whose norms are those of A.H (b − A x) − damp²·x, as the recurrence has them.

    Raises:
        ShapeError: shapes do not fit.
        SpecError: an option has no meaning.

    Source: D. C.-L. Fong, M. Saunders, "LSMR: an iterative algorithm for sparse least-squares problems", 2011, sections
    2.8 and 5.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> np.round(lsmr(Diagonal(np.asarray([3.0, 0.0])), np.asarray([3.0, 5.0])).x, 12)
    array([1., 0.])
    """
    if as_number(damp, "damp") < 0:
        raise SpecError(f"damp must not be negative, but got {damp!r}")
    sides = Sides(operator, b, Options(None, rtol, atol, iterations, callback, check))
    xp, ratio, times = sides.xp, sides.ratio, sides.times
    x = sides.start()

    def unit(a: Array) -> tuple[Array, Array]:
        size = sides.norm(a)
        return size, times(ratio(xp.ones_like(size), size), a)

    beta, u = unit(sides.b)
    alpha, v = unit(operator._map_back(u))
    alpha_bar, zeta_bar = alpha, alpha * beta
    limit, norms = sides.limit(alpha * beta), alpha * beta
    rho = rho_bar = c_bar = xp.ones_like(alpha)
    s_bar = xp.zeros_like(alpha)
    h, h_bar = v, xp.zeros_like(v)
    while sides.goes_on(x, norms, limit):
        beta, u = unit(operator._map(v) - times(alpha, u))
        alpha, v = unit(operator._map_back(u) - times(beta, v))
        damped = xp.sqrt(alpha_bar**2 + damp**2)  # a rotation that takes the damping away
        before, rho = rho, xp.sqrt(damped**2 + beta**2)
        c, s = ratio(damped, rho), ratio(beta, rho)
        theta, alpha_bar = s * alpha, c * alpha
        theta_bar, corner = s_bar * rho, c_bar * rho
        earlier, rho_bar = rho_bar, xp.sqrt(corner**2 + theta**2)
        c_bar, s_bar = ratio(corner, rho_bar), ratio(theta, rho_bar)
        zeta, zeta_bar = c_bar * zeta_bar, -s_bar * zeta_bar
        h_bar = h - times(ratio(theta_bar * rho, before * earlier), h_bar)
        x = x + times(ratio(zeta, rho * rho_bar), h_bar)
        h = v - times(ratio(theta, rho), h)
        norms = xp.abs(zeta_bar)
    return sides.solution(x, limit)
