"""Which steps there are, and how much each does."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrconv_conformance.gpu_check.running import Step

if TYPE_CHECKING:
    from pathlib import Path

_CONFORM = "from arrconv.cli import main; main()"  # the command may not be installed
_STRICT = {"array-api-strict": "CPU_DEVICE"}  # the names of the digests' libraries, where they are others


@dataclass(frozen=True, slots=True)
class Size:
    """How much the steps do.

    Attributes:
        cases: of the conformance suite.
        steps: of training.
        width: of the network.
        benchmark: options of the benchmark.
    """

    cases: str = "full"
    steps: int = 100
    width: int = 64
    benchmark: tuple[str, ...] = ()


FULL = Size()
TINY = Size("3", 2, 4, ("--row", "smallest", "--dtype", "float32"))


def plan(library: str, folder: Path, size: Size) -> list[Step]:
    """All steps for a library, which leave their findings in a folder.

    The shares are guesses of how long they take on a GPU; what is left of one is for those that follow.

    >>> from pathlib import Path
    >>> [step.name for step in plan("cupy", Path("out"), FULL)]
    ['device', 'tests', 'conform', 'digests', 'training', 'operators', 'benchmark']
    """

    def step(name: str, share: float, *command: str) -> Step:
        return Step(name, (sys.executable, *command), share)

    def own(name: str, share: float, *given: str) -> Step:
        return step(name, share, "-m", f"arrconv_conformance.gpu_check.{name}", library, file(name), *given)

    def file(name: str) -> str:
        return str(folder / f"{name}.json")

    lines = str(folder / "conform.jsonl")
    judged = ("conform", library, "--cases", size.cases, "--json", file("conform"), "--jsonl", lines)
    digests = ("tests/functional/test_exact_digests.py", _STRICT.get(library, library), file("digests"))
    measured = step("benchmark", 7, "-m", "benchmarks.gpu", "--json", file("benchmark"), *size.benchmark)
    return [
        own("device", 1),
        step("tests", 6, "-m", "arrconv_conformance.gpu_check.marked", file("tests")),
        step("conform", 8, "-c", _CONFORM, *judged),
        step("digests", 3, *digests),
        own("training", 3, str(size.steps), str(size.width)),
        own("operators", 2),
        *([measured] if library == "cupy" else []),
    ]
