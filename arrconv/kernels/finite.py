"""Zeros beyond the border of y, which some kernels multiply by w and which are no part of the form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrconv.kernels import taps

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.kernels.base import Contract, Problem


def where_finite(contract: Contract) -> Contract:
    """A contraction that leaves ∂T/∂x to the definition where w is not finite: its products with zeros would show."""

    def checked(problem: Problem, first: Array, second: Array) -> Array:
        is_looked_at = problem.direction == "x" and not problem.backend.is_integer
        if is_looked_at and not problem.library.isfinite(first).all():
            return taps.contract(problem, first, second)
        return contract(problem, first, second)

    return checked
