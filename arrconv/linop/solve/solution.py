"""What all solvers have in common: the right-hand sides, when they are done, and what is handed back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

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


class SolverOptions(TypedDict, total=False):
    """The keyword options that every solver shares.

    Attributes:
        x0: where the search begins, (*batch, *shape_in); 0 without it.
        rtol, atol: it stops where the norms do not exceed max(rtol·scale, atol); 1e-8 and 0 without them. Each solver
            says of what the norms are, and what the scale is.
        iterations: the most that are taken; 1000 without it.
        callback: is told of each iteration by a `Step`; it stops if that returns True.
        check: after so many iterations each it is looked whether all are done, which a GPU has to wait for; 1 without
            it.
    """

    x0: Array | None
    rtol: float
    atol: float
    iterations: int
    callback: Callback | None
    check: int


class Sides:
    """Right-hand sides (*batch, *shape), as (N, *shape), each a problem of its own with a limit of its own.

    One that is done stays as it is, so that what is found does not depend on its companions.

    Args:
        operator: maps what is sought to the right-hand sides.
        b: the right-hand sides.
        preconditioner: maps what the operator takes to the same.
        x0, rtol, atol, iterations, callback, check: as `SolverOptions` describes them.
    """

    def __init__(
        self,
        operator: Operator,
        b: Array,
        *,
        preconditioner: Operator | None = None,
        x0: Array | None = None,
        rtol: float = 1e-8,
        atol: float = 0.0,
        iterations: int = 1000,
        callback: Callback | None = None,
        check: int = 1,
    ) -> None:
        arrays = {"b": b} if x0 is None else {"b": b, "x0": x0}
        backend_of(**arrays, **{"the operator": operator.example})
        self.operator, self.xp = operator, operator.xp
        axes = len(operator.shape_out)
        self.batch = tuple(b.shape[: b.ndim - axes])
        if b.ndim < axes or tuple(b.shape[b.ndim - axes :]) != operator.shape_out:
            raise ShapeError(f"b has shape {tuple(b.shape)}, but {operator} gives (…, {operator.shape_out})")
        self.count = math.prod(self.batch)
        self.b = self.xp.reshape(b, (self.count, *operator.shape_out))
        if x0 is not None and tuple(x0.shape) != (*self.batch, *operator.shape_in):
            raise ShapeError(f"x0 has shape {tuple(x0.shape)}, but {(*self.batch, *operator.shape_in)} is sought")
        if preconditioner is not None and {preconditioner.shape_in, preconditioner.shape_out} != {operator.shape_in}:
            raise ShapeError(f"the preconditioner {preconditioner} does not take and give what {operator} takes")
        for name, number in (("rtol", rtol), ("atol", atol)):
            if as_number(number, name) < 0:
                raise SpecError(f"{name} must not be negative, but got {number!r}")
        self.x0, self.preconditioner, self._callback = x0, preconditioner, callback
        self._rtol, self._atol = rtol, atol
        self._iterations, self.check = as_int(iterations, "iterations", 0), as_int(check, "check", 1)
        self._history: list[Array] = []
        self._is_done = self.xp.zeros((self.count,), dtype=self.xp.bool, device=operator.device)
        self._message = ""

    def start(self) -> Array:
        """Where the search begins, (N, *shape_in)."""
        shape, operator = (self.count, *self.operator.shape_in), self.operator
        if self.x0 is None:
            return self.xp.zeros(shape, dtype=operator.dtype, device=operator.device)
        return self.xp.reshape(self.x0, shape)

    def residual(self, x: Array) -> Array:
        """b − A x, where the search begins."""
        return self.b if self.x0 is None else self.b - self.operator._map(x)

    def preconditioned(self, a: Array) -> Array:
        """What the preconditioner gives; the array itself without one."""
        return a if self.preconditioner is None else self.preconditioner._map(a)

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
        return self._beside(factors, a) * a

    def ratio(self, a: Array, b: Array) -> Array:
        """a/b of each; 0 where b is 0, as it is where nothing is left to do."""
        is_zero = b == 0
        return self.xp.where(is_zero, self.xp.zeros_like(a), a / self.xp.where(is_zero, self.xp.ones_like(b), b))

    def limit(self, scale: Array) -> Array:
        """What norms must not exceed: relative to a scale (N,), or absolute."""
        return self.xp.maximum(self._rtol * scale, self.xp.full_like(scale, self._atol))

    def limit_from(self, first: Array, norm: Callable[[Array], Array]) -> Array:
        """The limits, where the scale is the norm of A.H b, which is the first one where the search begins at 0."""
        return self.limit(first if self.x0 is None else norm(self.operator._map_back(self.b)))

    def updated(self, x: Array, new: Array) -> Array:
        """The new one of each that is not done."""
        return self.xp.where(self._beside(self._is_done, x), x, new)

    def goes_on(self, x: Array, norms: Array, limit: Array) -> bool:
        """Note an iteration; whether there is another."""
        xp, done = self.xp, len(self._history)
        if done:
            norms = xp.where(self._is_done, self._history[-1], norms)
        self._history.append(norms)
        self._is_done = norms <= limit
        if done and self._callback is not None and self._callback(Step(done, self._shaped(x), self._listed(norms))):
            self._message = f"the callback stopped it after {done} iterations"
        elif done % self.check == 0 and bool(xp.all(self._is_done)):
            self._message = f"converged after {done} iterations"
        elif done % self.check == 0 and not bool(xp.all(xp.isfinite(norms))):
            self._message = f"stopped after {done} iterations: a norm is not finite any more"
        elif done >= self._iterations:
            self._message = f"stopped after {done} iterations, the most that were allowed"
        return not self._message

    def stop(self, reason: str) -> None:
        """Say why it cannot go on."""
        self._message = f"stopped after {len(self._history) - 1} iterations: {reason}"

    def solution(self, x: Array) -> Solution:
        """What was found."""
        xp = self.xp
        norms = xp.reshape(xp.stack(self._history), (len(self._history), *self.batch))
        return Solution(self._shaped(x), norms, len(self._history) - 1, self._listed(self._is_done), self._message)

    def _beside(self, each: Array, a: Array) -> Array:
        """What is one for each, (N,), in a shape that broadcasts to that of (N, ...)."""
        return self.xp.reshape(each, (self.count, *(1,) * (a.ndim - 1)))

    def _shaped(self, x: Array) -> Array:
        return self.xp.reshape(x, (*self.batch, *self.operator.shape_in))

    def _listed(self, norms: Array) -> Array:
        return self.xp.reshape(norms, self.batch)
