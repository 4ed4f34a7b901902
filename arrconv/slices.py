"""Numbers cut into slices of few bits, so that sums of products of slices are exact in float64.

Slice s of an operand holds the multiples of spacing(s) = 2^(top + 1 − (s + 1)·bits) that its elements are nearest to,
once the slices before it are taken off. A slice is at most 2^(bits − 1) of its spacings, and so is the rest that the
next one is taken from. The product of slice s of one operand with slice t of another is a multiple of a power of two
that depends on s + t alone, and at most 2^(2·bits − 2) times it: K such products, in any order, with or without fused
multiply and add, sum up without error as long as K·2^(2·bits − 2) ≤ 2^53.

Source: K. Ozaki, T. Ogita, S. Oishi, S. M. Rump, "Error-free transformations of matrix multiplication by using fast
routines of matrix multiplication and its applications", Numer. Algorithms 59, 2012, section 3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from arrconv.expansion import to_multiple

if TYPE_CHECKING:
    from arrconv._namespace import Array

PAIRS = 4
"""How many products of slices of one order may be added up before the sum might no longer be exact."""

_DEEPEST = 320  # bits below the top; slices of two operands of moderate size multiply to normal numbers


def bits_of_slices(terms: int) -> int:
    """β = ⌊(53 − ⌈log2 terms⌉)/2⌋, for which `PAIRS` sums of so many products are exact together."""
    return (53 - max(terms - 1, 0).bit_length()) // 2


class Slices:
    """An array of finite float64 numbers, at most 2^top in magnitude, cut into slices as far as anyone has asked.

    Attributes:
        parts: the slices so far.
        rest: what is left of the array.
        ends: whether nothing is left, so that the array is the sum of the slices.
    """

    def __init__(self, xp: Any, array: Array, top: int, bits: int) -> None:
        self.parts: list[Array] = []
        self.rest = array
        self.ends = not bool(xp.any(array != 0))
        self._xp, self._top, self._bits = xp, top, bits

    def cut(self) -> None:
        """Cut off one more slice, if anything is left."""
        if self.ends:
            return
        part = to_multiple(self.rest, self._spacing(len(self.parts)))
        self.rest = self.rest - part
        self.parts.append(part)
        self.ends = not bool(self._xp.any(self.rest != 0))

    @property
    def is_zero(self) -> bool:
        """Whether there is nothing but zeros."""
        return self.ends and not self.parts

    @property
    def is_deepest(self) -> bool:
        """Whether one slice more might be too small."""
        return not self.ends and (len(self.parts) + 1) * self._bits > _DEEPEST

    def most(self, number: int) -> float:
        """The largest magnitude of slice `number`, or of the rest that it is taken from."""
        return math.ldexp(1.0, self._top) if number == 0 else self._spacing(number - 1) / 2

    def _spacing(self, number: int) -> float:
        return math.ldexp(1.0, self._top + 1 - (number + 1) * self._bits)
