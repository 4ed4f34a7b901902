"""ONNX Runtime on the CPU, through models of one convolution. It has no gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

from arrconv_conformance.adapters import Unsupported
from arrconv_conformance.adapters._onnx_model import INPUT, conv_model, conv_transpose_model

if TYPE_CHECKING:
    from onnx import ModelProto

name = "onnxruntime"
version = f"ONNX Runtime {onnxruntime.__version__}"


def conv(x: Any, w: Any, bias: Any, **options: Any) -> Any:
    """The forward convolution."""
    return _run(conv_model(x, w, bias, **options), x)


def conv_transpose(y: Any, w: Any, bias: Any, **options: Any) -> Any:
    """The transposed convolution."""
    return _run(conv_transpose_model(y, w, bias, **options), y)


def _run(model: ModelProto, data: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it refuses it says in an exception as well
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except NoKernel as error:  # it has kernels for some dtypes only
        raise Unsupported(str(error)) from error
    return session.run(None, {INPUT: data})[0]
