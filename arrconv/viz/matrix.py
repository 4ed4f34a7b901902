"""Matrices as coloured cells, with lines where the rows and columns of images end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.errors import DTypeError, ShapeError, SpecError
from arrconv.viz.canvas import new_figure, numbers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

_PANEL = 3.6  # inches, of which a cell has to have a pixel
_MOST_SHOWN = 200  # cells a side; of more, each cell stands for several elements
_MOST_NUMBERS = 16  # cells a side into which numbers are written
_MOST_LINES = 24  # a level of blocks of which there are more would be black
_KINDS = {"real": "", "magnitude": "(magnitude)", "phase": "(phase, in radians)"}
_DPI = 100
_SIGNED = ("#0b3c6f", "#4a90c2", "#ffffff", "#d6604d", "#7a0f1f")


@dataclass(frozen=True, slots=True)
class MatrixPanel:
    """A matrix to be drawn, (rows, columns), real or complex, and how.

    Args:
        matrix: any array that NumPy can read.
        title: above it.
        shape_in, shape_out: of the arrays that its columns and its rows belong to, in the order of `reshape`; lines
            are drawn where their rows, images, … end.
    """

    matrix: Any
    title: str = ""
    shape_in: Sequence[int] | None = None
    shape_out: Sequence[int] | None = None


def draw_matrix(
    matrix: Any,
    file: Path | str | IO[bytes],
    *,
    shape_in: Sequence[int] | None = None,
    shape_out: Sequence[int] | None = None,
    title: str = "",
) -> None:
    """Draw a matrix to an image file: zero is white, NaN grey; a complex one has its magnitude beside its phase.

    Small matrices have their numbers written into the cells. Of a matrix with more than 200 rows or columns each cell
    shows the largest of several elements, and the picture says of how many.

    Args:
        matrix: (rows, columns), real or complex, of any library that NumPy can read.
        file: a path, whose ending says which format, or an open binary file, which gets a PNG.
        shape_in, shape_out, title: as for `MatrixPanel`.

    Raises:
        ShapeError: it is no matrix, or empty, or a shape has not as many elements as it has columns or rows.
        DTypeError: it has no numbers.
        UnsupportedError: matplotlib is not installed.

    >>> import io
    >>> file = io.BytesIO()
    >>> draw_matrix([[2, 1, 0], [0, 2, 1]], file)
    >>> file.getvalue()[1:4]
    b'PNG'
    """
    draw_matrices([MatrixPanel(matrix, title, shape_in, shape_out)], file)


def draw_matrices(panels: Sequence[MatrixPanel], file: Path | str | IO[bytes], *, columns: int = 3) -> None:
    """Draw several matrices to one image file, so many side by side, each as `draw_matrix` does.

    Raises:
        SpecError: there is none.
        ShapeError, DTypeError, UnsupportedError: as for `draw_matrix`.

    >>> import io
    >>> draw_matrices([MatrixPanel([[1, 2]], "a row"), MatrixPanel([[1], [2]], "a column")], io.BytesIO())
    """
    matrices = [_checked(panel) for panel in panels]
    if not matrices:
        raise SpecError("there is no matrix to draw")
    pictures = [
        (panel, kind, matrix)
        for panel, matrix in zip(panels, matrices, strict=True)
        for kind in (("magnitude", "phase") if np.iscomplexobj(matrix) else ("real",))
    ]
    across = min(columns, len(pictures))
    rows = -(-len(pictures) // across)
    figure = new_figure(_PANEL * across, 0.95 * _PANEL * rows, layout="constrained")
    grid = figure.subplots(rows, across, squeeze=False).ravel()
    for axes, (panel, kind, matrix) in zip(grid, pictures, strict=False):
        _draw(axes, panel, kind, matrix)
    for axes in grid[len(pictures) :]:
        axes.set_axis_off()
    figure.savefig(file, dpi=_DPI)


def largest_of_blocks(matrix: np.ndarray[Any, Any], block: tuple[int, int]) -> np.ndarray[Any, Any]:
    """The element of largest magnitude of each block of so many rows and columns; those at the end may be smaller.

    >>> largest_of_blocks(np.asarray([[1, -5, 0], [2, 3, 0], [0, 0, 7]]), (2, 2))
    array([[-5,  0],
           [ 0,  7]])
    """
    rows, columns = (-(-n // step) for n, step in zip(matrix.shape, block, strict=True))
    padded = np.pad(
        matrix, [(0, m * step - n) for m, step, n in zip((rows, columns), block, matrix.shape, strict=True)]
    )
    blocks = padded.reshape(rows, block[0], columns, block[1]).swapaxes(1, 2)  # (rows, columns, *block)
    lists = blocks.reshape(rows, columns, -1)
    return np.take_along_axis(lists, np.argmax(np.abs(lists), axis=-1, keepdims=True), axis=-1)[..., 0]


def block_ends(shape: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Where rows, images, … end among the elements of an array of this shape: for each level the ends within.

    >>> block_ends((2, 2, 3))
    [(1, [3, 9]), (2, [6])]
    """
    total, levels, seen = math.prod(shape), [], {0}
    for level in range(len(shape) - 1, 0, -1):
        step = math.prod(shape[-level:])
        ends = [end for end in range(step, total, step) if end not in seen]
        seen.update(ends)
        levels.append((level, ends))
    return levels[::-1]


