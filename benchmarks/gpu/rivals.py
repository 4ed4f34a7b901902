"""Processes that compute on the device, one for each rival: one that is lost leaves the others alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from benchmarks.peers.session import Late, Missing, Session

LIVES = 3
"""How often a process may be lost, before nothing more is asked of it."""


class Rival:
    """A process that answers, and is started again where it, or its device, was lost.

    One that gives no answer in time is not: another might take as long.

    Args:
        start: starts it; raises Missing where what it needs is not there.
    """

    def __init__(self, start: Callable[[], Session]) -> None:
        self._start, self._lives, self._lost = start, LIVES, ""
        self._session: Session | None = start()
        self.about = self._session.about

    def ask(self, do: str, patience: float | None, **options: Any) -> dict[str, Any]:
        """What it answers; where it cannot, or not within so many seconds, why it `lacks` what was asked for."""
        if not self._lives:
            return {"lacks": f"not tried again after: {self._lost}"}
        try:
            self._session = self._session or self._start()
            answer = self._session.ask(do, patience, **options)
        except (RuntimeError, Missing) as reason:
            self._lives = 1 if isinstance(reason, Late) else self._lives
            answer = {"lacks": str(reason), "is_lost": True}
        if answer.get("is_lost"):
            self._lives, self._lost = self._lives - 1, answer["lacks"]
            self.close()
        return answer

    def close(self) -> None:
        """End it."""
        if self._session is not None:
            self._session.close()
        self._session = None


def started(module: str, names: Iterable[str], device: str) -> tuple[dict[str, Rival], dict[str, str]]:
    """Rivals by name, all started at once; and for those that are not there, why."""

    def start(name: str) -> Rival | str:
        # What it says is kept by who keeps what is said here: it may be all that is left of a process.
        make = partial(Session, f"{device} {name}", os.cpu_count() or 1, module=module, errors=None)
        try:
            return Rival(make)
        except (Missing, RuntimeError) as reason:
            return str(reason).removeprefix(f"{device} {name}: ")

    with ThreadPoolExecutor() as pool:
        found = dict(zip(names, pool.map(start, names), strict=True))
    there = {name: one for name, one in found.items() if isinstance(one, Rival)}
    return there, {name: one for name, one in found.items() if isinstance(one, str)}


def reason_of(error: Exception) -> str:
    """An error in a line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
