"""A priori bounds of the rounding error of a sum of products, for any order of summation.

    E = ((1 + u_in)² · (1 + K'·u_acc) − 1) · B + K'·η_acc                        in the accumulator
    E + u_out · (|y| + E) + η_out/2                                              where the output is narrower

B is the same sum over the absolute values, K' the number of products, one more with a bias, u the unit roundoff and
η the smallest subnormal number of a format; where subnormal results are flushed, its smallest normal number.

Sources: C.-P. Jeannerod, S. M. Rump, "Improved error bounds for inner products in floating-point arithmetic", SIAM J.
Matrix Anal. Appl. 34, 2013 (K·u holds without a term of second order); N. J. Higham, "Accuracy and Stability of
Numerical Algorithms", 2nd ed., 2002, sections 3.1 and 4.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrconv.errors import SpecError

if TYPE_CHECKING:
    from arrconv._namespace import Array

_SLACK = 2.0**-52  # twice the unit roundoff of float64, in which B and the bound itself are computed


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format: bits of the stored fraction, and the exponent of its smallest normal number."""

    fraction_bits: int
    smallest_exponent: int

    @property
    def roundoff(self) -> float:
        """The unit roundoff u = 2^−(fraction_bits + 1) of rounding to nearest."""
        return 2.0 ** -(self.fraction_bits + 1)

    @property
    def smallest_normal(self) -> float:
        """The smallest normal number."""
        return 2.0**self.smallest_exponent

    @property
    def smallest_subnormal(self) -> float:
        """The smallest subnormal number, the spacing of numbers below the smallest normal."""
        return math.ldexp(1.0, self.lowest_exponent)

    @property
    def lowest_exponent(self) -> int:
        """The exponent of the smallest subnormal number."""
        return self.smallest_exponent - self.fraction_bits

    @property
    def largest(self) -> float:
        """The largest finite number; the exponents of normal numbers lie about that of 1."""
        return math.ldexp(2 - 2.0**-self.fraction_bits, 1 - self.smallest_exponent)


FORMATS = {
    "float16": Format(10, -14),
    "bfloat16": Format(7, -126),
    "tf32": Format(10, -126),
    "float32": Format(23, -126),
    "float64": Format(52, -1022),
}


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The arithmetic that a convolution claims: three of `float16`, `bfloat16`, `tf32`, `float32` and `float64`.

    `input` is the format to which x, w and gy are rounded before they are multiplied (that of the arrays, if they are
    not), `accumulate` that in which products are added, and `output` that of the result. `flushes_subnormals` says
    that subnormal results may be replaced by zero on the way. Where inputs are rounded or flushed first, they are taken
    to be zero or normal numbers of that format: the relative error of a number below those has no bound.

    >>> Arithmetic.of("float16")
    Arithmetic(input='float16', accumulate='float32', output='float16', flushes_subnormals=False)
    """

    input: str
    accumulate: str
    output: str
    flushes_subnormals: bool = False

    def __post_init__(self) -> None:
        for role in (self.input, self.accumulate, self.output):
            if not isinstance(role, str) or role not in FORMATS:
                raise SpecError(f"{role!r} is no known format; the formats are {', '.join(FORMATS)}")

    @classmethod
    def of(cls, dtype: str) -> Arithmetic:
        """The arithmetic of arrconv itself for arrays of a dtype; a complex one computes in that of its parts."""
        part = {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
        return cls(part, "float32" if part in ("float16", "bfloat16") else part, part)

    @property
    def rounds_output(self) -> bool:
        """Whether the result is rounded once more: the output has fewer bits or less range than the accumulator."""
        output, accumulate = FORMATS[self.output], FORMATS[self.accumulate]
        shorter = output.fraction_bits < accumulate.fraction_bits
        return shorter or output.smallest_subnormal > accumulate.smallest_subnormal

    def input_roundoff(self, dtype: str) -> float:
        """The relative error of rounding an array's elements to the input format; 0 where they are of it already."""
        given = FORMATS[Arithmetic.of(dtype).input]
        target = FORMATS[self.input]
        return target.roundoff if target.fraction_bits < given.fraction_bits else 0.0


def error_in_sum(magnitude: Array, result: Array, terms: int, arithmetic: Arithmetic, dtype: str) -> Array:
    """E for each element, in float64.

    Args:
        magnitude: B, computed in float64.
        result: |y| or more, computed in float64; used where the output is narrower than the accumulator.
        terms: K', the number of terms added.
        arithmetic: the claimed arithmetic.
        dtype: the dtype of the arrays that were multiplied.
    """
    accumulate, output = FORMATS[arithmetic.accumulate], FORMATS[arithmetic.output]
    # B came out of a float64 sum of `terms` terms; raised by its own error it is a true upper bound.
    magnitude = magnitude * (1 + (terms + 4) * _SLACK)
    rounding, summing = arithmetic.input_roundoff(dtype), terms * accumulate.roundoff
    rounding = rounding * (2 + rounding)
    relative = rounding + summing + rounding * summing  # the product minus one, without its cancellation
    flushes = arithmetic.flushes_subnormals
    error = magnitude * relative + terms * (accumulate.smallest_normal if flushes else accumulate.smallest_subnormal)
    if arithmetic.rounds_output:
        # |y| in the accumulator exceeds the exact |y| by the error at most, and so does `result` fall short of it.
        tiny = output.smallest_normal if flushes else output.smallest_subnormal / 2
        error = error + output.roundoff * (result + 2 * error) + tiny
    return error * (1 + 8 * _SLACK)
