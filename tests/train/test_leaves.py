"""Dead leaves: drawn alike for a seed, and with the statistics of photographs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from arrconv import SpecError
from arrconv.train import dead_leaves


def test_a_seed_decides_every_picture() -> None:
    pictures = dead_leaves(3, (24, 40), seed=5)
    assert pictures.shape == (3, 3, 24, 40)
    assert pictures.dtype == np.uint8
    assert np.array_equal(dead_leaves(5, (24, 40), seed=5)[:3], pictures)
    assert not np.array_equal(dead_leaves(3, (24, 40), seed=6), pictures)
    assert not np.array_equal(pictures[0], pictures[1])


def test_pictures_have_the_spectrum_of_photographs() -> None:
    """Their power falls with the square of the frequency, about: flat regions with edges at every scale."""
    pictures = dead_leaves(12, 128, seed=2).mean(axis=1) / 255
    window = np.hanning(128)[:, None] * np.hanning(128)
    power = (abs(np.fft.fft2((pictures - pictures.mean(axis=(1, 2), keepdims=True)) * window)) ** 2).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    rings = [(0.02, 0.04), (0.04, 0.08), (0.08, 0.16), (0.16, 0.32)]
    means = [power[(frequency >= low) & (frequency < high)].mean() for low, high in rings]
    slopes = np.diff(np.log2(means))
    assert (slopes < -0.7).all()
    assert -3.5 < slopes.mean() < -1.2


def test_pictures_use_the_whole_range() -> None:
    pictures = dead_leaves(8, 64, seed=1)
    assert pictures.min() == 0
    assert pictures.max() == 255
    assert 70 < pictures.mean() < 185
    assert 40 < pictures.std() < 110


def test_none_and_the_smallest() -> None:
    assert dead_leaves(0, 8).shape == (0, 3, 8, 8)
    assert dead_leaves(1, 1).shape == (1, 3, 1, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dead_leaves(-1), "count must be at least 0, but got -1"),
        (lambda: dead_leaves(1, 0), "size must be at least 1, but got 0"),
        (lambda: dead_leaves(1, (8, 2.5)), "size must be an integer, but got 2.5"),
        (lambda: dead_leaves(1, 8, seed=-3), "seed must be at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        call()