def _checked(panel: MatrixPanel) -> np.ndarray[Any, Any]:
    matrix = np.asarray(panel.matrix)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ShapeError(f"a matrix with rows and columns is needed, but the array has shape {matrix.shape}")
    if not np.issubdtype(matrix.dtype, np.number):
        raise DTypeError(f"a matrix of numbers is needed, but its dtype is {matrix.dtype}")
    for name, shape, n, of in (
        ("shape_out", panel.shape_out, matrix.shape[0], "rows"),
        ("shape_in", panel.shape_in, matrix.shape[1], "columns"),
    ):
        if shape is not None and math.prod(shape) != n:
            raise ShapeError(f"{name}={tuple(shape)} has {math.prod(shape)} elements, but the matrix has {n} {of}")
    return matrix


def _draw(axes: Any, panel: MatrixPanel, kind: str, matrix: np.ndarray[Any, Any]) -> None:
    block = (-(-matrix.shape[0] // _MOST_SHOWN), -(-matrix.shape[1] // _MOST_SHOWN))
    shown = largest_of_blocks(matrix, block)
    values, options = _coloured(shown, kind)
    rows, columns = (n * step for n, step in zip(shown.shape, block, strict=True))
    image = axes.imshow(
        values, **options, extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), interpolation="nearest",
        aspect="equal" if max(matrix.shape) <= 4 * min(matrix.shape) else "auto",
    )  # fmt: skip
    axes.set(xlim=(-0.5, matrix.shape[1] - 0.5), ylim=(matrix.shape[0] - 0.5, -0.5))
    for shape, line in ((panel.shape_out, axes.axhline), (panel.shape_in, axes.axvline)):
        for level, ends in block_ends(shape or ()):
            if len(ends) <= _MOST_LINES:
                for end in ends:
                    line(end - 0.5, color="0.25", linewidth=0.7 * level)
    axes.set_title(" ".join(part for part in (panel.title, _KINDS[kind]) if part), fontsize=10)
    each = "" if block == (1, 1) else f"; each cell: the largest of {block[0]}×{block[1]}"
    axes.set_xlabel(f"input element{each}", fontsize=8)
    axes.set_ylabel("output element", fontsize=8)
    axes.tick_params(labelsize=7)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    axes.figure.colorbar(image, ax=axes, shrink=0.75).ax.tick_params(labelsize=7)
    if max(matrix.shape) <= _MOST_NUMBERS:
        _write_numbers(axes, values, options)


def _coloured(shown: np.ndarray[Any, Any], kind: str) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    """What the colours of a picture stand for, and how: the phase of a zero has none."""
    from matplotlib import colormaps  # which is there, once there is a figure
    from matplotlib.colors import LinearSegmentedColormap, ListedColormap

    magnitude = np.abs(shown).astype(float)
    largest = float(np.max(magnitude, initial=0.0, where=np.isfinite(magnitude))) or 1.0
    match kind:
        case "real":
            signed = LinearSegmentedColormap.from_list("signed", _SIGNED, N=257)  # odd: zero is white, not nearly so
            return shown, {"cmap": signed.with_extremes(bad="0.7"), "vmin": -largest, "vmax": largest}
        case "magnitude":
            return magnitude, {"cmap": LinearSegmentedColormap.from_list("", _SIGNED[2:]), "vmin": 0.0, "vmax": largest}
        case _:
            phase = np.where(magnitude > 1e-6 * largest, np.angle(shown), np.nan)
            pale = ListedColormap(0.45 + 0.55 * colormaps["hsv"](np.linspace(0, 1, 256))[:, :3])
            return phase, {"cmap": pale, "vmin": -np.pi, "vmax": np.pi}


def _write_numbers(axes: Any, values: np.ndarray[Any, Any], options: dict[str, Any]) -> None:
    size = min(9.0, 90 / max(values.shape))
    for (row, column), text in numbers(values).items():
        if text != "nan":
            shade = options["cmap"]((values[row, column] - options["vmin"]) / (options["vmax"] - options["vmin"]))
            axes.text(
                column, row, text, fontsize=size, ha="center", va="center",
                color="white" if sum(shade[:3]) < 1.2 else "0.75" if shade[:3] == (1, 1, 1) else "black",
            )  # fmt: skip
