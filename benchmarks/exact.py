"""What correctly rounded results cost beside plain float64 ones: measured here, printed as JSON on standard output."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import arrconv
from benchmarks.engine import PAUSE, environment, seconds, spread

ROUNDS = 9
ROUNDS_OF_HARD_DATA = 3
SHAPE, KERNEL = (8, 64, 56, 56), (64, 64, 3, 3)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """Some data, a member, and how often it is measured."""

    data: str
    x: Array
    w: Array
    rounds: int = ROUNDS
    member: str = "conv"

    def call(self, **options: Any) -> Callable[[], Any]:
        """The member on arrays of these sizes."""
        function = getattr(arrconv, self.member)
        sizes = {"conv_grad_input": {"input_size": SHAPE[2:]}, "conv_grad_weight": {"kernel_size": KERNEL[2:]}}
        arrays = {"conv_grad_input": (self.w, self.x), "conv_grad_weight": (self.x, self.x)}
        given = arrays.get(self.member, (self.x, self.w))
        return lambda: function(*given, padding=1, **sizes.get(self.member, {}), **options)


def works() -> Iterator[Work]:
    """64→64 channels, 3×3, 56×56, batch 8, unless it says otherwise."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(SHAPE), rng.standard_normal(KERNEL)
    whole = rng.integers(-16, 17, SHAPE).astype(np.float64), rng.integers(-8, 9, KERNEL).astype(np.float64)
    yield Work("small integers in float64", *whole)
    for dtype in ("float16", "float32", "float64"):
        yield Work(f"normal {dtype}", x.astype(dtype), w.astype(dtype))
    for member in ("conv_grad_input", "conv_grad_weight"):
        yield Work(f"normal float64, {member}", x, w, member=member)
    z = rng.standard_normal(SHAPE)
    hard = {
        "photograph, 0 … 255 / 255": (rng.integers(0, 256, SHAPE) / 255, w),
        "half of the image zero": (np.where(np.arange(SHAPE[-1]) < SHAPE[-1] // 2, 0, x), w),
        "normal · exp(2·normal)": (x * np.exp(2 * z), w),
        "normal · exp(5·normal)": (x * np.exp(5 * z), w),
        "10^−30 … 10^30": (x * 10 ** rng.uniform(-30, 30, SHAPE), w),
        "every sum cancels to 0": (np.repeat(x[:, ::2], 2, axis=1), cancelling(w)),
    }
    for dtype in ("float32", "float64"):
        for name, (a, b) in hard.items():
            yield Work(f"{name}, {dtype}", a.astype(dtype), b.astype(dtype), ROUNDS_OF_HARD_DATA)
    small = [10 ** rng.uniform(-300, 300, shape) * rng.choice([-1, 1], shape) for shape in ((1, 64, 14, 14), KERNEL)]
    yield Work("10^−300 … 10^300, float64, batch 1 of 14×14", *small, ROUNDS_OF_HARD_DATA)


def cancelling(w: Array) -> Array:
    """Weights that are opposite in each pair of channels."""
    return np.repeat(w[:, ::2], 2, axis=1) * np.where(np.arange(w.shape[1]) % 2, -1, 1)[:, None, None]


def measure(work: Work) -> dict[str, Any]:
    """The time of the exact call as a multiple of the plain float64 call of the same sizes, taking turns."""
    wide = Work(
        work.data, *(np.where(np.isfinite(a), a, 0).astype(np.float64) for a in (work.x, work.w)), member=work.member
    )
    plain, exact = wide.call(), work.call(algorithm="exact")
    with np.errstate(over="ignore", invalid="ignore"):  # the plain call of the widest data
        plain(), exact()
        times: dict[str, list[float]] = {"plain_ms": [], "exact_ms": [], "multiple": []}
        for _ in range(work.rounds):
            time.sleep(PAUSE)
            before, middle, after = seconds(plain), seconds(exact), seconds(plain)
            times["plain_ms"].append((before + after) / 2 * 1e3)
            times["exact_ms"].append(middle * 1e3)
            times["multiple"].append(2 * middle / (before + after))
    return {name: spread(values) for name, values in times.items()}


def main() -> None:
    print(json.dumps({"exact": {work.data: measure(work) for work in works()}} | environment()))


if __name__ == "__main__":
    main()
