"""The layouts: the same values in another place, with what lies beside them visible to whoever reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arrconv_conformance.data import DTYPES, is_available, numpy_dtype
from arrconv_conformance.layouts import LAYOUTS, buffer_of, laid_out

SHAPES = [(3, 5), (2, 3, 4), (3, 4, 5, 2), (2, 3, 1, 5, 4)]
HERE = [dtype for dtype in DTYPES if is_available(dtype)]


def array(shape: tuple[int, ...], dtype: str = "float32") -> Any:
    return np.random.default_rng(7).integers(0, 99, shape).astype(numpy_dtype(dtype))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_values_and_their_order_stay(layout: str, shape: tuple[int, ...]) -> None:
    given = array(shape)
    copy = given.copy()
    view = laid_out(given, layout)
    assert (view.shape, view.dtype) == (given.shape, given.dtype)
    wanted = np.broadcast_to(given[:1], shape) if layout == "broadcast" else given
    assert np.array_equal(view, wanted)
    assert np.array_equal(given, copy)
    assert not np.shares_memory(given, view)


def elements(view: Any) -> list[int]:
    """The steps in memory from an element to the next along each axis, counted in elements."""
    return [step // view.itemsize for step in view.strides]


@pytest.mark.parametrize(
    ("layout", "steps"),
    [
        ("plain", [60, 20, 5, 1]),
        ("last", [60, 1, 15, 3]),
        ("slice", [100, 1, 25, 5]),
        ("fortran", [1, 2, 6, 24]),
        ("reversed", [-60, -20, -5, -1]),
        ("strided", [2 * 7 * 9 * 11, 2 * 9 * 11, 2 * 11, 2]),
        ("offset", [5 * 6 * 7, 6 * 7, 7, 1]),
        ("readonly", [60, 20, 5, 1]),
        ("broadcast", [0, 20, 5, 1]),
    ],
)
def test_where_the_elements_lie(layout: str, steps: list[int]) -> None:
    view = laid_out(array((2, 3, 4, 5)), layout)
    assert elements(view) == steps
    assert view.flags.writeable == (layout not in ("readonly", "broadcast"))


@pytest.mark.parametrize("layout", ["strided", "offset", "slice"])
@pytest.mark.parametrize("dtype", HERE)
def test_what_lies_beside_the_elements_shows_itself(layout: str, dtype: str) -> None:
    view = laid_out(np.zeros((2, 3, 4), numpy_dtype(dtype)), layout)
    buffer = buffer_of(view)
    assert buffer.size > view.size
    beside = buffer[buffer != 0]
    assert beside.size == buffer.size - view.size
    if np.dtype(view.dtype).kind in "iu":
        assert np.all(beside == np.iinfo(dtype).max)
    else:
        assert np.all(np.isnan(beside))


def test_an_offset_array_begins_at_an_odd_address() -> None:
    view = laid_out(array((2, 3, 4), "float32"), "offset")
    start = view.__array_interface__["data"][0] - buffer_of(view).__array_interface__["data"][0]
    assert start == 4 * (1 * 5 * 6 + 1 * 6 + 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_has_no_channels_or_no_elements_is_plain(layout: str) -> None:
    for shape in [(7,), (), (2, 0, 3), (0, 4)]:
        given = np.ones(shape, np.float32)
        view = laid_out(given, layout)
        assert np.array_equal(view, given)
        assert view.shape == shape
        assert view.flags.c_contiguous
        assert view.flags.writeable == (layout != "readonly")


def test_the_buffer_is_the_outermost_one() -> None:
    given = array((4, 6))
    assert buffer_of(given) is given
    assert buffer_of(given[1:, ::2].T[::-1]) is given
    for layout in LAYOUTS:
        view = laid_out(given, layout)
        assert np.shares_memory(buffer_of(view), view)
        assert not isinstance(buffer_of(view).base, np.ndarray)
