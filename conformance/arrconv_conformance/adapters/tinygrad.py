"""tinygrad on the CPU: conv2d and conv_transpose2d, which take any number of axes, and its autograd.

Padding modes go through Tensor.pad.
"""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any

import numpy as np
from tinygrad import Tensor, dtypes

from arrconv_conformance.adapters import Unsupported

if TYPE_CHECKING:
    from collections.abc import Collection

    Padding = tuple[tuple[int, int], ...] | str

name = "tinygrad"
version = f"tinygrad {version_of('tinygrad')}"
claims: dict[str, Any] = {"int32": "wraps"}


def conv(x: Any, w: Any, bias: Any, **options: Any) -> Any:
    """The forward convolution."""
    return _array(_conv(_tensor(x), _tensor(w), _tensor(bias), **options))


def conv_transpose(y: Any, w: Any, bias: Any, **options: Any) -> Any:
    """The transposed convolution."""
    return _array(_conv_transpose(_tensor(y), _tensor(w), _tensor(bias), **options))


def conv_backward(x: Any, w: Any, gy: Any, *, needs: Collection[str], **options: Any) -> dict[str, Any]:
    """The gradients of the forward convolution, by autograd."""
    return _gradients(_conv, x, w, len(w), gy, needs, options)


def conv_transpose_backward(
    y: Any, w: Any, gx: Any, *, needs: Collection[str], groups: int, **options: Any
) -> dict[str, Any]:
    """The gradients of the transposed convolution, by autograd."""
    return _gradients(_conv_transpose, y, w, w.shape[1] * groups, gx, needs, {"groups": groups, **options})


def _conv(
    x: Any, w: Any, bias: Any, *, stride: Any, padding: Padding, dilation: Any, groups: int, padding_mode: str
) -> Any:
    _check_axes(w)
    amounts: Any = _amounts(padding, len(stride))
    if padding_mode != "zeros":
        x, amounts = x.pad(_flat(padding), mode=padding_mode), 0
    return x.conv2d(w, bias, groups, stride, dilation, amounts)


def _conv_transpose(
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
    _check_axes(w)
    return y.conv_transpose2d(w, bias, groups, stride, dilation, _amounts(padding, len(stride)), output_padding)


def _gradients(
    call: Any, data: Any, w: Any, channels: int, grad: Any, needs: Collection[str], options: dict[str, Any]
) -> dict[str, Any]:
    if w.dtype.kind in "iu":
        raise Unsupported("gradients of integers are not to be had")
    leaves = {"input": _tensor(data), "weight": _tensor(w), "bias": _tensor(np.zeros(channels, w.dtype))}
    result = call(*leaves.values(), **options)
    grads = result.gradient(*(leaves[need] for need in needs), gradient=_tensor(grad))
    return {need: _array(gradient) for need, gradient in zip(needs, grads, strict=True)}


def _amounts(padding: Padding, ndim: int) -> tuple[int, ...]:
    """One amount for both ends where that says it, else both, the last axis first."""
    if padding == "valid":
        return (0,) * ndim
    if isinstance(padding, str):
        raise Unsupported("tinygrad has no padding by name")
    if all(begin == end for begin, end in padding):
        return tuple(begin for begin, _ in padding)
    return tuple(_flat(padding))


def _flat(padding: Padding) -> Any:
    return tuple(amount for pair in reversed(padding) for amount in pair)


def _check_axes(w: Any) -> None:
    if w.ndim < 3:
        raise Unsupported("tinygrad has no convolution without spatial axes")


def _tensor(array: Any) -> Any:
    if array is None:
        return None
    if array.dtype.kind == "c":
        raise Unsupported("tinygrad has no complex numbers")
    if array.dtype.name in ("int8", "uint8", "int16"):
        raise Unsupported("tinygrad's sums of narrow integers are int32")
    if array.dtype.name == "bfloat16":  # tinygrad and NumPy know it, but not each other's
        return Tensor(array.view(np.uint16), device="CPU").bitcast(dtypes.bfloat16)
    return Tensor(array, device="CPU")


def _array(tensor: Any) -> Any:
    if tensor.dtype == dtypes.bfloat16:
        import ml_dtypes  # needed for this dtype alone, and an option of arrconv

        return tensor.bitcast(dtypes.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()
