"""The engine for small NumPy images: their windows gathered through a table of indices, one matrix product for each.

A small call is dominated by what Python does around the products, not by them. The table says where each gathered
number is, it depends on the sizes alone, and it is remembered; what is left for a call is a few NumPy functions. Images
are taken many at a time, but multiplied one by one, so that the bits of a result do not depend on what is beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.kernels.base import Kernel, Problem, in_dtype
from arrconv.kernels.blas import hold_process, hold_thread
from arrconv.kernels.blocks import block_workspace, cut, even, shares
from arrconv.kernels.finite import where_finite
from arrconv.kernels.integers import in_float64
from arrconv.kernels.threads import for_each, is_shared, threads_for
from arrconv.kernels.walks import inputs_of, phases_of, taps_together, windows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array
    from arrconv.axis import Windows
    from arrconv.geometry import Direction, Geometry

_MOST = {"y": 2**15, "x": 2**15, "w": 2**13}
"""Numbers gathered for an image; above, blocks that stay in the processor's cache are faster."""

_TOGETHER = 2**16
"""Numbers gathered at once."""

_ONE = [slice(0, 1)]


def refuses(problem: Problem) -> str | None:
    """Why the table cannot serve a problem, or None."""
    if problem.backend.library != "numpy":
        return f"it works on NumPy arrays, not on those of {problem.backend.library}"
    most = _MOST[problem.direction]
    if (count := _gathered(problem.geometry, problem.direction)) > most:
        return f"it would gather {count} numbers for an image, more than {most}"
    if (needed := count * problem.dtype.itemsize) > (room := block_workspace()):
        return f"gathering the products of an image takes {needed} bytes, more than the {room} of the workspace"
    return None


