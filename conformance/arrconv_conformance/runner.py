"""Running cases on frameworks, on any executor of `concurrent.futures`, and what came of it.

The work is cut into pieces of one framework and some cases. A piece is a few lines of text, and so is what comes back:
whoever works on it makes the arrays itself, in a child process of the framework that it keeps for the next piece. So
the executor may be threads, processes, or a cluster's; the record is made from the pieces in their order, and is the
same however they were spread.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from concurrent.futures import BrokenExecutor, CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import arrconv
from arrconv_conformance.adapters import Unavailable
from arrconv_conformance.cases import Case
from arrconv_conformance.expectations import expectations_for
from arrconv_conformance.record import Run
from arrconv_conformance.sessions import CASE_LIMIT, Child, Defect, InProcess, Session, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager

    from arrconv_conformance.judge import Verdict

PIECE = 40
"""The number of cases in a piece: some hundred milliseconds."""

TRIES = 4
"""How often a piece is given out before the loss of its workers ends the run."""


class BrokenOff(Exception):  # noqa: N818 - what was recorded until then stands
    """The run cannot go on: the framework or the workers are gone. What was recorded until then stands."""


@dataclass(frozen=True, slots=True)
class Target:
    """A framework that is asked in child processes.

    Args:
        asked: what `load_adapter` takes.
        repeats: whether each call is made a second time, to compare the bits.
        limit: the seconds that a case may take.
    """

    asked: str
    repeats: bool = False
    limit: float = CASE_LIMIT

    @contextmanager
    def session(self) -> Iterator[Child]:
        """A child process that nobody else is using, kept for the next one who asks.

        Raises:
            Unavailable: the framework cannot be run here.
        """
        child = _children.lend(self)
        try:
            child.start()
            yield child
        finally:
            _children.take_back(self, child)


@dataclass
class _Children:
    """The child processes of this process: those that wait for work, and those that are at it."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _idle: dict[Target, list[Child]] = field(default_factory=dict)
    _busy: dict[Target, set[Child]] = field(default_factory=dict)

    def lend(self, target: Target) -> Child:
        """One that nobody else has; it may have to be started."""
        with self._lock:
            idle = self._idle.get(target)
            child = idle.pop() if idle else Child(target.asked, target.repeats, target.limit)
            self._busy.setdefault(target, set()).add(child)
        return child

    def take_back(self, target: Target, child: Child) -> None:
        """Keep it for the next one, unless it was stopped."""
        with self._lock:
            self._busy[target].discard(child)
            if not child.is_stopped:
                self._idle.setdefault(target, []).append(child)
                return
        child.close()

    def stop(self, targets: Iterable[Target]) -> None:
        """Stop those that are at work, whatever it is that they are waiting for."""
        with self._lock:
            for child in [child for target in targets for child in self._busy.get(target, ())]:
                child.stop()

    def end(self) -> None:
        """End all of them."""
        self.stop(list(self._busy))
        with self._lock:
            for child in [child for idle in self._idle.values() for child in idle]:
                child.close()
            self._idle.clear()

    def let_go(self) -> None:
        """Leave them to the process from which this one was forked."""
        for child in [child for some in (*self._idle.values(), *self._busy.values()) for child in some]:
            child.let_go()
        self._lock, self._idle, self._busy = threading.Lock(), {}, {}


