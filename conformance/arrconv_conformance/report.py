"""What came of a run, for people and for programs."""

from __future__ import annotations

import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

import arrconv
from arrconv_conformance.cases import DTYPES, MEMBERS

if TYPE_CHECKING:
    from arrconv_conformance.runner import Run, Tally


def table(runs: list[Run]) -> Table:
    """A row for each framework and member, a column for each dtype."""
    result = Table(title="Convolution conformance", title_justify="left")
    result.add_column("framework")
    result.add_column("member")
    for dtype in DTYPES:
        result.add_column(dtype)
    for run in runs:
        for number, member in enumerate(MEMBERS):
            cells = [_cell(run.tallies.get((member, dtype))) for dtype in DTYPES]
            name = Text(f"{run.name}\n{run.version}") if number == 0 else Text("")
            result.add_row(name, member, *cells, end_section=number == len(MEMBERS) - 1)
    result.caption = (
        "passed / judged; the largest rounding error as a share of its bound; "
        "explained: known and listed in conformance/expectations; n/a: not offered by the framework"
    )
    result.caption_justify = "left"
    return result


def _cell(tally: Tally | None) -> Text:
    if tally is None:
        return Text("")
    words = [f"{tally.agrees}/{tally.judged}", f"{tally.ratio:.2f}"]
    words += [f"{tally.explained} explained"] if tally.explained else []
    words += [f"{tally.unsupported} n/a"] if tally.unsupported else []
    words += [f"{tally.failed} FAILED"] if tally.failed else []
    return Text("  ".join(words), style="red" if tally.failed else "yellow" if tally.explained else "green")


def lines(run: Run) -> list[str]:
    """One line for each failure with the command that runs it again, and for each reason that explained something."""
    found = [f"{run.name}: {count} explained: {reason}" for reason, count in sorted(run.explained.items())]
    for failure in run.failures:
        found += [f"{run.name} {failure.outcome}: {failure.message}", f"    {failure.command}"]
    return found


def as_json(runs: list[Run]) -> dict[str, Any]:
    """The same as data: versions, machine, counts, failures and explanations."""
    return {
        "arrconv": arrconv.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "frameworks": [
            {
                "name": run.name,
                "version": run.version,
                "checks": run.checks,
                "results": [
                    {"member": member, "dtype": dtype, **asdict(tally)}
                    for (member, dtype), tally in run.tallies.items()
                ],
                "failures": [asdict(failure) for failure in run.failures],
                "explained": dict(run.explained),
            }
            for run in runs
        ],
    }
