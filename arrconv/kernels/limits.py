"""How many threads and how much workspace a call may use: a context variable, not a global."""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from arrconv.spec import as_int

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """The number of threads, and the bytes of workspace that each of them may use."""

    threads: int
    workspace: int


_CURRENT: ContextVar[Limits | None] = ContextVar("arrconv_limits", default=None)


def current_limits() -> Limits:
    """The limits in force here: those of the innermost `limits`, else all cores and 64 MiB for each."""
    return _CURRENT.get() or _default()


@cache
def _default() -> Limits:
    affinity = getattr(os, "sched_getaffinity", None)  # what a container or taskset leaves us; not on every system
    return Limits(len(affinity(0)) if affinity else os.cpu_count() or 1, 64 * _MEBIBYTE)


@contextmanager
def limits(*, threads: int | None = None, workspace: int | None = None) -> Iterator[Limits]:
    """Within this context, use at most so many threads, and so many bytes of workspace for each.

    What is not given stays as it is. The number of threads never changes a bit of any result. The defaults are all
    cores that the process may use, and 64 MiB.

    Args:
        threads: number of threads, at least 1.
        workspace: bytes for each thread, at least 1.

    Yields:
        The limits now in force.

    Raises:
        SpecError: a value is not an integer, or below 1.

    >>> with limits(threads=1, workspace=2**20) as now:
    ...     now
    Limits(threads=1, workspace=1048576)
    """
    before = current_limits()
    now = Limits(
        before.threads if threads is None else as_int(threads, "threads", 1),
        before.workspace if workspace is None else as_int(workspace, "workspace", 1),
    )
    token = _CURRENT.set(now)
    try:
        yield now
    finally:
        _CURRENT.reset(token)
