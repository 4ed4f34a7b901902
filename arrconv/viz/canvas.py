"""Square cells on a sheet, in panels of one size: what the pictures of taps and of steps are drawn with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.errors import SpecError, UnsupportedError
from arrconv.spec import sizes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

    from arrconv.axis import Axis
    from arrconv.geometry import Geometry

GAP = 1.0  # cells between grids
NOW, TWICE, PALE, BEFORE, OUTSIDE = "#fbc47c", "#f39a4f", "#fde6c8", "#d3e3f1", "#ededed"

_CELL = 0.44  # inches
_TITLE = 0.8  # cells above a panel's grids
_WIDEST = 30  # cells of panels side by side
_MOST_CELLS = 3000  # which take about a second
_KEY = 7.0  # cells that an entry of the legend takes
_CROSSED = "////"
_DPI = 100


def new_figure(width: float, height: float, **options: Any) -> Any:
    """An empty figure of so many inches.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UnsupportedError("pictures need matplotlib: pip install 'arrconv[train]'") from None
    return Figure(figsize=(width, height), **options)


def numbers(values: np.ndarray[Any, Any]) -> dict[tuple[int, ...], str]:
    """Of each element of real numbers its text: integers in full, others to three digits, rounding errors as zeros.

    >>> list(numbers(np.asarray([12.0, -0.375, 1e-17])).values())
    ['12', '−0.375', '0']
    """
    if not np.issubdtype(values.dtype, np.integer):
        largest = np.max(np.abs(values), initial=0.0, where=np.isfinite(values))
        values = np.where(np.abs(values) < 1e-6 * largest, 0.0, values)
    form = "{}" if np.issubdtype(values.dtype, np.integer) else "{:.3g}"
    return {index: form.format(value).replace("-", "−") for index, value in np.ndenumerate(values)}


def check_kernel(weight: np.ndarray[Any, Any]) -> None:
    """Raise an UnsupportedError unless a kernel has one or two axes, all of them spatial."""
    if weight.ndim not in (1, 2):
        raise UnsupportedError(
            f"pictures are of kernels without channels, of 1 or 2 spatial axes, but the weight has shape {weight.shape}"
        )


def positions(chosen: Sequence[int | Sequence[int]], size: tuple[int, ...], name: str) -> list[tuple[int, ...]]:
    """Indices of an array of this size, one tuple for each; a plain integer is one of an array of one axis.

    Raises:
        SpecError: an entry is no such index, or lies outside; or there is none.
    """
    plain = len(size) == 1
    found = [
        sizes((entry,) if plain and isinstance(entry, int) else entry, f"{name}[{number}]", len(size))
        for number, entry in enumerate(chosen)
    ]
    if not found:
        raise SpecError(f"{name} names no position")
    for position in found:
        if any(index >= n for index, n in zip(position, size, strict=True)):
            raise SpecError(f"{name} names {position}, but there are {' × '.join(map(str, size))} positions")
    return found


def span(axis: Axis) -> range:
    """The places of an axis with its padding, and with what a negative padding crops: input i is at place i."""
    return range(min(0, -axis.begin), axis.input_size + max(0, axis.end))


def spans(geometry: Geometry) -> tuple[range, ...]:
    """`span` of each axis."""
    return tuple(span(axis) for axis in geometry.axes)


def named(letter: str, index: Sequence[int]) -> str:
    """An element of an array: x0, or x1,2."""
    return letter + ",".join(map(str, index))


