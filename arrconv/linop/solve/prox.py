"""Convex functions and their proximal maps: sparsity, constraints, total variation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arrconv._namespace import dtype_name, namespace_of
from arrconv.errors import DTypeError, SpecError
from arrconv.functional.reals import as_number
from arrconv.linop.differences import Differences
from arrconv.linop.solve.fista import fista
from arrconv.spec import as_int

if TYPE_CHECKING:
    from arrconv._namespace import Array

_LOOKS = 10  # iterations of the dual problem from one look to the next


@dataclass(frozen=True, slots=True)
class L1:
    """g(x) = weight·Σ|x|, whose proximal map draws each number towards 0, and small ones onto it.

    Args:
        weight: not negative.

    Raises:
        SpecError: the weight is negative.

    Source: I. Daubechies, M. Defrise, C. De Mol, "An iterative thresholding algorithm for linear inverse problems with
    a sparsity constraint", 2004.

    >>> import numpy as np
    >>> L1(2.0).prox(np.asarray([[3.0, -1.0, -4.0]]), 0.5)
    array([[ 2., -0., -3.]])
    """

    weight: float

    def __post_init__(self) -> None:
        _check_weight(self.weight)

    def value(self, x: Array) -> Array:
        """g of each of (N, *shape), (N,)."""
        return self.weight * _sum(namespace_of(x).abs(x))

    def prox(self, x: Array, step: float) -> Array:
        """Of each of (N, *shape), the z with the least g(z) + ‖z − x‖²/(2·step)."""
        xp = namespace_of(x)
        size, least = xp.abs(x), step * self.weight
        is_kept = size > least
        return x * xp.where(is_kept, 1 - least / xp.where(is_kept, size, xp.ones_like(size)), xp.zeros_like(size))


@dataclass(frozen=True, slots=True)
class Box:
    """g(x) = 0 where all numbers of x are real and from low to high, else ∞: a constraint, whose map is a projection.

    Args:
        low, high: the least and the largest number allowed; infinite where there is none.

    Raises:
        SpecError: low exceeds high.

    >>> import numpy as np
    >>> Box(0.0, 1.0).prox(np.asarray([[-2.0, 0.5, 3.0]]), 0.1)
    array([[0. , 0.5, 1. ]])
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise SpecError(f"low={self.low!r} must not exceed high={self.high!r}")

    def value(self, x: Array) -> Array:
        """g of each of (N, *shape), (N,)."""
        xp = namespace_of(x)
        return _sum(xp.where(x == self.prox(x, 1.0), xp.zeros_like(x), xp.full_like(x, math.inf)))

    def prox(self, x: Array, step: float) -> Array:
        """Of each of (N, *shape), the nearest in the box, whatever the step."""
        xp = namespace_of(x)
        if xp.isdtype(x.dtype, "complex floating"):
            raise DTypeError(f"a box holds real numbers, but got dtype {dtype_name(x.dtype)}")
        return xp.minimum(xp.maximum(x, xp.full_like(x, self.low)), xp.full_like(x, self.high))


@dataclass(frozen=True, slots=True)
class NonNegative(Box):
    """g(x) = 0 where no number of x is negative, else ∞.

    >>> import numpy as np
    >>> NonNegative().prox(np.asarray([[-2.0, 0.5]]), 0.1)
    array([[0. , 0.5]])
    """

    low: float = field(default=0.0, init=False)
    high: float = field(default=math.inf, init=False)


@dataclass(frozen=True, slots=True)
class TotalVariation:
    """g(x) = weight·Σ‖differences of neighbours‖ over the last axes, isotropic: x with edges, and flat between.

    Axes before the last ones, such as channels, are images of their own. The proximal map is found by `fista` on the
    dual problem, whose unknowns are one vector for each element, and is only as exact as that.

    Args:
        weight: not negative.
        ndim: how many of the last axes have neighbours.
        iterations: of the dual problem, the most that are taken. It is looked every 10 of them whether it is solved.
        rtol: where it stops before, as for `fista`. A problem of which this is part cannot be solved more exactly.

    Raises:
        SpecError: the weight is negative, or ndim is not above 0; in `prox`, another number has no meaning.

    Source: L. I. Rudin, S. Osher, E. Fatemi, "Nonlinear total variation based noise removal algorithms", 1992; A.
    Chambolle, "An algorithm for total variation minimization and applications", 2004; A. Beck, M. Teboulle, "Fast
    gradient-based algorithms for constrained total variation image denoising and deblurring problems", 2009.

    >>> import numpy as np
    >>> np.round(TotalVariation(1.0, 1, rtol=1e-9).prox(np.asarray([[0.0, 0.0, 6.0, 6.0]]), 1.0), 6)
    array([[0.5, 0.5, 5.5, 5.5]])
    """

    weight: float
    ndim: int
    iterations: int = 100
    rtol: float = 1e-6

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        as_int(self.ndim, "ndim", 1)

    def value(self, x: Array) -> Array:
        """g of each of (N, *shape), (N,)."""
        return self.weight * _sum(_lengths(self._differences(x)._map(x)))

    def prox(self, x: Array, step: float) -> Array:
        """Of each of (N, *shape), the z with the least g(z) + ‖z − x‖²/(2·step)."""
        scale = self.weight * step
        if not scale:
            return x
        back = self._differences(x).H
        dual = fista(
            back,
            x / scale,
            proximal=_UnitVectors(),
            step=1 / (4 * self.ndim),
            rtol=self.rtol,
            iterations=self.iterations,
            check=_LOOKS,
        )
        return x - scale * back._map(dual.x)

    def _differences(self, x: Array) -> Differences:
        return Differences(tuple(x.shape)[1:], self.ndim, x)


class _UnitVectors:
    """The constraint that no vector along axis 1 is longer than 1."""

    def prox(self, p: Array, step: float) -> Array:
        xp, lengths = namespace_of(p), _lengths(p)
        return p / xp.maximum(lengths, xp.ones_like(lengths))


def _lengths(p: Array) -> Array:
    """Of the vectors along axis 1, which is kept."""
    xp = namespace_of(p)
    return xp.linalg.vector_norm(p, axis=1, keepdims=True)


def _sum(x: Array) -> Array:
    """Of each of (N, *shape), (N,)."""
    xp = namespace_of(x)
    return xp.sum(xp.reshape(x, (x.shape[0], math.prod(x.shape[1:]))), axis=1)


def _check_weight(weight: float) -> None:
    if as_number(weight, "weight") < 0:
        raise SpecError(f"weight must not be negative, but got {weight!r}")
