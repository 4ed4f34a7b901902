"""The arrays of a case, made from its text alone by a generator that is a few lines in any language.

Word i of a stream is SplitMix64's mixing function applied to seed + (i + 1)·0x9E3779B97F4A7C15 modulo 2^64, with the
seed the 64-bit FNV-1a hash of a UTF-8 text: `<geometry> <data> <role>` for an operand, with ` imaginary` behind it for
the second part of a complex one. Everything made of the words is integer arithmetic, one exact multiplication by a
power of two, and at most one rounding to nearest, ties to even. (G. L. Steele, D. Lea, C. H. Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014; G. Fowler, L. C. Noll, K.-P. Vo, "FNV hash".)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.bounds import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, Any]

FLOATS = ("float32", "float64", "float16", "bfloat16")
COMPLEX = ("complex64", "complex128")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")
DTYPES = FLOATS + COMPLEX + INTEGERS
PARTS = {"complex64": "float32", "complex128": "float64"}

_MASK = 2**64 - 1
_LARGEST_INTEGER = 9


def numpy_dtype(name: str) -> np.dtype[Any]:
    """NumPy's dtype of a name; bfloat16 is ml_dtypes'.

    Raises:
        ImportError: it is bfloat16, and ml_dtypes is not installed.
    """
    if name == "bfloat16":
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return found
    return np.dtype(name)


def is_available(dtype: str) -> bool:
    """Whether arrays of the dtype can be made here."""
    return dtype != "bfloat16" or find_spec("ml_dtypes") is not None


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


@dataclass(frozen=True, slots=True)
class Wanted:
    """One real part of an operand: what a data set makes.

    Args:
        text: what the stream depends on.
        shape: the shape.
        dtype: the dtype of the part.
        factor: 0 or 1 for the two factors of a product, 2 for a bias.
    """

    text: str
    shape: tuple[int, ...]
    dtype: str
    factor: int

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def fraction_bits(self) -> int:
        """Those of the dtype."""
        return FORMATS[self.dtype].fraction_bits

    def words(self, each: int = 1) -> Array:
        """`each` words for every element, as (size, each)."""
        return stream(self.text, self.size * each).reshape(self.size, each)

    def scaled(self, integers: Array, exponent: int | Array = 0) -> Array:
        """Integers times a power of two, rounded to the dtype, in the shape."""
        numbers = integers.astype(np.float64) if self.dtype in FORMATS else integers
        if self.dtype in FORMATS:
            numbers = np.ldexp(numbers, exponent)
        return numbers.astype(numpy_dtype(self.dtype)).reshape(self.shape)


def _integers(wanted: Wanted) -> Array:
    return wanted.scaled(_small(wanted))


def _small(wanted: Wanted) -> Array:
    values = ((wanted.words()[:, 0] >> np.uint64(33)) % np.uint64(2 * _LARGEST_INTEGER + 1)).astype(np.int64)
    return values if wanted.dtype == "uint8" else values - _LARGEST_INTEGER


def _ones(wanted: Wanted) -> Array:
    return wanted.scaled(np.ones(wanted.size, np.int64))


def _count(wanted: Wanted) -> Array:
    return wanted.scaled(np.arange(wanted.size, dtype=np.int64) % 9 + 1)


def _sparse(wanted: Wanted) -> Array:
    kind = (wanted.words()[:, 0] >> np.uint64(60)).astype(np.int64)  # 0 … 15
    if wanted.dtype not in FORMATS:
        return wanted.scaled((kind < 4).astype(np.int64))
    magnitude = wanted.scaled((kind < 4).astype(np.int64))
    return np.where((kind % 2 == 0).reshape(wanted.shape), magnitude, -magnitude)  # zeros of both signs, too


def _halves(wanted: Wanted) -> Array:
    """As `_small`, but half of them are zero."""
    values = _small(wanted)
    return np.where(wanted.words()[:, 0] >> np.uint64(63) == 0, values, 0)


def _extremes(wanted: Wanted) -> Array:
    return wanted.words()[:, 0].astype(numpy_dtype(wanted.dtype)).reshape(wanted.shape)  # modulo 2^bits


def _uniform(wanted: Wanted) -> Array:
    p = wanted.fraction_bits
    return wanted.scaled((wanted.words()[:, 0] >> np.uint64(63 - p)).astype(np.int64) - 2**p, 1 - p)


def _bell(wanted: Wanted, words: Array) -> Array:
    """Four uniform numbers of p + 1 bits added up (Irwin and Hall): nearly normal, in −2^(p+2) … 2^(p+2) − 4."""
    p = wanted.fraction_bits
    sums: Array = ((words[:, :4] >> np.uint64(63 - p)).astype(np.int64) - 2**p).sum(axis=1)
    return sums


def _normal(wanted: Wanted) -> Array:
    return wanted.scaled(_bell(wanted, wanted.words(4)), -wanted.fraction_bits)


def _wide(wanted: Wanted) -> Array:
    words = wanted.words(5)
    bits = 8 if wanted.dtype == "float16" else 32  # the standard deviation of the exponent is √2 or √8
    exponents = np.bitwise_count(words[:, 4] >> np.uint64(64 - bits)).astype(np.int64) - bits // 2
    rounded = wanted.scaled(_bell(wanted, words), -wanted.fraction_bits).reshape(-1)
    spread: Array = np.ldexp(rounded.astype(np.float64), exponents).astype(rounded.dtype)
    return spread.reshape(wanted.shape)


def _positive(wanted: Wanted) -> Array:
    p = wanted.fraction_bits
    return wanted.scaled((wanted.words()[:, 0] >> np.uint64(63 - p)).astype(np.int64) + 1, -p)


def _cancelling(wanted: Wanted) -> Array:
    """1 + u/64, with the sign (−1)^(sum of the indices) in the second factor, so that neighbours cancel."""
    p = wanted.fraction_bits
    values = 2**p + ((wanted.words()[:, 0] >> np.uint64(64 - p)).astype(np.int64) >> 6)
    if wanted.factor == 1:
        indices = sum(np.indices(wanted.shape, sparse=True), start=np.zeros((), np.int64))
        values = np.where(np.broadcast_to(indices % 2 == 0, wanted.shape).reshape(-1), values, -values)
    return wanted.scaled(values, -p)


def _subnormal(wanted: Wanted) -> Array:
    return wanted.scaled(_small(wanted), 0 if wanted.factor == 1 else FORMATS[wanted.dtype].lowest_exponent)


def _underflow(wanted: Wanted) -> Array:
    lowest = FORMATS[wanted.dtype].lowest_exponent
    return wanted.scaled(_small(wanted), (lowest // 2, lowest - lowest // 2, lowest)[wanted.factor])


def _tall(wanted: Wanted) -> Array:
    """±128 … ±256: sums of a few products pass beyond float16's largest number, and come back."""
    p, words = wanted.fraction_bits, wanted.words()[:, 0]
    magnitudes = 2**p + (words >> np.uint64(64 - p)).astype(np.int64)
    return wanted.scaled(np.where(words % np.uint64(2) == 0, magnitudes, -magnitudes), 7 - p)


