"""A pool of threads for NumPy kernels, with the BLAS at one thread so that bits do not depend on their number."""

from __future__ import annotations

import contextvars
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from arrconv.kernels.blas import hold_process, hold_thread
from arrconv.kernels.limits import current_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Task = TypeVar("Task")

_ENOUGH = 2**23  # products; to wake a second thread can take as long as millions of them


def for_each(tasks: Sequence[Task], make_worker: Callable[[], Callable[[Task], None]], threads: int) -> None:
    """Do every task, on up to `threads` threads; each thread makes one worker, with a workspace of its own.

    Which thread does a task is left to chance, so tasks must write to different places.
    """
    threads = min(threads, len(tasks))
    with hold_process():
        if threads <= 1:
            _work(iter(tasks), make_worker)
            return
        remaining = _Shared(iter(tasks))
        futures: list[Future[None]] = []
        try:
            futures += _helpers(threads - 1, remaining, make_worker)
            _work(remaining, make_worker)
        finally:
            remaining.close()
            for future in futures:
                future.exception()  # wait for all of them, whatever went wrong, before the BLAS is let go
        for future in futures:
            future.result()


def is_shared(work: int) -> bool:
    """Whether so many products are worth a second thread."""
    return work > _ENOUGH


def threads_for(lib: Any, work: int) -> int:
    """How many threads may share so many products: one where there are few, or where the library is not NumPy."""
    return current_limits().threads if lib is np and is_shared(work) else 1


def _helpers(
    count: int, tasks: Iterator[Task], make_worker: Callable[[], Callable[[Task], None]]
) -> list[Future[None]]:
    """Threads that take tasks, too; fewer than asked for where the interpreter no longer starts any."""
    helpers: list[Future[None]] = []
    try:
        for _ in range(count):
            # Each thread runs in a copy of the caller's context, so that its numpy.errstate holds there too.
            helpers.append(_pool(count).submit(contextvars.copy_context().run, _work, tasks, make_worker))
    except RuntimeError:  # the main thread has ended; whoever is still here does the work alone
        pass
    return helpers


def _work(tasks: Iterator[Task], make_worker: Callable[[], Callable[[Task], None]]) -> None:
    with hold_thread():
        worker = make_worker()
        for task in tasks:
            worker(task)


class _Shared:
    """An iterator that several threads may draw from, and one of them may end early."""

    def __init__(self, tasks: Iterator[Any]) -> None:
        self._tasks = tasks
        self._lock = threading.Lock()

    def __iter__(self) -> _Shared:
        return self

    def __next__(self) -> Any:
        with self._lock:
            return next(self._tasks)

    def close(self) -> None:
        with self._lock:
            self._tasks = iter(())


@cache
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="arrconv")


# A forked child has the parent's pool without its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
