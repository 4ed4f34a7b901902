"""Pictures of training: its curves, and pictures side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from arrconv.errors import ShapeError
from arrconv.viz.canvas import new_figure

if TYPE_CHECKING:
    from pathlib import Path

_GAP = 4  # white pixels between pictures
_LEAST = 128  # pixels a side; smaller pictures are shown larger


def side_by_side(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Pictures, uint8 (C, H, W) of one size, in rows: one picture with gaps between; small ones are enlarged.

    Raises:
        ShapeError: there is none, or the sizes differ.

    >>> side_by_side([[np.zeros((3, 200, 300), np.uint8)] * 2]).shape
    (3, 200, 604)
    """
    shapes = {picture.shape for row in rows for picture in row} | {(len(row),) for row in rows}
    if len(shapes) != 2:
        raise ShapeError(f"rows of as many pictures of one size are needed, but there are {sorted(shapes, key=len)}")
    times = max(1, -(-_LEAST // max(rows[0][0].shape[1:])))
    enlarged = [[picture.repeat(times, axis=1).repeat(times, axis=2) for picture in row] for row in rows]
    return _joined([_joined(row, 2) for row in enlarged], 1)


def draw_curves(history: list[dict[str, float]], file: Path) -> None:
    """Draw loss and PSNR over the epochs to an image file.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    figure = new_figure(8, 3.2, layout="constrained")
    shown = [
        (name, label) for name, label in (("loss", "loss"), ("psnr", "PSNR in dB")) if name in (history or [{}])[0]
    ]
    for axes, (name, label) in zip(np.atleast_1d(figure.subplots(1, max(1, len(shown)))), shown, strict=False):
        axes.plot([row["epoch"] for row in history], [row[name] for row in history], marker="o", markersize=3)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)


def _joined(pictures: list[np.ndarray], axis: int) -> np.ndarray:
    shape = [*pictures[0].shape]
    shape[axis] = _GAP
    gap = np.full(shape, 255, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.concatenate(parts, axis=axis)
