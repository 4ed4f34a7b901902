"""Correctly rounded contractions: sums of products whose every bit is right, whatever the machine and its BLAS.

The ordinary engine computes contractions of slices of the operands without error (`arrconv.functional.orders`), and a
bound of what is missing yet decides which elements are settled (`arrconv.settling`); nearly all are. The others are
added up one by one (`arrconv.functional.rowwise`), or, if they are many, with more slices. Only what is certain is
returned, so no bit depends on how it was found.

Source: K. Ozaki, T. Ogita, S. Oishi, S. M. Rump, "Error-free transformations of matrix multiplication by using fast
routines of matrix multiplication and its applications", Numer. Algorithms 59, 2012.
"""

from __future__ import annotations

import math
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

from arrconv.bounds import FORMATS, Arithmetic
from arrconv.errors import UnsupportedError
from arrconv.expansion import grow, leading, rounded, two_sum
from arrconv.functional.orders import Orders, RealSum
from arrconv.functional.rowwise import settle_rows
from arrconv.settling import Known, Nearest, Parts, Settled
from arrconv.slicing import filled

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.bounds import Format
    from arrconv.functional.contraction import Computation
    from arrconv.functional.orders import Tail
    from arrconv.settling import Goal

_MOST_UNSETTLED = 2.0**-4  # as a share of all elements, with which it may be worth looking
_ROW_COST = 5000  # a product in a row takes about as long as so many in a contraction
_FEW_PRODUCTS = 2**16  # so many products in rows take less time than another order does
_MORE = 1 + 2.0**-40  # covers the roundings in a bound


def nearest(call: Computation) -> Array:
    """Each element of a contraction, of floating-point numbers, rounded once to the dtype of the result."""
    backend = call.backend
    target = FORMATS[Arithmetic.of(backend.dtype).output]
    found = [_in_range(total.xp, _with_infinities(total, Nearest(target))[0], target) for total in call.real_sums()]
    return backend.xp.reshape(backend.of_parts(*found), call.shape)


def parts(call: Computation) -> tuple[Array, Array]:
    """(high, low) for each element of a contraction: its nearest number of float64, and that of what high lacks."""
    wide = call.backend.widest()
    found = [_with_infinities(total, Parts()) for total in call.real_sums()]
    high, low = (wide.xp.reshape(wide.of_parts(*some), call.shape) for some in zip(*found, strict=True))
    return high, low


def _with_infinities(total: RealSum, goal: Goal) -> tuple[Array, ...]:
    """The numbers wanted of a sum whose operands may hold infinities and NaN.

    Where an element's products hold any, ordinary arithmetic says what it is: over the signs of all finite numbers, so
    that none of those overflows on the way. Everywhere else these operands are zeros, which add nothing.
    """
    xp = total.xp
    if total.form.backend.device is None:  # under jax.jit and jax.grad
        raise UnsupportedError("exact results depend on the values, which are not known while a function is traced")
    arrays = [array for pair in total.pairs for array in pair] + ([] if total.bias is None else [total.bias])
    if all(bool(xp.all(xp.isfinite(array))) for array in arrays):
        return settle(total, goal)
    special = total.map(lambda array: xp.where(xp.isfinite(array), xp.sign(array), array)).plainly()
    finite = settle(total.map(lambda array: xp.where(xp.isfinite(array), array, xp.zeros_like(array))), goal)
    first, *others = finite
    is_finite = xp.isfinite(special)
    zeros = xp.zeros_like(special)
    return xp.where(is_finite, first, special), *(xp.where(is_finite, other, zeros) for other in others)


def _in_range(xp: Any, array: Array, target: Format) -> Array:
    """Numbers with the precision of a format, beyond its largest one replaced by infinity."""
    if target.fraction_bits == 52 or not bool(xp.any(xp.abs(array) > target.largest)):
        return array
    for sign in (1, -1):
        array = xp.where(sign * array > target.largest, xp.full_like(array, sign * math.inf), array)
    return array


class Progress:
    """What was found of every element of a sum, and which are left to settle."""

    def __init__(self, total: RealSum) -> None:
        self._total = total
        self._found: list[Settled] = []
        self._left: Array | None = None

    @property
    def is_new(self) -> bool:
        """Whether nothing has been looked at yet."""
        return not self._found

    @property
    def left(self) -> Array:
        """The flat indices of what is left: at first, of everything."""
        return self._total.elements if self._left is None else self._left

    def add(self, settled: Settled) -> None:
        """Take in what was found of those that are left."""
        xp = self._total.xp
        (places,) = xp.nonzero(~settled.certain)
        self._left = places if self._left is None else xp.take(self._left, places)
        self._found.append(settled)

    def numbers(self) -> tuple[Array, ...]:
        """The numbers of all elements, once none is left."""
        *earlier, last = self._found
        numbers = last.numbers
        for settled in reversed(earlier):
            pairs = zip(settled.numbers, numbers, strict=True)
            numbers = tuple(filled(self._total.xp, found, ~settled.certain, later) for found, later in pairs)
        return numbers


