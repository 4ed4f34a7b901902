"""A library's process, as the one who measures sees it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

PINS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that choose a BLAS's kernels or threads: what they say is removed, and named in the record."""

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

ENDING = 10.0
"""Seconds that a process has to end, when it is told to."""


class Missing(Exception):  # noqa: N818 - nothing went wrong
    """The library is not installed."""


def removed() -> dict[str, str]:
    """The variables that the processes do not get."""
    return {name: os.environ[name] for name in PINS if name in os.environ}


class Late(RuntimeError):  # noqa: N818 - as Missing is
    """No answer came in time."""


@dataclass(eq=False)
class Session:
    """A library in a process of its own.

    Args:
        name: what the process is told: a module of `benchmarks.peers.libraries`, for the usual worker.
        threads: how many it may use.
        python: the interpreter that has it.
        module: what runs there: a program that answers lines, as `benchmarks.peers.worker.serve` does.
        errors: where its complaints go, for `subprocess`: nowhere, or None for where those of this process go.
    """

    name: str
    threads: int
    python: str = sys.executable
    module: str = "benchmarks.peers.worker"
    errors: int | None = subprocess.DEVNULL
    about: dict[str, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        environment = {key: value for key, value in os.environ.items() if key not in PINS}
        environment |= dict.fromkeys(THREADS, str(self.threads))
        self._process = subprocess.Popen(
            [self.python, "-m", self.module, self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            text=True,
        )
        self.about = self._answer()
        if "missing" in self.about:
            self.close()
            raise Missing(f"{self.name}: {self.about['missing']}")

    def ask(self, do: str, patience: float | None = None, **options: Any) -> dict[str, Any]:
        """Let it do something, and return what it answers, within so many seconds.

        Raises:
            Late: its time was over; it is ended then.
            RuntimeError: it has ended.
        """
        stream: IO[str] | None = self._process.stdin
        assert stream is not None
        with suppress(BrokenPipeError):  # then there is no answer either
            stream.write(json.dumps({"do": do, **options}) + "\n")
            stream.flush()
        return self._answer(patience)

    def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self, patience: float | None = None) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], patience)[0]:  # nothing is left of earlier answers
            self._process.kill()
            raise Late(f"{self.name}: no answer within {patience:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: the process ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
