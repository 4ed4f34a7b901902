"""The verdict on one result: exact where every sum is exact, else within the derived bound, element by element.

Results with many elements get a verdict on all errors together as well, see `statistics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from arrconv_conformance.data import numpy_dtype
from arrconv_conformance.statistics import FEWEST_OUTPUTS, Statistics, statistics

if TYPE_CHECKING:
    from arrconv_conformance.claims import Claim
    from arrconv_conformance.data import Array
    from arrconv_conformance.question import Expected

Outcome = Literal["agrees", "deviates", "refuses", "crashes", "hangs", "unsupported"]
Kind = Literal["exact", "bound", "statistics", "behaviour", "form", ""]

UNBIASED_DATA = ("uniform", "normal", "wide")
"""The data sets of either sign, for which the sum of all errors has a limit too."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a check.

    Args:
        outcome: `agrees`; `deviates` from what it must be; `refuses` by raising; `crashes` or `hangs`, the process
            with it; or `unsupported`, which is no failure.
        message: what there is to say about it.
        kind: which verdict a deviation is of: `exact`, `bound`, `statistics`, `behaviour`, or `form` (no array of the
            shape and dtype).
        ratio: the largest error as a share of its bound.
        share: the largest statistic as a share of its limit.
        varies: whether a second call gave other bits; None where none was made.
    """

    outcome: Outcome
    message: str = ""
    kind: Kind = ""
    ratio: float = 0.0
    share: float = 0.0
    varies: bool | None = None


def judge(got: Any, expected: Expected, claim: Claim, data: str, *, bias: bool = False) -> Verdict:
    """The verdict on a result.

    Args:
        got: the result.
        expected: what it must be.
        claim: the arithmetic that it is held to.
        data: the data set it was made of.
        bias: whether a bias was added.
    """
    exact = expected.exact
    if not isinstance(got, np.ndarray):
        return Verdict("deviates", f"the result is a {type(got).__name__}, not an array", "form")
    if got.shape != exact.high.shape:
        return Verdict("deviates", f"the result has shape {got.shape}, not {exact.high.shape}", "form")
    if got.dtype not in [numpy_dtype(dtype) for dtype in claim.outputs]:
        return Verdict("deviates", f"the result has dtype {got.dtype}, not {' or '.join(claim.outputs)}", "form")
    if expected.allowed is None:
        return _judge_integers(got, exact.high)
    verdict = _judge_elements(got, expected, claim)
    if verdict.outcome != "agrees" or got.size < FEWEST_OUTPUTS or not _has_statistics(expected, claim):
        return verdict
    return _judge_together(got, expected, claim, data, bias, verdict)


def _judge_integers(got: Array, exact: Array) -> Verdict:
    right = exact.astype(got.dtype)  # modulo 2^bits
    wrong = np.argwhere(got != right)
    if not len(wrong):
        return Verdict("agrees")
    index = tuple(wrong[0].tolist())
    return Verdict(
        "deviates",
        f"{len(wrong)} of {got.size} elements are wrong; {index} is {got[index]}, exactly {right[index]}",
        "exact",
    )


def _judge_elements(got: Array, expected: Expected, claim: Claim) -> Verdict:
    exact, allowed = expected.exact, expected.allowed
    assert allowed is not None
    assert claim.arithmetic is not None
    wide = got.astype(np.complex128 if got.dtype.kind == "c" else np.float64)
    must_be_exact = allowed == 0
    with np.errstate(invalid="ignore", over="ignore"):
        nearest = np.where(must_be_exact, _rounded(exact.high, claim.arithmetic.output), exact.high)
        errors = np.abs((wide - nearest) - np.where(must_be_exact, 0.0, exact.low))
        # What the subtractions above may have lost is in favour of the framework.
        certain, lost = np.where(must_be_exact, errors, errors * (1 - 2.0**-51)), 2.0**-104 * np.abs(exact.high)
        hit = certain <= allowed + np.where(must_be_exact, 0.0, lost)
        hit |= np.isinf(allowed)
    if exact.special is not None:
        hit = _with_special(hit, wide, exact.special, exact.padded)
    wrong = np.argwhere(~hit)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shares = np.where((errors == 0) | np.isinf(allowed), 0.0, errors / allowed)
    if not len(wrong):
        judged = shares if exact.special is None else shares[exact.special == 0]
        return Verdict("agrees", ratio=float(np.max(judged, initial=0.0, where=np.isfinite(judged))))
    worst = tuple(wrong[np.argmax(np.nan_to_num(errors[~hit], nan=np.inf))].tolist())
    return Verdict("deviates", *_complaint(wide, len(wrong), worst, nearest, expected), ratio=float(shares[worst]))


def _complaint(got: Array, count: int, worst: tuple[int, ...], nearest: Array, expected: Expected) -> tuple[str, Kind]:
    special, allowed = expected.exact.special, expected.allowed
    assert allowed is not None
    found = f"{count} of {got.size} elements are wrong; {worst} is {got[worst].item()!r}"
    if special is not None and special[worst] != 0:
        must = "a number that is not finite" if got.dtype.kind == "c" else repr(special[worst].item())
        return f"{found}, and must be {must}", "exact"
    if allowed[worst] == 0:
        return f"{found}, exactly {nearest[worst].item()!r}, and must be exact", "exact"
    return f"{found}, exactly {nearest[worst].item()!r}, and may err by {allowed[worst]:.3g}", "bound"


def _with_special(hit: Array, got: Array, special: Array, padded: Array | None) -> Array:
    """Where numbers that are not finite must be, they are the right ones; where they may be, they are right, too."""
    identical = (got == special) | (np.isnan(got) & np.isnan(special))
    same = ~np.isfinite(got) if got.dtype.kind == "c" else identical
    hit = np.where(special == 0, hit & np.isfinite(got), same)
    return hit if padded is None else hit | (padded & ~np.isfinite(got))


def _has_statistics(expected: Expected, claim: Claim) -> bool:
    """Whether the limits are for this result: a real one that is rounded everywhere, of inputs that are not."""
    arithmetic, allowed = claim.arithmetic, expected.allowed
    if arithmetic is None or allowed is None or expected.exact.high.dtype.kind == "c":
        return False
    rounds_inputs = arithmetic.input_roundoff(claim.outputs[0]) > 0
    return not rounds_inputs and expected.exact.special is None and bool(np.all((allowed > 0) & np.isfinite(allowed)))


def _judge_together(got: Array, expected: Expected, claim: Claim, data: str, bias: bool, verdict: Verdict) -> Verdict:
    exact = expected.exact
    assert claim.arithmetic is not None
    assert expected.magnitude is not None
    found = statistics(got, exact.high, exact.low, expected.magnitude, expected.terms, claim.arithmetic, bias=bias)
    share = max(found.largest, found.mean_square, found.bias if data in UNBIASED_DATA else 0.0)
    if found.within and (found.unbiased or data not in UNBIASED_DATA):
        return Verdict("agrees", ratio=verdict.ratio, share=share)
    return Verdict("deviates", _statistical_complaint(found, got.size), "statistics", verdict.ratio, share)


def _statistical_complaint(found: Statistics, count: int) -> str:
    return (
        f"the errors of {count} elements together exceed what the claimed arithmetic makes: as shares of their limits "
        f"the largest is {found.largest:.3g}, their mean square {found.mean_square:.3g}, their sum {found.bias:.3g}"
    )


def _rounded(numbers: Array, output: str) -> Array:
    """Numbers rounded to a format, as float64; TF32 is no format of an output."""
    if numbers.dtype.kind == "c":
        result = np.empty(numbers.shape, np.complex128)
        result.real, result.imag = _rounded(numbers.real, output), _rounded(numbers.imag, output)
        return result
    if output == "bfloat16":  # ml_dtypes rounds to float32 first; to odd, that does no harm
        numbers = _rounded_to_odd(numbers)
    return numbers.astype(numpy_dtype(output)).astype(np.float64)


def _rounded_to_odd(numbers: Array) -> Array:
    """As float32, what is inexact truncated with its last bit set, so that a later rounding to less sees it."""
    single = numbers.astype(np.float32)
    above = np.abs(single.astype(np.float64)) > np.abs(numbers)
    inexact = np.isfinite(single) & (single != numbers)
    bits = single.view(np.uint32) - above  # of the magnitude, whatever the sign
    odd: Array = np.where(inexact, bits | np.uint32(1), single.view(np.uint32)).astype(np.uint32).view(np.float32)
    return odd
