"""The engine for CuPy alone that gathers nothing: a matrix product which reads windows where they lie (implicit GEMM).

One launch multiplies tile by tile in shared memory: 16-bit floats and float64 on tensor cores where the device has them
for these, all other dtypes, float32 among them, as they are. There is no workspace but for the parts of long sums,
where these are too few for a device, as in most weight gradients. The source is `implicit.cu`, compiled behind
`cuda.cu`. As with that one, no device has run it so far: the host has, block by block, with the tensor cores'
instructions spelled out.

Tensor cores add the 16 products of one instruction to at least 24 bits, but cut off what lies beyond rather than round
(Fasi, Higham, Mikaitis, Pranesh, "Numerical behavior of NVIDIA tensor cores", 2021, section 4). With u = 2^-24 that
loses at most 2u of the largest magnitude for each addend and for the result, so at most 34u of the sum of magnitudes;
the sums of n/16 instructions are added properly. Together that is (34 + n/16)·u, below the n·u of direct summation from
37 products on. Fewer of them are multiplied without tensor cores.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrconv.axis import Windows
from arrconv.kernels import nvrtc
from arrconv.kernels.base import Kernel, Problem
from arrconv.kernels.correlations import CORRELATIONS, fresh
from arrconv.kernels.cuda import take_zeros_away
from arrconv.kernels.integers import alike, in_float64
from arrconv.kernels.limits import current_limits
from arrconv.kernels.nvrtc import SUMS, TYPES, strides_of, summed

if TYPE_CHECKING:
    from arrconv._namespace import Array

_THREADS, _COLUMNS = 256, 128  # of a block, as `implicit.cu` has them
_HEIGHTS = (16, 32, 64, 128)  # rows of a block, as many as the registers hold sums of; 64 where nothing is said
_MOST_ROWS = {"Tensor<Half>": 128, "Tensor<Bfloat>": 128, "Plain<Complex<double>, Complex<double>>": 32}
_TILE = 64  # terms: a multiple of the depth of any tile
_LEAST_TERMS = 40  # of 16-bit floats on tensor cores; see above
_BLOCKS, _LEAST_SPLIT = 256, 512  # so many blocks keep a device busy; so many terms are worth a block
_POINT = Windows(1, 1, 1, 1, 1, 0)  # the axis of what has none


def refuses(problem: Problem) -> str | None:
    """Why implicit cannot serve a problem, or None."""
    library = problem.backend.library
    return None if library == "cupy" else f"it works on CuPy arrays, not on those of {library}"


def yields(problem: Problem) -> str | None:
    """Why it is left to others, of the arrays that it works on."""
    is_served = refuses(problem) is None
    return "its speed has not been measured yet; it runs only when asked for" if is_served else None


def contract(problem: Problem, first: Array, second: Array) -> Array:
    """The contraction, in the dtype that may be returned."""
    correlate = _without_zeros if problem.direction == "x" else _with_zeros
    return CORRELATIONS[problem.direction](correlate, problem, first, second, fresh(problem))


@dataclass(frozen=True, slots=True)
class Side:
    """What a flat index of terms or columns runs through: images or channels, and positions or taps of each axis.

    `source` and `other` are the strides of the former in the source and in the matrix or target; an axis has a count,
    the coordinate at which it starts, the step from one to the next, and a stride in the matrix or target.
    """

    count: int
    source: int
    other: int
    axes: tuple[tuple[int, int, int, int], ...]

    @property
    def size(self) -> int:
        """How many indices there are."""
        return self.count * math.prod(count for count, *_ in self.axes)

    @property
    def reach(self) -> int:
        """No offset in the matrix or target, nor an index, is larger."""
        return self.size + abs(self.other) * self.count + sum(abs(s) * count for count, _, _, s in self.axes)


@dataclass(frozen=True, slots=True)
class Product:
    """The `Product` of `implicit.cu`: what is multiplied, in which `way`, with strides in elements.

    `source` has the size and the stride of each axis; `by_group` the strides from group to group in the source, the
    matrix and the target, `by_row` those from row to row in the latter two. A sum is split into parts of at most
    `depth` terms, `by_part` apart in the target.
    """

    way: str
    groups: int
    rows: int
    term: Side
    column: Side
    source: tuple[tuple[int, int], ...]
    by_group: tuple[int, int, int]
    by_row: tuple[int, int]
    depth: int
    by_part: int = 0

    @property
    def parts(self) -> int:
        """Into how many each sum is split."""
        return -(-self.term.size // self.depth)

    def launch(self, source: Array, matrix: Array, target: Array) -> None:
        """Start the kernel on arrays, the first two of one dtype."""
        types = f"{self.way}, {SUMS[target.dtype.name]}, {self._index_type()}"
        name = f"implicit<{len(self.source)}, {height(self.way, self.rows)}, {types}>"
        blocks = self.parts * tiles(self.way, self.groups, self.rows, self.column.size)
        nvrtc.launch(name, blocks, _THREADS, [source, matrix, target, self._packed()])

    def _index_type(self) -> str:
        reach = self.term.reach + self.column.reach + self.parts * (abs(self.by_part) + self.depth)
        reach += self.groups * sum(map(abs, self.by_group)) + self.rows * sum(map(abs, self.by_row))
        reach += sum(abs(side.source) * side.count for side in (self.term, self.column))
        for (size, stride), *axes in zip(self.source, self.term.axes, self.column.axes, strict=True):
            furthest = sum(abs(start) + step * count for count, start, step, _ in axes)
            reach += max(abs(stride), 1) * max(furthest, size)
        return "int" if reach <= nvrtc.INT_REACH else "long long"

    def _packed(self) -> Any:
        numbers = [self.groups, self.rows, self.term.size, self.column.size, self.parts, self.depth]
        of_source, of_matrix, of_target = self.by_group
        numbers += [of_source, of_matrix, self.by_row[0], self.by_part, of_target, self.by_row[1]]
        for axis in self.source:
            numbers += axis
        for side in (self.term, self.column):
            numbers += [side.count, side.source, side.other, *(number for axis in side.axes for number in axis)]
        return nvrtc.structure(numbers)


def height(way: str, rows: int) -> int:
    """How many rows a block multiplies in this way."""
    most = _MOST_ROWS.get(way, 64)
    return next(high for high in _HEIGHTS if high >= min(rows, most))


def multiplier(dtype: str, total: str, terms: int) -> str:
    """What multiplies, as `implicit.cu` calls it: tensor cores where they err no more than direct summation may."""
    kind = TYPES[dtype]
    many = terms >= _LEAST_TERMS
    is_meant = {"float16": many, "bfloat16": many, "float32": _is_tf32_wanted(), "float64": True}.get(dtype, False)
    return f"Tensor<{kind}>" if is_meant and nvrtc.has_tensor_cores() else f"Plain<{kind}, {SUMS[total]}>"


def tiles(way: str, groups: int, rows: int, columns: int) -> int:
    """How many blocks there are for each part of the sums."""
    return groups * -(-rows // height(way, rows)) * -(-columns // _COLUMNS)


def _is_tf32_wanted() -> bool:
    """Whether CuPy's own matrix products use TF32, too."""
    return int(os.environ.get("CUPY_TF32", "0")) > 0


