"""Inverses, norms and transforms, beside other libraries': measured here, printed as JSON on standard output."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.engine import environment
from benchmarks.operators.inverses import inverses, norm
from benchmarks.operators.noise import LARGEST, draw_noise, noise
from benchmarks.operators.problems import LIBRARIES, installed
from benchmarks.operators.race import race
from benchmarks.operators.transforms import LENGTHS, transforms

PARTS = ("inverse", "peers", "norm", "fft", "noise")


def main(
    part: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(PARTS)}; none: all of them.")] = None,
    channels: Annotated[int, typer.Option(min=1)] = 32,
    size: Annotated[int, typer.Option(min=4, help="Rows and columns of each channel.")] = 128,
    image: Annotated[int, typer.Option(min=64, help="Rows and columns of the image of fft.")] = 1024,
    seconds: Annotated[float, typer.Option(min=0, help="For each method of peers.")] = 60.0,
    rounds: Annotated[int, typer.Option(min=2, help="Of which medians and quartiles are taken.")] = 9,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw noise here.")] = None,
) -> None:
    """Measure operators."""
    parts = part or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        raise typer.BadParameter(f"{sorted(unknown)} are unknown; there are {', '.join(PARTS)}")
    if picture is not None and "noise" not in parts:
        raise typer.BadParameter("--picture draws noise, which is not asked for")
    libraries = installed()
    measure: dict[str, Callable[[], Any]] = {
        "inverse": lambda: inverses(channels, size, rounds),
        "peers": lambda: race(channels, size, seconds, rounds, libraries),
        "norm": lambda: norm(channels, size, rounds),
        "fft": lambda: transforms(image, LENGTHS, rounds, libraries),
        "noise": lambda: noise(*map(min, LARGEST, (channels, size))),
    }
    record = {name: measure[name]() for name in PARTS if name in parts}
    if picture is not None:
        draw_noise(record["noise"], picture)
    record |= {"channels": channels, "size": size, "image": image, "seconds_each": seconds} | environment()
    record["versions"] |= libraries
    record["not_installed"] = [name for name in LIBRARIES if name not in libraries]
    print(json.dumps(record))


if __name__ == "__main__":
    typer.run(main)
