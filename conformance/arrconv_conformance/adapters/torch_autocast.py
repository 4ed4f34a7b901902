"""PyTorch on the CPU under autocast to bfloat16.

Convolutions of float32 and float16 tensors round their operands to bfloat16 and return bfloat16. Autograd rounds the
gradients to bfloat16 too, and hands them out in the dtype of the tensors. float64 tensors are left alone. See "Autocast
Op Reference" in the documentation of torch.amp.
"""

from functools import partial

import torch

from arrconv_conformance.adapters.torch import INTEGERS_WRAP, VERSION, TorchAdapter

_LOWER = {"input": "bfloat16", "accumulate": "float32", "output": "bfloat16"}
CLAIMS = INTEGERS_WRAP | dict.fromkeys(("float32", "float16"), _LOWER)


def adapter() -> TorchAdapter:
    """The adapter."""
    return TorchAdapter(
        "torch_autocast",
        VERSION.replace(" with", ", autocast to bfloat16, with"),
        context=partial(torch.autocast, "cpu", dtype=torch.bfloat16),
        claims=CLAIMS,
    )
