"""FISTA: proximal gradient steps with momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from arrconv.linop.solve.proximal_gradient import ProximalOptions, proximal_gradient
from arrconv.spec import check_options

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator
    from arrconv.linop.solve.solution import Solution


def fista(operator: Operator, b: Array, /, **options: Unpack[ProximalOptions]) -> Solution:
    """Find the x with the least ½‖A x − b‖² + g(x), for a convex g that is given by its proximal map.

    Where the momentum leads back, it is dropped, for each right-hand side on its own.

    Args:
        operator: A, of any shape.
        b: (*batch, *shape_out); each is solved on its own.
        options: proximal, step, x0, rtol, atol, iterations, callback and check, as for `ProximalOptions` and
            `SolverOptions`; the scale is ‖A.H b‖.

    Returns:
        A `Solution`. Its norms are those of a subgradient of the objective at x: of A.H (A x − b) plus the subgradient
        of g that the last step has found; where the search begins, they are ‖x − prox(x − step·A.H (A x − b))‖/step.

    Raises:
        ShapeError: shapes do not fit.
        SpecError: an option has no meaning, or the step is sought and numbers are not finite.
        DTypeError, DeviceError: arrays are of another library or dtype than the operator, or on another device.

    Source: A. Beck, M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse problems", 2009,
    section 4; B. O'Donoghue, E. Candès, "Adaptive restart for accelerated gradient schemes", 2015, section 3.2.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> from arrconv.linop.solve import L1
    >>> found = fista(Diagonal(np.asarray([1.0, 2.0])), np.asarray([3.0, 0.5]), proximal=L1(2.0))
    >>> np.round(found.x, 6)
    array([1., 0.])
    """
    check_options("fista", options, ProximalOptions)
    return proximal_gradient(operator, b, lambda t: (1 + operator.xp.sqrt(1 + 4 * t**2)) / 2, **options)
