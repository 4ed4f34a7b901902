"""Pictures of convolutions: what they show is checked as data, and that they are drawn as files."""

from __future__ import annotations

import sys
from functools import partial
from io import BytesIO
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import arrconv
from arrconv import DTypeError, Geometry, ShapeError, SpecError, UnsupportedError
from arrconv.viz import (
    MatrixPanel,
    draw_curves,
    draw_matrices,
    draw_matrix,
    draw_taps,
    draw_transpose,
    matrix,
    readings,
    taps,
    transpose,
    transpose_steps,
)
from arrconv.viz.matrix import block_ends, largest_of_blocks
from arrconv.viz.taps import contents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODES = {"zeros": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}
TAPS, KERNEL = np.asarray([2, -3, 5]), np.asarray([[1, -2, 3], [4, 5, -6]])
Cell = dict[str, Any]


class Recorder:
    """Stands in for a canvas, and keeps the cells of each panel by row and column."""

    panels: dict[int, dict[tuple[float, float], Cell]]

    def __init__(self, count: int, *_: Any) -> None:
        Recorder.panels = {number: {} for number in range(count)}
        self.title = self.frame = self.kernel = self.save = lambda *_: None

    def cell(self, panel: int, row: float, column: float, **content: Any) -> None:
        Recorder.panels[panel][row, column] = content


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    for module in (taps, transpose):
        monkeypatch.setattr(module, "Canvas", Recorder)
    return Recorder


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", ["x=7 k=3 s=2 p=4:5 d=2", "x=4,7 k=3,2 s=1,3 p=2:0,1:6 d=2,1"])
def test_outputs_read_what_stands_in_the_padded_input(case: str, mode: str) -> None:
    geometry = Geometry.parse(f"c=1 o=1 {case} mode={mode}")
    x = np.arange(1, 1 + np.prod(geometry.input_size)).reshape(geometry.input_size)
    padded = np.pad(x, geometry.options["padding"], mode=MODES[mode])
    for output in np.ndindex(geometry.output_size):
        found = readings(geometry, output)
        assert [reading.tap for reading in found] == list(np.ndindex(geometry.kernel_size))
        for reading in found:
            place = [
                axis.stride * index + axis.dilation * k
                for axis, index, k in zip(geometry.axes, output, reading.tap, strict=True)
            ]
            assert reading.place == tuple(i - axis.begin for i, axis in zip(place, geometry.axes, strict=True))
            assert padded[tuple(place)] == (0 if reading.source is None else x[reading.source])


def test_cropped_inputs_are_held_by_no_place() -> None:
    assert list(contents(Geometry.parse("c=1 o=1 x=5,4 k=2,3 p=-1:1,0:-1"))) == list(product(range(1, 6), range(3)))


