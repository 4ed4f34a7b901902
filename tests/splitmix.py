"""The generator of the suite's data in Python's integers: SplitMix64 from a seed that is the FNV-1a hash of a text."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WORD = 2**64
GAMMA = 0x9E3779B97F4A7C15


def fnv1a(text: str) -> int:
    """The 64-bit FNV-1a hash: for each octet exclusive or, then times the prime 2^40 + 2^8 + 0xb3."""
    hashed = 14695981039346656037
    for octet in text.encode("utf-8"):
        hashed = (hashed ^ octet) * (2**40 + 2**8 + 0xB3) % WORD
    return hashed


def splitmix64(state: int) -> int:
    """One output for an advanced state: two rounds of xor-shift and multiply, and a last xor-shift."""
    z = state % WORD
    z = (z ^ z // 2**30) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ z // 2**27) * 0x94D049BB133111EB % WORD
    return z ^ z // 2**31


def endless(text: str) -> Iterator[int]:
    """The words of a text, one after the other."""
    state = fnv1a(text)
    while True:
        state += GAMMA
        yield splitmix64(state)


def words(text: str, count: int) -> list[int]:
    """The first words of a text."""
    return list(islice(endless(text), count))
