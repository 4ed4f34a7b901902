"""The `arrconv fingerprint` command, without the parsing of its options."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from arrconv_conformance.adapters import Unavailable
from arrconv_conformance.fingerprint import DTYPES, FUNCTIONS, Fingerprint, Part
from arrconv_conformance.fingerprint.process import PART_LIMIT, Isolated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

AS_CLAIMED, DIFFERS, NOT_RUN = 0, 1, 2


def take(name: str, dtypes: Sequence[str] = (), file: Path | None = None, limit: float = PART_LIMIT) -> int:
    """Take the fingerprint of a framework, print it, and return the exit status.

    Args:
        name: the framework, as `load_adapter` takes it.
        dtypes: those to ask for; none for all of them.
        file: where to write the findings as JSON.
        limit: the seconds that one function in one dtype may take.

    Returns:
        0 where what was found is as claimed, 1 where it differs or the framework was lost, 2 where none could be taken.
    """
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console.width = max(console.width, 160)  # a file or a pipe is as wide as it needs to be
    if unknown := [dtype for dtype in dtypes if dtype not in DTYPES]:
        _say(console, f"fingerprint: no dtype {', '.join(unknown)}; there are {', '.join(DTYPES)}")
        return NOT_RUN
    try:
        if file is not None:
            file.touch()  # before the work, in case it cannot be
        found = _taken(name, dtypes or DTYPES, limit, console)
    except (Unavailable, OSError) as error:
        _say(console, f"fingerprint: {error}")
        return NOT_RUN
    console.print(table(found))
    if file is not None:
        file.write_text(json.dumps(found.as_json(), indent=1) + "\n", encoding="utf-8")
    return _verdict(found, console)


def _taken(name: str, dtypes: Sequence[str], limit: float, console: Console) -> Fingerprint:
    isolated = Isolated(name, limit)
    try:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("probes", total=len(dtypes) * len(FUNCTIONS))
            return isolated.fingerprint(dtypes, tuple(FUNCTIONS), lambda _: bar.advance(task))
    finally:
        isolated.close()


def table(found: Fingerprint) -> Table:
    """A row for each dtype and function, one for several functions of which the same is to be said."""
    result = Table(title=f"{found.name}: {found.version}", title_justify="left", show_lines=True)
    for column in ("dtype", "function", "arithmetic", "bits depend on", "is that what is claimed?"):
        result.add_column(column, overflow="fold")
    rows: dict[tuple[str, ...], list[str]] = {}
    for part in found.parts:
        rows.setdefault((part.dtype, part.line, part.depends, _claimed(part)), []).append(part.function)
    for (dtype, line, depends, verdict), functions in rows.items():
        style = "green" if verdict == "as claimed" else "red"
        texts = (Text(line), Text(depends or "nothing else" * bool(verdict)), Text(verdict, style=style))
        result.add_row(dtype, ", ".join(functions), *texts)
    return result


def _claimed(part: Part) -> str:
    return "lost" if part.lost else part.verdict


def _verdict(found: Fingerprint, console: Console) -> int:
    if not any(part.was_asked for part in found.parts):
        _say(console, f"{found.name} offers nothing of what was asked")
        return NOT_RUN
    if found.is_as_claimed:
        _say(console, f"{found.name}: as claimed")
        return AS_CLAIMED
    asked = [part for part in found.parts if part.was_asked]
    lost = sum(bool(part.lost) for part in asked)
    differing = sum(bool(part.differences) for part in asked)
    _say(console, f"{found.name}: {differing} of {len(asked)} differ from what is claimed, {lost} were lost")
    return DIFFERS


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False)
