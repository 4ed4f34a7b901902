"""A transposed convolution step by step: each input element lays the kernel down, and overlaps add up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from arrconv.errors import DTypeError, ShapeError
from arrconv.geometry import Geometry
from arrconv.spec import ConvOptions, ConvSpec, ConvTransposeOptions, check_options
from arrconv.viz.canvas import (
    BEFORE,
    GAP,
    NOW,
    TWICE,
    Canvas,
    Key,
    as_grid,
    cell_of,
    check_kernel,
    named,
    numbers,
    positions,
    spans,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import IO

_TITLE_CELLS = 3  # which the longest title takes
LEGEND = (
    Key("laid down now", NOW),
    Key("now, on earlier ones: the sum", TWICE),
    Key("laid down earlier", BEFORE),
    Key("padding, cropped", is_crossed=True),
)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One input element's part in a transposed convolution.

    Attributes:
        position: of the element in y.
        touched: of the stretched grid, which cells its kernel lies on.
        laid: the kernel times the element there, zero elsewhere.
        total: what has been laid down so far, this included.
        kept: the part of the grid that is the result; padding crops the rest.
    """

    position: tuple[int, ...]
    touched: np.ndarray[Any, Any]
    laid: np.ndarray[Any, Any]
    total: np.ndarray[Any, Any]
    kept: tuple[slice, ...]


def transpose_steps(y: Any, weight: Any, **options: Unpack[ConvTransposeOptions]) -> Iterator[Step]:
    """The steps of a transposed convolution, one for each element of y; the last total, cropped, is the result.

    Args:
        y: the input, without batch and channels, of any library that NumPy can read.
        weight: the kernel, with as many axes.
        options: as for `conv_transpose`; integers are added up in int64, as there.

    Returns:
        The steps, made one by one, of which `total[kept]` of the last is `conv_transpose(y, weight)`.

    Raises:
        ShapeError: y and the kernel differ in their number of axes, or y is empty, or sizes do not fit.
        SpecError: an option has no meaning.

    >>> for step in transpose_steps(np.asarray([1, 2, 3]), np.asarray([1, 10, 100]), stride=2, padding=1):
    ...     print(step.laid, step.total, step.total[step.kept])
    [  1  10 100   0   0   0   0] [  1  10 100   0   0   0   0] [ 10 100   0   0   0]
    [  0   0   2  20 200   0   0] [  1  10 102  20 200   0   0] [ 10 102  20 200   0]
    [  0   0   0   0   3  30 300] [  1  10 102  20 203  30 300] [ 10 102  20 203  30]
    """
    y, weight = np.asarray(y), np.asarray(weight)
    return _steps(y, weight, _geometry(y, weight, **options))


def draw_transpose(
    y: Any,
    weight: Any,
    file: Path | str | IO[bytes],
    *,
    steps: Sequence[int | Sequence[int]] | None = None,
    **options: Unpack[ConvTransposeOptions],
) -> None:
    """Draw to an image file how a transposed convolution lays its kernels down: a panel for each input element.

    Each panel shows the element in the input, and the stretched grid with the element's kernel on what earlier elements
    left there; darker cells are overlaps, with their sum. Hatched cells are padding, which is cropped. The last panel
    is the result, within a frame.

    Args:
        y: the input, of one or two axes, real, of any library that NumPy can read.
        weight: the kernel, with as many axes.
        file: a path, whose ending says which format, or an open binary file, which gets a PNG.
        steps: the input elements to draw, tuples, or integers where there is one axis; all of them by default. Elements
            that are not drawn are laid down all the same.
        options: stride, padding, output_padding, output_size, dilation, as for `conv_transpose`.

    Raises:
        UnsupportedError: the kernel has other than one or two axes; there would be too many cells; or matplotlib is not
            installed.
        DTypeError: numbers are complex.
        ShapeError, SpecError: as for `transpose_steps`, or an element is not there.

    >>> import io
    >>> draw_transpose(np.asarray([1, 2]), np.asarray([1, 2, 3]), io.BytesIO(), stride=2, output_padding=1)
    """
    y, weight = np.asarray(y), np.asarray(weight)
    check_kernel(weight)
    if np.iscomplexobj(y) or np.iscomplexobj(weight):
        raise DTypeError(f"the cells show real numbers, but y has dtype {y.dtype} and the weight {weight.dtype}")
    geometry = _geometry(y, weight, **options)
    chosen = set(positions(list(np.ndindex(y.shape)) if steps is None else steps, y.shape, "steps"))
    given, made, own = as_grid(y.shape), as_grid([len(places) for places in spans(geometry)]), as_grid(weight.shape)
    canvas = Canvas(
        len(chosen) + 2, given[1] + GAP + max(made[1], _TITLE_CELLS), max(given[0], made[0], own[0]), LEGEND
    )
    canvas.kernel(weight)
    panel, column = 1, given[1] + GAP
    before = np.zeros([len(places) for places in spans(geometry)], bool)
    for step in _steps(y, weight, geometry):
        if step.position in chosen:
            _draw_y(canvas, panel, y, step.position)
            canvas.title(panel, f"{named('y', step.position)}·w laid down", column)
            _draw_grid(canvas, panel, step, before, column)
            panel += 1
        before = before | step.touched
    _draw_y(canvas, panel, y, None)
    canvas.title(panel, "the sum", column)
    nothing = replace(step, touched=np.zeros_like(before), laid=np.zeros_like(step.laid))
    _draw_grid(canvas, panel, nothing, np.ones_like(before), column)
    canvas.save(file)


