"""What is asked of figures, and whether it is met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.peers.report import Grid

VERDICTS = ("met", "not met", "not measured")


@dataclass(frozen=True)
class Figure:
    """What was measured: a median, the least and the most of all rounds, and what it was measured of."""

    median: float
    least: float
    most: float
    of: str = ""

    @classmethod
    def of_rounds(cls, median: float, rounds: Sequence[float], of: str = "") -> Figure:
        return cls(median, min(rounds), max(rounds), of)


@dataclass(frozen=True)
class Aim:
    """What is asked of a figure: that it is at least, or at most, so much."""

    figure: str
    asked: float
    unit: str = "×"
    is_at_most: bool = False

    def __str__(self) -> str:
        return f"{'≤' if self.is_at_most else '≥'} {self.asked:g}{_unit(self.unit)}"

    def judged(self, figures: Mapping[str, Figure]) -> dict[str, Any]:
        """The figure beside what is asked of it, as data."""
        found = figures.get(self.figure)
        verdict = VERDICTS[2]
        if found is not None:
            is_met = found.median <= self.asked if self.is_at_most else found.median >= self.asked
            verdict = VERDICTS[0] if is_met else VERDICTS[1]
        shown = None if found is None else asdict(found)
        return {"figure": self.figure, "asked": str(self), "unit": self.unit, "found": shown, "verdict": verdict}


def grid(judged: Iterable[dict[str, Any]]) -> Grid:
    """Verdicts as a table."""
    lines = []
    for one in judged:
        found, cells = one["found"], ["", "", ""]
        if found is not None:
            unit = _unit(one["unit"])
            cells = [f"{found['median']:.2f}{unit}", f"{found['least']:.2f} to {found['most']:.2f}", found["of"]]
        lines.append([one["figure"], one["asked"], *cells, one["verdict"]])
    return Grid("What is asked", ["figure", "asked", "found", "all rounds", "of", "verdict"], lines)


def summary(judged: Sequence[dict[str, Any]]) -> str:
    """Verdicts in a line; those that are not met are named."""
    counts = Counter(one["verdict"] for one in judged)
    failed = [
        f"{one['figure']} {one['found']['median']:.2f}{_unit(one['unit'])} ({one['asked']})"
        for one in judged
        if one["verdict"] == VERDICTS[1]
    ]
    text = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    return f"of {len(judged)} aims {text}" + (f": {'; '.join(failed)}" if failed else "")


def _unit(unit: str) -> str:
    return unit if unit == "×" else f" {unit}"
