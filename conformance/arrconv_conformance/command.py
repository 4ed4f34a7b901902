"""The `arrconv conform` command, without the parsing of its options."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from arrconv import ArrconvError
from arrconv_conformance.adapters import Unavailable, load_adapter
from arrconv_conformance.cases import Case, catalogue, generated
from arrconv_conformance.expectations import ExpectationsError, expectations_for
from arrconv_conformance.report import as_json, lines, table
from arrconv_conformance.runner import Run, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GENERATED = 1000
SEED = 20240229

AGREES, DEVIATES, NOT_RUN = 0, 1, 2


def conform(
    names: Sequence[str],
    *,
    if_present: Sequence[str] = (),
    cases: str = "quick",
    only: str | None = None,
    json_file: Path | None = None,
) -> int:
    """Judge frameworks, print the verdict, and return the exit status.

    Args:
        names: the frameworks, which must be there.
        if_present: more of them, passed over in one line where they cannot be run.
        cases: `quick`, the catalogue; or `full`, random cases as well.
        only: one case string, instead of these.
        json_file: where to write the results as JSON.

    Returns:
        0 where nothing deviates without an explanation, 1 where something does, 2 where the run could not be made.
    """
    console = Console(soft_wrap=True)
    try:
        adapters = _adapters(names, if_present, console)
        asked = _cases(cases, only)
        for adapter in adapters.values():
            expectations_for(adapter.name)  # before the work, in case they cannot be read
        if json_file is not None:
            json_file.touch()
    except (Unavailable, ArrconvError, ExpectationsError, OSError) as error:
        console.print(f"conform: {error}", markup=False, highlight=False)
        return NOT_RUN
    with Progress(
        *Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task("cases", total=len(asked))
        runs = run(asked, adapters, on_case=lambda _: bar.advance(task))
    return _report(runs, len(asked), json_file, console)


def _report(runs: list[Run], cases: int, json_file: Path | None, console: Console) -> int:
    """Print and write what came of the runs, and return the exit status."""
    console.print(table(runs))
    for one in runs:
        for line in lines(one):
            console.print(line, markup=False, highlight=False)
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(runs), indent=1) + "\n", encoding="utf-8")
    failed = [one.name for one in runs if one.failures]
    checks = sum(one.checks for one in runs)
    if failed:
        verdict, status = f"deviations without an explanation: {', '.join(failed)}", DEVIATES
    elif checks:
        verdict, status = "nothing deviates without an explanation", AGREES
    else:
        verdict, status = "no framework offers what was asked", NOT_RUN
    console.print(f"{checks} checks of {cases} cases: {verdict}", markup=False, highlight=False)
    return status


def _adapters(names: Sequence[str], if_present: Sequence[str], console: Console) -> dict[str, Any]:
    adapters = {name: load_adapter(name) for name in names}
    for name in if_present:
        try:
            adapters[name] = load_adapter(name)
        except Unavailable as reason:
            console.print(f"passed over: {reason}", markup=False, highlight=False)
    if not adapters:
        raise Unavailable("no framework to judge is left")
    return adapters


def _cases(cases: str, only: str | None) -> list[Case]:
    if only is not None:
        return [Case.parse(only)]
    return catalogue() + (generated(GENERATED, SEED) if cases == "full" else [])
