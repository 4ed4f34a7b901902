"""The ways of the blocked engine: each is taken where it should be, and equals the literal loop in exact integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import arrconv
from arrconv import Geometry, SpecError
from arrconv.kernels import correlate, gemm
from arrconv.kernels import threads as pool
from tests import oracle

STRIPS = "_by_strips"
BLOCKS = "by_blocks"
CASES = {
    # case: the ways that conv and the input gradient go
    "n=2 c=2 o=3 x=9,40 k=3,3 p=1": (STRIPS, STRIPS),
    "n=1 c=2 o=3 x=13,41 k=5,3 p=2:1,0 s=2,1": (STRIPS, STRIPS),
    "n=1 c=2 o=3 x=17,41 k=3,2 d=3,2": (STRIPS, STRIPS),
    "n=1 c=2 o=3 x=23,37 k=5,2 s=2,1 d=3,1 p=4,0": (STRIPS, STRIPS),
    "n=1 c=2 o=3 x=29,37 k=4,2 s=4,1 d=3,1 p=4,0": (BLOCKS, BLOCKS),  # one row a phase
    "n=2 c=6 o=6 g=6 x=9,35 k=3,3 p=1": (STRIPS, STRIPS),
    "n=2 c=4 o=8 g=4 x=9,35 k=3,3 p=1": (STRIPS, STRIPS),
    "n=1 c=2 o=2 x=7,8,9 k=3,2,2 p=1,0,1": (STRIPS, STRIPS),
    "n=1 c=2 o=2 x=9,40 k=3,3 p=0:9,-2": (STRIPS, STRIPS),  # rows of padding alone, and a crop
    "n=1 c=2 o=2 x=3,40 k=5,3 p=1": (BLOCKS, STRIPS),  # one row of outputs has nothing to share
    "n=40 c=2 o=3 x=4,5 k=2,2": (BLOCKS, BLOCKS),  # images that are joined
    "n=40 c=2 o=3 x=4,5 k=1,1": (BLOCKS, BLOCKS),
    "n=3 c=2 o=3 x=12,13 k=1,1": (BLOCKS, BLOCKS),
    "n=3 c=2 o=3 x=12,15 k=2,3 s=2,3": (BLOCKS, BLOCKS),  # phases that are one convolution
    "n=3 c=2 o=3 x=13,17 k=2,3 s=2,3 p=1:0,0:1": (BLOCKS, BLOCKS),
    "n=2 c=2 o=3 x=300 k=4 d=2 p=3": (BLOCKS, BLOCKS),
    "n=2 c=1 o=16 x=11,13 k=3,3 p=1": (BLOCKS, "scatter"),
    "n=1 c=2 o=17 x=11,13 k=5,4 s=2,3 p=2,1:3": (BLOCKS, "scatter"),
    "n=1 c=2 o=36 g=2 x=19,5 k=3,2 s=2,1 d=2,3 p=-1:2,4": (BLOCKS, "scatter"),
    "n=1 c=1 o=16 x=5,4,6 k=2,3,2 s=1,2,1 p=1": (BLOCKS, "scatter"),
    "n=2 c=1 o=16 x=50 k=7 s=3 p=9": (BLOCKS, "scatter"),
}


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ways that have been taken since."""
    taken: list[str] = []

    def record(module: Any, name: str) -> None:
        original = getattr(module, name)

        def recording(*arguments: Any) -> None:
            taken.append(name)
            original(*arguments)

        monkeypatch.setattr(module, name, recording)

    record(correlate, "_by_strips")
    record(correlate, "by_blocks")
    record(gemm, "scatter")
    return taken


def integers(g: Geometry, most: int = 9) -> list[Any]:
    """x, w and y."""
    rng = np.random.default_rng(5)
    return [rng.integers(-most, most + 1, shape) for shape in (g.input_shape, g.weight_shape, g.output_shape)]


def assert_right(g: Geometry, dtype: str) -> None:
    whole = integers(g, 1 if dtype == "float16" else 9)  # so that no sum of products is rounded
    x, w, y = (array.astype(dtype) for array in whole)
    loop = [array.astype(object) for array in whole]
    options: Any = g.options
    pairs = [
        (arrconv.conv(x, w, algorithm="gemm", **options), oracle.conv(*loop[:2], None, **options)),
        (
            arrconv.conv_grad_input(w, y, input_size=g.input_size, algorithm="gemm", **options),
            oracle.transpose_input(*loop[1:], g.input_size, **options),
        ),
        (
            arrconv.conv_grad_weight(x, y, kernel_size=g.kernel_size, algorithm="gemm", **options),
            oracle.transpose_weight(*loop[::2], g.kernel_size, **options),
        ),
    ]
    for got, expected in pairs:
        assert got.shape == expected.shape
        assert (got == expected).all()


@pytest.mark.parametrize("case", CASES)
def test_each_way_is_taken_and_right(case: str, ways: list[str]) -> None:
    g = Geometry.parse(case)
    x, w, y = (array.astype(np.float64) for array in integers(g))
    arrconv.conv(x, w, algorithm="gemm", **g.options)
    forward = set(ways)
    ways.clear()
    arrconv.conv_grad_input(w, y, input_size=g.input_size, algorithm="gemm", **g.options)
    assert (forward, set(ways)) == tuple({way} for way in CASES[case])
    assert_right(g, "float64")


@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64", "int32"])
@pytest.mark.parametrize("case", CASES)
def test_each_way_is_right_in_any_dtype(case: str, dtype: str) -> None:
    assert_right(Geometry.parse(case), dtype)


@pytest.mark.parametrize("times", [1, 3, 20])
@pytest.mark.parametrize("case", CASES)
def test_each_way_is_right_in_blocks_of_any_size(case: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the least workspace in which the engine serves, by some threads."""
    monkeypatch.setattr(pool, "_ENOUGH", 0)
    g = Geometry.parse(case)
    least = 4 * 8 * max(gemm._gathered(g, direction) for direction in ("y", "x", "w"))  # type: ignore[arg-type]
    with arrconv.limits(workspace=least * times, threads=2):
        assert_right(g, "float64")


@pytest.mark.parametrize("case", [case for case in CASES if "scatter" in CASES[case]])
def test_products_that_are_added_spread_what_is_not_finite_no_further(case: str) -> None:
    g = Geometry.parse(case)
    _, w, y = (array.astype(np.float64) for array in integers(g))
    for array in (w, y):
        before = array.copy()
        array[tuple(size // 2 for size in array.shape)] = np.inf
        with np.errstate(invalid="ignore"):
            got = arrconv.conv_grad_input(w, y, input_size=g.input_size, algorithm="gemm", **g.options)
            expected = arrconv.conv_grad_input(w, y, input_size=g.input_size, algorithm="taps", **g.options)
        assert np.array_equal(got, expected, equal_nan=True)
        assert not np.isfinite(got).all()
        array[...] = before


def test_the_option_of_an_algorithm_is_checked() -> None:
    with pytest.raises(SpecError, match="scatter"):
        arrconv.conv(np.ones((1, 1, 3)), np.ones((1, 1, 2)), algorithm="scatter")
