"""Convolution, transposed convolution and their gradients: what users call. Each is a checked call, evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from arrconv.functional import calls
from arrconv.functional.calls import NEEDS, ConvGrads, evaluate
from arrconv.kernels import check_algorithm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arrconv._namespace import Array
    from arrconv.spec import ConvOptions, ConvTransposeOptions, NamedPadding, PaddingMode


def conv(
    x: Array,
    w: Array,
    bias: Array | None = None,
    /,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int | Sequence[int]] | NamedPadding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    algorithm: str = "auto",
) -> Array:
    """Convolution in the sense of neural networks (cross-correlation), in any number of dimensions.

        y[n, o, l] = bias[o] + Σ over c, k of w[o, c, k] · x[n, c, stride·l + dilation·k − begin]

    Args:
        x: input, (N, C_in, *input), or (C_in, *input) without a batch.
        w: weight, (C_out, C_in/groups, *kernel); it says how many spatial axes there are, 0 or more.
        bias: (C_out,), added to each channel.
        stride: one integer, or one for each axis; at least 1.
        padding: an integer, one for each axis, a (begin, end) pair for each axis (negative amounts crop, with zeros
            only), `"valid"` (none), `"same"` = `"same_upper"` or `"same_lower"` (⌈input/stride⌉ outputs, the odd one
            of the padding at the end or at the begin).
        dilation: the distance between taps, one integer or one for each axis; at least 1.
        groups: the number of separate blocks of channels; it divides C_in and C_out.
        padding_mode: `"zeros"`, `"circular"`, `"reflect"` (the edge not repeated) or `"replicate"`, of any amount.
        algorithm: `"auto"`; the name of a kernel, `"table"`, `"tiles"`, `"gemm"` or `"taps"`; or `"exact"`: every
            element is the exact sum, rounded once (ties to even), so its bits depend on nothing but the numbers given.

    Returns:
        (N, C_out, *output), or (C_out, *output), with output = max(0, ⌊(padded − extent)/stride⌋ + 1) and extent =
        dilation·(kernel − 1) + 1. Its dtype is that of the arrays (float16 and bfloat16 are added up in float32 and
        rounded once); int64 for integers, exact modulo 2^64.

    Raises:
        SpecError: an option has no meaning.
        ShapeError: the shapes do not fit.
        DTypeError: an argument is no array, or dtypes or libraries differ.
        DeviceError: the arrays lie on different devices.
        UnsupportedError: the algorithm named cannot serve this call.

    Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016, sections 2 and 5.1.

    >>> import numpy as np
    >>> x = np.asarray([[[1.0, 2.0, 3.0, 4.0]]])
    >>> w = np.asarray([[[1.0, 10.0]]])
    >>> conv(x, w, padding=((1, 0),))
    array([[[10., 21., 32., 43.]]])
    """
    call = calls.conv(
        x, w, bias, stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode
    )
    return call.evaluate(algorithm)


def conv_transpose(
    y: Array,
    w: Array,
    bias: Array | None = None,
    /,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int | Sequence[int]] | NamedPadding = 0,
    output_padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> Array:
    """The transpose of `conv` for the same w: each input lays its kernel down, and overlaps add up.

        x[n, c, i] = bias[c] + Σ over o, k, l with stride·l + dilation·k − begin = i of w[o, c, k] · y[n, o, l]

    Args:
        y: input, (N, C_out, *positions), or without a batch; C_out is the *forward* convolution's, w.shape[0].
        w: the weight of the forward convolution, (C_out, C_in/groups, *kernel).
        bias: (C_in,) with C_in = w.shape[1]·groups, added to each channel of the result.
        stride, padding, dilation, groups, algorithm: as for the forward convolution `conv`. `"same_*"` names the
            forward problem of input size positions·stride, or of `output_size`.
        output_padding: how much longer the result is at its end, below the stride or the dilation.
        output_size: the spatial sizes of the result, instead of `output_padding`.

    Returns:
        (N, C_in, *size), size = (positions − 1)·stride + extent − begin − end + output_padding.

    Raises:
        SpecError, ShapeError, DTypeError, DeviceError, UnsupportedError: as for `conv`.

    Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016, section 4.

    >>> import numpy as np
    >>> y = np.asarray([[[1.0, 2.0, 3.0]]])
    >>> w = np.asarray([[[1.0, 10.0]]])
    >>> conv_transpose(y, w, stride=2, output_padding=1)
    array([[[ 1., 10.,  2., 20.,  3., 30.,  0.]]])
    """
    call = calls.conv_transpose(
        y,
        w,
        bias,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        output_size=output_size,
        dilation=dilation,
        groups=groups,
    )
    return call.evaluate(algorithm)


def conv_grad_input(
    w: Array, gy: Array, /, *, input_size: Sequence[int], algorithm: str = "auto", **options: Unpack[ConvOptions]
) -> Array:
    """The gradient of `conv` by its input: the adjoint of x ↦ conv(x, w), applied to gy. It conjugates w.

    Args:
        w: the weight, (C_out, C_in/groups, *kernel).
        gy: the gradient by the output, of the output's shape.
        input_size: the spatial sizes of x.
        algorithm, options: as given to `conv`.

    Returns:
        gx, of the shape of x.

    Raises:
        SpecError, ShapeError, DTypeError, DeviceError, UnsupportedError: as for `conv`.

    >>> import numpy as np
    >>> gy = np.asarray([[[1.0, 2.0, 3.0]]])
    >>> conv_grad_input(np.asarray([[[1.0, 10.0]]]), gy, input_size=(4,))
    array([[[ 1., 12., 23., 30.]]])
    """
    return calls.conv_grad_input(w, gy, input_size=input_size, **options).evaluate(algorithm)


def conv_grad_weight(
    x: Array, gy: Array, /, *, kernel_size: Sequence[int], algorithm: str = "auto", **options: Unpack[ConvOptions]
) -> Array:
    """The gradient of `conv` by its weight: the adjoint of w ↦ conv(x, w), applied to gy. It conjugates x.

    Args:
        x: the input, (N, C_in, *input), or without a batch.
        gy: the gradient by the output, of the output's shape.
        kernel_size: the spatial sizes of w; their number is the number of spatial axes.
        algorithm, options: as given to `conv`.

    Returns:
        gw, (C_out, C_in/groups, *kernel).

    Raises:
        SpecError, ShapeError, DTypeError, DeviceError, UnsupportedError: as for `conv`.

    >>> import numpy as np
    >>> x = np.asarray([[[1.0, 2.0, 3.0, 4.0]]])
    >>> conv_grad_weight(x, np.asarray([[[1.0, 1.0, 1.0]]]), kernel_size=(2,))
    array([[[6., 9.]]])
    """
    return calls.conv_grad_weight(x, gy, kernel_size=kernel_size, **options).evaluate(algorithm)


def conv_grad_bias(gy: Array, /, *, spatial_ndim: int | None = None, algorithm: str = "auto") -> Array:
    """The gradient of `conv` by its bias: gy summed over batch and space.

    Args:
        gy: the gradient by the output, (N, C_out, *output), or (C_out, *output).
        spatial_ndim: the number of spatial axes, which says whether there is a batch; None: there is.
        algorithm: as given to `conv`; the kernels make no difference here, `"exact"` does.

    Returns:
        (C_out,).

    Raises:
        SpecError: spatial_ndim is no number of axes, or there is no such algorithm.
        ShapeError: gy has neither spatial_ndim + 2 nor spatial_ndim + 1 axes.
        DTypeError: gy is no array, or of an unsupported dtype.

    >>> import numpy as np
    >>> conv_grad_bias(np.asarray([[[1.0, 2.0], [3.0, 4.0]]]))
    array([3., 7.])
    """
    call = calls.conv_grad_bias(gy, spatial_ndim=spatial_ndim)
    check_algorithm(algorithm)
    return call.evaluate(algorithm)


def conv_backward(
    x: Array,
    w: Array,
    gy: Array,
    /,
    *,
    needs: Iterable[str] = NEEDS,
    algorithm: str = "auto",
    **options: Unpack[ConvOptions],
) -> ConvGrads:
    """All gradients of `conv`, or those that are needed.

    Args:
        x, w: as given to `conv`.
        gy: the gradient by the output, of the output's shape.
        needs: any of `"input"`, `"weight"`, `"bias"`.
        algorithm, options: as given to `conv`.

    Returns:
        ConvGrads, with None for what is not needed.

    Raises:
        SpecError, ShapeError, DTypeError, DeviceError, UnsupportedError: as for `conv`, before anything is computed.

    >>> import numpy as np
    >>> x, w = np.ones((1, 1, 3)), np.ones((1, 1, 2))
    >>> conv_backward(x, w, np.asarray([[[1.0, 5.0]]]), needs=("input", "bias"))
    ConvGrads(input=array([[[1., 6., 5.]]]), weight=None, bias=array([6.]))
    """
    return evaluate(calls.conv_backward(x, w, gy, needs=needs, **options), algorithm)


def conv_transpose_backward(
    y: Array,
    w: Array,
    gx: Array,
    /,
    *,
    needs: Iterable[str] = NEEDS,
    algorithm: str = "auto",
    **options: Unpack[ConvTransposeOptions],
) -> ConvGrads:
    """All gradients of `conv_transpose`, or those that are needed: a conv, a weight gradient and a sum.

    Args:
        y, w: as given to `conv_transpose`.
        gx: the gradient by its result, of the result's shape.
        needs: any of `"input"` (the gradient by y), `"weight"`, `"bias"`.
        algorithm, options: as given to `conv_transpose`.

    Returns:
        ConvGrads, with None for what is not needed.

    Raises:
        SpecError, ShapeError, DTypeError, DeviceError, UnsupportedError: as for `conv`, before anything is computed.

    >>> import numpy as np
    >>> y, w = np.ones((1, 1, 2)), np.ones((1, 1, 2))
    >>> conv_transpose_backward(y, w, np.asarray([[[1.0, 2.0, 3.0]]])).input
    array([[[3., 5.]]])
    """
    return evaluate(calls.conv_transpose_backward(y, w, gx, needs=needs, **options), algorithm)
