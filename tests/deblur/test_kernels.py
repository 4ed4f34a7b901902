"""Kernels of blur: exact where they can be, and against a line of many points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from arrconv.deblur.kernels import gaussian, motion, read_kernel
from arrconv.errors import ArrconvError

if TYPE_CHECKING:
    from pathlib import Path


def line_of_points(length: float, angle: float, size: tuple[int, ...]) -> np.ndarray:
    """How many of many points on a line are nearest to each pixel."""
    places = (np.arange(200_000) + 0.5) / 200_000 * length - length / 2
    y, x = -places * math.sin(math.radians(angle)), places * math.cos(math.radians(angle))
    edges = [np.arange(n + 1) - n / 2 for n in size]
    return np.histogram2d(y, x, bins=edges)[0] / 200_000


def test_motion_along_an_axis_is_a_row_of_equal_numbers() -> None:
    assert np.allclose(motion(15, 0), np.full((1, 15), 1 / 15), rtol=1e-14)
    assert np.allclose(motion(4, 0), [[0.125, 0.25, 0.25, 0.25, 0.125]], rtol=1e-14)
    assert np.array_equal(motion(0.7, 33), [[1.0]])


def test_motion_along_a_diagonal_passes_from_corner_to_corner() -> None:
    rising = [[0, 0, 1 / 3], [0, 1 / 3, 0], [1 / 3, 0, 0]]
    assert np.allclose(motion(3 * math.sqrt(2), 45), rising, atol=1e-14)


@pytest.mark.parametrize(("length", "angle"), [(15, 30), (8.3, 71), (6, 135), (21, -10), (2.5, 200)])
def test_motion_has_in_each_pixel_the_share_of_the_line(length: float, angle: float) -> None:
    kernel = motion(length, angle)
    assert kernel.sum() == pytest.approx(1, rel=1e-13)
    assert np.allclose(kernel, line_of_points(length, angle, kernel.shape), atol=2e-5)


@pytest.mark.parametrize("angle", [0, 30, 45, 77.7])
def test_turned_motion_is_the_turned_kernel(angle: float) -> None:
    kernel = motion(9.4, angle)
    assert np.allclose(motion(9.4, angle + 90), np.rot90(kernel), atol=1e-13)
    assert np.allclose(motion(9.4, angle + 180), kernel, atol=1e-13)
    assert np.allclose(motion(9.4, -angle), kernel[::-1], atol=1e-13)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.2])
def test_a_gaussian_falls_as_it_should(sigma: float) -> None:
    kernel = gaussian(sigma)
    middle = len(kernel) // 2
    assert kernel.shape == (2 * math.ceil(4 * sigma) + 1,) * 2
    assert kernel.sum() == pytest.approx(1, rel=1e-14)
    for y, x in ((1, 0), (0, 2), (1, 2)):
        ratio = kernel[middle + y, middle + x] / kernel[middle, middle]
        assert ratio == pytest.approx(math.exp(-(y * y + x * x) / (2 * sigma**2)), rel=1e-12)


def test_kernels_are_read(tmp_path: Path) -> None:
    assert np.array_equal(read_kernel("gaussian:1.5"), gaussian(1.5))
    assert np.array_equal(read_kernel("motion:7,-20"), motion(7, -20))
    array = np.asarray([[1, 2, 3], [0, -1, 5]], np.int16)
    np.save(tmp_path / "kernel.npy", array)
    found = read_kernel(str(tmp_path / "kernel.npy"))
    assert found.dtype == np.float64
    assert np.array_equal(found, array)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gauss:2", "kernel 'gauss:2' is unknown; there are gaussian:SIGMA, motion:LENGTH,ANGLE and FILE.npy"),
        ("gaussian:wide", "kernel 'gaussian:wide' is unknown"),
        ("motion:15", "kernel 'motion:15' is unknown"),
        ("gaussian:-1", "sigma must be above 0 and finite, but got -1.0"),
        ("gaussian:inf", "sigma must be above 0 and finite, but got inf"),
        ("motion:0,30", "length must be above 0 and finite, but got 0.0"),
        ("motion:5,nan", "angle must be finite, but got nan"),
    ],
)
def test_texts_that_name_no_kernel_are_refused(text: str, message: str) -> None:
    with pytest.raises(ArrconvError) as raised:
        read_kernel(text)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(3), r"must have two axes with elements, but its shape is \(3,\)"),
        (np.ones((0, 3)), r"must have two axes with elements, but its shape is \(0, 3\)"),
        (np.ones((2, 3), complex), "must be of real numbers, but its dtype is complex128"),
        (np.asarray([[1.0, np.nan]]), "must be finite, and not 0 everywhere"),
        (np.zeros((2, 3)), "must be finite, and not 0 everywhere"),
    ],
)
def test_files_that_hold_no_kernel_are_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "kernel.npy", array)
    with pytest.raises(ArrconvError, match=message):
        read_kernel(str(tmp_path / "kernel.npy"))
