"""What came of a run: every check that did not simply agree, and counts of all."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arrconv_conformance.features import features_of
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.question import channel_terms

if TYPE_CHECKING:
    from arrconv_conformance.cases import Case
    from arrconv_conformance.expectations import Expectation
    from arrconv_conformance.judge import Verdict


@dataclass(slots=True)
class Tally:
    """How checks ended, and the largest error as a share of its bound and of the limits of the statistics."""

    agrees: int = 0
    explained: int = 0
    failed: int = 0
    unsupported: int = 0
    varies: int = 0
    ratio: float = 0.0
    share: float = 0.0

    @property
    def judged(self) -> int:
        """The number of results that were judged, or refused."""
        return self.agrees + self.explained + self.failed

    def count(self, verdict: Verdict, *, is_explained: bool) -> None:
        """Count one check."""
        match verdict.outcome:
            case "agrees":
                self.agrees += 1
                self.varies += bool(verdict.varies)
                self.ratio = max(self.ratio, verdict.ratio)
                self.share = max(self.share, verdict.share)
            case "unsupported":
                self.unsupported += 1
            case _ if is_explained:
                self.explained += 1
            case _:
                self.failed += 1


@dataclass(frozen=True, slots=True)
class Failure:
    """A check that failed without an explanation."""

    case: Case
    verdict: Verdict


@dataclass(slots=True)
class Run:
    """All that one framework did.

    Args:
        asked: the name under which it was asked for.
        name: its own name.
        version: and version.
        expectations: what it is known for.
        members: how the checks of each member and dtype ended.
        features: how those of each member and feature ended.
        failures: the checks that failed without an explanation.
        explained: how many failures each reason explained.
        reasons: the same of each member and dtype, and of each member and feature.
        ratios: the largest error as a share of its bound, of each dtype, data set and length of the sums, which is
            given as the power of two that is not less than the number of products.
    """

    asked: str
    name: str
    version: str
    expectations: list[Expectation]
    members: dict[tuple[str, str], Tally] = field(default_factory=dict)
    features: dict[tuple[str, str], Tally] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    explained: Counter[str] = field(default_factory=Counter)
    reasons: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    ratios: dict[tuple[str, str, int], float] = field(default_factory=dict)

    @property
    def checks(self) -> int:
        """The number of results that were judged, or refused."""
        return sum(tally.judged for tally in self.members.values())

    @property
    def unused(self) -> list[Expectation]:
        """Expectations that explained nothing in this run, but should have: those of some processors need not."""
        return [
            expectation
            for expectation in self.expectations
            if not self.explained[expectation.reason] and not expectation.depends_on_processor
        ]

    def explanation(self, case: Case, verdict: Verdict) -> str | None:
        """What is known to be the reason for a verdict on a case; None where nothing is."""
        return next((one.reason for one in self.expectations if one.explains(verdict, case)), None)

    def record(self, case: Case, verdict: Verdict) -> str | None:
        """Count the verdict on a case, and return what explains it."""
        reason = None
        if verdict.outcome not in ("agrees", "unsupported"):
            reason = self.explanation(case, verdict)
            if reason is None:
                self.failures.append(Failure(case, verdict))
            else:
                self.explained[reason] += 1
        places = [(self.members, str(case.dtype)), *((self.features, feature) for feature in features_of(case))]
        for table, column in places:
            tally = table.setdefault((str(case.member), column), Tally())
            tally.count(verdict, is_explained=reason is not None)
            if reason is not None:
                self.reasons.setdefault((str(case.member), column), Counter())[reason] += 1
        if verdict.outcome == "agrees" and verdict.ratio:
            place = (str(case.dtype), str(case.data), _length(case))
            self.ratios[place] = max(self.ratios.get(place, 0.0), verdict.ratio)
        return reason


def _length(case: Case) -> int:
    """The number of products in the longest sum of a case, rounded up to a power of two."""
    member = MEMBERS[str(case.member)]
    roles = [role for role in member.yields.values() if role != "bias"]
    products = max((case.geometry.products(role) for role in roles), default=channel_terms(case.geometry, member))
    return int(2 ** math.ceil(math.log2(max(products, 1))))
