"""Convolution, transposed convolution and their gradients: three contractions of one form, checked and called.

Every member first becomes a `Contraction` or a `ChannelSum` (the functions ending in `_call`), which is all the
checking there is; computing, bounding and explaining then start from the same object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from arrconv._namespace import Array, backend_of
from arrconv.bounds import Arithmetic
from arrconv.errors import ShapeError, SpecError
from arrconv.functional.contraction import ChannelSum, Computation, Contraction, bound, check_bias
from arrconv.geometry import Geometry, check_shape
from arrconv.spec import ConvOptions, ConvSpec, as_int, sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from arrconv.kernels import Choice
    from arrconv.spec import NamedPadding, PaddingMode

NEEDS = ("input", "weight", "bias")


@dataclass(frozen=True, slots=True)
class ConvGrads:
    """The gradients of a convolution by its input, weight and bias; None where one was not asked for."""

    input: Any = None
    weight: Any = None
    bias: Any = None


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
        algorithm: `"auto"`, or the name of a kernel: `"gemm"`, `"taps"`.

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
    options = ConvOptions(stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode)
    return _conv_call(x, w, bias, **options).evaluate(algorithm)


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
    call = _conv_transpose_call(
        y,
        w,
        bias,
        output_padding=output_padding,
        output_size=output_size,
        stride=stride,
        padding=padding,
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
    return _conv_grad_input_call(w, gy, input_size=input_size, **options).evaluate(algorithm)


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
    return _conv_grad_weight_call(x, gy, kernel_size=kernel_size, **options).evaluate(algorithm)


def conv_grad_bias(gy: Array, /, *, spatial_ndim: int | None = None) -> Array:
    """The gradient of `conv` by its bias: gy summed over batch and space.

    Args:
        gy: the gradient by the output, (N, C_out, *output), or (C_out, *output).
        spatial_ndim: the number of spatial axes, which says whether there is a batch; None: there is.

    Returns:
        (C_out,).

    Raises:
        SpecError: spatial_ndim is no number of axes.
        ShapeError: gy has neither spatial_ndim + 2 nor spatial_ndim + 1 axes.
        DTypeError: gy is no array, or of an unsupported dtype.

    >>> import numpy as np
    >>> conv_grad_bias(np.asarray([[[1.0, 2.0], [3.0, 4.0]]]))
    array([3., 7.])
    """
    return _conv_grad_bias_call(gy, spatial_ndim=spatial_ndim).evaluate()


def conv_backward(
    x: Array,
    w: Array,
    gy: Array,
    /,
    *,
    needs: Collection[str] = NEEDS,
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
    return _evaluated(_conv_backward_calls(x, w, gy, needs=needs, **options), algorithm)


def conv_transpose_backward(
    y: Array,
    w: Array,
    gx: Array,
    /,
    *,
    needs: Collection[str] = NEEDS,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int | Sequence[int]] | NamedPadding = 0,
    output_padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> ConvGrads:
    """All gradients of `conv_transpose`, or those that are needed: a conv, a weight gradient and a sum.

    Args:
        y, w: as given to `conv_transpose`.
        gx: the gradient by its result, of the result's shape.
        needs: any of `"input"` (the gradient by y), `"weight"`, `"bias"`.
        stride, padding, output_padding, output_size, dilation, groups, algorithm: as given to `conv_transpose`.

    Returns:
        ConvGrads, with None for what is not needed.

    Raises:
        SpecError, ShapeError, DTypeError, DeviceError, UnsupportedError: as for `conv`, before anything is computed.

    >>> import numpy as np
    >>> y, w = np.ones((1, 1, 2)), np.ones((1, 1, 2))
    >>> conv_transpose_backward(y, w, np.asarray([[[1.0, 2.0, 3.0]]])).input
    array([[[3., 5.]]])
    """
    calls = _conv_transpose_backward_calls(
        y,
        w,
        gx,
        needs=needs,
        output_padding=output_padding,
        output_size=output_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return _evaluated(calls, algorithm)


def error_bound(
    member: str, /, *arrays: Array, arithmetic: Arithmetic | str | None = None, **options: Any
) -> Array | ConvGrads:
    """An upper bound of |computed − exact| for each element of a member's result, whatever the order of summation.

    It holds where nothing overflows; where an input is not finite, neither is the bound.

    Args:
        member: the name of a function of this family, such as `"conv"` or `"conv_grad_weight"`.
        arrays: the arrays that function is given.
        arithmetic: the arithmetic to bound, or the name of a dtype for arrconv's own arithmetic with it; None is that
            of the arrays.
        options: the options that function is given; `algorithm` makes no difference.

    Returns:
        float64, like the member's result; all zeros for integers. For complex arrays it bounds the modulus.

    Raises:
        SpecError: there is no such member or arithmetic.
        UnsupportedError: the array library has no float64.
        What the member raises.

    Source: C.-P. Jeannerod, S. M. Rump, "Improved error bounds for inner products in floating-point arithmetic",
    SIAM J. Matrix Anal. Appl. 34, 2013, theorem 3.1.

    >>> import numpy as np
    >>> x, w = np.ones((1, 1, 3), np.float32), np.ones((1, 1, 2), np.float32)
    >>> bool((error_bound("conv", x, w) < 2 * 2.0**-23 * 1.01).all())
    True
    """
    options.pop("algorithm", None)
    claimed = Arithmetic.of(arithmetic) if isinstance(arithmetic, str) else arithmetic
    bounds: Array | ConvGrads = _each(_call(member, arrays, options), lambda call: bound(call, claimed))
    return bounds


def explain(member: str, /, *arrays: Array, **options: Any) -> Choice | ConvGrads:
    """Which kernel a call would use, and why each other one would not be.

    Args:
        member: the name of a function of this family, such as `"conv"` or `"conv_grad_weight"`.
        arrays: the arrays that function is given.
        options: the options that function is given.

    Returns:
        A `Choice` with the fields `kernel` and `passed_over`, readable with `print`; a `ConvGrads` of these for
        `conv_backward` and `conv_transpose_backward`.

    Raises:
        SpecError: there is no such member.
        What the member raises.

    >>> import numpy as np
    >>> print(explain("conv", np.ones((1, 2, 9)), np.ones((3, 2, 3))))
    gemm
      not taps: gemm serves this problem and comes first
    """
    algorithm = options.pop("algorithm", "auto")
    choices: Choice | ConvGrads = _each(_call(member, arrays, options), lambda call: call.explain(algorithm))
    return choices


def _conv_call(x: Array, w: Array, bias: Array | None = None, /, **options: Unpack[ConvOptions]) -> Contraction:
    backend = backend_of(x=x, w=w, bias=bias)
    geometry = Geometry.forward(ConvSpec.of(_spatial_ndim(w), **options), x.shape, w.shape)
    check_bias(bias, geometry.out_channels)
    return Contraction("y", geometry, backend, x, w, bias)


def _conv_transpose_call(
    y: Array,
    w: Array,
    bias: Array | None = None,
    /,
    *,
    output_padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
    **options: Unpack[ConvOptions],
) -> Contraction:
    backend = backend_of(y=y, w=w, bias=bias)
    spec = ConvSpec.of(_spatial_ndim(w), **options)
    geometry = Geometry.transposed(spec, y.shape, w.shape, output_padding=output_padding, output_size=output_size)
    check_bias(bias, geometry.in_channels)
    return Contraction("x", geometry, backend, w, y, bias)


def _conv_grad_input_call(
    w: Array, gy: Array, /, *, input_size: Sequence[int], **options: Unpack[ConvOptions]
) -> Contraction:
    backend = backend_of(w=w, gy=gy)
    ndim = _spatial_ndim(w)
    spec = ConvSpec.of(ndim, **options)
    lead = _lead("gy", gy, ndim)
    channels = w.shape[1] * spec.groups
    geometry = Geometry.forward(spec, (*lead, channels, *sizes(input_size, "input_size", ndim)), w.shape)
    check_shape("gy", gy.shape, geometry.output_shape, "the output for these sizes")
    return Contraction("x", geometry, backend, backend.conjugate(w), gy)


def _conv_grad_weight_call(
    x: Array, gy: Array, /, *, kernel_size: Sequence[int], **options: Unpack[ConvOptions]
) -> Contraction:
    backend = backend_of(x=x, gy=gy)
    kernel = sizes(kernel_size, "kernel_size")
    spec = ConvSpec.of(len(kernel), **options)
    channel = len(_lead("x", x, len(kernel)))
    _lead("gy", gy, len(kernel))
    if x.shape[channel] % spec.groups:
        raise ShapeError(f"x has {x.shape[channel]} channels, which groups={spec.groups} does not divide")
    w_shape = (gy.shape[-len(kernel) - 1], x.shape[channel] // spec.groups, *kernel)
    geometry = Geometry.forward(spec, x.shape, w_shape)
    check_shape("gy", gy.shape, geometry.output_shape, "the output for these sizes")
    return Contraction("w", geometry, backend, backend.conjugate(x), gy)


def _conv_grad_bias_call(gy: Array, /, *, spatial_ndim: int | None = None) -> ChannelSum:
    backend = backend_of(gy=gy)
    if spatial_ndim is None:
        if gy.ndim < 2:
            raise ShapeError(f"gy has shape {tuple(gy.shape)}, but needs (N, C_out, *output); or give spatial_ndim")
        return ChannelSum(backend, gy, gy.ndim - 2)
    ndim = as_int(spatial_ndim, "spatial_ndim", 0)
    _lead("gy", gy, ndim)
    return ChannelSum(backend, gy, ndim)


def _conv_backward_calls(
    x: Array, w: Array, gy: Array, /, *, needs: Collection[str] = NEEDS, **options: Unpack[ConvOptions]
) -> ConvGrads:
    needs = _needed(needs)
    forward = _conv_call(x, w, **options)
    backend, geometry = backend_of(x=x, w=w, gy=gy), forward.geometry
    check_shape("gy", gy.shape, geometry.output_shape, "the output for these sizes")
    return ConvGrads(
        Contraction("x", geometry, backend, backend.conjugate(w), gy) if "input" in needs else None,
        Contraction("w", geometry, backend, backend.conjugate(x), gy) if "weight" in needs else None,
        ChannelSum(backend, gy, geometry.ndim) if "bias" in needs else None,
    )


def _conv_transpose_backward_calls(
    y: Array, w: Array, gx: Array, /, *, needs: Collection[str] = NEEDS, **options: Any
) -> ConvGrads:
    needs = _needed(needs)
    forward = _conv_transpose_call(y, w, **options)
    backend, geometry = backend_of(y=y, w=w, gx=gx), forward.geometry
    check_shape("gx", gx.shape, geometry.input_shape, "the result for these sizes")
    return ConvGrads(
        Contraction("y", geometry, backend, gx, backend.conjugate(w)) if "input" in needs else None,
        Contraction("w", geometry, backend, gx, backend.conjugate(y)) if "weight" in needs else None,
        ChannelSum(backend, gx, geometry.ndim) if "bias" in needs else None,
    )


_MEMBERS: dict[str, Callable[..., Any]] = {
    "conv": _conv_call,
    "conv_transpose": _conv_transpose_call,
    "conv_grad_input": _conv_grad_input_call,
    "conv_grad_weight": _conv_grad_weight_call,
    "conv_grad_bias": _conv_grad_bias_call,
    "conv_backward": _conv_backward_calls,
    "conv_transpose_backward": _conv_transpose_backward_calls,
}


def _call(member: str, arrays: tuple[Array, ...], options: dict[str, Any]) -> Computation | ConvGrads:
    if member not in _MEMBERS:
        raise SpecError(f"member={member!r} is unknown; the members are {', '.join(_MEMBERS)}")
    call: Computation | ConvGrads = _MEMBERS[member](*arrays, **options)
    return call


def _each(calls: Any, function: Callable[[Computation], Any]) -> Any:
    """A function of one call, or of each of several."""
    if not isinstance(calls, ConvGrads):
        return function(calls)
    return ConvGrads(*(None if call is None else function(call) for call in (calls.input, calls.weight, calls.bias)))


def _evaluated(calls: ConvGrads, algorithm: str) -> ConvGrads:
    if algorithm != "auto":  # a kernel that refuses one of the gradients is an error before any is computed
        _each(calls, lambda call: call.explain(algorithm))
    grads: ConvGrads = _each(calls, lambda call: call.evaluate(algorithm))
    return grads


def _needed(needs: Collection[str]) -> frozenset[str]:
    if isinstance(needs, str) or not set(needs) <= set(NEEDS):
        raise SpecError(f"needs={needs!r} must be a collection of {', '.join(map(repr, NEEDS))}")
    return frozenset(needs)


def _spatial_ndim(w: Array) -> int:
    if w.ndim < 2:
        raise ShapeError(f"w has shape {tuple(w.shape)}, but needs (C_out, C_in/groups, *kernel)")
    return int(w.ndim) - 2


def _lead(name: str, array: Array, ndim: int) -> tuple[int, ...]:
    """The batch axis of an array with `ndim` spatial axes: (N,), or () if it is batch-free."""
    if array.ndim not in (ndim + 1, ndim + 2):
        raise ShapeError(
            f"{name} has {array.ndim} axes, shape {tuple(array.shape)}, but {ndim} spatial axes expect {ndim + 2}, "
            f"or {ndim + 1} without a batch"
        )
    return tuple(array.shape[: array.ndim - ndim - 1])
