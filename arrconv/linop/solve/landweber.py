"""Landweber's iteration: steps along the gradient, projected where there are constraints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from arrconv.linop.solve.proximal_gradient import ProximalOptions, proximal_gradient
from arrconv.spec import check_options

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator
    from arrconv.linop.solve.solution import Solution


def landweber(operator: Operator, b: Array, /, **options: Unpack[ProximalOptions]) -> Solution:
    """Find the x with the least ½‖A x − b‖² + g(x) as `fista` does, without momentum.

    It needs more iterations, and no x is further from the solution than the one before. Stopped early it regularises.

    Args:
        operator: A, of any shape.
        b: (*batch, *shape_out); each is solved on its own.
        options: proximal, step, x0, rtol, atol, iterations, callback and check, as for `ProximalOptions` and
            `SolverOptions`; the scale is ‖A.H b‖.

    Returns:
        A `Solution`, whose norms are as those of `fista`.

    Raises:
        ShapeError: shapes do not fit.
        SpecError: an option has no meaning, or the step is sought and numbers are not finite.
        DTypeError, DeviceError: arrays are of another library or dtype than the operator, or on another device.

    Source: L. Landweber, "An iteration formula for Fredholm integral equations of the first kind", 1951; with
    constraints, B. Eicke, "Iteration methods for convexly constrained ill-posed problems in Hilbert space", 1992.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> from arrconv.linop.solve import NonNegative
    >>> found = landweber(Diagonal(np.asarray([1.0, 2.0])), np.asarray([3.0, -1.0]), proximal=NonNegative())
    >>> np.round(found.x, 6)
    array([3., 0.])
    """
    check_options("landweber", options, ProximalOptions)
    return proximal_gradient(operator, b, lambda t: t, **options)
