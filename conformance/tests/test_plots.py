"""Where the marks of the plots stand."""

from __future__ import annotations

import numpy as np
import pytest
from arrconv_conformance.plots import SHAPES, legend, plots
from arrconv_conformance.record import Run

RATIOS = {
    ("float32", "normal", 4): 0.1,
    ("float32", "normal", 8): 0.01,
    ("float32", "wide", 8): 1.0,
    ("float32", "wide", 32): 1e-30,
    ("float16", "wide", 1): 0.001,
}


def test_marks_stand_at_their_lengths_and_shares_on_logarithmic_axes() -> None:
    run = Run("a", "a", "1", [], ratios=RATIOS)
    shapes = legend([run])
    assert list(shapes) == ["normal", "wide"]
    first, second = plots(run, shapes)
    assert (first.dtype, second.dtype, first.largest, second.largest) == ("float32", "float16", 1.0, 0.001)
    at = {mark.title: mark for mark in first.marks + second.marks}
    a, b, c, d, e = (
        next(mark for title, mark in at.items() if title.startswith(start))
        for start in (
            "normal, sums of 3 to 4: 0.1 of",
            "normal, sums of 5 to 8: 0.01 of",
            "wide, sums of 5 to 8: 1 of",
            "wide, sums of 17 to 32: 1e-30 of",
            "wide, sums of 1: 0.001 of",
        )
    )
    rows = {tick.label: tick.at for tick in first.rows}
    assert list(rows) == ["1", "0.1", "0.01", "0.001", "0.0001"]
    assert (c.y, a.y, b.y, e.y, d.y) == tuple(rows.values())  # what is below the scale stands at its lower end
    assert np.ptp(np.diff(list(rows.values()))) < 0.2
    columns = {tick.label: tick.at for tick in first.columns}
    assert list(columns) == ["1", "2", "4", "8", "16", "32"]
    assert np.ptp(np.diff(list(columns.values()))) < 0.2
    octave = columns["8"] - columns["4"]
    assert b.x - a.x == pytest.approx(octave, abs=0.2)
    assert (d.x - c.x, c.x - e.x) == pytest.approx((2 * octave, 3 * octave), abs=0.2)
    assert 0 < c.x - b.x < octave / 2  # beside each other
    assert a.shape == b.shape != c.shape
    assert len({(shape.path, shape.is_filled) for shape in SHAPES}) == len(SHAPES) == 14
