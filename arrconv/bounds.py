"""A priori bounds of the rounding error of a sum of products, for any order of summation.

    E = ((1 + u_in)² · (1 + K'·u_acc) − 1) · B + K'·η_acc                        in the accumulator
    E + u_out · (|y| + E) + η_out/2                                              where the output is narrower

B is the same sum over the absolute values, K' the number of products, one more with a bias, u the unit roundoff and
η the smallest subnormal number of a format; where subnormal results are flushed, its smallest normal number.

A convolution by the Fourier transform has another error, in which norms of whole arrays take the place of B:
`error_by_fft`.

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


_PER_DOUBLING = 14
"""Units of rounding that a transform's 2-norm loses for each doubling of its length, whatever radices of 2, 3 and 5.

A stage of radix p is a matrix with p entries of modulus 1 in each row: it multiplies 2-norms by √p, those of absolute
values by p. With twiddle factors right to 2u, products to √8·u and p − 1 additions, it errs by √p·((2 + √8)·m + p − 1)
units, where m is 1 for p = 2, and 2 for the others, which multiply by roots of unity, too. Divided by log₂ p that is
8.3, 12.7 and 13.2.
"""


def error_by_fft(norms: FourierNorms, length: int, arithmetic: Arithmetic, dtype: str) -> Array:
    """A bound of the error of a correlation by the Fourier transform, in float64.

    With ε the relative error of a transform in the 2-norm, that of a sum over C channels of products of transforms is

        |ŷ − y| ≤ Σ_c (2ε + 4C·u)·‖x_c‖₂·‖w_c‖₂ + ε·min(Σ_c ‖x_c‖₂·‖w_c‖₁, Σ_c ‖x_c‖₁·‖w_c‖₂)

    up to terms of second order: the first part by the inequality of Cauchy and Schwarz over all frequencies, the second
    from the inverse transform, whose argument has at most the norm in the parenthesis.

    Args:
        norms: of the arrays.
        length: of the transforms, the product over all axes.
        arithmetic: the claimed arithmetic.
        dtype: the dtype of the arrays that were multiplied.

    Source: N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., 2002, theorem 24.2 (for radix 2).
    """
    accumulate, output = FORMATS[arithmetic.accumulate], FORMATS[arithmetic.output]
    u, doublings = accumulate.roundoff, max(1, length.bit_length())
    transforming = _PER_DOUBLING * doublings * u
    rounding = arithmetic.input_roundoff(dtype)
    relative = 2 * transforming + 4 * norms.channels * u + rounding * (2 + rounding)
    error = norms.product * (relative + u) + transforming * norms.crossed  # u more for a bias that is added
    tiny = accumulate.smallest_normal if arithmetic.flushes_subnormals else accumulate.smallest_subnormal
    error = error * (1 + 4 * relative) + tiny * 8 * length * doublings * norms.largest
    if arithmetic.rounds_output:
        least = output.smallest_normal if arithmetic.flushes_subnormals else output.smallest_subnormal / 2
        error = error + output.roundoff * (norms.product + 2 * error) + least
    return error * (1 + (norms.channels + length.bit_length() + 16) * _SLACK)


@dataclass(frozen=True, slots=True)
class FourierNorms:
    """What the error of a correlation by the Fourier transform depends on, for each kernel and image, or for all.

    Attributes:
        product: Σ_c ‖x_c‖₂·‖w_c‖₂, and |b|; also a bound of |y|.
        crossed: min(Σ_c ‖x_c‖₂·‖w_c‖₁, Σ_c ‖x_c‖₁·‖w_c‖₂).
        largest: (1 + ‖x_c‖₂)·(1 + ‖w_c‖₂), or more.
        channels: C.
    """

    product: Array
    crossed: Array
    largest: Array
    channels: int
