"""No convolution: a copy of an array much larger than any cache, which says how fast memory is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.peers.work import Array, Task

BYTES = 2**28


def prepare(task: Task) -> Callable[[], Array]:  # noqa: ARG001 - the signature that all libraries share
    source, target = np.ones((2, BYTES // 8))
    return partial(_copied, source, target)


def _copied(source: Array, target: Array) -> Array:
    np.copyto(target, source)
    return target


def operations(task: Task) -> int:  # noqa: ARG001
    """Bytes that are read or written, in one call."""
    return 2 * BYTES


def as_array(result: Array) -> Array:
    return result[:1]


def versions() -> dict[str, str]:
    return {"numpy": np.__version__}
