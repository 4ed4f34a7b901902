"""Subjects of probes: a matrix product, asked of a framework as a convolution of a shape for which it has its own code.

Probes want sums of products that they choose freely: the product of a matrix (rows, K) by another (columns, K). Every
member of the family contains one. A pixel and the channels of a weight are such rows and columns; so that larger
kernels change nothing, the signal is constant in patches of the size of the kernel, and results are read in the middle
of each patch, where all taps meet one patch. Which tap holds a weight is then free. In the gradient by the weight, rows
and columns are channels, and the middle tap is the matrix product over images and positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.bounds import FORMATS, Format
from arrconv_conformance.cases import Case
from arrconv_conformance.data import PARTS, numpy_dtype
from arrconv_conformance.exact import shape_of
from arrconv_conformance.members import MEMBERS, Member, Role
from arrconv_conformance.question import options_of

if TYPE_CHECKING:
    from arrconv import Geometry
    from arrconv_conformance.data import Array

FUNCTIONS = {
    "forward": MEMBERS["conv"],
    "input gradient": MEMBERS["conv_grad_input"],
    "weight gradient": MEMBERS["conv_grad_weight"],
    "transposed": MEMBERS["conv_transpose"],
}
"""The functions of a fingerprint. A bias gradient has no products."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape of a convolution: stride 1, and zeros around so that results have the size of the input.

    Args:
        name: for people.
        text: its case string. All kernel axes are odd.
        dtypes: those for which it is asked; none for all of them.
    """

    name: str
    text: str
    dtypes: tuple[str, ...] = ()


SHAPES = (
    Shape("1x1", "n=2 c=24 o=20 x=13,11 k=1"),
    Shape("1x1 small", "n=1 c=4 o=3 x=9,8 k=1"),
    Shape("1x1 deep", "n=1 c=1024 o=16 x=7,6 k=1"),
    Shape("3x3", "n=4 c=16 o=18 x=21,19 k=3 p=1"),
    Shape("3x3 large", "n=16 c=32 o=30 x=26,22 k=3 p=1", ("float32",)),
    Shape("11x11", "n=3 c=4 o=5 x=33,34 k=11 p=5", ("float32", "float64")),
    Shape("1-D 3", "n=3 c=10 o=12 x=70 k=3 p=1"),
    Shape("1-D 65", "n=5 c=4 o=6 x=260 k=65 p=32", ("float32", "float64", "complex64")),
    Shape("3x3x3", "n=2 c=7 o=8 x=23,7,6 k=3 p=1"),
)
"""Those that frameworks have different code for: matrix products, long sums, small kernels that Winograd is for, large
ones that FFTs are for, and other numbers of dimensions. The costly ones are for the dtypes that have such code."""


@dataclass(frozen=True)
class Subject:
    """One function of an adapter, in one dtype, on one shape."""

    adapter: Any
    dtype: str
    member: Member
    geometry: Geometry

    @property
    def format(self) -> Format:
        """Of the numbers of the dtype, or of the parts of complex ones."""
        return FORMATS[PARTS.get(self.dtype, self.dtype)]

    @property
    def result(self) -> Role:
        """The role of the result."""
        [role] = self.member.yields.values()
        return role

    @property
    def operands(self) -> tuple[Role, Role]:
        """The roles of the two factors: rows and columns."""
        return {"y": ("x", "w"), "x": ("y", "w"), "w": ("x", "y")}[self.result]  # type: ignore[return-value]

    @property
    def depth(self) -> int:
        """The number of products in a sum of the matrix product."""
        geometry = self.geometry
        match self.result:
            case "y":
                return geometry.in_channels
            case "x":
                return geometry.out_channels
            case _:
                return geometry.products("w")

    @property
    def taps(self) -> int:
        """The number of taps."""
        return math.prod(self.geometry.kernel_size)

    def shape(self, role: Role) -> tuple[int, ...]:
        """That of an operand or of the result."""
        return shape_of(self.geometry, role, self.member.bias_role)

    def array(self, values: Array) -> Array:
        """Values as an array of the dtype."""
        return np.array(values, dtype=numpy_dtype(self.dtype), order="C")

    def call(self, arrays: dict[Role, Array]) -> Array:
        """What the framework makes of operands; those that its gradient does not need may be missing."""
        member, batch = self.member, len(arrays[self.operands[0]])
        taken = [arrays.get(role, None if role == "bias" else self._zeros(role, batch)) for role in member.takes]
        options = options_of(Case(self.geometry), member, member.needs)
        with np.errstate(all="ignore"):  # of products beside those that are looked at
            answer = getattr(self.adapter, member.function)(*taken, **options)
        return np.asarray(answer[member.needs[0]] if member.needs else answer)

    def products(self, rows: Array, columns: Array, taps: Array | None = None, bias: float = 0.0) -> Array:
        """The matrix product rows · columnsᵀ as the framework computes it, in float64 or complex128.

        Args:
            rows: (rows, K) numbers of the first operand, K at most `depth`.
            columns: (columns, K) numbers of the second.
            taps: (columns, K), the taps at which the numbers of a weight lie; the middle one without it.
            bias: added to every sum, where it is not zero.
        """
        high, wide = self.capacity
        taps = np.full(columns.shape, self.taps // 2) if taps is None else taps
        result = np.empty((len(rows), len(columns)), np.complex128 if self.dtype in PARTS else np.float64)
        for top, left in product(range(0, len(rows), high), range(0, len(columns), wide)):
            down, across = slice(top, top + high), slice(left, left + wide)
            result[down, across] = self._block(rows[down], columns[across], taps[across], bias)
        return result

    def pairs(self, rows: Array, columns: Array) -> Array:
        """Sums of products row by row: Σ_k rows[i, k] · columns[i, k]."""
        step = min(self.capacity)
        blocks = [self.products(rows[i : i + step], columns[i : i + step]) for i in range(0, len(rows), step)]
        return np.concatenate([np.diagonal(block) for block in blocks])

    @property
    def _patches(self) -> tuple[int, ...]:
        """How many patches lie along each axis."""
        geometry = self.geometry
        return tuple(size // k for size, k in zip(geometry.input_size, geometry.kernel_size, strict=True))

    @property
    def capacity(self) -> tuple[int, int]:
        """How many rows and columns fit into one call."""
        geometry = self.geometry
        match self.result:
            case "y":
                return (geometry.batch or 1) * math.prod(self._patches), geometry.out_channels
            case "x":
                return (geometry.batch or 1) * math.prod(self._patches), geometry.in_channels
            case _:
                return geometry.in_channels, geometry.out_channels

    def _block(self, rows: Array, columns: Array, taps: Array, bias: float) -> Array:
        first, second = self.operands
        if self.result == "w":
            arrays = {first: self._scattered(rows, first), second: self._scattered(columns, second)}
        else:
            arrays = {first: self._patched(rows), second: self.weight(columns, taps)}
        if bias:
            arrays["bias"] = self.array(np.full(self.shape("bias"), bias))
        got = self.call(arrays)
        got = got.astype(np.complex128 if self.dtype in PARTS else np.float64)
        kernel = self.geometry.kernel_size
        if self.result == "w":
            middle: Any = (..., *(k // 2 for k in kernel))
            table: Array = got[middle].T  # (C_in, C_out)
        else:
            middle = (..., *(slice(k // 2, count * k, k) for k, count in zip(kernel, self._patches, strict=True)))
            table = np.moveaxis(got[middle], 1, -1).reshape(-1, got.shape[1])  # (N·patches, channels)
        return table[: len(rows), : len(columns)]

    def _zeros(self, role: Role, batch: int) -> Array:
        shape = self.shape(role)
        return np.zeros(shape if role == "w" else (batch, *shape[1:]), numpy_dtype(self.dtype))

    def _scattered(self, matrix: Array, role: Role) -> Array:
        """A matrix (channels, K) as an array in which K are images and positions."""
        batch, channels, *sizes = self.shape(role)
        full = np.zeros((channels, batch * math.prod(sizes)), matrix.dtype)
        full[: matrix.shape[0], : matrix.shape[1]] = matrix
        return self.array(np.moveaxis(full.reshape(channels, batch, *sizes), 0, 1))

    def _patched(self, rows: Array) -> Array:
        """A matrix (pixels, channels) as an array that is constant in patches of the size of the kernel."""
        shape = self.shape(self.operands[0])
        batch, channels, *sizes = shape
        pixels = np.zeros((batch * math.prod(self._patches), channels), rows.dtype)
        pixels[: rows.shape[0], : rows.shape[1]] = rows
        signal = np.moveaxis(pixels.reshape(batch, *self._patches, channels), -1, 1)
        for axis, k in enumerate(self.geometry.kernel_size, start=2):
            signal = np.repeat(signal, k, axis)
        rest = [(0, size - covered) for size, covered in zip(sizes, signal.shape[2:], strict=True)]
        return self.array(np.pad(signal, [(0, 0), (0, 0), *rest]))

    def weight(self, columns: Array, taps: Array) -> Array:
        """A matrix (channels of the result, channels of the signal) as a weight with these numbers at these taps."""
        out_channels, in_channels, *kernel = self.shape("w")
        wide, deep = (out_channels, in_channels) if self.result == "y" else (in_channels, out_channels)
        full = np.zeros((wide, deep, self.taps), columns.dtype)
        row, column = np.indices(columns.shape)
        full[row, column, taps] = columns
        full = full if self.result == "y" else full.swapaxes(0, 1)
        return self.array(full.reshape(out_channels, in_channels, *kernel))
