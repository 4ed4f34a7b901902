"""The exact result of every member, from the list of all products of the trilinear form.

Nothing here is arrconv's but the sizes of a `Geometry`: the form is written out as three lists of indices, one entry
for each product x·w·y, and each member adds up the products that share an index. Floating-point numbers are integers
times a power of two, so every sum is an integer, computed without error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from arrconv import Axis, Geometry
    from arrconv_conformance.data import Array
    from arrconv_conformance.members import Member, Role


LARGEST_LIST = 400_000
"""The number of products up to which they are listed one by one; beyond, arrconv's exact algorithm is the judge."""


@dataclass(frozen=True, slots=True)
class Indices:
    """Flat indices into x, w and y, one of each for every product."""

    x: Array
    w: Array
    y: Array


@dataclass(frozen=True)
class Products:
    """The products of the form: those that read an x, and those that read a zero of the padding, where x is −1."""

    inside: Indices
    outside: Indices

    @cached_property
    def terms(self) -> dict[Role, int]:
        """The largest number of products that are not of the padding in one sum, by the role of the result."""
        return {role: int(np.bincount(getattr(self.inside, role), minlength=1).max()) for role in ("x", "w", "y")}

    @staticmethod
    def count(geometry: Geometry) -> int:
        """How many there are."""
        return geometry.products("y") * math.prod(geometry.output_shape)

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
        beyond = ~inside
        nowhere = np.full(np.count_nonzero(beyond), -1)
        return cls(Indices(x[inside], w[inside], y[inside]), Indices(nowhere, w[beyond], y[beyond]))


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
    """An exact result as the unevaluated sum high + low of two float64 numbers, or of two such complex ones.

    Integers are int64 in `high`, modulo 2^64.

    Args:
        high: the nearest float64 number.
        low: what it lacks, to about 2^−106 of it.
        special: zero where the result is finite, and the infinity or NaN that must be there elsewhere; in a complex
            result NaN stands for any number that is not finite. None where everything is finite.
        padded: where NaN is accepted as well, because a number that is not finite meets a zero of the padding.
    """

    high: Array
    low: Array
    special: Array | None = None
    padded: Array | None = None


def exact_result(
    geometry: Geometry, products: Products, member: Member, result: Role, operands: dict[Role, Array]
) -> Exact:
    """The exact result in one role of a member, from operands of any dtype that may hold numbers that are not finite.

    Args:
        geometry: the geometry.
        products: its products.
        member: the member.
        result: the role of the result.
        operands: those that the member takes, by role; no bias where none is added.
    """
    shape = shape_of(geometry, result, member.bias_role)
    roles = member.factors(result)
    finite = {role: np.where(np.isfinite(array), array, array.dtype.type(0)) for role, array in operands.items()}
    if result == "bias":
        sums = _channel_sums(finite[roles[0]])
    else:
        conjugated = {role for role in roles if member.needs and role != member.takes[2]}
        factors = [_Integers.of(finite[role], role in conjugated) for role in roles]
        sums = _sums_of_products(products, (result, *roles), factors, math.prod(shape)).reshaped(shape)
        if "bias" in operands:
            sums = sums.plus(_Integers.of(finite["bias"].reshape(-1, *(1,) * geometry.ndim)))
    if operands[roles[0]].dtype.kind in "iu":
        return Exact(_modulo(sums.real), np.zeros(shape, np.int64))
    high, low = sums.parts(is_complex=operands[roles[0]].dtype.kind == "c")
    if all(np.isfinite(operands[role]).all() for role in roles):
        return Exact(high, low)
    special, padded = _special(products, member, result, operands, shape)
    return Exact(high, low, special, padded)


def shape_of(geometry: Geometry, role: Role, bias_of: Role = "y") -> tuple[int, ...]:
    """The shape of the array in a role; a bias has the channels of `bias_of`."""
    match role:
        case "x":
            return geometry.input_shape
        case "w":
            return geometry.weight_shape
        case "y":
            return geometry.output_shape
        case _:
            return (geometry.in_channels if bias_of == "x" else geometry.out_channels,)


