"""Sessions: a framework that can be asked, in this process or in one of its own.

Released frameworks do crash, and do hang. A `Child` is a process that makes, asks and judges the questions of the cases
that it is sent, one JSON line for each; where it ends or takes too long, that is the verdict on the case, and the next
case finds a new process. A child whose parent is gone ends by itself, even in the middle of a case that hangs.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from arrconv_conformance.adapters import Unavailable, load_adapter
from arrconv_conformance.asking import Asker
from arrconv_conformance.cases import Case
from arrconv_conformance.claims import Claim, ClaimsError
from arrconv_conformance.data import DTYPES
from arrconv_conformance.exact import LARGEST_LIST, Products
from arrconv_conformance.judge import Verdict
from arrconv_conformance.likeness import common_likeness
from arrconv_conformance.piped import Piped
from arrconv_conformance.question import Question

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrconv import Geometry

CASE_LIMIT = 60.0
"""Seconds that a case may take by default."""

_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""One thread for each of many small problems, unless the environment says otherwise; several processes share a CPU."""

START_LIMIT = 300.0
"""Seconds that the import of a framework may take."""

_FOR_JUDGING = 0.2
"""The share of a case's time that is not for the call: a program that hangs is to be found by who speaks to it."""

_PROGRAM = "from arrconv_conformance.sessions import main; main()"  # -m would run a second copy of the module, and warn

_LONGEST = 1e7
"""The most seconds that a timer is set to; systems refuse much longer ones."""


class Stopped(Exception):  # noqa: N818 - nothing went wrong: it was asked for
    """Another thread has stopped the process that was to answer."""


class Defect(Exception):  # noqa: N818 - one of the suite, which its text says
    """The suite itself failed at a question, which says nothing of the framework."""


class Session(Protocol):
    """A framework that can be asked."""

    name: str
    version: str

    def ask(self, case: Case) -> Verdict:
        """The verdict on a case of one member, dtype and data set."""

    def likeness(self, cases: Sequence[Case]) -> tuple[str, ...]:
        """The names of planted faults that do in the first of these cases, and most others, what it does."""

    def close(self) -> None:
        """End it."""


@dataclass
class InProcess:
    """An adapter that is asked in this process, which ends with it where the framework crashes.

    Raises:
        ClaimsError: what the adapter claims means nothing.
    """

    adapter: Any
    repeats: bool = False

    def __post_init__(self) -> None:
        self.name: str = self.adapter.name
        self.version: str = self.adapter.version
        self._claims = {dtype: Claim.of(self.adapter, dtype) for dtype in DTYPES}
        self._asker = Asker(self.adapter, self.repeats)
        self._listed: tuple[Geometry, Products] | None = None

    def ask(self, case: Case) -> Verdict:
        """The verdict on a case."""
        return self._asker.ask(self._question(case))

    def likeness(self, cases: Sequence[Case]) -> tuple[str, ...]:
        """The names of planted faults that do in the first of these cases, and most others, what the adapter does."""
        return common_likeness(self._asker, cases, self._question)

    def forget(self) -> None:
        """Forget the results that were watched for what later calls do to them."""
        self._asker = Asker(self.adapter, self.repeats)

    def close(self) -> None:
        """Nothing to end."""

    def _question(self, case: Case) -> Question:
        return Question(case, self._claims[str(case.dtype)], self._products(case.geometry))

    def _products(self, geometry: Geometry) -> Products | None:
        """Those of the geometry; successive cases often share it."""
        if self._listed is None or self._listed[0] != geometry:
            if Products.count(geometry) > LARGEST_LIST:
                return None
            self._listed = (geometry, Products.of(geometry))
        return self._listed[1]


