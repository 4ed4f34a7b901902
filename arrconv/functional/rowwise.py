"""Single elements of a contraction, each added up from the row of all its products, however large their range is.

The products of a row are scaled by its largest one and cut into slices that add up exactly, level by level, as the
operands of the whole contraction are. A row whose rounding hangs on bits some thousand places below its largest
product, and only that, is left to Python's integers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from arrconv._namespace import device_of
from arrconv.expansion import grow, leading, to_multiple, two_product
from arrconv.kernels.limits import current_limits
from arrconv.powers import exponents_of, powers_of_two, times_powers
from arrconv.rows import Meetings, Rows
from arrconv.settling import Known, Settled
from arrconv.slicing import filled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from arrconv._namespace import Array
    from arrconv.functional.orders import RealSum
    from arrconv.settling import Goal

_BYTES = 8 * 32  # of workspace for each product: float64 numbers, and about so many arrays of them at a time
_NONE = -5000.0  # the exponent of a product that is zero, below that of any other
_DEEPEST = -960.0  # where the largest product of a row is scaled to about 1; the lowest bits of one lie 106 deeper
_LARGEST = 4  # scaled products are at most 2^4
_FEW_LEVELS, _ALL_LEVELS = 4, 2000


@dataclass(frozen=True, slots=True)
class Products:
    """Products, (M, Q): (high + low)·2^exponent, of which high is at most 2^4."""

    high: Array
    low: Array
    exponent: Array

    @classmethod
    def of(cls, xp: Any, factors: Meetings) -> Products:
        """The products of factors without error, where they themselves might be too large or too small for float64."""
        is_zero = (factors.first == 0) | (factors.second == 0)
        mantissas, exponents = [], []
        for factor in (factors.first, factors.second):
            factor = xp.where(is_zero, xp.ones_like(factor), factor)
            exponents.append(exponents_of(xp, factor))
            mantissas.append(times_powers(xp, factor, -exponents[-1]))
        high, low = two_product(*mantissas)
        none = xp.full_like(high, _NONE)
        return cls(xp.where(is_zero, 0 * high, high), low, xp.where(is_zero, none, sum(exponents)))


@dataclass(frozen=True, slots=True)
class RowSums:
    """The sums of rows as far as their products have been cut: in units of 2^top, up to `missing`."""

    known: Known
    top: Array


def settle_rows(total: RealSum, goal: Goal, elements: Array) -> Settled:
    """The numbers wanted of the elements with these flat indices, all of them certain."""
    xp = total.xp
    room = max(1, current_limits().workspace // _BYTES)
    height = max(1, room // max(1, total.terms))
    count = elements.shape[0]
    some = [elements[start : min(start + height, count)] for start in range(0, count, height)]
    found = [_settle(total, goal, rows, max(1, room // height), _FEW_LEVELS) for rows in some]
    return Settled(tuple(map(xp.concat, zip(*found, strict=True))), xp.ones_like(elements, dtype=xp.bool))


def _settle(total: RealSum, goal: Goal, elements: Array, columns: int, levels: int) -> tuple[Array, ...]:
    xp = total.xp
    sums = _sums(total, goal, elements, columns, levels)
    settled = goal.settle(xp, sums.known)
    numbers = settled.times_powers(xp, sums.top)
    (places,) = xp.nonzero(~settled.certain)
    if places.shape[0] == 0:
        return numbers
    left = xp.take(elements, places)
    if levels == _FEW_LEVELS:
        better = _settle(total, goal, left, columns, _ALL_LEVELS)
    else:
        better = _in_integers(total, goal, left, columns)
    return tuple(filled(xp, a, ~settled.certain, b) for a, b in zip(numbers, better, strict=True))


def _sums(total: RealSum, goal: Goal, elements: Array, columns: int, levels: int) -> RowSums:
    """The sums of rows, of whose products so many slices are added up."""
    xp = total.xp
    pieces = _again(
        lambda: (Products.of(xp, some) for some in _factors(total, elements, columns)), columns >= total.terms
    )
    top = reduce(xp.maximum, (xp.max(piece.exponent, axis=1) for piece in pieces()))  # (M,)
    top = xp.where(top == _NONE, xp.zeros_like(top), top)
    cuts = [_cut(xp, piece, top, 2 * total.terms, levels) for piece in pieces()]
    digits = [reduce(add, some) for some in zip(*_padded([cut.digits for cut in cuts]), strict=True)]
    smallest = powers_of_two(xp, xp.clip(goal.format.lowest_exponent - top, -1074, 900))
    missing = reduce(add, (cut.missing for cut in cuts))
    return RowSums(Known(leading(xp, reduce(grow, digits[1:], digits[:1])), missing, smallest), top)


@dataclass(frozen=True, slots=True)
class _Cut:
    """The sums of each slice of some products of rows, exact, and a bound of the rest."""

    digits: list[Array]
    missing: Array


def _cut(xp: Any, products: Products, top: Array, count: int, levels: int) -> _Cut:
    """Cut products, each of two numbers and `count` of these to a row, into slices of which any `count` add up exactly.

    Level l rounds to multiples of 2^(5 − (l + 1)·bits); what is left is at most half of one, so a slice is at most
    2^(bits − 1) of them, and count·2^(bits − 1) ≤ 2^53.
    """
    depth = products.exponent - xp.expand_dims(top, axis=1)
    scale = xp.where(depth < _DEEPEST, xp.zeros_like(depth), powers_of_two(xp, depth))
    rest = xp.concat([products.high * scale, products.low * scale], axis=1)  # (M, 2·Q)
    bits = min(52, 54 - (count - 1).bit_length())
    digits = []
    for level in range(levels):
        part = to_multiple(rest, math.ldexp(1.0, max(_LARGEST + 1 - (level + 1) * bits, -1074)))
        rest = rest - part
        digits.append(xp.sum(part, axis=1))
        if not bool(xp.any(rest != 0)):
            break
    too_deep = xp.any((depth < _DEEPEST) & (products.exponent > _NONE), axis=1)
    missing = xp.sum(xp.abs(rest), axis=1) * (1 + count * 2.0**-52)
    return _Cut(digits, missing + xp.astype(too_deep, xp.float64) * (count * 2.0 ** (_DEEPEST + _LARGEST)))


def _factors(total: RealSum, elements: Array, columns: int) -> Iterator[Meetings]:
    """The factors of all products of these elements, (M, Q) with at most so many columns at a time."""
    rows = Rows.of(total.xp, total.form.geometry.batched(), total.form.direction, elements)
    for first, second in total.pairs:
        for start in range(0, rows.length, columns):
            yield rows.factors(first, second, start, min(start + columns, rows.length))
    if rows.length == 0:  # nothing meets in any of them, so one product of zeros stands for all
        zeros = total.xp.zeros((elements.shape[0], 1), dtype=total.xp.float64, device=device_of(elements))
        yield Meetings(zeros, zeros)
    if total.bias is not None:
        bias = total.xp.expand_dims(total.of_channels(total.bias, elements), axis=1)
        yield Meetings(bias, total.xp.ones_like(bias))


def _again(make: Callable[[], Iterator[Any]], keeps: bool) -> Callable[[], Iterator[Any]]:
    """What makes the same things each time it is called: `make`, or, where there is room to keep them, their list."""
    kept = list(make()) if keeps else None
    return make if kept is None else lambda: iter(kept)


def _padded(digits: list[list[Array]]) -> list[list[Array]]:
    longest = max(map(len, digits))
    return [some + [0.0] * (longest - len(some)) for some in digits]


def _in_integers(total: RealSum, goal: Goal, elements: Array, columns: int) -> tuple[Array, ...]:
    """The same without any limit of range, one product after the other."""
    xp = total.xp
    sums = [Fraction(0)] * elements.shape[0]
    for factors in _factors(total, elements, columns):
        sums = [number + _fraction(factors, row) for row, number in enumerate(sums)]
    numbers = zip(*map(goal.of_fraction, sums), strict=True)
    return tuple(xp.asarray(list(some), dtype=xp.float64, device=device_of(elements)) for some in numbers)


def _fraction(factors: Meetings, row: int) -> Fraction:
    """The exact sum of one row's products."""
    places = range(factors.first.shape[1])
    return sum(
        (Fraction(float(factors.first[row, at])) * Fraction(float(factors.second[row, at])) for at in places),
        start=Fraction(0),
    )
