"""Engines that speak the line protocol, as short Python programs that import nothing but the standard library."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from arrconv_conformance import Case, Verdict
from arrconv_conformance.asking import Asker
from arrconv_conformance.claims import Claim
from arrconv_conformance.data import numpy_dtype
from arrconv_conformance.program import Program
from arrconv_conformance.question import Question
from typer.testing import CliRunner

from arrconv.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AMPLE = 20.0
SHORT = 1.0

# What all engines of these tests begin with. `ask` reads a request, `say` answers, `save` writes float32 numbers.
ENGINE = """
import os, signal, struct, sys, time

def ask():
    line = sys.stdin.readline()
    if not line:
        sys.exit()
    return dict(word.partition("=")[::2] for word in line.split()[1:]) | {"line": line.rstrip("\\n")}

def say(*words):
    print(*words, flush=True)

def save(request, name, shape, values, descr="<f4"):
    header = repr({"descr": descr, "fortran_order": False, "shape": shape})
    header += " " * (63 - (10 + len(header)) % 64) + "\\n"
    with open(request["folder"] + "/" + name, "wb") as file:
        file.write(b"\\x93NUMPY\\x01\\x00" + struct.pack("<H", len(header)) + header.encode() + values)
"""
HELLO = "\nask()\nsay('hello protocol=1 name=mine version=1')\n"

CONV = Case.parse("n=2 c=1 o=3 x=5 k=2 member=conv dtype=float32 data=ones")
TRANSPOSED = Case.parse("n=2 c=1 o=3 x=5 k=2 member=conv_transpose dtype=float32 data=ones")
SHAPE = (2, 1, 5)  # of the result of TRANSPOSED


def command(folder: Path, text: str, *arguments: str) -> str:
    path = folder / "engine.py"
    path.write_text(ENGINE + text, encoding="utf-8")
    return shlex.join([sys.executable, "-S", "-E", str(path), *arguments])


def looping(answers: str) -> str:
    """An engine that answers each request as the lines say, with `n` the number of calls before."""
    return f"{HELLO}\nn = -1\nwhile True:\n    request, n = ask(), n + 1\n" + "".join(
        f"    {line}\n" for line in answers.strip("\n").splitlines()
    )


def faulty(fault: str) -> str:
    """An engine that commits a fault when it is asked for a transposed convolution, and offers nothing else."""
    body = "".join(f"    {line}\n" for line in fault.splitlines())
    return looping(f"if request['function'] == 'conv_transpose':\n{body}else:\n    say('unsupported but alive')")


class Start(Protocol):
    """Starts an engine of a text."""

    def __call__(self, text: str, *arguments: str, limit: float = AMPLE) -> Program: ...


@contextmanager
def starting(folder: Path) -> Iterator[Start]:
    """Starts engines that lie in a folder, and ends them."""
    with ExitStack() as stack:

        def start(text: str, *arguments: str, limit: float = AMPLE) -> Program:
            program = Program.of(command(folder, text, *arguments), limit)
            stack.callback(program.close)
            return program

        yield start


def verdict(adapter: Program, case: Case) -> Verdict:
    return Asker(adapter).ask(Question(case, Claim.of(adapter, str(case.dtype))))


def arrays(dtype: str = "float32") -> dict[str, np.ndarray[Any, Any]]:
    x = np.arange(2 * 4 * 5 * 7).reshape(2, 4, 5, 7).astype(numpy_dtype(dtype))
    return {"x": x, "w": np.ones((6, 2, 2, 3), x.dtype)}


OPTIONS: dict[str, Any] = {"stride": (1, 2), "padding": ((1, 0), (-1, 2)), "dilation": (3, 1), "groups": 2}


def conform(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["conform", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output
