"""Selections: which checks are asked, as users say it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from arrconv_conformance import generate
from arrconv_conformance.cases import Case, catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

_SAMPLE = 40


@dataclass(frozen=True)
class Selection:
    """Some checks.

    Args:
        cases: `quick`, `full`, or the number of random geometries.
        seed: of random geometries; None for that of `full`.
        only: one case string instead; it stands for all members, dtypes and data sets that it does not name.
    """

    cases: str = "quick"
    seed: int | None = None
    only: str | None = None

    def __post_init__(self) -> None:
        """Raise a ValueError where there are no such cases, and an ArrconvError where one cannot be read."""
        if self.only is not None:
            Case.parse(self.only)
        elif self.cases not in ("quick", "full") and not self.cases.isdecimal():
            raise ValueError(f"cases are quick, full, or a number of random geometries, but got {self.cases!r}")

    def __iter__(self) -> Iterator[Case]:
        """The checks, one by one: there may be millions."""
        if self.only is not None:
            yield from Case.parse(self.only).singles()
        elif self.cases.isdecimal():
            yield from generate.sweep(int(self.cases), self._seed)
        else:
            yield from self._listed

    def __str__(self) -> str:
        """What was asked for."""
        if self.only is not None:
            return f"'{self.only}'"
        return f"{self.cases} random geometries of seed {self._seed}" if self.cases.isdecimal() else self.cases

    def geometries(self) -> list[Case]:
        """The cases whose geometries are asked for, as the catalogue has them or as they were generated."""
        if self.only is not None:
            return [Case.parse(self.only)]
        return list(generate.generated(int(self.cases), self._seed)) if self.cases.isdecimal() else catalogue()

    def about(self) -> int:
        """How many checks there are; of many random geometries an estimate from the first ones."""
        if self.only is not None or not self.cases.isdecimal():
            return sum(1 for _ in self)
        count = int(self.cases)
        first = min(count, _SAMPLE)
        return sum(1 for _ in generate.sweep(first, self._seed)) * count // max(first, 1)

    @cached_property
    def _listed(self) -> tuple[Case, ...]:
        """Those of a name: they are counted, and then asked."""
        return tuple(generate.quick() if self.cases == "quick" else generate.full())

    @property
    def _seed(self) -> int:
        return generate.SEED if self.seed is None else self.seed

    def covers(self, *, needs_full: bool) -> bool:
        """Whether these are the checks that show what an expectation expects."""
        return self.only is None and (self.cases == "full" or (self.cases == "quick" and not needs_full))
