"""What came of a run, for people at a terminal and as JSON."""

from __future__ import annotations

import math
import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

import arrconv
from arrconv_conformance.data import DTYPES, INTEGERS
from arrconv_conformance.members import MEMBERS

if TYPE_CHECKING:
    from arrconv_conformance.cases import Case
    from arrconv_conformance.grouping import Groups
    from arrconv_conformance.judge import Verdict
    from arrconv_conformance.record import Run, Tally


def table(run: Run) -> Table:
    """A row for each member: how its checks ended, and how large errors were in each dtype that was judged."""
    result = Table(title=Text(f"{run.name}: {run.version}", style="table.title"), title_justify="left")
    for column in ("member", "passed", "explained", "FAILED", "not offered"):
        result.add_column(column, justify="left" if column == "member" else "right")
    dtypes = [
        dtype
        for dtype in DTYPES
        if any(key[1] == dtype and tally.judged and dtype not in INTEGERS for key, tally in run.members.items())
    ]
    for dtype in dtypes:
        result.add_column(dtype, justify="right")
    for member in MEMBERS:
        tallies = [tally for key, tally in run.members.items() if key[0] == member]
        if tallies:
            result.add_row(member, *_counts(tallies), *(_ratio(run.members.get((member, dtype))) for dtype in dtypes))
    result.caption = "for each dtype the largest rounding error as a share of its bound"
    result.caption_justify = "left"
    return result


def _counts(tallies: list[Tally]) -> list[Text]:
    agrees, explained, failed, unsupported = (
        sum(getattr(tally, name) for tally in tallies) for name in ("agrees", "explained", "failed", "unsupported")
    )
    return [
        Text(str(agrees), style="green" if agrees else ""),
        Text(str(explained or ""), style="yellow"),
        Text(str(failed or ""), style="red"),
        Text(str(unsupported or ""), style="dim"),
    ]


def _ratio(tally: Tally | None) -> Text:
    return Text("" if tally is None or not tally.judged else f"{tally.ratio:.2f}")


def explanations(run: Run) -> list[str]:
    """One line for each reason that explained something."""
    return [f"{run.name}: {count} explained: {reason}" for reason, count in sorted(run.explained.items())]


def check_line(run: Run, case: Case, verdict: Verdict, reason: str | None) -> dict[str, Any]:
    """One check as data, for JSON Lines; JSON has no NaN and no infinity."""
    told = {name: value if _is_json(value) else None for name, value in asdict(verdict).items()}
    return {"framework": run.name, "case": str(case), **told, "explained": reason}


def _is_json(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def as_json(runs: list[Run], groups: dict[str, Groups], asked: str) -> dict[str, Any]:
    """A summary as data: versions, machine, counts, failures by cause, and explanations.

    Args:
        runs: the runs.
        groups: the failures of each, by the name under which it was asked for.
        asked: which cases were asked.
    """
    return {
        "cases": asked,
        "arrconv": arrconv.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "frameworks": [
            {
                "name": run.name,
                "version": run.version,
                "checks": run.checks,
                "results": _tallies(run.members, "dtype"),
                "features": _tallies(run.features, "feature"),
                "failures": [group.as_json() for group in groups[run.asked].groups],
                "not reduced": groups[run.asked].more,
                "explained": dict(run.explained),
            }
            for run in runs
        ],
    }


def _tallies(tallies: dict[tuple[str, str], Tally], column: str) -> list[dict[str, Any]]:
    return [{"member": member, column: name, **asdict(tally)} for (member, name), tally in tallies.items()]
