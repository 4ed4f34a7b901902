"""Running cases on frameworks, and what came of it."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from arrconv_conformance.adapters import Unsupported
from arrconv_conformance.exact import Products
from arrconv_conformance.expectations import Expectation, expectations_for
from arrconv_conformance.judge import Verdict, judge
from arrconv_conformance.question import Question, is_applicable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from arrconv_conformance.cases import Case


@dataclass(slots=True)
class Tally:
    """How the checks of one member and dtype ended, and the largest error as a share of its bound."""

    agrees: int = 0
    explained: int = 0
    failed: int = 0
    unsupported: int = 0
    ratio: float = 0.0

    @property
    def judged(self) -> int:
        """The number of results that were judged, or refused."""
        return self.agrees + self.explained + self.failed


@dataclass(frozen=True, slots=True)
class Failure:
    """A check that failed without an explanation, and the line that runs it again alone."""

    case: str
    outcome: str
    message: str
    command: str


@dataclass(slots=True)
class Run:
    """All that one framework did."""

    name: str
    version: str
    expectations: list[Expectation]
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    explained: Counter[str] = field(default_factory=Counter)

    @property
    def checks(self) -> int:
        """The number of results that were judged, or refused."""
        return sum(tally.judged for tally in self.tallies.values())

    @property
    def unused(self) -> list[Expectation]:
        """Expectations that explained nothing in this run."""
        return [expectation for expectation in self.expectations if not self.explained[expectation.reason]]

    def record(self, case: Case, verdict: Verdict, asked: str) -> None:
        """Count the verdict on a case of one member, dtype and data set."""
        assert case.member is not None
        assert case.dtype is not None
        tally = self.tallies.setdefault((case.member, case.dtype), Tally())
        if verdict.outcome == "agrees":
            tally.agrees += 1
            tally.ratio = max(tally.ratio, verdict.ratio)
        elif verdict.outcome == "unsupported":
            tally.unsupported += 1
        elif reason := self._reason(case, verdict):
            tally.explained += 1
            self.explained[reason] += 1
        else:
            tally.failed += 1
            command = f"arrconv conform {shlex.quote(asked)} --case '{case}'"
            self.failures.append(Failure(str(case), verdict.outcome, verdict.message, command))

    def _reason(self, case: Case, verdict: Verdict) -> str | None:
        for expectation in self.expectations:
            if expectation.explains(verdict.outcome, verdict.message, case):
                return expectation.reason
        return None


def run(cases: Iterable[Case], adapters: dict[str, Any], on_case: Callable[[Case], None] = lambda _: None) -> list[Run]:
    """Put every case to every framework; each question is worked out once.

    Args:
        cases: what to ask.
        adapters: the frameworks, by the name under which they were asked for.
        on_case: called after each case, for a progress bar.

    Returns:
        What came of each framework, in the order of the adapters.

    Raises:
        ExpectationsError: what is expected of a framework cannot be read.
    """
    runs = {
        asked: Run(adapter.name, adapter.version, expectations_for(adapter.name)) for asked, adapter in adapters.items()
    }
    for case in cases:
        products = Products.of(case.geometry)
        for single in filter(is_applicable, case.single()):
            question = Question.of(single, products)
            for asked, adapter in adapters.items():
                runs[asked].record(single, answer(adapter, question), asked)
        on_case(case)
    return list(runs.values())


def answer(adapter: Any, question: Question) -> Verdict:
    """The verdict on what a framework makes of a question."""
    try:
        got = question.put_to(adapter)
    except Unsupported as reason:
        return Verdict("unsupported", str(reason))
    except Exception as error:  # whatever a framework raises is a refusal, to be explained or reported
        return Verdict("refuses", f"{type(error).__name__}: {error}")
    return judge(got, question.exact, question.bound, question.dtype)
