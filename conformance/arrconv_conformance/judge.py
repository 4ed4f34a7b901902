"""The verdict on one result: exact where every sum is exact, else within the derived bound, element by element."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from arrconv_conformance.data import Array
    from arrconv_conformance.exact import Exact

Outcome = Literal["agrees", "deviates", "refuses", "unsupported"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome, what there is to say about it, and the largest error as a share of its bound."""

    outcome: Outcome
    message: str = ""
    ratio: float = 0.0


def judge(got: Any, exact: Exact, bound: Array | None, dtype: str) -> Verdict:
    """The verdict on a result.

    Args:
        got: the result.
        exact: the exact result.
        bound: the largest error allowed, for each element; None allows none.
        dtype: the dtype that the result must have.
    """
    if not isinstance(got, np.ndarray):
        return Verdict("deviates", f"the result is a {type(got).__name__}, not an array")
    if got.shape != exact.integers.shape:
        return Verdict("deviates", f"the result has shape {got.shape}, not {exact.integers.shape}")
    if got.dtype != np.dtype(dtype):
        return Verdict("deviates", f"the result has dtype {got.dtype}, not {dtype}")
    wide = got.astype(np.float64)
    allowed = np.zeros(got.shape) if bound is None else bound
    nearest = np.ldexp(exact.integers.astype(np.float64), exact.exponent)  # correctly rounded, integer by integer
    errors = np.abs(wide - nearest)
    # The error of `nearest` and of the subtraction are less than this; beyond it only fractions can tell.
    doubt = 2.0**-52 * np.abs(nearest) + 2.0**-52 * errors
    # Integers of 53 bits are not rounded at all, so a difference of zero from them is none.
    hit = (errors == 0) & (np.abs(exact.integers) <= 2**53) & (exact.exponent > -1022)
    wrong = [
        tuple(int(i) for i in index)
        for index in np.argwhere(~(hit | (errors + doubt <= allowed)))
        if not _within(wide[tuple(index)], exact.fraction(tuple(index)), allowed[tuple(index)])
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(errors == 0, 0.0, errors / allowed)
    if not wrong:
        return Verdict("agrees", ratio=float(np.max(shares, initial=0.0)))
    worst = max(wrong, key=lambda index: np.nan_to_num(errors[index], nan=np.inf))
    limit = "must be exact" if bound is None else f"may err by {allowed[worst]:.3g}"
    return Verdict(
        "deviates",
        f"{len(wrong)} of {got.size} elements are wrong; {worst} is {float(wide[worst])!r}, "
        f"exactly {float(nearest[worst])!r}, and {limit}",
        ratio=float(shares[worst]),
    )


def _within(got: float, exact: Fraction, allowed: float) -> bool:
    if not np.isfinite(got):
        return False
    return abs(Fraction(float(got)) - exact) <= Fraction(float(allowed))
