"""The kernels, fastest first, and the choice among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrconv.errors import SpecError, UnsupportedError
from arrconv.kernels import cuda, cudnn, fft, gemm, implicit, table, taps, tiles

if TYPE_CHECKING:
    from arrconv.kernels.base import Kernel, Problem

_IN_ORDER = (
    table.KERNEL, tiles.KERNEL, gemm.KERNEL, cuda.KERNEL, implicit.KERNEL, cudnn.KERNEL, fft.KERNEL, taps.KERNEL,
)  # fmt: skip
KERNELS: dict[str, Kernel] = {kernel.name: kernel for kernel in _IN_ORDER}
ALGORITHMS = ("auto", *KERNELS, "exact")
"""What may be asked for: "exact" is no kernel, but many contractions by kernels, rounded once after the bias."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel that was chosen, and for each other one why it was not.

    >>> print(Choice("taps", {"gemm": "it works on NumPy and CuPy arrays, not on those of torch"}))
    taps
      not gemm: it works on NumPy and CuPy arrays, not on those of torch
    """

    kernel: str
    passed_over: dict[str, str]

    def __str__(self) -> str:
        return "\n".join([self.kernel, *(f"  not {name}: {reason}" for name, reason in self.passed_over.items())])


def select(problem: Problem, algorithm: str) -> Kernel:
    """The kernel for a problem: the one named, or under `auto` the first that does not pass.

    No kernel under `auto` has a worse error bound than direct summation, and the values in the arrays play no part.

    Raises:
        SpecError: there is no kernel of that name.
        UnsupportedError: the named kernel refuses the problem.
    """
    check_algorithm(algorithm)
    if algorithm == "auto":
        return next(kernel for kernel in KERNELS.values() if kernel.passes(problem) is None)  # the last never does
    if (reason := KERNELS[algorithm].refuses(problem)) is not None:
        raise UnsupportedError(f"algorithm={algorithm!r} cannot serve this call: {reason}")
    return KERNELS[algorithm]


def choose(problem: Problem, algorithm: str) -> Choice:
    """The kernel that `select` takes, or "exact", and why each other is passed over; raises what `select` raises."""
    chosen = algorithm if algorithm == "exact" else select(problem, algorithm).name
    others = [name for name in ALGORITHMS[1:] if name != chosen]
    if algorithm != "auto":
        return Choice(chosen, dict.fromkeys(others, f"{chosen} was asked for"))
    later = f"{chosen} serves this problem and comes first"
    reasons = {name: KERNELS[name].passes(problem) or later for name in others if name in KERNELS}
    return Choice(chosen, reasons | {"exact": "it is slower, and runs only when asked for"})


def check_algorithm(algorithm: str) -> None:
    """Raise a SpecError unless there is an algorithm of this name."""
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise SpecError(f"algorithm={algorithm!r} is unknown; the algorithms are {', '.join(ALGORITHMS)}")
