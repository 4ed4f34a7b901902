"""The engine for NumPy and CuPy: blocks of windows gathered into a bounded workspace, one matrix product a block.

All three contractions are the same walk. `conv` gathers windows of x; the transposed convolution gathers, for each
phase of the stride, windows of y (see `Axis.phases`); the weight gradient gathers windows of x and multiplies them
by y. Work is split over outputs only, in blocks that the thread count does not influence, so neither do the bits.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.kernels import taps
from arrconv.kernels.base import Kernel, Problem
from arrconv.kernels.limits import current_limits
from arrconv.kernels.threads import for_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arrconv._namespace import Array
    from arrconv.geometry import Geometry, Phase, Windows

_BLOCK_BYTES = 2**21  # gathered columns of one block: large enough for a matrix product at full rate, and in cache
_LEAST_COLUMNS = 128  # below this many columns a matrix product mostly reads the other matrix
_SHARES = 4  # the least number of pieces to cut large work into, so that several threads have something to do
_SMALL = 2**18  # products; work below this is not worth a second thread
_DIRECT = 4  # up to this many channel pairs a group, multiplying and adding arrays beats gathering


def refuses(problem: Problem) -> str | None:
    """Why gemm cannot serve a problem, or None."""
    backend, geometry = problem.backend, problem.geometry
    if not (backend.is_numpy or backend.is_cupy):
        return f"it works on NumPy and CuPy arrays, not on those of {backend.library}"
    if backend.is_cupy and problem.direction == "x":
        return "on CuPy it would have to wait for the device to learn whether w is finite"
    workspace = current_limits().workspace
    needed = _bytes_per_column(geometry, problem.direction, np.dtype(backend.accumulator).itemsize)
    if needed > workspace:
        return f"the products of one output take {needed} bytes, more than the workspace of {workspace}"
    return None


def contract(problem: Problem, first: Array, second: Array) -> Array:
    """The contraction in blocks, in the accumulator's dtype."""
    return _CONTRACTIONS[problem.direction](problem, first, second)


def _contract_y(problem: Problem, x: Array, w: Array) -> Array:
    geometry, lib = problem.geometry, _library(x)
    y = lib.empty(_grouped_shape(geometry, geometry.out_channels, geometry.output_size), np.dtype(problem.backend.accumulator))
    groups, out_channels, channels = y.shape[1], y.shape[2], geometry.weight_shape[1]
    matrix = w.reshape(groups, out_channels, channels, *geometry.kernel_size)  # (G, O/G, C/G, *kernel)
    _correlate(lib, _grouped(x, geometry), matrix, tuple(axis.windows() for axis in geometry.axes), y)
    return y.reshape(geometry.output_shape)


def _contract_x(problem: Problem, w: Array, y: Array) -> Array:
    """∂T/∂x as one convolution of y, with some of the taps, for each combination of phases of the stride."""
    geometry, lib = problem.geometry, _library(y)
    if not problem.backend.is_integer and not lib.isfinite(w).all():
        # The blocks multiply w by zeros beyond the border of y, which are no part of the form; an infinite w shows it.
        return taps.contract(problem, w, y)
    x = lib.zeros(_grouped_shape(geometry, geometry.in_channels, geometry.input_size), np.dtype(problem.backend.accumulator))
    channels, out_channels = x.shape[2], geometry.out_channels // geometry.groups
    w = w.reshape(geometry.groups, out_channels, channels, *geometry.kernel_size).swapaxes(1, 2)
    for phases in product(*(axis.phases() for axis in geometry.axes)):
        matrix = w[(..., *(_taps_backwards(phase) for phase in phases))]  # (G, C/G, O/G, *taps)
        places = tuple(
            slice(phase.first, axis.input_size, axis.stride)
            for phase, axis in zip(phases, geometry.axes, strict=True)
        )
        _correlate(lib, _grouped(y, geometry), matrix, tuple(phase.windows for phase in phases), x[(..., *places)])
    return x.reshape(geometry.input_shape)


