"""PyTorch, on the CPU unless it is given tensors elsewhere.

Gradients are autograd's, through a graph that is kept, so that no forward pass is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from arrconv_conformance.data import numpy_dtype
from torch.nn import functional

if TYPE_CHECKING:
    from benchmarks.peers.work import Array, Task


def prepare(task: Task) -> Callable[[], Any]:
    return call_of(task, *map(tensor, task.operands))


def tensor(array: Array) -> Any:
    """A tensor of the bits of an array; PyTorch takes bfloat16 from NumPy as whole numbers only."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def call_of(task: Task, x: Any, w: Any, g: Any) -> Callable[[], Any]:
    """The call of a task on tensors, on whatever device they are."""
    geometry = task.row.geometry
    spec = geometry.options
    kind = "conv_transpose" if task.row.is_transposed else "conv"
    function = getattr(functional, f"{kind}{geometry.ndim}d")
    options: dict[str, Any] = {
        "stride": spec["stride"],
        "padding": tuple(begin for begin, _ in spec["padding"]),  # type: ignore[union-attr, str-unpack]
        "dilation": spec["dilation"],
        "groups": spec["groups"],
    }
    if task.row.is_transposed:
        options["output_padding"] = task.row.output_padding
    if task.direction == "forward":

        def forward() -> Any:
            with torch.no_grad():
                return function(x, w, **options)

        return forward
    leaf = (x if task.direction == "input gradient" else w).requires_grad_()
    y = function(x, w, **options)
    return lambda: torch.autograd.grad(y, leaf, g, retain_graph=True)[0]


def as_array(result: Any) -> Array:
    tensor = result.detach().resolve_conj()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(numpy_dtype("bfloat16"))
    found: Array = tensor.numpy()
    return found


def versions() -> dict[str, str]:
    return {"torch": torch.__version__, "CPU capability": torch.backends.cpu.get_cpu_capability()}
