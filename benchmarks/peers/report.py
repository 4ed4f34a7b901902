"""What was measured, as tables, as data, and as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.table import Table

from benchmarks.peers.measure import Measured
from benchmarks.peers.work import Task

BASE = "torch"
"""The library that the others are compared with."""

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


def tables(results: Results, names: Sequence[str]) -> Iterable[Table]:
    """A table for each dtype and direction: rates, and how many times those of PyTorch they are."""
    kinds = dict.fromkeys((task.dtype, task.direction) for task, _ in results)
    for dtype, direction in kinds:
        some = [(task, found) for task, found in results if (task.dtype, task.direction) == (dtype, direction)]
        table = Table(title=f"{dtype}, {direction}: GFLOP/s, and as a multiple of {BASE}'s", title_justify="left")
        table.add_column("row")
        for name in names:
            table.add_column(name, justify="right")
        for task, found in some:
            table.add_row(task.row.name, *(_cell(found.get(name), found.get(BASE)) for name in names))
        table.add_row(
            "geometric mean",
            *("" if name in (BASE, "matmul") else _mean(some, name) for name in names),
            style="bold",
        )
        yield table


def _cell(one: Measured | None, base: Measured | None) -> str:
    if one is None or not one.seconds:
        return "–"
    rate = f"{one.operations / median(one.seconds) / 1e9:.1f}"
    mark = "" if one.apart is None or one.apart <= 1 else "!"
    if base is None or not base.seconds or base is one:
        return f"{rate}{mark}"
    return f"{rate}{mark} ({median(shares(one, base)):.2f}×)"


def _mean(some: Results, name: str) -> str:
    mean, count = mean_share(some, name, BASE)
    return f"{mean:.2f}× ({count})" if count else ""


def as_json(results: Results, about: dict[str, Any]) -> dict[str, Any]:
    """Everything that was measured."""
    return about | {
        "tasks": [
            {**task.data, "case": task.row.case, "transposed": task.row.is_transposed, "operations": task.operations}
            | {"libraries": {name: one.data for name, one in found.items()}}
            for task, found in results
        ]
    }


def picture(results: Results, names: Sequence[str], file: Path) -> None:
    """Draw the multiples of PyTorch's rate, a panel for each dtype and direction; it needs matplotlib."""
    from matplotlib import pyplot as plt

    kinds = list(dict.fromkeys((task.dtype, task.direction) for task, _ in results))
    figure, axes = plt.subplots(
        1, len(kinds), figsize=(1.5 + 3 * len(kinds), 6), sharey=True, squeeze=False, layout="constrained"
    )
    rows = list(dict.fromkeys(task.row.name for task, _ in results))
    for axis, kind in zip(axes[0], kinds, strict=True):
        for name in names:
            if name in (BASE, "matmul"):
                continue
            points = [
                (spread(shares(found[name], found[BASE])), rows.index(task.row.name))
                for task, found in results
                if (task.dtype, task.direction) == kind and found[name].seconds and found[BASE].seconds
            ]
            if points:
                middles = [middle for (_, middle, _), _ in points]
                errors = [[m - low for (low, m, _), _ in points], [high - m for (_, m, high), _ in points]]
                axis.errorbar(middles, [at for _, at in points], xerr=errors, fmt="o", markersize=4, label=name)
        axis.axvline(1, color="0.5", linewidth=1)
        axis.set_xscale("log")
        axis.set_title(f"{kind[0]}\n{kind[1]}", fontsize="medium")
        axis.grid(axis="x", alpha=0.3)
    axes[0][0].set_yticks(range(len(rows)), rows)
    axes[0][0].invert_yaxis()
    figure.supxlabel(f"rate as a multiple of {BASE}'s: median and quartiles")
    handles = {
        label: handle for axis in axes[0] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles))
    figure.savefig(file)
