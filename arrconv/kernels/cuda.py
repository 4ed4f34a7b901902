"""The engine for CuPy alone, in CUDA: windows gathered by one kernel for a matrix product, or multiplied in place.

It is gemm's walk in gemm's workspace, but a block's columns come from one launch that reads the source where it lies,
whatever its strides and dtype, with neither a padded copy nor a view. Where there are few channels a second kernel adds
products directly and gathers nothing. It also computes ∂T/∂x where w is not finite, as the device itself finds out, so
that no call waits for the device. All work goes to CuPy's current stream. The source, `cuda.cu`, is compiled by NVRTC
for the device that runs it. No device has so far: compilers have accepted it, and the host has run it thread by thread
for the tests. What `_THREADS`, `_ROWS` and `_FEW` should be is for a measurement to say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from arrconv.kernels import nvrtc
from arrconv.kernels.base import Kernel, Problem
from arrconv.kernels.correlate import by_blocks
from arrconv.kernels.correlations import CORRELATIONS, fresh
from arrconv.kernels.gather import Gather
from arrconv.kernels.gemm import contract_w, lacks_room
from arrconv.kernels.integers import alike, in_float64
from arrconv.kernels.nvrtc import SUMS, TYPES, strides_of, summed
from arrconv.kernels.walks import windows_of

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.axis import Windows
    from arrconv.kernels.blocks import Box

_THREADS = 256  # of a block
_ROWS = 4  # that a thread of the direct kernel adds, for each element that it reads
_FEW = 4  # channels of a group, on either side, up to which a column is used too seldom to be worth gathering


def refuses(problem: Problem) -> str | None:
    """Why cuda cannot serve a problem, or None."""
    if problem.backend.library != "cupy":
        return f"it works on CuPy arrays, not on those of {problem.backend.library}"
    return None if _is_direct(problem) else lacks_room(problem)


def yields(problem: Problem) -> str | None:
    """Why it is left to others, of the arrays that it works on."""
    is_served = problem.backend.library == "cupy"
    return "its speed has not been measured yet; it runs only when asked for" if is_served else None


def contract(problem: Problem, first: Array, second: Array) -> Array:
    """The contraction, in the accumulator's dtype; where nothing is gathered, in the one that may be returned."""
    direction = problem.direction
    if _is_direct(problem):
        multiply = partial(_multiply_all, direction == "y")
        return CORRELATIONS[direction](multiply, problem, first, second, fresh(problem))
    if direction == "w":
        return contract_w(FusedGather, problem, first, second)
    return CORRELATIONS[direction](_with_zeros if direction == "y" else _without_zeros, problem, first, second)


def _is_direct(problem: Problem) -> bool:
    geometry = problem.geometry
    channels = min(geometry.in_channels, geometry.out_channels) // geometry.groups
    return problem.direction != "w" and geometry.ndim > 0 and channels <= _FEW


def _with_zeros(lib: Any, source: Array, matrix: Array, windows: tuple[Windows, ...], *outs: Array) -> None:
    """The `Correlate` of a convolution, which multiplies the zeros of the padding."""
    by_blocks(lib, source, matrix, windows, *outs, gatherer=FusedGather)


def _without_zeros(lib: Any, source: Array, matrix: Array, windows: tuple[Windows, ...], *outs: Array) -> None:
    """The `Correlate` of ∂T/∂x: what lies beyond the border of y is no part of the form.

    A matrix product multiplies zeros there all the same, which shows where the matrix is not finite. In that case, of
    which nobody but the device need know, the direct kernel replaces what was found.
    """
    _with_zeros(lib, source, matrix, windows, *outs)
    take_zeros_away(lib, source, matrix, windows, *outs)


def take_zeros_away(lib: Any, source: Array, matrix: Array, windows: tuple[Windows, ...], *outs: Array) -> None:
    """Let outs be what `Correlate` is to find without the zeros of the padding, where it was found with them.

    That changes nothing where the matrix is finite.
    """
    if matrix.dtype.kind not in "iu" and not all(w.is_inside for w in windows):
        is_finite = lib.all(lib.isfinite(matrix), keepdims=True)
        _multiply_all(False, lib, source, matrix, windows, *outs, unless=is_finite)


def amend(problem: Problem, first: Array, second: Array, result: Array) -> None:
    """Write another library's result anew where zeros at a border meet what is not finite, as the device finds out.

    It may have multiplied zeros that are no part of the form, or left out those of the padding.
    """
    lib, geometry, is_transposed = problem.library, problem.geometry, problem.direction == "x"
    if not is_transposed and all(w.is_inside for w in windows_of(geometry)):
        return
    is_finite = lib.all(lib.isfinite(first if is_transposed else second), keepdims=True)
    if is_transposed and any(len(axis.phases()) < axis.stride for axis in geometry.axes):  # some x no tap reaches
        lib.copyto(result, 0, where=~is_finite.reshape(1))
    multiply = partial(_multiply_all, not is_transposed, unless=is_finite)
    CORRELATIONS[problem.direction](multiply, problem, first, second, result)


