"""Plots of the largest rounding errors as shares of their bounds: where each mark stands, for the page to draw."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrconv_conformance.data import DATA_SETS, DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arrconv_conformance.record import Run

WIDTH, HEIGHT = 340, 212
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 330, 12, 180
_DECADES = 4
"""So many decades below 1 are drawn at most: a share of 1e-30 of data of extreme sizes says nothing about rounding."""
_MOST_LABELS = 7

_DISC, _SQUARE = "M-3.2,0a3.2,3.2 0 1,0 6.4,0a3.2,3.2 0 1,0 -6.4,0z", "M-2.9,-2.9h5.8v5.8h-5.8z"
_DIAMOND, _UP, _DOWN = "M0,-4l4,4l-4,4l-4,-4z", "M0,-3.8l3.7,6.4h-7.4z", "M0,3.8l3.7,-6.4h-7.4z"
_PLUS, _CROSS = "M-3.8,0h7.6M0,-3.8v7.6", "M-2.9,-2.9l5.8,5.8M-2.9,2.9l5.8,-5.8"
_BAR, _HOURGLASS = "M-4,0h8", "M-3.2,-3.6h6.4l-6.4,7.2h6.4z"


@dataclass(frozen=True, slots=True)
class Shape:
    """How the marks of a data set look: an outline, filled or not, and the number of a colour."""

    path: str
    is_filled: bool
    colour: int


_FILLED = [_DISC, _SQUARE, _DIAMOND, _UP, _DOWN]
_OUTLINES = [
    *((path, True) for path in _FILLED),
    *((path, False) for path in [_PLUS, *_FILLED, _CROSS, _BAR, _HOURGLASS]),
]
COLOURS = 6
SHAPES = [Shape(path, is_filled, number % COLOURS) for number, (path, is_filled) in enumerate(_OUTLINES)]


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of a plot, and what it says when it is pointed at."""

    x: float
    y: float
    shape: Shape
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the grid, and its label where it has one."""

    at: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """The errors of one dtype over the length of the sums, on two logarithmic axes.

    Args:
        dtype: the dtype.
        largest: the largest error as a share of its bound.
        marks: the points.
        columns: the lines of the grid at lengths.
        rows: those at shares of the bound; the first is the bound itself.
    """

    dtype: str
    largest: float
    marks: list[Mark]
    columns: list[Tick]
    rows: list[Tick]


def legend(runs: list[Run]) -> dict[str, Shape]:
    """The shape of each data set that a plot of these runs has marks of; it is the same in all plots of a page."""
    found = {data for run in runs for _, data, _ in run.ratios}
    return dict(zip([data for data in DATA_SETS if data in found], SHAPES, strict=False))


def plots(run: Run, shapes: dict[str, Shape]) -> list[Plot]:
    """A plot for each dtype whose results were held to a bound, all with the same axes.

    Args:
        run: what a framework did.
        shapes: those of the data sets.
    """
    if not run.ratios:
        return []
    powers = [_power(length) for _, _, length in run.ratios]
    axes = _Axes(min(powers), max(powers), _decades(run.ratios.values()), list(shapes))
    dtypes = [dtype for dtype in DTYPES if any(key[0] == dtype for key in run.ratios)]
    return [_plot(dtype, run, shapes, axes) for dtype in dtypes]


@dataclass(frozen=True, slots=True)
class _Axes:
    """From lengths, as powers of two, and shares to places in a drawing."""

    first: int
    last: int
    decades: int
    sets: list[str]

    @property
    def step(self) -> float:
        return (_RIGHT - _LEFT) / (self.last - self.first + 1)

    def x(self, power: int, data: str | None = None) -> float:
        """The middle of the column of a length; the data sets stand beside each other in it."""
        middle = _LEFT + (power - self.first + 0.5) * self.step
        if data is None:
            return round(middle, 1)
        place = self.sets.index(data) - (len(self.sets) - 1) / 2
        return round(middle + place * 0.6 * self.step / len(self.sets), 1)

    def y(self, ratio: float) -> float:
        depth = min(-math.log10(ratio), self.decades)
        return round(_TOP + 8 + (_BOTTOM - _TOP - 16) * depth / self.decades, 1)

    @property
    def columns(self) -> list[Tick]:
        every = -(-(self.last - self.first + 1) // _MOST_LABELS)
        powers = range(self.first, self.last + 1, every)
        return [Tick(self.x(power), f"{2**power:,}") for power in powers]

    @property
    def rows(self) -> list[Tick]:
        return [Tick(self.y(10.0**-decade), f"{10.0**-decade:g}") for decade in range(self.decades + 1)]


def _plot(dtype: str, run: Run, shapes: dict[str, Shape], axes: _Axes) -> Plot:
    found = {(data, length): ratio for (key, data, length), ratio in run.ratios.items() if key == dtype}
    order = list(shapes)
    marks = [
        Mark(
            axes.x(_power(length), data),
            axes.y(ratio),
            shapes[data],
            f"{data}, sums of {_lengths(length)}: {ratio:.2g} of the bound",
        )
        for (data, length), ratio in sorted(found.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))
    ]
    return Plot(dtype, max(found.values()), marks, axes.columns, axes.rows)


def _decades(ratios: Iterable[float]) -> int:
    return min(_DECADES, max(1, math.ceil(-math.log10(min(ratios)))))


def _power(length: int) -> int:
    return length.bit_length() - 1


def _lengths(length: int) -> str:
    """The lengths that a power of two stands for."""
    least = length // 2 + 1
    return f"{length:,}" if least >= length else f"{least:,} to {length:,}"
