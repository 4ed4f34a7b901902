"""What a kernel is: a name, the problems it refuses, and one function for all three contractions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array, Backend
    from arrconv.geometry import Direction, Geometry


@dataclass(frozen=True, slots=True)
class Problem:
    """A contraction to be computed: which one, its sizes (batched, zero padding only) and where its arrays live.

    The operands come in the order of the form: (x, w) for y, (w, y) for x, (x, y) for w.
    """

    direction: Direction
    geometry: Geometry
    backend: Backend


@dataclass(frozen=True, slots=True)
class Kernel:
    """One way to compute a contraction.

    `refuses` gives the reason why the kernel cannot serve a problem, or None. `contract` takes a problem and its two
    operands in their own dtype, and returns the result in the accumulator's dtype, in fresh memory.
    """

    name: str
    refuses: Callable[[Problem], str | None]
    contract: Callable[[Problem, Array, Array], Array]


def in_dtype(array: Array, dtype: Any) -> Array:
    """A NumPy or CuPy array in a dtype; itself where it has it."""
    return array if array.dtype == dtype else array.astype(dtype)
