"""Probes of an arithmetic: how many bits it keeps of operands, products, sums and results, and how it rounds them.

All of them are sums of two or three products whose exact value is a power of two, or a number of few bits. A bit that
is in the result has been kept; how a bit can have been lost is what each probe leaves one answer for. The reasons are
in docs/fingerprint.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from arrconv_conformance.fingerprint.findings import Operand, Sums

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arrconv_conformance.data import Array
    from arrconv_conformance.fingerprint.subject import Subject

_UNIT = 2.0**14
"""The size of sums: beside it every format has room for 28 bits below, without subnormal numbers."""

_LIKELY = (7, 8, 10, 11, 16, 22, 23, 24, 28, 52, 53, 64)
"""Numbers of bits that are tried first, among them those of all formats and their successors."""

_REACHES = (14, 120, 1000)
"""Exponents that only float16, only float64, or all formats but float16 reach."""

_PATHS = 16
"""How many triples of products sums are judged by."""

_QUARTERS = {
    (0, 0, 1, 2): "to nearest, ties to even",
    (0, 1, 1, 2): "to nearest, ties away from zero",
    (0, 0, 0, 1): "towards zero",
    (1, 1, 1, 2): "away from zero",
}
"""What 1 + 1/4, 1 + 1/2, 1 + 3/4 and 2 + 1/2 units become, as units above 1."""


def bits_kept(kept: Callable[[Sequence[int]], Array], most: int) -> Array:
    """The largest number of bits up to which every number of bits that is tried is kept, column by column.

    Those behind the largest one of a coarse list that is kept are all tried, so the next one is known not to be.

    Args:
        kept: for some numbers of bits whether each is kept, as (numbers, columns).
        most: the largest number of bits.
    """
    known: dict[int, Array] = {}
    wanted = [bits for bits in _LIKELY if bits < most] + [most]
    while wanted:
        known |= dict(zip(wanted, kept(wanted), strict=True))
        order = sorted(known)
        whole = np.logical_and.accumulate([known[bits] for bits in order])
        counts = whole.sum(axis=0)
        found = np.array([0, *order])[counts]
        after = np.array([*order, most + 1])[counts]
        wanted = sorted({bits for low, high in zip(found, after, strict=True) for bits in range(low + 1, high)})
    result: Array = found
    return result


def _columns(*columns: Sequence[float]) -> Array:
    return np.array(columns, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Numbers in [1, 2) of so many fraction bits, of which the last one, every second one, and all are 1."""

    bits: int

    @property
    def all(self) -> Sequence[float]:
        alternating = sum(2.0**-bit for bit in range(self.bits, 0, -2))
        return 1 + 2.0**-self.bits, 1 + alternating, 2 - 2.0**-self.bits


def operand(subject: Subject, which: int) -> Operand:
    """What is kept of the numbers of an operand.

    Args:
        subject: whose.
        which: 0 for the first operand, 1 for the second.
    """

    def products(numbers: Array, others: Array) -> Array:
        return subject.products(numbers, others) if which == 0 else subject.products(others, numbers).T

    def kept(wanted: Sequence[int]) -> Array:
        numbers = np.array([number for bits in wanted for number in _Numbers(bits).all])
        last = np.repeat(2.0 ** -np.array(wanted, dtype=np.float64), 3)
        got = products(np.stack([numbers, numbers - last], axis=1), _columns((1, -1), (1, 0)))
        seen = (got[:, 0] == last) | (got[:, 1] == numbers)
        every: Array = np.all(seen.reshape(-1, 3), axis=1)[:, None]
        return every

    most = subject.format.fraction_bits
    [bits] = bits_kept(kept, most).tolist()
    role = subject.operands[which]
    reach = _reach(subject, which)
    if bits > most - 2:
        return Operand(role, bits, reach)
    unit = 2.0**-bits
    numbers = 1 + unit * np.array([[0.25], [0.5], [0.75], [1.5]])
    got = products(numbers, _columns((1,), (1.5,)))
    if got[2, 1] == 1.5 + unit:  # 1.5 + 1.125 units, rounded after the multiplication
        return Operand(role, bits, reach, at_least=True)
    return Operand(role, bits, reach, rounding=_rounding(got[:, 0], unit))


def _rounding(got: Array, unit: float) -> str:
    steps = (got - 1) / unit
    return _QUARTERS.get(tuple(steps.tolist()), "in another way")


def _reach(subject: Subject, which: int) -> int:
    """The largest exponent whose power of two the operand may be, out of `_REACHES`; 0 where it is none of them."""
    reaches = [reach for reach in _REACHES if reach <= farthest(subject)]
    large = np.array([[2.0**reach] for reach in reaches])
    got = subject.pairs(*((large, 1 / large) if which == 0 else (1 / large, large)))
    kept = np.logical_and.accumulate(got == 1)
    return [0, *reaches][int(kept.sum())]


def farthest(subject: Subject) -> int:
    """The largest of the tried powers of two that numbers of the dtype reach."""
    return max(reach for reach in _REACHES if reach <= -subject.format.smallest_exponent)


