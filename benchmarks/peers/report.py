"""What was measured, as tables, as data, and as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.table import Table

from benchmarks.peers.measure import Measured
from benchmarks.peers.work import Task

BASE = "torch"
"""The library that the others are compared with."""

OWN = "arrconv"

PRODUCT, MEMORY = "matmul", "copy"
"""What is measured to know the machine."""

Results = Sequence[tuple[Task, dict[str, Measured]]]


def shares(one: Measured, other: Measured) -> list[float]:
    """How many times the rate of another's the rate is, round by round."""
    return [
        (one.operations / mine) / (other.operations / theirs)
        for mine, theirs in zip(one.seconds, other.seconds, strict=False)
    ]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return low, middle, high


def mean_share(results: Results, name: str, other: str) -> tuple[float, int]:
    """The geometric mean of the medians over all tasks that both have done, and how many these are."""
    logarithms = [
        math.log(median(shares(found[name], found[other])))
        for _, found in results
        if found.get(name, Measured()).seconds and found.get(other, Measured()).seconds
    ]
    return (math.exp(sum(logarithms) / len(logarithms)) if logarithms else math.nan), len(logarithms)


def limit(task: Task, found: dict[str, Measured]) -> float | None:
    """Operations a second that the machine allows: those of its matrix products, and what its memory can feed."""
    rates = []
    if (square := found.get(PRODUCT, Measured())).seconds:
        rates.append(square.operations / median(square.seconds))
    if (copy := found.get(MEMORY, Measured())).seconds:
        rates.append(task.operations / task.traffic * copy.operations / median(copy.seconds))
    return min(rates) if rates else None


@dataclass(frozen=True)
class Grid:
    """A table for one dtype and direction: rates, multiples of PyTorch's, and of arrconv more."""

    title: str
    header: list[str]
    lines: list[list[str]]


def grids(results: Results, names: Sequence[str]) -> Iterable[Grid]:
    """A grid for each dtype and direction; the last line has the geometric means."""
    kinds = dict.fromkeys((task.dtype, task.direction) for task, _ in results)
    shown = [name for name in names if name not in (PRODUCT, MEMORY)]
    for dtype, direction in kinds:
        some = [(task, found) for task, found in results if (task.dtype, task.direction) == (dtype, direction)]
        lines = []
        for task, found in some:
            most = limit(task, found)
            cells = [_cell(found.get(name), found.get(BASE)) for name in shown]
            own = _own(found.get(OWN), found.get(PRODUCT))
            lines.append([task.row.name, "" if most is None else f"{most / 1e9:.0f}", *cells, *own])
        means = ["" if name == BASE else _mean(some, name, BASE, "×") for name in shown]
        lines.append(["geometric mean", "", *means, _mean(some, OWN, PRODUCT, ""), ""])
        header = ["row", "limit", *shown, f"{OWN} of matmul", f"{OWN} MiB beyond"]
        yield Grid(f"{dtype}, {direction}: GFLOP/s, and as a multiple of {BASE}'s", header, lines)


def table(grid: Grid) -> Table:
    """A grid for the terminal."""
    found = Table(title=grid.title, title_justify="left")
    for number, name in enumerate(grid.header):
        found.add_column(name, justify="right" if number else "left")
    for line in grid.lines:
        found.add_row(*line, style="bold" if line is grid.lines[-1] else None)
    return found


