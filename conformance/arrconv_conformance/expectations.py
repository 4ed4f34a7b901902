"""Expectations: what a framework is known to refuse or to get wrong, each with the reason, in TOML files.

[[refuses]]                # it raises; or [[deviates]]: its result is wrong
message = "regular expression found in what it says"
members = ["conv"]         # optional: for these members alone
case = "x=1 k=1"           # optional: for cases that have all of these tokens
reason = "why"
link = "https://…"         # optional
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arrconv_conformance.cases import Case

_PACKAGE = Path(__file__).parent
_FOLDERS = (_PACKAGE / "expectations", _PACKAGE.parent / "expectations")  # in a wheel; beside the package in a checkout
_KEYS = {"message", "members", "case", "reason", "link"}


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
        ValueError: the file has an entry without a reason, or with a key that means nothing.
    """
    for folder in _FOLDERS:
        if (path := folder / f"{name}.toml").is_file():
            return parse(path.read_text(encoding="utf-8"), str(path))
    return []


def parse(text: str, source: str) -> list[Expectation]:
    """The expectations of a TOML text."""
    found = []
    for outcome, entries in tomllib.loads(text).items():
        if outcome not in ("refuses", "deviates"):
            raise ValueError(f"{source}: [[{outcome}]] is neither [[refuses]] nor [[deviates]]")
        for entry in entries:
            if unknown := set(entry) - _KEYS:
                raise ValueError(f"{source}: an entry has the unknown key {', '.join(sorted(unknown))}")
            if not entry.get("reason") or "message" not in entry:
                raise ValueError(f"{source}: every entry needs a message and a reason, but one is {entry}")
            members = entry.get("members")
            found.append(
                Expectation(
                    outcome,
                    entry["message"],
                    entry["reason"],
                    None if members is None else tuple(members),
                    tuple(entry.get("case", "").split()),
                    entry.get("link"),
                )
            )
    return found