def _geometry(
    y: np.ndarray[Any, Any],
    weight: np.ndarray[Any, Any],
    *,
    output_padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
    **options: Unpack[ConvOptions],
) -> Geometry:
    """The forward problem that is transposed."""
    if y.ndim != weight.ndim or y.size == 0:
        raise ShapeError(f"y has shape {y.shape}, but needs elements along as many axes as the weight {weight.shape}")
    check_options("conv_transpose", options, ConvTransposeOptions)
    spec, shapes = ConvSpec.of(y.ndim, **options), ((1, *y.shape), (1, 1, *weight.shape))
    return Geometry.transposed(spec, *shapes, output_padding=output_padding, output_size=output_size)


def _steps(y: np.ndarray[Any, Any], weight: np.ndarray[Any, Any], geometry: Geometry) -> Iterator[Step]:
    grid = spans(geometry)
    kept = tuple(
        slice(-places.start, -places.start + axis.input_size) for places, axis in zip(grid, geometry.axes, strict=True)
    )
    dtype = np.result_type(y, weight)
    total = np.zeros([len(places) for places in grid], np.int64 if np.issubdtype(dtype, np.integer) else dtype)
    for position in np.ndindex(y.shape):
        window = tuple(
            slice(start := axis.stride * index - axis.begin - places.start, start + axis.extent, axis.dilation)
            for axis, index, places in zip(geometry.axes, position, grid, strict=True)
        )
        touched, laid = np.zeros(total.shape, bool), np.zeros_like(total)
        touched[window] = True
        laid[window] = y[position].astype(total.dtype) * weight
        total = total + laid
        yield Step(position, touched, laid, total, kept)


def _draw_y(canvas: Canvas, panel: int, y: np.ndarray[Any, Any], position: tuple[int, ...] | None) -> None:
    """The input, one element marked."""
    canvas.title(panel, "input y")
    texts = numbers(y)
    for index in np.ndindex(y.shape):
        face = NOW if index == position else "white"
        canvas.cell(panel, *cell_of(index), text=texts[index], note=named("y", index), face=face)


def _draw_grid(canvas: Canvas, panel: int, step: Step, before: np.ndarray[Any, Any], column: float) -> None:
    """The stretched grid: what is laid down now, on what lay there before."""
    laid, earlier, total = numbers(step.laid), numbers(step.total - step.laid), numbers(step.total)
    kept = np.zeros(before.shape, bool)
    kept[step.kept] = True
    for index in np.ndindex(before.shape):
        row, across = cell_of(index)
        text, note, face = "", "", "white"
        if step.touched[index] and before[index]:
            sign = "" if laid[index].startswith("−") else "+"
            text, note, face = total[index], f"{earlier[index]}{sign}{laid[index]}", TWICE
        elif step.touched[index]:
            text, face = total[index], NOW
        elif before[index]:
            text, face = total[index], BEFORE
        canvas.cell(panel, row, column + across, text=text, note=note, face=face, is_crossed=not kept[index])
    row, across = cell_of([part.start for part in step.kept])
    canvas.frame(panel, row, column + across, as_grid([part.stop - part.start for part in step.kept]))
