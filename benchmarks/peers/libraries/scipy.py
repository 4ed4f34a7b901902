"""SciPy: scipy.signal.correlate over all axes but the batch, one call for each image and channel of the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import scipy
from scipy import signal

if TYPE_CHECKING:
    from benchmarks.peers.work import Array, Task


def prepare(task: Task) -> Callable[[], Array]:
    spec = task.row.geometry.options
    if task.row.is_transposed or task.direction != "forward" or spec["groups"] > 1 or set(spec["dilation"]) != {1}:  # type: ignore[arg-type]
        raise NotImplementedError("scipy.signal has no groups, no dilation, and no gradients")
    x, w, _ = task.operands
    if x.dtype == np.float16:
        raise NotImplementedError("scipy.signal has no float16")
    conjugated = w.conj()  # correlate conjugates, a convolution does not
    steps = tuple(slice(None, None, step) for step in spec["stride"])  # type: ignore[union-attr]
    padding = [(0, 0), *spec["padding"]]  # type: ignore[misc]

    def call() -> Array:
        padded = [np.pad(image, padding) for image in x]
        return np.stack(
            [
                np.stack([signal.correlate(image, kernel, "valid")[0][steps] for kernel in conjugated])
                for image in padded
            ]
        )

    return call


def as_array(result: Array) -> Array:
    return result


def versions() -> dict[str, str]:
    return {"scipy": scipy.__version__, "numpy": np.__version__}
