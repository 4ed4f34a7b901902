"""The compiled engine: exact integers against the literal loop, one chain of sums, and what it leaves to others."""

from __future__ import annotations

import sys
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any, cast

import ml_dtypes
import numpy as np
import pytest

import arrconv
from arrconv import Geometry, UnsupportedError, explain
from arrconv.kernels import threads as pool
from arrconv.kernels import tiles
from tests import oracle

loops = pytest.importorskip("arrconv.kernels.tile_loops", reason="Numba is not installed")
if reason := tiles._lacks_compiler():
    pytest.skip(reason, allow_module_level=True)

CASES = [
    "n=2 c=3 o=5 x=9,41 k=3,2 p=1",
    "n=1 c=2 o=9 x=13,37 k=5,3 s=2,3 p=2:1,0",
    "n=1 c=2 o=3 x=17,41 k=3,2 d=3,2 p=2,4",
    "n=1 c=2 o=3 x=23,37 k=5,4 s=3,2 d=2,3 p=4,0:5",
    "n=2 c=6 o=6 g=6 x=9,35 k=3,3 p=1",
    "n=2 c=6 o=4 g=2 x=9,8 k=3,3 p=1",
    "n=1 c=2 o=13 x=7,8,9 k=3,2,2 p=1,0,1 s=1,2,1",
    "n=1 c=2 o=2 x=3,4,3,5 k=2,3,1,2 p=1",
    "n=3 c=4 o=7 x=100 k=31 p=15",
    "n=1 c=1 o=1 x=1 k=1",
    "n=1 c=2 o=2 x=9,40 k=3,3 p=0:9,-2",  # rows of padding alone, and a crop
    "n=2 c=2 o=3 x=12,15 k=2,3 s=2,3",  # phases that are one correlation
    "n=1 c=2 o=3 x=6,5 k=2,2 s=4,3",  # inputs that no tap reaches
    "n=2 c=0 o=3 x=6,5 k=2,2",
    "n=2 c=2 o=3 x=0,5 k=2,2 p=1",
    "n=0 c=2 o=3 x=6,5 k=2,2",
    "n=1 c=80 o=3 x=5,6 k=3,2",  # sums in several parts
]
pytestmark = pytest.mark.xdist_group("tiles")  # what one process has compiled, another would compile again
SIZES = loops._SIZES[16 if loops.vector_bytes() == 32 else 32]


