"""A process that is spoken to in lines of text, with a limit of time for each answer."""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_LINE = 1 << 20
"""The number of bytes after which a line counts as one even though it has not ended."""

_LONGEST_WAIT = 1e6
"""Seconds; systems count milliseconds in 32 bits."""

_GRACE = 0.2
"""Seconds in which a process whose input was closed may end by itself."""


@dataclass
class Piped:
    """A process with pipes for its input and output. What it writes to its standard error is kept for its end.

    Args:
        command: the program and its arguments.
        environment: its environment; None for that of this process.
        leads: whether it leads a session and a process group of its own, all of which ends with it.

    Raises:
        OSError: it cannot be started.
    """

    command: list[str]
    environment: Mapping[str, str] | None = None
    leads: bool = False
    _unread: bytes = field(default=b"", init=False)
    _errors_read: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        try:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=self.leads,
                env=self.environment,
            )
        except OSError:
            self._errors.close()
            raise
        assert self._process.stdout is not None
        self._output = select.poll()
        self._output.register(self._process.stdout, select.POLLIN)

    def say(self, line: str) -> None:
        """Send it a line. A process that reads no more makes no error of it: the next line shows what happened."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def line(self, deadline: float) -> str:
        """The next line that it says.

        Args:
            deadline: the time until which to wait for it, as `time.monotonic` counts.

        Raises:
            TimeoutError: none has come until then.
            EOFError: none can come any more.
        """
        while b"\n" not in self._unread and len(self._unread) < LONGEST_LINE:
            if not self._has_more(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            self._read()
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode(errors="replace")

    def forget_errors(self) -> None:
        """Let what it has written to its standard error be no reason for its end: it may be a mere warning."""
        self._errors_read = os.fstat(self._errors.fileno()).st_size

    def pending(self) -> str:
        """What it has said that was not read yet, without waiting for it."""
        with suppress(EOFError):
            while len(self._unread) < LONGEST_LINE and self._has_more(0):
                self._read()
        return self._unread.decode(errors="replace")

    def end(self) -> str:
        """End it, and what it leads, and say how it ended, with the last line of its standard error."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):  # where it has ended by itself, its status says how
            process.wait(_GRACE)
        status = process.poll()
        with suppress(ProcessLookupError):
            if self.leads:
                os.killpg(process.pid, signal.SIGKILL)
            elif status is None:
                process.kill()
        process.wait()
        process.stdout.close()
        self._errors.seek(self._errors_read)
        said = [line for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        self._errors.close()
        return _how(status) + (f": {said[-1]}" if said else "")

    def kill(self) -> None:
        """Kill it, and what it leads, while another thread speaks to it, which then finds that it has ended."""
        if self._process.returncode is not None:  # its number may be another's by now
            return
        with suppress(ProcessLookupError):
            if self.leads:
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def let_go(self) -> None:
        """Close this end of the pipes of a process that is another one's, from which this one was forked."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()
        self._process.returncode = 0  # or else it would be warned of a child that runs without being waited for

    def _has_more(self, seconds: float) -> bool:
        return bool(self._output.poll(math.ceil(min(seconds, _LONGEST_WAIT) * 1000)))

    def _read(self) -> None:
        assert self._process.stdout is not None
        read = os.read(self._process.stdout.fileno(), 1 << 16)
        if not read:
            raise EOFError
        self._unread += read


def _how(status: int | None) -> str:
    if status is None:
        return "closed its output and did not end"
    return f"ended of signal {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
