"""A framework whose fingerprint is taken in a process of its own, part by part: a crash costs one part."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from arrconv_conformance.adapters import Lost, Unavailable, load_adapter
from arrconv_conformance.fingerprint import Fingerprint, Part
from arrconv_conformance.piped import Piped
from arrconv_conformance.sessions import START_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PART_LIMIT = 120.0
"""Seconds that a part may take by default."""

_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads as many as the framework takes, since it may choose its code by them; but many small calls do not profit from
threads that spin while they wait."""


@dataclass
class Isolated:
    """A framework in a process of its own.

    Args:
        target: what `load_adapter` takes.
        limit: the seconds that a part may take.

    Raises:
        Unavailable: the framework cannot be run here.
    """

    target: str
    limit: float = PART_LIMIT
    _process: Piped | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        hello = self._start()
        self.name: str = hello["name"]
        self.version: str = hello["version"]

    def fingerprint(
        self, dtypes: Sequence[str], functions: Sequence[str], on_part: Callable[[Part], None] = lambda _: None
    ) -> Fingerprint:
        """Its fingerprint.

        Args:
            dtypes: those to ask for.
            functions: those to ask for.
            on_part: called after each part.
        """
        parts = []
        for dtype in dtypes:
            for function in functions:
                parts.append(self._part(dtype, function))
                on_part(parts[-1])
        return Fingerprint(self.name, self.version, tuple(parts))

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._end()

    def _part(self, dtype: str, function: str) -> Part:
        if self._process is None:
            self._start()
        assert self._process is not None
        self._process.say(json.dumps([dtype, function]))
        try:
            return Part.parse(json.loads(self._process.line(time.monotonic() + self.limit)))
        except TimeoutError:
            self._end()
            return Part(dtype, function, lost=f"no answer after {self.limit:g} s")
        except EOFError:
            return Part(dtype, function, lost=self._end())

    def _start(self) -> dict[str, Any]:
        command = [sys.executable, "-m", "arrconv_conformance.fingerprint.process", self.target]
        self._process = Piped(command, _WAITING | os.environ, leads=True)
        try:
            hello: dict[str, Any] = json.loads(self._process.line(time.monotonic() + START_LIMIT))
        except TimeoutError:
            self._end()
            raise Unavailable(f"{self.target}: starts too slowly") from None
        except EOFError:
            raise Unavailable(f"{self.target}: {self._end()}") from None
        if "unavailable" in hello:
            self._end()
            raise Unavailable(hello["unavailable"])
        return hello

    def _end(self) -> str:
        process, self._process = self._process, None
        assert process is not None
        return f"the process {process.end()}"


def _serve(target: str) -> None:
    """What the process does: say hello, then answer each line with a part."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # frameworks print; what they print is not for the parent

    def say(what: dict[str, Any]) -> None:
        replies.write(json.dumps(what) + "\n")
        replies.flush()

    try:
        adapter = load_adapter(target)
    except Unavailable as reason:
        say({"unavailable": str(reason)})
        return
    say({"name": adapter.name, "version": adapter.version})
    for line in sys.stdin:
        dtype, function = json.loads(line)
        try:
            part = Part.of(adapter, dtype, function)
        except Lost as loss:
            part = Part(dtype, function, lost=str(loss))
        say(part.as_json())


if __name__ == "__main__":
    _serve(sys.argv[1])
