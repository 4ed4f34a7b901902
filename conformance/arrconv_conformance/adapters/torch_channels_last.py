"""PyTorch on the CPU with channels-last memory: some of x, w, y and the gradients that are given lie channels last.

Which of the operands do so changes from call to call, since kernels look at each of them: one alone, two, or all. It
follows from the numbers in them, so that the same case asks the same of PyTorch again. What is not moved keeps the
layout that the case gives it.
"""

from zlib import crc32

import torch

from arrconv_conformance.adapters.torch import INTEGERS_WRAP, VERSION, TorchAdapter

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def adapter() -> TorchAdapter:
    """The adapter."""
    version = VERSION.replace(" with", ", channels last, with")
    return TorchAdapter("torch_channels_last", version, some_channels_last, claims=INTEGERS_WRAP)


def some_channels_last(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """The tensors of a call, one to all of those that have channels with these last in memory."""
    movable = [number for number, tensor in enumerate(tensors) if tensor.ndim > 1]
    chosen = 1 + _hash(tensors) % (2 ** len(movable) - 1)
    moved = {number for position, number in enumerate(movable) if chosen >> position & 1}
    return [channels_last(tensor) if number in moved else tensor for number, tensor in enumerate(tensors)]


def channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers with axis 1 last in memory; three axes have no memory format of that name, but may lie so."""
    if tensor.ndim in _FORMATS:
        return tensor.contiguous(memory_format=_FORMATS[tensor.ndim])
    return tensor.movedim(1, -1).contiguous().movedim(-1, 1) if tensor.ndim == 3 else tensor


def _hash(tensors: list[torch.Tensor]) -> int:
    return crc32(repr([tensor.tolist() for tensor in tensors]).encode())
