"""The `arrconv conform` command, without the parsing of its options."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from arrconv import ArrconvError
from arrconv_conformance.adapters import NAMES, Unavailable
from arrconv_conformance.expectations import ExpectationsError, expectations_for
from arrconv_conformance.grouping import Groups, grouped, unreduced
from arrconv_conformance.record import Run
from arrconv_conformance.report import as_json, check_line, explanations, table
from arrconv_conformance.runner import BrokenOff, Runner, Target, dask_executor, threads
from arrconv_conformance.sessions import CASE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from arrconv_conformance.cases import Case
    from arrconv_conformance.judge import Verdict
    from arrconv_conformance.selection import Selection

AGREES, DEVIATES, NOT_RUN, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True, slots=True)
class Options:
    """What to ask, where to work on it, and where to write what came of it.

    Args:
        selection: the checks that are asked.
        stop_first: whether to stop at the first deviation that nothing explains.
        repeats: whether to make each call twice and count where the bits differ.
        limit: the seconds that one case may take.
        jobs: how many child processes work at a time.
        dask: the address of a Dask scheduler that gives the work to others instead.
        json: where to write a summary as JSON.
        jsonl: where to write every check as a line of JSON.
        html: where to write a page.
    """

    selection: Selection
    stop_first: bool = False
    repeats: bool = False
    limit: float = CASE_LIMIT
    jobs: int = min(os.cpu_count() or 1, 8)
    dask: str | None = None
    json: Path | None = None
    jsonl: Path | None = None
    html: Path | None = None


@dataclass(frozen=True, slots=True)
class _Ending:
    """How the checks ended: whether all were put, and the exit status where they were broken off."""

    complete: bool
    status: int | None = None


def conform(names: Sequence[str], options: Options, *, if_present: Sequence[str] = ()) -> int:
    """Judge frameworks, print the verdict, and return the exit status.

    Args:
        names: the frameworks, which must be there.
        options: what to ask of them, and how.
        if_present: more of them, passed over in one line where they cannot be run.

    Returns:
        0 where nothing deviates without an explanation, 1 where something does, 2 where the run could not be made or
        could not be finished, 130 where it was interrupted by Ctrl-C. What was done until then is reported.
    """
    console = Console(soft_wrap=True, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, 140)  # a file or a pipe is as wide as it needs to be
    with ExitStack() as stack:
        try:
            _check_page(options)
            runs = _runs(names, if_present, options, console)
            files = [path for path in (options.json, options.html, options.jsonl) if path is not None]
            for path in files:
                path.touch()  # before the work, in case it cannot be
            lines = stack.enter_context(options.jsonl.open("w", encoding="utf-8") if options.jsonl else nullcontext())
            executor = stack.enter_context(dask_executor(options.dask) if options.dask else threads(options.jobs))
        except (Unavailable, ArrconvError, ExpectationsError, OSError, ValueError, ImportError) as error:
            console.print(f"conform: {error}", markup=False, highlight=False)
            return NOT_RUN
        ending = _ask(runs, options, executor, lines, console)
        groups = {run.asked: unreduced(run.failures) for run in runs.values()}
        if ending.status is None:
            try:
                groups = {run.asked: _groups(target, run, console) for target, run in runs.items()}
            except KeyboardInterrupt:
                ending = _Ending(False, INTERRUPTED)
            except Unavailable as reason:
                console.print(f"failures are not reduced: {reason}", markup=False, highlight=False)
    return _report(list(runs.values()), groups, options, console, ending)


def _runs(names: Sequence[str], if_present: Sequence[str], options: Options, console: Console) -> dict[Target, Run]:
    """A run of each framework that can be made here; its process is kept for the work."""
    if not names and not if_present:
        raise Unavailable(f"name a framework, {', '.join(NAMES)}, or give the path of an adapter, ending in .py")
    runs = {}
    for name in dict.fromkeys([*names, *if_present]):
        target = Target(name, options.repeats, options.limit)
        try:
            with target.session() as session:
                runs[target] = Run(name, session.name, session.version, expectations_for(session.name, session.version))
        except Unavailable as reason:
            if name in names:
                raise
            console.print(f"passed over: {reason}", markup=False, highlight=False)
    if not runs:
        raise Unavailable("no framework to judge is left")
    return runs


def _ask(
    runs: dict[Target, Run],
    options: Options,
    executor: Executor,
    lines: IO[str] | None,
    console: Console,
) -> _Ending:
    """Put the checks to the frameworks."""
    with _progress(console) as bar:
        task = bar.add_task("checks", total=options.selection.about() * len(runs))

        def on_check(run: Run, case: Case, verdict: Verdict, reason: str | None) -> None:
            bar.advance(task)
            if lines is not None:
                lines.write(json.dumps(check_line(run, case, verdict, reason)) + "\n")

        try:
            return _Ending(Runner(executor, on_check).run(runs, options.selection, stop_first=options.stop_first))
        except KeyboardInterrupt:
            console.print("interrupted; this is what was done until then:")
            return _Ending(False, INTERRUPTED)
        except BrokenOff as reason:
            text = f"conform: {reason}; this is what was done until then:"
            console.print(text, markup=False, highlight=False)
            return _Ending(False, NOT_RUN)


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield bar


def _groups(target: Target, run: Run, console: Console) -> Groups:
    """The failures of a run by cause."""
    if not run.failures:
        return Groups([])
    with console.status(f"reducing {len(run.failures)} failures of {run.name}"), target.session() as session:
        return grouped(run.failures, session, run.asked, explains=run.explanation)


def _report(runs: list[Run], groups: dict[str, Groups], options: Options, console: Console, ending: _Ending) -> int:
    """Print and write what came of the runs, and return the exit status."""
    for run in runs:
        console.print(table(run))
        for line in explanations(run):
            console.print(line, markup=False, highlight=False)
        for group in groups[run.asked].groups:
            console.print("\n".join(group.lines(run)), markup=False, highlight=False)
        if more := groups[run.asked].more:
            console.print(f"{run.name}: {more} more failures that were not reduced", highlight=False)
    asked = str(options.selection) if ending.complete else f"some of {options.selection}"
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(runs, groups, asked), indent=1) + "\n", encoding="utf-8")
    if options.html is not None:
        from arrconv_conformance.page import page

        options.html.write_text(page(runs, groups, asked), encoding="utf-8")
    return _verdict(runs, options, console, ending)


def _check_page(options: Options) -> None:
    """Find out before the work whether a page can be made.

    Raises:
        ImportError: what it takes is not installed.
    """
    if options.html is not None:
        try:
            import arrconv_conformance.page  # noqa: F401 - it is made when the work is done
        except ImportError as error:
            raise ImportError("--html needs Jinja2: pip install 'arrconv[report]', or jinja2 alone") from error


def _verdict(runs: list[Run], options: Options, console: Console, ending: _Ending) -> int:
    failed = [run.name for run in runs if run.failures]
    checks = sum(run.checks for run in runs)
    unused = [
        f"{run.name}: the expectation {expectation.reason!r} explained nothing"
        for run in runs
        for expectation in run.unused
        if ending.complete and options.selection.covers(needs_full=expectation.needs_full)
    ]
    for line in unused:
        console.print(line, markup=False, highlight=False)
    if failed:
        verdict, status = f"deviations without an explanation: {', '.join(failed)}", DEVIATES
    elif unused:
        verdict, status = "expectations that explain nothing any more", DEVIATES
    elif checks or ending.status is not None:
        verdict, status = "nothing deviates without an explanation", AGREES
    else:
        verdict, status = "no framework offers what was asked", NOT_RUN
    until = "" if ending.status is None else " until the run was broken off"
    console.print(f"{checks} checks{until}: {verdict}", markup=False, highlight=False)
    return status if ending.status is None else ending.status
