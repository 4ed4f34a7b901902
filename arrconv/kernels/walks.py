"""How outputs read inputs, and inputs outputs, for all axes together; made once for a geometry."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.axis import Phase, Windows
    from arrconv.geometry import Geometry


@lru_cache(maxsize=1024)
def windows_of(geometry: Geometry) -> tuple[Windows, ...]:
    """How outputs read inputs, on each axis."""
    return tuple(axis.windows() for axis in geometry.axes)


@lru_cache(maxsize=1024)
def phases_of(geometry: Geometry) -> dict[tuple[Windows, ...], list[tuple[Phase, ...]]]:
    """How inputs read outputs: each combination of phases of the stride along the axes, by the windows that it sees.

    All see the same where the kernel has as many taps as the stride has steps.
    """
    found: dict[tuple[Windows, ...], list[tuple[Phase, ...]]] = {}
    for phases in product(*(axis.phases() for axis in geometry.axes)):
        found.setdefault(tuple(phase.windows for phase in phases), []).append(phases)
    return found


def inputs_of(phases: tuple[Phase, ...]) -> tuple[slice, ...]:
    """Which inputs are of these phases, on each axis."""
    return tuple(phase.inputs for phase in phases)


def taps_together(lib: Any, w: Array, alike: list[tuple[Phase, ...]]) -> Array:
    """The taps of w (G, C, O, *kernel) that reach phases which see the same windows: (G, phases·C, O, *taps)."""
    parts = [w[(..., *(phase.taps for phase in phases))] for phases in alike]
    joined: Array = parts[0] if len(parts) == 1 else lib.concatenate(parts, axis=1)
    return joined
