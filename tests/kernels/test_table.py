"""The table: small images, many at a time, each with the bits that it has alone, on any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import arrconv
from arrconv import Geometry, explain
from arrconv.kernels import table

CASES = [
    "n=70 c=4 o=6 g=2 x=9,7 k=3,2 s=2,1 p=1:0,2",
    "n=300 c=3 o=5 x=13 k=4 s=3 d=2 p=2:7",
    "n=33 c=3 o=4 x=5,4,3 k=2,3,1 p=-1:1,0,2",
    "n=2000 c=3 o=5 x=- k=-",
    "n=30 c=4 o=6 g=2 x=6,9 k=2,3 s=2,3",
    "n=30 c=4 o=6 g=2 x=11,9 k=2,2 s=3,4 p=0:2,1",  # inputs that no output reads
    "n=20 c=3 o=2 x=9,8 k=1,1 p=0:1,0",
    "n=3 c=2 o=4 x=2 k=2 s=9 p=8:1",  # the only outputs read nothing but padding
    "n=40 c=3 o=4 x=0,6 k=3,2 p=2,1",  # an input without elements, and a result that has some
]
DTYPES = ["float64", "float32", "complex64", "int16"]


def arrays_of(g: Geometry, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x, w, y = (
        rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if dtype.startswith("complex") else 0)
        for shape in (g.input_shape, g.weight_shape, g.output_shape)
    )
    if dtype == "int16":
        return (9 * x).astype(dtype), (9 * w).astype(dtype), (9 * y).astype(dtype)
    return x.astype(dtype), w.astype(dtype), y.astype(dtype)


def results(g: Geometry, arrays: tuple[np.ndarray, np.ndarray, np.ndarray], algorithm: str) -> list[np.ndarray]:
    (x, w, y), options = arrays, {**g.options, "algorithm": algorithm}
    return [
        arrconv.conv(x, w, **options),
        arrconv.conv_grad_input(w, y, input_size=g.input_size, **options),
        arrconv.conv_grad_weight(x, y, kernel_size=g.kernel_size, **options),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_results_are_those_of_the_definition(case: str, dtype: str) -> None:
    g = Geometry.parse(case)
    whole = tuple(np.round(4 * array).astype(dtype) for array in arrays_of(g, dtype))
    for got, expected in zip(results(g, whole, "table"), results(g, whole, "taps"), strict=True):  # type: ignore[arg-type]
        assert got.dtype == expected.dtype
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_the_number_of_threads_and_the_workspace_change_no_bit(case: str, dtype: str) -> None:
    g = Geometry.parse(case)
    arrays = arrays_of(g, dtype)
    first = [result.tobytes() for result in results(g, arrays, "table")]
    for threads in (1, 2, 3):
        with arrconv.limits(threads=threads):
            assert [result.tobytes() for result in results(g, arrays, "table")] == first
    with arrconv.limits(workspace=2**18):  # fewer images at a time; sums over images may then be added differently
        assert [result.tobytes() for result in results(g, arrays, "table")[:2]] == first[:2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_an_image_has_the_same_bits_in_any_company(case: str, dtype: str) -> None:
    """Under `auto`, too: whether the table serves is a matter of the image, not of how many there are."""
    g = Geometry.parse(case)
    x, w, y = arrays_of(g, dtype)
    for algorithm in ("table", "auto"):
        options = {**g.options, "algorithm": algorithm}
        forward, back, _ = results(g, (x, w, y), algorithm)
        for some in (slice(3, 4), slice(1, 20), slice(len(x) - 1, None)):
            assert arrconv.conv(x[some], w, **options).tobytes() == forward[some].tobytes()
            gx = arrconv.conv_grad_input(w, y[some], input_size=g.input_size, **options)
            assert gx.tobytes() == back[some].tobytes()


@pytest.mark.parametrize(
    "given",
    [np.asfortranarray, lambda a: a[..., ::-1], lambda a: np.repeat(a, 2, -1)[..., ::2], lambda a: a.astype(">f8")],
    ids=["Fortran order", "reversed", "strided", "byte-swapped"],
)
def test_operands_may_lie_in_memory_as_they_like(given: Any) -> None:
    g = Geometry.parse("n=3 c=4 o=6 g=2 x=9,7 k=3,2 s=2,1 p=1:0,2")
    arrays = tuple(given(array) for array in arrays_of(g, "float64"))
    plain = tuple(np.ascontiguousarray(array, "float64") for array in arrays)
    for got, expected in zip(results(g, arrays, "table"), results(g, plain, "table"), strict=True):  # type: ignore[arg-type]
        assert got.tobytes() == expected.tobytes()


def test_large_images_are_left_to_gemm() -> None:
    w = np.ones((4, 8, 3, 3))
    for size, kernel in ((21, "table"), (22, "gemm")):  # 8·9·21² numbers, and 8·9·22²
        x = np.ones((1, 8, size, size))
        choice = explain("conv", x, w, padding=1)
        assert choice.kernel == ("table" if 72 * size**2 <= table._MOST["y"] else "gemm") == kernel


def test_a_table_is_remembered_and_cannot_be_written_to() -> None:
    g = Geometry.parse("n=1 c=2 o=3 x=5 k=2")
    recipe = table._recipe(g, "y")
    assert table._recipe(g, "y") is recipe
    assert not recipe.reads_zeros
    assert recipe.order is None
    (found,) = recipe.tables
    assert found.index is not None
    assert found.index.tolist() == [[[0, 1, 2, 3], [1, 2, 3, 4], [5, 6, 7, 8], [6, 7, 8, 9]]]
    assert not found.index.flags.writeable


def test_what_lies_in_order_needs_no_table() -> None:
    g = Geometry.parse("n=2 c=3 o=4 x=6,4 k=2,2 s=2,2")  # the kernels lie side by side
    assert [found.index for found in table._recipe(g, "x").tables] == [None]
    assert table._recipe(g, "x").order is not None
    pointwise = Geometry.parse("n=2 c=3 o=4 x=6,4 k=1,1")
    assert [found.index for found in table._recipe(pointwise, "y").tables] == [None]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "complex64"])
def test_an_infinite_weight_reaches_no_further_than_in_the_definition(dtype: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed; bfloat16 is a dtype of it")
    w, y = np.ones((3, 2, 3), dtype), np.ones((1, 3, 4), dtype)
    w[1, 1, 0] = np.inf
    with np.errstate(invalid="ignore"):
        got, expected = (
            arrconv.conv_grad_input(w, y, input_size=(4,), padding=1, algorithm=algorithm)
            for algorithm in ("table", "taps")
        )
    assert np.isfinite(got.astype(complex)).tolist() == np.isfinite(expected.astype(complex)).tolist()
    assert np.isfinite(got.astype(complex)).any(axis=-1).tolist() == [[True, True]]