def _with_zeros(lib: Any, source: Array, matrix: Array, windows: tuple[Windows, ...], *outs: Array) -> None:
    """The `Correlate` of a convolution and of its weight gradient."""
    source, matrix = alike(source, matrix, outs[0].dtype)
    if not windows:
        source, matrix, windows = source[..., None], matrix[..., None], (_POINT,)
        outs = tuple(out[..., None] for out in outs)
    rows = outs[0].shape[2]
    for number, out in enumerate(outs):
        _multiply(lib, source, matrix[:, number * rows : (number + 1) * rows], windows, out)


def _multiply(lib: Any, source: Array, matrix: Array, windows: tuple[Windows, ...], out: Array) -> None:
    """Let out be the product; sums are split where a device would not be busy, as far as the workspace allows."""
    (images, groups, channels, *sizes), rows = source.shape, out.shape[2]
    from_image, from_group, from_channel, *read = strides_of(source)
    of_group, of_row, of_channel, *taps = strides_of(matrix)
    terms, columns = channels * math.prod(w.taps for w in windows), images * math.prod(w.count for w in windows)
    total = summed(out.dtype)
    way = multiplier(source.dtype.name, total.name, terms)
    blocks, room = tiles(way, groups, rows, columns), current_limits().workspace // (out.size * total.itemsize)
    parts = min(_BLOCKS // blocks, terms // _LEAST_SPLIT, room)
    depth = terms if parts < 2 else -(-terms // (parts * _TILE)) * _TILE
    sums = out[None] if depth == terms else lib.empty((-(-terms // depth), *out.shape), total)
    by_part, to_image, to_group, to_row, *positions = strides_of(sums)
    of_taps = ((w.taps, 0, w.spacing, stride) for w, stride in zip(windows, taps, strict=True))
    of_positions = ((w.count, w.start, w.step, stride) for w, stride in zip(windows, positions, strict=True))
    product = Product(
        way,
        groups,
        rows,
        Side(channels, from_channel, of_channel, tuple(of_taps)),
        Side(images, from_image, to_image, tuple(of_positions)),
        tuple(zip(sizes, read, strict=True)),
        (from_group, of_group, to_group),
        (of_row, to_row),
        depth,
        by_part,
    )
    product.launch(source, matrix, sums)
    if len(sums) > 1:
        out[...] = lib.sum(sums, axis=0)


def _without_zeros(lib: Any, source: Array, matrix: Array, windows: tuple[Windows, ...], *outs: Array) -> None:
    """The `Correlate` of ∂T/∂x."""
    _with_zeros(lib, source, matrix, windows, *outs)
    take_zeros_away(lib, source, matrix, windows, *outs)


KERNEL = Kernel("implicit", refuses, in_float64(contract), yields)
