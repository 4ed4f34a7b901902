"""PyTorch on the CPU: torch.nn.functional's convolutions and autograd's gradients of them.

Padding that its convolutions do not take themselves (unequal ends, modes) goes through torch.nn.functional.pad, as a
user of PyTorch would do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from arrconv_conformance.adapters import Unsupported

if TYPE_CHECKING:
    from collections.abc import Collection

    Pairs = tuple[tuple[int, int], ...]

name = "torch"
version = f"PyTorch {torch.__version__}"

_MODES = {"zeros": "constant", "circular": "circular", "reflect": "reflect", "replicate": "replicate"}


def conv(
    x: Any, w: Any, bias: Any, *, stride: Any, padding: Pairs, dilation: Any, groups: int, padding_mode: str
) -> Any:
    """The forward convolution."""
    return _conv(_tensor(x), _tensor(w), _tensor(bias), stride, padding, dilation, groups, padding_mode).numpy()


def conv_transpose(
    y: Any, w: Any, bias: Any, *, stride: Any, padding: Pairs, output_padding: Any, dilation: Any, groups: int
) -> Any:
    """The transposed convolution."""
    call = _function("conv_transpose", len(stride))
    if not _is_symmetric(padding):
        raise Unsupported("torch's transposed convolution has one padding for both ends, and no negative one")
    begins = tuple(begin for begin, _ in padding)
    return call(_tensor(y), _tensor(w), _tensor(bias), stride, begins, output_padding, groups, dilation).numpy()


def conv_backward(
    x: Any,
    w: Any,
    gy: Any,
    *,
    needs: Collection[str],
    stride: Any,
    padding: Pairs,
    dilation: Any,
    groups: int,
    padding_mode: str,
) -> dict[str, Any]:
    """The gradients of the forward convolution, by autograd."""
    leaves = {"input": _tensor(x), "weight": _tensor(w), "bias": torch.zeros(len(w), dtype=_tensor(w).dtype)}
    wanted = [leaves[need].requires_grad_() for need in needs]
    result = _conv(leaves["input"], leaves["weight"], leaves["bias"], stride, padding, dilation, groups, padding_mode)
    grads = torch.autograd.grad(result, wanted, _tensor(gy))
    return {need: grad.numpy() for need, grad in zip(needs, grads, strict=True)}


def _conv(x: Any, w: Any, bias: Any, stride: Any, padding: Pairs, dilation: Any, groups: int, padding_mode: str) -> Any:
    call = _function("conv", len(stride))
    amounts = tuple(begin for begin, _ in padding)
    if padding_mode != "zeros" or not _is_symmetric(padding):
        flat = [amount for pair in reversed(padding) for amount in pair]
        x, amounts = functional.pad(x, flat, mode=_MODES[padding_mode]), (0,) * len(stride)
    return call(x, w, bias, stride, amounts, dilation, groups)


def _function(kind: str, ndim: int) -> Any:
    if not 1 <= ndim <= 3:
        raise Unsupported(f"torch has no convolution with {ndim} spatial axes")
    return getattr(functional, f"{kind}{ndim}d")


def _is_symmetric(padding: Pairs) -> bool:
    return all(begin == end >= 0 for begin, end in padding)


def _tensor(array: Any) -> Any:
    return None if array is None else torch.from_numpy(array)
