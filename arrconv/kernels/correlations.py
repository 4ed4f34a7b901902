"""All three contractions as a matrix times the windows of an array, whatever multiplies them.

Each gives an array of its own, unless there is one in C order that it shall write to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from arrconv.kernels.walks import inputs_of, phases_of, taps_together, windows_of

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.geometry import Geometry
    from arrconv.kernels.base import Problem


Correlate = Callable[..., None]
"""Called with (lib, source, matrix, windows, *outs): to let outs (N, G, O, *positions) be matrix (G, O, C, *taps) times
the windows of source (N, G, C, *sizes). Where there are several outs, the matrix has the rows of all of them, one after
the other. Nothing has the size 0 but, perhaps, the source's axes."""


def contract_y(correlate: Correlate, problem: Problem, x: Array, w: Array, out: Array | None = None) -> Array:
    """The convolution: windows of x."""
    geometry, lib = problem.geometry, problem.library
    if geometry.is_empty:
        return lib.zeros(geometry.output_shape, problem.dtype)
    y = lib.empty(geometry.output_shape, problem.dtype) if out is None else out
    correlate(lib, grouped(x, geometry), grouped_weight(w, geometry), windows_of(geometry), grouped(y, geometry))
    return y


def contract_x(correlate: Correlate, problem: Problem, w: Array, y: Array, out: Array | None = None) -> Array:
    """∂T/∂x: for each phase of the stride, windows of y and those of the taps that reach it.

    Phases that see the same windows are one correlation, with the channels of all of them.
    """
    geometry, lib = problem.geometry, problem.library
    x = empty_input(problem) if out is None else grouped(out, geometry)
    if geometry.is_empty:
        return x.reshape(geometry.input_shape)
    y, w = grouped(y, geometry), grouped_weight(w, geometry).swapaxes(1, 2)  # (G, C/G, O/G, *kernel)
    phases = phases_of(geometry)
    if len(phases) > 1:
        w = lib.ascontiguousarray(w)  # once for all
    for windows, alike in phases.items():
        matrix = taps_together(lib, w, alike)
        correlate(lib, y, matrix, windows, *(x[(..., *inputs_of(each))] for each in alike))
    return x.reshape(geometry.input_shape)


def contract_w(correlate: Correlate, problem: Problem, x: Array, y: Array, out: Array | None = None) -> Array:
    """∂T/∂w: windows of x whose taps are the positions of y, one for each tap of w, and channels the images."""
    geometry, lib = problem.geometry, problem.library
    if geometry.is_empty:
        return lib.zeros(geometry.weight_shape, problem.dtype)
    w = lib.empty(geometry.weight_shape, problem.dtype) if out is None else out
    x, y = grouped(x, geometry).swapaxes(0, 2), lib.moveaxis(grouped(y, geometry), 0, 2)  # (C, G, N, …), (G, O, N, …)
    windows = tuple(axis.exchanged() for axis in windows_of(geometry))
    correlate(lib, x, y, windows, lib.moveaxis(grouped_weight(w, geometry), 2, 0))  # (C, G, O, *kernel)
    return w


CORRELATIONS = {"y": contract_y, "x": contract_x, "w": contract_w}
"""By the direction of a problem."""


def fresh(problem: Problem) -> Array:
    """Memory for the result of a problem, in the dtype that may be returned: of zeros where no tap may reach some."""
    make = problem.library.zeros if problem.direction == "x" else problem.library.empty
    found: Array = make(problem.geometry.shape_of(problem.direction), problem.returned)
    return found


def empty_input(problem: Problem) -> Array:
    """x of zeros, (N, G, C/G, *sizes): some of it no tap may reach."""
    geometry = problem.geometry
    shape = _grouped_shape(geometry, geometry.in_channels, geometry.input_size)
    zeros: Array = problem.library.zeros(shape, problem.dtype)
    return zeros


def grouped(array: Array, geometry: Geometry) -> Array:
    """(N, channels, *sizes) as (N, G, channels/G, *sizes): a view, since it only splits an axis."""
    return array.reshape(_grouped_shape(geometry, array.shape[1], array.shape[2:]))


def grouped_weight(w: Array, geometry: Geometry) -> Array:
    """(O, C/G, *kernel) as (G, O/G, C/G, *kernel): a view."""
    return w.reshape(geometry.groups, geometry.out_channels // geometry.groups, *w.shape[1:])


def _grouped_shape(geometry: Geometry, channels: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    return (geometry.batch or 0, geometry.groups, channels // geometry.groups, *sizes)
