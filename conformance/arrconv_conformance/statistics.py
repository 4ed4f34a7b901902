"""The verdict on all elements of a result together, which finds a lower precision that hides under their bounds.

Each error is measured in units of the largest error of rounding B = Σ|x||w| + |b| to the output, and for T outputs
there are three limits:

    e = (got − exact) / max(B·2^−(1+p_out), smallest normal)        K'' = ⌈K / 2^((p_acc − p_out)/2)⌉, + 1 with a bias
    |e| ≤ 2·K'' for each        Σe² ≤ 1.6·K''·T        |Σe| ≤ √(16·K''·T)

p is the number of fraction bits of the accumulator and of the output, the smallest normal number that of the output.
The first limit, like any bound of a single sum, must allow for K roundings that all go one way. Those of a whole result
do not: the mean of e² grows like K, not like K², and the second limit holds it to that.

The numbers: K roundings that are uniform in ±1 unit have the variance K/3 < 0.4·K; the 2 of the first limit, and its
square 4 in 1.6 = 4·0.4, allow rounding modes other than to nearest; √(16·K''·T) is four standard deviations of a sum
of T errors of variance K''.

Source: Arm Ltd., "TOSA Specification", version 1.0, 2025, chapter "Introduction", section "Compliance", subsection
"Dot product accuracy requirements", with the pseudocode `tosa_reference_check_dotproduct`; its "Appendix A" has the
data sets for the third limit and the least number of outputs. Later versions widen the first limit for float32 in
favour of products split into bfloat16 parts, which is not taken over. TOSA sets no limit where B is near the overflow
of the output; here nothing must overflow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from arrconv.bounds import FORMATS

if TYPE_CHECKING:
    from arrconv import Arithmetic
    from arrconv_conformance.data import Array

FEWEST_OUTPUTS = 1000
"""TOSA's MIN_DOT_PRODUCTS: a result with fewer elements says little about a mean."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Three statistics of the errors of a result, each as a share of its limit; above 1 the limit is exceeded.

    `largest` is the share of the largest error, `mean_square` that of the sum of squares, `bias` that of the sum.
    """

    largest: float
    mean_square: float
    bias: float

    @property
    def within(self) -> bool:
        """Whether the two limits are kept that hold for all data."""
        return max(self.largest, self.mean_square) <= 1

    @property
    def unbiased(self) -> bool:
        """Whether the limit of the sum of errors is kept, to be asked of data of either sign without a bias alone.

        Sums that favour one sign, or share a large term, are rounded alike, so that their errors need not cancel.
        """
        return self.bias <= 1


def statistics(
    got: Array, high: Array, low: Array, magnitude: Array, products: int, claimed: Arithmetic, *, bias: bool = False
) -> Statistics:
    """The statistics of a real result.

    An element with a magnitude of zero must be exactly zero. Where the exact value is not finite, the element must be
    the same NaN or infinity; elsewhere it must be finite. A single element that fails here exceeds every limit. A
    complex result is two real ones with twice the products.

    Args:
        got: the result, in any floating-point format.
        high: the exact value, rounded to float64. Where the claimed arithmetic rounds its inputs first, it is that of
            the rounded inputs, and so is `magnitude`: what that rounding costs is not in the limits.
        low: what `high` lacks; high + low is the exact value to about 2^-106.
        magnitude: B, in float64.
        products: K, the largest number of products in one sum.
        claimed: the arithmetic that the result claims. An output wider than the accumulator, which TOSA does not
            know, is taken to have no more precision and range than that.
        bias: whether a bias was added to every sum.
    """
    accumulate, output = FORMATS[claimed.accumulate], FORMATS[claimed.output]
    fraction_bits = min(accumulate.fraction_bits, output.fraction_bits)
    smallest_normal = max(accumulate.smallest_normal, output.smallest_normal)
    terms = math.ceil(products / 2 ** ((accumulate.fraction_bits - fraction_bits) / 2)) + bias
    errors = _scaled(got.astype(np.float64), high, low, magnitude, fraction_bits, smallest_normal)
    if not np.all(np.isfinite(errors)):
        return Statistics(math.inf, math.inf, math.inf)
    if not errors.any():  # nor is there a limit to divide by where nothing was added, or where there is no output
        return Statistics(0.0, 0.0, 0.0)
    with np.errstate(over="ignore"):
        squares = float(np.sum(errors**2))
        total = abs(float(np.sum(errors)))
    return Statistics(
        largest=float(np.max(np.abs(errors))) / (2 * terms),
        mean_square=squares / (1.6 * terms * errors.size),
        bias=total / math.sqrt(16 * terms * errors.size),
    )


def _scaled(got: Array, high: Array, low: Array, magnitude: Array, fraction_bits: int, smallest_normal: float) -> Array:
    """The scaled error e of each element; infinite where no error at all is allowed, and there is one."""
    with np.errstate(over="ignore", invalid="ignore"):
        errors = (got - high) - low
        scaled = errors / np.maximum(magnitude * 2.0 ** -(1 + fraction_bits), smallest_normal)
    must_be_zero = np.isfinite(high) & (magnitude == 0)
    scaled = np.where(must_be_zero & (got != 0), np.inf, scaled)
    same = (got == high) | (np.isnan(got) & np.isnan(high))
    return np.where(np.isfinite(high), scaled, np.where(same, 0.0, np.inf))
