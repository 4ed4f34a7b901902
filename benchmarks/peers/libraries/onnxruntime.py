"""ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NotThere

from benchmarks.peers.libraries._onnx import model

if TYPE_CHECKING:
    from benchmarks.peers.work import Array, Task


def prepare(task: Task) -> Callable[[], Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model(task).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except NotThere as error:
        raise NotImplementedError(str(error)) from None
    x = onnxruntime.OrtValue.ortvalue_from_numpy(task.operands[0])
    return lambda: session.run_with_ort_values(["y"], {"x": x})[0]


def as_array(result: Any) -> Array:
    found: Array = result.numpy()
    return found


def versions() -> dict[str, str]:
    return {"onnxruntime": onnxruntime.__version__}
