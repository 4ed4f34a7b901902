"""`python -m benchmarks.gpu.training`: an epoch of the seed's network on the device, beside PyTorch's.

Two noisy copies of each picture, plain gradient descent, batches of 32 and of 512, float32; the data lie on the device.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from benchmarks.gpu.aims import Aim, Figure, grid, summary
from benchmarks.gpu.libraries import DEVICES
from benchmarks.gpu.report import Piece, about, check, clocks, show, tested, write
from benchmarks.gpu.rivals import Rival, started
from benchmarks.gpu.trainers import WAYS
from benchmarks.peers.report import BASE, OWN, Grid

BATCHES = (32, 512)
AIMS = (
    Aim(f"{OWN}, batches of 32", 4.0, "s", is_at_most=True),
    Aim(f"{OWN}, batches of 512", 1.0, "s", is_at_most=True),
)

FIRST = 5
"""Steps whose losses are compared."""

CLOSE = {False: 1e-4, True: 1e-2}
"""How far apart they may be, relatively: in float32, and where products are of TF32, which has 13 bits less."""

TELLING = 50
"""Steps that tell how long an epoch will take."""

LONGEST = 20.0
"""Seconds beyond which an epoch is not run to its end, but continued in thought."""


@dataclass
class Epochs:
    """What was measured of a way to train with batches of one size.

    Attributes:
        way, batch: which.
        lacks: why it was not measured, where it was not.
        seconds: of an epoch, each time.
        steps: that were run.
        steps_in_all: of an epoch; where fewer were run, seconds are those of the steps, continued to the end.
        first: mean losses so far, of the first steps.
        loss: the mean of the epoch, as far as it was run.
    """

    way: str
    batch: int
    lacks: str = "there was no time"
    seconds: list[float] = field(default_factory=list)
    steps: int = 0
    steps_in_all: int = 0
    first: list[float] = field(default_factory=list)
    loss: float = math.nan

    @property
    def extent(self) -> str:
        """How much of an epoch was run."""
        return "an epoch" if self.steps == self.steps_in_all else f"{self.steps} steps of {self.steps_in_all}"


def main(
    ways: Annotated[list[str] | None, typer.Option("--way", help=f"Of {', '.join(WAYS)}.")] = None,
    sizes: Annotated[list[int] | None, typer.Option("--batch", min=1, help="32 and 512 if nothing is said.")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Of an epoch.")] = 50_000,
    width: Annotated[int, typer.Option(min=1, help="Of the network.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    budget: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="End what lasts longer.")] = math.inf,
    device: Annotated[str, typer.Option(metavar="|".join(DEVICES), help="cpu is for trying it out.")] = "cuda",
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Keep the record here.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report here.")] = None,
    read: Annotated[Path | None, typer.Option(metavar="FILE", help="Show a record; measure nothing.")] = None,
) -> None:
    """Measure an epoch of training by arrconv's `fit` and by PyTorch, eager and compiled, TF32 off and on.

    Exit status: 0, or 2 where there is no CuPy or no device, or a name is unknown.
    """
    ends, console = time.monotonic() + budget, Console(width=220)
    if read is not None:
        show(pieces(json.loads(read.read_text(encoding="utf-8"))), console, markdown)
        return
    check("--way", ways, WAYS)
    check("--device", [device], DEVICES)
    there, missing = started("benchmarks.gpu.trainers", ways or WAYS, device)
    try:
        if not there or OWN in missing:
            typer.echo(f"benchmarks.gpu.training: {missing.get(OWN) or next(iter(missing.values()))}")
            raise typer.Exit(2)
        known = about(device, rounds, (rival.about for rival in there.values()))
        known |= {"missing": missing, "pairs": pairs, "width": width}
        record: dict[str, Any] = {}
        for found in measure(there, sizes or BATCHES, (pairs, width), rounds, ends):
            shown = figures(found)
            record = known | {"epochs": [asdict(one) for one in found], "aims": [aim.judged(shown) for aim in AIMS]}
            write(record, json_file)
        write(record := record | clocks(device), json_file)
    finally:
        for rival in there.values():
            rival.close()
    show(pieces(record), console, markdown)  # last, whatever processes say as they end


def measure(
    rivals: Mapping[str, Rival], sizes: Sequence[int], work: tuple[int, int], rounds: int, ends: float
) -> Iterator[list[Epochs]]:
    """Measure epochs of so many pairs, with a network so wide, in turns; what is known so far, after each.

    What compiles comes last, when the others have been measured.
    """
    found = {(way, batch): Epochs(way, batch) for way in rivals for batch in sizes}
    plain = [way for way in rivals if "compiled" not in way]
    groups = (plain, [way for way in rivals if way not in plain])
    ready = set[str]()
    for way, batch in ((w, b) for group in groups for _ in range(rounds) for b in sizes for w in group):
        one, rival = found[way, batch], rivals[way]
        lasts = max(one.seconds, default=0.0) * one.steps / (one.steps_in_all or 1)
        if (one.lacks and one.steps_in_all) or time.monotonic() + lasts > ends:
            continue
        if way not in ready:
            ready.add(way)
            answer = rival.ask("prepare", _left(ends), pairs=work[0], width=work[1])
            if "lacks" in answer:
                for other in sizes:
                    found[way, other] = Epochs(way, other, answer["lacks"], steps_in_all=-(-work[0] // other))
                continue
        if not one.steps_in_all:
            _begin(one, rival, work[0], ends, found.get((OWN, batch)))
        if not one.lacks:
            _run(one, rival, work[0], ends)
        yield list(found.values())
    yield list(found.values())


def _begin(one: Epochs, rival: Rival, pairs: int, ends: float, own: Epochs | None) -> None:
    """Compile and warm up, compare the first losses with arrconv's, and see how long an epoch will be."""
    batch, one.steps_in_all = one.batch, -(-pairs // one.batch)
    short = min(pairs, batch + pairs % batch)  # a full batch, and one like the last
    for count, every in ((short, 1), (min(pairs, FIRST * batch), 1), (min(pairs, TELLING * batch), TELLING)):
        answer = rival.ask("train", _left(ends), batch=batch, count=count, every=every)
        if "lacks" in answer:
            one.lacks = answer["lacks"]
            return
        if every == 1:
            one.first = answer["losses"]
    step = answer["seconds"] / -(-count // batch)
    one.steps = max(1, min(one.steps_in_all, int(LONGEST / max(step, 1e-9))))
    one.lacks = ""
    if own is not None and own.first:
        near = CLOSE["tf32" in one.way]
        if not np.allclose(one.first, own.first, rtol=near, atol=0):
            one.lacks = f"its losses are {one.first}, not within {near:g} of {own.first}: other work"


def _run(one: Epochs, rival: Rival, pairs: int, ends: float) -> None:
    """Train for an epoch, or for as many steps as were settled on."""
    count = min(pairs, one.steps * one.batch)
    answer = rival.ask("train", _left(ends), batch=one.batch, count=count)
    if "lacks" in answer:
        one.lacks = answer["lacks"]
        return
    one.seconds.append(answer["seconds"] * one.steps_in_all / one.steps)
    one.loss = answer["losses"][-1]


def _left(ends: float) -> float | None:
    return None if math.isinf(ends) else max(1.0, ends - time.monotonic())


def figures(found: Sequence[Epochs]) -> dict[str, Figure]:
    """Seconds of an epoch."""
    return {
        f"{one.way}, batches of {one.batch}": Figure.of_rounds(median(one.seconds), one.seconds, one.extent)
        for one in found
        if one.seconds
    }


def pieces(record: dict[str, Any]) -> Iterator[Piece]:
    """The report of a record."""
    found = [Epochs(**one) for one in record["epochs"]]
    yield grid(record["aims"])
    seconds = {(one.way, one.batch): median(one.seconds) for one in found if one.seconds}
    lines = []
    for one in found:
        mine, base = seconds.get((one.way, one.batch)), seconds.get((BASE, one.batch))
        cells = ["–", "", "", ""]
        if mine is not None:
            rounds = f"{min(one.seconds):.2f} to {max(one.seconds):.2f} ({len(one.seconds)})"
            cells = [f"{mine:.2f}", rounds, f"{1e3 * mine / one.steps_in_all:.2f}", f"{one.loss:.6f}"]
        cells.insert(3, f"{mine / base:.2f}×" if mine and base else "")
        lines.append([one.way, str(one.batch), *cells, one.extent if mine is not None else ""])
    header = ["way", "batch", "s an epoch", "all rounds", "ms a step", f"of {BASE}'s time", "mean loss", "measured"]
    title = f"An epoch of {record['pairs']} pairs of 32×32, the seed's network of width {record['width']}, float32"
    yield Grid(title, header, lines)
    for name, reason in record["missing"].items():
        yield f"{name} is not there: {reason}"
    yield from (f"{one.way}, batches of {one.batch}, was not measured: {one.lacks}" for one in found if one.lacks)
    yield tested(record)
    yield f"{len(seconds)} of {len(found)} ways and sizes; {summary(record['aims'])}"


if __name__ == "__main__":
    typer.run(main)
