"""`python -m benchmarks.gpu`: measure arrconv on CuPy beside PyTorch, and say what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.gpu.libraries import available
from benchmarks.gpu.measure import Library, measure
from benchmarks.gpu.work import DTYPES, tasks
from benchmarks.peers.report import BASE, OWN, Results, as_json, grids, mean_share, table
from benchmarks.peers.work import DIRECTIONS, ROWS, Task


def main(
    rows: Annotated[list[str] | None, typer.Option("--row", help="Only this row.")] = None,
    dtypes: Annotated[list[str] | None, typer.Option("--dtype", help=f"Of {', '.join(DTYPES)}.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Keep the record here.")] = None,
) -> None:
    """Measure arrconv on CuPy beside PyTorch with cuDNN, TF32 off and on.

    Exit status: 0, or 2 where there is no CuPy or no device, or a name is unknown.
    """
    for option, given, known in (("--row", rows, ROWS), ("--dtype", dtypes, DTYPES)):
        if unknown := sorted(set(given or ()) - set(known)):
            raise typer.BadParameter(f"{option} {unknown[0]!r} is unknown; there are {', '.join(known)}")
    try:
        libraries, versions = available()
    except (ImportError, RuntimeError) as error:
        typer.echo(f"benchmarks.gpu: {error}")
        raise typer.Exit(2) from None
    show(list(tasks(rows, dtypes)), libraries, versions, rounds, json_file, Console(width=180))


def show(
    work: Sequence[Task], libraries: Sequence[Library], versions: dict[str, str], rounds: int, file: Path | None,
    console: Console,
) -> None:  # fmt: skip
    """Measure, and print the tables and their means; the record grows task by task."""
    names = [library.name for library in libraries]
    about: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "rounds": rounds, "versions": versions}
    results = []
    for one in measure(work, libraries, rounds):
        results.append(one)
        if file is not None:
            record = as_json(results, about | {"libraries": names, "tasks_in_all": len(work), "means": means(results)})
            file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for grid in grids(results, names):
        console.print(table(grid))
    found = "; ".join(f"{name} {mean:.2f}×" for name, mean in means(results).items())
    console.print(f"{len(results)} tasks; {OWN} as multiples of {BASE}: {found or 'not measured'}", soft_wrap=True)


def means(results: Results) -> dict[str, float]:
    """The geometric means of arrconv's rates as multiples of PyTorch's, the smallest call apart."""
    found = {}
    for dtype in dict.fromkeys(task.dtype for task, _ in results):
        for direction in DIRECTIONS:
            some = [(t, one) for t, one in results if (t.dtype, t.direction) == (dtype, direction)]
            for name, part in (
                (f"{dtype} {direction}", [one for one in some if one[0].row.name != "smallest"]),
                (f"smallest {dtype} {direction}", [one for one in some if one[0].row.name == "smallest"]),
            ):
                mean, count = mean_share(part, OWN, BASE)
                if count:
                    found[name] = mean
    return found


if __name__ == "__main__":
    typer.run(main)
