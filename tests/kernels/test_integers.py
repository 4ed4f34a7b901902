"""Integers through float64: taken exactly where no sum can leave what float64 holds, and never a bit wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import arrconv
from arrconv import Geometry
from arrconv.kernels import KERNELS, gemm, integers, table
from arrconv.kernels.base import Kernel
from tests import oracle

CASES = [
    "n=3 c=4 o=6 g=2 x=9,7 k=3,2 s=2,1 p=1:0,2",
    "n=2 c=3 o=5 x=40 k=7 d=2 p=2:7",
    "n=2 c=1 o=16 x=11,13 k=3,3 p=1",
]


@pytest.fixture
def dtypes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The dtypes in which the kernels have added since."""
    seen: list[str] = []

    def recording(module: Any) -> Any:
        def contract(problem: Any, first: Any, second: Any) -> Any:
            seen.append(str(np.dtype(problem.backend.accumulator)))
            return module.contract(problem, first, second)

        return integers.in_float64(contract)

    for name, module in (("gemm", gemm), ("table", table)):
        monkeypatch.setitem(KERNELS, name, Kernel(name, module.refuses, recording(module)))
    return seen


def assert_right(g: Geometry, x: Any, w: Any, y: Any, algorithm: str) -> None:
    options: Any = g.options
    loop = [array.astype(object) for array in (x, w, y)]
    pairs = [
        (arrconv.conv(x, w, algorithm=algorithm, **options), oracle.conv(*loop[:2], None, **options)),
        (
            arrconv.conv_grad_input(w, y, input_size=g.input_size, algorithm=algorithm, **options),
            oracle.transpose_input(*loop[1:], g.input_size, **options),
        ),
        (
            arrconv.conv_grad_weight(x, y, kernel_size=g.kernel_size, algorithm=algorithm, **options),
            oracle.transpose_weight(*loop[::2], g.kernel_size, **options),
        ),
    ]
    for got, expected in pairs:
        assert got.dtype == np.int64
        wrapped = (expected.astype(object) + 2**63) % 2**64 - 2**63
        assert (got.astype(object) == wrapped).all()


def draw(g: Geometry, dtype: str, most: int) -> list[Any]:
    rng = np.random.default_rng(8)
    low = 0 if dtype.startswith("u") else -most
    return [rng.integers(low, most, s, dtype, endpoint=True) for s in (g.input_shape, g.weight_shape, g.output_shape)]


@pytest.mark.parametrize("algorithm", ["gemm", "table"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "uint64"])
@pytest.mark.parametrize("case", CASES)
def test_integers_of_moderate_size_are_added_in_float64(
    case: str, dtype: str, algorithm: str, dtypes: list[str]
) -> None:
    g = Geometry.parse(case)
    assert_right(g, *draw(g, dtype, min(int(np.iinfo(dtype).max), 2**20)), algorithm)
    assert set(dtypes) == {"float64"}


@pytest.mark.parametrize("algorithm", ["gemm", "table"])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint64"])
@pytest.mark.parametrize("case", CASES)
def test_large_integers_are_added_modulo_2_to_the_64(case: str, dtype: str, algorithm: str, dtypes: list[str]) -> None:
    g = Geometry.parse(case)
    arrays = draw(g, dtype, int(np.iinfo(dtype).max))
    for array in arrays:
        array.reshape(-1)[0] = np.iinfo(dtype).min
        array.reshape(-1)[-1] = np.iinfo(dtype).max
    assert_right(g, *arrays, algorithm)
    assert set(dtypes) == {"int64"}


@pytest.mark.parametrize("algorithm", ["gemm", "table"])
def test_the_last_sum_that_fits_and_the_first_that_does_not(algorithm: str, dtypes: list[str]) -> None:
    """Two products: 2^52 + 2^52 is held by float64, (2^52 + 1) + 2^52 is not."""
    w = np.ones((1, 2, 1), np.int64)
    for extra, dtype in ((0, "float64"), (1, "int64")):
        x = np.asarray([[[2**52 + extra], [2**52]]], np.int64)
        assert arrconv.conv(x, w, algorithm=algorithm).tolist() == [[[2**53 + extra]]]
        assert arrconv.conv(-x, w, algorithm=algorithm).tolist() == [[[-(2**53) - extra]]]
        assert dtypes == [dtype] * 2
        dtypes.clear()


def test_a_sum_turned_back_in_parts_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integers, "_AT_ONCE", 7)
    g = Geometry.parse(CASES[0])
    assert_right(g, *draw(g, "int16", 99), "gemm")
    assert_right(g, *draw(g, "int16", 99), "table")


def test_empty_operands_are_no_hindrance() -> None:
    assert arrconv.conv(np.ones((2, 0, 5), np.int64), np.ones((3, 0, 2), np.int64)).tolist() == [[[0] * 4] * 3] * 2
