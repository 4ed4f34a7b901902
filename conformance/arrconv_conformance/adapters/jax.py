"""JAX on the CPU: jax.lax's convolutions, and the gradients that jax.vjp makes of them.

Padding of all kinds but the modes goes to the convolution itself: unequal, negative, "SAME", "SAME_LOWER". The modes
are jax.numpy.pad's. A transposed convolution is jax.lax.conv_transpose, which has no groups and no output padding;
where there are some, it is what JAX documents in its place: conv_general_dilated with `lhs_dilation`.

JAX sets the mode of the processor in which subnormal numbers count as zero, by intention:
https://github.com/jax-ml/jax/issues/16200. float16 is computed in float32, where its subnormal numbers are none.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache, partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from arrconv_conformance.adapters import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    Padding = str | tuple[tuple[int, int], ...]

name = "jax"
version = f"JAX {jax.__version__}, jaxlib {metadata.version('jaxlib')}"

_FLUSHING = ("float32", "float64", "bfloat16", "complex64", "complex128")

claims: dict[str, Any] = {
    **dict.fromkeys(("int8", "uint8", "int16", "int32", "int64"), "wraps"),
    **{dtype: {"flushes_subnormals": True} for dtype in _FLUSHING},
}

_MODES = {"circular": "wrap", "reflect": "reflect", "replicate": "edge"}
_STRINGS = {"valid": "VALID", "same_upper": "SAME", "same_lower": "SAME_LOWER"}


def conv(x: Any, w: Any, bias: Any, **options: Any) -> Any:
    """The forward convolution."""
    with _here():
        return np.asarray(_compiled(_conv, **options)(x, w, bias))


def conv_transpose(y: Any, w: Any, bias: Any, **options: Any) -> Any:
    """The transposed convolution."""
    with _here():
        return np.asarray(_compiled(_transpose, **options)(y, w, bias))


def conv_backward(x: Any, w: Any, gy: Any, *, needs: Collection[str], **options: Any) -> dict[str, Any]:
    """The gradients of the forward convolution, by jax.vjp."""
    _check_differentiable(w)
    bias = np.zeros(len(w), w.dtype)
    with _here():
        grads = _compiled(_adjoint, function=_conv, needs=tuple(needs), **options)(x, w, bias, gy)
        return {need: np.asarray(grad) for need, grad in grads.items()}


def conv_transpose_backward(y: Any, w: Any, gx: Any, *, needs: Collection[str], **options: Any) -> dict[str, Any]:
    """The gradients of the transposed convolution, by jax.vjp."""
    _check_differentiable(w)
    bias = np.zeros(w.shape[1] * options["groups"], w.dtype)
    with _here():
        grads = _compiled(_adjoint, function=_transpose, needs=tuple(needs), **options)(y, w, bias, gx)
        return {need: np.asarray(grad) for need, grad in grads.items()}


def _conv(
    x: Any, w: Any, bias: Any, *, stride: Any, padding: Padding, dilation: Any, groups: int, padding_mode: str
) -> Any:
    amounts: Any = _STRINGS[padding] if isinstance(padding, str) else padding
    if padding_mode != "zeros":
        if isinstance(padding, str):
            raise Unsupported("jax.numpy.pad takes amounts, not a name for them")
        x = jnp.pad(x, [(0, 0), (0, 0), *padding], mode=_MODES[padding_mode])
        amounts = [(0, 0)] * len(stride)
    y = lax.conv_general_dilated(x, w, stride, amounts, rhs_dilation=dilation, feature_group_count=groups)
    return _add(y, bias)


def _transpose(
    y: Any, w: Any, bias: Any, *, stride: Any, padding: Padding, output_padding: Any, dilation: Any, groups: int
) -> Any:
    if groups == 1 and not any(output_padding) and padding != "same_lower":
        axes = tuple(range(w.ndim))
        x = lax.conv_transpose(
            y,
            w,
            stride,
            _STRINGS[padding] if isinstance(padding, str) else padding,
            rhs_dilation=dilation,
            dimension_numbers=lax.ConvDimensionNumbers(axes, axes, axes),
            transpose_kernel=True,
            use_consistent_padding=True,
        )
        return _add(x, bias)
    if isinstance(padding, str):
        raise Unsupported("jax.lax.conv_transpose has no groups, no output padding, and 'SAME' and 'VALID' alone")
    if 0 in y.shape[2:]:
        raise Unsupported(
            "jax.lax.conv_transpose has no groups and no output padding, and no zeros dilate what is empty"
        )
    extents = [step * (taps - 1) + 1 for step, taps in zip(dilation, w.shape[2:], strict=True)]
    amounts = [
        (extent - 1 - begin, extent - 1 - end + more)
        for extent, (begin, end), more in zip(extents, padding, output_padding, strict=True)
    ]
    ones = (1,) * len(stride)
    x = lax.conv_general_dilated(
        y, _exchanged(w, groups), ones, amounts, lhs_dilation=stride, rhs_dilation=dilation, feature_group_count=groups
    )
    return _add(x, bias)


def _exchanged(w: Any, groups: int) -> Any:
    """The weight as that of a forward convolution from y to x: channels exchanged in each group, taps reversed."""
    out_channels, in_channels, *kernel = w.shape
    grouped = w.reshape(groups, out_channels // groups, in_channels, *kernel).swapaxes(1, 2)
    channels = (groups * in_channels, out_channels // groups)
    return jnp.flip(grouped.reshape(*channels, *kernel), tuple(range(2, w.ndim)))


def _adjoint(
    x: Any, w: Any, bias: Any, gy: Any, *, function: Callable[..., Any], needs: tuple[str, ...], **options: Any
) -> dict[str, Any]:
    """The gradients; jax.vjp is the transpose, which does not conjugate, and an adjoint does."""
    arrays = {"input": x, "weight": w, "bias": bias}

    def result(wanted: dict[str, Any]) -> Any:
        return function(*(arrays | wanted).values(), **options)

    _, transpose = jax.vjp(result, {need: arrays[need] for need in needs})
    [grads] = transpose(jnp.conj(gy))
    return {need: jnp.conj(grad) for need, grad in grads.items()}


def _check_differentiable(w: Any) -> None:
    if w.dtype.kind in "iu":
        raise Unsupported("jax.vjp has no gradients of integers")


def _add(y: Any, bias: Any) -> Any:
    return y if bias is None else y + bias.reshape(-1, *(1,) * (y.ndim - 2))


@lru_cache(maxsize=64)
def _compiled(call: Callable[..., Any], /, **options: Any) -> Any:
    """One compilation for each call, not for each operation in it; the oldest are dropped, since each takes memory."""
    return jax.jit(partial(call, **options))


@contextmanager
def _here() -> Iterator[None]:
    """On the CPU, and with 64 bits, which JAX does not have unless asked; for this call alone."""
    with jax.default_device(jax.devices("cpu")[0]), jax.enable_x64(True):
        yield