@pytest.mark.parametrize(
    ("size", "weight", "options"),
    [
        ((5,), TAPS, {"stride": 2, "padding": ((2, 1),), "output_padding": 1}),
        ((4,), TAPS, {"dilation": 3, "output_padding": 2, "padding": 9 // 4}),
        ((4,), TAPS, {"stride": 3, "padding": "same_lower", "output_size": (11,)}),
        ((3, 4), KERNEL, {"stride": (2, 3), "padding": ((1, 0), (0, 2)), "output_padding": (1, 0), "dilation": (1, 2)}),
        ((2, 3), KERNEL, {"padding": ((-1, 1), (2, -2))}),
    ],
)
def test_the_steps_of_a_transposed_convolution_add_up_to_it(
    size: tuple[int, ...], weight: np.ndarray[Any, Any], options: dict[str, Any]
) -> None:
    y = np.random.default_rng(0).integers(-9, 10, size)
    steps = list(transpose_steps(y, weight, **options))
    total = np.zeros_like(steps[0].total)
    for step, position in zip(steps, np.ndindex(size), strict=True):
        assert step.position == position
        assert np.array_equal(step.laid[step.touched], y[position] * weight.ravel())
        assert not step.laid[~step.touched].any()
        total += step.laid
        assert np.array_equal(step.total, total)
    expected = arrconv.conv_transpose(y[None, None], weight[None, None], **options)[0, 0]
    assert np.array_equal(total[steps[-1].kept], expected)
    assert steps[-1].total.dtype == expected.dtype


def test_small_integers_do_not_overflow() -> None:
    (step,) = transpose_steps(np.asarray([100], np.int8), np.asarray([100, -100], np.int8))
    assert step.total.tolist() == [10000, -10000]


def test_the_picture_of_taps_names_taps_and_what_they_read(recorder: type[Recorder]) -> None:
    draw_taps(TAPS, (5,), [1, 0], BytesIO(), padding=((2, 1),), padding_mode="circular")
    for panel, read in ((1, (1, 2, 3)), (2, (0, 1, 2))):
        cells = [recorder.panels[panel][0, column] for column in range(8)]
        assert [cell["note"] for cell in cells] == ["x3", "x4", "x0", "x1", "x2", "x3", "x4", "x0"]
        named = {column: cell["text"] for column, cell in enumerate(cells) if cell["text"]}
        assert named == {column: f"w{tap}" for tap, column in enumerate(read)}
        assert len({cell["face"] for cell in cells}) == 4  # tapped or not, in the input or in the padding
    outputs = [recorder.panels[1][0, 9 + column] for column in range(6)]
    assert [cell["note"] for cell in outputs if cell["face"] != "white"] == ["y1"]


def test_the_picture_of_taps_crosses_out_what_is_cropped(recorder: type[Recorder]) -> None:
    draw_taps(KERNEL, (3, 4), [(0, 0)], BytesIO(), padding=((-1, 2), 0))
    cells = recorder.panels[1]
    assert {place for place, cell in cells.items() if cell.get("is_crossed")} == {(0, column) for column in range(4)}
    assert [cells[row, 1]["note"] for row in range(5)] == ["x0,1", "x1,1", "x2,1", "0", "0"]


def test_the_last_panel_of_a_transposed_convolution_is_the_sum(recorder: type[Recorder]) -> None:
    y = np.asarray([[1, -2, 3], [4, 5, 6]])
    options: dict[str, Any] = {"stride": (1, 2), "padding": ((1, 0), (0, 2))}
    draw_transpose(y, KERNEL, BytesIO(), steps=[(1, 0), (0, 1)], **options)
    assert list(recorder.panels) == [0, 1, 2, 3]  # the kernel, two elements, the sum
    grid = {(row, column - 4): cell for (row, column), cell in recorder.panels[3].items() if column >= 4}
    kept = {place: cell["text"] for place, cell in grid.items() if not cell["is_crossed"]}
    expected = arrconv.conv_transpose(y[None, None], KERNEL[None, None], **options)[0, 0]
    assert kept == {
        (row + 1, column): f"{value}".replace("-", "−") for (row, column), value in np.ndenumerate(expected)
    }
    overlap = recorder.panels[1][0, 6]  # y[0, 0]·w[0, 2] and y[0, 1]·w[0, 0]
    assert (overlap["text"], overlap["note"]) == ("1", "3−2")


def shown(monkeypatch: pytest.MonkeyPatch, *panels: MatrixPanel) -> list[Any]:
    """The axes of a picture, which is not written, and those of the legends left out."""
    figures = []

    def figure(*size: float, **options: Any) -> Any:
        figures.append(new_figure(*size, **options))
        figures[0].savefig = lambda *_, **__: None
        return figures[0]

    new_figure = matrix.new_figure
    monkeypatch.setattr(matrix, "new_figure", figure)
    draw_matrices(panels, BytesIO())
    return [axes for axes in figures[0].axes if axes.get_xlabel()]


def test_a_real_matrix_is_drawn_with_its_numbers_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    values = np.asarray([[1.5, 0.0, -3.0, 1e-18, 0, 0], [0.0, 1.5, 0.0, -3.0, 0, 0]])
    (axes,) = shown(monkeypatch, MatrixPanel(values, "two rows", shape_in=(2, 3)))
    (image,) = axes.images
    assert np.array_equal(image.get_array(), values)
    assert image.cmap(image.norm(0.0))[:3] == (1, 1, 1)
    assert image.get_clim() == (-3, 3)
    assert [text.get_text() for text in axes.texts[:4]] == ["1.5", "0", "−3", "0"]
    assert [line.get_xdata()[0] for line in axes.lines] == [2.5]
    assert axes.get_title() == "two rows"


def test_a_complex_matrix_is_drawn_as_magnitude_and_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    magnitude, phase = shown(monkeypatch, MatrixPanel([[2j, 0, 1], [0, 3, -2]]))
    assert magnitude.images[0].get_array().tolist() == [[2, 0, 1], [0, 3, 2]]
    angles = phase.images[0].get_array()
    assert np.allclose(angles.filled(9), [[np.pi / 2, 9, 0], [9, 0, np.pi]])


def test_a_large_matrix_is_drawn_by_its_largest_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    values = np.zeros((450, 30), np.float32)
    values[449, 7] = -1.0
    (axes,) = shown(monkeypatch, MatrixPanel(values))
    drawn = axes.images[0].get_array()
    assert drawn.shape == (150, 30)
    assert np.argwhere(drawn).tolist() == [[149, 7]]
    assert "each cell: the largest of 3×1" in axes.get_xlabel()


def test_blocks_keep_what_is_largest() -> None:
    values = np.random.default_rng(0).integers(-99, 100, (7, 11))
    found = largest_of_blocks(values, (3, 4))
    for row, column in np.ndindex(3, 3):
        block = values[3 * row : 3 * row + 3, 4 * column : 4 * column + 4]
        assert abs(found[row, column]) == np.abs(block).max()
        assert found[row, column] in block
    assert block_ends((7,)) == []
    assert block_ends((2, 3, 4)) == [(1, [4, 8, 16, 20]), (2, [12])]


def test_pictures_are_files_of_a_sensible_size(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    draw_matrix(np.tri(20), tmp_path / "matrix.png", shape_in=(4, 5))
    draw_taps(TAPS, (4,), [0], tmp_path / "taps.png", padding=1)
    draw_transpose(TAPS, TAPS, tmp_path / "transpose.png", steps=[2], stride=2, padding=1)
    for name in ("matrix", "taps", "transpose"):
        with image.open(tmp_path / f"{name}.png") as picture:
            assert picture.format == "PNG"
            assert all(100 < side < 1000 for side in picture.size)
            pixels = np.asarray(picture.convert("RGB"))
        assert pixels.std() > 5
        assert (pixels[0] == 255).all()  # nothing runs over the edge
        assert (pixels[:, -1] == 255).all()


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (partial(draw_matrix, [1, 2]), ShapeError, r"rows and columns is needed, but the array has shape \(2,\)"),
        (partial(draw_matrix, np.zeros((0, 2))), ShapeError, r"shape \(0, 2\)"),
        (partial(draw_matrix, [["a"]]), DTypeError, "a matrix of numbers is needed, but its dtype is <U1"),
        (
            partial(draw_matrix, np.eye(6), shape_in=(2, 4)),
            ShapeError,
            r"shape_in=\(2, 4\) has 8 elements, but the matrix has 6 columns",
        ),
        (partial(draw_matrices, []), SpecError, "there is no matrix to draw"),
        (
            partial(draw_taps, np.ones((2, 3, 4)), (5, 6, 7), [0]),
            UnsupportedError,
            r"but the weight has shape \(2, 3, 4\)",
        ),
        (partial(draw_taps, KERNEL, (5,), [0]), ShapeError, r"input_size=\(5,\) has 1 entries"),
        (partial(draw_taps, KERNEL, (5, 6), [(0, 4)]), SpecError, r"names \(0, 4\), but there are 4 × 4 positions"),
        (partial(draw_taps, KERNEL, (5, 6), [0]), SpecError, r"outputs\[0\] must be a tuple"),
        (partial(draw_taps, KERNEL, (5, 6), []), SpecError, "outputs names no position"),
        (partial(draw_taps, KERNEL, (50, 60), [(0, 0)]), UnsupportedError, "more than the 3,000 that can be read"),
        (partial(draw_transpose, np.ones((2, 3, 4)), np.ones((2, 3, 4))), UnsupportedError, "of 1 or 2 spatial axes"),
        (partial(draw_transpose, TAPS * 1j, TAPS), DTypeError, "but y has dtype complex128 and the weight int64"),
        (partial(draw_transpose, TAPS, KERNEL), ShapeError, r"y has shape \(3,\), but needs elements along as many"),
        (partial(draw_transpose, TAPS, TAPS, steps=[3]), SpecError, r"steps names \(3,\)"),
        (partial(draw_transpose, TAPS, TAPS, padding_mode="circular"), TypeError, "argument 'padding_mode'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw: Callable[..., None], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        draw(file=BytesIO())


@pytest.mark.parametrize(
    "draw",
    [
        partial(draw_matrix, KERNEL),
        partial(draw_taps, TAPS, (4,), [0]),
        partial(draw_transpose, TAPS, TAPS),
        partial(draw_curves, []),
    ],
)
def test_matplotlib_is_named_where_it_is_missing(draw: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UnsupportedError, match=r"pictures need matplotlib: pip install 'arrconv\[train\]'"):
        draw(file=BytesIO())