@dataclass(frozen=True, slots=True)
class DataSet:
    """How the numbers of an operand are made, for which dtypes, and whether a single element is special."""

    make: Callable[[Wanted], Array]
    dtypes: tuple[str, ...]
    special: str | None = None


_INEXACT = FLOATS + COMPLEX

DATA_SETS = {
    "integers": DataSet(_integers, DTYPES),
    "sparse": DataSet(_sparse, DTYPES),
    "extremes": DataSet(_extremes, INTEGERS),
    "uniform": DataSet(_uniform, _INEXACT),
    "normal": DataSet(_normal, _INEXACT),
    "wide": DataSet(_wide, _INEXACT),
    "positive": DataSet(_positive, _INEXACT),
    "cancelling": DataSet(_cancelling, _INEXACT),
    "subnormal": DataSet(_subnormal, _INEXACT),
    "underflow": DataSet(_underflow, _INEXACT),
    "tall": DataSet(_tall, ("float16",)),
    "nan": DataSet(lambda wanted: wanted.scaled(_halves(wanted)), _INEXACT, "nan"),
    "inf": DataSet(lambda wanted: wanted.scaled(_halves(wanted)), _INEXACT, "inf"),
    "huge": DataSet(lambda wanted: wanted.scaled(_halves(wanted)), _INEXACT, "huge"),
    "count": DataSet(_count, DTYPES),
    "ones": DataSet(_ones, DTYPES),
}
"""All data sets by name. `count` and `ones` are for people: failures are reduced to them where that is possible."""


def operand(text: str, shape: tuple[int, ...], data: str, dtype: str, factor: int) -> Array:
    """An operand of a case, without a special element.

    Args:
        text: `<geometry> <data> <role>`.
        shape: its shape.
        data: one of the data sets.
        dtype: a dtype that the data set has.
        factor: 0 or 1 for the two factors of a product, 2 for a bias.
    """
    part = PARTS.get(dtype, dtype)
    real = DATA_SETS[data].make(Wanted(text, shape, part, factor))
    if dtype not in PARTS:
        return real
    result = np.empty(shape, dtype)  # part by part: 1j·NaN would make both parts NaN
    result.real, result.imag = real, DATA_SETS[data].make(Wanted(f"{text} imaginary", shape, part, factor))
    return result


def special_value(data: str, dtype: str) -> float:
    """The value of the one special element: NaN, infinity, or 2^(e − 7) with e the largest exponent of the dtype."""
    if DATA_SETS[data].special == "huge":
        return 2.0 ** (1 - FORMATS[PARTS.get(dtype, dtype)].smallest_exponent - 7)
    return math.nan if DATA_SETS[data].special == "nan" else math.inf
