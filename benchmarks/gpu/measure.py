"""Tasks measured in turns on one device, which processes share."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from arrconv_conformance.data import numpy_dtype

from benchmarks.gpu.libraries import TF32
from benchmarks.gpu.work import one_image
from benchmarks.peers.measure import Measured, compare
from benchmarks.peers.report import BASE, OWN

if TYPE_CHECKING:
    from benchmarks.gpu.rivals import Rival
    from benchmarks.peers.work import Task

LONG = 0.01
"""Seconds that one measurement takes at least, by as many calls as that needs; CUDA's events tell microseconds."""

LEAST_CALLS, MOST_CALLS = 3, 300

PATIENCE = 30.0
"""Seconds within which a process has to prepare a task, which may compile and try algorithms, or to measure it."""

OTHERS = 2
"""Rounds at most of all but arrconv as it chooses itself and PyTorch, which the figures are about."""

RECENT = 12
"""So many tasks say how long the next one may take: those of a row have the same sizes."""


def measure(
    tasks: Iterable[Task], rivals: Mapping[str, Rival], rounds: int, ends: float = math.inf
) -> Iterator[tuple[Task, dict[str, Measured]]]:
    """Measure every task in every process, in so many rounds; each task is there when it is done.

    None is begun that may last beyond a time of `time.monotonic()`.
    """
    lasted = deque[float](maxlen=RECENT)
    for task in tasks:
        began = time.monotonic()
        if began + max(lasted, default=0.0) > ends:
            return
        yield task, _measured(task, rivals, rounds)
        lasted.append(time.monotonic() - began)


def _measured(task: Task, rivals: Mapping[str, Rival], rounds: int) -> dict[str, Measured]:
    found: dict[str, Measured] = {}
    calls: dict[str, int] = {}
    for name, rival in rivals.items():
        with TemporaryDirectory() as folder:
            file = Path(folder) / "result.npy"
            answer = rival.ask("prepare", PATIENCE, task=task.data, save=str(file))
            found[name] = Measured(answer.get("lacks", ""), operations=answer.get("operations", 0))
            if found[name].lacks:
                continue
            if answer["is_task"]:
                _compare(task, file, found[name])
        if not found[name].lacks:
            calls[name] = max(LEAST_CALLS, min(MOST_CALLS, int(LONG / max(answer["seconds"], 1e-9))))
    for number in range(rounds):
        for name in list(calls):
            if number >= OTHERS and name not in (OWN, BASE, TF32):
                continue
            answer = rivals[name].ask("time", PATIENCE, calls=calls[name])
            if "lacks" in answer:
                found[name] = Measured(answer["lacks"])
                del calls[name]
            else:
                found[name].seconds.append(answer["seconds"])
    return found


def _compare(task: Task, file: Path, measured: Measured) -> None:
    """Note how far the result of one image is from what arrconv makes of it on the host."""
    try:
        compare(one_image(task), np.load(file).view(numpy_dtype(task.dtype)), measured)
    except ValueError as reason:
        measured.lacks = str(reason)
