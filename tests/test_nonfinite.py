"""NaN and infinities reach exactly the results whose products hold them, in their class, through zeros as well."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import pytest
from geometries import random_geometries

import arrconv
from arrconv import Geometry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VALUES = [np.nan, np.inf, -np.inf]
LIBRARIES = ["numpy-gemm", "numpy-taps", "torch-taps"]
MOST_PRODUCTS = 700


def small_geometries(count: int, *, seed: int) -> list[Geometry]:
    found: list[Geometry] = []
    for number in range(50):
        for g in random_geometries(40, seed=1000 * seed + number):
            if g.ndim and g.products("w") * np.prod(g.weight_shape) <= MOST_PRODUCTS:
                found.append(g)
            if len(found) == count:
                return found
    raise AssertionError("too few geometries")


GEOMETRIES = [pytest.param(g, id=str(g).replace(" ", "_")) for g in small_geometries(48, seed=3)]


@dataclass(frozen=True)
class Member:
    """One member on one geometry: the shapes it takes, how arrconv computes it, and how the index loop does."""

    name: str
    shapes: tuple[tuple[int, ...], ...]
    compute: Callable[..., Any]
    judge: Callable[..., np.ndarray]


def members(g: Geometry) -> Iterator[Member]:
    """Every member that the geometry has; its arrays are batched for the index loop."""
    o, spatial = g.options, {"input_size": g.input_size}
    x, w, y = g.input_shape, g.weight_shape, g.output_shape
    yield Member("conv", (x, w, (g.out_channels,)), lambda *a, **k: arrconv.conv(*a, **o, **k),
                 lambda x, w, b: oracle.conv(lead(x, g), w, b, **o))  # fmt: skip
    yield Member("conv_grad_input", (w, y), lambda *a, **k: arrconv.conv_grad_input(*a, **spatial, **o, **k),
                 lambda w, y: oracle.transpose_input(w, lead(y, g), g.input_size, **o))  # fmt: skip
    yield Member("conv_grad_weight", (x, y),
                 lambda *a, **k: arrconv.conv_grad_weight(*a, kernel_size=g.kernel_size, **o, **k),
                 lambda x, y: oracle.transpose_weight(lead(x, g), lead(y, g), g.kernel_size, **o))  # fmt: skip
    yield Member("conv_grad_bias", (y,), lambda y, **_: arrconv.conv_grad_bias(y, spatial_ndim=g.ndim),
                 lambda y: oracle.grad_bias(lead(y, g)))  # fmt: skip
    if g.padding_mode == "zeros" and all(0 <= a.slack < max(a.stride, a.dilation) for a in g.axes):
        t = {name: value for name, value in o.items() if name != "padding_mode"} | {"output_padding": g.slack}
        yield Member("conv_transpose", (y, w, (g.in_channels,)), lambda *a, **k: arrconv.conv_transpose(*a, **t, **k),
                     lambda y, w, b: oracle.conv_transpose(lead(y, g), w, b, **t))  # fmt: skip


def lead(array: np.ndarray, g: Geometry) -> np.ndarray:
    return array if g.batch is not None else array[np.newaxis]


def numbers(rng: np.random.Generator, shape: tuple[int, ...], zeros: float) -> np.ndarray:
    """Small whole numbers, about so large a share of them zero."""
    values = rng.integers(1, 5, shape) * rng.choice([-1, 1], shape)
    return np.where(rng.random(shape) < zeros, 0, values).astype(np.float64)


def spoiled(shapes: tuple[tuple[int, ...], ...], seed: int) -> Iterator[tuple[np.ndarray, ...]]:
    """The arrays with one element of one of them not finite, the others plain, sparse or nothing but zeros."""
    rng = np.random.default_rng(seed)
    for number, value in product(range(len(shapes)), VALUES):
        for zeros in (0.0, 0.6, 1.0):
            arrays = [numbers(rng, shape, 0.1 if at == number else zeros) for at, shape in enumerate(shapes)]
            arrays[number].flat[rng.integers(arrays[number].size)] = value
            yield tuple(arrays)


@lru_cache(maxsize=2)
def judged(g: Geometry) -> list[tuple[Member, tuple[np.ndarray, ...], np.ndarray]]:
    """Every member with arrays and what they give, computed in Python floats."""
    return [
        (member, arrays, member.judge(*arrays).astype(np.float64))
        for member in members(g)
        for arrays in spoiled(member.shapes, seed=len(str(g)))
    ]


def compute(member: Member, arrays: tuple[np.ndarray, ...], library: str, dtype: str) -> np.ndarray:
    name, _, algorithm = library.partition("-")
    put: Any = np.asarray if name == "numpy" else pytest.importorskip("torch", reason="no PyTorch").asarray
    with np.errstate(all="ignore"):
        return np.asarray(member.compute(*(put(a.astype(dtype)) for a in arrays), algorithm=algorithm), np.float64)


RUNS = [pytest.param(*p.values, library, id=f"{p.id}-{library}") for p in GEOMETRIES for library in LIBRARIES]


@pytest.mark.parametrize(("g", "library"), RUNS)
def test_results_are_those_of_python_floats(g: Geometry, library: str) -> None:
    for member, arrays, expected in judged(g):
        for dtype in ("float64", "float16") if member.name == "conv" else ("float32",):
            got = compute(member, arrays, library, dtype)
            got = got if member.name in ("conv_grad_weight", "conv_grad_bias") else lead(got, g)
            assert got.shape == expected.shape, member.name
            assert np.array_equal(got, expected, equal_nan=True), (member.name, dtype, arrays)


def test_the_cases_are_varied() -> None:
    """Each class of result appears, as does each member; some results stay finite and some see only zeros."""
    seen: dict[str, int] = {}
    for param in GEOMETRIES[:12]:
        for member, _, expected in judged(param.values[0]):
            classes = {
                "nan": np.isnan(expected).any(),
                "inf": np.isposinf(expected).any(),
                "-inf": np.isneginf(expected).any(),
                "finite": np.isfinite(expected).any(),
            }
            for key in [member.name, *(name for name, there in classes.items() if there)]:
                seen[key] = seen.get(key, 0) + 1
    assert len(seen) == 9
    assert min(seen.values()) >= 15, seen


def reached(g: Geometry, operand: int, element: tuple[int, ...], result: int, *, padding: bool) -> np.ndarray:
    """Which elements of x, w or y (0, 1, 2) share a product with one of another; `padding`: its zeros count."""
    shapes = (g.batched().input_shape, g.weight_shape, g.batched().output_shape)
    mask = np.zeros(shapes[result], bool)
    for indices in oracle.products(*shapes, **g.options):
        if indices[operand] == element and (padding or indices[0] is not None):
            mask[indices[result]] = True
    return mask


def lead_unless_weight(array: np.ndarray, g: Geometry, result: int) -> np.ndarray:
    return array if result == W else lead(array, g)


X, W, Y = range(3)
PATHS = [(X, Y), (W, Y), (W, X), (Y, X), (X, W), (Y, W)]


@pytest.mark.parametrize("algorithm", ["table", "gemm", "taps"])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("g", GEOMETRIES[:24])
def test_masks_are_those_of_the_products(g: Geometry, dtype: str, algorithm: str) -> None:
    """Zeros of the padding are multiplied, save in the transposed direction, where there are none."""
    rng = np.random.default_rng(len(str(g)))
    shapes = (g.batched().input_shape, g.weight_shape, g.batched().output_shape)
    o = g.options | {"algorithm": algorithm}
    for operand, result in PATHS:
        element = tuple(int(rng.integers(size)) for size in shapes[operand])
        arrays = [numbers(rng, shape, rng.choice([0.0, 0.5, 1.0])).astype(dtype) for shape in shapes]
        arrays[operand][element] = rng.choice(VALUES)
        x, w, y = (array if at == W or g.batch else array[0] for at, array in enumerate(arrays))
        with np.errstate(all="ignore"):
            got = [
                lambda: arrconv.conv_grad_input(w, y, input_size=g.input_size, **o),  # noqa: B023 - called at once
                lambda: arrconv.conv_grad_weight(x, y, kernel_size=g.kernel_size, **o),  # noqa: B023
                lambda: arrconv.conv(x, w, **o),  # noqa: B023
            ][result]()
        expected = reached(g, operand, element, result, padding=result != X)
        assert np.array_equal(~np.isfinite(lead_unless_weight(got, g, result)), expected), (operand, result, element)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("value", VALUES)
def test_an_infinite_weight_over_padding(value: float, library: str) -> None:
    """It multiplies the padding's zeros in `conv`, and nothing beyond the border in the transposed convolution."""
    name, _, algorithm = library.partition("-")
    put: Any = np.asarray if name == "numpy" else pytest.importorskip("torch", reason="no PyTorch").asarray
    x, y = put(np.asarray([[[2.0, 3.0, 5.0]]])), put(np.asarray([[[1.0, 4.0]]]))
    w, gy = put(np.asarray([[[value, 1.0]]])), put(np.asarray([[[value, 1.0, 1.0, 1.0]]]))
    nan = np.nan
    with np.errstate(all="ignore"):
        over = arrconv.conv(x, w, padding=1, algorithm=algorithm)
        spread = arrconv.conv_transpose(y, w, stride=3, output_padding=2, algorithm=algorithm)
        weight = arrconv.conv_grad_weight(x, gy, kernel_size=(2,), padding=1, algorithm=algorithm)
    assert np.array_equal(np.asarray(over), [[[nan, value, value, value]]], equal_nan=True)
    assert np.array_equal(np.asarray(spread), [[[value, 1, 0, value, 4, 0, 0]]], equal_nan=True)
    assert np.array_equal(np.asarray(weight), [[[nan, value]]], equal_nan=True)


