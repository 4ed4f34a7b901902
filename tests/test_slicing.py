"""`restrict` and `extend`: each against a literal loop, and the two as adjoints of each other in exact integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import array_api_strict
import numpy as np
import pytest

from arrconv.slicing import extend, restrict

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARIES = [pytest.param(np, id="numpy"), pytest.param(array_api_strict, id="strict")]
AROUND = (3, 2)  # the sizes of the other axes


def slices(largest: int) -> Iterator[tuple[int, int, int, int]]:
    """Every (size, start, length, step) that stays inside; an empty one may start at the very end."""
    for size in range(largest + 1):
        for start in range(size + 1):
            for step in range(1, 5):
                for length in range(size + 1):
                    if length == 0 or start + step * (length - 1) < size:
                        yield size, start, length, step


CASES = list(slices(7))


def integers(xp: Any, seed: int, axis: int, size: int) -> tuple[np.ndarray, Any]:
    """Random integers, none of them zero, as a NumPy array and as one of the library."""
    rng = np.random.default_rng(seed)
    shape = (*AROUND[:axis], size, *AROUND[axis:])
    array = rng.integers(1, 100, shape) * rng.choice([-1, 1], shape)
    return array, xp.asarray(array)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("xp", LIBRARIES)
def test_restrict_reads_the_elements_one_by_one(xp: Any, axis: int) -> None:
    for case in CASES:
        size, start, length, step = case
        array, x = integers(xp, size, axis, size)
        got = np.asarray(restrict(x, axis, start, length, step))
        assert got.shape == (*AROUND[:axis], length, *AROUND[axis:]), case
        for number in range(length):
            expected = np.take(array, start + step * number, axis=axis)
            assert np.array_equal(np.take(got, number, axis=axis), expected), case


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("xp", LIBRARIES)
def test_extend_lays_the_elements_down_on_zeros(xp: Any, axis: int) -> None:
    for case in CASES:
        size, start, length, step = case
        array, y = integers(xp, length, axis, length)
        got = np.asarray(extend(xp, y, axis, start, size, step))
        assert got.shape == (*AROUND[:axis], size, *AROUND[axis:]), case
        laid = {start + step * number: number for number in range(length)}
        for place in range(size):
            expected = np.take(array, laid[place], axis=axis) if place in laid else np.zeros(AROUND)
            assert np.array_equal(np.take(got, place, axis=axis), expected), case


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("xp", LIBRARIES)
def test_the_two_are_adjoint(xp: Any, axis: int) -> None:
    nonzero = 0
    for case in CASES:
        size, start, length, step = case
        x_array, x = integers(xp, 1, axis, size)
        y_array, y = integers(xp, 2, axis, length)
        restricted = np.asarray(restrict(x, axis, start, length, step))
        extended = np.asarray(extend(xp, y, axis, start, size, step))
        form = int(np.sum(restricted * y_array))
        assert form == int(np.sum(x_array * extended)), case
        nonzero += form != 0
    assert nonzero > len(CASES) / 2


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("xp", LIBRARIES)
def test_gaps_are_zeros_beside_nan_and_not_products_with_it(xp: Any, step: int) -> None:
    y = xp.asarray(np.array([np.nan, np.inf, -np.inf]))
    got = np.asarray(extend(xp, y, 0, 2, 12, step))
    expected = np.zeros(12)
    expected[2], expected[2 + step], expected[2 + 2 * step] = np.nan, np.inf, -np.inf
    assert np.array_equal(got, expected, equal_nan=True)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "float32", "complex64"])
@pytest.mark.parametrize("xp", LIBRARIES)
def test_dtypes_stay(xp: Any, dtype: str) -> None:
    array = xp.asarray(np.arange(1, 6).astype(dtype))
    for got in (restrict(array, 0, 1, 2, 3), extend(xp, array, 0, 1, 11, 2), extend(xp, array[:0], 0, 1, 4)):
        assert np.asarray(got).dtype == dtype


def test_restrict_defaults_to_step_one_and_extend_too() -> None:
    assert restrict(np.arange(10), 0, 4, 3).tolist() == [4, 5, 6]
    assert extend(np, np.array([7, 8]), 0, 1, 5).tolist() == [0, 7, 8, 0, 0]