def sums(subject: Subject) -> Sums:
    """What is kept in sums of products, at the places where triples of products meet.

    The three products of a triple are 3/2, −3/2 and 2^−bits of a unit, each in each place. Two of the places are added
    first, and in two of three distributions that adds 2^−bits to a number that lies `bits` above it.
    """
    most = 28 if subject.format.smallest_exponent == -14 else subject.format.fraction_bits + 37
    marks, taps = _triples(subject)
    place = np.arange(marks.shape[1]) % 3

    def of(small: Array) -> Array:
        values = [np.roll([1.5, -1.5, number], turn)[place] for number in small for turn in range(3)]
        got = subject.products(_UNIT * np.array(values), marks, taps) / _UNIT
        return got.reshape(len(small), 3, len(marks))

    def kept(wanted: Sequence[int]) -> Array:
        small = 2.0 ** -np.array(wanted, dtype=np.float64)
        every: Array = np.all(of(small) == small[:, None, None], axis=1)
        return every

    bits = bits_kept(kept, most)
    smallest, largest = int(bits.min()), int(bits.max())
    if smallest == most:
        return Sums(smallest, largest, most)
    unit = 2.0**-smallest
    got = of(np.array([0.75 * unit]))[0][:, bits == smallest] / unit
    rounding = (
        "towards zero" if np.any(got == 0) else "to nearest" if np.isin(got, (0.75, 1)).all() else "in another way"
    )
    return Sums(smallest, largest, most, rounding)


def _triples(subject: Subject) -> tuple[Array, Array]:
    """Marks 1 at three places in each column, one of each class modulo 3, and the taps at which they lie.

    The places are i, i + 2^j and i + 2^(j+1): neighbours, the same lane of a vector, other blocks. Powers of two are
    no multiples of three, so these are of three classes.
    """
    depth, last = subject.depth, subject.taps - 1
    steps = [2**j for j in range(depth.bit_length()) if 2 ** (j + 1) < depth]
    places = [(0, step) for step in steps] + [(depth - 1 - 2 * step, step) for step in steps]
    spread = last > 0 and subject.result != "w"
    chosen = [(place, False) for place in places[: _PATHS // (1 + spread)]]
    if spread:
        chosen += [(place, True) for place in places[: _PATHS // 2]]
    marks = np.zeros((len(chosen), depth))
    taps = np.full(marks.shape, last // 2)
    for row, ((first, step), is_spread) in enumerate(chosen):
        at = [first, first + step, first + 2 * step]
        marks[row, at] = 1
        if is_spread:
            taps[row, at] = (0, last, last // 2)
    return marks, taps


def products(subject: Subject, operands: Sequence[Operand], kept_in_sums: int) -> int | None:
    """The fraction bits that are kept of a product, where they are fewer than those of operands and sums allow."""
    most = min(*(operand.bits for operand in operands), kept_in_sums // 2)
    if most < 1:
        return None
    half = np.sqrt(_UNIT)

    def kept(wanted: Sequence[int]) -> Array:
        small = 2.0 ** -np.array(wanted, dtype=np.float64)
        rows = np.stack([1 + small, 1 + 2 * small], axis=1)
        columns = np.stack([1 + small, -np.ones(len(small))], axis=1)
        got = subject.pairs(half * rows, half * columns) / _UNIT
        exact: Array = (got == small**2)[:, None]
        return exact

    [bits] = bits_kept(kept, most).tolist()
    return None if bits == most else 2 * bits


def results(subject: Subject) -> int:
    """The fraction bits that a result has."""

    def kept(wanted: Sequence[int]) -> Array:
        small = 2.0 ** -np.array(wanted, dtype=np.float64)
        got = subject.products(np.stack([np.full(len(small), 1.5), small], axis=1), _columns((1, 1)))
        exact: Array = got == 1.5 + small[:, None]
        return exact

    [bits] = bits_kept(kept, subject.format.fraction_bits).tolist()
    return int(bits)


def results_rounding(subject: Subject, bits: int) -> str:
    """How a sum is rounded to a result that is shorter."""
    unit = 2.0**-bits
    rows = np.array([(1, 0.25 * unit), (1, 0.5 * unit), (1, 0.75 * unit), (1 + unit, 0.5 * unit)])
    return _rounding(subject.products(rows, _columns((1, 1)))[:, 0], unit)


def rounds_before_bias(subject: Subject, bits: int) -> bool:
    """Whether a sum is rounded to the shorter result, and once more when the bias has been added.

    1 + 1/2 unit is rounded to 1, and with 1/4 unit more to 1 again; 1 + 3/4 units would be rounded to 1 + 1.
    """
    unit = 2.0**-bits
    [[got]] = subject.products(_columns((1, unit / 2)), _columns((1, 1)), bias=unit / 4)
    return bool(got == 1)


def flushed(subject: Subject) -> tuple[str, ...]:
    """Which subnormal numbers are replaced by zero: operands, products whose sum is normal, results."""
    smallest = subject.format.smallest_exponent
    tiny, large = 2.0 ** (smallest - 2), 2.0**10 if smallest == -14 else 2.0**30
    low, high = 2.0 ** (smallest // 2), 2.0 ** (smallest - smallest // 2)
    rows = _columns((tiny, 0), (large, 0), (low / 2, low / 2), (low / 4, 0))
    columns = _columns((large, 0), (tiny, 0), (high, high), (high, 0))
    got = subject.pairs(rows, columns)
    return tuple(
        name
        for name, value in zip((*subject.operands, "products", "results"), got, strict=True)
        if value == 0  # what is not zero is no flushing, whatever else it may be
    )


def mixes_parts(subject: Subject) -> bool:
    """Whether the parts of a complex product are computed from sums of both, so that a large one disturbs a small one.

    Of (1 + i·ε)·1 and three more like it both parts are exact if they are sums of products.
    """
    small = 2.0 ** -(subject.format.fraction_bits + 3)
    numbers = np.array([[1 + 1j * small], [small + 1j]])
    ones = np.ones((2, 1))
    got = np.concatenate([subject.pairs(numbers, ones), subject.pairs(ones, numbers)])
    parts = np.stack([np.abs(got.real), np.abs(got.imag)], axis=1)  # a gradient conjugates
    return bool(np.any(parts != [[1, small], [small, 1]] * 2))
