"""MLX on the CPU: mlx.core's convolutions, and the gradients that mlx.core.vjp makes of them.

Channels are last in MLX. Padding with zeros goes to conv_general as it is; the modes are mlx.core.pad's. A transposed
convolution is conv_transpose1d to 3d; where the padding is unequal, which these do not take, it is conv_general with
`input_dilation` and `flip`, as they are made of it themselves.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from arrconv_conformance.adapters import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Padding = str | tuple[tuple[int, int], ...]

name = "mlx"
version = f"MLX {metadata.version('mlx')}"

_MODES = {"reflect": "reflect", "replicate": "edge"}


def conv(x: Any, w: Any, bias: Any, **options: Any) -> Any:
    """The forward convolution."""
    with mx.stream(mx.cpu):
        return _numpy(_conv(_channels_last(x), _array(w), _optional(bias), **options), w.dtype)


def conv_transpose(y: Any, w: Any, bias: Any, **options: Any) -> Any:
    """The transposed convolution."""
    with mx.stream(mx.cpu):
        return _numpy(_transpose(_channels_last(y), _array(w), _optional(bias), **options), w.dtype)


def conv_backward(x: Any, w: Any, gy: Any, *, needs: Collection[str], **options: Any) -> dict[str, Any]:
    """The gradients of the forward convolution, by mlx.core.vjp."""
    return _gradients(_conv, x, w, gy, np.zeros(len(w), w.dtype), needs, options)


def conv_transpose_backward(y: Any, w: Any, gx: Any, *, needs: Collection[str], **options: Any) -> dict[str, Any]:
    """The gradients of the transposed convolution, by mlx.core.vjp."""
    return _gradients(_transpose, y, w, gx, np.zeros(w.shape[1] * options["groups"], w.dtype), needs, options)


def _conv(
    x: Any, w: Any, bias: Any, *, stride: Any, padding: Padding, dilation: Any, groups: int, padding_mode: str
) -> Any:
    amounts = _amounts(padding)
    if padding_mode != "zeros":
        if padding_mode not in _MODES:
            raise Unsupported(f"mlx.core.pad has no mode for {padding_mode}")
        x = mx.pad(x, [(0, 0), *amounts, (0, 0)], mode=_MODES[padding_mode])
        amounts = ((0, 0),) * len(stride)
    weight = mx.moveaxis(w, 1, -1)  # (C_out, *kernel, C_in / groups)
    y = mx.conv_general(x, weight, stride, _begins_and_ends(amounts), dilation, groups=groups)
    return y if bias is None else y + bias


def _transpose(
    y: Any, w: Any, bias: Any, *, stride: Any, padding: Padding, output_padding: Any, dilation: Any, groups: int
) -> Any:
    amounts = _amounts(padding)
    out_channels, in_channels, *kernel = w.shape
    grouped = w.reshape(groups, out_channels // groups, in_channels, *kernel)
    exchanged = mx.swapaxes(grouped, 1, 2).reshape(groups * in_channels, out_channels // groups, *kernel)
    weight = mx.moveaxis(exchanged, 1, -1)  # (C_in, *kernel, C_out / groups)
    if all(begin == end >= 0 for begin, end in amounts):
        call = (mx.conv_transpose1d, mx.conv_transpose2d, mx.conv_transpose3d)[len(stride) - 1]
        begins = tuple(begin for begin, _ in amounts)
        arguments = (stride, begins, dilation, output_padding)
        x = call(y, weight, *(value[0] if len(stride) == 1 else value for value in arguments), groups)
    else:
        extents = [step * (taps - 1) + 1 for step, taps in zip(dilation, kernel, strict=True)]
        rests = [
            (extent - 1 - begin, extent - 1 - end + more)
            for extent, (begin, end), more in zip(extents, amounts, output_padding, strict=True)
        ]
        x = mx.conv_general(y, weight, 1, _begins_and_ends(rests), dilation, stride, groups, flip=True)
    return x if bias is None else x + bias


def _gradients(
    function: Callable[..., Any],
    x: Any,
    w: Any,
    gy: Any,
    bias: Any,
    needs: Collection[str],
    options: dict[str, Any],
) -> dict[str, Any]:
    with mx.stream(mx.cpu):
        arrays = {"input": _channels_last(x), "weight": _array(w), "bias": _array(bias)}

        def result(*wanted: Any) -> Any:
            return function(*(arrays | dict(zip(needs, wanted, strict=True))).values(), **options)

        _, grads = mx.vjp(result, [arrays[need] for need in needs], [_channels_last(gy)])
        found = dict(zip(needs, grads, strict=True))
        return {need: (_numpy if need == "input" else _plain)(grad, w.dtype) for need, grad in found.items()}


def _amounts(padding: Padding) -> tuple[tuple[int, int], ...]:
    if isinstance(padding, str):
        raise Unsupported("MLX takes amounts of padding, not a name for them")
    return padding


def _begins_and_ends(pairs: Any) -> tuple[list[int], list[int]]:
    return [begin for begin, _ in pairs], [end for _, end in pairs]


def _channels_last(array: Any) -> Any:
    if not 1 <= array.ndim - 2 <= 3:
        raise Unsupported(f"MLX has no convolution with {array.ndim - 2} spatial axes")
    return mx.moveaxis(_array(array), 1, -1)


def _array(array: Any) -> Any:
    if array.dtype.name not in ("float16", "bfloat16", "float32", "float64"):
        raise Unsupported("MLX's convolutions are of floating-point arrays")
    if any(step < 0 for step in array.strides):
        raise Unsupported("MLX makes no array of one with negative strides")
    # MLX makes float32 of NumPy's float64 where the dtype is not given.
    return mx.array(array, dtype=mx.float64) if array.dtype == np.float64 else mx.array(array)


def _optional(array: Any) -> Any:
    return None if array is None else _array(array)


def _numpy(array: Any, dtype: Any) -> Any:
    """An array of MLX, with the channels first again."""
    return _plain(mx.moveaxis(array, -1, 1), dtype)


def _plain(array: Any, dtype: Any) -> Any:
    # NumPy knows no bfloat16 to take over; its bits are those of the caller's.
    return np.array(array.view(mx.uint16)).view(dtype) if array.dtype == mx.bfloat16 else np.array(array)