@dataclass(frozen=True, slots=True)
class _Integers:
    """Exact numbers: integers (int64, or Python's in an object array), a real and an imaginary part, times 2^exponent.

    `imaginary` is None where there is none.
    """

    real: Array
    imaginary: Array | None
    exponent: int

    @classmethod
    def of(cls, array: Array, conjugated: bool = False) -> _Integers:
        if array.dtype.kind in "iu":
            return cls(array.astype(np.int64), None, 0)
        parts = np.stack([array.real, array.imag]) if array.dtype.kind == "c" else array[None]
        integers, exponent = as_integers(parts.astype(np.float64))
        if len(integers) == 1:
            return cls(integers[0], None, exponent)
        return cls(integers[0], -integers[1] if conjugated else integers[1], exponent)

    def reshaped(self, shape: tuple[int, ...]) -> _Integers:
        imaginary = None if self.imaginary is None else self.imaginary.reshape(shape)
        return _Integers(self.real.reshape(shape), imaginary, self.exponent)

    def plus(self, other: _Integers) -> _Integers:
        exponent = min(self.exponent, other.exponent)
        up, other_up = 2 ** (self.exponent - exponent), 2 ** (other.exponent - exponent)

        def added(mine: Array, theirs: Array) -> Array:
            fits = max(largest(mine), 1) * up < 2**62 and max(largest(theirs), 1) * other_up < 2**62
            dtype = np.int64 if fits else object
            total: Array = mine.astype(dtype) * up + theirs.astype(dtype) * other_up
            return total

        if self.imaginary is None or other.imaginary is None:
            return _Integers(added(self.real, other.real), None, exponent)
        return _Integers(added(self.real, other.real), added(self.imaginary, other.imaginary), exponent)

    def parts(self, *, is_complex: bool) -> tuple[Array, Array]:
        """As high + low."""
        high, low = _high_and_low(self.real, self.exponent)
        if not is_complex:
            return high, low
        assert self.imaginary is not None
        imaginary_high, imaginary_low = _high_and_low(self.imaginary, self.exponent)
        return _complex(high, imaginary_high), _complex(low, imaginary_low)


def _complex(real: Array, imaginary: Array) -> Array:
    result = np.empty(real.shape, np.complex128)
    result.real, result.imag = real, imaginary
    return result


def as_integers(numbers: Array) -> tuple[Array, int]:
    """Finite float64 numbers as integers times a common power of two, as small as they can be."""
    if float(np.max(np.abs(numbers), initial=0.0)) < 2.0**62:
        integers = numbers.astype(np.int64)
        if np.array_equal(integers, numbers):  # most data are integers already
            common = int(np.bitwise_or.reduce(integers, axis=None))
            zeros = (common & -common).bit_length() - 1 if common else 0
            return integers >> zeros, zeros
    fractions, exponents = np.frexp(numbers)
    wide = np.ldexp(fractions, 53).astype(np.int64)
    used = wide != 0
    if not used.any():
        return np.zeros(numbers.shape, np.int64), 0
    trailing_zeros = np.frexp((wide & -wide).astype(np.float64))[1] - 1  # −1 for a zero
    lowest = int(np.min((exponents - 53 + trailing_zeros)[used]))
    shift = exponents - 53 - lowest
    if int(exponents[used].max()) - lowest <= 62:
        up, down = np.maximum(shift, 0), np.clip(-shift, 0, 63)
        return np.where(used, (wide >> down) << np.minimum(up, 62), 0), lowest
    shifted = [
        0 if not number else number << by if by >= 0 else number >> -by
        for number, by in zip(wide.ravel().tolist(), shift.ravel().tolist(), strict=True)
    ]
    integers = np.empty(numbers.size, object)
    integers[:] = shifted
    return integers.reshape(numbers.shape), lowest


def _sums_of_products(products: Products, roles: tuple[Role, ...], factors: list[_Integers], count: int) -> _Integers:
    """Σ first·second of the products that belong to each place of the result."""
    result, *others = roles
    places = getattr(products.inside, result)
    first, second = factors
    left, right = (getattr(products.inside, role) for role in others)
    bits = (62 - max(products.terms[result], 1).bit_length()) // 2  # so that sums of parts' products are below 2^63

    def sums(a: Array, b: Array) -> Array:
        return _real_sums(places, _parts(a.reshape(-1), bits), left, _parts(b.reshape(-1), bits), right, count)

    real = sums(first.real, second.real)
    exponent = first.exponent + second.exponent
    if first.imaginary is None or second.imaginary is None:
        return _Integers(real, None, exponent)
    real = real - sums(first.imaginary, second.imaginary)
    imaginary = sums(first.real, second.imaginary) + sums(first.imaginary, second.real)
    return _Integers(real, imaginary, exponent)


def _real_sums(places: Array, a_parts: _Parts, left: Array, b_parts: _Parts, right: Array, count: int) -> Array:
    """Σ a[left]·b[right] of each place: int64 where that holds every sum, Python integers elsewhere."""
    if len(a_parts) == len(b_parts) == 1:
        return _added(places, a_parts[0][1][left] * b_parts[0][1][right], count)
    total = np.zeros(count, dtype=object)
    for shift_a, part_a in a_parts:
        taken = part_a[left]
        if not taken.any():
            continue
        for shift_b, part_b in b_parts:
            total += _added(places, taken * part_b[right], count).astype(object) * 2 ** (shift_a + shift_b)
    return total


