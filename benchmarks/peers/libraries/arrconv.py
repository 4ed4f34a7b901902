"""arrconv, on NumPy arrays unless it is given others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

import arrconv

if TYPE_CHECKING:
    from benchmarks.peers.work import Array, Task


def prepare(task: Task) -> Callable[[], Array]:
    return call_of(task, *task.operands)


def call_of(task: Task, x: Array, w: Array, g: Array, algorithm: str = "auto") -> Callable[[], Array]:
    """The call of a task on operands wherever they are."""
    row, geometry = task.row, task.row.geometry
    options: dict[str, Any] = dict(geometry.options) | {"algorithm": algorithm}
    if not row.is_transposed:
        calls: dict[str, Callable[[], Array]] = {
            "forward": partial(arrconv.conv, x, w, **options),
            "input gradient": partial(arrconv.conv_grad_input, w, g, input_size=geometry.input_size, **options),
            "weight gradient": partial(arrconv.conv_grad_weight, x, g, kernel_size=geometry.kernel_size, **options),
        }
        return calls[task.direction]
    del options["padding_mode"]
    options["output_padding"] = row.output_padding
    if task.direction == "forward":
        return partial(arrconv.conv_transpose, x, w, **options)
    need = task.direction.removesuffix(" gradient")

    def gradient() -> Array:
        found: Array = getattr(arrconv.conv_transpose_backward(x, w, g, needs=(need,), **options), need)
        return found

    return gradient


def as_array(result: Array) -> Array:
    return result


def versions() -> dict[str, str]:
    found = {"arrconv": arrconv.__version__, "numpy": np.__version__}
    with suppress(ImportError):
        found["numba"] = import_module("numba").__version__
    return found
