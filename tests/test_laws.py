"""The laws of the family in exact integers, against a loop that shares no code with it, on every array library."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import array_api_strict
import numpy as np
import oracle
import pytest
from geometries import random_geometries

import arrconv
from arrconv import Geometry
from arrconv.kernels import KERNELS

SHARES = 12
EACH = 100  # geometries of a share: 1,200 in all


@dataclass(frozen=True)
class Example:
    """One geometry with arrays of small integers, and what the index loop makes of them."""

    geometry: Geometry
    options: dict[str, Any]
    x: np.ndarray
    w: np.ndarray
    y: np.ndarray
    b: np.ndarray
    forward: np.ndarray
    grad_input: np.ndarray
    grad_weight: np.ndarray
    grad_bias: np.ndarray


@dataclass(frozen=True)
class TransposedExample:
    """The transposed convolution of the same arrays."""

    bias: np.ndarray
    gx: np.ndarray
    result: np.ndarray
    grad_bias: np.ndarray


def integers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-9, 10, shape, dtype=np.int64)


def batched(array: np.ndarray, g: Geometry) -> np.ndarray:
    return array if g.batch is not None else array[np.newaxis]


@lru_cache(maxsize=2)
def examples(share: int) -> list[Example]:
    rng = np.random.default_rng(share)
    return [example(g, rng) for g in random_geometries(EACH, seed=share)]


def example(g: Geometry, rng: np.random.Generator) -> Example:
    options = dict(g.options)
    x, w = integers(rng, g.input_shape), integers(rng, g.weight_shape)
    y, b = integers(rng, g.output_shape), integers(rng, (g.out_channels,))
    xb, yb = batched(x, g), batched(y, g)
    forward = oracle.conv(xb, w, b, **options)
    grad_input = oracle.transpose_input(w, yb, g.input_size, **options)
    grad_weight = oracle.transpose_weight(xb, yb, g.kernel_size, **options)
    return Example(g, options, x, w, y, b, forward, grad_input, grad_weight, oracle.grad_bias(yb))


@lru_cache(maxsize=2)
def transposed_examples(share: int) -> list[tuple[Example, TransposedExample]]:
    rng = np.random.default_rng(share)
    return [(e, transposed_example(e, rng)) for e in examples(share) if has_transpose(e.geometry)]


def has_transpose(g: Geometry) -> bool:
    return g.padding_mode == "zeros" and all(0 <= a.slack < max(a.stride, a.dilation) for a in g.axes)


def transposed_example(e: Example, rng: np.random.Generator) -> TransposedExample:
    g, options = e.geometry, without_mode(e)
    bias, gx = integers(rng, (g.in_channels,)), integers(rng, g.input_shape)
    result = oracle.conv_transpose(batched(e.y, g), e.w, bias, output_padding=g.slack, **options)
    return TransposedExample(bias, gx, result, oracle.grad_bias(batched(gx, g)))


def without_mode(e: Example) -> dict[str, Any]:
    return {name: value for name, value in e.options.items() if name != "padding_mode"}


class Library:
    """Arrays of one library on one device, and back; and the kernel to ask for."""

    def __init__(self, name: str) -> None:
        library, _, rest = name.partition("-")
        self.algorithm = rest if rest in KERNELS else "auto"
        self.get: Any = np.asarray
        if library == "numpy":
            self.put: Any = np.asarray
        elif library == "strict":
            device = array_api_strict.Device(rest)
            cpu = array_api_strict.Device("CPU_DEVICE")
            self.put = lambda array: array_api_strict.asarray(array, device=device)
            self.get = lambda array: np.asarray(array_api_strict.asarray(array, device=cpu))
        elif library == "cupy":
            cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
            if not cupy.is_available():
                pytest.skip("there is no CUDA device")
            self.put, self.get = cupy.asarray, cupy.asnumpy
        elif library == "torch":
            self.put = pytest.importorskip("torch", reason="PyTorch is not installed").asarray
        else:
            jax = pytest.importorskip("jax", reason="JAX is not installed; it is in the extra `jax`")
            jax.config.update("jax_enable_x64", True)
            self.put = jax.numpy.asarray


def assert_equal(got: np.ndarray, expected: np.ndarray, case: str) -> None:
    assert got.shape == expected.shape, case
    assert np.array_equal(got, expected.astype(np.int64)), case


def dot(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.sum(a * b))


def check(library: Library, e: Example) -> None:
    g, put, get = e.geometry, library.put, library.get
    case, options = str(g), e.options | {"algorithm": library.algorithm}
    x, w, y = put(e.x), put(e.w), put(e.y)
    forward = get(arrconv.conv(x, w, put(e.b), **options))
    gx = get(arrconv.conv_grad_input(w, y, input_size=g.input_size, **options))
    gw = get(arrconv.conv_grad_weight(x, y, kernel_size=g.kernel_size, **options))
    gb = get(arrconv.conv_grad_bias(y, spatial_ndim=g.ndim))
    assert_equal(batched(forward, g), e.forward, case)
    assert_equal(batched(gx, g), e.grad_input, case)
    assert_equal(gw, e.grad_weight, case)
    assert_equal(gb, e.grad_bias, case)
    linear = forward - e.b.reshape(-1, *(1,) * g.ndim)
    assert dot(linear, e.y) == dot(e.x, gx) == dot(e.w, gw), case  # the trilinear identity
    grads = arrconv.conv_backward(x, w, y, **options)
    for together, alone in zip((grads.input, grads.weight, grads.bias), (gx, gw, gb), strict=True):
        assert np.array_equal(get(together), alone), case


def check_transposed(library: Library, e: Example, t: TransposedExample) -> None:
    g, put, get = e.geometry, library.put, library.get
    case, options = str(g), without_mode(e) | {"algorithm": library.algorithm}
    y, w, bias = put(e.y), put(e.w), put(t.bias)
    result = get(arrconv.conv_transpose(y, w, bias, output_padding=g.slack, **options))
    assert_equal(batched(result, g), t.result, case)
    sized = arrconv.conv_transpose(y, w, bias, output_size=g.input_size, **options)
    assert np.array_equal(result, get(sized)), case
    grads = arrconv.conv_transpose_backward(y, w, put(t.gx), output_padding=g.slack, **options)
    linear = result - t.bias.reshape(-1, *(1,) * g.ndim)
    assert dot(linear, t.gx) == dot(e.y, get(grads.input)) == dot(e.w, get(grads.weight)), case
    assert_equal(get(grads.bias), t.grad_bias, case)


GPU = [
    pytest.param(share, f"cupy-{kernel}", marks=pytest.mark.gpu)
    for share in range(SHARES)
    for kernel in ("auto", "cuda", "implicit", "taps")
]
LIBRARIES = ["numpy-auto", "numpy-gemm", "numpy-taps", "strict-CPU_DEVICE", "strict-device1", "torch-taps", "jax-taps"]
RUNS = [(share, name) for share in range(SHARES) for name in LIBRARIES if name != "jax-taps" or share == 0]
JAX_EXAMPLES = 24  # JAX compiles for each new shape, which takes hundreds of times as long as the calculation


@pytest.mark.parametrize(("share", "name"), RUNS + GPU)
def test_every_member_equals_the_index_loop(share: int, name: str) -> None:
    library = Library(name)
    most = JAX_EXAMPLES if name == "jax-taps" else EACH
    for e in examples(share)[:most]:
        check(library, e)
    for e, t in transposed_examples(share)[:most]:
        check_transposed(library, e, t)


def test_the_examples_are_varied() -> None:
    drawn = [g for share in range(SHARES) for g in random_geometries(EACH, seed=share)]
    assert len({str(g) for g in drawn}) > 1000
    assert {g.ndim for g in drawn} == {0, 1, 2, 3}
    for seen in (
        lambda g: g.batch is None,
        lambda g: g.groups > 1 and g.in_channels == g.groups and g.out_channels > g.groups,
        lambda g: any(a.begin < 0 for a in g.axes),
        lambda g: any(a.begin != a.end for a in g.axes),
        lambda g: any(a.slack > 0 for a in g.axes) and has_transpose(g),
        lambda g: any(a.slack >= a.stride for a in g.axes) or any(a.dilation > a.stride > 1 for a in g.axes),
        lambda g: any(a.begin >= a.input_size for a in g.axes) and g.padding_mode == "reflect",
        lambda g: any(a.end > a.input_size for a in g.axes) and g.padding_mode == "circular",
        lambda g: any(a.begin > a.extent for a in g.axes) and g.padding_mode == "replicate",
    ):
        assert sum(map(seen, drawn)) >= 10
