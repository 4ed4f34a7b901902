"""Holding the BLAS at one thread: for the process where its number is the process's, else in each thread that works.

OpenBLAS on its own threads, which NumPy's wheels bring, has one number for the whole process. Calls that overlap in
time, from several threads, must agree on it, so holders are counted: the first to come sets it, the last to leave
restores it. threadpoolctl lets only one thread of a process set it and ignores the others without a word (since 3.7),
so it is used to find the library, whose own two functions are then called. Any other BLAS is left to threadpoolctl.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class _Switch:
    """The number of threads of one OpenBLAS."""

    get: Callable[[], int]
    set: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Libraries:
    """The BLAS libraries in the process: those with a switch, and a controller of the others, if any."""

    switches: tuple[_Switch, ...]
    others: ThreadpoolController | None


def hold_process() -> AbstractContextManager[None]:
    """Every BLAS that has one number of threads for the process is at one thread within this context."""
    return _PROCESS


def hold_thread() -> AbstractContextManager[Any]:
    """Every other BLAS is at one thread within this context, as far as this thread is concerned."""
    others = _libraries().others
    return _NOTHING if others is None else others.limit(limits=1, user_api="blas")


@cache
def _libraries() -> _Libraries:
    controller = ThreadpoolController().select(user_api="blas")
    switches = {library.filepath: _switch(library) for library in controller.lib_controllers}
    others = [path for path, switch in switches.items() if switch is None]
    found = tuple(switch for switch in switches.values() if switch is not None)
    return _Libraries(found, controller.select(filepath=others) if others else None)


def _switch(library: Any) -> _Switch | None:
    if library.internal_api != "openblas" or library.threading_layer != "pthreads":
        return None
    for prefix, suffix in product(("", "scipy_"), ("", "64_", "_64")):  # what builds of OpenBLAS put around names
        functions = [
            getattr(library.dynlib, f"{prefix}openblas_{verb}_num_threads{suffix}", None) for verb in ("get", "set")
        ]
        if all(functions):
            return _Switch(*functions)  # type: ignore[arg-type]
    return None


class _ProcessHold:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._found: tuple[int, ...] = ()

    def __enter__(self) -> None:
        with self._lock:
            if self._holders == 0:
                switches = _libraries().switches
                self._found = tuple(switch.get() for switch in switches)
                for switch in switches:
                    switch.set(1)
            self._holders += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                self._restore()

    def abandon(self) -> None:
        """In a forked child: whoever held is not there, and the lock may have been taken."""
        self._lock = threading.Lock()
        if self._holders:
            self._holders = 0
            self._restore()

    def _restore(self) -> None:
        for switch, threads in zip(_libraries().switches, self._found, strict=True):
            switch.set(threads)


_NOTHING = nullcontext()
_PROCESS = _ProcessHold()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_PROCESS.abandon)
