"""Powers of two, and the multiplication by them, which are exact; the Array API standard has no ldexp."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from arrconv._namespace import device_of

if TYPE_CHECKING:
    from arrconv._namespace import Array

_LOWEST, _HIGHEST = -1074, 1023


def times_power(array: Array, exponent: int) -> Array:
    """array·2^exponent, −2200 … 2200, rounded once at the most; by three factors, since one may be out of range.

    The last factor is the largest. So what was subnormal before it either is exact, or becomes zero; and no other is
    larger than the result.
    """
    if exponent == 0:
        return array
    last = min(max(exponent, -1022), 1023)
    first = (exponent - last) // 2
    for share in (first, exponent - last - first, last):
        array = array * math.ldexp(1.0, share)
    return array


def times_powers(xp: Any, array: Array, exponents: Array) -> Array:
    """The same for an array of whole numbers in float64."""
    last = xp.clip(exponents, -1022, 1023)
    first = xp.floor((exponents - last) / 2)
    for share in (first, exponents - last - first, last):
        array = array * powers_of_two(xp, share)
    return array


def unscaled(xp: Any, number: Array, exponents: Array | int) -> Array:
    """number·2^exponents, infinite where that is 2^1024 or more, and without a warning of it.

    Where it is subnormal, it must be a multiple of the smallest subnormal number already.
    """
    if isinstance(exponents, int):
        if exponents == 0:
            return number
        exponents = xp.full_like(number, float(exponents))
    overflows = (exponents > 0) & (xp.abs(number) >= powers_of_two(xp, 1024 - exponents))
    infinite = xp.where(number > 0, xp.full_like(number, math.inf), xp.full_like(number, -math.inf))
    return xp.where(
        overflows, infinite, times_powers(xp, xp.where(overflows, xp.zeros_like(number), number), exponents)
    )


def powers_of_two(xp: Any, exponents: Array) -> Array:
    """2^exponents for an array of whole numbers in float64, taken as at least −1074 and at most 1023."""
    table = _table(xp, device_of(exponents))
    numbers = xp.astype(xp.clip(exponents, _LOWEST, _HIGHEST), xp.int64) - _LOWEST
    return xp.reshape(xp.take(table, xp.reshape(numbers, (-1,))), numbers.shape)


def exponents_of(xp: Any, array: Array) -> Array:
    """Whole numbers e in float64 with 2^(e − 1) ≤ |array| < 2^(e + 2); the array has no zeros."""
    return xp.floor(xp.log2(xp.abs(array)))


def top_exponent(xp: Any, array: Array) -> int:
    """The smallest e with |array| ≤ 2^e for each element of a finite array; 0 where there is no other number than 0."""
    largest = float(xp.max(xp.abs(array))) if math.prod(array.shape) else 0.0
    fraction, exponent = math.frexp(largest)
    return exponent - 1 if fraction == 0.5 else exponent


@lru_cache(maxsize=16)
def _table(xp: Any, device: Any) -> Array:
    powers = [math.ldexp(1.0, exponent) for exponent in range(_LOWEST, _HIGHEST + 1)]
    return xp.asarray(powers, dtype=xp.float64, device=device)
