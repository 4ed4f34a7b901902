"""The runner: the same record however the work is spread, and what is left when frameworks, workers or users end it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import varied_adapter
from arrconv_conformance.adapters import Unavailable
from arrconv_conformance.cases import Case
from arrconv_conformance.record import Failure, Run
from arrconv_conformance.runner import PIECE, TRIES, BrokenOff, Runner, Target, threads
from arrconv_conformance.sessions import Child, Stopped
from varied_adapter import (
    CRASHES,
    HANGS,
    SMALL,
    Check,
    Heard,
    cases,
    ends,
    new_run,
    one_by_one,
    processes,
    with_special,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[Check]]:
    found = one_by_one(write(tmp_path_factory.mktemp("truth")), cases())
    assert {verdict.outcome for _, verdict, _ in found[1]} == {"agrees", "deviates", "refuses", "unsupported"}
    assert "no halves are known" in found[0].explained
    return found


def test_one_thread_two_threads_and_processes_make_the_record_of_one_by_one(
    tmp_path: Path, truth: tuple[Run, list[Check]]
) -> None:
    target = Target(write(tmp_path))
    spawned = multiprocessing.get_context("spawn")
    for executor in (threads(1), threads(2), ProcessPoolExecutor(2, mp_context=spawned)):
        run, heard = new_run(), Heard()
        with executor:
            assert Runner(executor, heard).run({target: run}, cases())
        assert (run, heard.checks) == truth
    assert len(processes(tmp_path)) == 2 + 2  # threads share those of this process


def test_forked_processes_leave_the_children_of_their_parent_alone(
    tmp_path: Path, truth: tuple[Run, list[Check]]
) -> None:
    script = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from arrconv_conformance.runner import Runner, Target
from varied_adapter import Case, Heard, SMALL, cases, new_run

target, heard = Target(sys.argv[1], limit=20), Heard()
with target.session() as session:
    first = session.ask(Case.parse(SMALL + " dtype=int64"))
with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
    Runner(pool, heard).run({target: new_run()}, cases())
with target.session() as session:
    assert session.ask(Case.parse(SMALL + " dtype=int64")) == first
print(heard.checks)
"""
    command = [sys.executable, "-c", script, write(tmp_path)]
    folder = Path(varied_adapter.__file__).parent
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""
    assert done.stdout == f"{truth[1]}\n"
    assert len(processes(tmp_path)) == 1 + 2
    assert all(ends(process) for process in processes(tmp_path))


def test_a_crash_and_a_hang_are_verdicts_on_one_case_each(tmp_path: Path, truth: tuple[Run, list[Check]]) -> None:
    target, run, heard = Target(write(tmp_path), limit=3), new_run(), Heard()
    asked = with_special(PIECE + 9, "uint8")
    asked.insert(PIECE + 30, Case.parse(f"{SMALL} dtype=int8"))
    with threads(1) as executor:
        assert Runner(executor, heard).run({target: run}, asked)
    crash, hang = heard.checks[PIECE + 9], heard.checks[PIECE + 30]
    assert (crash[1].outcome, crash[1].message) == ("crashes", "the process ended of signal SIGSEGV")
    assert (hang[1].outcome, hang[1].message) == ("hangs", "no answer after 3 s")
    assert [check for check in heard.checks if check not in (crash, hang)] == truth[1]
    assert len(run.failures) == len(truth[0].failures) + 2
    *ended, last = sorted(processes(tmp_path), key=lambda process: (tmp_path / f"process-{process}").stat().st_mtime_ns)
    assert len(ended) == 2
    assert all(ends(process) for process in ended)
    os.kill(last, 0)  # it is kept for more work


def test_what_calls_do_to_earlier_results_is_watched_piece_by_piece(tmp_path: Path) -> None:
    text = "\nkept = {}\n\ndef conv(x, w, bias, **options):\n    y = arrconv.conv(x, w, bias, **options)\n"
    target = Target(write(tmp_path, text + "    return kept.setdefault(y.shape, y)\n"))
    for executor in (threads(1), threads(2)):
        heard = Heard()
        with executor:
            Runner(executor, heard).run({target: new_run()}, [Case.parse(f"{SMALL} dtype=int64")] * (2 * PIECE + 3))
        outcomes = [verdict.outcome for _, verdict, _ in heard.checks]
        assert [number for number, outcome in enumerate(outcomes) if outcome == "agrees"] == [0, PIECE, 2 * PIECE]


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_first_failure_is_the_first_of_the_cases(tmp_path: Path, truth: tuple[Run, list[Check]], jobs: int) -> None:
    run, heard, target = new_run(), Heard(), Target(write(tmp_path))
    with threads(jobs) as executor:
        assert not Runner(executor, heard).run({target: run}, cases(), stop_first=True)
    assert run.failures == truth[0].failures[:1]
    where = [case for case, _, _ in truth[1]].index(str(run.failures[0].case))
    assert where > 0
    assert heard.checks == truth[1][: where + 1]


