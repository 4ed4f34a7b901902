"""Shrinking: the smallest case that still fails in the same way."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from arrconv import ArrconvError
from arrconv_conformance.cases import NAMED_PADDINGS, Case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arrconv_conformance.judge import Verdict

_NUMBERS = re.compile(r"[\d.]+(\s*[x,]\s*[\d.]+)*,?")

TRIES = 600
"""How many smaller cases are asked before the smallest so far is taken."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest case found, and the verdict on it."""

    case: Case
    verdict: Verdict


def shrunk(case: Case, verdict: Verdict, ask: Callable[[Case], Verdict], tries: int = TRIES) -> Shrunk:
    """The smallest case that fails as this one does.

    Args:
        case: a case that fails.
        verdict: the verdict on it.
        ask: gives the verdict on another case.
        tries: how many cases may be asked.
    """
    wanted, best = sort_of(verdict), Shrunk(case, verdict)
    tried = {case}
    progress = True
    while progress:
        progress = False
        for smaller in simpler(best.case):
            if smaller in tried or not smaller.is_applicable:
                continue
            if len(tried) > tries:
                return best
            tried.add(smaller)
            if sort_of(found := ask(smaller)) == wanted:
                best, progress = Shrunk(smaller, found), True
                break
    return best


def sort_of(verdict: Verdict) -> tuple[str, str]:
    """What makes two failures alike: the outcome, and what is said without its numbers where nothing is computed."""
    if verdict.outcome == "deviates" and verdict.kind in ("exact", "bound", "statistics"):
        return verdict.outcome, "wrong values" if verdict.kind != "statistics" else verdict.kind
    return verdict.outcome, _NUMBERS.sub("#", verdict.message)[:80]


def simpler(case: Case) -> Iterator[Case]:
    """Cases that are simpler in one respect, the largest steps first; not all of them are applicable."""
    yield from _simpler_calls(case)
    for text in _smaller_texts(case):
        try:
            yield Case.parse(text)
        except ArrconvError:
            continue


def _simpler_calls(case: Case) -> Iterator[Case]:
    if case.layout:
        yield replace(case, layout=())
        for number in range(len(case.layout)):
            yield replace(case, layout=case.layout[:number] + case.layout[number + 1 :])
    if case.before:
        yield replace(case, before=None)
    if case.padding:
        yield replace(case, padding=None)
    if str(case.member).endswith("_backward"):
        needs = case.needs or ("input", "weight", "bias")
        for need in needs:
            yield replace(case, member=str(case.member).replace("_backward", f"_grad_{need}"), needs=())
        if len(needs) == 3:
            for left_out in needs:
                yield replace(case, needs=tuple(need for need in needs if need != left_out))
    if case.bias is None and case.member in ("conv", "conv_transpose"):
        yield replace(case, bias="none")
    simple = ("ones", "count", "integers", "normal")
    for data in simple[: simple.index(str(case.data)) if case.data in simple else 4]:
        yield replace(case, data=data)
    dtypes = ("float32", "float64")
    for dtype in dtypes[: dtypes.index(str(case.dtype)) if case.dtype in dtypes else 2]:
        yield replace(case, dtype=dtype)


_AXIS_TOKENS = {"x": 0, "k": 1, "s": 1, "p": 0, "d": 1, "l": 0}


def _smaller_texts(case: Case) -> Iterator[str]:
    """The case's text with smaller numbers in its geometry."""
    tokens = dict(word.split("=", 1) for word in str(case).split())
    ndim = case.geometry.ndim
    lists = {
        name: _spread(tokens[name], ndim)
        for name in _AXIS_TOKENS
        if name in tokens and tokens[name] not in NAMED_PADDINGS
    }
    for axis in range(ndim):  # without an axis
        yield _text(tokens, {name: numbers[:axis] + numbers[axis + 1 :] for name, numbers in lists.items()})
    if "mode" in tokens:
        yield _text(tokens, {}, without="mode")
    for name in ("s", "d", "p"):
        if name in lists:
            yield _text(tokens, {}, without=name)
    groups = int(tokens.get("g", 1))
    for fewer in _less(groups, 1):
        c, o = int(tokens["c"]) // groups * fewer, int(tokens["o"]) // groups * fewer
        yield _text(tokens | {"c": str(c), "o": str(o), "g": str(fewer)}, {})
    for name, step in (("n", 1), ("c", groups), ("o", groups)):
        for fewer in _less(int(tokens[name]) // step, 1):
            yield _text(tokens | {name: str(fewer * step)}, {})
    for name, least in _AXIS_TOKENS.items():
        for axis, number in enumerate(lists.get(name, ())):
            for entry in _smaller_entries(number, least):
                yield _text(tokens, {name: [*lists[name][:axis], entry, *lists[name][axis + 1 :]]})


def _spread(text: str, ndim: int) -> list[str]:
    entries = [] if text == "-" else text.split(",")
    return entries * ndim if len(entries) == 1 else entries


def _smaller_entries(entry: str, least: int) -> Iterator[str]:
    """Smaller numbers, or smaller amounts of padding at either end."""
    begin, colon, end = entry.partition(":")
    if not colon:
        yield from map(str, _less(int(entry), least))
        return
    for number in _less(int(begin), 0):
        yield f"{number}:{end}"
    for number in _less(int(end), 0):
        yield f"{begin}:{number}"


def _less(number: int, least: int) -> list[int]:
    """Numbers nearer to the least one: itself, half the way, and one step."""
    if number < least:
        return [least, number + 1]
    return sorted({least, (number + least) // 2, number - 1} - {number}) if number > least else []


def _text(tokens: dict[str, str], lists: dict[str, list[str]], without: str = "") -> str:
    changed = tokens | {name: ",".join(entries) or "-" for name, entries in lists.items()}
    return " ".join(f"{name}={value}" for name, value in changed.items() if name != without)
