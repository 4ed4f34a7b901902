"""Which steps there are, and how much each does."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrconv_conformance.gpu_check.running import LIMIT, Step

if TYPE_CHECKING:
    from pathlib import Path

_CONFORM = "from arrconv.cli import main; main()"  # the command may not be installed
_STRICT = {"array-api-strict": "CPU_DEVICE"}  # the names of the digests' libraries, where they are others
# Kernels that are judged when they are asked for; what the last one needs may not be installed.
_KERNELS = {"cupy": ("cuda", "implicit", "cudnn"), "numpy": ("gemm", "tiles"), "array-api-strict": ("taps",)}
_DEVICES = {"cupy": "cuda", "numpy": "cpu"}  # of what is measured, by libraries


@dataclass(frozen=True, slots=True)
class Size:
    """How much the steps do.

    Attributes:
        cases, some_cases: of the conformance suite, of what is chosen and of kernels that are asked for.
        steps: of training.
        width: of the network.
        epochs: options of the benchmark of training.
        benchmark: options of the benchmark.
    """

    cases: str = "full"
    some_cases: str = "quick"
    steps: int = 100
    width: int = 64
    epochs: tuple[str, ...] = ()
    benchmark: tuple[str, ...] = ()


FULL = Size()
_FEW_EPOCHS = ("--pairs", "70", "--width", "4", "--batch", "32", "--rounds", "1", "--way", "arrconv", "--way", "torch")
TINY = Size("3", "3", 2, 4, _FEW_EPOCHS, ("--row", "smallest", "--dtype", "float32", "--rounds", "1"))


def plan(library: str, folder: Path, size: Size) -> list[Step]:
    """All steps for a library, which leave their findings in a folder.

    The shares are guesses of how long they take on a GPU; what is left of one is for those that follow.

    >>> from pathlib import Path
    >>> [step.name for step in plan("cupy", Path("out"), FULL)]
    ['device', 'tests', 'conform', 'kernels', 'digests', 'training', 'operators', 'epochs', 'benchmark']
    """

    def step(name: str, share: float, *command: str) -> Step:
        return Step(name, (sys.executable, *command), share)

    def own(name: str, share: float, *given: str) -> Step:
        return step(name, share, "-m", f"arrconv_conformance.gpu_check.{name}", library, file(name), *given)

    def file(name: str) -> str:
        return str(folder / f"{name}.json")

    def judged(name: str, share: float, cases: str, *given: str) -> Step:
        kept = ("--json", file(name), "--jsonl", str(folder / f"{name}.jsonl"))
        return step(name, share, "-c", _CONFORM, "conform", *given, "--cases", cases, *kept)

    digests = ("tests/functional/test_exact_digests.py", _STRICT.get(library, library), file("digests"))

    def measured(name: str, share: float, module: str, given: tuple[str, ...]) -> Step:
        options = ("--device", _DEVICES[library], "--budget", LIMIT, "--json", file(name))
        return step(name, share, "-m", module, *options, *given)

    *named, last = (f"{library}:{kernel}" for kernel in _KERNELS[library])
    steps = [
        own("device", 1),
        step("tests", 6, "-m", "arrconv_conformance.gpu_check.marked", file("tests")),
        judged("conform", 8, size.cases, library),
        judged("kernels", 5, size.some_cases, *named, "--if-present", last),
        step("digests", 3, *digests),
        own("training", 3, str(size.steps), str(size.width)),
        own("operators", 2),
    ]
    if library in _DEVICES:
        steps += [
            measured("epochs", 3, "benchmarks.gpu.training", size.epochs),
            measured("benchmark", 8, "benchmarks.gpu", size.benchmark),
        ]
    return steps
