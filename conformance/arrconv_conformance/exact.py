"""The exact result of every member, from the list of all products of the trilinear form.

Nothing here is arrconv's but the sizes of a `Geometry`: the form is written out as three lists of indices, one entry
for each product x·w·y, and each member adds up the products that share an index. Operands are integers times a power
of two, so every sum is an integer, computed without error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from arrconv import Axis, Geometry
    from arrconv_conformance.data import Array, Operand


@dataclass(frozen=True, slots=True)
class Products:
    """Flat indices into x, w and y of every product of the form that has a nonzero x to read."""

    x: Array
    w: Array
    y: Array

    @classmethod
    def of(cls, geometry: Geometry) -> Products:
        """The list for a geometry."""
        batch = 1 if geometry.batch is None else geometry.batch
        groups = geometry.groups
        c, o = geometry.in_channels // groups, geometry.out_channels // groups
        kernel, output, size = geometry.kernel_size, geometry.output_size, geometry.input_size
        counts = (batch, groups, o, c, *output, *kernel)
        grid = np.indices(counts, dtype=np.int64, sparse=True)
        n, g, row, column = grid[:4]
        places, taps = grid[4 : 4 + geometry.ndim], grid[4 + geometry.ndim :]
        reads = [
            _reads(axis, geometry.padding_mode)[place, tap]
            for axis, place, tap in zip(geometry.axes, places, taps, strict=True)
        ]
        inside = np.ones(counts, dtype=bool)
        for read in reads:
            inside &= read >= 0
        x = _flat([n, g * c + column, *reads], (batch, groups * c, *size), counts)
        w = _flat([g * o + row, column, *taps], (groups * o, c, *kernel), counts)
        y = _flat([n, g * o + row, *places], (batch, groups * o, *output), counts)
        return cls(x[inside], w[inside], y[inside])


def _flat(indices: list[Array], shape: tuple[int, ...], counts: tuple[int, ...]) -> Array:
    flat = np.zeros(counts, dtype=np.int64)
    for index, size in zip(indices, shape, strict=True):
        flat = flat * size + index
    return flat


def _reads(axis: Axis, mode: str) -> Array:
    """Which input the tap k of output l reads, as a table [l, k]; −1 stands for a zero of the padding."""
    table = np.empty((axis.output_size, axis.kernel_size), dtype=np.int64)
    for place in range(axis.output_size):
        for tap in range(axis.kernel_size):
            table[place, tap] = _source(place * axis.stride + tap * axis.dilation - axis.begin, axis.input_size, mode)
    return table


def _source(position: int, size: int, mode: str) -> int:
    if 0 <= position < size:
        return position
    match mode:
        case "zeros":
            return -1
        case "circular":
            return position % size
        case "replicate":
            return 0 if position < 0 else size - 1
        case _:  # reflect
            period = max(1, 2 * (size - 1))
            position %= period
            return min(position, period - position)


@dataclass(frozen=True, slots=True)
class Exact:
    """Exact numbers: Python integers (an object array) times a power of two."""

    integers: Array
    exponent: int

    def fraction(self, index: tuple[int, ...]) -> Fraction:
        """One of the numbers."""
        return Fraction(int(self.integers[index])) * Fraction(2) ** self.exponent


def exact_result(
    geometry: Geometry, products: Products, member: str, operands: dict[str, Operand], shape: tuple[int, ...]
) -> Exact:
    """The exact result of a member.

    Args:
        geometry: the geometry.
        products: its products.
        member: one of the suite's members.
        operands: those that the member takes, of `x`, `w`, `y` and `bias`.
        shape: the shape of the result.
    """
    if member == "conv_grad_bias":
        y = operands["y"]
        axes = tuple(axis for axis in range(y.integers.ndim) if axis != y.integers.ndim - geometry.ndim - 1)
        return Exact(np.sum(y.integers.astype(object), axis=axes), y.exponent)
    target, first, second = _ROLES[member]
    a, b = operands[first], operands[second]
    left, right = (operands[role].integers.reshape(-1)[getattr(products, role)] for role in (first, second))
    sums = _sums_of_products(getattr(products, target), left, right, math.prod(shape)).reshape(shape)
    exponent = a.exponent + b.exponent
    if "bias" in operands:
        bias = operands["bias"]
        shift = 2 ** (bias.exponent - exponent)
        sums = sums + bias.integers.astype(object).reshape(-1, *(1,) * geometry.ndim) * shift
    return Exact(sums, exponent)


_ROLES = {
    "conv": ("y", "x", "w"),
    "conv_grad_input": ("x", "w", "y"),
    "conv_grad_weight": ("w", "x", "y"),
    "conv_transpose": ("x", "w", "y"),
}


def _sums_of_products(places: Array, left: Array, right: Array, count: int) -> Array:
    """Σ left·right of the products that belong to each place, as Python integers, whatever the size of the factors."""
    most = int(np.bincount(places, minlength=1).max(initial=1))
    bits = (62 - most.bit_length()) // 2  # so that `most` products of two parts add up to less than 2^63
    total = np.zeros(count, dtype=object)
    for shift_left, part_left in _parts(left, bits):
        for shift_right, part_right in _parts(right, bits):
            sums = np.zeros(count, dtype=np.int64)
            np.add.at(sums, places, part_left * part_right)
            total += sums.astype(object) * 2 ** (shift_left + shift_right)
    return total


def _parts(numbers: Array, bits: int) -> list[tuple[int, Array]]:
    """Numbers as a sum of parts of at most so many bits and a sign, each times 2^shift."""
    parts = []
    shift = 0
    while numbers.size and np.abs(numbers).max() >= 2**bits:
        parts.append((shift, numbers & (2**bits - 1)))
        numbers, shift = numbers >> bits, shift + bits  # rounds downwards, so the part cut off is never negative
    return [*parts, (shift, numbers)]
