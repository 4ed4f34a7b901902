"""Steps one after the other, each a process of its own that ends in time and leaves a line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

SKIPPED = 77
"""The exit status of a step that has nothing to do here: that of Automake's tests."""

GRACE = 10.0
"""Seconds that a step has to write down what it has, after it was interrupted because its time was over."""

LIMIT = "LIMIT"
"""A word of a command that stands for the seconds that its step has, less those of `GRACE`."""


@dataclass(frozen=True, slots=True)
class Step:
    """A program and its arguments, and its share of the time.

    Its last line of output is its result, and so is its exit status: 0 is ok, `SKIPPED` skipped, all others failed.
    """

    name: str
    command: tuple[str, ...]
    share: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step.

    Attributes:
        name: of the step.
        verdict: `ok`, `failed` or `skipped`.
        line: what it says about it.
        seconds: how long it took.
        limit: how long it might have taken.
    """

    name: str
    verdict: Literal["ok", "failed", "skipped"]
    line: str
    seconds: float
    limit: float

    def __str__(self) -> str:
        text = f"{self.verdict}: {self.line}" if self.line else self.verdict
        return f"{self.name}: {text} ({self.seconds:.0f} s)"


def run_all(
    steps: Sequence[Step], folder: Path, root: Path, budget: float, say: Callable[[str], None]
) -> list[Outcome]:
    """Run steps within a time; what one leaves of its share is for those that follow.

    Args:
        steps: what is run, in order; none stops the others.
        folder: where each leaves its output, NAME.txt, and where `summary.json` has what is known so far.
        root: where they run.
        budget: seconds, for all.
        say: is told the line of each.

    Returns:
        The outcomes, in order.
    """
    began, found = time.monotonic(), list[Outcome]()
    for number, step in enumerate(steps):
        left = max(0.0, budget - (time.monotonic() - began))
        limit = left * step.share / sum(later.share for later in steps[number:])
        found.append(run(step, folder / f"{step.name}.txt", root, limit))
        say(str(found[-1]))
        summary = {"budget": budget, "steps": [asdict(outcome) for outcome in found]}
        (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return found


def run(step: Step, output: Path, root: Path, limit: float) -> Outcome:
    """Run a step; one whose time is over is interrupted, as by Ctrl-C, and then killed with all that it started."""
    places = [str(root), str(root / "tests"), *filter(None, sys.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    told = f"{max(1.0, limit - GRACE):.0f}"
    command = [told if word == LIMIT else word for word in step.command]
    began = time.monotonic()
    with output.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=stream,
            stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_hear_interrupts,
        )  # fmt: skip
        is_late = False
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            is_late = True
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        finally:
            with suppress(ProcessLookupError):  # what it started may be left where it is not
                os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
    seconds = time.monotonic() - began
    last = _last_line(output)
    if is_late:
        return Outcome(step.name, "failed", f"its time of {limit:.0f} s was over; {last}", seconds, limit)
    verdict: Literal["ok", "failed", "skipped"] = "failed"
    if status in (0, SKIPPED):
        verdict = "skipped" if status else "ok"
    return Outcome(step.name, verdict, last or f"exit status {status}", seconds, limit)


def _hear_interrupts() -> None:
    """In a step, before it starts: what a shell runs in the background ignores interrupts, and so would the step."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _last_line(output: Path) -> str:
    lines = output.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
