"""The power iteration: the largest singular value of an operator, with its vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrconv.errors import SpecError
from arrconv.functional.reals import as_number
from arrconv.linop.laws import random_like
from arrconv.spec import as_int

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.linop.operator import Operator


@dataclass(frozen=True, slots=True)
class SingularTriplet:
    """A singular value with its vectors, as `power` found them: A·right = value·left.

    Attributes:
        value: σ, not negative.
        left, right: u, of shape_out, and v, of shape_in, of norm 1; u is 0 where σ is.
        residual: ‖A.H A v − σ² v‖/σ². Some singular value's square is no further from σ² than this share of it.
        iterations: how many were taken.
        is_converged: whether the residual is small enough.
        message: why it stopped, in words.
    """

    value: float
    left: Array
    right: Array
    residual: float
    iterations: int
    is_converged: bool
    message: str


def power(
    operator: Operator, /, *, rtol: float = 1e-6, iterations: int = 1000, check: int = 1, seed: int = 0
) -> SingularTriplet:
    """The largest singular value of an operator and its vectors, by applying A.H A again and again.

    The residual falls by (σ₂/σ₁)² in each iteration. `norm_bounds` needs fewer for the value alone.

    Args:
        operator: A, of any shape.
        rtol: it stops where the residual does not exceed it; from 0 on.
        iterations: the most that are taken.
        check: after so many iterations each it is looked at the residual, which a GPU has to wait for.
        seed: what decides where the iteration begins.

    Returns:
        A `SingularTriplet`. Its value never exceeds the norm, but for rounding.

    Raises:
        SpecError: an option has no meaning, or there are numbers that are not finite.

    Source: G. H. Golub, C. F. Van Loan, "Matrix computations", 4th edition, 2013, section 8.2.1.

    >>> import numpy as np
    >>> from arrconv.linop import Diagonal
    >>> found = power(Diagonal(np.asarray([1.0, -3.0, 2.0])))
    >>> round(found.value, 9), np.round(np.abs(found.right), 5)
    (3.0, array([0., 1., 0.]))
    """
    if as_number(rtol, "rtol") < 0:
        raise SpecError(f"rtol must not be negative, but got {rtol!r}")
    iterations, check = as_int(iterations, "iterations", 0), as_int(check, "check", 1)
    xp, done = operator.xp, 0
    _, v = _unit(operator, random_like(operator.example, (1, *operator.shape_in), seed, 13))
    image = operator._map(v)
    if not bool(xp.all(xp.isfinite(image))):
        raise SpecError(f"{operator} has numbers that are not finite, and no norm")
    while True:
        size, u = _unit(operator, image)
        back = operator._map_back(u)
        if done % check == 0 or done == iterations:
            value, gap = float(size), float(xp.linalg.vector_norm(back - size * v))
            is_converged = gap <= rtol * value
            if is_converged or done == iterations:
                break
        _, v = _unit(operator, back)
        image, done = operator._map(v), done + 1
    reason = f"converged after {done}" if is_converged else f"stopped after {done}"
    return SingularTriplet(
        value,
        u[0, ...],
        v[0, ...],
        gap / value if value else 0.0,
        done,
        is_converged,
        f"{reason} iterations" + ("" if is_converged else ", the most that were allowed"),
    )


def _unit(operator: Operator, a: Array) -> tuple[Array, Array]:
    """The norm of an array, and the array of norm 1; 0 where it is."""
    xp = operator.xp
    size = xp.linalg.vector_norm(a)
    return size, a / xp.where(size > 0, size, xp.ones_like(size))