class FusedGather(Gather):
    """Gathers windows by one launch, from wherever the source has its elements and in whatever dtype."""

    def _copy(self, columns: Array, images: Array, box: Box) -> None:
        ndim, (n, g, c) = len(box.windows), images.shape[:3]
        from_image, from_group, from_channel, *read = strides_of(images)
        image, group, channel, *inner = strides_of(columns)
        walk = Walk(
            counts=(n, g, 1, c),
            source=(from_image, from_group, 0, from_channel),
            matrix=(0, 0, 0, 0),
            target=(image, group, 0, channel),
            windows=box.windows,
            along=tuple(zip(read, inner[:ndim], inner[ndim:], strict=True)),
        )
        kinds = TYPES[images.dtype.name], SUMS[columns.dtype.name]
        walk.launch("gather", (ndim, *kinds), [images, columns], n * g * c)


def _multiply_all(
    multiplies_zeros: bool,
    _: Any,
    source: Array,
    matrix: Array,
    windows: tuple[Windows, ...],
    *outs: Array,
    unless: Array | None = None,
) -> None:
    """What a `Correlate` does, by the direct kernel; nothing where an array of one bool holds true."""
    source, matrix = alike(source, matrix, outs[0].dtype)
    (n, g, c), rows = source.shape[:3], outs[0].shape[2]
    together = min(rows, _ROWS)
    kinds = TYPES[source.dtype.name], SUMS[summed(outs[0].dtype).name], SUMS[outs[0].dtype.name]
    from_image, from_group, from_channel, *read = strides_of(source)
    of_group, of_row, of_channel, *taps = strides_of(matrix)
    for number, out in enumerate(outs):
        image, group, row, *positions = strides_of(out)
        walk = Walk(
            counts=(n, g, rows, c),
            source=(from_image, from_group, 0, from_channel),
            matrix=(0, of_group, of_row, of_channel),
            target=(image, group, row, 0),
            windows=windows,
            along=tuple(zip(read, taps, positions, strict=True)),
            multiplies_zeros=multiplies_zeros,
        )
        part = matrix[:, number * rows : (number + 1) * rows]
        walk.launch(
            "direct", (len(windows), together, *kinds), [source, part, out, unless], n * g * -(-rows // together)
        )


FourNumbers = tuple[int, int, int, int]
"""One for images, groups, rows and channels each."""


@dataclass(frozen=True, slots=True)
class Walk:
    """The `Walk` of `cuda.cu`: how many there are of what, and the strides of arrays, in elements.

    `along` has three strides for each axis: in the source, from tap to tap, and from position to position.
    """

    counts: FourNumbers
    source: FourNumbers
    matrix: FourNumbers
    target: FourNumbers
    windows: tuple[Windows, ...]
    along: tuple[tuple[int, int, int], ...]
    multiplies_zeros: bool = False

    def launch(self, kernel: str, parameters: tuple[int | str, ...], arrays: list[Any], lines: int) -> None:
        """Start a kernel, with these parameters of its template and the type of indices, on arrays.

        There is a thread for each position of so many lines.
        """
        name = f"{kernel}<{', '.join(map(str, (*parameters, self.index_type())))}>"
        threads = lines * math.prod(w.count for w in self.windows)
        nvrtc.launch(name, -(-threads // _THREADS), _THREADS, [*arrays, self.packed()])

    def index_type(self) -> str:
        """The type in C++ of all indices and offsets: int where all of them together are within its reach."""
        reach = sum(
            abs(stride) * count
            for strides in (self.source, self.matrix, self.target)
            for stride, count in zip(strides, self.counts, strict=True)
        )
        for w, (read, tap, position) in zip(self.windows, self.along, strict=True):
            reach += max(abs(read), 1) * max(-w.start, w.stop, w.size) + abs(tap) * w.taps + abs(position) * w.count
        return "int" if reach <= nvrtc.INT_REACH else "long long"

    def packed(self) -> Any:
        """All of it as an array of one element, which CuPy gives to kernels by value."""
        numbers = [*self.counts, *self.source, *self.matrix, *self.target, int(self.multiplies_zeros)]
        for w, strides in zip(self.windows, self.along, strict=True):
            numbers += [w.size, w.taps, w.count, w.step, w.spacing, w.start, *strides]
        return nvrtc.structure(numbers)


KERNEL = Kernel("cuda", refuses, in_float64(contract), yields)
