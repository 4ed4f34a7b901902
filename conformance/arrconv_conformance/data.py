"""The arrays of a case, made from its text alone by a generator that is a few lines in any language.

Element i of an array is SplitMix64's mixing function applied to seed + (i + 1)·0x9E3779B97F4A7C15 modulo 2^64, with
the seed the 64-bit FNV-1a hash of the UTF-8 text `<geometry> <role>`. (G. L. Steele, D. Lea, C. H. Flood, "Fast
splittable pseudorandom number generators", OOPSLA 2014; G. Fowler, L. C. Noll, K.-P. Vo, "FNV hash".)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

_MASK = 2**64 - 1
_FRACTION_BITS = {"float32": 23, "float64": 52}
_LARGEST_INTEGER = 9

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Operand:
    """Numbers that are integers times a power of two: `integers` (int64) · 2^exponent."""

    integers: Array
    exponent: int

    def array(self, dtype: str) -> Array:
        """The numbers as floating-point numbers, which hold them exactly."""
        return np.ldexp(self.integers.astype(np.float64), self.exponent).astype(dtype)


def operand(case: str, role: str, shape: tuple[int, ...], data: str, dtype: str) -> Operand:
    """The operand in one role (`x`, `w`, `y`, `bias`) of a case.

    Args:
        case: the case string of the geometry.
        role: which operand.
        shape: its shape.
        data: `integers`, −9 … 9; or `uniform`, all numbers of the dtype's precision in [−2, 2) with equal spacing.
        dtype: `float32` or `float64`.
    """
    bits = stream(f"{case} {role}", math.prod(shape))
    if data == "integers":
        values = (bits >> np.uint64(33)) % np.uint64(2 * _LARGEST_INTEGER + 1)
        return Operand(values.astype(np.int64).reshape(shape) - _LARGEST_INTEGER, 0)
    fraction = _FRACTION_BITS[dtype]
    values = (bits >> np.uint64(63 - fraction)).astype(np.int64) - 2**fraction  # in −2^fraction … 2^fraction − 1
    return Operand(values.reshape(shape), 1 - fraction)


def stream(text: str, count: int) -> Array:
    """`count` pseudorandom 64-bit words that depend on the text alone.

    >>> [hex(int(word)) for word in stream("", 2)]
    ['0xc3817c016ba4ff30', '0x100cdaacc0bc9316']
    """
    seed = 0xCBF29CE484222325
    for byte in text.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & _MASK
    with np.errstate(over="ignore"):
        word = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return word ^ (word >> np.uint64(31))
