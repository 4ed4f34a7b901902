"""What stands in for processes of the GPU benchmark: they answer in this one, without a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.errors import UnsupportedError
from benchmarks.gpu.libraries import library
from benchmarks.gpu.trainers import Trainer
from benchmarks.gpu.worker import Worker
from benchmarks.peers.libraries import arrconv as own
from benchmarks.peers.work import ROWS, Task

if TYPE_CHECKING:
    from collections.abc import Callable

SMALLEST = Task(ROWS["smallest"], "forward", "float32")


class Here:
    """A worker that is asked as a process is."""

    def __init__(self, worker: Any) -> None:
        self.worker, self.about, self.is_closed = worker, worker.hello(), False

    def ask(self, do: str, _: float | None = None, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self.worker, do)(**options)
        return answer

    def close(self) -> None:
        self.is_closed = True


def started(module: str, names: Any, device: str) -> tuple[dict[str, Here], dict[str, str]]:
    """What NumPy can do; PyTorch takes long to load."""
    make = {
        "benchmarks.gpu.worker": lambda name: Worker(library(name, device)),
        "benchmarks.gpu.trainers": lambda name: Trainer(name, device),
    }[module]
    own = [name for name in names if not name.startswith("torch")]
    return {name: Here(make(name)) for name in own}, {name: "not tried" for name in names if name not in own}


class Fake:
    """A library that computes on the host, and says of each operation that it takes so many seconds."""

    def __init__(self, pace: float, operations: int | None = None, wrong: float = 0.0) -> None:
        self.is_convolution, self.pace, self.wrong = operations is None, pace, wrong
        self.asked, self._operations, self._task = list[int](), operations, SMALLEST

    def prepare(self, task: Task) -> Callable[[], Any]:
        self._task = task
        return own.prepare(task) if self.is_convolution else lambda: None

    def seconds(self, call: Callable[[], Any], calls: int) -> float:
        self.asked.append(calls)
        return self.pace * self.operations(self._task)

    def operations(self, task: Task) -> int:
        return self._operations or task.operations

    def result(self, call: Callable[[], Any]) -> Any:
        return call() + np.float32(self.wrong)

    def about(self) -> dict[str, Any]:
        return {"versions": {}}


class Lacking(Fake):
    """A library that refuses."""

    def prepare(self, task: Task) -> Callable[[], Any]:
        raise UnsupportedError(f"no room for {task}")


class Dying:
    """A process that answers as it is told, and dies where that is an error."""

    def __init__(self, *answers: Any) -> None:
        self.about, self.answers, self.is_closed = {"versions": {}}, list(answers), False

    def ask(self, *_: Any, **__: Any) -> dict[str, Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    def close(self) -> None:
        self.is_closed = True
