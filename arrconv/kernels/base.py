"""What a kernel is: a name, the problems it refuses, and one function for all three contractions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from arrconv._namespace import Array, Backend
    from arrconv.geometry import Direction, Geometry


@dataclass(frozen=True, slots=True)
class Problem:
    """A contraction to be computed: which one, its sizes (batched, zero padding only) and where its arrays live.

    The operands come in the order of the form: (x, w) for y, (w, y) for x, (x, y) for w. Where it `is_final` nothing is
    added to what is computed, so that a kernel may round it to the result's dtype itself.
    """

    direction: Direction
    geometry: Geometry
    backend: Backend
    is_final: bool = False

    @property
    def library(self) -> Any:
        """The raw library, NumPy or CuPy: kernels need more of it than the standard offers."""
        return sys.modules[self.backend.library]

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the accumulator, for NumPy and CuPy."""
        dtype: np.dtype[Any] = np.dtype(self.backend.accumulator)
        return dtype

    @property
    def returned(self) -> np.dtype[Any]:
        """That in which a kernel that rounds once at the end returns what it computes, for NumPy and CuPy."""
        dtype: np.dtype[Any] = np.dtype(self.backend.result) if self.is_final else self.dtype
        return dtype


Contract = Callable[[Problem, "Array", "Array"], "Array"]
"""Takes a problem and its two operands in their own dtype; returns the result in the accumulator's, or in what
`Problem.returned` says, in fresh memory."""


def never(_: Problem) -> str | None:
    """None: a kernel that yields to no other."""
    return None


@dataclass(frozen=True, slots=True)
class Kernel:
    """One way to compute a contraction.

    `refuses` gives the reason why the kernel cannot serve a problem, or None; `yields` the reason why, where it is not
    asked for by name, it leaves a problem to others that are faster.
    """

    name: str
    refuses: Callable[[Problem], str | None]
    contract: Contract
    yields: Callable[[Problem], str | None] = never

    def passes(self, problem: Problem) -> str | None:
        """Why the kernel is not chosen among others, or None."""
        return self.yields(problem) or self.refuses(problem)


def in_dtype(array: Array, dtype: Any) -> Array:
    """A NumPy or CuPy array in a dtype; itself where it has it."""
    return array if array.dtype == dtype else array.astype(dtype)
