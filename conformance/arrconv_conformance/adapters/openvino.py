"""OpenVINO on the CPU, through models of one convolution. It has no gradients.

It runs in its mode ACCURACY, which keeps to the dtype of the model: by default it computes float32 in bfloat16 on
processors that are faster at it. Padding modes and negative amounts go through its Pad operation.

It sets the mode of the processor in which subnormal numbers count as zero, which the property "CPU denormals
optimization" of its documentation is about. A result of integers has the dtype of the arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from openvino import opset15 as opset

from arrconv_conformance.adapters import Unsupported

Padding = tuple[tuple[int, int], ...] | str

name = "openvino"
version = f"OpenVINO {openvino.__version__}"
claims: dict[str, Any] = {
    **dict.fromkeys(("int8", "uint8", "int16", "int32", "int64"), "wraps"),
    **{dtype: {"flushes_subnormals": True} for dtype in ("float32", "bfloat16")},
}

_CORE = openvino.Core()
# "auto_pad" of the transposed operation puts the odd one at the other end, as its specification says: what has the
# same name is not the transpose.
_TRANSPOSED = {"valid": "valid", "same_upper": "same_lower", "same_lower": "same_upper"}
_PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}


def conv(
    x: Any, w: Any, bias: Any, *, stride: Any, padding: Padding, dilation: Any, groups: int, padding_mode: str
) -> Any:
    """The forward convolution."""
    data = _parameter(x, w)
    if padding_mode not in _PAD_MODES:
        raise Unsupported(f"OpenVINO has no {padding_mode} padding")
    if isinstance(padding, str) and padding_mode != "zeros":
        raise Unsupported("OpenVINO has auto_pad for padding with zeros alone")
    node = data
    if not isinstance(padding, str) and (padding_mode != "zeros" or min(map(min, padding)) < 0):
        before, after = _amounts(((0, 0), (0, 0), *padding), x.ndim)
        node = opset.pad(node, before, after, _PAD_MODES[padding_mode], opset.constant(0, _element_type(x)))
        padding = ((0, 0),) * len(stride)
    call, weight = (opset.convolution, w) if groups == 1 else (opset.group_convolution, _by_group(w, groups))
    begins, ends = _amounts(padding, len(stride))
    auto_pad = padding if isinstance(padding, str) else "explicit"
    result = call(node, _constant(weight), list(stride), begins, ends, list(dilation), auto_pad)
    return _run(data, result, bias, x)


def conv_transpose(
    y: Any,
    w: Any,
    bias: Any,
    *,
    stride: Any,
    padding: Padding,
    output_padding: Any,
    dilation: Any,
    groups: int,
) -> Any:
    """The transposed convolution."""
    data = _parameter(y, w)
    if not isinstance(padding, str) and min(map(min, padding)) < 0:
        raise Unsupported("OpenVINO has no negative padding of a transposed convolution")
    begins, ends = _amounts(padding, len(stride))
    auto_pad = _TRANSPOSED[padding] if isinstance(padding, str) else "explicit"
    call, weight = opset.convolution_backprop_data, w
    if groups > 1:
        call, weight = opset.group_convolution_backprop_data, _by_group(w, groups)
    # `same_*` places the padding that a size takes; without one it does nothing.
    size = [length * step for length, step in zip(y.shape[2:], stride, strict=True)]
    result = call(
        data,
        _constant(weight),
        list(stride),
        opset.constant(size, np.int64) if auto_pad.startswith("same") else None,
        pads_begin=begins,
        pads_end=ends,
        dilations=list(dilation),
        auto_pad=auto_pad,
        output_padding=list(output_padding),
    )
    return _run(data, result, bias, y)


def _parameter(data: Any, w: Any) -> Any:
    if not 3 <= w.ndim <= 5:
        raise Unsupported("OpenVINO has convolutions of one to three spatial axes")
    if data.dtype.kind == "c":
        raise Unsupported("OpenVINO has no complex numbers")
    return opset.parameter(list(data.shape), _element_type(data))


def _amounts(padding: Padding, ndim: int) -> tuple[list[int], list[int]]:
    if isinstance(padding, str):
        return [0] * ndim, [0] * ndim  # they must be there, and are not read
    return [begin for begin, _ in padding], [end for _, end in padding]


def _by_group(w: Any, groups: int) -> Any:
    return w.reshape(groups, w.shape[0] // groups, *w.shape[1:])  # (G, O/G, I/G, *kernel)


def _element_type(array: Any) -> Any:
    return openvino.Type.bf16 if array.dtype.name == "bfloat16" else openvino.Type(array.dtype)


def _constant(array: Any) -> Any:
    return openvino.op.Constant(_tensor(array))


def _tensor(array: Any) -> Any:
    array = np.ascontiguousarray(array)
    if array.dtype.name == "bfloat16":  # NumPy has it from elsewhere
        tensor = openvino.Tensor(openvino.Type.bf16, list(array.shape))  # has memory of its own
        tensor.data.view(np.uint16)[...] = array.view(np.uint16)
        return tensor
    return openvino.Tensor(array)


def _run(data: Any, result: Any, bias: Any, array: Any) -> Any:
    if bias is not None:
        result = opset.add(result, _constant(bias.reshape(-1, *(1,) * (array.ndim - 2))))
    model = openvino.Model([result], [data], "convolution")
    compiled = _CORE.compile_model(model, "CPU", {"EXECUTION_MODE_HINT": "ACCURACY"})
    got = compiled(_tensor(array))[0]
    return got.view(array.dtype) if array.dtype.name == "bfloat16" else got
