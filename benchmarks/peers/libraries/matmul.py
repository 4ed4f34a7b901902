"""No convolution: a square matrix product of NumPy's in the dtype of the task, which says what the machine can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.peers.work import Array, Task

SIZE = 1024


def prepare(task: Task) -> Callable[[], Array]:
    if task.dtype == "float16":
        raise NotImplementedError("NumPy multiplies matrices of float16 one number at a time")
    numbers = np.random.default_rng(0).standard_normal((2, SIZE, SIZE)).astype(task.dtype)
    return lambda: numbers[0] @ numbers[1]


def operations(task: Task) -> int:
    """Of one call, which is not the task's."""
    return 2 * SIZE**3 * (4 if task.dtype.startswith("complex") else 1)


def as_array(result: Array) -> Array:
    return result


def versions() -> dict[str, str]:
    return {"numpy": np.__version__}
