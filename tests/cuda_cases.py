"""What the engines in CUDA are tested with: geometries, whole numbers with their results, and arrays in any order."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rational

import arrconv
from arrconv import Geometry
from tests import oracle

if TYPE_CHECKING:
    from collections.abc import Callable

    from test_laws import Library

NARROW = [
    "n=2 c=3 o=5 x=9,8 k=3,2 p=1:2,0 s=2,1 d=1,2",
    "n=2 c=6 o=12 g=6 x=9,7 k=3,2 p=1",
    "n=3 c=2 o=7 x=23 k=4 s=3 d=2 p=2:5",
    "n=2 c=1 o=3 x=5,4,6 k=2,3,2 s=1,2,1 p=1:0,2,-1:1",
    "n=2 c=2 o=3 x=0,5 k=2,2 p=1",
]
WIDE = [
    "n=2 c=5 o=7 x=9,8 k=3,2 p=1:2,0 s=2,1 d=1,2",
    "n=3 c=12 o=10 g=2 x=7,5 k=2,3 s=2,3 p=1,2:0",  # phases that are one correlation
    "n=4 c=5 o=6 x=17 k=4 s=3 d=2 p=2:5",
    "n=2 c=5 o=6 x=4,3,5 k=2,3,2 s=1,2,1 p=1:0,2,-1:1",
    "n=9 c=5 o=6 x=4,3 k=2,3 p=1",  # images side by side
    "n=1 c=5 o=6 x=6,7 k=2,2 s=4,3",  # inputs that no tap reaches
    "n=2 c=6 o=5 x=2,1,4,3 k=2,1,2,3 p=1:0,0,0,1 s=1,1,2,1",
    "n=2 c=6 o=5 x=9,8 k=1,1",  # columns that are the source itself
]
DEGENERATE = [
    "n=2 c=5 o=6 x=- k=-",
    "n=2 c=0 o=3 x=6,5 k=2,2",
    "n=0 c=5 o=6 x=6,5 k=2,2",
    "n=2 c=5 o=6 x=3,2 k=2,4",
]
VIEWS: dict[str, tuple[Any, Any]] = {
    "inside NaNs": (lambda a: np.pad(a, 1, constant_values=np.nan), lambda a: a[(slice(1, -1),) * a.ndim]),
    "backwards": (lambda a: np.ascontiguousarray(np.flip(a)), lambda a: a[(slice(None, None, -1),) * a.ndim]),
    "every second": (lambda a: np.repeat(a, 2, 1), lambda a: a[:, ::2]),
    "transposed": (lambda a: np.ascontiguousarray(a.T), lambda a: a.T),
}


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype of a name; a test of bfloat16 is skipped where there is none."""
    if name == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed; bfloat16 is a dtype of it")
    return rational.dtype_of(name)


@cache
def solved(case: str, dtype: str) -> tuple[list[Any], list[Any]]:
    """x, w and y, and the results of the literal loop; whole numbers so small that no result is rounded."""
    g, rng = Geometry.parse(case), np.random.default_rng(5)
    most = {"float16": 1, "bfloat16": 1, "int64": 2**62}.get(dtype, 9)
    least = 0 if dtype == "uint8" else -most
    numbers = []
    for shape in (g.input_shape, g.weight_shape, g.output_shape):
        real, imaginary = rng.integers(least, most + 1, (2, *shape))
        numbers.append(real + 1j * imaginary if dtype.startswith("complex") else real)
    options: Any = g.options
    x, w, y = (array.astype(object) for array in numbers)
    expected = [
        oracle.conv(x, w, None, **options),
        oracle.transpose_input(np.conj(w), y, g.input_size, **options),
        oracle.transpose_weight(np.conj(x), y, g.kernel_size, **options),
    ]
    return [array.astype(dtype_of(dtype)) for array in numbers], expected


def results(g: Geometry, *arrays: Any, algorithm: str) -> list[Any]:
    return [call() for call in calls(g, *arrays, algorithm=algorithm)]


def calls(g: Geometry, x: Any, w: Any, y: Any, algorithm: str) -> list[Callable[[], Any]]:
    options: dict[str, Any] = {**g.options, "algorithm": algorithm}
    return [
        partial(arrconv.conv, x, w, **options),
        partial(arrconv.conv_grad_input, w, y, input_size=g.input_size, **options),
        partial(arrconv.conv_grad_weight, x, y, kernel_size=g.kernel_size, **options),
    ]


def assert_right(library: Library, case: str, dtype: str = "float32") -> None:
    arrays, expected = solved(case, dtype)
    found = results(Geometry.parse(case), *map(library.put, arrays), algorithm=library.algorithm)
    for got, right in zip(map(library.get, found), expected, strict=True):
        assert got.shape == right.shape
        if dtype == "int64":  # exact modulo 2^64
            right = np.vectorize(lambda number: (number + 2**63) % 2**64 - 2**63, otypes=[object])(right)
        assert (got == right).all()


def assert_right_in_any_order(library: Library, case: str, view: str) -> None:
    """Of arrays that lie in memory in a way of `VIEWS`."""
    build, look = VIEWS[view]
    arrays, expected = solved(case, "float32")
    viewed = [look(library.put(build(array))) for array in arrays]
    assert all((library.get(found) == array).all() for found, array in zip(viewed, arrays, strict=True))
    found = results(Geometry.parse(case), *viewed, algorithm=library.algorithm)
    assert all((library.get(got) == right).all() for got, right in zip(found, expected, strict=True))


def assert_spreads_as_it_should(library: Library, case: str, value: float) -> None:
    """A number that is not finite; also through weights into the border, where ∂T/∂x must not see zeros."""
    g = Geometry.parse(case)
    for number in range(3):
        arrays = [array.copy() for array in solved(case, "float32")[0]]
        arrays[number][tuple(size // 2 for size in arrays[number].shape)] = value
        with np.errstate(invalid="ignore"):
            found = results(g, *map(library.put, arrays), algorithm=library.algorithm)
            expected = results(g, *arrays, algorithm="taps")
        for got, right in zip(map(library.get, found), expected, strict=True):
            assert np.array_equal(got, right, equal_nan=True)
