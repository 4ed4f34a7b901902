"""Inverses whose every value is the end of an iteration."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from arrconv.linop.operator import Operator
from arrconv.linop.solve.lsmr import lsmr

if TYPE_CHECKING:
    from arrconv._namespace import Array

_RTOL, _ITERATIONS = 1e-10, 2000


class ConvergenceWarning(UserWarning):
    """An iteration stopped before it was as exact as it should be."""


class Iterated(Operator):
    """The x with the least ‖A x − y‖² + damp²·‖x‖² for each y, by LSMR: linear as far as that converges.

    Args:
        operator: A.
        damp: not negative.
    """

    def __init__(self, operator: Operator, damp: float) -> None:
        super().__init__(operator.shape_out, operator.shape_in, operator.example)
        self.operator, self.damp = operator, damp

    def _map(self, y: Array) -> Array:
        return _solved(self.operator, y, self.damp)

    def _map_back(self, x: Array) -> Array:
        return _solved(self.operator.H, x, self.damp)  # the adjoint of the inverse is the inverse of the adjoint


def _solved(operator: Operator, b: Array, damp: float) -> Array:
    xp = operator.xp
    rtol = max(_RTOL, 10 * float(xp.finfo(operator.dtype).eps))
    found = lsmr(operator, b, damp=damp, rtol=rtol, iterations=_ITERATIONS)
    if not bool(xp.all(found.is_converged)):
        first, last = found.norms[0, ...], found.norms[-1, ...]
        share = float(xp.max(last / xp.where(first > 0, first, xp.ones_like(first))))
        warnings.warn(
            f"an inverse of {operator} by iteration: {found.message}, at {share:.0e} of where it began; what it gives "
            "is an approximation. More damping helps, or a larger budget",
            ConvergenceWarning,
            stacklevel=4,
        )
    return found.x
