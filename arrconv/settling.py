"""Whether what is known of a sum decides how it is rounded, and the rounded numbers.

Known of each sum S are its leading parts, and a bound of what is missing from them. Rounding is monotone: where both
ends of the interval in which S lies round to the same number, so does S. Two goals are served: S rounded once to a
format, and S as an unevaluated sum of two float64 numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from arrconv.bounds import FORMATS, Format
from arrconv.expansion import Leading, is_tie, rounded, two_sum
from arrconv.powers import unscaled

if TYPE_CHECKING:
    from arrconv._namespace import Array

_FLOAT64 = FORMATS["float64"]
_MORE = 1 + 2.0**-40  # covers the few roundings in the width of an interval


@dataclass(frozen=True, slots=True)
class Known:
    """Sums up to `missing` ≥ 0, in units in which `smallest` is the smallest subnormal number of the goal's format.

    Where nothing is missing, `leading` is exact: high = RN(S), low = RN(S − high), and `rest` has the sign of the
    remainder. Elsewhere S lies within `missing` of the sum of the three.
    """

    leading: Leading
    missing: Array
    smallest: Array | float

    @classmethod
    def approximately(cls, leading: Leading, tail: Array, missing: Array, smallest: float) -> Known:
        """What is known once an approximation of what the leading parts lack is added to them, rounded."""
        correction = leading.rest + tail
        error = 2.0**-52 * (abs(leading.rest) + abs(tail))  # `rest` is rounded itself
        low, rest = two_sum(leading.low, correction)
        high, low = two_sum(leading.high, low)
        low, rest = two_sum(low, rest)
        return cls(Leading(high, low, rest), (missing + error) * _MORE, smallest)


@dataclass(frozen=True, slots=True)
class Settled:
    """The numbers that were found, an array for each part of the goal, and where they are certain."""

    numbers: tuple[Array, ...]
    certain: Array

    def times_powers(self, xp: Any, exponents: Array | int) -> tuple[Array, ...]:
        """The numbers times 2^exponents; beyond an infinite one there is nothing."""
        first, *others = (unscaled(xp, number, exponents) for number in self.numbers)
        return first, *(xp.where(xp.isinf(first), xp.zeros_like(other), other) for other in others)


class Goal(Protocol):
    """What is wanted of each sum, in float64."""

    @property
    def format(self) -> Format:
        """The format whose range is meant."""

    @property
    def bits(self) -> int:
        """How many bits of a sum decide it, nearly always."""

    def settle(self, xp: Any, known: Known) -> Settled:
        """The numbers wanted, in the units of what is known, of unbounded exponent above."""

    def of_fraction(self, exact: Fraction) -> tuple[float, ...]:
        """The numbers wanted of one sum that is known in full."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest number of a format, ties to even."""

    format: Format

    @property
    def bits(self) -> int:
        """Those of the format."""
        return self.format.fraction_bits + 1

    def settle(self, xp: Any, known: Known) -> Settled:
        """Both ends of the interval, rounded; they are one where nothing is missing."""
        leading, exact = known.leading, known.missing == 0
        spread = _interval(xp, known, abs(leading.rest) + 2.0**-52 * abs(leading.low))
        # Where nothing is missing the parts stay as they are: in a tie, adding them again would lose the rest.
        ends = [two_sum(leading.high, end) for end in (leading.low - spread, leading.low + spread)]
        ends = [(xp.where(exact, leading.high, a), xp.where(exact, leading.low, b)) for a, b in ends]
        below, above = (rounded(xp, high, low, self.format, known.smallest) for high, low in ends)
        has_sign = (ends[0][0] > 0) | (ends[1][0] < 0)  # the sign of what rounds to 0 counts
        return Settled((above,), (below == above) & (exact | has_sign))

    def of_fraction(self, exact: Fraction) -> tuple[float, ...]:
        """Python's own conversion, which rounds correctly; only float64 has the range to need it."""
        return (_nearest(exact),)


@dataclass(frozen=True, slots=True)
class Parts:
    """high = RN(S) and low = RN(S − high), both float64."""

    format: Format = _FLOAT64
    bits: int = 106

    def settle(self, xp: Any, known: Known) -> Settled:
        """Certain where high is settled, and both ends of what is beyond it round to the same low."""
        leading = known.leading
        spread = _interval(xp, known, 2.0**-52 * abs(leading.rest))
        below = leading.low + (leading.rest - spread)
        above = leading.low + (leading.rest + spread)
        # Not so near a tie that what is missing could change high, and low a normal number, or exact.
        sure = (below == above) & (leading.high + above == leading.high) & ~is_tie(leading.high, above)
        sure = sure & (abs(above) >= 2.0**53 * known.smallest)
        exact = known.missing == 0
        low = xp.where(exact, leading.low, above)
        high = rounded(xp, leading.high, low, self.format, known.smallest)
        low = rounded(xp, low, xp.where(exact, leading.rest, low * 0), self.format, known.smallest)
        # Where high is subnormal, what it lacks is at most half of the smallest number, which rounds to 0 or −0.
        low = xp.where(leading.high == high, low, ((leading.high - high) + low) * 0)
        return Settled((high, low), exact | sure)

    def of_fraction(self, exact: Fraction) -> tuple[float, ...]:
        """Python's own conversion, twice."""
        high = _nearest(exact)
        return high, 0.0 if abs(high) == float("inf") else _nearest(exact - Fraction(high))


def _interval(xp: Any, known: Known, more: Array) -> Array:
    """How far the ends of the interval are from its middle: what is missing and `more`, where anything is."""
    return xp.where(known.missing == 0, known.missing, (known.missing + more) * _MORE)


def _nearest(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        return float("inf") if exact > 0 else float("-inf")
