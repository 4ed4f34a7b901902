"""Random numbers by a hash: against the hash in plain Python, and as evenly spread as they should be."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

from arrconv.functional.random import _hash, uniform

MASK = 2**32 - 1


def pcg(value: int) -> int:
    """The hash "pcg" of Jarzynski and Olano, in integers that are cut to 32 bits only where theirs overflow."""
    state = (value * 747796405 + 2891336453) % 2**32
    word = ((state >> ((state >> 28) + 4)) ^ state) * 277803737 % 2**32
    return (word >> 22) ^ word


def test_the_hash_is_the_same_for_integers_and_arrays() -> None:
    values = [0, 1, 2, 12345, 2**31 - 1, 2**31, MASK]
    expected = [pcg(value) for value in values]
    assert [_hash(value) for value in values] == expected
    for library in (np, array_api_strict):
        found = _hash(library.asarray(values, dtype=library.int64))
        assert [int(found[number]) for number in range(len(values))] == expected
    assert all(0 <= value <= MASK for value in expected)


def test_the_hash_is_one_to_one() -> None:
    values = np.arange(2**20, dtype=np.int64)
    assert len(np.unique(_hash(values))) == len(values)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_below_one_and_exact_in_float32(dtype: str) -> None:
    numbers = uniform(np, (1000, 300), 1, dtype=dtype, device=None)
    assert numbers.dtype == dtype
    assert numbers.shape == (1000, 300)
    assert 0 <= numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() < 1
    assert np.array_equal(numbers * 2**24, np.rint(numbers * 2**24))
    assert abs(numbers.mean(dtype=np.float64) - 0.5) < 4 * np.sqrt(1 / 12 / numbers.size)
    counts, _ = np.histogram(numbers, bins=1000, range=(0, 1))
    assert abs(((counts - 300.0) ** 2 / 300.0).sum() - 999) < 5 * np.sqrt(2 * 999)


def test_every_part_of_a_key_counts() -> None:
    keys = [(0,), (1,), (0, 0), (0, 1), (1, 0), (-1,), (2**32,), (2**32 - 1,), (2**40, 3), ()]
    drawn = {uniform(np, (4,), *key, dtype="float64", device=None).tobytes() for key in keys}
    assert len(drawn) == len(keys)


def test_streams_are_not_alike() -> None:
    a, b = (uniform(np, (20_000,), 5, part, dtype="float64", device=None) for part in (0, 1))
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(a.size)
    assert abs(np.corrcoef(a[1:], b[:-1])[0, 1]) < 4 / np.sqrt(a.size)
