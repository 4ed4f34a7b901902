"""Pictures: convolutions as matrices and as taps, transposed ones step by step, and what training shows."""

from arrconv.viz.matrix import MatrixPanel, draw_matrices, draw_matrix
from arrconv.viz.taps import Reading, draw_taps, readings
from arrconv.viz.training import draw_curves, side_by_side
from arrconv.viz.transpose import Step, draw_transpose, transpose_steps

__all__ = [
    "MatrixPanel",
    "Reading",
    "Step",
    "draw_curves",
    "draw_matrices",
    "draw_matrix",
    "draw_taps",
    "draw_transpose",
    "readings",
    "side_by_side",
    "transpose_steps",
]