def _added(places: Array, terms: Array, count: int) -> Array:
    sums = np.zeros(count, dtype=np.int64)
    np.add.at(sums, places, terms)
    return sums


def largest(integers: Array) -> int:
    """The largest absolute value."""
    return max(int(integers.max()), -int(integers.min())) if integers.size else 0


_Parts = list[tuple[int, "Array"]]


def _parts(numbers: Array, bits: int) -> _Parts:
    """Numbers as a sum of parts of at most so many bits and a sign, as int64, each times 2^shift."""
    if largest(numbers) >= 2**62:
        numbers = numbers.astype(object)
    parts = []
    shift = 0
    while largest(numbers) >= 2**bits:
        parts.append((shift, (numbers & (2**bits - 1)).astype(np.int64)))
        numbers, shift = numbers >> bits, shift + bits  # rounds downwards, so the part cut off is never negative
    return [*parts, (shift, numbers.astype(np.int64))]


def _channel_sums(cotangent: Array) -> _Integers:
    numbers = _Integers.of(cotangent)
    axes = tuple(axis for axis in range(cotangent.ndim) if axis != 1)
    real = np.sum(numbers.real.astype(object), axis=axes)
    imaginary = None if numbers.imaginary is None else np.sum(numbers.imaginary.astype(object), axis=axes)
    return _Integers(np.asarray(real, object), imaginary, numbers.exponent)


def _high_and_low(integers: Array, exponent: int) -> tuple[Array, Array]:
    """Integers times 2^exponent, as float64 numbers: the nearest one, and what it lacks."""
    bits = (
        max((int(number).bit_length() for number in (integers.max(), integers.min())), default=0)
        if integers.size
        else 0
    )
    if exponent < -1074 or max(bits, bits + exponent) > 1000:  # beyond float64's own range: rare, and slow
        exact = [Fraction(int(number)) * Fraction(2) ** exponent for number in integers.ravel()]
        near = [float(number) for number in exact]
        rests = [float(number - Fraction(nearest)) for number, nearest in zip(exact, near, strict=True)]
        return np.array(near).reshape(integers.shape), np.array(rests).reshape(integers.shape)
    high = integers.astype(np.float64)  # to nearest, from int64 and from Python's integers
    if integers.dtype == np.int64:
        rest = integers - high.astype(np.int64)
    else:
        rounded = np.empty(integers.size, object)
        rounded[:] = [int(number) for number in high.ravel().tolist()]
        rest = integers - rounded.reshape(integers.shape)
    return np.ldexp(high, exponent), np.ldexp(rest.astype(np.float64), exponent)


def _modulo(integers: Array) -> Array:
    """Integers modulo 2^64, as int64."""
    if integers.dtype == np.int64:
        return integers
    wrapped = [(int(number) + 2**63) % 2**64 - 2**63 for number in integers.ravel()]
    return np.array(wrapped, np.int64).reshape(integers.shape)


def _special(
    products: Products, member: Member, result: Role, operands: dict[Role, Any], shape: tuple[int, ...]
) -> tuple[Array, Array]:
    """What is not finite in a result, and where NaN may come from the padding; see `Exact`."""
    roles = member.factors(result)
    if result == "bias":
        axes = tuple(axis for axis in range(operands[roles[0]].ndim) if axis != 1)
        with np.errstate(invalid="ignore"):
            total = operands[roles[0]].sum(axis=axes)
        return _replacement(total), np.zeros(shape, bool)
    count = math.prod(shape)
    first, second = (operands[role].reshape(-1)[getattr(products.inside, role)] for role in roles)
    with np.errstate(invalid="ignore", over="ignore"):
        if first.dtype.kind == "c":
            terms = np.where(np.isfinite(first) & np.isfinite(second), 0, np.nan)
        else:
            terms = first.astype(np.float64) * second.astype(np.float64)
            terms = np.where(np.isfinite(first) & np.isfinite(second), 0, terms)  # huge factors may overflow here
        total = np.zeros(count)
        np.add.at(total, getattr(products.inside, result), terms)
    padded = np.zeros(count, bool)
    if result != "x":
        outer = next(role for role in roles if role != "x")
        infinite = ~np.isfinite(operands[outer].reshape(-1)[getattr(products.outside, outer)])
        padded[getattr(products.outside, result)[infinite]] = True
    return _replacement(total).reshape(shape), padded.reshape(shape)


def _replacement(total: Array) -> Array:
    if total.dtype.kind == "c":
        return np.where(np.isfinite(total), 0.0, np.nan)
    return np.where(np.isfinite(total), 0.0, total.astype(np.float64))
