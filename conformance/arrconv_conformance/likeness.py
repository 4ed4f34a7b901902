"""Likeness: which planted faults give the same wrong result as a framework, so that a failure gets a name."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv_conformance.asking import Asker
from arrconv_conformance.faults import FAULTS
from arrconv_conformance.faults.fault import Fault, Planted
from arrconv_conformance.judge import Verdict, judge
from arrconv_conformance.shrink import simpler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arrconv_conformance.cases import Case
    from arrconv_conformance.data import Array
    from arrconv_conformance.question import Expected, Question

MOST_NAMES = 3
"""The largest number of names that a failure gets."""

_SHARE = 0.5
"""How far, as a share of its own error, a wrong result of rounded sums may be from that of a fault."""

_MOST_NEAR = 24
"""How many simpler cases are asked to tell faults apart."""

_CALLS = 3
"""How often a library with a memory is asked: a faulty one may be right the first time."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """What is wrong with an answer.

    Args:
        question: the question.
        results: the answer by need, where values are wrong.
        complaint: what was said of it, where something else is.
    """

    question: Question
    results: dict[str, Array] | None
    complaint: str = ""

    @classmethod
    def of(cls, asker: Asker, question: Question) -> Symptom | None:
        """That of a framework's answer; None where nothing is wrong with it, or where there is none."""
        verdict = asker.ask(question)
        if verdict.outcome != "deviates":
            return None
        if verdict.kind == "behaviour":
            return cls(question, None, verdict.message)
        results = asker.results(question)
        return cls(question, results) if isinstance(results, dict) else None

    def is_of(self, fault: Fault) -> bool:
        """Whether a fault does the same.

        Wrong values are the same to the last bit where the right result is exact. Elsewhere they may differ by twice
        what the right result may err by, and by half of its error at the most.
        """
        if not fault.shows_in(str(self.question.case.member), self.question.case.needs):
            return False
        asker = Asker(Planted(fault))
        with np.errstate(all="ignore"):
            return any(self._is_shown_by(asker) for _ in range(_CALLS if fault.remembers else 1))

    def _is_shown_by(self, asker: Asker) -> bool:
        if self.results is None:
            return asker.ask(self.question).message == self.complaint
        found = asker.results(self.question)
        if not isinstance(found, dict) or not _are_wrong(found, self.question):
            return False
        return all(_is_same(got, found[need], self.question.expected[need]) for need, got in self.results.items())


def likeness(question: Question, results: dict[str, Array]) -> tuple[str, ...]:
    """The names of the planted faults that give the same wrong results, the most special first, and three at the most.

    Args:
        question: a question that a framework answers wrongly.
        results: its answer by need, which is `result` where there is one alone.

    >>> from arrconv_conformance import Case
    >>> from arrconv_conformance.claims import Claim
    >>> from arrconv_conformance.question import Question
    >>> case = Case.parse("n=1 c=1 o=1 x=3 k=3 member=conv dtype=float32 data=count bias=none")
    >>> likeness(Question(case, Claim.of(None, "float32")), {"result": np.array([[[10.0]]], np.float32)})
    ('kernel flipped',)
    """
    return _names([Symptom(question, results)], [])


def common_likeness(asker: Asker, cases: Sequence[Case], made: Callable[[Case], Question]) -> tuple[str, ...]:
    """The names of the faults that are most like a framework in some cases, and in cases near to the first of them.

    A fault must do in one case what the framework does: in the first, or in the next where no fault does. It is the
    more alike, the more of the others it shares, and the fewer of the simpler ones that the framework answers rightly
    it gets wrong.

    Args:
        asker: asks the framework.
        cases: cases that it answers wrongly, for one reason as it seems.
        made: makes the question of a case.
    """
    symptoms = [symptom for case in cases if (symptom := Symptom.of(asker, made(case)))]
    near = (made(case) for case in islice(filter(_is_applicable, simpler(cases[0])), _MOST_NEAR))
    return _names(symptoms, [question for question in near if asker.ask(question).outcome == "agrees"])


def _names(symptoms: list[Symptom], healthy: list[Question]) -> tuple[str, ...]:
    """The names of the faults that have most of the symptoms, and are wrong in the fewest of the healthy cases."""
    for number, symptom in enumerate(symptoms):
        if alike := [fault for fault in FAULTS.values() if symptom.is_of(fault)]:
            others = symptoms[number + 1 :]
            break
    else:
        return ()
    scores = {fault.name: _score(fault, others, healthy) for fault in alike}
    best = sorted((fault for fault in alike if scores[fault.name] == max(scores.values())), key=_generality)
    return tuple(fault.name for fault in best[:MOST_NAMES])


def _score(fault: Fault, symptoms: list[Symptom], healthy: list[Question]) -> int:
    shared = sum(symptom.is_of(fault) for symptom in symptoms)
    asker = Asker(Planted(fault))
    with np.errstate(all="ignore"):
        return shared - sum(asker.ask(question).outcome != "agrees" for question in healthy)


def _is_applicable(case: Case) -> bool:
    return case.is_applicable


def _generality(fault: Fault) -> int:
    """The fewer members have a fault, the more its name says."""
    return len(fault.members)


def _are_wrong(results: dict[str, Any], question: Question) -> bool:
    data, bias = str(question.case.data), "bias" in question.operands
    verdicts: list[Verdict] = [
        judge(got, question.expected[need], question.claim, data, bias=bias) for need, got in results.items()
    ]
    return any(verdict.outcome == "deviates" for verdict in verdicts)


def _is_same(got: Any, faulty: Any, expected: Expected) -> bool:
    if not (isinstance(got, np.ndarray) and isinstance(faulty, np.ndarray)):
        return False
    if (got.shape, got.dtype) != (faulty.shape, faulty.dtype):
        return False
    allowed, exact = expected.allowed, expected.exact.high
    if allowed is None or got.shape != exact.shape or not allowed.any():
        return bool(np.array_equal(got, faulty, equal_nan=got.dtype.kind not in "iu"))
    wide = np.complex128 if got.dtype.kind == "c" else np.float64
    one, other = got.astype(wide), faulty.astype(wide)
    finite = np.isfinite(one)
    if not np.array_equal(finite, np.isfinite(other)):
        return False
    with np.errstate(all="ignore"):
        apart, errors = np.abs(one - other)[finite], np.abs(one - exact)[finite]
    if np.any(apart > 2 * np.broadcast_to(allowed, one.shape)[finite]):
        return False
    return float(np.linalg.norm(apart)) <= _SHARE * float(np.linalg.norm(errors))
