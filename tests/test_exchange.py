"""What is put together of parts: an array with gaps and what belongs in them, and complex numbers."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import array_api_strict
import ml_dtypes
import numpy as np
import pytest

from arrconv._namespace import Backend, backend_of
from arrconv.slicing import filled

SPECIAL = [0.0, -0.0, 1.5, -(2.0**-149), 3e38, math.inf, -math.inf, math.nan]


@pytest.fixture(params=["numpy", "strict", "torch"])
def xp(request: pytest.FixtureRequest) -> Any:
    """The namespace that the library under test finds for an array."""
    if request.param == "torch":
        return backend_of(x=pytest.importorskip("torch", reason="PyTorch is not installed").zeros(1)).xp
    return backend_of(x={"numpy": np, "strict": array_api_strict}[request.param].zeros(1)).xp


def backend(xp: Any, dtype: str) -> Backend:
    return backend_of(x=xp.zeros(1, dtype=getattr(xp, dtype)))


def same(got: Any, expected: Any) -> bool:
    """Equal, NaN included, and of one dtype."""
    got, expected = np.asarray(got), np.asarray(expected)
    return got.dtype == expected.dtype and np.array_equal(got, expected, equal_nan=True)


# Arrays with gaps


@pytest.mark.parametrize("count", [0, 1, 2, 3, 100])
def test_filled_puts_values_in_the_gaps_in_order_and_nowhere_else(xp: Any, count: int) -> None:
    rng = np.random.default_rng(count)
    for size in {count, count + 1, 2 * count + 3, 500}:
        spread = rng.choice(size, count, replace=False)
        for places in (np.sort(spread), np.arange(count), np.arange(size - count, size)):
            array, values, gaps = rng.standard_normal(size), rng.standard_normal(count), np.zeros(size, dtype=bool)
            expected = array.copy()
            for place, value in zip(places, values, strict=True):
                expected[place], gaps[place] = value, True
            given = [xp.asarray(part.copy()) for part in (array, gaps, values)]
            assert same(filled(xp, *given), expected), (size, places)
            assert all(same(*pair) for pair in zip(given, (array, gaps, values), strict=True))


def test_filled_keeps_what_is_not_finite_where_it_is(xp: Any) -> None:
    array, gaps = np.resize([math.nan, 1.0, math.inf, -0.0], 60), np.resize([False, True], 60)
    values = np.resize([-math.inf, -0.0, math.nan], 30)
    got = np.asarray(filled(xp, xp.asarray(array), xp.asarray(gaps), xp.asarray(values)))
    assert same(got[::2], array[::2])
    assert same(got[1::2], values)
    numbers = ~np.isnan(values)
    assert np.array_equal(np.signbit(got[1::2])[numbers], np.signbit(values)[numbers])


# Complex numbers and their parts


def numbers(dtype: str) -> np.ndarray:
    """All pairs of special values."""
    pairs = np.asarray(list(product(SPECIAL, repeat=2)))
    return pairs.astype("f4" if dtype == "complex64" else "f8").view(dtype)[:, 0]


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_parts_of_complex_numbers_are_those_and_come_together_again(xp: Any, dtype: str) -> None:
    array, ours = numbers(dtype), backend(xp, dtype)
    real, imaginary = ours.real_parts(xp.asarray(array))
    assert same(real, array.real.astype("f8"))
    assert same(imaginary, array.imag.astype("f8"))
    for shape in ((-1,), (4, -1), (4, 1, -1)):
        again = ours.of_parts(xp.reshape(real, shape), xp.reshape(imaginary, shape))
        assert same(again, array.reshape(shape))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_nothing_leaks_from_one_part_into_the_other(xp: Any, dtype: str) -> None:
    """In arithmetic 1j·∞ has a real part, which is NaN."""
    ours = backend(xp, dtype)
    for special in (math.inf, -math.inf, math.nan):
        pair = xp.asarray([1.0, special, special]), xp.asarray([special, 2.0, -special])
        got = np.asarray(ours.of_parts(*(xp.astype(part, xp.float64) for part in pair)))
        assert same(got.real, np.asarray([1.0, special, special], got.real.dtype))
        assert same(got.imag, np.asarray([special, 2.0, -special], got.imag.dtype))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_zeros_keep_their_signs(xp: Any, dtype: str) -> None:
    """Beside any other part."""
    array = numbers(dtype)
    parts = [part.astype("f8") for part in (array.real, array.imag)]
    got = np.asarray(backend(xp, dtype).of_parts(*map(xp.asarray, parts)))
    for ours, given in zip((got.real, got.imag), parts, strict=True):
        present = ~np.isnan(given)
        assert np.array_equal(np.signbit(ours[present]), np.signbit(given[present]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_real_array_is_its_only_part(xp: Any, dtype: str) -> None:
    array = np.asarray([SPECIAL, SPECIAL[::-1]]).astype(dtype)
    ours = backend(xp, dtype)
    (part,) = ours.real_parts(xp.asarray(array))
    assert same(part, array.astype("f8"))
    assert same(ours.of_parts(part), array)
    assert np.array_equal(np.signbit(np.asarray(ours.of_parts(part))), np.signbit(array))


def test_16_bit_floats_are_their_only_part() -> None:
    for dtype in (np.float16, ml_dtypes.bfloat16):
        array = np.asarray([1.5, -0.0, math.inf, math.nan, 2.0**-20]).astype(dtype)
        ours = backend_of(x=array)
        (part,) = ours.real_parts(array)
        assert same(part, array.astype("f8"))
        assert same(ours.of_parts(part), array)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_floats_of_torch_are_their_only_part(dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    array = torch.asarray([1.5, -0.0, math.inf, 2.0**-20], dtype=getattr(torch, dtype))
    ours = backend_of(x=array)
    (part,) = ours.real_parts(array)
    assert part.dtype == torch.float64
    assert ours.of_parts(part).dtype == array.dtype
    assert torch.equal(ours.of_parts(part), array)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_no_numbers_have_parts_too(xp: Any, dtype: str) -> None:
    ours = backend(xp, dtype)
    real, imaginary = ours.real_parts(xp.zeros((0, 3), dtype=getattr(xp, dtype)))
    assert ours.of_parts(real, imaginary).shape == (0, 3)


def test_the_widest_backend_has_the_same_library_and_device(xp: Any) -> None:
    for dtype, wide in [("float32", "float64"), ("float64", "float64"), ("complex64", "complex128")]:
        ours = backend(xp, dtype)
        widest = ours.widest()
        assert widest.dtype == wide
        assert widest.result == widest.accumulator == getattr(xp, wide)
        assert (widest.xp, widest.library, widest.device) == (ours.xp, ours.library, ours.device)
        assert widest.is_complex == ours.is_complex
        assert widest.widest() == widest
    array = np.asarray([2.0**-1074 - 1j, 1 + 2.0**-52 * 1j, -1e308 + 1e-308j])
    real, imaginary = xp.asarray(array.real.copy()), xp.asarray(array.imag.copy())
    assert same(backend(xp, "complex64").widest().of_parts(real, imaginary), array)
