"""An adapter of many verdicts, which may crash, hang or kill its worker, and what a run of it should come to."""

from __future__ import annotations

import os
import random
import select
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from arrconv_conformance.adapters import load_adapter
from arrconv_conformance.cases import Case
from arrconv_conformance.data import DTYPES, INTEGERS
from arrconv_conformance.expectations import parse
from arrconv_conformance.record import Run
from arrconv_conformance.runner import PIECE
from arrconv_conformance.sessions import InProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from arrconv_conformance.judge import Verdict

COUNT = 3 * PIECE + 7
EXPECTED = '[[refuses]]\nmessage = "no halves"\nreason = "no halves are known"\n'
SMALL = "n=2 c=3 o=4 x=5,6 k=2,3 member=conv data=integers"

ADAPTER = """
import ctypes, os, pathlib, signal
import arrconv
name, version = "mine", "1.2"
folder = pathlib.Path(__file__).parent
(folder / f"process-{os.getpid()}").touch()

def first(what):
    try:
        (folder / what).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

def conv(x, w, bias, **options):
    if x.dtype == "float16":
        raise ValueError("no halves")
    y = arrconv.conv(x, w, bias, **options)
    return -y if x.dtype == "complex128" else y

def conv_backward(x, w, gy, *, needs, **options):
    grads = arrconv.conv_backward(x, w, gy, needs=needs, **options)
    if gy.dtype == "complex128":
        raise KeyError("needs")
    return {need: getattr(grads, need) for need in needs}
"""

# Something else happens in one case alone.
SPECIAL = """
usual = conv

def conv(x, w, bias, **options):
    if x.shape == (2, 3, 5, 6) and x.dtype == "uint8":
        CRASHES
    if x.shape == (2, 3, 5, 6) and x.dtype == "int8":
        HANGS
    return usual(x, w, bias, **options)
"""
# The worker is killed in the middle of a piece, once.
LOSES = """
def conv_transpose(y, w, bias, **options):
    if first("lost"):
        (folder / "lost").write_text(str(os.getpid()))
        os.kill(os.getppid(), signal.SIGKILL)
    raise NotImplementedError("mine has no conv_transpose")
"""
CRASHES = "ctypes.string_at(0)"
HANGS = "ctypes.PyDLL(None).pause()"  # and holds the interpreter's lock

Check = tuple[str, Any, str | None]  # the case, the verdict, and what explains it, as a runner reports them


def write(folder: Path, text: str = "", *, crashes: str = CRASHES, hangs: str = HANGS) -> str:
    """An adapter of several verdicts, with more text."""
    path = folder / "mine.py"
    special = SPECIAL.replace("CRASHES", crashes).replace("HANGS", hangs)
    path.write_text(ADAPTER + special + text, encoding="utf-8")
    return str(path)


def cases() -> list[Case]:
    """Some of every dtype, in no order."""
    texts = [
        f"{geometry} member={member} dtype={dtype} data={'integers' if dtype in INTEGERS else data}"
        for geometry in ("n=2 c=3 o=4 x=6,5 k=2,3", "n=3 c=4 o=6 g=2 x=9 k=3 p=2:1", "n=1 c=2 o=3 x=3,4,5 k=2,1,3 s=2")
        for member, data in (
            ("conv", "normal"),
            ("conv_backward", "wide"),
            ("conv_transpose", "inf"),
            ("conv_grad_weight", "integers"),
        )
        for dtype in DTYPES
    ]
    random.Random(6).shuffle(texts)
    return [Case.parse(text) for text in texts[:COUNT]]


def with_special(at: int, dtype: str) -> list[Case]:
    """The cases, and in their middle a special one."""
    return [*cases()[:at], Case.parse(f"{SMALL} dtype={dtype}"), *cases()[at:]]


def new_run(version: str = "1.2") -> Run:
    return Run("mine.py", "mine", version, parse(EXPECTED, "expected"))


def ends(process: int) -> bool:
    """Whether a process has ended, or does so within seconds."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    with os.fdopen(descriptor, closefd=True):
        return bool(select.select([descriptor], [], [], 20)[0])


def processes(folder: Path) -> list[int]:
    """Those in which the adapter was loaded, except for this one."""
    found = {int(path.name.partition("-")[2]) for path in folder.glob("process-*")}
    return sorted(found - {os.getpid()})


@dataclass
class Heard:
    """What a runner tells, and what is done at some point of it."""

    checks: list[Check] = field(default_factory=list)
    at: int = -1
    then: Callable[[], None] = lambda: None

    def __call__(self, run: Run, case: Case, verdict: Verdict, reason: str | None) -> None:
        self.checks.append((str(case), verdict, reason))
        if len(self.checks) == self.at:
            self.then()


def one_by_one(path: str, asked: list[Case]) -> tuple[Run, list[Check]]:
    """What comes of cases in this process, without a runner."""
    session, run = InProcess(load_adapter(path)), new_run()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as frameworks may warn in processes of their own
        verdicts = [session.ask(case) for case in asked]
    return run, [(str(case), verdict, run.record(case, verdict)) for case, verdict in zip(asked, verdicts, strict=True)]
