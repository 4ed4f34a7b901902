"""A process with one library on the device, which prepares tasks and measures them as it is told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu.libraries import Library, library
from benchmarks.gpu.rivals import reason_of
from benchmarks.gpu.work import one_image
from benchmarks.peers.work import Task
from benchmarks.peers.worker import serve


class Worker:
    """A library, and the task that it has prepared."""

    def __init__(self, made: Library) -> None:
        self._library = made
        self._call: Callable[[], Any] = lambda: None

    def hello(self) -> dict[str, Any]:
        return self._library.about()

    def prepare(self, task: dict[str, str], save: str) -> dict[str, Any]:
        """Keep the result of a single image for comparison, make the call of a task, and call it."""
        parsed, self._call = Task.of(task), lambda: None
        try:
            if self._library.is_convolution:
                result = self._library.result(self._library.prepare(one_image(parsed)))
                np.save(save, result.view(f"u{result.dtype.itemsize}"))  # a file of NumPy's has no bfloat16
            self._call = self._library.prepare(parsed)
            first = self._library.seconds(self._call, 1)
        except Exception as reason:  # of a library that is being tried anything may come
            return self._lacks(reason)
        operations = self._library.operations(parsed)
        return {"seconds": first, "operations": operations, "is_task": self._library.is_convolution}

    def time(self, calls: int) -> dict[str, Any]:
        try:
            return {"seconds": self._library.seconds(self._call, calls)}
        except Exception as reason:
            return self._lacks(reason)

    def _lacks(self, reason: Exception) -> dict[str, Any]:
        """What went wrong, and whether the device answers no more after it."""
        self._call = lambda: None
        try:
            self._library.seconds(self._call, 1)
        except Exception:
            return {"lacks": reason_of(reason), "is_lost": True}
        return {"lacks": reason_of(reason)}


if __name__ == "__main__":
    device, _, name = sys.argv[1].partition(" ")
    serve(lambda: Worker(library(name, device)))
