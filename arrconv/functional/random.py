"""Random numbers by a hash of their place: the same bits on every array library and device, in any order."""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arrconv._namespace import Array

_MASK = 2**32 - 1
_BITS = 24  # of a number: float32 holds each of them


def uniform(xp: Any, shape: tuple[int, ...], *key: int, dtype: Any, device: Any) -> Array:
    """Numbers of a shape, multiples of 2^−24 from 0 to 1 − 2^−24, which the integers of the key decide.

    Source: M. Jarzynski, M. Olano, "Hash functions for GPU rendering", Journal of Computer Graphics Techniques 9(3),
    2020: the hash "pcg".
    """
    start = reduce(lambda state, part: _hash(state ^ part), (limb for part in key for limb in _limbs(part)), 0)
    places = xp.arange(math.prod(shape), dtype=xp.int64, device=device)
    numbers = _hash(_hash(places & _MASK) ^ start ^ (places >> 32)) >> (32 - _BITS)
    return xp.reshape(xp.astype(numbers, dtype), shape) / 2**_BITS


def _hash(value: Any) -> Any:
    """A number of 32 bits, or an array of them in int64, stirred; no product here exceeds 62 bits."""
    state = (value * 747796405 + 2891336453) & _MASK
    word = (((state >> ((state >> 28) + 4)) ^ state) * 277803737) & _MASK
    return (word >> 22) ^ word


def _limbs(number: int) -> list[int]:
    """The digits of an integer to the base 2^32, and how many."""
    size = max(1, -(-(abs(number).bit_length() + 1) // 32))
    return [size, *((number >> (32 * place)) & _MASK for place in range(size))]
