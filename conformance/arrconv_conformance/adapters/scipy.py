"""SciPy: scipy.signal.correlate and convolve.

They know neither batches nor channels, but any number of axes. In mode "valid" the sum over the channels is what they
do along one more axis, and the batch is an axis on which the kernel has one element, so that one call yields one
channel of the result for the whole batch; the channels of the result are a loop, as a user would write it. Groups,
strides and dilation have no such reading, and are not offered. Neither are gradients.

Padding goes through numpy.pad, SciPy's own arrays being NumPy's; but where there is one channel to sum over and the
amounts are those of mode "full" or "same", that mode is asked for. The method is "direct": "auto", the default, takes
an FFT for large arrays, whose errors no bound of single elements covers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from scipy import signal

from arrconv_conformance.adapters import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    Padding = str | tuple[tuple[int, int], ...]

name = "scipy"
version = f"SciPy {scipy.__version__}"
claims: dict[str, Any] = dict.fromkeys(("int8", "uint8", "int16", "int32", "int64"), "wraps")


def conv(
    x: Any, w: Any, bias: Any, *, stride: Any, padding: Padding, dilation: Any, groups: int, padding_mode: str
) -> Any:
    """The forward convolution; correlate conjugates its second array, and a convolution does not."""
    _check(x.shape[1], w.shape[1], w, stride, dilation, groups)
    if padding_mode != "zeros":
        raise Unsupported("scipy.signal's N-dimensional functions have no padding modes")
    return _channels(signal.correlate, x, np.conj(w), bias, padding)


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
    """The transposed convolution; convolve flips the channels too, which are put in reverse before."""
    _check(y.shape[1], w.shape[0], w, stride, dilation, groups)
    if any(output_padding):
        raise Unsupported("scipy.signal has no output padding")
    if isinstance(padding, str):
        raise Unsupported("scipy.signal's names for padding are those of the forward convolution")
    kernels = w.swapaxes(0, 1)[:, ::-1]  # (C_in, C_out, *kernel)
    amounts = tuple((k - 1 - begin, k - 1 - end) for k, (begin, end) in zip(w.shape[2:], padding, strict=True))
    return _channels(signal.convolve, y, kernels, bias, amounts)


def _channels(call: Callable[..., Any], x: Any, kernels: Any, bias: Any, padding: Padding) -> Any:
    """One call for each channel of the result: (N, C, *sizes) by (1, C, *kernel) is (N, 1, *positions)."""
    if len(kernels) == 0:
        raise Unsupported("without channels of the result SciPy is not called")
    same = tuple((k // 2, (k - 1) // 2) for k in kernels.shape[2:])
    full = tuple((k - 1, k - 1) for k in kernels.shape[2:])
    modes: dict[Any, str] = {"valid": "valid"}
    if kernels.shape[1] == 1:
        modes |= {"same_lower": "same", same: "same", full: "full"}
    if padding not in modes:
        if isinstance(padding, str):
            raise Unsupported("scipy.signal's 'same' has the odd one at the begin, and sums over no channels")
        if any(amount < 0 for pair in padding for amount in pair):
            raise Unsupported("numpy.pad takes no negative amounts")
        x, padding = np.pad(x, [(0, 0), (0, 0), *padding]), "valid"
    result = np.concatenate([call(x, kernel[None], modes[padding], "direct") for kernel in kernels], axis=1)
    return result if bias is None else result + bias.reshape(-1, *(1,) * (x.ndim - 2))


def _check(channels: int, of_weight: int, w: Any, stride: Any, dilation: Any, groups: int) -> None:
    if w.dtype.name in ("float16", "bfloat16"):
        raise Unsupported("scipy.signal has no 16-bit floating-point arrays")
    if {*stride, *dilation, groups} != {1}:
        raise Unsupported("scipy.signal has no strides, no dilation and no groups")
    if channels != of_weight:  # SciPy knows no channels: one more axis is as good
        raise ValueError(f"the array has {channels} channels, and the weight is for {of_weight}")
