"""SigPy: its multi-channel convolution, which flips kernels, and the two adjoints of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import sigpy

if TYPE_CHECKING:
    from benchmarks.peers.work import Array, Task


def prepare(task: Task) -> Callable[[], Array]:
    geometry = task.row.geometry
    spec: dict[str, Any] = dict(geometry.options)
    if spec["groups"] > 1 or set(spec["dilation"]) != {1}:
        raise NotImplementedError("sigpy.convolve has no groups and no dilation")
    given, w, cotangent = task.operands
    if w.dtype == np.float16:
        raise NotImplementedError("sigpy.convolve has no float16")
    x, y = (cotangent, given) if task.row.is_transposed else (given, cotangent)
    flipped = np.flip(w, tuple(range(2, w.ndim)))
    options = {"mode": "valid", "strides": spec["stride"], "multi_channel": True}
    padding = [(0, 0), (0, 0), *spec["padding"]]
    padded_shape = tuple(size + begin + end for size, (begin, end) in zip(x.shape, padding, strict=True))
    inner = tuple(slice(begin, begin + size) for size, (begin, _) in zip(x.shape, padding, strict=True))

    def correlation(kernel: Array) -> Array:
        result: Array = sigpy.convolve(np.pad(x, padding), kernel, **options)
        return result

    def back(kernel: Array) -> Array:
        result: Array = sigpy.convolve_data_adjoint(y, kernel, padded_shape, **options)
        return result[inner]

    def weights() -> Array:
        found: Array = sigpy.convolve_filter_adjoint(y, np.pad(x, padding), w.shape, **options)
        return np.flip(found, tuple(range(2, w.ndim)))

    if task.direction == "weight gradient":
        if task.row.is_transposed:
            return lambda: weights().conj()  # y and the cotangent have changed places
        return weights
    if task.direction == "forward":
        return (lambda: back(flipped.conj())) if task.row.is_transposed else (lambda: correlation(flipped))
    return (lambda: correlation(flipped.conj())) if task.row.is_transposed else (lambda: back(flipped))


def as_array(result: Array) -> Array:
    return result


def versions() -> dict[str, str]:
    return {"sigpy": sigpy.__version__, "numpy": np.__version__}
