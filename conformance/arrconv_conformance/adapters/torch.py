"""PyTorch on the CPU: torch.nn.functional's convolutions and autograd's gradients of them.

Padding that its convolutions do not take themselves (unequal ends, negative amounts, modes) goes through
torch.nn.functional.pad, as a user of PyTorch would do it. The other adapters of PyTorch are this one with tensors that
lie elsewhere, or in another context.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from arrconv_conformance.adapters import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager

    Padding = tuple[tuple[int, int], ...] | str

INTEGERS_WRAP: dict[str, Any] = dict.fromkeys(("int8", "uint8", "int16", "int32", "int64"), "wraps")
"""A convolution of integers has their dtype in PyTorch."""

VERSION = f"PyTorch {torch.__version__} with {torch.backends.cpu.get_cpu_capability()}"
"""The version, and the instructions for which PyTorch has found kernels: they decide about 16 bits."""

_MODES = {"zeros": "constant", "circular": "circular", "reflect": "reflect", "replicate": "replicate"}


def adapter() -> TorchAdapter:
    """The adapter."""
    return TorchAdapter("torch", claims=INTEGERS_WRAP)


@dataclass(frozen=True)
class TorchAdapter:
    """PyTorch: `put` moves the tensors of a call to where it shall find them, `context` surrounds each forward call."""

    name: str
    version: str = VERSION
    put: Callable[[list[torch.Tensor]], list[torch.Tensor]] = lambda tensors: tensors
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    claims: dict[str, Any] = field(default_factory=dict)

    def conv(self, x: Any, w: Any, bias: Any, **options: Any) -> Any:
        """The forward convolution."""
        return _array(self._conv(*self._tensors(x, w, bias), **options))

    def conv_transpose(self, y: Any, w: Any, bias: Any, **options: Any) -> Any:
        """The transposed convolution."""
        return _array(self._conv_transpose(*self._tensors(y, w, bias), **options))

    def conv_backward(self, x: Any, w: Any, gy: Any, *, needs: Collection[str], **options: Any) -> dict[str, Any]:
        """The gradients of the forward convolution, by autograd."""
        return self._gradients(self._conv, x, w, len(w), gy, needs, options)

    def conv_transpose_backward(
        self, y: Any, w: Any, gx: Any, *, needs: Collection[str], groups: int, **options: Any
    ) -> dict[str, Any]:
        """The gradients of the transposed convolution, by autograd."""
        return self._gradients(
            self._conv_transpose, y, w, w.shape[1] * groups, gx, needs, {"groups": groups, **options}
        )

    def set_threads(self, count: int) -> None:
        """How many threads one call may use."""
        torch.set_num_threads(count)

    def _conv(
        self,
        x: Any,
        w: Any,
        bias: Any,
        *,
        stride: Any,
        padding: Padding,
        dilation: Any,
        groups: int,
        padding_mode: str,
    ) -> Any:
        call = _function("conv", len(stride))
        if isinstance(padding, str):
            amounts: Any = _amounts_by_name(padding, stride, padding_mode)
        elif padding_mode == "zeros" and _is_symmetric(padding):
            amounts = tuple(begin for begin, _ in padding)
        else:
            flat = [amount for pair in reversed(padding) for amount in pair]
            x, amounts = functional.pad(x, flat, mode=_MODES[padding_mode]), (0,) * len(stride)
        with self.context():
            return call(x, w, bias, stride, amounts, dilation, groups)

    def _conv_transpose(
        self,
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
        call = _function("conv_transpose", len(stride))
        if isinstance(padding, str) or not _is_symmetric(padding):
            raise Unsupported("torch's transposed convolution has one padding for both ends, none by name or negative")
        begins = tuple(begin for begin, _ in padding)
        with self.context():
            return call(y, w, bias, stride, begins, output_padding, groups, dilation)

    def _gradients(
        self, call: Any, data: Any, w: Any, channels: int, grad: Any, needs: Collection[str], options: dict[str, Any]
    ) -> dict[str, Any]:
        if data.dtype.kind in "iu":
            raise Unsupported("autograd has no gradients of integers")
        data, w, grad = self._tensors(data, w, grad)
        leaves = {"input": data, "weight": w, "bias": w.new_zeros(channels)}
        wanted = [leaves[need].requires_grad_() for need in needs]
        result = call(*leaves.values(), **options)
        # The gradient of a result has its dtype, which under autocast is not that of the arrays.
        grads = torch.autograd.grad(result, wanted, grad.to(result.dtype))
        return {need: _array(gradient) for need, gradient in zip(needs, grads, strict=True)}

    def _tensors(self, first: Any, w: Any, last: Any) -> list[Any]:
        """The operands of a call as tensors, the last of which may be None."""
        tensors = self.put([_tensor(array) for array in (first, w, last) if array is not None])
        return tensors if last is not None else [*tensors, None]


def _tensor(array: Any) -> Any:
    """The same memory as a tensor."""
    if any(step < 0 for step in array.strides):
        raise Unsupported("tensors have no negative strides")
    if array.dtype.name == "bfloat16":  # PyTorch and NumPy know it, but not each other's
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _function(kind: str, ndim: int) -> Any:
    if not 1 <= ndim <= 3:
        raise Unsupported(f"torch has no convolution with {ndim} spatial axes")
    return getattr(functional, f"{kind}{ndim}d")


def _amounts_by_name(padding: str, stride: Any, padding_mode: str) -> str:
    if padding == "valid":
        return "valid"
    if padding == "same_upper" and set(stride) <= {1} and padding_mode == "zeros":
        return "same"
    raise Unsupported("torch's padding='same' is that of stride 1, with zeros, and the odd one at the end")


def _is_symmetric(padding: tuple[tuple[int, int], ...]) -> bool:
    return all(begin == end >= 0 for begin, end in padding)


def _array(tensor: Any) -> Any:
    tensor = tensor.detach().cpu().resolve_conj()
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes  # needed for this dtype alone, and an option of arrconv

        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()
