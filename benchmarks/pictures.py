"""The pictures of docs/operators.md, of numbers made here: `python -m benchmarks.pictures docs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from arrconv.linop import Conv
from arrconv.viz import MatrixPanel, draw_matrices, draw_taps, draw_transpose

KERNEL = np.asarray([1.0, 2.0, 3.0])
IMAGE_KERNEL = np.asarray([[1.0, 2.0, 0.5], [3.0, -4.0, 1.5], [-0.5, 2.5, -1.0]])


def draw_operators(file: Path) -> None:
    """The matrices of one kernel under several options, and of a kernel of images."""
    periodic = Conv(KERNEL, (12,), padding=1, padding_mode="circular")
    strided = Conv(KERNEL, (12,), stride=2, padding=1)
    size = (4, 5)
    around = Conv(IMAGE_KERNEL, size, padding=1, padding_mode="circular")
    zeros = Conv(IMAGE_KERNEL, size, padding=1)
    panels = [
        MatrixPanel(periodic.to_matrix(), "circular: circulant"),
        MatrixPanel(strided.to_matrix(), "stride 2: every second row"),
        MatrixPanel(around.to_matrix(), "4×5 images, circular: block circulant", size, size),
        MatrixPanel(Conv(KERNEL, (12,), padding=1).to_matrix(), "zeros around: Toeplitz"),
        MatrixPanel(strided.T.to_matrix(), "its transpose"),
        MatrixPanel(zeros.to_matrix(), "4×5 images, zeros around: block Toeplitz", size, size),
    ]
    draw_matrices(panels, file)


def main(folder: Annotated[Path, typer.Argument(help="Where to write operators-*.png.")]) -> None:
    """Draw the pictures of operators."""
    draw_operators(folder / "operators-matrices.png")
    outputs, kernel = [(0, 0), (1, 2), (2, 3)], np.arange(1, 7).reshape(3, 2)
    draw_taps(
        kernel, (5, 7), outputs, folder / "operators-taps.png", stride=2, padding=(1, (0, 1)), padding_mode="reflect"
    )
    y = np.asarray([[1, 2, 3], [4, 5, 6]])
    kernel = np.asarray([[1, 0, -1], [2, 1, 1], [3, 2, -2]])
    draw_transpose(
        y, kernel, folder / "operators-transpose.png", steps=[(0, 0), (0, 1), (0, 2), (1, 0)],
        stride=2, padding=((1, 0), 1), output_padding=(0, 1),
    )  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