def as_grid(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of an array's picture: an array of one axis is one row."""
    rows, columns = (1, *shape)[-2:]
    return rows, columns


def cell_of(index: Sequence[int]) -> tuple[int, int]:
    """Row and column of an element in its array's picture."""
    row, column = (0, *index)[-2:]
    return row, column


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of a legend: what a cell's colour, or its hatching, means."""

    text: str
    face: str = "white"
    is_crossed: bool = False


class Canvas:
    """A sheet of panels, each with titles and grids of square cells; what is drawn is placed by panel, row, column.

    Args:
        count: how many panels there are.
        width, height: of one panel, in cells; a line of titles comes on top.
        legend: below all panels, those entries that occur.

    Raises:
        UnsupportedError: there would be more than 3,000 cells, or matplotlib is not installed.
    """

    def __init__(self, count: int, width: float, height: float, legend: Sequence[Key]) -> None:
        if count * width * height > _MOST_CELLS:
            raise UnsupportedError(
                f"{count} panels of {width:g}×{height:g} cells are more than the {_MOST_CELLS:,} that can be read; "
                "draw fewer positions, or smaller arrays"
            )
        # Rows stand below each other, where steps from one to the next are seen.
        self._columns = 1 if height == 1 else max(1, min(count, int(_WIDEST // (width + GAP))))
        self._pitch = (width + GAP, height + _TITLE + GAP / 2)
        self._size = (
            max(self._columns * self._pitch[0], _KEY) + GAP / 2,
            -(-count // self._columns) * self._pitch[1] + GAP / 2,
        )
        self._legend, self._used = legend, set[str]()
        self._figure = new_figure(1, 1)
        self._axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set_axis_off()

    def title(self, panel: int, text: str, column: float = 0) -> None:
        """Write a line above a panel's grids, from a column on."""
        x, y = self._corner(panel, 0, column)
        self._axes.text(x, y - 0.2, text, fontsize=9, verticalalignment="bottom")

    def cell(
        self, panel: int, row: float, column: float, *, text: str = "", note: str = "", face: str = "white",
        is_crossed: bool = False,
    ) -> None:  # fmt: skip
        """Draw one cell: a text in its middle, or above a note in small letters; crossed cells are hatched."""
        x, y = self._corner(panel, row, column)
        self._box(x, y, (1, 1), face, is_crossed)
        placed = {"horizontalalignment": "center", "verticalalignment": "center"}
        if text:
            size = min(9.0, 41 / len(text))  # which fits a cell
            self._axes.text(x + 0.5, y + (0.38 if note else 0.52), text, fontsize=size, **placed)
        if note:
            size = min(7.0, 46 / len(note))
            self._axes.text(x + 0.5, y + (0.8 if text else 0.52), note, fontsize=size, color="0.25", **placed)

    def kernel(self, weight: np.ndarray[Any, Any]) -> None:
        """Draw the kernel's numbers, and under each the name of its tap, into the first panel."""
        texts = numbers(weight)
        self.title(0, "the kernel w")
        for tap in np.ndindex(weight.shape):
            self.cell(0, *cell_of(tap), text=texts[tap], note=named("w", tap), face=NOW)

    def frame(self, panel: int, row: float, column: float, shape: Sequence[int]) -> None:
        """Draw a thick line around so many rows and columns."""
        from matplotlib.patches import Rectangle

        x, y = self._corner(panel, row, column)
        self._axes.add_patch(Rectangle((x, y), shape[1], shape[0], fill=False, edgecolor="black", linewidth=1.6))

    def save(self, file: Path | str | IO[bytes]) -> None:
        """Write the sheet to an image file, with a legend of what is on it."""
        across, down = self._size
        keys = [key for key in self._legend if (_CROSSED if key.is_crossed else key.face) in self._used]
        a_row = int(across // _KEY)
        for number, key in enumerate(keys):
            x, y = GAP / 2 + number % a_row * _KEY, down + number // a_row * _TITLE
            self._box(x, y, (0.6, 0.6), key.face, key.is_crossed)
            self._axes.text(x + 0.8, y + 0.3, key.text, fontsize=8, verticalalignment="center")
        down += -(-len(keys) // a_row) * _TITLE + GAP / 4
        self._axes.set(xlim=(0, across), ylim=(down, 0))
        self._figure.set_size_inches(across * _CELL, down * _CELL)
        self._figure.savefig(file, dpi=_DPI)

    def _corner(self, panel: int, row: float, column: float) -> tuple[float, float]:
        down, across = divmod(panel, self._columns)
        return GAP / 2 + across * self._pitch[0] + column, GAP / 4 + _TITLE + down * self._pitch[1] + row

    def _box(self, x: float, y: float, size: tuple[float, float], face: str, is_crossed: bool) -> None:
        from matplotlib.patches import Rectangle

        self._used |= {face, _CROSSED} if is_crossed else {face}
        self._axes.add_patch(Rectangle((x, y), *size, facecolor=face, edgecolor="0.45", linewidth=0.6))
        if is_crossed:
            self._axes.add_patch(Rectangle((x, y), *size, fill=False, edgecolor="0.7", linewidth=0, hatch=_CROSSED))