def _contract_w(problem: Problem, x: Array, y: Array) -> Array:
    geometry, lib = problem.geometry, _library(x)
    accumulator = np.dtype(problem.backend.accumulator)
    groups, (out_channels, channels, *kernel) = geometry.groups, geometry.weight_shape
    out_channels //= groups
    if geometry.is_empty:
        return lib.zeros(geometry.weight_shape, accumulator)
    x, windows = _grouped(x, geometry), tuple(axis.windows() for axis in geometry.axes)
    y = _accumulating(lib, _grouped(y, geometry), accumulator)
    y = y.reshape(*y.shape[:3], -1)  # (N, G, O/G, L)
    taps_count, positions = math.prod(kernel), y.shape[-1]
    most = min(_MOST_ROWS, current_limits().workspace // (3 * out_channels * accumulator.itemsize))
    channel_step = max(1, min(channels, most // taps_count))
    plan = _plan(lib, groups, channel_step * taps_count, windows, accumulator.itemsize, split=False)
    pieces = [(n, box) for n in range(len(y)) for box in plan.boxes]
    work = geometry.batch * groups * out_channels * channels * taps_count * positions
    shares = -(-_SHARES // (len(plan.groups) * -(-channels // channel_step))) if work > _SMALL else 1
    parts = _cut(len(pieces), shares)
    sums = lib.zeros((len(parts), groups, out_channels, channels * taps_count), accumulator)

    def make_worker() -> Callable[[tuple[int, slice, int]], None]:
        gather = _Gather(lib, x, windows, accumulator)

        def worker(task: tuple[int, slice, int]) -> None:
            part, gs, c = task
            cs = slice(c, min(c + channel_step, channels))
            total = sums[part, gs, :, cs.start * taps_count : cs.stop * taps_count]
            for n, box in pieces[parts[part]]:
                columns = gather(n, gs, cs, box)  # (g, c·K, l)
                total += lib.matmul(y[n, gs, :, box.flat], columns.swapaxes(1, 2))

        return worker

    tasks = [
        (part, gs, c) for part in range(len(parts)) for gs in plan.groups for c in range(0, channels, channel_step)
    ]
    for_each(tasks, make_worker, _threads(lib, work))
    total = sums[0]
    for part in range(1, len(parts)):
        total += sums[part]
    return total.reshape(geometry.weight_shape)


_MOST_ROWS = 512  # gathered rows of one block of the weight gradient

_CONTRACTIONS = {"y": _contract_y, "x": _contract_x, "w": _contract_w}


@dataclass(frozen=True, slots=True)
class _Box:
    """A block of windows: a part of each axis, and the same as a range of the flattened positions."""

    windows: tuple[Windows, ...]
    flat: slice
    corner: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a walk is cut: into ranges of groups, and boxes of windows."""

    groups: tuple[slice, ...]
    boxes: tuple[_Box, ...]


def _correlate(lib: Any, source: Array, matrix: Array, windows: tuple[Windows, ...], out: Array) -> None:
    """out (N, G, O, *positions) = matrix (G, O, C, *taps) times the windows of source (N, G, C, *sizes)."""
    if out.size == 0:
        return
    groups, rows, channels = matrix.shape[:3]
    if channels == 0:
        out[...] = 0
        return
    contiguous = bool(out.flags.c_contiguous)
    flat_out = out.reshape(*out.shape[:3], -1) if contiguous else None  # (N, G, O, L), a view
    direct = rows * channels <= _DIRECT and groups > 1
    matrix = lib.ascontiguousarray(matrix.reshape(groups, rows, -1), out.dtype)  # (G, O, C·K)
    room = matrix.shape[2] if contiguous else max(matrix.shape[1:])  # a product that is not written in place needs some
    plan = _plan(lib, groups, room, windows, out.dtype.itemsize, split=len(out) < _SHARES)
    work = out.size * matrix.shape[2]

    def make_worker() -> Callable[[tuple[int, slice, _Box]], None]:
        gather = _Gather(lib, source, windows, out.dtype)

        def worker(task: tuple[int, slice, _Box]) -> None:
            n, gs, box = task
            place = (n, gs, slice(None), *(slice(a, a + w.count) for a, w in zip(box.corner, box.windows, strict=True)))
            if direct and _is_dense(box.windows):
                _accumulate(lib, gather.view(n, gs, slice(None), box), matrix[gs], out[place])
                return
            columns = gather(n, gs, slice(None), box)  # (g, C·K, l)
            if flat_out is not None:
                lib.matmul(matrix[gs], columns, out=flat_out[n, gs, :, box.flat])
            else:
                out[place] = lib.matmul(matrix[gs], columns).reshape(out[place].shape)

        return worker

    tasks = [(n, gs, box) for n in range(len(out)) for gs in plan.groups for box in plan.boxes]
    for_each(tasks, make_worker, _threads(lib, work))


def _accumulate(lib: Any, view: Array, matrix: Array, out: Array) -> None:
    """out (g, O, *l) = Σ over channels and taps of matrix (g, O, C·K) times view (g, C, *K, *l), without gathering."""
    ndim = out.ndim - 2
    rows, taps = out.shape[1], list(product(*(range(size) for size in view.shape[1 : 2 + ndim])))
    term = lib.empty(view.shape[:1] + out.shape[2:], out.dtype)
    for row in range(rows):
        for number, tap in enumerate(taps):
            factor = matrix[:, row, number].reshape(-1, *(1,) * ndim)
            if number == 0:
                lib.multiply(view[(slice(None), *tap)], factor, out=out[:, row])
            else:
                lib.multiply(view[(slice(None), *tap)], factor, out=term)
                out[:, row] += term


class _Gather:
    """Gathers windows of a source (N, G, C, *sizes) into columns, through memory of its own that it uses again."""

    def __init__(self, lib: Any, source: Array, windows: tuple[Windows, ...], dtype: Any) -> None:
        self._lib, self._source, self._windows, self._dtype = lib, source, windows, dtype
        self._slab = self._columns = lib.empty(0, dtype)
        self._is_pointwise = source.dtype == dtype and source.flags.c_contiguous and all(_is_whole(w) for w in windows)

    def __call__(self, n: int, gs: slice, cs: slice, box: _Box) -> Array:
        """The columns (g, C·K, l) of some groups and channels of image n in a box."""
        if self._is_pointwise:
            return self._source.reshape(*self._source.shape[:3], -1)[n, gs, cs, box.flat]
        lead = self._source[n, gs, cs].shape[:2]
        shape = (*lead, *(w.taps for w in box.windows), *(w.count for w in box.windows))
        size = math.prod(shape)
        if self._columns.size < size:
            self._columns = self._lib.empty(size, self._dtype)
        columns = self._columns[:size].reshape(shape)
        if _is_dense(box.windows):
            self._lib.copyto(columns, self.view(n, gs, cs, box))
        else:  # taps far apart: what lies between them is not worth copying
            for tap in product(*(range(w.taps) for w in box.windows)):
                self._copy_tap(columns[(slice(None), slice(None), *tap)], n, gs, cs, box, tap)
        return columns.reshape(lead[0], -1, math.prod(shape[-len(box.windows) :]) if box.windows else 1)

    def view(self, n: int, gs: slice, cs: slice, box: _Box) -> Array:
        """The windows (g, C, *K, *l) as an overlapping view: of the source itself inside it, else of a padded copy."""
        image = self._source[n, gs, cs]
        inside = all(w.start >= 0 and w.stop <= w.size for w in box.windows)
        if inside and image.dtype == self._dtype:
            slab = image[(..., *(slice(w.start, w.stop) for w in box.windows))]
        else:
            slab = self._padded(image, box)
        steps = slab.strides[2:]
        strides = (
            *slab.strides[:2],
            *(step * w.spacing for step, w in zip(steps, box.windows, strict=True)),
            *(step * w.step for step, w in zip(steps, box.windows, strict=True)),
        )
        shape = (*slab.shape[:2], *(w.taps for w in box.windows), *(w.count for w in box.windows))
        return self._lib.lib.stride_tricks.as_strided(slab, shape, strides)

    def _padded(self, image: Array, box: _Box) -> Array:
        """The part of the image that a box reads, with the zeros of the padding, in the gatherer's dtype."""
        shape = (*image.shape[:2], *(w.stop - w.start for w in box.windows))
        size = math.prod(shape)
        if self._slab.size < size:
            self._slab = self._lib.empty(size, self._dtype)
        slab = self._slab[:size].reshape(shape)
        insides, outsides = [], []
        for w in box.windows:
            low, high = min(max(w.start, 0), w.size), max(min(w.stop, w.size), 0)
            insides.append(slice(low, max(low, high)))
            outsides.append(slice(low - w.start, max(low, high) - w.start))
        for number, (outside, length) in enumerate(zip(outsides, shape[2:], strict=True)):
            rest = (slice(None), slice(None), *outsides[:number])
            slab[(*rest, slice(0, outside.start))] = 0
            slab[(*rest, slice(outside.stop, length))] = 0
        self._lib.copyto(slab[(..., *outsides)], image[(..., *insides)])
        return slab

    def _copy_tap(self, target: Array, n: int, gs: slice, cs: slice, box: _Box, tap: tuple[int, ...]) -> None:
        """One tap's part of the columns, copied straight from the source."""
        sources, targets = [], []
        for w, t in zip(box.windows, tap, strict=True):
            start = w.start + w.spacing * t
            low = min(max(0, -(start // w.step)), w.count)  # the first window for which this tap is not below 0
            high = max(low, min(w.count, -((start - w.size) // w.step)))  # one past the last that is below the size
            targets.append(slice(low, high))
            sources.append(slice(start + w.step * low, max(start + w.step * (high - 1) + 1, 0), w.step))
        target[...] = 0
        if all(part.stop > part.start for part in targets):
            self._lib.copyto(target[(..., *targets)], self._source[n, gs, cs][(..., *sources)])


def _plan(lib: Any, groups: int, rows: int, windows: tuple[Windows, ...], itemsize: int, *, split: bool) -> _Plan:
    """Cut groups and positions so that a block's columns, rows·itemsize bytes each, fit cache and workspace.

    With `split`, one image is cut into a few shares even if it would fit whole.
    """
    # A slab takes as much again as its columns at the most, and a product that is not written in place no more.
    workspace = current_limits().workspace // 3
    target = min(workspace, _BLOCK_BYTES) if lib is np else workspace
    positions = math.prod(w.count for w in windows)
    columns = max(1, target // max(1, rows * itemsize))
    if columns < _LEAST_COLUMNS:
        columns = max(1, min(_LEAST_COLUMNS, workspace // max(1, rows * itemsize)))
    if split and positions * rows * groups > _SMALL:
        columns = min(columns, max(_LEAST_COLUMNS, -(-positions // _SHARES)))
    columns = min(columns, max(1, positions))
    group_step = max(1, min(groups, target // max(1, columns * rows * itemsize)))
    cuts = tuple(slice(g, min(g + group_step, groups)) for g in range(0, groups, group_step))
    return _Plan(cuts, tuple(_boxes(windows, columns)))


def _boxes(windows: tuple[Windows, ...], columns: int) -> Iterator[_Box]:
    """Boxes of at most `columns` positions, each a contiguous range of the flattened ones."""
    counts = [w.count for w in windows]
    lengths, inner = [], 1
    for count in reversed(counts):
        length = min(count, max(1, columns // inner))
        length = -(-count // -(-count // length)) if length else 1  # pieces of nearly equal length
        lengths.insert(0, length)
        inner = inner * count if length == count else columns + 1  # once an axis is cut, those before go one by one
    for corner in product(*(range(0, count, length) for count, length in zip(counts, lengths, strict=True))):
        parts = tuple(
            w.part(at, min(length, w.count - at)) for w, at, length in zip(windows, corner, lengths, strict=True)
        )
        first = 0
        for at, count in zip(corner, counts, strict=True):
            first = first * count + at
        yield _Box(parts, slice(first, first + math.prod(part.count for part in parts)), corner)


def _cut(length: int, parts: int) -> list[slice]:
    step = max(1, -(-length // parts))
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _is_dense(windows: tuple[Windows, ...]) -> bool:
    """Whether the span of the windows is worth copying whole: at most twice what the windows hold."""
    return math.prod(w.stop - w.start for w in windows) <= 2 * math.prod(w.taps * w.count for w in windows)


def _is_whole(w: Windows) -> bool:
    """Whether each window is one element and the windows are the source in order."""
    return w.taps == 1 and w.start == 0 and w.step == 1 and w.count == w.size


def _taps_backwards(phase: Phase) -> slice:
    last = phase.first_tap + phase.tap_step * (phase.windows.taps - 1)
    return slice(last, phase.first_tap - 1 if phase.first_tap else None, -phase.tap_step)


def _grouped_shape(geometry: Geometry, channels: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    return (geometry.batch or 0, geometry.groups, channels // geometry.groups, *sizes)


def _grouped(array: Array, geometry: Geometry) -> Array:
    """(N, channels, *sizes) as (N, G, channels/G, *sizes): a view, since it only splits an axis."""
    return array.reshape(_grouped_shape(geometry, array.shape[1], array.shape[2:]))


def _accumulating(lib: Any, array: Array, dtype: Any) -> Array:
    return array if array.dtype == dtype and array.dtype.isnative else array.astype(dtype)


def _bytes_per_column(geometry: Geometry, direction: str, itemsize: int) -> int:
    channels = geometry.out_channels if direction == "x" else geometry.in_channels
    return 3 * channels // geometry.groups * math.prod(geometry.kernel_size) * itemsize


def _threads(lib: Any, work: int) -> int:
    return current_limits().threads if lib is np and work > _SMALL else 1


def _library(array: Array) -> Any:
    """The raw library of an array, NumPy or CuPy: kernels need more of it than the standard offers."""
    return sys.modules[type(array).__module__.partition(".")[0]]


KERNEL = Kernel("gemm", refuses, contract)
