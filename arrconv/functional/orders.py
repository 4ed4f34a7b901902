"""A sum of contractions in digits: contractions of slices of its operands, each exact in float64.

Order d holds the products of slices s and t with s + t = d (see `arrconv.slices`). After any order, a tail of ordinary
contractions approximates all that follow, with a bound of its error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import add
from typing import TYPE_CHECKING, Any

from arrconv.powers import times_power, top_exponent
from arrconv.slices import PAIRS, Slices, bits_of_slices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arrconv._namespace import Array
    from arrconv.functional.contraction import Contraction

_MODERATE = 100  # |exponents| up to which operands need no scaling
_HUGE = 900  # a bias beyond 2^900 might overflow in an error-free transformation
_CHUNK, _LARGE_CHUNK = 2**15, 2**22
_MORE = 1 + 2.0**-40  # covers the roundings in a bound


@dataclass(frozen=True, slots=True)
class RealSum:
    """Σ over `pairs` of the contraction of first and second operand, plus a bias; all of finite float64 numbers.

    `form` is a contraction of float64 arrays of these shapes.
    """

    form: Contraction
    pairs: tuple[tuple[Array, Array], ...]
    bias: Array | None

    @property
    def xp(self) -> Any:
        """The array namespace."""
        return self.form.backend.xp

    @property
    def terms(self) -> int:
        """The number of products of an element at the most, that of a bias with 1 included."""
        return self.form.geometry.products(self.form.direction) * len(self.pairs) + (self.bias is not None)

    @property
    def size(self) -> int:
        """The number of elements of the result."""
        return math.prod(self.form.shape)

    def map(self, function: Callable[[Array], Array]) -> RealSum:
        """The same of a function of each operand and the bias."""
        pairs = tuple((function(first), function(second)) for first, second in self.pairs)
        return replace(self, pairs=pairs, bias=None if self.bias is None else function(self.bias))

    def plainly(self) -> Array:
        """The sum in float64, flat, however it is rounded."""
        total = reduce(add, (self.contract(*pair) for pair in self.pairs))
        return total if self.bias is None else total + self.of_channels(self.bias, self.elements)

    @property
    def elements(self) -> Array:
        """The flat indices of all elements."""
        return self.xp.arange(self.size, dtype=self.xp.int64, device=self.form.backend.device)

    def contract(self, first: Array, second: Array) -> Array:
        """The contraction of two operands in float64, flat."""
        return self.xp.reshape(replace(self.form, first=first, second=second, bias=None).evaluate(), (-1,))

    def of_channels(self, array: Array, elements: Array) -> Array:
        """What an array has for the channels of the elements with these flat indices."""
        geometry = self.form.geometry
        positions = math.prod(self.form.shape[len(self.form.shape) - geometry.ndim :])
        return self.xp.take(array, elements // positions % array.shape[0])


@dataclass(frozen=True, slots=True)
class Tail:
    """An approximation of all orders that are not there yet, none where nothing is left, and how far it may be off."""

    sum: Array | None
    largest: float
    missing: float


class Orders:
    """A RealSum in digits: the exact sums of the products of slices, order after order.

    Attributes:
        digits: flat arrays whose sum, with the tail, is 2^−exponent times the sum; the bias is among them.
        exponent: by how much the operands had to be scaled to be of moderate size.
        is_moderate: whether none had to be.
        order: the last order among the digits.
        terms: the number of products of an element.
        work: the number of products of all elements.
        largest: a bound of all digits and of any sum of some of them.
        is_complete: whether nothing is left to add.
    """

    def __init__(self, total: RealSum) -> None:
        xp = self.xp = total.xp
        self._total, self.order = total, -1
        self.terms, self.work = total.terms, total.terms * total.size
        self._slices: list[list[Slices]] = []
        self.exponent, self._lost = 0, 0.0
        self.is_moderate = True
        for arrays in zip(*total.pairs, strict=True):
            top = max(top_exponent(xp, array) for array in arrays)
            shift = top if abs(top) > _MODERATE else 0
            self.is_moderate &= shift == 0
            moderate = [times_power(array, -shift) for array in arrays]
            if shift and not all(
                bool(xp.all(times_power(b, shift) == a)) for a, b in zip(arrays, moderate, strict=True)
            ):
                self._lost = total.terms * 2.0**-960  # what became subnormal was rounded, times less than 2^101
            self.exponent += shift
            self._slices.append([Slices(xp, array, top - shift, bits_of_slices(total.terms)) for array in moderate])
        self.largest = 2 * total.terms * math.prod(side[0].most(0) for side in self._slices)
        self.digits: list[Array] = []

    def add_bias(self) -> bool:
        """Make the bias the first digit; False, and nothing done, where it is out of the digits' range."""
        xp, bias = self.xp, self._total.bias
        if bias is None:
            return True
        top = top_exponent(xp, bias) - self.exponent
        if top > _HUGE:
            return False
        moderate = times_power(bias, -self.exponent)
        if not bool(xp.all(times_power(moderate, self.exponent) == bias)):
            return False
        self.digits.append(self._total.of_channels(moderate, self._total.elements))
        self.largest += math.ldexp(2.0, top)
        return True

    def advance(self, order: int) -> None:
        """Add up all orders to this one, or as far as there are any."""
        xp, total = self.xp, self._total
        while self.order < order and not self.is_final:
            self.order += 1
            for slices in (slices for side in self._slices for slices in side):
                slices.cut()
            for start in range(0, self.order + 1, PAIRS):
                numbers = range(start, min(start + PAIRS, self.order + 1))
                products = [
                    total.contract(a.parts[number], b.parts[self.order - number])
                    for number in numbers
                    for a, b in zip(*self._slices, strict=True)
                    if number < len(a.parts) and self.order - number < len(b.parts)  # slices beyond are zero
                ]
                if products:
                    self.digits.append(reduce(add, products))
        if not self.digits:
            self.digits.append(xp.zeros(total.size, dtype=xp.float64, device=total.form.backend.device))

    def price(self, order: int) -> int:
        """How many contractions it takes to get to an order, with its tail."""
        return sum(range(self.order + 2, order + 2)) + order + 2

    @cached_property
    def idle(self) -> Array:
        """Of which elements every product is zero, so that nothing but a bias can be in them."""
        ones = self._total.map(lambda array: self.xp.astype(array != 0, array.dtype))
        return reduce(add, (self._total.contract(*pair) for pair in ones.pairs)) == 0

    @property
    def chunk(self) -> int:
        """How many elements to look at together: on a processor, so many that they stay in its cache."""
        return _CHUNK if self._total.form.backend.library == "numpy" else _LARGE_CHUNK

    @property
    def is_complete(self) -> bool:
        """Whether all slices are cut, and all their products are added up."""
        if any(all(slices.is_zero for slices in side) for side in self._slices):
            return True
        longest = [max(len(slices.parts) for slices in side) for side in self._slices]
        return all(slices.ends for side in self._slices for slices in side) and self.order >= sum(longest) - 2

    @property
    def is_final(self) -> bool:
        """Whether no other order can follow."""
        return self.is_complete or any(slices.is_deepest for side in self._slices for slices in side)

    def tail(self) -> Tail:
        """All products of slices whose order is not there yet, by ordinary contractions.

        With r(j) for what is left of an operand after j slices, x·w = Σ over s ≤ d of x_s·(w_0 + … + w_(d−s)) + tail,
        and tail = Σ over s ≤ d of x_s·r_w(d + 1 − s), plus r_x(d + 1)·w.
        """
        count = self.order + 2
        products = [
            self._total.contract(*pair)
            for a, b in zip(*self._slices, strict=True)
            for pair in _pairs_of_tail(a, b, count)
        ]
        if not products:
            return Tail(None, 0.0, self._lost)
        return Tail(reduce(add, products), 2 * self._largest_tail, self._missing)

    @property
    def _largest_tail(self) -> float:
        """A bound of the magnitudes in the tail."""
        first, second = (side[0] for side in self._slices)
        count = self.order + 2
        return self._total.terms * math.fsum(first.most(s) * second.most(count - 1 - s) for s in range(count))

    @property
    def _missing(self) -> float:
        """A bound of the error of the tail."""
        terms = self._total.terms * (self.order + 2)
        return (terms * 2.0**-53 * self._largest_tail + terms * 2.0**-1074) * _MORE + self._lost

    def unsettled_share(self, bits: int) -> float:
        """About which share of the elements a look would not settle, if so many bits of each decide.

        The error is compared with a unit in the last place of an element of a 64th of the largest digit. It is a guess,
        on which nothing rests but time.
        """
        if self._total.size == 0:
            return 0.0
        largest = max(float(self.xp.max(self.xp.abs(digit))) for digit in self.digits)
        return self._missing * 2.0 ** (bits + 6) / largest if largest else math.inf


def _pairs_of_tail(a: Slices, b: Slices, count: int) -> Iterator[tuple[Array, Array]]:
    """The pairs of operands of the tail, without those of which one is zero; none where all orders are there."""
    rest, is_zero = b.rest, b.ends
    for number in range(count):
        part = count - 1 - number
        if number > 0 and part < len(b.parts):
            rest, is_zero = rest + b.parts[part], False
        if not is_zero and number < len(a.parts):
            yield a.parts[number], rest
        elif not is_zero and number == count - 1 and not a.ends:
            yield a.rest, rest
