"""What the solvers of least squares have in common: damping, preconditioning, bidiagonalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from arrconv.errors import SpecError
from arrconv.functional.reals import as_number
from arrconv.linop.operator import stack
from arrconv.linop.simple import Identity
from arrconv.linop.solve.solution import Sides, SolverOptions

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator


class LeastSquaresOptions(SolverOptions, total=False):
    """The keyword options of `cgls`, `lsqr` and `lsmr`: those of every solver, and two more.

    Attributes:
        damp: not negative; 0 without it.
        preconditioner: an operator near (A.H A + damp²)⁻¹, Hermitian and positive definite. It changes how many
            iterations are needed, and what is found only where several x are as good: then that with the least
            ⟨x, M⁻¹ x⟩, if M is the preconditioner. For a convolution with zeros around there is that of the circular
            one, C: with T = `pinv(C)` it is T @ T.H, with T = `tikhonov(C, damp)` it is (1 − T @ C)/damp².
    """

    damp: float
    preconditioner: Operator | None


class LeastSquares(Sides):
    """The x with the least ‖A x − b‖² + damp²·‖x‖², as that with the least ‖[A; damp·1] x − [b; 0]‖².

    So damping is written once, and holds where x0 or a preconditioner change what is iterated.

    Args:
        operator: A.
        b: the right-hand sides.
        damp: the damping.
        options: of `Sides`.
    """

    def __init__(
        self,
        operator: Operator,
        b: Array,
        *,
        damp: float = 0.0,
        preconditioner: Operator | None = None,
        **options: Unpack[SolverOptions],
    ) -> None:
        super().__init__(operator, b, preconditioner=preconditioner, **options)
        if as_number(damp, "damp") < 0:
            raise SpecError(f"damp must not be negative, but got {damp!r}")
        if damp:
            xp, n = self.xp, operator.size_in
            self.operator = stack([operator, damp * Identity(operator.shape_in, operator.example)])
            zeros = xp.zeros((self.count, n), dtype=operator.dtype, device=operator.device)
            self.b = xp.concat([xp.reshape(self.b, (self.count, operator.size_out)), zeros], axis=1)

    def size(self, back: Array) -> Array:
        """The norm of what the adjoint gave, in the preconditioner's inner product."""
        return self.xp.sqrt(self.inner(back, self.preconditioned(back)))


class Bidiagonalisation:
    """A V = U B and A.H U = M⁻¹ V B.H, B lower bidiagonal, column by column; U.H U = 1 and V.H M⁻¹ V = 1.

    M is the preconditioner; without one it is 1.

    Args:
        problem: with A and M.
        r: of which the first column of U is a multiple.

    Attributes:
        alpha, beta: what the last column of B has on its diagonal, and what the one before has below it; ‖r‖ at first.
        v: the last column of V.

    Source: G. Golub, W. Kahan, "Calculating the singular values and pseudo-inverse of a matrix", 1965; for M, M.
    Arioli, "Generalized Golub–Kahan bidiagonalization and stopping criteria", 2013, section 2.
    """

    def __init__(self, problem: LeastSquares, r: Array) -> None:
        self._problem = problem
        self._extend(r)
        self._extend_back(problem.operator._map_back(self._u))

    def advance(self) -> None:
        """Find the next columns."""
        operator, times = self._problem.operator, self._problem.times
        self._extend(operator._map(self.v) - times(self.alpha, self._u))
        self._extend_back(operator._map_back(self._u) - times(self.beta, self._back))

    def _extend(self, u: Array) -> None:
        self.beta = self._problem.norm(u)
        self._u = self._divided(u, self.beta)

    def _extend_back(self, back: Array) -> None:
        v = self._problem.preconditioned(back)
        self.alpha = self._problem.xp.sqrt(self._problem.inner(back, v))
        self._back, self.v = self._divided(back, self.alpha), self._divided(v, self.alpha)

    def _divided(self, a: Array, size: Array) -> Array:
        return self._problem.times(self._problem.ratio(self._problem.xp.ones_like(size), size), a)
