"""Tasks measured in turns: one library after the other, round by round, so that a busy machine is busy for all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

import arrconv

if TYPE_CHECKING:
    from benchmarks.peers.session import Session
    from benchmarks.peers.work import Array, Task

LONG = 0.1
"""Seconds that one measurement takes at least, by as many calls as that needs."""

LEAST_CALLS, MOST_CALLS = 3, 2000

LENGTHY = 0.3
"""Seconds a call beyond which one call is a measurement."""

SLOW = 1.0
"""Seconds a call beyond which a library is measured once, and its memory is not."""

PATIENCE = 15.0
"""Seconds a call beyond which a library is not measured, going by the least rate that it has shown so far."""

TELLING = 10**7
"""Operations from which on a task tells something about a rate."""


@dataclass
class Measured:
    """What a library made of a task.

    Attributes:
        lacks: why it was not measured, where it was not.
        seconds: of a call, the median of each round.
        operations: of a call: those of the task, or of the matrix product.
        apart: the largest difference from arrconv as a share of what both may err by.
        digest: the SHA-256 of the result.
        extra_bytes: the peak of memory beyond operands and result; None where the system does not say.
    """

    lacks: str = ""
    seconds: list[float] = field(default_factory=list)
    operations: int = 0
    apart: float | None = None
    digest: str = ""
    extra_bytes: int | None = None

    @property
    def data(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    tasks: Iterable[Task],
    sessions: Mapping[str, Session],
    rounds: int,
    on_task: Callable[[Task], None] = lambda _: None,
) -> list[tuple[Task, dict[str, Measured]]]:
    """Measure every task in every library, in so many rounds."""
    found = []
    slowest = dict.fromkeys(sessions, 0.0)  # seconds for an operation
    for task in tasks:
        on_task(task)
        patient = {name: seconds * task.operations for name, seconds in slowest.items()}
        with TemporaryDirectory() as folder:
            measured = _measured(task, sessions, rounds, Path(folder), patient)
        found.append((task, measured))
        for name, one in measured.items():
            if one.seconds and task.operations > TELLING:
                slowest[name] = max(slowest[name], one.seconds[0] / one.operations)
    return found


def _measured(
    task: Task, sessions: Mapping[str, Session], rounds: int, folder: Path, expected: Mapping[str, float]
) -> dict[str, Measured]:
    results: dict[str, Measured] = {}
    calls = {}
    for name, session in sessions.items():
        if expected[name] > PATIENCE:
            results[name] = Measured(f"a call is expected to take {expected[name]:.0f} s")
            continue
        file = folder / f"{len(results)}.npy"
        answer = session.ask("prepare", task=task.data, save=str(file))
        if "lacks" in answer:
            results[name] = Measured(answer["lacks"])
            continue
        results[name] = Measured(operations=answer["operations"])
        calls[name] = max(LEAST_CALLS, min(MOST_CALLS, int(LONG / answer["seconds"])))
        if answer["seconds"] > LENGTHY:
            calls[name] = 1
        if answer["seconds"] > SLOW:
            del calls[name]
            results[name].seconds.append(answer["seconds"])
        if answer["is_task"]:
            compare(task, np.load(file), results[name])
    names = list(calls)
    for number in range(rounds):
        first = number % max(1, len(names))
        for name in names[first:] + names[:first]:
            results[name].seconds.append(sessions[name].ask("time", calls=calls[name])["seconds"])
    for name in names:
        results[name].extra_bytes = sessions[name].ask("memory").get("bytes")
    return results


def compare(task: Task, result: Array, measured: Measured) -> None:
    """Note how far a result is from arrconv's, which is computed here."""
    if result.shape != task.shape or result.dtype != task.dtype:
        raise ValueError(f"{task}: {result.dtype} {result.shape}, not {task.dtype} {task.shape}")
    measured.digest = hashlib.sha256(np.ascontiguousarray(result).tobytes()).hexdigest()
    expected, bound = _computed(task)
    apart = np.abs(result - expected).astype(np.float64)
    measured.apart = float(np.max(apart / np.maximum(2 * bound, np.finfo(np.float64).tiny)))


@lru_cache(maxsize=1)  # of the task at hand: its arrays may be large
def _computed(task: Task) -> tuple[Array, Array]:
    """arrconv's result and its bound."""
    x, w, g = task.operands
    geometry = task.row.geometry
    options: dict[str, Any] = dict(geometry.options)
    if task.row.is_transposed:
        del options["padding_mode"]
        options["output_padding"] = task.row.output_padding
    if task.direction == "forward":
        function = "conv_transpose" if task.row.is_transposed else "conv"
        return _with_bound(function, "", (x, w), options)
    function = "conv_transpose_backward" if task.row.is_transposed else "conv_backward"
    need = task.direction.removesuffix(" gradient")
    return _with_bound(function, need, (x, w, g), options | {"needs": (need,)})


def _with_bound(function: str, need: str, arrays: tuple[Array, ...], options: dict[str, Any]) -> tuple[Array, Array]:
    both: list[Any] = [
        getattr(arrconv, function)(*arrays, **options),
        arrconv.error_bound(function, *arrays, **options),
    ]
    result, bound = [getattr(one, need) if need else one for one in both]
    return result, bound
