"""`python -m arrconv_conformance.faults`: which check finds each planted fault first."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path  # noqa: TC003 - typer reads annotations when it runs
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from arrconv_conformance.faults import FAULTS, KINDS, Fault
from arrconv_conformance.faults.survey import Found, survey
from arrconv_conformance.generate import full, quick


def _rows(faults: list[Fault], found: dict[str, Found], plain: int) -> list[list[str]]:
    """What was found of each fault: its name, what it imitates, the check and its number, and the time."""
    rows = []
    for fault in faults:
        finding = found.get(fault.name)
        if finding is None:
            rows.append([fault.name, fault.imitates, "NOT FOUND", "", ""])
            continue
        plan = "quick" if finding.number <= plain else "full"
        rows.append(
            [fault.name, fault.imitates, f"{plan} {finding.number}", str(finding.case), f"{finding.seconds:.2f}"]
        )
    return rows


def _table(title: str, rows: list[list[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("fault", "imitates", "found by", "case", "seconds"):
        table.add_column(column, justify="right" if column == "seconds" else "left")
    for row in rows:
        table.add_row(*row, style="red" if row[2] == "NOT FOUND" else "")
    return table


def _markdown(found: dict[str, Found], plain: int) -> str:
    """The faults by kind, with the first check that finds each."""
    lines = [
        "# Planted faults",
        "",
        f"Each of these {len(FAULTS)} libraries is right but for one thing. `python -m arrconv_conformance.faults`",
        "plants them and asks until the first deviation; this page is what it writes with `--markdown`. A link leads",
        "to a library that has, or had, a fault of the kind.",
    ]
    for kind, faults in KINDS.items():
        lines += [
            "",
            f"## {kind.capitalize()}",
            "",
            "| fault | imitates | found by | case |",
            "| --- | --- | --- | --- |",
        ]
        for fault, (name, imitates, number, case, _) in zip(faults, _rows(faults, found, plain), strict=True):
            source = f" ([{_short(fault.link)}]({fault.link}))" if fault.link else ""
            lines.append(f"| {name} | {imitates}{source} | {number} | {f'`{case}`' if case else ''} |")
    return "\n".join(lines) + "\n"


def _short(link: str) -> str:
    """The repository and the number of an issue."""
    *_, repository, _, number = link.split("/")
    return f"{repository}#{number}"


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Faults by name; all of them by default.")] = None,
    only_quick: Annotated[bool, typer.Option("--quick", help="Stop at the end of the quick run.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write all of it as Markdown.")] = None,
) -> None:
    """Plant faults in a right library, and show which check of the full run finds each of them first."""
    if unknown := set(names or ()) - set(FAULTS):
        raise typer.BadParameter(f"no such fault: {', '.join(sorted(unknown))}")
    faults = [FAULTS[name] for name in names or FAULTS]
    console = Console()
    plain = sum(1 for _ in quick())
    with Progress(console=console, transient=True) as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        task = progress.add_task("found", total=len(faults))
        found = survey(faults, quick() if only_quick else full(), lambda *_: progress.advance(task))
    for kind, members in KINDS.items():
        if rows := _rows([fault for fault in members if fault in faults], found, plain):
            console.print(_table(kind, rows))
    early = sum(finding.number <= plain for finding in found.values())
    console.print(
        f"{len(found)} of {len(faults)} faults found, {early} of them among the {plain} checks of the quick run"
    )
    if markdown is not None:
        markdown.write_text(_markdown(found, plain), encoding="utf-8")
    sys.exit(len(found) < len(faults))


if __name__ == "__main__":
    typer.run(main)