LARGE = {
    "dense": "n=2 c=48 o=32 x=37,29 k=3,2 s=2,1 p=1:2,0",
    "grouped": "n=3 c=24 o=36 g=6 x=31,41 k=2,3 p=1,2 d=2,1",
    "depthwise": "n=2 c=20 o=40 g=20 x=53,47 k=3,2 p=0:2,1",
    "strided": "n=2 c=17 o=33 x=61,43 k=4,3 s=3,2 d=1,3 p=2,1",
    "pointwise": "n=5 c=64 o=48 x=19,23 k=1,1",
    "matrix": "n=7 c=130 o=70 x=1,1 k=1,1",
    "one-row": "n=1 c=96 o=1 x=67,3 k=3,3 p=1,0",
}


def touching(g: Geometry, place: tuple[int, ...], *, of_output: bool) -> np.ndarray:
    """Which outputs read an input, or which inputs an output reads, by the formula axis by axis."""
    mask = np.ones((), bool)
    for a, at in zip(g.axes, place, strict=True):
        count = a.input_size if of_output else a.output_size
        hits = [
            any((i == a.stride * l + a.dilation * k - a.begin) for k in range(a.kernel_size))
            for i, l in ((other, at) if of_output else (at, other) for other in range(count))  # noqa: E741
        ]
        mask = np.logical_and.outer(mask, hits)
    return mask


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("algorithm", ["gemm", "taps"])
@pytest.mark.parametrize("case", LARGE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_problems_skip_no_zero(case: str, algorithm: str, value: float, dtype: str) -> None:
    """Through weights that are all zero, across blocks, threads and the BLAS's own paths."""
    g, rng = Geometry.parse(LARGE[case]), random.Random(case)
    o = g.options | {"algorithm": algorithm}
    x, w, y = (np.zeros(shape, dtype) for shape in (g.input_shape, g.weight_shape, g.output_shape))
    shares = (g.in_channels // g.groups, g.out_channels // g.groups)
    for array, share, other, of_output in ((x, *shares, False), (y, *shares[::-1], True)):
        place = tuple(rng.randrange(size) for size in array.shape)
        group = place[1] // share
        seen = touching(g, place[2:], of_output=of_output)
        array[place] = value
        with np.errstate(all="ignore"), arrconv.limits(workspace=2**18):
            got = (
                arrconv.conv_grad_input(w, array, input_size=g.input_size, **o)
                if of_output
                else arrconv.conv(array, w, **o)
            )
        expected = np.zeros(got.shape, bool)
        expected[place[0], group * other : (group + 1) * other] = seen
        assert np.array_equal(np.isnan(got), expected), (place, of_output)
        assert not np.isinf(got).any()
        array[place] = 0
    _weight_is_reached(g, x, y, value, o)


def _weight_is_reached(g: Geometry, x: np.ndarray, y: np.ndarray, value: float, o: dict[str, Any]) -> None:
    """An element of gy that is not finite makes NaN of the whole kernel of its channel: zeros of padding included."""
    place = tuple(size // 2 for size in y.shape)
    y[place] = value
    with np.errstate(all="ignore"), arrconv.limits(workspace=2**18):
        got = arrconv.conv_grad_weight(x, y, kernel_size=g.kernel_size, **o)
    expected = np.zeros(g.weight_shape, bool)
    expected[place[1]] = True
    assert np.array_equal(np.isnan(got), expected)


@pytest.mark.parametrize("algorithm", ["table", "gemm", "taps"])
def test_opposite_infinities_meet_as_nan_and_equal_ones_stay(algorithm: str) -> None:
    x = np.asarray([[[np.inf, 1.0, -np.inf, 1.0, np.inf, np.inf]]])
    with np.errstate(all="ignore"):
        got = arrconv.conv(x, np.ones((1, 1, 3)), algorithm=algorithm)
        biased = arrconv.conv(x, np.ones((1, 1, 1)), np.asarray([-np.inf]), algorithm=algorithm)
    assert np.array_equal(got, [[[np.nan, -np.inf, np.nan, np.inf]]], equal_nan=True)
    assert np.array_equal(biased, [[[np.nan, -np.inf, -np.inf, -np.inf, np.nan, np.nan]]], equal_nan=True)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("needs", [("input", "weight", "bias"), ("weight",)])
def test_the_gradients_together_have_the_masks_of_each(needs: tuple[str, ...], value: float) -> None:
    g = Geometry.parse("n=2 c=4 o=6 g=2 x=9,7 k=3,2 s=2,1 p=1:0,2")
    o, rng = g.options, np.random.default_rng(5)
    x, w, gy = (numbers(rng, shape, 0.3) for shape in (g.input_shape, g.weight_shape, g.output_shape))
    for array in (x, w, gy):
        kept = array[1, 1, 1, 1]
        array[1, 1, 1, 1] = value
        with np.errstate(all="ignore"):
            grads = arrconv.conv_backward(x, w, gy, needs=needs, **o)
            alone = {
                "input": arrconv.conv_grad_input(w, gy, input_size=g.input_size, **o),
                "weight": arrconv.conv_grad_weight(x, gy, kernel_size=g.kernel_size, **o),
                "bias": arrconv.conv_grad_bias(gy),
            }
        for need in needs:
            assert np.array_equal(getattr(grads, need), alone[need], equal_nan=True)
        assert (array is w) == all(np.isfinite(getattr(grads, need)).all() for need in ("weight",) if need in needs)
        array[1, 1, 1, 1] = kept
