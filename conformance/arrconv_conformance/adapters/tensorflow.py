"""TensorFlow on the CPU: tf.nn's convolutions, and the gradients of tf.GradientTape.

Channels are last, since the CPU has no kernels for the other layout; groups follow from the numbers of channels.
conv2d and conv2d_transpose take amounts of padding. The others take "VALID" and "SAME", so that amounts go through
tf.pad before a convolution, and cannot be told to a transposed one. Dilation has neither a kernel for three axes nor
gradients on the CPU; where there is no stride, tf.nn.convolution offers both by moving positions into the batch.

The threads of TensorFlow set the mode of the processor in which subnormal numbers count as zero: "Tensorflow always
flushes denormals to zero", says a comment in https://github.com/openxla/xla/pull/35740.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from arrconv_conformance.adapters import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    Padding = str | tuple[tuple[int, int], ...]

name = "tensorflow"
version = f"TensorFlow {tf.__version__}"

claims: dict[str, Any] = {
    **dict.fromkeys(("int8", "uint8", "int16", "int32", "int64"), "wraps"),
    **{dtype: {"flushes_subnormals": True} for dtype in ("float32", "float64", "bfloat16")},
}

_MODES = {"zeros": "CONSTANT", "reflect": "REFLECT"}
_STRINGS = {"valid": "VALID", "same_upper": "SAME"}


def conv(x: Any, w: Any, bias: Any, **options: Any) -> Any:
    """The forward convolution."""
    with _here():
        return _numpy(_conv(_data(x), _filters(w), _optional(bias), has_gradients=False, **options))


def conv_transpose(y: Any, w: Any, bias: Any, **options: Any) -> Any:
    """The transposed convolution."""
    with _here():
        return _numpy(_transpose(_data(y), _filters(w), _optional(bias), **options))


def conv_backward(x: Any, w: Any, gy: Any, *, needs: Collection[str], **options: Any) -> dict[str, Any]:
    """The gradients of the forward convolution, by tf.GradientTape."""
    return _gradients(_conv, x, w, gy, np.zeros(len(w), w.dtype), needs, {"has_gradients": True, **options})


def conv_transpose_backward(y: Any, w: Any, gx: Any, *, needs: Collection[str], **options: Any) -> dict[str, Any]:
    """The gradients of the transposed convolution, by tf.GradientTape."""
    return _gradients(_transpose, y, w, gx, np.zeros(w.shape[1] * options["groups"], w.dtype), needs, options)


def _conv(
    x: Any,
    w: Any,
    bias: Any,
    *,
    stride: Any,
    padding: Padding,
    dilation: Any,
    groups: int,
    padding_mode: str,
    has_gradients: bool,
) -> Any:
    ndim = len(stride)
    if groups * w.shape[-2] != x.shape[-1]:
        raise Unsupported("TensorFlow is not told the number of groups: the filters say it")
    call = (tf.nn.conv1d, tf.nn.conv2d, tf.nn.conv3d)[ndim - 1]
    if max(dilation) > 1 == max(stride) and (has_gradients or ndim == 3):
        call = tf.nn.convolution
    if padding_mode not in _MODES:
        raise Unsupported(f"tf.pad has no mode for {padding_mode}")
    amounts = _amounts(padding)
    if padding_mode != "zeros" or not (isinstance(amounts, str) or call is tf.nn.conv2d):
        if isinstance(amounts, str):
            raise Unsupported("tf.pad takes amounts, not a name for them")
        x, amounts = tf.pad(x, amounts, _MODES[padding_mode]), "VALID"
    # conv3d alone wants the batch and the channels in these lists as well, and the others accept them
    strides, dilations = (1, *stride, 1), (1, *dilation, 1)
    return _add(call(x, w, strides, padding=amounts, dilations=dilations), bias)


def _transpose(
    y: Any, w: Any, bias: Any, *, stride: Any, padding: Padding, output_padding: Any, dilation: Any, groups: int
) -> Any:
    ndim = len(stride)
    amounts = _amounts(padding)
    positions, kernel = y.shape[1:-1], w.shape[:ndim]
    if amounts == "SAME":
        if any(output_padding):
            raise Unsupported("TensorFlow's 'SAME' has no output padding")
        sizes = [length * step for length, step in zip(positions, stride, strict=True)]
    else:
        pairs = amounts[1:-1] if amounts != "VALID" else [(0, 0)] * ndim
        sizes = [
            (length - 1) * step + spread * (taps - 1) + 1 - begin - end + more
            for length, step, spread, taps, (begin, end), more in zip(
                positions, stride, dilation, kernel, pairs, output_padding, strict=True
            )
        ]
        if ndim != 2 and any(pair != (0, 0) for pair in pairs):
            raise Unsupported(f"conv{ndim}d_transpose takes no amounts of padding")
        amounts = amounts if ndim == 2 else "VALID"
    call = (tf.nn.conv1d_transpose, tf.nn.conv2d_transpose, tf.nn.conv3d_transpose)[ndim - 1]
    shape = (y.shape[0], *sizes, w.shape[-2] * groups)
    return _add(call(y, w, shape, (1, *stride, 1), amounts, dilations=(1, *dilation, 1)), bias)


def _gradients(
    function: Callable[..., Any],
    x: Any,
    w: Any,
    gy: Any,
    bias: Any,
    needs: Collection[str],
    options: dict[str, Any],
) -> dict[str, Any]:
    if w.dtype.kind in "iu":
        raise Unsupported("tf.GradientTape has no gradients of integers")
    with _here():
        arrays = {"input": _data(x), "weight": _filters(w), "bias": tf.constant(bias)}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([arrays[need] for need in needs])
            result = function(*arrays.values(), **options)
        grads = tape.gradient(result, {need: arrays[need] for need in needs}, _data(gy))
        back: dict[str, Any] = {"input": _numpy, "weight": _weight, "bias": lambda grad: grad.numpy()}
        return {need: back[need](grad) for need, grad in grads.items()}


def _amounts(padding: Padding) -> Any:
    """The padding as TensorFlow writes it: of all axes of its arrays, or a name."""
    if isinstance(padding, str):
        if padding not in _STRINGS:
            raise Unsupported("TensorFlow's 'SAME' has the odd one at the end")
        return _STRINGS[padding]
    if any(amount < 0 for pair in padding for amount in pair):
        raise Unsupported("TensorFlow has no negative padding")
    return [(0, 0), *padding, (0, 0)]


def _add(y: Any, bias: Any) -> Any:
    return y if bias is None else tf.nn.bias_add(y, bias)


def _data(x: Any) -> Any:
    if not 1 <= x.ndim - 2 <= 3:
        raise Unsupported(f"TensorFlow has no convolution with {x.ndim - 2} spatial axes")
    return tf.constant(np.moveaxis(x, 1, -1))


def _filters(w: Any) -> Any:
    return tf.constant(np.moveaxis(w, (0, 1), (-1, -2)))  # (*kernel, C_in / groups, C_out)


@contextmanager
def _here() -> Iterator[None]:
    """On the CPU; a dtype that an operation does not have is not offered."""
    try:
        with tf.device("CPU:0"):
            yield
    except tf.errors.InvalidArgumentError as error:
        if "is not in the list of allowed values" in str(error):
            raise Unsupported(str(error)) from error
        raise
    except tf.errors.NotFoundError as error:  # there is the operation, but no kernel for the dtype
        raise Unsupported(str(error)) from error


def _numpy(array: Any) -> Any:
    return np.moveaxis(array.numpy(), -1, 1)


def _weight(grad: Any) -> Any:
    return np.moveaxis(grad.numpy(), (-1, -2), (0, 1))


def _optional(array: Any) -> Any:
    return None if array is None else tf.constant(array)