_children = _Children()
atexit.register(_children.end)  # those that hang would outlive this process
os.register_at_fork(after_in_child=_children.let_go)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a piece.

    Args:
        version: the version of the framework that answered; empty where none did.
        verdicts: one for each case, or for the first ones.
        reason: why there are not more of them.
    """

    version: str
    verdicts: list[Verdict]
    reason: str = ""


def work(target: Target, cases: list[str]) -> Done:
    """Put some cases to a framework."""
    version, verdicts = "", []
    try:
        with target.session() as session:
            version = session.version
            session.forget()  # which other pieces it had before is left to chance
            for case in cases:
                verdicts.append(session.ask(Case.parse(case)))
    except (Unavailable, Defect) as reason:
        return Done(version, verdicts, str(reason))
    return Done(version, verdicts)


@dataclass(frozen=True, slots=True)
class _Piece:
    target: Target
    cases: list[Case]

    def submit(self, executor: Executor) -> Future[Done]:
        """Give it out.

        Raises:
            BrokenOff: the executor takes no more work.
        """
        try:
            return executor.submit(work, self.target, [str(case) for case in self.cases])
        except (RuntimeError, OSError) as error:  # a broken or closed executor; one that has lost its cluster
            raise BrokenOff(f"no more work can be given out: {_said(error)}") from error


@dataclass
class Runner:
    """Puts cases to frameworks that run in processes of their own.

    A worker that is lost with a piece, as a cluster loses them, is no verdict: the piece is given out again. A
    `ProcessPoolExecutor` that has lost a process takes no more work, and the run ends.

    Args:
        executor: where the pieces are worked on.
        on_check: called with the run, the case, the verdict and what explains it, in the order of the cases.
        ahead: how many pieces are given out before the first has come back.
    """

    executor: Executor
    on_check: Callable[[Run, Case, Verdict, str | None], None] = lambda *_: None
    ahead: int = 256
    _given: deque[tuple[_Piece, Future[Done]]] = field(default_factory=deque, init=False)

    def run(self, runs: dict[Target, Run], cases: Iterable[Case], *, stop_first: bool = False) -> bool:
        """Record every case in the run of every target, and return whether all were put.

        Args:
            runs: where to record, by target.
            cases: cases of one member, dtype and data set.
            stop_first: whether to stop at the first failure that nothing explains.

        Raises:
            BrokenOff: a framework cannot be started any more, or is of another version where the work is done; or the
                executor has lost a piece too often, or takes no more work.
        """
        try:
            return self._run(runs, cases, stop_first)
        except BaseException:
            self._cancel()
            _children.stop(runs)  # or the threads of this process would be waited for
            raise
        finally:
            self._cancel()

    def _run(self, runs: dict[Target, Run], cases: Iterable[Case], stop_first: bool) -> bool:
        pieces = _pieces(list(runs), cases)
        while True:
            for piece in islice(pieces, self.ahead - len(self._given)):
                self._given.append((piece, piece.submit(self.executor)))
            if not self._given:
                return True
            piece, done = self._given[0][0], self._first_done()
            self._given.popleft()
            run = runs[piece.target]
            if done.version not in ("", run.version):
                raise BrokenOff(f"{run.asked} is {run.version} here, but {done.version} where the work is done")
            for case, verdict in zip(piece.cases, done.verdicts, strict=not done.reason):
                self.on_check(run, case, verdict, run.record(case, verdict))
                if stop_first and run.failures:
                    return False
            if done.reason:
                raise BrokenOff(done.reason)

    def _first_done(self) -> Done:
        """What came of the first piece, which is given out again where its worker was lost."""
        for tries in range(1, TRIES + 1):
            piece, future = self._given[0]
            try:
                return future.result()
            except BrokenExecutor as error:
                raise BrokenOff(f"a worker process was lost, and its pool with it: {_said(error)}") from error
            except CancelledError as error:  # by nobody here: Dask's client does so when it loses the scheduler
                raise BrokenOff("work was cancelled, as happens when the connection to a cluster is lost") from error
            except Exception as error:
                if not _is_lost(error):
                    raise
                if tries == TRIES:
                    raise BrokenOff(f"the workers of one piece were lost {TRIES} times: {_said(error)}") from error
                self._given[0] = (piece, piece.submit(self.executor))
        raise AssertionError("the last try returns or raises")

    def _cancel(self) -> None:
        for _, future in self._given:
            future.cancel()
        self._given.clear()


def _is_lost(error: Exception) -> bool:
    """Whether a worker was lost with its piece, as executors say it; Dask's name is known without importing it."""
    return isinstance(error, Stopped) or type(error).__name__ == "KilledWorker"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _pieces(targets: list[Target], cases: Iterable[Case]) -> Iterator[_Piece]:
    remaining = iter(cases)
    while batch := list(islice(remaining, PIECE)):
        for target in targets:
            yield _Piece(target, batch)


def run(
    cases: Iterable[Case], adapters: dict[str, Any], on_check: Callable[[Run, Case, Verdict], None] = lambda *_: None
) -> list[Run]:
    """Put cases to adapters in this process, without isolation: a crash of a framework ends it.

    Args:
        cases: what to ask; each stands for all of its members, dtypes and data sets that it does not name.
        adapters: the frameworks, by the name under which they are to be reported.
        on_check: called after each check.

    Returns:
        What came of each framework, in the order of the adapters.

    Raises:
        ExpectationsError: what is expected of a framework cannot be read.
        ClaimsError: what an adapter claims means nothing.
    """
    sessions: dict[str, Session] = {asked: InProcess(adapter) for asked, adapter in adapters.items()}
    runs = {
        asked: Run(asked, session.name, session.version, expectations_for(session.name))
        for asked, session in sessions.items()
    }
    for case in cases:
        for single in case.singles():
            for asked, session in sessions.items():
                verdict = session.ask(single)
                runs[asked].record(single, verdict)
                on_check(runs[asked], single, verdict)
    return list(runs.values())


def dask_executor(address: str) -> AbstractContextManager[Executor]:
    """The executor of a Dask cluster, whose workers have arrconv and the frameworks installed.

    A lost worker's pieces are done by others. Where no worker is left the executor waits for new ones.

    Raises:
        ImportError: Dask is not installed.
        OSError: there is no scheduler at the address.
        Unavailable: a worker has another version of arrconv, or none.
    """
    from distributed import Client

    @contextmanager
    def connected() -> Iterator[Executor]:
        with Client(address) as client:
            _check_workers(client)
            with client.get_executor(pure=False) as executor:
                yield executor

    return connected()


def _check_workers(client: Any) -> None:
    """Raise Unavailable where a worker has another arrconv: Dask would close it, and wait for a better one."""
    for worker, about in client.get_versions(packages=["arrconv"])["workers"].items():
        version = about["packages"]["arrconv"]
        if version != arrconv.__version__:
            has = "no arrconv" if version is None else f"arrconv {version}"
            raise Unavailable(f"the Dask worker {worker} has {has}, and here is {arrconv.__version__}")


def threads(jobs: int) -> ThreadPoolExecutor:
    """An executor of so many threads, each with child processes of its own."""
    return ThreadPoolExecutor(jobs, thread_name_prefix="conform")
