"""What was measured on a GPU, as tables and as Markdown, from a record alone."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import geometric_mean, median
from typing import TYPE_CHECKING, Any

import typer

from benchmarks.gpu.aims import Aim, Figure, grid, summary
from benchmarks.gpu.work import DTYPES, SMALLEST
from benchmarks.peers.measure import Measured
from benchmarks.peers.report import (
    BASE,
    MEMORY,
    OWN,
    PRODUCT,
    Grid,
    Results,
    from_json,
    grids,
    markdown,
    mean_share,
    shares,
    table,
)
from benchmarks.peers.work import DIRECTIONS, Task

if TYPE_CHECKING:
    from rich.console import Console

Piece = Grid | str
"""What a report consists of: tables and lines."""

SHARE = {"float64": 1.5, "float32": 0.8, "float16": 0.5, "bfloat16": 0.5}
"""Multiples of PyTorch's rate that are asked of arrconv, TF32 switched off."""

CUDNN = f"{OWN}:cudnn"

AIMS = (
    *(Aim(f"{OWN} {dtype} {direction}", SHARE[dtype]) for dtype in DTYPES for direction in DIRECTIONS),
    *(Aim(f"{OWN} float32 {direction}", 1.0) for direction in DIRECTIONS),
    *(Aim(f"{CUDNN} {dtype} {direction}", 0.95) for dtype in ("float16", "bfloat16") for direction in DIRECTIONS),
    *(
        Aim(f"{OWN} {SMALLEST} {dtype} {direction}, time", 1.5, is_at_most=True)
        for dtype in DTYPES
        for direction in DIRECTIONS
    ),
)

NOTICED = 1.03
"""Times the rate of arrconv's own choice from which on another of its algorithms is named beside it."""

CLOCKS = "driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.draw,temperature.gpu"


def figures(results: Results) -> dict[str, Figure]:
    """Geometric means of multiples of PyTorch's rate, by algorithm, dtype and direction; the smallest call's time.

    What is further off than rounding allows does not count.
    """
    results = [(task, {name: one for name, one in found.items() if is_right(one)}) for task, found in results]
    found = {}
    for name in dict.fromkeys(name for _, one in results for name in one if is_own(name)):
        for dtype, direction in dict.fromkeys((task.dtype, task.direction) for task, _ in results):
            some = [(t, one) for t, one in results if (t.dtype, t.direction) == (dtype, direction)]
            small, large = _parted(some)
            if figure := _mean(large, name):
                found[f"{name} {dtype} {direction}"] = figure
            if figure := _mean(small, name):
                time = Figure(1 / figure.median, 1 / figure.most, 1 / figure.least, "the call alone")
                found[f"{name} {SMALLEST} {dtype} {direction}, time"] = time
    return found


def _parted(results: Results) -> tuple[Results, Results]:
    """Those of the smallest call, which is a matter of launching, and all others."""
    small = [one for one in results if one[0].row.name == SMALLEST]
    return small, [one for one in results if one[0].row.name != SMALLEST]


def _mean(some: Results, name: str) -> Figure | None:
    """A geometric mean over rows, and that of each round that all of them have."""
    mean, count = mean_share(some, name, BASE)
    if not count:
        return None
    both = [shares(found[name], found[BASE]) for _, found in some if name in found and BASE in found]
    rounds = [geometric_mean(values) for values in zip(*filter(None, both), strict=False)]
    return Figure.of_rounds(mean, rounds, f"{count} of {len(some)} rows")


def is_own(name: str) -> bool:
    """Whether it is arrconv, by whatever algorithm."""
    return name.partition(":")[0] == OWN


def is_right(one: Measured) -> bool:
    """Whether a result, if there is one, is as near as rounding allows."""
    return one.apart is None or one.apart <= 1


def pieces(record: dict[str, Any]) -> Iterator[Piece]:
    """The report of a record: verdicts, a table for each dtype and direction, what lacks, what measured it."""
    results = from_json(record)
    yield grid(record["aims"])
    names = record["libraries"]
    small, large = _parted(results)
    for kind in dict.fromkeys((task.dtype, task.direction) for task, _ in large):
        some = [(task, found) for task, found in large if (task.dtype, task.direction) == kind]
        shown = [name for name in names if any(found.get(name, Measured()).seconds for _, found in some)]
        for one in grids(some, shown):
            extra = [(_of_memory(task, found), _fastest(found)) for task, found in some]
            lines = [[*line[:-1], *more] for line, more in zip(one.lines, [*extra, ("", "")], strict=True)]
            yield replace(one, header=[*one.header[:-1], f"{OWN} of {MEMORY}", "fastest"], lines=lines)
    if small:
        yield _smallest(small, names)
    yield from _lacking(results, record)
    yield tested(record)
    yield f"{len(results)} of {record['tasks_in_all']} tasks; {summary(record['aims'])}"


