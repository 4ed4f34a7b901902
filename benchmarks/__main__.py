"""Runs measurements in clean processes, prints tables: `python -m benchmarks [engine] [exact] …`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from benchmarks.operators.report import of_operators
from benchmarks.peers.session import PINS, removed


def measure(name: str, options: str = "") -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name not in PINS}
    command = [sys.executable, "-m", f"benchmarks.{name}", *shlex.split(options)]
    result = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    record: dict[str, Any] = json.loads(result.stdout)
    return record | {"variables_removed": removed()}


def of_engine(record: dict[str, Any]) -> list[RenderableType]:
    table = Table(title="64→64 channels, 3×3, 56×56, batch 8, beside a matrix product taking turns")
    for column in ("dtype", "member", "GFLOP/s", "matmul GFLOP/s", "share of matmul, median (quartiles)"):
        table.add_column(column)
    for dtype, members in record["rates"].items():
        for member, found in members.items():
            share = found["share"]
            quartiles = f"{share['median']:.0%} ({share['lower_quartile']:.0%} to {share['upper_quartile']:.0%})"
            rate, matmul = found["gflops"]["median"], found["matmul_gflops"]["median"]
            table.add_row(dtype, member, f"{rate:.0f}", f"{matmul:.0f}", quartiles)
    memory, call = record["memory"], record["smallest_call_us"]
    return [
        table,
        f"smallest call (1, 3, 8, 8) to 8 channels, 3×3, float64: {call['median']:.0f} µs "
        f"({call['lower_quartile']:.0f} to {call['upper_quartile']:.0f})",
        f"(1, 64, 512, 512) float32 to 64 channels, 3×3: {memory['extra_MB']:.1f} MB beyond inputs and output "
        f"({memory['output_MB']:.1f} MB)",
    ]


def of_exact(record: dict[str, Any]) -> list[RenderableType]:
    table = Table(title='algorithm="exact" beside plain float64, 64→64 channels, 3×3, 56×56, batch 8, taking turns')
    for column in ("data", "plain ms", "exact ms", "multiple, median (quartiles)"):
        table.add_column(column)
    for data, found in record["exact"].items():
        multiple = found["multiple"]
        quartiles = f"{multiple['median']:.1f} ({multiple['lower_quartile']:.1f} to {multiple['upper_quartile']:.1f})"
        table.add_row(data, f"{found['plain_ms']['median']:.1f}", f"{found['exact_ms']['median']:.0f}", quartiles)
    return [table]


def of_training(record: dict[str, Any]) -> list[RenderableType]:
    table = Table(title="a training step, float32, medians (quartiles), taking turns")
    for column in ("network, batch", "arrconv ms", "PyTorch ms", "PyTorch's time / arrconv's"):
        table.add_column(column)
    for name, found in record["steps"].items():
        cells = []
        for key, digits in (("arrconv_ms", 1), ("torch_ms", 1), ("torch / arrconv", 2)):
            one = found.get(key)
            low, middle, high = (one[k] for k in ("lower_quartile", "median", "upper_quartile")) if one else (0, 0, 0)
            cells.append(f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})" if one else "not installed")
        table.add_row(name, *cells)
    return [table]


TABLES = {"engine": of_engine, "exact": of_exact, "training": of_training, "operators": of_operators}


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(TABLES)}; none: all of them.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Keep the records here.")] = None,
    options: Annotated[str, typer.Option(metavar="'--part norm'", help="What operators takes, when it is alone.")] = "",
) -> None:
    """Measure arrconv."""
    if unknown := set(names or ()) - TABLES.keys():
        raise typer.BadParameter(f"{sorted(unknown)} are unknown; there are {', '.join(TABLES)}")
    if options and names != ["operators"]:
        raise typer.BadParameter("--options are those of operators, and of nothing else")
    console = Console()
    records = {}
    for name in names or TABLES:
        record = records[name] = measure(name, options)
        tested = f"{record['processor']}, {record['threads']} threads; {record['versions']}; {record['blas']}"
        pins = f"variables removed: {record['variables_removed'] or 'none'}"
        for part in (*TABLES[name](record), f"{tested}; {pins}"):
            console.print(part, markup=False, highlight=False, soft_wrap=True)
    if json_file is not None:
        json_file.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
