"""The engine for small NumPy images: their windows gathered through a table of indices, one matrix product for each.

A small call is dominated by what Python does around the products, not by them. The table says where each gathered
number is, it depends on the sizes alone, and it is remembered; what is left for a call is a few NumPy functions. Images
are taken many at a time, but multiplied one by one, so that the bits of a result do not depend on what is beside it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.kernels import taps
from arrconv.kernels.base import Kernel, Problem, in_dtype
from arrconv.kernels.blas import hold_process, hold_thread
from arrconv.kernels.blocks import SMALL, block_workspace
from arrconv.kernels.limits import current_limits
from arrconv.kernels.threads import for_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array
    from arrconv.axis import Axis
    from arrconv.geometry import Direction, Geometry

_MOST = 2**14
"""Numbers gathered for an image; above, blocks that stay in the processor's cache are faster."""

_TOGETHER = 2**16
"""Numbers gathered at once."""


def refuses(problem: Problem) -> str | None:
    """Why the table cannot serve a problem, or None."""
    if problem.backend.library != "numpy":
        return f"it works on NumPy arrays, not on those of {problem.backend.library}"
    if (count := _gathered(problem.geometry, problem.direction)) > _MOST:
        return f"it would gather {count} numbers for an image, more than {_MOST}"
    if (needed := count * np.dtype(problem.backend.accumulator).itemsize) > (room := block_workspace()):
        return f"gathering the products of an image takes {needed} bytes, more than the {room} of the workspace"
    return None