@pytest.fixture(autouse=True)
def _few_sizes_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a second; the test of all sizes has them all."""
    monkeypatch.setattr(loops, "tile_size", lambda _dtype, rows, *_: (4, 3) if rows > 1 else (1, 7))


def integers(g: Geometry, most: int = 9) -> list[Any]:
    """x, w and y."""
    rng = np.random.default_rng(5)
    return [rng.integers(-most, most + 1, shape) for shape in (g.input_shape, g.weight_shape, g.output_shape)]


def in_tiles(g: Geometry, x: Any, w: Any, y: Any) -> list[Any]:
    options: dict[str, Any] = {**g.options, "algorithm": "tiles"}
    return [arrconv.conv(x, w, **options), arrconv.conv_grad_input(w, y, input_size=g.input_size, **options)]


@cache
def solved(case: str, most: int) -> tuple[list[Any], list[Any]]:
    """x, w and y, and the results of the literal loop."""
    g = Geometry.parse(case)
    whole, options = integers(g, most), cast("Any", g.options)
    x, w, y = (array.astype(object) for array in whole)
    return whole, [oracle.conv(x, w, None, **options), oracle.transpose_input(w, y, g.input_size, **options)]


def assert_right(case: str, dtype: Any) -> None:
    whole, expected = solved(case, 1 if np.dtype(dtype).itemsize == 2 else 9)  # so that no result is rounded
    for got, right in zip(in_tiles(Geometry.parse(case), *(a.astype(dtype) for a in whole)), expected, strict=True):
        assert got.shape == right.shape
        assert (got == right).all()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", ml_dtypes.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_integers_are_right(case: str, dtype: Any) -> None:
    assert_right(case, dtype)


def test_sizes_are_chosen_that_fit_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for dtype, rows, terms, count in product(["float32", "float64"], [1, 2, 3, 64, 99], [1, 27, 1152], [1, 56, 1000]):
        height, vectors = loops.tile_size(dtype, rows, terms, count)
        assert (height, vectors) in {size for sizes in loops._SIZES.values() for size in sizes}
        assert height <= 2 * rows
    lanes = loops.vector_length("float64")
    assert loops.tile_size("float64", 1, 9, 6 * lanes) == (1, 6)  # a row of a depthwise layer at once
    assert loops.tile_size("float64", 1, 9, 7 * lanes) == (1, 7)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tiles_of_any_size_are_right(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "tile_size", lambda *_: size)
    for case in CASES[:8]:
        assert_right(case, "float64")


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("case", CASES)
def test_blocks_of_any_size_are_right(case: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the least workspace in which tiles serve, by some threads."""
    monkeypatch.setattr(pool, "_ENOUGH", 0)
    g = Geometry.parse(case)
    least = max(1, *(4 * tiles._copied(g, direction, 8) for direction in ("y", "x")))  # type: ignore[arg-type]
    with arrconv.limits(workspace=least * times, threads=3):
        assert_right(case, "float64")
    with arrconv.limits(workspace=least // 2), pytest.raises(UnsupportedError, match="of the workspace"):
        in_tiles(g, *(array.astype(np.float64) for array in integers(g)))


@pytest.mark.parametrize("case", CASES[:4])
def test_arrays_in_any_order_of_memory_are_right(case: str) -> None:
    g = Geometry.parse(case)
    x, w, y = (array.astype(np.float64) for array in integers(g))
    expected = in_tiles(g, x, w, y)
    for change in (np.asfortranarray, lambda a: a[..., ::-1].copy()[..., ::-1], lambda a: np.repeat(a, 2, 1)[:, ::2]):
        for got, right in zip(in_tiles(g, change(x), change(w), change(y)), expected, strict=True):
            assert np.array_equal(got, right)


def chained(x: Any, w: Any) -> Any:
    """The convolution (no padding) as one chain of fused multiply-adds for each output, rounded after each."""
    channels, *kernel = w.shape[1:]
    sizes = [size - k + 1 for size, k in zip(x.shape[2:], kernel, strict=True)]
    y = np.empty((len(x), len(w), *sizes))
    for n, o, *at in product(*(range(size) for size in y.shape)):
        total = 0.0
        for c, *tap in product(range(channels), *(range(k) for k in kernel)):
            number = x[(n, c, *(a + t for a, t in zip(at, tap, strict=True)))]
            total = float(Fraction(total) + Fraction(number) * Fraction(w[(o, c, *tap)]))
        y[(n, o, *at)] = total
    return y


def test_a_sum_is_one_chain_of_fused_multiply_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bits depend on no size of a tile, a block or a part, and on no number of threads."""
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((2, 30, 4, 7)), rng.standard_normal((5, 30, 2, 3))
    expected = chained(x, w)
    monkeypatch.setattr(pool, "_ENOUGH", 0)
    for size, part, threads, workspace in product([(4, 3), (1, 8)], [7, 192], [1, 3], [2**16, 2**26]):
        monkeypatch.setattr(loops, "tile_size", lambda *_, size=size: size)
        monkeypatch.setattr(tiles, "_TERMS", part)
        with arrconv.limits(threads=threads, workspace=workspace):
            assert np.array_equal(arrconv.conv(x, w, algorithm="tiles"), expected)


def test_numpy_complains_of_sums_that_overflow_and_of_no_others() -> None:
    """A tile computes sums of no position, too: here those that run over the end of a row would overflow."""
    x, w = np.zeros((2, 1, 9, 20), np.float32), np.asarray([[[[1, 1e10]]]], np.float32)
    x[..., 0] = 1e30
    with np.errstate(all="raise"):
        y = arrconv.conv(x, w, algorithm="tiles")
    assert np.array_equal(y, arrconv.conv(x, w, algorithm="taps"))
    x[1, 0, 4, 7] = 1e30
    with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="overflow"):
        arrconv.conv(x, w, algorithm="tiles")
    with pytest.warns(RuntimeWarning, match="overflow"):
        arrconv.conv(x, w, algorithm="tiles")
    with np.errstate(all="ignore"):
        y = arrconv.conv(x, w, algorithm="tiles")
        assert np.array_equal(y, arrconv.conv(x, w, algorithm="taps"))
    assert np.isinf(y).sum() == 1


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("case", CASES[:6])
def test_what_is_not_finite_spreads_no_further_than_it_should(case: str, value: float) -> None:
    g = Geometry.parse(case)
    arrays = [array.astype(np.float64) for array in integers(g)]
    for array in arrays:
        before = array.copy()
        array[tuple(size // 2 for size in array.shape)] = value
        with np.errstate(invalid="ignore"):
            got = in_tiles(g, *arrays)
            options: dict[str, Any] = {**g.options, "algorithm": "taps"}
            expected = [
                arrconv.conv(*arrays[:2], **options),
                arrconv.conv_grad_input(*arrays[1:], input_size=g.input_size, **options),
            ]
        assert all(np.array_equal(*pair, equal_nan=True) for pair in zip(got, expected, strict=True))
        array[...] = before


SERVED = "n=1 c=16 o=64 x=64,64 k=3,3 p=1"
"""A case for which nothing else is faster."""


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (SERVED, ""),
        (SERVED.replace("n=1", "n=20").replace("o=64", "o=32 g=16"), ""),
        (SERVED.replace("x=64,64", "x=9,7"), "580608 products are fewer than 8388608"),
        (SERVED.replace("o=64", "o=129"), "its matrix has 129 rows, and with more than 128"),
        (SERVED.replace("k=3,3 p=1", "k=1,1").replace("n=1", "n=9"), "an element is read 1 times"),
        (SERVED.replace("k=3,3", "s=2 k=3,3").replace("n=1", "n=9"), "is read 2.2 times"),
    ],
)
def test_what_others_compute_faster_is_left_to_them(case: str, reason: str) -> None:
    g = Geometry.parse(case)
    x, w = (np.broadcast_to(np.float64(0), shape) for shape in (g.input_shape, g.weight_shape))
    choice = explain("conv", x, w, **g.options)
    assert (choice.kernel == "tiles") == (reason == "")
    if reason:
        assert reason in choice.passed_over["tiles"]
    assert explain("conv", x, w, algorithm="tiles", **g.options).kernel == "tiles"  # what is asked for by name is done


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [
        ("complex64", "it adds in float32 or float64, not in complex64"),
        ("int32", "it adds in float32 or float64, not in int64"),
    ],
)
def test_what_tiles_cannot_add_is_refused(dtype: str, reason: str) -> None:
    x, w = np.ones((1, 2, 9), dtype), np.ones((1, 2, 3), dtype)
    with pytest.raises(UnsupportedError, match=reason):
        arrconv.conv(x, w, algorithm="tiles")
    floats = [np.ones(array.shape) for array in (x, w)]
    with pytest.raises(UnsupportedError, match="it has no weight gradient"):
        arrconv.conv_grad_weight(floats[0], np.ones((1, 1, 7)), kernel_size=(3,), algorithm="tiles")
    with pytest.raises(UnsupportedError, match="where there is no axis"):
        arrconv.conv(np.ones((1, 2)), np.ones((3, 2)), algorithm="tiles")


def test_without_numba_other_kernels_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("numba", "numba.core", "numba.extending", "llvmlite", "arrconv.kernels.microkernel"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr("arrconv.kernels.microkernel", raising=False)
    tiles._lacks_compiler.cache_clear()
    try:
        g = Geometry.parse(SERVED)
        choice = explain("conv", np.ones(g.input_shape), np.ones(g.weight_shape), **g.options)
        assert choice.kernel == "gemm"
        assert "it is compiled by Numba, which cannot be imported" in choice.passed_over["tiles"]
        assert "pip install 'arrconv[fast]'" in choice.passed_over["tiles"]
    finally:
        tiles._lacks_compiler.cache_clear()
