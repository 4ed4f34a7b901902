"""ONNX models of one convolution, for every framework that runs ONNX.

The weight and the bias are constants of the model, as in a model that somebody has trained: that is when runtimes
rearrange weights and choose other kernels. Padding modes and negative amounts, which Conv does not have, go through
the Pad operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper, numpy_helper

from arrconv_conformance.adapters import Unsupported

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    Padding = tuple[tuple[int, int], ...] | str

INPUT = "data"
# The newest operators' versions of Conv and ConvTranspose, in a file format that runtimes of three years ago can read.
_OPSET, _IR_VERSION = 22, 10
_AUTO_PAD = {"valid": "VALID", "same_upper": "SAME_UPPER", "same_lower": "SAME_LOWER"}
_PAD_MODES = {"zeros": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}


def conv_model(
    x: Any, w: Any, bias: Any, *, stride: Any, padding: Padding, dilation: Any, groups: int, padding_mode: str
) -> ModelProto:
    """The model of a forward convolution, to be given x under the name `INPUT`.

    Raises:
        Unsupported: ONNX has no such convolution.
    """
    _check(x, w)
    constants = _constants(w, bias)
    before: list[NodeProto] = []
    needs_pad = not isinstance(padding, str) and (padding_mode != "zeros" or min(map(min, padding)) < 0)
    if padding_mode != "zeros" and isinstance(padding, str):
        raise Unsupported("ONNX has auto_pad for padding with zeros alone")
    if needs_pad:
        constants["pads"] = np.array(_pads(((0, 0), (0, 0), *padding)), np.int64)
        before = [helper.make_node("Pad", [INPUT, "pads"], ["padded"], mode=_PAD_MODES[padding_mode])]
        padding = ((0, 0),) * len(stride)
    node = helper.make_node(
        "Conv",
        ["padded" if before else INPUT, *(name for name in constants if name != "pads")],
        ["result"],
        **_attributes(w, stride, padding, dilation, groups),
    )
    return _model(x, constants, [*before, node])


def conv_transpose_model(
    y: Any,
    w: Any,
    bias: Any,
    *,
    stride: Any,
    padding: Padding,
    output_padding: Any,
    dilation: Any,
    groups: int,
) -> ModelProto:
    """The model of a transposed convolution, to be given y under the name `INPUT`.

    Raises:
        Unsupported: ONNX has no such transposed convolution.
    """
    _check(y, w)
    if not isinstance(padding, str) and min(map(min, padding)) < 0:
        raise Unsupported("ONNX has no negative padding of a transposed convolution")
    constants = _constants(w, bias)
    attributes = _attributes(w, stride, padding, dilation, groups)
    node = helper.make_node(
        "ConvTranspose", [INPUT, *constants], ["result"], output_padding=list(output_padding), **attributes
    )
    return _model(y, constants, [node])


def _check(data: Any, w: Any) -> None:
    if w.ndim < 3:
        raise Unsupported("ONNX has no convolution without spatial axes")
    if data.dtype.kind == "c":
        raise Unsupported("ONNX has no convolution of complex numbers")
    if data.dtype.kind in "iu":
        raise Unsupported("ONNX has no convolution of integers but the quantized ones, which are others")


def _constants(w: Any, bias: Any) -> dict[str, Any]:
    return {"weight": w} if bias is None else {"weight": w, "bias": bias}


def _attributes(w: Any, stride: Any, padding: Padding, dilation: Any, groups: int) -> dict[str, Any]:
    attributes = {
        "kernel_shape": list(w.shape[2:]),
        "strides": list(stride),
        "dilations": list(dilation),
        "group": groups,
    }
    if isinstance(padding, str):
        return {**attributes, "auto_pad": _AUTO_PAD[padding]}
    return {**attributes, "pads": _pads(padding)}


def _pads(pairs: tuple[tuple[int, int], ...]) -> list[int]:
    """All begins, then all ends, as ONNX writes them."""
    return [pair[0] for pair in pairs] + [pair[1] for pair in pairs]


def _model(data: Any, constants: dict[str, Any], nodes: list[NodeProto]) -> ModelProto:
    element = helper.np_dtype_to_tensor_dtype(data.dtype)
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info(INPUT, element, data.shape)],
        [helper.make_tensor_value_info("result", element, None)],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
