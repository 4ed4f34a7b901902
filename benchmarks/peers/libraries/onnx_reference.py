"""The reference evaluator of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import onnx
from onnx.reference import ReferenceEvaluator

from benchmarks.peers.libraries._onnx import model

if TYPE_CHECKING:
    from benchmarks.peers.work import Array, Task


def prepare(task: Task) -> Callable[[], Array]:
    evaluator = ReferenceEvaluator(model(task))
    x = task.operands[0]

    def call() -> Array:
        [result] = evaluator.run(None, {"x": x})
        return result

    return call


def as_array(result: Array) -> Array:
    return result


def versions() -> dict[str, str]:
    return {"onnx": onnx.__version__}
