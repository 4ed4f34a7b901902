"""The reference evaluator of ONNX: its operators in NumPy, which say what they mean. It has no gradients."""

from __future__ import annotations

from typing import Any

import onnx
from onnx.reference import ReferenceEvaluator

from arrconv_conformance.adapters._onnx_model import INPUT, conv_model, conv_transpose_model

name = "onnx_reference"
version = f"ONNX {onnx.__version__}, reference evaluator"


def conv(x: Any, w: Any, bias: Any, **options: Any) -> Any:
    """The forward convolution."""
    return ReferenceEvaluator(conv_model(x, w, bias, **options)).run(None, {INPUT: x})[0]


def conv_transpose(y: Any, w: Any, bias: Any, **options: Any) -> Any:
    """The transposed convolution."""
    return ReferenceEvaluator(conv_transpose_model(y, w, bias, **options)).run(None, {INPUT: y})[0]
