"""Models of one ONNX operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from benchmarks.peers.work import Task


def model(task: Task) -> Any:
    """Conv or ConvTranspose, the weight a constant, as it is in a network that was trained."""
    if task.direction != "forward":
        raise NotImplementedError("ONNX has no gradients")
    x, w, _ = task.operands
    if x.dtype.kind == "c":
        raise NotImplementedError("ONNX has no complex convolutions")
    spec: dict[str, Any] = dict(task.row.geometry.options)
    pads = [amount for end in zip(*spec["padding"], strict=True) for amount in end]
    attributes = {"strides": spec["stride"], "dilations": spec["dilation"], "group": spec["groups"], "pads": pads}
    if task.row.is_transposed:
        attributes["output_padding"] = task.row.output_padding
    node = helper.make_node("ConvTranspose" if task.row.is_transposed else "Conv", ["x", "w"], ["y"], **attributes)
    element = helper.np_dtype_to_tensor_dtype(x.dtype)
    infos = (
        helper.make_tensor_value_info(name, element, shape)
        for name, shape in (("x", x.shape), ("y", task.row.result_shape))
    )
    given, result = infos
    graph = helper.make_graph([node], "convolution", [given], [result], [numpy_helper.from_array(w, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
