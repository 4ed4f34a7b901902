"""Expectations: what a framework is known to refuse or to get wrong, each with the reason, in TOML files.

[[refuses]]                # it raises; or [[deviates]]: its result is wrong; or [[crashes]], [[hangs]]
message = "regular expression found in what it says"
members = ["conv"]         # optional: for these members alone
case = "k=1 dtype=float\\d+" # optional: for cases with a token for each of these regular expressions
features = ["depthwise"]   # optional: for cases that have all of these features
versions = "^PyTorch 2\\.1"  # optional: regular expression found in the version of the framework
cases = "full"             # optional: it takes more than the quick cases to see it
processor = "some"         # optional: it is seen on some processors alone, so that not to see it is no failure
reason = "why"             # told to the user, and different for every entry
link = "https://…"         # optional
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arrconv_conformance.features import FEATURES, features_of
from arrconv_conformance.members import MEMBERS

if TYPE_CHECKING:
    from arrconv_conformance.cases import Case
    from arrconv_conformance.judge import Verdict

_PACKAGE = Path(__file__).parent
_FOLDERS = (_PACKAGE / "expectations", _PACKAGE.parent / "expectations")  # in a wheel; beside the package in a checkout
_KEYS = {"message", "members", "case", "features", "versions", "cases", "processor", "reason", "link"}
OUTCOMES = ("refuses", "deviates", "crashes", "hangs")


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
    features: tuple[str, ...] = ()
    versions: str = ""
    needs_full: bool = False
    depends_on_processor: bool = False
    link: str | None = None

    def explains(self, verdict: Verdict, case: Case) -> bool:
        """Whether this is the reason for a verdict."""
        tokens = str(case).split()
        return (
            verdict.outcome == self.outcome
            and (self.members is None or case.member in self.members)
            and all(any(re.fullmatch(wanted, token) for token in tokens) for wanted in self.case)
            and set(self.features) <= set(features_of(case))
            and re.search(self.message, verdict.message) is not None
        )


def expectations_for(name: str, version: str = "") -> list[Expectation]:
    """What is known of a version of a framework; empty where nothing is.

    Raises:
        ExpectationsError: the file is no TOML, or has an entry that could never explain anything or says not enough.
    """
    for folder in _FOLDERS:
        if (path := folder / f"{name}.toml").is_file():
            known = parse(path.read_text(encoding="utf-8"), str(path))
            return [expectation for expectation in known if re.search(expectation.versions, version)]
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
        if outcome not in OUTCOMES or not isinstance(entries, list):
            known = ", ".join(f"[[{name}]]" for name in OUTCOMES)
            raise ExpectationsError(f"{source}: [[{outcome}]] is none of {known}")
        for entry in entries:
            expectation = _expectation(outcome, entry, source)
            if expectation.reason in found:  # runs count by reason
                raise ExpectationsError(f"{source}: two entries have the reason {expectation.reason!r}")
            found[expectation.reason] = expectation
    return list(found.values())


def _expectation(outcome: str, entry: Any, source: str) -> Expectation:
    if not isinstance(entry, dict):
        raise ExpectationsError(f"{source}: an entry of [[{outcome}]] is {entry!r}, and must be a table")
    if unknown := set(entry) - _KEYS:
        raise ExpectationsError(f"{source}: an entry has the unknown key {', '.join(sorted(unknown))}")
    if not entry.get("reason") or not entry.get("message"):
        raise ExpectationsError(f"{source}: every entry needs a message and a reason, but one is {entry}")
    for key in _KEYS - {"members", "features"}:
        if not isinstance(entry.get(key, ""), str):
            raise ExpectationsError(f"{source}: {key} must be a text, but got {entry[key]!r}")
    for key, known in (("members", list(MEMBERS)), ("features", list(FEATURES))):
        some = entry.get(key)
        if some is not None and not (isinstance(some, list) and some and all(one in known for one in some)):
            raise ExpectationsError(f"{source}: {key} must be a list of some of {', '.join(known)}, but got {some!r}")
    if entry.get("cases", "quick") not in ("quick", "full"):
        raise ExpectationsError(f"{source}: cases must be 'quick' or 'full', but got {entry['cases']!r}")
    if entry.get("processor", "some") != "some":
        raise ExpectationsError(f"{source}: processor must be 'some', but got {entry['processor']!r}")
    for pattern in (entry["message"], entry.get("versions", ""), *entry.get("case", "").split()):
        try:
            re.compile(pattern)
        except re.error as error:
            raise ExpectationsError(f"{source}: {pattern!r} is no regular expression: {error}") from error
    members = entry.get("members")
    return Expectation(
        outcome,
        entry["message"],
        entry["reason"],
        None if members is None else tuple(members),
        tuple(entry.get("case", "").split()),
        tuple(entry.get("features", ())),
        entry.get("versions", ""),
        entry.get("cases") == "full",
        entry.get("processor") == "some",
        entry.get("link"),
    )
