"""Grouping: failures with one cause, each shown by its smallest case."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from arrconv_conformance.exact import Products
from arrconv_conformance.features import features_of
from arrconv_conformance.judge import Verdict
from arrconv_conformance.scripts import script
from arrconv_conformance.shrink import Shrunk, shrunk, sort_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv_conformance.cases import Case
    from arrconv_conformance.record import Failure, Run
    from arrconv_conformance.sessions import Session

MOST_GROUPS = 24
"""Failures are reduced until there are so many groups; what is left over is counted."""

_REDUCTIONS = 4
"""How many failures are reduced for each group at the most: several may come down to one case."""

MOST_ALIKE = 8
"""How many failures of a group are compared with planted faults, beside its smallest case."""


def command(run: Run, case: Case) -> str:
    """The command that asks a framework a case again."""
    return f"arrconv conform {shlex.quote(run.asked)} --case '{case}'"


@dataclass(frozen=True, slots=True)
class Group:
    """Failures that have in common what their smallest case has.

    Args:
        smallest: the smallest case, and the verdict on it.
        first: the failure from which it was reduced.
        count: how many failures there are.
        likeness: what planted faults of the suite give the same wrong result; empty where none does.
        script: a program that shows the failure with the framework and NumPy alone.
        failures: the failures themselves.
    """

    smallest: Shrunk
    first: Failure
    count: int
    likeness: tuple[str, ...] = ()
    script: str = ""
    failures: tuple[Failure, ...] = ()

    def lines(self, run: Run) -> list[str]:
        """What there is to say about it at a terminal."""
        verdict = self.smallest.verdict
        found = [f"{run.name} {verdict.outcome} ({self.count}×): {verdict.message}"]
        found += [f"    behaves like: {', '.join(self.likeness)}"] if self.likeness else []
        found.append(f"    {command(run, self.smallest.case)}")
        found += [f"    first seen:  {self.first.case}"] if self.first.case != self.smallest.case else []
        return found + [f"        {line}" for line in self.script.splitlines()]

    def as_json(self) -> dict[str, Any]:
        """The same as data."""
        return {
            "case": str(self.smallest.case),
            **asdict(self.smallest.verdict),
            "count": self.count,
            "first": str(self.first.case),
            "behaves like": list(self.likeness),
            "script": self.script,
        }


@dataclass(frozen=True, slots=True)
class Groups:
    """The failures of a run by cause, and how many more there are that were not reduced."""

    groups: list[Group]
    more: int = 0


def grouped(
    failures: list[Failure],
    session: Session,
    asked: str = "",
    most: int = MOST_GROUPS,
    explains: Callable[[Case, Verdict], Any] = lambda *_: None,
) -> Groups:
    """The failures of a run by cause, the smallest of each reduced further.

    A failure belongs to a group if it is of the same sort. A wrong value must also be one of the same member, and have
    what the group's smallest case has and did not lose on the way: its features, its dtype if that is not float32, to
    which all are reduced that can be, and the call before it.

    Args:
        failures: the failures.
        session: the framework.
        asked: the name under which its adapter is loaded; its own name where that is not given.
        most: the largest number of groups.
        explains: gives what is known to be the reason for a verdict on a case, if anything is; a failure is not reduced
            to one that has another reason.
    """

    def ask(case: Case) -> Verdict:
        verdict = session.ask(case)
        return Verdict("agrees") if verdict.outcome != "agrees" and explains(case, verdict) else verdict

    left = sorted(failures, key=lambda failure: _size(failure.case))
    found: dict[Case, Group] = {}
    for _ in range(_REDUCTIONS * most):
        if not left or len(found) == most:
            break
        first = left[0]
        smallest = shrunk(first.case, first.verdict, ask)
        alike = tuple(failure for failure in left if failure is first or _has(failure, smallest, first))
        known = found.get(smallest.case)  # two may come down to one, though they do not look like it
        if known is None:
            program = script(session.name, asked or session.name, smallest.case)
            known = Group(smallest, first, 0, script=program)
        alike = (*known.failures, *alike)
        found[smallest.case] = replace(known, count=len(alike), failures=alike)
        left = [failure for failure in left if failure not in alike]
    return Groups([_named(group, session) for group in found.values()], len(left))


def _named(group: Group, session: Session) -> Group:
    """The group with its likeness: what its smallest case shows, and a few of its failures that were not reduced."""
    if group.smallest.verdict.outcome != "deviates":
        return group
    others = group.failures[:: -(-len(group.failures) // MOST_ALIKE)]
    return replace(group, likeness=session.likeness([group.smallest.case, *(failure.case for failure in others)]))


def unreduced(failures: list[Failure], most: int = MOST_GROUPS) -> Groups:
    """The first failures, each as a group of its own, where there is no time or no framework to reduce them."""
    groups = [Group(Shrunk(failure.case, failure.verdict), failure, 1) for failure in failures[:most]]
    return Groups(groups, len(failures) - len(groups))


def _has(failure: Failure, smallest: Shrunk, first: Failure) -> bool:
    """Whether a failure has what a smallest case has and the first one, from which it was reduced, had already."""
    if sort_of(failure.verdict) != sort_of(smallest.verdict):
        return False
    if smallest.verdict.outcome != "deviates":
        return True
    members = {str(failure.case.member), str(smallest.case.member)}
    if len(members) > 1 and not _requests(str(failure.case.member), failure.case.needs, str(smallest.case.member)):
        return False
    if smallest.case.dtype not in ("float32", failure.case.dtype) or smallest.case.before not in (
        None,
        failure.case.before,
    ):
        return False
    needed = set(features_of(smallest.case)) & _could_have(first.case)
    return needed - {"plain", "0-D", "1-D", "2-D", "3-D", "4-D"} <= _could_have(failure.case)


def _could_have(case: Case) -> set[str]:
    """The features of a case; with fewer channels, groups become depthwise."""
    has = set(features_of(case))
    return has | {"depthwise"} if "groups" in has else has


def _requests(member: str, needs: tuple[str, ...], gradient: str) -> bool:
    """Whether a member requests a gradient together with others."""
    if not member.endswith("_backward"):
        return False
    function, _, need = gradient.rpartition("_grad_")
    return member == f"{function}_backward" and (not needs or need in needs)


def _size(case: Case) -> int:
    return Products.count(case.geometry) + sum(case.geometry.input_shape) + 100 * (len(case.layout) + bool(case.before))
