"""What users of JAX expect beyond the laws: tracing, automatic derivatives, and clear words where 64 bits are off."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import arrconv

jax = pytest.importorskip("jax", reason="JAX is not installed; it is in the extra `jax`")


def arrays() -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    shapes = ((2, 3, 7), (4, 3, 2), (2, 4, 3))
    return tuple(jax.numpy.asarray(rng.integers(-9, 10, shape), dtype="float32") for shape in shapes)  # type: ignore[return-value]


def test_it_can_be_traced_and_differentiated() -> None:
    x, w, gy = arrays()

    def loss(x: Any, w: Any) -> Any:
        return (arrconv.conv(x, w, stride=2) * gy).sum()

    gx, gw = jax.grad(loss, argnums=(0, 1))(x, w)
    grads = arrconv.conv_backward(x, w, gy, stride=2)
    assert np.array_equal(gx, grads.input)
    assert np.array_equal(gw, grads.weight)
    assert np.array_equal(jax.jit(arrconv.conv)(x, w), arrconv.conv(x, w))


def test_exact_results_cannot_be_traced() -> None:
    with jax.enable_x64(True):
        x, w, _ = arrays()
        exact = jax.numpy.asarray(arrconv.conv(np.asarray(x), np.asarray(w), algorithm="exact"))
        assert np.array_equal(arrconv.conv(x, w, algorithm="exact"), exact)
        with pytest.raises(arrconv.UnsupportedError, match="not known while a function is traced"):
            jax.jit(lambda x, w: arrconv.conv(x, w, algorithm="exact"))(x, w)


WITHOUT_64_BITS = """
import jax.numpy as jnp, arrconv
x, w = jnp.ones((2, 3, 5), jnp.int8), jnp.ones((4, 3, 2), jnp.int8)
try:
    arrconv.conv(x, w)
except arrconv.UnsupportedError as error:
    print(error)
"""


def test_int64_results_need_64_bits() -> None:
    command = [sys.executable, "-W", "error", "-c", WITHOUT_64_BITS]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the result would be int64, which JAX has only after jax_enable_x64 is set" in result.stdout