def test_an_interruption_leaves_the_record_until_then_and_waits_for_nothing(
    tmp_path: Path, truth: tuple[Run, list[Check]]
) -> None:
    os.mkfifo(tmp_path / "fifo")
    path = write(tmp_path, hangs=f"(folder / 'fifo').open('w').close(); {HANGS}")

    def interrupt() -> None:
        (tmp_path / "fifo").open().close()  # when the other one hangs
        raise KeyboardInterrupt

    run, heard = new_run(), Heard(at=PIECE + 3, then=interrupt)
    started = time.monotonic()
    with threads(2) as executor, pytest.raises(KeyboardInterrupt):
        Runner(executor, heard).run({Target(path, limit=100): run}, with_special(3 * PIECE + 5, "int8"))
    assert time.monotonic() - started < 50
    assert heard.checks == truth[1][: PIECE + 3]
    assert run.failures == [
        Failure(Case.parse(case), verdict)
        for case, verdict, reason in heard.checks
        if verdict.outcome not in ("agrees", "unsupported") and reason is None
    ]
    assert sum(tally.judged + tally.unsupported for tally in run.members.values()) == PIECE + 3
    with Target(path, limit=100).session() as session:
        assert session.ask(Case.parse(f"{SMALL} dtype=int64")).outcome == "agrees"


def test_a_framework_that_does_not_start_again_ends_the_run_and_its_crash_is_recorded(
    tmp_path: Path, truth: tuple[Run, list[Check]]
) -> None:
    text = "\nif (folder / 'crashed').exists():\n    raise OSError('the device is gone')\n"
    path = write(tmp_path, text, crashes=f"first('crashed'); {CRASHES}")
    run, heard = new_run(), Heard()
    with (
        threads(2) as executor,
        pytest.raises(BrokenOff, match=r"cannot be imported here \(OSError: the device is gone"),
    ):
        Runner(executor, heard).run({Target(path): run}, with_special(7, "uint8"))
    assert heard.checks[:7] == truth[1][:7]
    assert [verdict.outcome for _, verdict, _ in heard.checks[7:]] == ["crashes"]


def test_another_version_where_the_work_is_done_is_no_version_that_was_judged(tmp_path: Path) -> None:
    run = new_run("1.1")
    with (
        threads(1) as executor,
        pytest.raises(BrokenOff, match=r"mine\.py is 1\.1 here, but 1\.2 where the work is done"),
    ):
        Runner(executor).run({Target(write(tmp_path)): run}, cases())
    assert not run.members


def test_a_broken_pool_ends_the_run_and_says_so(tmp_path: Path, truth: tuple[Run, list[Check]]) -> None:
    path = write(tmp_path, crashes="os.kill(os.getppid(), signal.SIGKILL)")
    run, heard = new_run(), Heard()
    spawned = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=spawned) as executor,
        pytest.raises(BrokenOff, match="a worker process was lost, and its pool with it: BrokenProcessPool"),
    ):
        Runner(executor, heard).run({Target(path): run}, with_special(2 * PIECE + 1, "uint8"))
    assert heard.checks == truth[1][: len(heard.checks)]
    assert len(heard.checks) % PIECE == 0
    assert all(ends(process) for process in processes(tmp_path))


class Losing(Executor):
    """An executor that loses what it is given, some times."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times = error, times

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:  # type: ignore[override]
        future: Future[Any] = Future()
        self.times -= 1
        if self.times >= 0:
            future.set_exception(self.error)
        else:
            future.set_result(function(*arguments))
        return future


class KilledWorker(Exception):  # noqa: N818 - the name that Dask gives it
    pass


def test_a_lost_piece_is_given_out_again(tmp_path: Path, truth: tuple[Run, list[Check]]) -> None:
    heard, target = Heard(), Target(write(tmp_path))
    assert Runner(Losing(KilledWorker(), TRIES - 1), heard, ahead=1).run({target: new_run()}, cases())
    assert heard.checks == truth[1]


def test_a_piece_that_is_lost_again_and_again_ends_the_run(tmp_path: Path) -> None:
    target = Target(write(tmp_path))
    with pytest.raises(BrokenOff, match="the workers of one piece were lost 4 times: KilledWorker: memory"):
        Runner(Losing(KilledWorker("memory"), TRIES), ahead=1).run({target: new_run()}, cases())
    with pytest.raises(BrokenOff, match="work was cancelled"):
        Runner(Losing(CancelledError(), 1)).run({target: new_run()}, cases())
    with pytest.raises(ZeroDivisionError):  # which says nothing of the workers
        Runner(Losing(ZeroDivisionError(), 1)).run({target: new_run()}, cases())
    with threads(1) as closed:
        pass
    with pytest.raises(BrokenOff, match="no more work can be given out: RuntimeError: "):
        Runner(closed).run({target: new_run()}, cases())


def test_a_child_whose_parent_is_gone_ends_even_where_the_framework_hangs(tmp_path: Path) -> None:
    path = write(tmp_path, hangs=f"os.kill(os.getppid(), signal.SIGKILL); {HANGS}")
    script = """
import sys
from arrconv_conformance.sessions import Child
from varied_adapter import Case, SMALL

Child(sys.argv[1], limit=1).ask(Case.parse(SMALL + " dtype=int8"))
"""
    done = subprocess.run([sys.executable, "-c", script, path], cwd=Path(varied_adapter.__file__).parent, check=False)
    assert done.returncode == -signal.SIGKILL
    [process] = processes(tmp_path)
    assert ends(process)


def test_a_child_that_was_stopped_starts_no_more(tmp_path: Path) -> None:
    child = Child(write(tmp_path))
    child.stop()
    with pytest.raises(Stopped):
        child.ask(cases()[0])
    with pytest.raises(Unavailable, match="no such file"):
        Child(str(tmp_path / "other.py")).start()