def markdown(grid: Grid) -> str:
    """A grid as Markdown."""
    lines = [grid.header, ["---", *["---:"] * (len(grid.header) - 1)], *grid.lines]
    return "\n".join([f"**{grid.title}**", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def _cell(one: Measured | None, base: Measured | None) -> str:
    if one is None or not one.seconds:
        return "–"
    rate = f"{one.operations / median(one.seconds) / 1e9:.1f}"
    mark = "" if one.apart is None or one.apart <= 1 else "!"
    if base is None or not base.seconds or base is one:
        return f"{rate}{mark}"
    return f"{rate}{mark} ({median(shares(one, base)):.2f}×)"


def _own(own: Measured | None, square: Measured | None) -> tuple[str, str]:
    """arrconv's share of the rate of matrix products, and the memory that it took."""
    if own is None or not own.seconds:
        return "", ""
    share = f"{median(shares(own, square)):.0%}" if square is not None and square.seconds else ""
    return share, "" if own.extra_bytes is None else f"{own.extra_bytes / 2**20:.0f}"


def _mean(some: Results, name: str, other: str, unit: str) -> str:
    mean, count = mean_share(some, name, other)
    if not count:
        return ""
    return f"{mean:.2f}{unit} ({count})" if unit else f"{mean:.0%}"


def digests(results: Results, names: Sequence[str]) -> str:
    """Whether arrconv has the same bits on each number of threads that it was measured on; "" if there was but one."""
    own = [name for name in names if name.partition(":")[0] == OWN]
    if len(own) < 2:
        return ""
    tasks = [(task, {found[name].digest for name in own if found[name].digest}) for task, found in results]
    differing = [str(task) for task, some in tasks if len(some) > 1]
    verdict = f"differing bits in {'; '.join(differing)}" if differing else "the same bits in each"
    return f"{' and '.join(own)}: {len(tasks)} tasks, {verdict}"


def as_json(results: Results, about: dict[str, Any]) -> dict[str, Any]:
    """Everything that was measured."""
    return about | {
        "tasks": [
            {**task.data, "transposed": task.row.is_transposed, "operations": task.operations}
            | {"libraries": {name: one.data for name, one in found.items()}}
            for task, found in results
        ]
    }


def from_json(record: dict[str, Any]) -> Results:
    """What `as_json` was given."""
    return [
        (Task.of(one), {name: Measured(**found) for name, found in one["libraries"].items()}) for one in record["tasks"]
    ]


def picture(results: Results, names: Sequence[str], file: Path) -> None:
    """Draw the multiples of PyTorch's rate, a panel for each dtype and direction; it needs matplotlib."""
    from matplotlib import pyplot as plt

    dtypes = list(dict.fromkeys(task.dtype for task, _ in results))
    directions = list(dict.fromkeys(task.direction for task, _ in results))
    rows = list(dict.fromkeys(task.row.name for task, _ in results))
    size = (2 + 4 * len(directions), 1 + len(dtypes) * (1 + 0.25 * len(rows)))
    figure, axes = plt.subplots(
        len(dtypes), len(directions), figsize=size, sharey=True, sharex=True, squeeze=False, layout="constrained"
    )
    colours = dict(zip((name for name in names if name not in (BASE, PRODUCT, MEMORY)), _colours(), strict=False))
    for (row, dtype), (column, direction) in product(enumerate(dtypes), enumerate(directions)):
        axis = axes[row][column]
        some = [(task, found) for task, found in results if (task.dtype, task.direction) == (dtype, direction)]
        for name, colour in colours.items():
            points = [
                (spread(shares(found[name], found[BASE])), rows.index(task.row.name))
                for task, found in some
                if found[name].seconds and found[BASE].seconds
            ]
            if points:
                middles = [middle for (_, middle, _), _ in points]
                errors = [[m - low for (low, m, _), _ in points], [high - m for (_, m, high), _ in points]]
                size_ = 7 if name == OWN else 4
                places = [at for _, at in points]
                axis.errorbar(middles, places, xerr=errors, fmt="o", markersize=size_, label=name, color=colour)
        _draw_limits(axis, some, rows)
        axis.axvline(1, color="0.5", linewidth=1)
        axis.set_xscale("log")
        axis.set_title(f"{dtype}, {direction}", fontsize="medium")
        axis.grid(alpha=0.3)
    axes[0][0].set_yticks(range(len(rows)), rows)
    axes[0][0].invert_yaxis()
    figure.supxlabel(f"rate as a multiple of {BASE}'s: median and quartiles; | is what the machine allows")
    handles = {
        label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles))
    figure.savefig(file)


def _draw_limits(axis: Any, some: Results, rows: list[str]) -> None:
    """What the machine allows on each row, as a multiple of the base's rate."""
    limits = [
        (most / (found[BASE].operations / median(found[BASE].seconds)), rows.index(task.row.name))
        for task, found in some
        if found.get(BASE, Measured()).seconds and (most := limit(task, found)) is not None
    ]
    axis.plot([most for most, _ in limits], [at for _, at in limits], "|", color="0.3", markersize=9)


def _colours() -> Iterable[str]:
    """arrconv's first, and then those that are told apart best."""
    return ("tab:red", "tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:pink", "tab:olive")
