"""Operators and solvers on a library: adjoints, pseudo-inverses and solutions, beside those of NumPy.

What is compared is bounded by the singular values of the operators, which NumPy computes of their dense matrices.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.linop import (
    CircularConv,
    Conv,
    Convolve,
    Differences,
    Identity,
    Operator,
    block,
    dot_test,
    pinv,
    singular_values,
)
from arrconv.linop.solve import L1, cg, fista, lsmr
from arrconv_conformance.gpu_check.place import Findings, Place, finish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNIT = float(np.finfo(np.float64).eps)
RTOL = 1e-9
"""Of the solvers: what they leave is far more than what they round, and bounds how far two solutions are apart."""


@dataclass(frozen=True, slots=True)
class Check:
    """How far something is from where it has to be, and how far it may be; or the error that came instead."""

    name: str
    apart: float = math.nan
    allowed: float = math.nan
    error: str = ""

    @property
    def is_right(self) -> bool:
        """Whether it is near enough; what is not a number is not."""
        return self.apart <= self.allowed

    def __str__(self) -> str:
        found = self.error or f"{self.apart:.2e}, of at most {self.allowed:.2e}"
        return f"{'ok' if self.is_right else 'WRONG'}: {self.name}: {found}"


def normal(*shape: int, dtype: str = "float64", seed: int = 0) -> np.ndarray[Any, Any]:
    """Normal numbers, the same everywhere."""
    rng = np.random.default_rng((seed, *shape))
    real = rng.standard_normal(shape)
    return (real + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else real).astype(dtype)


OPERATORS: dict[str, Callable[[Callable[[Any], Any], str], Operator]] = {
    "zeros": lambda put, t: Conv(put(normal(5, 2, 3, 2, dtype=t)), (7, 6), padding=((1, 2), 1), stride=(1, 2)),
    "circular": lambda put, t: Conv(put(normal(4, 2, 3, 3, dtype=t)), (6, 8), padding=1, padding_mode="circular"),
    "reflect, dilated": lambda put, t: Conv(
        put(normal(4, 1, 3, dtype=t)), (11,), padding=2, dilation=2, groups=2, padding_mode="reflect"
    ),
    "replicate, 3-D": lambda put, t: Conv(
        put(normal(3, 2, 2, 1, 3, dtype=t)), (4, 3, 5), padding=1, padding_mode="replicate"
    ),
    "circular, by frequencies": lambda put, t: CircularConv(put(normal(3, 2, 3, 2, dtype=t)), (5, 7)),
    "convolve": lambda put, t: Convolve(put(normal(4, 3, dtype=t)), (6, 8)),
    "differences": lambda put, t: Differences((3, 5, 4), 2, put(normal(1, dtype=t))),
    "a block": lambda put, t: block(
        [[Identity((2, 4, 5), put(normal(1, dtype=t))), CircularConv(put(normal(2, 3, 2, 2, dtype=t)), (4, 5))]]
    ),
}
DTYPES = ("float32", "float64", "complex64", "complex128")

INVERTED: dict[str, Callable[[Callable[[Any], Any]], Operator]] = {
    "by frequencies": lambda put: CircularConv(put(near_identity(3, 3)), (6, 5)),
    "by frequencies, wide": lambda put: Conv(put(near_identity(2, 4)), (6, 7), padding=1, padding_mode="circular"),
    "by the border": lambda put: Conv(put(near_identity(3, 3)), (9, 8), padding=1),
}


def near_identity(rows: int, columns: int) -> np.ndarray[Any, Any]:
    """A kernel of 3×3 taps, of which the one in the middle is most."""
    w = 0.1 * normal(rows, columns, 3, 3)
    w[range(min(rows, columns)), range(min(rows, columns)), 1, 1] += 1
    return w


def checks(place: Place) -> Iterator[Check]:
    """All of them, one after the other; an error is that of its check alone."""
    numpy = Place.of("numpy")
    pieces: dict[str, Callable[[], tuple[float, float]]] = {
        f"adjoint of {name}, {dtype}": partial(_adjoint, make, dtype, place)
        for name, make in OPERATORS.items()
        for dtype in DTYPES
    }
    pieces |= {f"pseudo-inverse {name}": partial(_inverted, make, numpy, place) for name, make in INVERTED.items()}
    pieces |= {f"{name} to {RTOL:g}": partial(_solved, solve, numpy, place) for name, solve in SOLVERS.items()}
    pieces["singular values"] = partial(_singular_values, numpy, place)
    for name, piece in pieces.items():
        try:
            yield Check(name, *piece())
        except Exception as error:  # on a library that is being tried anything may happen
            yield Check(name, error=f"{type(error).__name__}: {error}")


def _adjoint(make: Callable[[Callable[[Any], Any], str], Operator], dtype: str, place: Place) -> tuple[float, float]:
    test = dot_test(make(place.put, dtype))
    return test.largest, test.limit


def _inverted(make: Callable[[Callable[[Any], Any]], Operator], numpy: Place, place: Place) -> tuple[float, float]:
    """Two pseudo-inverses of the same operator A, each backward stable: n·u·κ(A)·‖A⁺b‖ from the exact one at most."""
    (x, theirs), sizes = _both(lambda operator, b: pinv(operator) @ b, make, numpy, place)
    allowed = 2 * len(sizes) * UNIT * sizes[0] / sizes[-1] * np.linalg.norm(x)
    return float(np.linalg.norm(theirs - x)), float(allowed)


SOLVERS: dict[str, Callable[[Operator, Any], Any]] = {
    "cg": lambda a, b: cg(a.gram(), a.H @ b, rtol=RTOL).x,
    "lsmr": lambda a, b: lsmr(a, b, rtol=RTOL).x,
    "fista": lambda a, b: fista(a, b, proximal=L1(0.05), rtol=RTOL).x,
}


def _solved(solve: Callable[[Operator, Any], Any], numpy: Place, place: Place) -> tuple[float, float]:
    """Two minimisers of a function that is strongly convex by σ², σ the least singular value, within rtol·‖A.H b‖/σ².

    That is what a gradient, or a subgradient, of that norm leaves, and what rounding moves is far less.

    Source: Y. Nesterov, "Lectures on convex optimization", 2nd edition, 2018, section 2.1.3.
    """
    make = INVERTED["by the border"]
    (x, theirs), sizes = _both(solve, make, numpy, place)
    operator = make(numpy.put)
    scale = float(np.linalg.norm(operator.H @ normal(*operator.shape_out, seed=1)))
    return float(np.linalg.norm(theirs - x)), float(2 * RTOL * scale / sizes[-1] ** 2)


def _singular_values(numpy: Place, place: Place) -> tuple[float, float]:
    """By frequencies, beside those of the dense matrix; each is within n·u of the largest."""
    make = OPERATORS["circular"]
    dense = np.linalg.svd(make(numpy.put, "float64").to_matrix(), compute_uv=False)
    found = place.get(singular_values(make(place.put, "float64")))
    return float(np.abs(found - dense).max()), float(2 * len(dense) * UNIT * dense[0])


def _both(
    solve: Callable[[Operator, Any], Any], make: Callable[[Callable[[Any], Any]], Operator], numpy: Place, place: Place
) -> tuple[list[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """What NumPy and a library make of the same operator and right-hand side, and the singular values."""
    found = []
    for where in (numpy, place):
        operator = make(where.put)
        found.append(where.get(solve(operator, where.put(normal(*operator.shape_out, seed=1)))))
    return found, np.linalg.svd(make(numpy.put).to_matrix(), compute_uv=False)


def judge(place: Place) -> Findings:
    """All checks; each is said as it is made."""
    found = []
    for check in checks(place):
        print(check, flush=True)
        found.append(check)
    wrong = [check.name for check in found if not check.is_right]
    line = f"{len(found)} checks" + (f", wrong: {'; '.join(wrong)}" if wrong else "")
    return Findings(line, {"checks": [asdict(check) for check in found]}, not wrong)


if __name__ == "__main__":
    finish(judge(Place.of(sys.argv[1])), sys.argv[2])