def settle(total: RealSum, goal: Goal) -> tuple[Array, ...]:
    """The numbers wanted of every element of a sum, flat, in float64."""
    orders, progress = Orders(total), Progress(total)
    if orders.add_bias() or total.size == 0:
        _settle_by_orders(orders, goal, progress)
    if progress.left.shape[0]:
        progress.add(settle_rows(total, goal, progress.left))
    return progress.numbers()


def _settle_by_orders(orders: Orders, goal: Goal, progress: Progress) -> None:
    """Settle elements by more and more orders, until so few are left that they cost less one by one."""
    orders.advance(0)
    while True:
        while not orders.is_final and orders.unsettled_share(goal.bits) > _MOST_UNSETTLED:
            orders.advance(orders.order + 1)
        tail, following = orders.tail(), 2 * orders.order + 1
        if progress.is_new and isinstance(goal, Nearest) and orders.is_moderate:
            progress.add(_bracketed(orders, tail, goal.format))
        # Another look costs contractions of all elements.
        few = (orders.price(following) * orders.work // _ROW_COST + _FEW_PRODUCTS) // max(1, orders.terms)
        if progress.is_new or progress.left.shape[0] > few or tail.sum is None:
            progress.add(_looked_at(orders, tail, goal, progress.left))
        if progress.left.shape[0] <= few or orders.is_final:
            return
        orders.advance(following)


def _bracketed(orders: Orders, tail: Tail, target: Format) -> Settled:
    """The nearest numbers of all elements, certain where both ends of an interval about the sum round to the same.

    The ends are high + (low ± spread), rounded to float64 and then to the format. Rounding to float64 keeps their
    order, so for float64 itself `spread` need only cover what is missing and the roundings in `low`; for shorter
    formats the rounding of the ends, too, since rounding twice is not rounding once.
    """
    xp, digits = orders.xp, orders.digits
    count = len(digits)
    spread = tail.missing
    if count > 2 or tail.sum is not None:
        spread += count * 2.0**-52 * (count * 2.0**-52 * orders.largest + tail.largest)
    spread *= _MORE
    found = []
    for some in _chunks(orders, digits[0].shape[0]):
        high, *others = (digit[some] for digit in reversed(digits))
        lows = [] if tail.sum is None else [tail.sum[some]]
        for other in others:
            high, error = two_sum(high, other)
            lows.append(error)
        if not lows and not spread:
            value = _to_format(xp, high + 0.0, target, orders.largest)  # −0 becomes 0
            found.append(Settled((value,), xp.ones_like(value, dtype=xp.bool)))
            continue
        low = reduce(add, lows, 0.0)
        reach = spread
        if target.fraction_bits < 52:
            reach += 2.0**-51 * float(xp.max(xp.abs(high))) if high.shape[0] else 0.0
        below, above = (_to_format(xp, high + end, target, orders.largest) for end in (low - reach, low + reach))
        found.append(Settled((above,), (below == above) & (above != 0)))  # the sign of what rounds to 0 counts
    return Settled((xp.concat([some.numbers[0] for some in found]),), xp.concat([some.certain for some in found]))


def _to_format(xp: Any, array: Array, target: Format, largest: float) -> Array:
    """float64 numbers rounded to a format; the library's own conversion where it is one single rounding."""
    match target.fraction_bits:
        case 52:
            return array
        case 23 if largest < 2.0**127:
            return xp.astype(xp.astype(array, xp.float32), xp.float64)
        case _:
            return rounded(xp, array, xp.zeros_like(array), target, target.smallest_subnormal)


def _looked_at(orders: Orders, tail: Tail, goal: Goal, places: Array) -> Settled:
    """What the orders so far say of the elements with these flat indices."""
    xp = orders.xp
    smallest = math.ldexp(1.0, min(max(goal.format.lowest_exponent - orders.exponent, -1074), 900))
    found = []
    for chunk in _chunks(orders, places.shape[0]):
        some = places[chunk]
        digits = [xp.take(digit, some) for digit in orders.digits]
        known = leading(xp, reduce(grow, digits[1:], digits[:1]))
        missing = xp.full_like(known.high, tail.missing)
        if tail.sum is None:
            knowledge = Known(known, missing, smallest)
        else:
            missing = xp.where(xp.take(orders.idle, some), xp.zeros_like(missing), missing)
            knowledge = Known.approximately(known, xp.take(tail.sum, some), missing, smallest)
        found.append(goal.settle(xp, knowledge))
    together = Settled(
        tuple(xp.concat(list(some)) for some in zip(*(some.numbers for some in found), strict=True)),
        xp.concat([some.certain for some in found]),
    )
    return Settled(together.times_powers(xp, orders.exponent), together.certain)


def _chunks(orders: Orders, size: int) -> list[slice]:
    """Elements that are looked at together."""
    step = orders.chunk
    return [slice(start, min(start + step, size)) for start in range(0, max(1, size), step)]
