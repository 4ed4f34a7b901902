"""JAX on the CPU, compiled; a gradient is jax.vjp's, whose unused forward pass the compiler drops."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

if TYPE_CHECKING:
    from benchmarks.peers.work import Array, Task

jax.config.update("jax_enable_x64", True)


def prepare(task: Task) -> Callable[[], Any]:
    x, w, g = (jnp.asarray(array) for array in task.operands)
    geometry, is_transposed = task.row.geometry, task.row.is_transposed
    spec: dict[str, Any] = dict(geometry.options)
    if is_transposed and spec["groups"] > 1:
        raise NotImplementedError("jax.lax.conv_transpose has no groups")
    axes = tuple(range(geometry.ndim + 2))

    def call(x: Any, w: Any) -> Any:
        if is_transposed:
            return lax.conv_transpose(
                x,
                w,
                spec["stride"],
                spec["padding"],
                rhs_dilation=spec["dilation"],
                dimension_numbers=lax.ConvDimensionNumbers(axes, axes, axes),
                transpose_kernel=True,
                use_consistent_padding=True,
            )
        return lax.conv_general_dilated(
            x, w, spec["stride"], spec["padding"], rhs_dilation=spec["dilation"], feature_group_count=spec["groups"]
        )

    def input_gradient(x: Any, w: Any, g: Any) -> Any:
        return jnp.conj(jax.vjp(lambda x: call(x, w), x)[1](jnp.conj(g))[0])

    def weight_gradient(x: Any, w: Any, g: Any) -> Any:
        return jnp.conj(jax.vjp(lambda w: call(x, w), w)[1](jnp.conj(g))[0])

    functions: dict[str, Any] = {
        "forward": lambda x, w, _: call(x, w),
        "input gradient": input_gradient,
        "weight gradient": weight_gradient,
    }
    compiled = jax.jit(functions[task.direction])
    return lambda: compiled(x, w, g).block_until_ready()


def as_array(result: Any) -> Array:
    return np.asarray(result)


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("jax", "jaxlib")}
