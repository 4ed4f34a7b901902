"""`python -m benchmarks.gpu`: measure arrconv on CuPy beside PyTorch, and say what came of it."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from arrconv_conformance.data import is_available
from rich.console import Console

from arrconv.kernels import ALGORITHMS
from benchmarks.gpu.libraries import DEVICES, TF32
from benchmarks.gpu.measure import measure
from benchmarks.gpu.report import AIMS, about, check, clocks, figures, pieces, show, write
from benchmarks.gpu.rivals import Rival, started
from benchmarks.gpu.work import DTYPES, tasks
from benchmarks.peers.report import BASE, MEMORY, OWN, PRODUCT, Results, as_json
from benchmarks.peers.work import ROWS, Task

RIVALS = ("cuda", "implicit", "cudnn")
"""arrconv's algorithms for GPUs, which are measured beside the one that it chooses, as far as there are any."""

PERIOD = 5.0
"""Seconds after which what was measured is written down, in case that all ends."""


def main(
    rows: Annotated[list[str] | None, typer.Option("--row", help="Only this row.")] = None,
    dtypes: Annotated[list[str] | None, typer.Option("--dtype", help=f"Of {', '.join(DTYPES)}.")] = None,
    algorithms: Annotated[
        list[str] | None, typer.Option("--algorithm", help="Of arrconv's, beside what it chooses itself.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    budget: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Begin nothing that may last longer.")
    ] = math.inf,
    device: Annotated[str, typer.Option(metavar="|".join(DEVICES), help="cpu is for trying it out.")] = "cuda",
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Keep the record here.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report here.")] = None,
    read: Annotated[Path | None, typer.Option(metavar="FILE", help="Show a record; measure nothing.")] = None,
) -> None:
    """Measure arrconv on CuPy beside PyTorch with cuDNN, TF32 off and on.

    Exit status: 0, or 2 where there is no CuPy or no device, or a name is unknown.
    """
    ends, console = time.monotonic() + budget, Console(width=220)
    if read is not None:
        show(pieces(json.loads(read.read_text(encoding="utf-8"))), console, markdown)
        return
    for option, given, known in (
        ("--row", rows, ROWS),
        ("--dtype", dtypes, DTYPES),
        ("--algorithm", algorithms, ALGORITHMS),
        ("--device", [device], DEVICES),
    ):
        check(option, given, known)
    chosen = algorithms or [name for name in RIVALS if name in ALGORITHMS]
    own = [OWN, *(f"{OWN}:{name}" for name in chosen if name != "auto")]
    there, missing = started("benchmarks.gpu.worker", (PRODUCT, MEMORY, BASE, TF32, *own), device)
    try:
        if OWN in missing:
            typer.echo(f"benchmarks.gpu: {missing[OWN]}")
            raise typer.Exit(2)
        work = list(tasks(rows, [dtype for dtype in dtypes or DTYPES if is_available(dtype)]))
        if not is_available("bfloat16"):
            missing["bfloat16"] = "ml_dtypes is not installed"
        known = about(device, rounds, (rival.about for rival in there.values())) | {"missing": missing}
        for record in records(work, there, rounds, ends, known):
            write(record, json_file)
        write(record := record | clocks(device), json_file)
    finally:
        for rival in there.values():
            rival.close()
    show(pieces(record), console, markdown)  # last, whatever processes say as they end


def records(
    work: Sequence[Task], rivals: Mapping[str, Rival], rounds: int, ends: float, known: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Measure; all that is known, at the beginning, every few seconds, and at the end."""
    known, results = known | {"libraries": list(rivals), "tasks_in_all": len(work)}, list[Any]()
    due = 0.0
    for one in measure(work, rivals, rounds, ends):
        results.append(one)
        if time.monotonic() >= due:
            yield record_of(results, work, known)
            due = time.monotonic() + PERIOD
    yield record_of(results, work, known)


def record_of(results: Results, work: Sequence[Task], known: dict[str, Any]) -> dict[str, Any]:
    """All that is known after so many of the tasks."""
    found = figures(results)
    left = Counter(task.row.name for task in work[len(results) :])
    judged = [aim.judged(found) for aim in AIMS]
    return as_json(results, known | {"left_out": dict(left), "aims": judged})


if __name__ == "__main__":
    typer.run(main)
