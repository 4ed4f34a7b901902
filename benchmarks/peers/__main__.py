"""`python -m benchmarks.peers`: measure arrconv beside other libraries, and say what came of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from benchmarks.engine import processor
from benchmarks.peers import libraries as peers
from benchmarks.peers.measure import measure
from benchmarks.peers.report import as_json, digests, from_json, grids, markdown, picture, table
from benchmarks.peers.session import Missing, Session, removed
from benchmarks.peers.work import DIRECTIONS, DTYPES, ROWS, Task

LIBRARIES = (
    "matmul",
    "copy",
    "torch",
    "arrconv",
    "arrconv:1",
    "arrconv_plain",
    "jax",
    "onnxruntime",
    "im2col",
    "sigpy",
    "scipy",
    "onnx_reference",
)


def main(
    rows: Annotated[list[str] | None, typer.Option("--row", help="Only this row, or rows of this group.")] = None,
    directions: Annotated[list[str] | None, typer.Option("--direction", help=f"Of {', '.join(DIRECTIONS)}.")] = None,
    dtypes: Annotated[list[str] | None, typer.Option("--dtype", help=f"Of {', '.join(DTYPES)}.")] = None,
    libraries: Annotated[
        list[str] | None, typer.Option("--library", help="NAME, or NAME:THREADS for another number of threads.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="How many threads each library may use.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Keep the record here.")] = None,
    picture_file: Annotated[Path | None, typer.Option("--picture", metavar="FILE", help="Draw it here.")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write tables here.")] = None,
    read: Annotated[list[Path] | None, typer.Option(help="Measure nothing; show a record that --json kept.")] = None,
) -> None:
    """Measure arrconv beside other libraries, in turns."""
    if read and json_file is not None:
        raise typer.BadParameter("--json keeps what is measured, and --read measures nothing")
    _check_files(json_file, picture_file, markdown_file)
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 180)  # a file or a pipe is as wide as it needs to be
    if read:
        records = [json.loads(file.read_text(encoding="utf-8")) for file in read]
    else:
        tasks = _tasks(rows, directions, dtypes)
        _check("--library", [name.partition(":")[0] for name in libraries or ()], _offered())
        records = [_measured(tasks, _sessions(libraries or LIBRARIES, threads, console), rounds, threads, console)]
    results = [one for record in records for one in from_json(record)]
    names = list(dict.fromkeys(name for record in records for name in record["libraries"]))
    found = list(grids(results, names))
    for grid in found:
        console.print(table(grid))
    bits = digests(results, names)
    for line in ([bits] if bits else []) + list(dict.fromkeys(_tested(record) for record in records)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if json_file is not None:
        json_file.write_text(json.dumps(records[0], indent=1) + "\n", encoding="utf-8")
    if picture_file is not None:
        picture(results, names, picture_file)
    if markdown_file is not None:
        markdown_file.write_text("\n".join(markdown(grid) for grid in found), encoding="utf-8")


def _tasks(rows: list[str] | None, directions: list[str] | None, dtypes: list[str] | None) -> list[Task]:
    _check("--row", rows, [*ROWS, *(row.group for row in ROWS.values())])
    _check("--direction", directions, DIRECTIONS)
    _check("--dtype", dtypes, DTYPES)
    chosen = [row for row in ROWS.values() if rows is None or {row.name, row.group} & set(rows)]
    return [
        Task(row, direction, dtype)
        for dtype in dtypes or DTYPES
        for direction in directions or DIRECTIONS
        for row in chosen
    ]


def _measured(
    tasks: list[Task], sessions: dict[str, Session], rounds: int, threads: int, console: Console
) -> dict[str, Any]:
    try:
        with Progress(console=console, transient=True) as bar:
            at = bar.add_task("", total=len(tasks))
            results = measure(tasks, sessions, rounds, lambda task: bar.update(at, advance=1, description=f"{task}"))
    finally:
        for session in sessions.values():
            session.close()
    about: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": processor(),
        "threads": threads,
        "rounds": rounds,
        "variables_removed": removed(),
        "libraries": {name: session.about for name, session in sessions.items()},
    }
    return as_json(results, about)


def _sessions(names: list[str] | tuple[str, ...], threads: int, console: Console) -> dict[str, Session]:
    sessions = {}
    for name in names:
        library, _, count = name.partition(":")
        try:
            sessions[name] = Session(library, int(count or threads))
        except Missing as reason:
            console.print(f"passed over: {reason}", markup=False, highlight=False)
    return sessions


def _offered() -> list[str]:
    """The libraries that there are modules for, whether they are installed or not."""
    return [module.name for module in iter_modules(peers.__path__) if not module.name.startswith("_")]


def _check(option: str, given: list[str] | None, known: list[str] | tuple[str, ...]) -> None:
    if unknown := sorted(set(given or ()) - set(known)):
        raise typer.BadParameter(f"{option} {unknown[0]!r} is unknown; there are {', '.join(dict.fromkeys(known))}")


def _check_files(json_file: Path | None, picture_file: Path | None, markdown_file: Path | None) -> None:
    """Whether what is measured can be kept, before it is."""
    for option, file in (("--json", json_file), ("--picture", picture_file), ("--markdown", markdown_file)):
        if file is not None and not file.absolute().parent.is_dir():
            raise typer.BadParameter(f"{option} {file}: there is no folder {file.absolute().parent}")
    if picture_file is not None and find_spec("matplotlib") is None:
        raise typer.BadParameter("--picture needs matplotlib, which is not installed: pip install '.[docs]'")


def _tested(about: dict[str, Any]) -> str:
    versions = {name: value for one in about["libraries"].values() for name, value in one["versions"].items()}
    blas = {
        f"{pool['internal_api']} {pool['version']} {pool['architecture'] or ''}".strip()
        for one in about["libraries"].values()
        for pool in one["pools"]
        if pool["user_api"] == "blas"
    }
    text = ", ".join(f"{name} {value}" for name, value in versions.items())
    pins = f"variables removed: {', '.join(about['variables_removed']) or 'none'}"
    return f"{about['processor']}, {about['threads']} threads; {text}; {', '.join(sorted(blas))}; {pins}"


if __name__ == "__main__":
    typer.run(main)
