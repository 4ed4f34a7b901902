"""Programs: engines in any language, which run beside the suite and speak the line protocol of docs/line-protocol.md.

A program reads a line and answers a line, and the arrays lie in files. It is kept for all calls. Where it ends, takes
too long, or says what it may not say, that is the verdict on the call, and the next call finds a new program.
"""

from __future__ import annotations

import shlex
import tempfile
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arrconv_conformance.adapters import PROGRAM, Lost, Unavailable, Unsupported
from arrconv_conformance.line_protocol import HELLO, Hello, NonsenseError, request, results, shown
from arrconv_conformance.piped import Piped
from arrconv_conformance.scratch import Scratch

if TYPE_CHECKING:
    from typing import NoReturn

    from arrconv_conformance.data import Array

CALL_LIMIT = 30.0
"""Seconds that a call may take by default, and a program to say hello."""


@dataclass
class Program:
    """A program as an adapter; `of` starts it.

    Args:
        command: the program and its arguments, quoted as for a shell, though there is none.
        call_limit: the seconds that a call may take, a new start of the program included.
    """

    command: str
    call_limit: float = CALL_LIMIT
    _scratch: Scratch = field(default_factory=Scratch, init=False, repr=False)
    _hello: Hello = field(init=False, repr=False)
    _piped: Piped | None = field(default=None, init=False, repr=False)
    _ending: weakref.finalize[..., Program] | None = field(default=None, init=False, repr=False)

    @classmethod
    def of(cls, command: str, call_limit: float | None = None) -> Program:
        """A program that has been started and has said hello.

        Raises:
            Unavailable: it cannot be started, ends, says nothing in time, or says what is not of the protocol.
        """
        program = cls(command, CALL_LIMIT if call_limit is None else call_limit)
        try:
            program._start(time.monotonic() + program.call_limit)
        except Lost as loss:
            raise Unavailable(f"{PROGRAM}{command}: {loss}") from None
        return program

    @property
    def name(self) -> str:
        """The name that it says."""
        return self._hello.name

    @property
    def version(self) -> str:
        """The version that it says."""
        return self._hello.version

    @property
    def claims(self) -> dict[str, Any]:
        """Its claims by dtype."""
        return self._hello.claims

    def conv(self, x: Array, w: Array, bias: Array | None, **options: Any) -> Array:
        """The forward convolution."""
        return self._call("conv", {"x": x, "w": w, "bias": bias}, options)["result"]

    def conv_transpose(self, y: Array, w: Array, bias: Array | None, **options: Any) -> Array:
        """The transposed convolution."""
        return self._call("conv_transpose", {"y": y, "w": w, "bias": bias}, options)["result"]

    def conv_backward(self, x: Array, w: Array, gy: Array, **options: Any) -> dict[str, Array]:
        """The gradients of the forward convolution."""
        return self._call("conv_backward", {"x": x, "w": w, "gy": gy}, options)

    def conv_transpose_backward(self, y: Array, w: Array, gx: Array, **options: Any) -> dict[str, Array]:
        """The gradients of the transposed convolution."""
        return self._call("conv_transpose_backward", {"y": y, "w": w, "gx": gx}, options)

    def close(self) -> None:
        """End the program, which happens by itself where nobody refers to it any more; a call starts it again."""
        self._end()

    def _call(self, function: str, operands: dict[str, Array | None], options: dict[str, Any]) -> dict[str, Array]:
        """What the program makes of a call, by the names of the results.

        Raises:
            Unsupported: it does not offer this.
            Refused: it cannot do this.
            Lost: it has ended, takes too long or says what it may not say, and runs no more.
        """
        if function not in self._hello.functions:
            raise Unsupported(f"{self.name} does not offer {function}")
        deadline = time.monotonic() + self.call_limit
        if self._piped is None:
            self._start(deadline)
        self._check_silence("before it was asked")
        with tempfile.TemporaryDirectory(prefix="", dir=self._scratch.path, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            reply = self._answer(request(function, operands, options, folder), deadline)
            try:
                found = results(reply, options.get("needs", ("result",)), folder)
            except NonsenseError as nonsense:
                self._reject(f"no answer to a call: {nonsense}")
        self._check_silence("after its answer")
        return found

    def _start(self, deadline: float) -> None:
        """Start the program and hear what it says of itself."""
        try:
            words = shlex.split(self.command)
            if not words:
                raise ValueError("the command is empty")
            self._piped = Piped(words)
        except (OSError, ValueError) as error:
            raise Lost("crashes", f"the program cannot be started: {error}") from None
        self._ending = weakref.finalize(self, self._piped.end)
        line = self._answer(HELLO, deadline)
        try:
            self._hello = Hello.parse(line)
        except ValueError as nonsense:
            self._reject(f"the program cannot be used: {nonsense}")

    def _answer(self, line: str, deadline: float) -> str:
        """The line that the program says to a line."""
        assert self._piped is not None
        self._piped.say(line)
        try:
            return self._piped.line(deadline)
        except TimeoutError:
            self._piped.kill()
            self._end()
            raise Lost("hangs", f"no answer from the program after {self.call_limit:g} s") from None
        except EOFError:
            raise Lost("crashes", f"the program {self._end()}") from None

    def _check_silence(self, when: str) -> None:
        assert self._piped is not None
        if said := self._piped.pending():
            self._reject(f"the program said {shown(said)} {when}")

    def _reject(self, message: str) -> NoReturn:
        """Give up a program that says what it may not say: there is no knowing what its next line will belong to."""
        self._end()
        raise Lost("deviates", message)

    def _end(self) -> str | None:
        """End the program, where it runs, and say how it ended."""
        ending, self._ending, self._piped = self._ending, None, None
        return None if ending is None else ending()
