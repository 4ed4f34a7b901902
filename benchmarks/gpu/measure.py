"""Tasks measured in turns on one device, which libraries share; libraries and their clocks are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from benchmarks.gpu.work import with_images
from benchmarks.peers.measure import Measured, compare
from benchmarks.peers.work import Array, Task

LONG = 0.03
"""Seconds that one measurement takes at least, by as many calls as that needs."""

LEAST_CALLS, MOST_CALLS = 3, 300


class Library(Protocol):
    """What computes tasks, and says how long it takes.

    Attributes:
        name: what it is called.
        is_convolution: whether its results are those of the tasks; else it says how fast the device is.
    """

    name: str
    is_convolution: bool

    def prepare(self, task: Task) -> Callable[[], Any]:
        """A call that computes a task, on operands that are where it computes."""

    def seconds(self, call: Callable[[], Any], calls: int) -> float:
        """Of one call, when so many follow each other and nothing is waited for between them."""

    def operations(self, task: Task) -> int:
        """Of one call."""

    def result(self, call: Callable[[], Any]) -> Array:
        """What a call gives, on the host."""


def measure(
    tasks: Iterable[Task], libraries: Sequence[Library], rounds: int
) -> Iterator[tuple[Task, dict[str, Measured]]]:
    """Measure every task in every library, in so many rounds; each task is there when it is done."""
    for task in tasks:
        found: dict[str, Measured] = {}
        ready: dict[str, tuple[Library, Callable[[], Any], int]] = {}
        for library in libraries:
            try:
                found[library.name] = _checked(task, library)
                call = library.prepare(task)
                first = library.seconds(call, 1)
            except (NotImplementedError, RuntimeError, ValueError, TypeError, MemoryError) as reason:
                found[library.name] = Measured(f"{type(reason).__name__}: {reason}".splitlines()[0][:200])
                continue
            calls = max(LEAST_CALLS, min(MOST_CALLS, int(LONG / first)))
            ready[library.name] = (library, call, calls)
        for _ in range(rounds):
            for name, (library, call, calls) in ready.items():
                found[name].seconds.append(library.seconds(call, calls))
        yield task, found


def _checked(task: Task, library: Library) -> Measured:
    """What a library makes of one image, beside what arrconv makes of it on the host."""
    small = Task(with_images(task.row, 1), task.direction, task.dtype)
    measured = Measured(operations=library.operations(task))
    if library.is_convolution:
        compare(small, library.result(library.prepare(small)), measured)
    return measured
