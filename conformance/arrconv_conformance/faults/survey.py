"""A survey: which check of a plan finds each planted fault first."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv_conformance.asking import Asker
from arrconv_conformance.claims import Claim
from arrconv_conformance.exact import LARGEST_LIST, Products
from arrconv_conformance.faults.call import Call
from arrconv_conformance.faults.fault import Fault, Planted
from arrconv_conformance.question import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from arrconv import Geometry
    from arrconv_conformance.cases import Case
    from arrconv_conformance.judge import Verdict


@dataclass(frozen=True, slots=True)
class Found:
    """The check that found a fault.

    Args:
        number: its number in the plan, from 1 on.
        case: what was asked.
        verdict: what came of it.
        seconds: what all the checks of the fault took until then.
    """

    number: int
    case: Case
    verdict: Verdict
    seconds: float


@dataclass(slots=True)
class _Candidate:
    """A fault that has not been found yet, in a library of its own."""

    fault: Fault
    asker: Asker = field(init=False)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.asker = Asker(Planted(self.fault))

    def found_by(self, number: int, question: Question, calls: list[Call]) -> Found | None:
        """What a check finds; it is not asked where the fault makes no difference to what right libraries answer.

        Args:
            number: the number of the check.
            question: the check.
            calls: its right calls.
        """
        case = question.case
        if not self.fault.shows_in(str(case.member), case.needs) or self._is_right(calls):
            return None
        if self.fault.claims:
            question = Question(case, Claim.of(self.asker.adapter, str(case.dtype)), question.products)
        start = time.perf_counter()
        verdict = self.asker.ask(question)
        self.seconds += time.perf_counter() - start
        if verdict.outcome in ("agrees", "unsupported"):
            return None
        return Found(number, case, verdict, self.seconds)

    def _is_right(self, calls: list[Call]) -> bool:
        """Whether the results are those of the right library, to the last bit."""
        if self.fault.remembers or not calls:
            return False
        try:
            return all(_is_same(self.fault.result(call), call.answer) for call in calls)
        except Exception:  # the verdict will say so
            return False


def _is_same(result: Any, right: Any) -> bool:
    return (
        isinstance(result, np.ndarray)
        and (result.shape, result.dtype) == (right.shape, right.dtype)
        and result.tobytes() == right.tobytes()
    )


def _right_calls(question: Question) -> list[Call]:
    """The calls of a question with their right results; none of a call that is wrong itself."""
    if question.case.wrong is not None:
        return []
    member = question.member
    operands = {role: array for role, array in zip(member.takes, question.arrays, strict=True) if array is not None}
    options = {name: value for name, value in question.options.items() if name != "needs"}
    names = [f"{member.function.removesuffix('_backward')}_grad_{need}" for need in question.needs] or [member.name]
    calls = [Call(name, operands, options, question.needs) for name in names]
    with np.errstate(all="ignore"):
        return [replace(call, answer=call.right()) for call in calls]


def survey(
    faults: Iterable[Fault], cases: Iterable[Case], on_found: Callable[[Fault, Found], None] = lambda *_: None
) -> dict[str, Found]:
    """The first check that finds each fault, by the fault's name; a fault that none finds is absent.

    All faults are asked a question before the next one is made, since making one takes longer than asking it.

    Args:
        faults: the faults.
        cases: cases of one member, dtype and data set, in the order in which they are asked.
        on_found: called for each fault that is found.
    """
    found: dict[str, Found] = {}
    alive = [_Candidate(fault) for fault in faults]
    listed: tuple[Geometry, Products] | None = None
    for number, case in enumerate(cases, start=1):
        if not alive:
            break
        if listed is None or listed[0] != case.geometry:
            fits = Products.count(case.geometry) <= LARGEST_LIST
            listed = (case.geometry, Products.of(case.geometry)) if fits else None
        claim = Claim.of(Planted(None), str(case.dtype))
        question = Question(case, claim, listed[1] if listed else None)
        calls = _right_calls(question)
        for candidate in alive:
            if finding := candidate.found_by(number, question, calls):
                found[candidate.fault.name] = finding
                on_found(candidate.fault, finding)
        alive = [candidate for candidate in alive if candidate.fault.name not in found]
    return found
