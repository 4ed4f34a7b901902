"""Unevaluated sums of float64 numbers: error-free transformations, element by element, and their one final rounding.

An *expansion* is a list of arrays whose sum is meant, of which none is adjacent to another: for each element, there is
a zero bit between any two nonzero components, and they grow from the first to the last. Nothing here depends on more
than IEEE 754 addition and multiplication, rounded to nearest, ties to even, each by itself: no multiply and add may be
fused.

Sources: J. R. Shewchuk, "Adaptive precision floating-point arithmetic and fast robust geometric predicates", Discrete
Comput. Geom. 18, 1997, theorems 7 and 10; S. M. Rump, P. Zimmermann, S. Boldo, G. Melquiond, "Computing
predecessor and successor in rounding to nearest", BIT 49, 2009, section 3 (the unit in the first place).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.bounds import Format

_SPLITTER = 2.0**27 + 1
_FIRST_PLACE = 2.0**52 + 1
_BEFORE_ONE = 1 - 2.0**-53


@dataclass(frozen=True, slots=True)
class Leading:
    """The largest parts of a sum S: high = RN(S), low = RN(S − high), and `rest`, of the sign of S − high − low."""

    high: Array
    low: Array
    rest: Array


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """RN(a + b) and its error, exactly; for any a and b whose sum does not overflow."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """RN(a·b) and its error, exactly; for a and b between 2^−400 and 2^400 in magnitude, or zero."""
    product = a * b
    a_high, b_high = _upper_half(a), _upper_half(b)
    a_low, b_low = a - a_high, b - b_high
    return product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


def grow(expansion: list[Array], number: Array) -> list[Array]:
    """The expansion of an expansion's sum and one more number, whatever its size."""
    grown = []
    for component in expansion:
        number, error = two_sum(number, component)
        grown.append(error)
    return [*grown, number]


def leading(xp: Any, expansion: list[Array]) -> Leading:
    """The leading parts of the sum of an expansion that `grow` made.

    From the largest component down, each of a cascade of sums keeps what the one above it could not hold. All but the
    last are without error, and of the last only the sign is used.
    """
    zero = xp.zeros_like(expansion[0])
    if len(expansion) <= 2:  # a number by itself, or what two_sum gave
        return Leading(expansion[-1], expansion[0] if len(expansion) == 2 else zero, zero)
    high = low = rest = last = zero
    for component in reversed(expansion):
        high, carry = two_sum(high, component)
        low, carry = two_sum(low, carry)
        rest, carry = two_sum(rest, carry)
        last = last + carry  # never zero again, once it is not: what follows lies below its last bit
    for _ in range(2):
        rest, last = two_sum(rest, last)
        low, rest = two_sum(low, rest)
        high, low = two_sum(high, low)
    low, rest = two_sum(low, rest)
    high, low = _break_tie(xp, high, low, xp.where(rest == 0, last, rest))
    low, rest = two_sum(low, rest)
    low, rest = _break_tie(xp, low, rest, last)
    return Leading(high, low, xp.where(rest == 0, last, rest))


def to_multiple(array: Array, spacing: Array | float) -> Array:
    """The array rounded to the nearest multiples of a power of two, ties to even; |array| ≤ 2^51·spacing."""
    shift = 1.5 * 2.0**52 * spacing
    return (array + shift) - shift


def rounded(xp: Any, high: Array, low: Array, target: Format, smallest: Array | float) -> Array:
    """High + low, of which high is the nearest float64 number, rounded once to the bits of a format.

    Args:
        xp: the array namespace.
        high: float64.
        low: float64, of the sign of what is missing, and at most half a unit in the last place of `high`.
        target: the format whose precision is meant.
        smallest: the smallest subnormal number, in the units of `high`.

    Returns:
        float64, unbounded above.
    """
    size = xp.abs(high)
    if target.fraction_bits == 52:  # the same numbers as `high` itself, except where they are subnormal
        spacing = smallest
        nearest = xp.where(size < 2.0**52 * smallest, (size + 2.0**52 * smallest) - 2.0**52 * smallest, size)
    else:
        spacing = first_place(size) * 2.0**-target.fraction_bits
        spacing = xp.where(spacing < smallest, smallest, spacing)
        nearest = (size + 2.0**52 * spacing) - 2.0**52 * spacing
    error = size - nearest
    onward = xp.where(high < 0, -low, low)
    # `high` lies in the middle between two numbers, the even one was taken, and `low` says that the other is nearer.
    wrong = (2 * xp.abs(error) == spacing) & _same_sign(error, onward)
    nearest = xp.where(wrong, nearest + 2 * error, nearest)
    return xp.where(high < 0, -nearest, nearest)


def first_place(size: Array) -> Array:
    """The largest power of two that is not above a number, 0 for 0; from 0 to 2^970."""
    scaled = _FIRST_PLACE * size
    return abs(scaled - _BEFORE_ONE * scaled)


def _upper_half(a: Array) -> Array:
    scaled = _SPLITTER * a
    return scaled - (scaled - a)


def is_tie(number: Array, error: Array) -> Array:
    """Whether number + error lies in the middle between two numbers, one of which is `number`.

    Only then is the error half of a unit, and number + 2·error a number, too.
    """
    return ((number + 2 * error) - number == 2 * error) & (error != 0)


def _break_tie(xp: Any, number: Array, error: Array, beyond: Array) -> tuple[Array, Array]:
    """RN(number + error + beyond) and what is left, for number = RN(number + error) and a `beyond` that is less."""
    wrong = is_tie(number, error) & _same_sign(error, beyond)  # in a tie, what lies beyond decides
    return xp.where(wrong, number + 2 * error, number), xp.where(wrong, -error, error)


def _same_sign(a: Array, b: Array) -> Array:
    return ((a > 0) & (b > 0)) | ((a < 0) & (b < 0))  # their product might be rounded to zero
