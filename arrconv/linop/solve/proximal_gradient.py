"""Steps along the gradient of ½‖A x − b‖², each followed by the proximal map of what is added to it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol, Unpack

from arrconv.functional.reals import as_number
from arrconv.linop.norm import norm_bounds
from arrconv.linop.solve.solution import Sides, SolverOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator
    from arrconv.linop.solve.solution import Solution

_SAFETY = 1.05  # what an estimate of a norm, which is too small, is multiplied by


class Proximal(Protocol):
    """A convex function g of arrays, as `fista` and `landweber` need it."""

    def prox(self, x: Array, step: float) -> Array:
        """Of each of (N, *shape), the z with the least g(z) + ‖z − x‖²/(2·step)."""


class Penalty(Proximal, Protocol):
    """A convex function g of arrays, whose values can be had."""

    def value(self, x: Array) -> Array:
        """g of each of (N, *shape), (N,)."""


class ProximalOptions(SolverOptions, total=False):
    """The keyword options of `fista` and `landweber`: those of every solver, and two more.

    Attributes:
        proximal: g, such as `L1` or `NonNegative`; 0 without it.
        step: the length of the steps, above 0: up to 1/‖A‖² for `fista`, below 2/‖A‖² for `landweber`. Without it
            1/‖A‖², from the upper bound that `norm_bounds` finds; where none is known, from its lower one and 5 %.
    """

    proximal: Proximal | None
    step: float | None


def objective(operator: Operator, b: Array, x: Array, /, penalty: Penalty | None = None) -> Array:
    """½‖A x − b‖² + g(x), for instance of the x that a callback is told.

    Args:
        operator: A.
        b: (*batch, *shape_out).
        x: (*batch, *shape_in).
        penalty: g; 0 without it.

    Returns:
        (*batch,), real.

    Raises:
        ShapeError: shapes do not fit.
        DTypeError, DeviceError: arrays are of another library or dtype than the operator, or on another device.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> from arrconv.linop.solve import L1
    >>> float(objective(Diagonal(np.asarray([1.0, 2.0])), np.asarray([3.0, 0.0]), np.asarray([1.0, -1.0]), L1(0.5)))
    5.0
    """
    sides = Sides(operator, b, x0=x)
    x = sides.start()
    r = sides.residual(x)
    value = sides.inner(r, r) / 2
    return operator.xp.reshape(value if penalty is None else value + penalty.value(x), sides.batch)


def proximal_gradient(
    operator: Operator,
    b: Array,
    grown: Callable[[Array], Array],
    *,
    proximal: Proximal | None = None,
    step: float | None = None,
    **options: Unpack[SolverOptions],
) -> Solution:
    """The x with the least ½‖A x − b‖² + g(x), by steps from points beyond the last x.

    Args:
        operator, b: A and b.
        grown: t ↦ the next t, from 1 on: the points lie (t − 1)/t′ of the last change beyond x. A side whose step leads
            back begins at t = 1 again.
        proximal, step, options: as for `ProximalOptions`.

    Returns:
        A `Solution`. The gradient is affine: at a point beyond x it is known from those at the last two x. So it is
        computed at x alone, and with it comes the subgradient there whose norms are noted.
    """
    sides = Sides(operator, b, **options)
    xp, times = sides.xp, sides.times
    length = _length(operator) if step is None else as_number(step, "step", above=0)

    def stepped(y: Array, slope: Array) -> Array:
        z = y - length * slope
        return z if proximal is None else proximal.prox(z, length)

    x = y = sides.start()
    g = slope = -operator._map_back(sides.residual(x))
    limit, norms = sides.limit_from(sides.norm(g), sides.norm), sides.norm(x - stepped(x, g)) / length
    t = one = xp.ones_like(norms)
    while sides.goes_on(x, norms, limit):
        before, last = x, g
        x = sides.updated(x, stepped(y, slope))
        g = operator._map_back(operator._map(x) - sides.b)
        norms = sides.norm((y - x) / length + g - slope)
        t = xp.where(sides.inner(y - x, x - before) > 0, one, t)
        after = grown(t)
        weights, t = (t - 1) / after, after
        y, slope = x + times(weights, x - before), g + times(weights, g - last)
    return sides.solution(x)


def _length(operator: Operator) -> float:
    """1/‖A‖², or a little less; 1 where A is 0 and any will do."""
    bounds = norm_bounds(operator)
    norm = bounds.high if math.isfinite(bounds.high) else _SAFETY * bounds.low
    return 1 / norm**2 if norm else 1.0
