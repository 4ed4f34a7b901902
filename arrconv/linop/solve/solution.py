"""What all solvers have in common: the right-hand sides, when they are done, and what is handed back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrconv._namespace import backend_of
from arrconv.errors import ShapeError, SpecError
from arrconv.functional.reals import as_number
from arrconv.spec import as_int

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator


@dataclass(frozen=True, slots=True)
class Step:
    """What a callback is told after an iteration.

    Attributes:
        iteration: from 1 on.
        x: the solutions so far.
        norms: what must fall below the limits, for each right-hand side.
    """

    iteration: int
    x: Array
    norms: Array


Callback = Callable[[Step], Any]
"""Is told of each iteration; if it returns True the solver stops."""


@dataclass(frozen=True, slots=True)
class Solution:
    """What a solver found.

    Attributes:
        x: the solutions, (*batch, *shape_in).
        norms: after each iteration, from the start on, what must fall below the limits, (iterations + 1, *batch).
        iterations: how many were taken.
        is_converged: for each right-hand side, whether it did, (*batch).
        message: why it stopped, in words.
    """

    x: Array
    norms: Array
    iterations: int
    is_converged: Array
    message: str


class Sides:
    """Right-hand sides (*batch, *shape), as (N, *shape), each a problem of its own with a limit of its own.

    Args:
        operator: maps what is sought to the right-hand sides.
        b: the right-hand sides.
        options: of the solver.
    """

    def __init__(self, operator: Operator, b: Array, options: Options) -> None:
        backend_of(b=b, **{"the operator": operator.example})
        self.operator, self.xp = operator, operator.xp
        axes = len(operator.shape_out)
        self.batch = tuple(b.shape[: b.ndim - axes])
        if b.ndim < axes or tuple(b.shape[b.ndim - axes :]) != operator.shape_out:
            raise ShapeError(f"b has shape {tuple(b.shape)}, but {operator} gives (…, {operator.shape_out})")
        self.count = math.prod(self.batch)
        self.b = self.xp.reshape(b, (self.count, *operator.shape_out))
        self.options = options
        self._history: list[Array] = []
        self._message = ""

    def start(self) -> Array:
        """Where the search begins, (N, *shape_in)."""
        xp, x0, operator = self.xp, self.options.x0, self.operator
        if x0 is None:
            return xp.zeros((self.count, *operator.shape_in), dtype=operator.dtype, device=operator.device)
        if tuple(x0.shape) != (*self.batch, *operator.shape_in):
            raise ShapeError(f"x0 has shape {tuple(x0.shape)}, but {(*self.batch, *operator.shape_in)} is sought")
        return xp.reshape(x0, (self.count, *operator.shape_in))

    def inner(self, a: Array, b: Array) -> Array:
        """Re Σ conj(a)·b of each, (N,)."""
        xp = self.xp
        a, b = (xp.reshape(array, (self.count, math.prod(array.shape[1:]))) for array in (a, b))
        return xp.real(xp.vecdot(a, b)) if self.operator.is_complex else xp.vecdot(a, b)

    def norm(self, a: Array) -> Array:
        """The 2-norm of each, (N,)."""
        return self.xp.sqrt(self.inner(a, a))

    def times(self, factors: Array, a: Array) -> Array:
        """Each times a factor (N,)."""
        return self.xp.reshape(factors, (self.count, *(1,) * (a.ndim - 1))) * a

    def ratio(self, a: Array, b: Array) -> Array:
        """a/b of each; 0 where b is 0, as it is where nothing is left to do."""
        is_zero = b == 0
        return self.xp.where(is_zero, self.xp.zeros_like(a), a / self.xp.where(is_zero, self.xp.ones_like(b), b))

    def limit(self, scale: Array) -> Array:
        """What norms must not exceed: relative to a scale (N,), or absolute."""
        absolute = self.xp.full_like(scale, self.options.atol)
        return self.xp.maximum(self.options.rtol * scale, absolute)

    def goes_on(self, x: Array, norms: Array, limit: Array) -> bool:
        """Note an iteration; whether there is another."""
        xp, options, done = self.xp, self.options, len(self._history)
        self._history.append(norms)
        if done and options.callback is not None and options.callback(Step(done, self._shaped(x), self._listed(norms))):
            self._message = f"the callback stopped it after {done} iterations"
        elif done % options.check == 0 and bool(xp.all(norms <= limit)):
            self._message = f"converged after {done} iterations"
        elif done % options.check == 0 and not bool(xp.all(xp.isfinite(norms))):
            self._message = f"stopped after {done} iterations: a norm is not finite any more"
        elif done >= options.iterations:
            self._message = f"stopped after {done} iterations, the most that were allowed"
        return not self._message

    def stop(self, reason: str) -> None:
        """Say why it cannot go on."""
        self._message = f"stopped after {len(self._history) - 1} iterations: {reason}"

    def solution(self, x: Array, limit: Array) -> Solution:
        """What was found."""
        xp = self.xp
        norms = xp.reshape(xp.stack(self._history), (len(self._history), *self.batch))
        is_converged = xp.reshape(self._history[-1] <= limit, self.batch)
        return Solution(self._shaped(x), norms, len(self._history) - 1, is_converged, self._message)

    def _shaped(self, x: Array) -> Array:
        return self.xp.reshape(x, (*self.batch, *self.operator.shape_in))

    def _listed(self, norms: Array) -> Array:
        return self.xp.reshape(norms, self.batch)


@dataclass(frozen=True, slots=True)
class Options:
    """What all solvers can be told.

    Attributes:
        x0: where the search begins; at 0 without it.
        rtol, atol: the limits of the norm, relative and absolute, from 0 on.
        iterations: the most that are taken.
        callback: is told of each iteration.
        check: after so many iterations each it is looked whether all are done, which a GPU has to wait for.
    """

    x0: Array | None
    rtol: float
    atol: float
    iterations: int
    callback: Callback | None
    check: int

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            if as_number(getattr(self, name), name) < 0:
                raise SpecError(f"{name} must not be negative, but got {getattr(self, name)!r}")
        as_int(self.iterations, "iterations", 0)
        as_int(self.check, "check", 1)