def contract(problem: Problem, first: Array, second: Array) -> Array:
    """The contraction as one matrix product for each image and group, in the accumulator's dtype."""
    geometry, dtype = problem.geometry, np.dtype(problem.backend.accumulator)
    if geometry.is_empty:
        shapes = {"y": geometry.output_shape, "x": geometry.input_shape, "w": geometry.weight_shape}
        return np.zeros(shapes[problem.direction], dtype)
    match problem.direction:
        case "y":
            w = in_dtype(second.reshape(_matrix_shape(geometry)), dtype)
            return _by_image(geometry, "y", first, w, dtype).reshape(geometry.output_shape)
        case "x":
            if first.dtype.kind in "fc" and not np.isfinite(first).all():
                # Zeros beyond the border of y are no part of the form; a product with an infinite w shows them.
                return taps.contract(problem, first, second)
            w = in_dtype(first, dtype).reshape(*_matrix_shape(geometry)[:2], -1, math.prod(geometry.kernel_size))
            w = w.swapaxes(1, 2).reshape(geometry.groups, w.shape[2], -1)  # (G, C/G, O/G·K)
            return _by_image(geometry, "x", second, w, dtype).reshape(geometry.input_shape)
        case "w":
            rows = in_dtype(
                second.reshape(len(second), geometry.groups, geometry.out_channels // geometry.groups, -1), dtype
            )
            return _summed(geometry, first, rows, dtype).reshape(geometry.weight_shape)


def _by_image(geometry: Geometry, direction: Direction, source: Array, matrix: Array, dtype: Any) -> Array:
    """The products of a matrix (G, rows, channels·K) and the columns of each image: (N, G, rows, sums)."""
    pieces = _pieces(geometry, direction, dtype)
    if len(pieces) == 1:
        with hold_process(), hold_thread():
            product: Array = np.matmul(matrix, _columns(geometry, direction, source, dtype))
            return product
    table, _ = _table(geometry, direction)
    result = np.empty((len(source), *matrix.shape[:2], table.shape[2]), dtype)

    def make_worker() -> Callable[[slice], None]:
        def worker(images: slice) -> None:
            np.matmul(matrix, _columns(geometry, direction, source[images], dtype), out=result[images])

        return worker

    work = result.size * matrix.shape[2]
    for_each(pieces, make_worker, current_limits().threads if work > SMALL else 1)
    return result


def _summed(geometry: Geometry, x: Array, rows: Array, dtype: Any) -> Array:
    """Σ over images of rows (N, G, O/G, L) times the columns of x, as (G, O/G, C/G·K)."""
    total: Array | None = None
    with hold_process(), hold_thread():
        for images in _pieces(geometry, "w", dtype):
            columns = _columns(geometry, "w", x[images], dtype)
            part = np.matmul(rows[images], columns.swapaxes(-1, -2)).sum(axis=0)
            total = part if total is None else total + part
    assert total is not None
    return total


def _pieces(geometry: Geometry, direction: Direction, dtype: Any) -> tuple[slice, ...]:
    """Ranges of images whose columns are gathered at once; they do not depend on the number of threads."""
    return _cut(geometry, direction, min(_TOGETHER, block_workspace() // dtype.itemsize))


@lru_cache(maxsize=1024)
def _cut(geometry: Geometry, direction: Direction, most: int) -> tuple[slice, ...]:
    images, step = geometry.batch or 0, max(1, most // max(1, _gathered(geometry, direction)))
    return tuple(slice(start, min(start + step, images)) for start in range(0, images, step))


def _columns(geometry: Geometry, direction: Direction, source: Array, dtype: Any) -> Array:
    """The numbers of x (or of y, for ∂T/∂x) that meet in each sum: (N, G, channels·K, sums)."""
    table, reads_zeros = _table(geometry, direction)
    flat = source.reshape(len(source), -1)
    if not reads_zeros:
        return in_dtype(flat, dtype).take(table, axis=1)
    wide = np.zeros((flat.shape[0], flat.shape[1] + 1), dtype)
    wide[:, :-1] = flat
    return wide.take(table, axis=1)


@lru_cache(maxsize=1024)
def _gathered(geometry: Geometry, direction: Direction) -> int:
    """The number of numbers that are gathered for an image."""
    size, channels = (
        (geometry.input_size, geometry.out_channels)
        if direction == "x"
        else (geometry.output_size, geometry.in_channels)
    )
    return math.prod((channels, *geometry.kernel_size, *size))


@lru_cache(maxsize=64)
def _table(geometry: Geometry, direction: Direction) -> tuple[Array, bool]:
    """Where each gathered number is in an image, (G, channels/G·K, sums); and whether some are beyond it, zeros.

    The index of those is the size of the image.
    """
    transposed = direction == "x"
    channels = geometry.out_channels if transposed else geometry.in_channels
    sizes = geometry.output_size if transposed else geometry.input_size
    ndim = geometry.ndim
    index = np.zeros((1,) * (2 * ndim), np.int64)  # (*taps, *sums)
    inside = np.ones_like(index, bool)
    for number, (axis, size) in enumerate(zip(geometry.axes, sizes, strict=True)):
        read, is_inside = (_outputs if transposed else _inputs)(axis)  # (taps, sums)
        shape = [1] * (2 * ndim)
        shape[number], shape[ndim + number] = read.shape
        index = index * size + read.reshape(shape)
        inside = inside & is_inside.reshape(shape)
    image = math.prod(sizes)
    taps_count = math.prod(geometry.kernel_size)
    flat, is_flat_inside = index.reshape(taps_count, -1), inside.reshape(taps_count, -1)
    table = np.arange(channels)[:, None, None] * image + flat  # (channels, K, sums)
    rows = channels // geometry.groups * taps_count
    table = np.where(is_flat_inside, table, channels * image).reshape(geometry.groups, rows, flat.shape[1])
    table.flags.writeable = False
    return table, not bool(inside.all())


def _inputs(axis: Axis) -> tuple[Array, Array]:
    """Which input each tap of each output reads, and whether there is one: (taps, outputs)."""
    outputs, taps_ = np.arange(axis.output_size), np.arange(axis.kernel_size)[:, None]
    read = outputs * axis.stride + taps_ * axis.dilation - axis.begin
    return read, (read >= 0) & (read < axis.input_size)


def _outputs(axis: Axis) -> tuple[Array, Array]:
    """Which output each tap of each input has a part in, and whether there is one: (taps, inputs)."""
    inputs, taps_ = np.arange(axis.input_size), np.arange(axis.kernel_size)[:, None]
    place, remainder = np.divmod(inputs + axis.begin - taps_ * axis.dilation, axis.stride)
    return place, (remainder == 0) & (place >= 0) & (place < axis.output_size)


def _matrix_shape(geometry: Geometry) -> tuple[int, int, int]:
    """(G, C_out/G, C_in/G·K)."""
    rows = geometry.out_channels // geometry.groups
    return geometry.groups, rows, geometry.in_channels // geometry.groups * math.prod(geometry.kernel_size)


KERNEL = Kernel("table", refuses, contract)