@dataclass(eq=False)
class Child:
    """An adapter in a process of its own, which is started when it is needed, and again after a crash.

    Args:
        target: what `load_adapter` takes.
        repeats: whether each call is made a second time, to compare the bits.
        limit: the seconds that a case may take.
    """

    target: str
    repeats: bool = False
    limit: float = CASE_LIMIT
    name: str = field(default="", init=False)
    version: str = field(default="", init=False)
    is_stopped: bool = field(default=False, init=False)
    _process: Piped | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it, unless it runs.

        Raises:
            Unavailable: the framework cannot be run here.
            Stopped: another thread has stopped it.
        """
        if self._process is None:
            hello = self._start()
            self.name, self.version = hello["name"], hello["version"]

    def ask(self, case: Case) -> Verdict:
        """The verdict on a case; that it ends the process, or takes too long, is one.

        Raises:
            Unavailable: the framework cannot be run any more.
            Stopped: another thread has stopped it.
            Defect: the suite itself failed.
        """
        self.start()
        assert self._process is not None
        try:
            self._process.forget_errors()
            self._process.say(str(case))
            return Verdict(**self._answer())
        except TimeoutError:
            self._ended()
            return Verdict("hangs", f"no answer after {self.limit:g} s")
        except EOFError:
            return Verdict("crashes", self._ended())
        except BaseException:  # the answer that is still to come would be taken for that to the next case
            self.close()
            raise

    def likeness(self, cases: Sequence[Case]) -> tuple[str, ...]:
        """The names of planted faults that do in the first of these cases, and most others, what the framework does.

        There are none where that ends the process, or takes too long.

        Raises:
            Unavailable: the framework cannot be run any more.
            Stopped: another thread has stopped it.
        """
        self.start()
        assert self._process is not None
        try:
            self._process.say(json.dumps([str(case) for case in cases]))
            return tuple(self._answer())
        except (TimeoutError, EOFError):
            self._ended()
            return ()
        except BaseException:
            self.close()
            raise

    def forget(self) -> None:
        """Forget the results that were watched for what later calls do to them."""
        if self._process is not None:
            self._process.say("")

    def stop(self) -> None:
        """End the process while another thread waits for it, which then gets `Stopped`, for good."""
        self.is_stopped = True
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """End the process and its own children."""
        process, self._process = self._process, None
        if process is not None:
            process.end()

    def let_go(self) -> None:
        """Leave the process to another one, from which this one was forked."""
        process, self._process = self._process, None
        if process is not None:
            process.let_go()

    def _answer(self) -> Any:
        """What the process answers."""
        assert self._process is not None
        answer = json.loads(self._process.line(time.monotonic() + self.limit))
        if "defect" in answer:
            raise Defect(answer["defect"])
        return answer

    def _ended(self) -> str:
        """How the process ended, which it does now if it has not yet."""
        process, self._process = self._process, None
        assert process is not None
        how = process.end()
        if self.is_stopped:
            raise Stopped
        return f"the process {how}"

    def _start(self) -> dict[str, Any]:
        """Start the process, and return what it says of itself."""
        options = [self.target, repr(self.limit), *(["repeats"] * self.repeats)]
        command = [sys.executable, "-c", _PROGRAM, *options]
        self._process = Piped(command, _THREADS | os.environ, leads=True)
        try:
            if self.is_stopped:  # before there was a process that could be killed
                raise Stopped
            hello: dict[str, Any] = json.loads(self._process.line(time.monotonic() + max(START_LIMIT, self.limit)))
        except TimeoutError:
            self._ended()
            raise Unavailable(f"{self.target}: starts too slowly") from None
        except EOFError:
            raise Unavailable(f"{self.target}: {self._ended()}") from None
        except BaseException:
            self.close()
            raise
        if "unavailable" in hello:
            self.close()
            raise Unavailable(hello["unavailable"])
        return hello


def _serve(target: str, limit: float, repeats: bool) -> None:
    """What a child does: say hello, then answer each case, until there are no more.

    An empty line makes it forget earlier results. A JSON array of cases asks for their likeness.
    """
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # frameworks print; what they print is not for the parent

    def say(what: Any) -> None:
        replies.write(json.dumps(what) + "\n")
        replies.flush()

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _end_after(START_LIMIT + limit)
    try:
        session = InProcess(load_adapter(target, limit * (1 - _FOR_JUDGING)), repeats)
    except (Unavailable, ClaimsError) as reason:
        say({"unavailable": str(reason)})
        return
    _end_after(0)
    say({"name": session.name, "version": session.version})
    for line in sys.stdin:
        _end_after(2 * limit + 1)
        try:
            if line.startswith("["):
                say(session.likeness([Case.parse(case) for case in json.loads(line)]))
            elif line.strip():
                say(asdict(session.ask(Case.parse(line))))
            else:
                session.forget()
        except Exception:  # whatever a framework raises has become a verdict, so this is ours
            say({"defect": f"the suite itself failed at {line.strip()}\n{traceback.format_exc()}"})
        _end_after(0)


def _end_after(seconds: float) -> None:
    """Let the system end this process after some seconds; 0 calls it off.

    The parent does so earlier. This is for children without one, which no Python code could end: a framework that hangs
    may hold the interpreter's lock.
    """
    signal.setitimer(signal.ITIMER_REAL, min(seconds, _LONGEST))


def main() -> None:
    """What a child process runs."""
    _serve(sys.argv[1], float(sys.argv[2]), "repeats" in sys.argv[3:])
