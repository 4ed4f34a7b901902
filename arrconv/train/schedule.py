"""Learning-rate schedules: factors of the learning rate, step by step; they have no state, so resuming is free."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from arrconv.errors import SpecError
from arrconv.functional.reals import as_number
from arrconv.spec import as_int


class Schedule(Protocol):
    """A factor for each step, counted from 0."""

    def __call__(self, step: int) -> float:
        """The factor of the learning rate in a step."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Always 1."""

    def __call__(self, step: int) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True, slots=True)
class StepDecay:
    """factor^⌊step/every⌋.

    >>> [StepDecay(every=2, factor=0.1)(step) for step in (0, 1, 2, 4)]
    [1.0, 1.0, 0.1, 0.010000000000000002]
    """

    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        as_int(self.every, "every", 1)
        as_number(self.factor, "factor")

    def __call__(self, step: int) -> float:
        """The factor of a step."""
        return float(self.factor ** (step // self.every))


@dataclass(frozen=True, slots=True)
class Cosine:
    """From 1 to `final` along half a cosine, in `total` steps; before it `warmup` of these in a straight line from 0.

    Source: I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, equation 5.

    >>> [round(Cosine(total=5, warmup=1)(step), 3) for step in range(6)]
    [1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """

    total: int
    warmup: int = 0
    final: float = 0.0

    def __post_init__(self) -> None:
        as_int(self.total, "total", 1)
        as_number(self.final, "final")
        if not 0 <= as_int(self.warmup, "warmup", 0) < self.total:
            raise SpecError(f"warmup must be below total={self.total}, but got {self.warmup}")

    def __call__(self, step: int) -> float:
        """The factor of a step."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / (self.total - self.warmup))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2
