"""Dot products for the weight gradient of few channels: taken where they should be, and right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import arrconv
from arrconv import Geometry
from arrconv.kernels import gemm
from arrconv.kernels import threads as pool
from tests import oracle

CASES = [
    "n=3 c=6 o=6 g=6 x=9,7 k=3,2 p=1:0,2",
    "n=2 c=3 o=6 g=3 x=8,9 k=2,3 d=3,2 p=2,1",
    "n=2 c=4 o=4 g=2 x=7,6 k=3,3 p=1",
    "n=1 c=1 o=1 x=23,37 k=5,5 p=2",
    "n=1 c=2 o=1 x=9,40 k=3,3 p=0:9,-2",
    "n=2 c=2 o=2 g=2 x=50 k=7 p=3",
    "n=2 c=3 o=3 g=3 x=5,4,6 k=2,3,1 p=1",
]
OTHERS = [
    "n=2 c=3 o=3 g=3 x=9,9 k=3,3 s=2",
    "n=2 c=3 o=2 x=9,9 k=3,3",
    "n=2 c=3 o=3 g=3 x=9,9 k=1,1",
    "n=2 c=3 o=3 g=3 x=9,9 k=2,2 d=7,8",
]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The dtypes of what has been computed by dot products."""
    names: list[str] = []
    dots = gemm.dots

    def recording(*arguments: Any) -> Any:
        names.append(str(arguments[-1]))
        return dots(*arguments)

    monkeypatch.setattr(gemm, "dots", recording)
    return names


def gradient(g: Geometry, x: Any, y: Any, algorithm: str = "gemm") -> Any:
    return arrconv.conv_grad_weight(x, y, kernel_size=g.kernel_size, algorithm=algorithm, **g.options)


def integers(g: Geometry, most: int = 9) -> list[Any]:
    rng = np.random.default_rng(8)
    return [rng.integers(-most, most + 1, shape) for shape in (g.input_shape, g.output_shape)]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int32"])
@pytest.mark.parametrize("case", CASES)
def test_integers_are_right(case: str, dtype: str, taken: list[str]) -> None:
    g = Geometry.parse(case)
    x, y = integers(g, 1 if dtype == "float16" else 9)
    got = gradient(g, x.astype(dtype), y.astype(dtype))
    options: Any = g.options
    assert (got == oracle.transpose_weight(x.astype(object), y.astype(object), g.kernel_size, **options)).all()
    assert taken == ["float32" if dtype == "float16" else "float64" if dtype == "int32" else dtype]


@pytest.mark.parametrize("times", [1, 3, 20])
@pytest.mark.parametrize("case", CASES)
def test_blocks_of_any_size_are_right(case: str, times: int, taken: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_ENOUGH", 0)
    g = Geometry.parse(case)
    x, y = (array.astype(np.float64) for array in integers(g))
    expected = gradient(g, x, y, "taps")
    with arrconv.limits(workspace=4 * 8 * gemm._gathered(g, "w") * times, threads=2):
        assert np.array_equal(gradient(g, x, y), expected)
    assert taken


@pytest.mark.parametrize("case", CASES)
def test_the_bits_do_not_depend_on_the_number_of_threads(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_ENOUGH", 0)
    g = Geometry.parse(case)
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal(g.input_shape), rng.standard_normal(g.output_shape)
    results = []
    for threads in (1, 2, 5):
        with arrconv.limits(threads=threads):
            results.append(gradient(g, x, y).tobytes())
    assert len(set(results)) == 1


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("case", CASES)
def test_what_is_not_finite_spreads_no_further_than_it_should(case: str, value: float) -> None:
    g = Geometry.parse(case)
    arrays = [array.astype(np.float64) for array in integers(g)]
    for array in arrays:
        before = array.copy()
        for place in np.ndindex(*array.shape[2:]):
            array[(0, 0, *place)] = value
            with np.errstate(invalid="ignore"):
                assert np.array_equal(gradient(g, *arrays), gradient(g, *arrays, "taps"), equal_nan=True)
            array[...] = before


@pytest.mark.parametrize("case", OTHERS)
def test_others_are_left_to_matrix_products(case: str, taken: list[str]) -> None:
    g = Geometry.parse(case)
    x, y = (array.astype(np.float64) for array in integers(g))
    assert np.array_equal(gradient(g, x, y), gradient(g, x, y, "taps"))
    assert not taken


def test_complex_numbers_are_left_to_matrix_products(taken: list[str]) -> None:
    """A dot product of NumPy's conjugates its first argument."""
    g = Geometry.parse(CASES[0])
    x, y = (array * (1 + 2j) for array in integers(g))
    assert np.array_equal(gradient(g, x, y), gradient(g, x, y, "taps"))
    assert not taken