def _of_memory(task: Task, found: dict[str, Measured]) -> str:
    """The bytes that arrconv has to read or write, as a share of those that a copy does in the time."""
    own, copy = found.get(OWN, Measured()), found.get(MEMORY, Measured())
    if not (own.seconds and copy.seconds):
        return ""
    return f"{median(shares(replace(own, operations=task.traffic), copy)):.0%}"


def _fastest(found: dict[str, Measured]) -> str:
    """The algorithm that is faster than the one that arrconv chooses, if there is one."""
    if not found.get(OWN, Measured()).seconds:
        return ""
    own = {name: one for name, one in found.items() if is_own(name) and one.seconds and is_right(one)}
    rates = {name: median(shares(one, found[OWN])) for name, one in own.items()}
    name = max(rates, key=lambda name: rates[name], default=OWN)
    return f"{name.partition(':')[2]} {rates[name]:.2f}×" if rates.get(name, 0.0) >= NOTICED else ""


def _smallest(results: Results, names: Sequence[str]) -> Grid:
    shown = [name for name in names if name not in (PRODUCT, MEMORY)]
    lines = []
    for task, found in results:
        cells = []
        for name in shown:
            one, base = found.get(name, Measured()), found.get(BASE, Measured())
            text = f"{median(one.seconds) * 1e6:.1f}" if one.seconds else "–"
            ratio = f" ({1 / median(shares(one, base)):.2f}×)" if one.seconds and base.seconds and name != BASE else ""
            cells.append(text + ratio)
        lines.append([f"{task.dtype}, {task.direction}", *cells])
    return Grid(f"The smallest call: µs, and as a multiple of {BASE}'s", ["", *shown], lines)


def _lacking(results: Results, record: dict[str, Any]) -> Iterator[str]:
    """Why something was not measured, and how often."""
    for name, reason in record["missing"].items():
        yield f"{name} is not there: {reason}"
    reasons = Counter((name, one.lacks) for _, found in results for name, one in found.items() if one.lacks)
    for (name, reason), count in reasons.items():
        yield f"{name} lacks {count} tasks: {reason}"
    wrong = Counter(name for _, found in results for name, one in found.items() if not is_right(one))
    for name, count in wrong.items():
        yield f"{name} is further off than rounding allows in {count} tasks, marked with !"
    for row, count in record["left_out"].items():
        yield f"left out for want of time: {row}, {count} tasks"


def tested(record: dict[str, Any]) -> str:
    """What measured, and on what."""
    parts = [f"{key} {value}" for key, value in (record["device"] | record["versions"]).items()]
    parts += [f"{key} {value}" for key, value in record["clocks"].items()]
    return f"{record['date']}; {', '.join(parts)}; {record['rounds']} rounds; times by {record['timed_by']}"


def about(device: str, rounds: int, answers: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What a record says of who measured it: date, rounds, clocks, and what processes said of themselves."""
    said = list(answers)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "rounds": rounds,
        "device": next((one["device"] for one in said if one.get("device")), {}),
        "versions": {name: version for one in said for name, version in one["versions"].items()},
    } | clocks(device)


def clocks(device: str) -> dict[str, Any]:
    """What the times are of, and what the driver says of the device's clocks now, if its command is there."""
    if device != "cuda":
        return {"timed_by": "the processor's clock", "clocks": {}}
    command = ["nvidia-smi", f"--query-gpu={CLOCKS}", "--format=csv,noheader", "--id=0"]
    try:
        found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        found = ""
    values = (value.strip() for value in found.split(","))
    return {"timed_by": "CUDA's events", "clocks": dict(zip(CLOCKS.split(","), values, strict=False)) if found else {}}


def check(option: str, given: Iterable[str] | None, known: Iterable[str]) -> None:
    """Raise an error where a name is unknown."""
    if unknown := sorted(set(given or ()) - set(known)):
        raise typer.BadParameter(f"{option} {unknown[0]!r} is unknown; there are {', '.join(known)}")


def write(record: dict[str, Any], file: Path | None) -> None:
    """Keep a record as JSON, whole at any time."""
    if file is not None:
        new = file.with_suffix(".new")
        new.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        new.replace(file)


def show(report: Iterable[Piece], console: Console, file: Path | None) -> None:
    """Print a report, and write it as Markdown."""
    found = list(report)
    for piece in found:
        console.print(piece if isinstance(piece, str) else table(piece), soft_wrap=True, markup=False, highlight=False)
    if file is not None:
        text = "\n".join(f"{piece}\n" if isinstance(piece, str) else markdown(piece) for piece in found)
        file.write_text(text, encoding="utf-8")
