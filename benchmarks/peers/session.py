"""A library's process, as the one who measures sees it."""

from __future__ import annotations

import json
import os
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


class Missing(Exception):  # noqa: N818 - nothing went wrong
    """The library is not installed."""


def removed() -> dict[str, str]:
    """The variables that the processes do not get."""
    return {name: os.environ[name] for name in PINS if name in os.environ}


@dataclass(eq=False)
class Session:
    """A library in a process of its own.

    Args:
        name: what the process is told: a module of `benchmarks.peers.libraries`, for the usual worker.
        threads: how many it may use.
        python: the interpreter that has it.
        module: what runs there: a program that answers lines, as `benchmarks.peers.worker.serve` does.
    """

    name: str
    threads: int
    python: str = sys.executable
    module: str = "benchmarks.peers.worker"
    about: dict[str, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        environment = {key: value for key, value in os.environ.items() if key not in PINS}
        environment |= dict.fromkeys(THREADS, str(self.threads))
        self._process = subprocess.Popen(
            [self.python, "-m", self.module, self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        self.about = self._answer()
        if "missing" in self.about:
            self.close()
            raise Missing(f"{self.name}: {self.about['missing']}")

    def ask(self, do: str, **options: Any) -> dict[str, Any]:
        """Let it do something, and return what it answers."""
        stream: IO[str] | None = self._process.stdin
        assert stream is not None
        with suppress(BrokenPipeError):  # then there is no answer either
            stream.write(json.dumps({"do": do, **options}) + "\n")
            stream.flush()
        return self._answer()

    def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: the process ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