def contract(problem: Problem, first: Array, second: Array) -> Array:
    """The contraction as one matrix product for each image and group, in the accumulator's dtype."""
    geometry, dtype = problem.geometry, problem.dtype
    if geometry.is_empty or _gathered(geometry, problem.direction) == 0:
        shapes = {"y": geometry.output_shape, "x": geometry.input_shape, "w": geometry.weight_shape}
        return np.zeros(shapes[problem.direction], dtype)
    groups, recipe = geometry.groups, _recipe(geometry, problem.direction)
    match problem.direction:
        case "y":
            matrix = in_dtype(second, dtype).reshape(groups, geometry.out_channels // groups, -1)  # (G, O/G, C/G·K)
            return _by_image(recipe, first, [matrix], geometry.output_shape)
        case "x":
            w = in_dtype(first, dtype).reshape(groups, -1, *first.shape[1:]).swapaxes(1, 2)  # (G, C/G, O/G, *kernel)
            together = [taps_together(np, w, alike) for alike in phases_of(geometry).values()]
            matrices = [matrix.reshape(*matrix.shape[:2], -1) for matrix in together]  # (G, phases·C/G, O/G·taps)
            return _by_image(recipe, second, matrices, geometry.input_shape)
        case "w":
            y = in_dtype(second, dtype).reshape(len(second), groups, geometry.out_channels // groups, -1)
            return _summed(recipe, first, y).reshape(geometry.weight_shape)


def _by_image(recipe: _Recipe, source: Array, matrices: list[Array], shape: tuple[int, ...]) -> Array:
    """The products of matrices (G, rows, channels·taps) and their columns of each image, in order, in this shape."""
    dtype, work = matrices[0].dtype, len(source) * recipe.gathered * matrices[0].shape[1]
    pieces = recipe.pieces(len(source), dtype, work)
    if len(pieces) == 1:
        with hold_process(), hold_thread():
            return recipe.multiplied(source, matrices).reshape(shape)
    result = np.empty(shape, dtype)

    def make_worker() -> Callable[[slice], None]:
        def worker(images: slice) -> None:
            part = result[images]
            part[...] = recipe.multiplied(source[images], matrices).reshape(part.shape)

        return worker

    for_each(pieces, make_worker, threads_for(np, work))
    return result


def _summed(recipe: _Recipe, x: Array, y: Array) -> Array:
    """Σ over images of y (N, G, O/G, L) times the columns of x: (G, O/G, C/G·K)."""
    work = len(y) * recipe.gathered * y.shape[2]
    pieces = recipe.pieces(len(x), y.dtype, work)
    if len(pieces) == 1:
        with hold_process(), hold_thread():
            return recipe.summed(x, y)
    parts = cut(len(pieces), shares(1) if is_shared(work) else 1)  # each is summed in order, and then their sums are
    sums: list[Array] = [y] * len(parts)

    def make_worker() -> Callable[[int], None]:
        def worker(number: int) -> None:
            sums[number] = reduce(np.add, (recipe.summed(x[images], y[images]) for images in pieces[parts[number]]))

        return worker

    for_each(range(len(parts)), make_worker, threads_for(np, work))
    return reduce(np.add, sums)


@dataclass(frozen=True, slots=True)
class _Table:
    """Where the numbers that a matrix meets are in an image.

    Attributes:
        shape: (G, channels·taps, sums).
        index: of each number; None if they are those of the image, in order. The size of the image stands for a zero.
    """

    shape: tuple[int, int, int]
    index: Array | None

    def columns(self, flat: Array) -> Array:
        """The numbers of images (n, elements): (n, G, channels·taps, sums)."""
        if self.index is None:
            return flat[:, : math.prod(self.shape)].reshape(len(flat), *self.shape)
        return flat.take(self.index, axis=1)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What the sizes say about a contraction.

    Attributes:
        tables: one for each matrix.
        gathered: how many numbers are gathered for an image.
        reads_zeros: whether some numbers are zeros beyond the image.
        order: where the elements of a result are among the sums, if not in order; their number stands for a zero.
        leaves_zeros: whether there are such zeros.
    """

    tables: tuple[_Table, ...]
    gathered: int
    reads_zeros: bool
    order: Array | None
    leaves_zeros: bool

    def pieces(self, images: int, dtype: Any, work: int) -> list[slice]:
        """Ranges of images that are taken together; they do not depend on the number of threads."""
        if images == 1:
            return _ONE
        most = max(1, min(_TOGETHER, block_workspace() // dtype.itemsize) // self.gathered)
        return even(images, min(most, -(-images // shares(1))) if is_shared(work) else most)

    def flat(self, source: Array, dtype: Any) -> Array:
        """Images as (n, elements), with a zero behind them if it is read."""
        flat = source.reshape(len(source), -1)
        if not self.reads_zeros:
            return in_dtype(flat, dtype)
        wide = np.zeros((flat.shape[0], flat.shape[1] + 1), dtype)
        wide[:, :-1] = flat
        return wide

    def multiplied(self, source: Array, matrices: list[Array]) -> Array:
        """The products of matrices (G, rows, channels·taps) and their columns of some images, in order."""
        flat = self.flat(source, matrices[0].dtype)
        if self.order is None:
            return np.matmul(matrices[0], self.tables[0].columns(flat))
        products = [np.matmul(m, table.columns(flat)) for m, table in zip(matrices, self.tables, strict=True)]
        sums = [product.reshape(len(flat), -1) for product in products]
        if self.leaves_zeros:
            sums.append(np.zeros((len(flat), 1), flat.dtype))
        joined = sums[0] if len(sums) == 1 else np.concatenate(sums, axis=1)
        return joined.take(self.order, axis=1)

    def summed(self, x: Array, y: Array) -> Array:
        """Σ over some images of y (n, G, O/G, L) times the columns of x."""
        columns = self.tables[0].columns(self.flat(x, y.dtype))
        products: Array = np.matmul(y, columns.swapaxes(-1, -2))
        return products[0] if len(products) == 1 else products.sum(axis=0)


@lru_cache(maxsize=1024)
def _gathered(geometry: Geometry, direction: Direction) -> int:
    """The number of numbers that are gathered for an image."""
    channels = geometry.out_channels if direction == "x" else geometry.in_channels
    walks = phases_of(geometry) if direction == "x" else [windows_of(geometry)]
    return channels * sum(math.prod(w.taps * w.count for w in windows) for windows in walks)


@lru_cache(maxsize=64)
def _recipe(geometry: Geometry, direction: Direction) -> _Recipe:
    """The recipe of a contraction."""
    channels, walks = geometry.in_channels, [windows_of(geometry)]
    if direction == "x":
        channels, walks = geometry.out_channels, list(phases_of(geometry))
    tables = tuple(_table(channels, geometry.groups, windows) for windows in walks)
    gathered = _gathered(geometry, direction)
    reads_zeros = not all(w.is_inside for windows in walks for w in windows)
    if direction != "x" or _is_in_order(geometry):
        return _Recipe(tables, gathered, reads_zeros, None, leaves_zeros=False)
    order, sums = _order(geometry)
    return _Recipe(tables, gathered, reads_zeros, order, leaves_zeros=bool((order == sums).any()))


def _table(channels: int, groups: int, windows: tuple[Windows, ...]) -> _Table:
    """Where the numbers of windows over images of so many channels are."""
    counts, taps_ = math.prod(w.count for w in windows), math.prod(w.taps for w in windows)
    shape = (groups, channels // groups * taps_, counts)
    if all(w.is_identity for w in windows):
        return _Table(shape, None)
    index, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)  # (taps, windows)
    for w in windows:
        read = w.start + w.step * np.arange(w.count) + w.spacing * np.arange(w.taps)[:, None]
        here = (read >= 0) & (read < w.size)
        index = (index[:, None, :, None] * w.size + read[None, :, None, :]).reshape(
            len(index) * w.taps, index.shape[1] * w.count
        )
        inside = (inside[:, None, :, None] & here[None, :, None, :]).reshape(index.shape)
    image = math.prod(w.size for w in windows)
    table = np.where(inside, np.arange(channels)[:, None, None] * image + index, channels * image)  # (C, taps, windows)
    table = table.reshape(shape)
    table.flags.writeable = False
    return _Table(shape, table)


def _is_in_order(geometry: Geometry) -> bool:
    """Whether the sums of the only convolution that ∂T/∂x is are its elements, in order."""
    phases = list(phases_of(geometry).values())
    return len(phases) == len(phases[0]) == 1 and all(axis.stride == 1 for axis in geometry.axes)


def _order(geometry: Geometry) -> tuple[Array, int]:
    """Where the elements of x are among the sums (phases·C/G, windows) of each group and walk; and how many these are.

    The index of an element that no output has a part in is the number of the sums.
    """
    groups, channels = geometry.groups, geometry.in_channels // geometry.groups
    order = np.full((groups, channels, *geometry.input_size), -1)
    sums = 0
    for windows, alike in phases_of(geometry).items():
        shape = (groups, len(alike), channels, *(w.count for w in windows))
        numbers = sums + np.arange(math.prod(shape)).reshape(shape)
        for number, phases in enumerate(alike):
            places: tuple[Any, ...] = (..., *inputs_of(phases))
            order[places] = numbers[:, number]
        sums += numbers.size
    order = np.where(order < 0, sums, order).reshape(-1)
    order.flags.writeable = False
    return order, sums


KERNEL = Kernel("table", refuses, where_finite(in_float64(contract)))
