"""`pad` index by index against the oracle's map, its adjoint in exact integers, and where a NaN goes."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import array_api_strict
import numpy as np
import oracle
import pytest

from arrconv import ConvSpec, Geometry
from arrconv.padding import pad, pad_adjoint

LIBRARIES = [pytest.param(np, id="numpy"), pytest.param(array_api_strict, id="strict")]
MODES = ["zeros", "circular", "reflect", "replicate"]
LEAD = (2, 3)  # batch and channels

Pads = tuple[tuple[int, int], ...]


def geometry_of(sizes: tuple[int, ...], padding: Pads, mode: str) -> Geometry:
    spec = ConvSpec.of(len(sizes), padding=padding, padding_mode=mode)  # type: ignore[arg-type]
    return Geometry.forward(spec, (*LEAD, *sizes), (1, LEAD[1], *(1,) * len(sizes)))


def sources(geometry: Geometry) -> list[list[int | None]]:
    """For each axis, the input that each padded position reads; None is a zero."""
    return [
        [oracle.source(i, a.input_size, geometry.padding_mode) for i in range(-a.begin, a.input_size + a.end)]
        for a in geometry.axes
    ]


def padded_shape(geometry: Geometry) -> tuple[int, ...]:
    return (*LEAD, *(len(reads) for reads in sources(geometry)))


def walk(geometry: Geometry) -> list[tuple[tuple[int, ...], tuple[int, ...] | None]]:
    """Every padded position with the input position it reads."""
    pairs = []
    for place in product(*(list(enumerate(reads)) for reads in sources(geometry))):
        read = [i for _, i in place]
        inside = [i for i in read if i is not None]
        pairs.append((tuple(at for at, _ in place), tuple(inside) if len(inside) == len(read) else None))
    return pairs


def integers(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Random integers without a zero, so that a zero in a result is one of the padding."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 1000, shape) * rng.choice([-1, 1], shape)


def geometries(mode: str, count: int) -> list[Geometry]:
    """One axis with every amount for short lengths, then random ones of two and three axes."""
    low = -5 if mode == "zeros" else 0
    found = [
        geometry_of((n,), ((begin, end),), mode)
        for n in range(1, 5)
        for begin in range(low, 2 * n + 3, 2)
        for end in range(low, 3 * n + 3, 3)
    ]
    rng = random.Random(mode)
    for number in range(count):
        sizes = tuple(rng.sample(range(1, 6), 2 + number % 2))
        most = 9 if len(sizes) == 2 else 4
        found.append(geometry_of(sizes, tuple((rng.randint(low, most), rng.randint(low, most)) for _ in sizes), mode))
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("xp", LIBRARIES)
def test_pad_reads_what_the_map_says(xp: Any, mode: str) -> None:
    for geometry in geometries(mode, 30):
        x = integers(geometry.input_shape, 1)
        got = np.asarray(pad(xp, xp.asarray(x), geometry))
        assert got.shape == padded_shape(geometry), str(geometry)
        assert got.shape[2:] == tuple(axis.padded_size for axis in geometry.axes), str(geometry)
        for place, read in walk(geometry):
            expected = np.zeros(LEAD) if read is None else x[(..., *read)]
            assert np.array_equal(got[(..., *place)], expected), (str(geometry), place)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("xp", LIBRARIES)
def test_the_adjoint_adds_up_what_was_read(xp: Any, mode: str) -> None:
    for geometry in geometries(mode, 30):
        z = integers(padded_shape(geometry), 2)
        expected = np.zeros(geometry.input_shape, np.int64)
        for place, read in walk(geometry):
            if read is not None:
                expected[(..., *read)] += z[(..., *place)]
        got = np.asarray(pad_adjoint(xp, xp.asarray(z), geometry))
        assert got.shape == geometry.input_shape, str(geometry)
        assert np.array_equal(got, expected), str(geometry)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("xp", LIBRARIES)
def test_the_adjoint_identity_in_exact_integers(xp: Any, mode: str) -> None:
    nonzero = 0
    for geometry in geometries(mode, 60):
        x, z = integers(geometry.input_shape, 3), integers(padded_shape(geometry), 4)
        form = int(np.sum(np.asarray(pad(xp, xp.asarray(x), geometry)) * z))
        assert form == int(np.sum(x * np.asarray(pad_adjoint(xp, xp.asarray(z), geometry)))), str(geometry)
        nonzero += form != 0
    assert nonzero > 60


@pytest.mark.parametrize("mode", MODES)
def test_amounts_far_beyond_the_size(mode: str) -> None:
    for n in (1, 2, 3, 5):
        geometry = geometry_of((n,), ((7 * n + 3, 111),), mode)
        x, z = integers(geometry.input_shape, n), integers(padded_shape(geometry), n)
        (reads,) = sources(geometry)
        expected = np.stack([np.zeros(LEAD) if i is None else x[..., i] for i in reads], axis=-1)
        assert np.array_equal(pad(np, x, geometry), expected)
        assert np.sum(expected * z) == np.sum(x * pad_adjoint(np, z, geometry))


@pytest.mark.parametrize(
    ("n", "pair"),
    [(5, (-2, -1)), (5, (-5, 0)), (5, (0, -5)), (5, (-3, -3)), (5, (-9, -9)), (2, (-3, 5)), (2, (5, -3)), (4, (-1, 2))],
)
@pytest.mark.parametrize("xp", LIBRARIES)
def test_crops_drop_and_their_adjoint_fills_with_zeros(xp: Any, n: int, pair: tuple[int, int]) -> None:
    geometry = geometry_of((n,), (pair,), "zeros")
    x = integers(geometry.input_shape, 5)
    wide = np.concatenate([np.zeros((*LEAD, 20)), x, np.zeros((*LEAD, 20))], axis=-1)
    first, stop = 20 - pair[0], 20 + n + pair[1]
    got = np.asarray(pad(xp, xp.asarray(x), geometry))
    assert np.array_equal(got, wide[..., first : max(first, stop)])
    back = np.asarray(pad_adjoint(xp, xp.asarray(got), geometry))
    kept = [first <= 20 + i < stop for i in range(n)]
    assert np.array_equal(back, np.where(kept, x, 0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("xp", LIBRARIES)
def test_a_padded_element_that_is_not_finite_reaches_its_source_alone(xp: Any, mode: str, value: float) -> None:
    for sizes, padding in (((3,), ((4, 7),)), ((2, 4), ((1, 3), (5, 0))), ((1, 3), ((2, 2), (1, 4)))):
        geometry = geometry_of(sizes, padding, mode)
        for place, read in walk(geometry):
            z = np.ones(padded_shape(geometry))
            z[(1, 2, *place)] = value
            got = np.asarray(pad_adjoint(xp, xp.asarray(z), geometry))
            expected = np.zeros(geometry.input_shape, bool)
            if read is not None:
                expected[(1, 2, *read)] = True
            assert np.array_equal(~np.isfinite(got), expected), (str(geometry), place)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("xp", LIBRARIES)
def test_an_input_that_is_not_finite_reaches_its_copies_alone(xp: Any, mode: str) -> None:
    geometry = geometry_of((2, 3), ((5, 1), (0, 7)), mode)
    for source in product(range(2), range(3)):
        x = np.ones(geometry.input_shape)
        x[(0, 1, *source)] = np.nan
        got = np.isnan(np.asarray(pad(xp, xp.asarray(x), geometry)))
        expected = np.zeros(padded_shape(geometry), bool)
        for place, read in walk(geometry):
            expected[(0, 1, *place)] = read == source
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("dtype", ["int8", "uint32", "float32", "complex128"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("xp", LIBRARIES)
def test_dtypes_stay_and_inputs_are_not_written_to(xp: Any, mode: str, dtype: str) -> None:
    geometry = geometry_of((3, 2), ((1, 4), (2, 0)), mode)
    for shape, function in ((geometry.input_shape, pad), (padded_shape(geometry), pad_adjoint)):
        array = np.abs(integers(shape, 6) % 3).astype(dtype)
        before = array.copy()
        assert np.asarray(function(xp, xp.asarray(array), geometry)).dtype == dtype
        assert np.array_equal(array, before)


@pytest.mark.parametrize("mode", MODES)
def test_an_axis_of_none_and_a_geometry_without_axes(mode: str) -> None:
    empty = geometry_of((0, 3), ((0, 0), (2, 1)), mode)
    assert pad(np, np.ones(empty.input_shape), empty).shape == (*LEAD, 0, 6)
    assert pad_adjoint(np, np.ones((*LEAD, 0, 6)), empty).shape == (*LEAD, 0, 3)
    point = geometry_of((), (), mode)
    x = integers(LEAD, 7)
    assert np.array_equal(pad(np, x, point), x)
    assert np.array_equal(pad_adjoint(np, x, point), x)
