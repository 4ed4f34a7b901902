"""Weaker arithmetic: which one a wrong value would be right for, where there is one.

That a result is off by rounding of a known kind says more than by how much it is off, and lets an expectation name
that kind, so that it explains nothing that is worse.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from arrconv_conformance.claims import Claim
from arrconv_conformance.data import PARTS
from arrconv_conformance.judge import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrconv import Arithmetic
    from arrconv_conformance.question import Expected, Question

_VALUES = ("exact", "bound", "statistics")

_THREE_PRODUCTS = 6
"""By how much the bound of complex products of three real ones, of sums of the parts, exceeds that of four: for K
products (2K + 6)·u·B of the imaginary part, where four are bounded by √2·K·u·B."""


def explained_by_weaker(verdict: Verdict, got: Any, question: Question, need: str) -> Verdict:
    """The verdict on a result, with the first weaker arithmetic in its message that the result does agree with.

    Args:
        verdict: the verdict under the claim of the question.
        got: the result.
        question: the question.
        need: the name of the result in `Question.expected`.
    """
    if verdict.kind not in _VALUES or question.claim.arithmetic is None:
        return verdict
    for name, expected, claim in _weaker(question, need):
        if judge(got, expected, claim, str(question.case.data), bias="bias" in question.operands).outcome == "agrees":
            return replace(verdict, message=f"{verdict.message}; as with {name}")
    return verdict


def is_weaker(verdict: Verdict) -> bool:
    """Whether a weaker arithmetic was found for a verdict."""
    return "; as with " in verdict.message


def _weaker(question: Question, need: str) -> Iterator[tuple[str, Expected, Claim]]:
    """What a result must be under weaker claims than that of the question, and the names of these."""
    claim = question.claim
    assert claim.arithmetic is not None
    expected = question.expected[need]
    if str(question.case.dtype) in PARTS and expected.allowed is not None:
        larger = replace(expected, allowed=_THREE_PRODUCTS * expected.allowed)
        yield "three real products for a complex one", larger, claim
    for name, arithmetic in _arithmetics(claim.arithmetic):
        weak = Claim(arithmetic, claim.outputs)
        yield name, replace(question, claim=weak).expected[need], weak


def _arithmetics(claimed: Arithmetic) -> Iterator[tuple[str, Arithmetic]]:
    """Arithmetics weaker than a claimed one that hardware and libraries are known for, and their names."""
    match claimed.input, claimed.accumulate:
        case "float64", "float64":
            yield "float32 throughout", replace(claimed, input="float32", accumulate="float32", output="float32")
        case "float32", "float32":
            yield "inputs in TF32", replace(claimed, input="tf32")
            yield "inputs in bfloat16", replace(claimed, input="bfloat16")
        case ("float16" | "bfloat16") as narrow, "float32":
            yield f"sums in {narrow}", replace(claimed, accumulate=narrow)
    if not claimed.flushes_subnormals:
        yield "subnormals flushed", replace(claimed, flushes_subnormals=True)
