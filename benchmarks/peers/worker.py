"""A process with one library, which prepares tasks and measures them as it is told, one JSON line at a time."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.session import Missing
from benchmarks.peers.work import Task

PAUSE = 0.15
"""Seconds before each measurement, in which idle threads of the library that was measured before fall asleep."""

STARTING = 5.0
"""Seconds that a first call may take because it loads or compiles; one that takes longer is the measurement."""


class Worker:
    """A library, and the task that it has prepared."""

    def __init__(self, name: str) -> None:
        use_threads(int(os.environ["OMP_NUM_THREADS"]))
        self._library = importlib.import_module(f"benchmarks.peers.libraries.{name}")
        self._call: Callable[[], Any] = lambda: None

    def hello(self) -> dict[str, Any]:
        from threadpoolctl import threadpool_info

        keys = ("user_api", "internal_api", "version", "architecture", "num_threads")
        pools = [{key: pool.get(key) for key in keys} for pool in threadpool_info()]
        return {"versions": {"python": platform.python_version(), **self._library.versions()}, "pools": pools}

    def prepare(self, task: dict[str, str], save: str) -> dict[str, Any]:
        """Make the call of a task, call it twice, or once if it takes very long, and keep the result for comparison."""
        parsed = Task.of(task)
        try:
            self._call = self._library.prepare(parsed)
            start = time.perf_counter()
            result = self._library.as_array(self._call())
            first = time.perf_counter() - start
        except (NotImplementedError, RuntimeError, ValueError, TypeError) as reason:
            self._call = lambda: None
            return {"lacks": f"{type(reason).__name__}: {reason}".splitlines()[0][:200]}
        np.save(save, result)
        own_operations = getattr(self._library, "operations", None)  # of a library that does something else
        return {
            "seconds": first if first > STARTING else min(first, self._seconds()),
            "operations": own_operations(parsed) if own_operations else parsed.operations,
            "is_task": own_operations is None,
        }

    def time(self, calls: int) -> dict[str, float]:
        """The median of so many calls; before several of them, one that wakes what fell asleep."""
        time.sleep(PAUSE)
        if calls > 1:
            self._call()
        return {"seconds": float(np.median([self._seconds() for _ in range(calls)]))}

    def memory(self) -> dict[str, int]:
        """The bytes of the process's peak in a call beyond what it had before, the result not counted."""
        _give_back_memory()
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
        before = _status("VmRSS")
        result = self._library.as_array(self._call())
        return {"bytes": max(0, _status("VmHWM") - before - result.nbytes)}

    def _seconds(self) -> float:
        start = time.perf_counter()
        self._call()
        return time.perf_counter() - start


def use_threads(count: int) -> None:
    """Bind this process to so many processors, which is what libraries without a setting go by."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def _give_back_memory() -> None:
    """What the allocator keeps for later would hide what a call takes."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _status(field: str) -> int:
    """A size in bytes from the system's account of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"the system says no {field}")


def serve(make: Callable[[], Any]) -> None:
    """What such a process does: answer each line with a line, until there are no more."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print
    try:
        worker = make()
    except (ImportError, Missing) as reason:
        replies.write(json.dumps({"missing": str(reason)}) + "\n")
        return
    replies.write(json.dumps(worker.hello()) + "\n")
    replies.flush()
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(worker, request.pop("do"))(**request)
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


if __name__ == "__main__":
    serve(lambda: Worker(sys.argv[1]))
