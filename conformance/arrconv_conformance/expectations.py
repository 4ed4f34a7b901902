"""Expectations: what a framework is known to refuse or to get wrong, each with the reason, in TOML files.

[[refuses]]                # it raises; or [[deviates]]: its result is wrong
message = "regular expression found in what it says"
members = ["conv"]         # optional: for these members alone
case = "k=1 dtype=float64" # optional: for cases that have all of these tokens
reason = "why"             # told to the user, and different for every entry
link = "https://…"         # optional
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arrconv_conformance.cases import MEMBERS

if TYPE_CHECKING:
    from arrconv_conformance.cases import Case

_PACKAGE = Path(__file__).parent
_FOLDERS = (_PACKAGE / "expectations", _PACKAGE.parent / "expectations")  # in a wheel; beside the package in a checkout
_KEYS = {"message", "members", "case", "reason", "link"}


class ExpectationsError(ValueError):
    """An expectations file says something that means nothing."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing a framework is known for."""

    outcome: str
    message: str
    reason: str
    members: tuple[str, ...] | None = None
    case: tuple[str, ...] = ()
    link: str | None = None

    def explains(self, outcome: str, message: str, case: Case) -> bool:
        """Whether this is the reason for an outcome."""
        return (
            outcome == self.outcome
            and (self.members is None or case.member in self.members)
            and set(self.case) <= set(str(case).split())
            and re.search(self.message, message) is not None
        )


def expectations_for(name: str) -> list[Expectation]:
    """What is known of a framework; empty where nothing is.

    Raises:
        ExpectationsError: the file is no TOML, or has an entry that could never explain anything or says not enough.
    """
    for folder in _FOLDERS:
        if (path := folder / f"{name}.toml").is_file():
            return parse(path.read_text(encoding="utf-8"), str(path))
    return []


def parse(text: str, source: str) -> list[Expectation]:
    """The expectations of a TOML text.

    Raises:
        ExpectationsError: as for `expectations_for`.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ExpectationsError(f"{source}: {error}") from error
    found: dict[str, Expectation] = {}
    for outcome, entries in table.items():
        if outcome not in ("refuses", "deviates") or not isinstance(entries, list):
            raise ExpectationsError(f"{source}: [[{outcome}]] is neither [[refuses]] nor [[deviates]]")
        for entry in entries:
            expectation = _expectation(outcome, entry, source)
            if expectation.reason in found:  # runs count by reason
                raise ExpectationsError(f"{source}: two entries have the reason {expectation.reason!r}")
            found[expectation.reason] = expectation
    return list(found.values())


def _expectation(outcome: str, entry: dict[str, Any], source: str) -> Expectation:
    if unknown := set(entry) - _KEYS:
        raise ExpectationsError(f"{source}: an entry has the unknown key {', '.join(sorted(unknown))}")
    if not entry.get("reason") or not entry.get("message"):
        raise ExpectationsError(f"{source}: every entry needs a message and a reason, but one is {entry}")
    members = entry.get("members")
    if members is not None and (not isinstance(members, list) or not members or set(members) - set(MEMBERS)):
        raise ExpectationsError(
            f"{source}: members must be a list of some of {', '.join(MEMBERS)}, but got {members!r}"
        )
    try:
        re.compile(entry["message"])
    except re.error as error:
        raise ExpectationsError(f"{source}: {entry['message']!r} is no regular expression: {error}") from error
    return Expectation(
        outcome,
        entry["message"],
        entry["reason"],
        None if members is None else tuple(members),
        tuple(entry.get("case", "").split()),
        entry.get("link"),
    )
