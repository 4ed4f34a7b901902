"""Kernels of blur, and how a command names them."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np

from arrconv.errors import DTypeError, ShapeError, SpecError
from arrconv.train.sources import read_npy

_REACH = 4.0  # standard deviations of a Gaussian that are kept on each side


def gaussian(sigma: float) -> np.ndarray:
    """A Gaussian, sampled at whole pixels up to four standard deviations away, whose sum is 1.

    Args:
        sigma: its standard deviation in pixels, above 0.

    Returns:
        float64 (n, n), n odd.

    Raises:
        SpecError: sigma is not above 0, or not finite.

    >>> gaussian(0.5).shape, round(float(gaussian(0.5)[2, 2]), 6)
    ((5, 5), 0.618694)
    """
    _check_positive("sigma", sigma)
    places = np.arange(-math.ceil(_REACH * sigma), math.ceil(_REACH * sigma) + 1)
    line = np.exp(-0.5 * (places / sigma) ** 2)
    kernel: np.ndarray = np.outer(line, line) / line.sum() ** 2
    return kernel


def motion(length: float, angle: float) -> np.ndarray:
    """Motion along a straight line: each pixel has the share of the line that lies in it, so that the sum is 1.

    Args:
        length: of the line, in pixels, above 0.
        angle: between it and the rows, in degrees, counter-clockwise.

    Returns:
        float64, of odd sizes, with the middle of the line in the middle.

    Raises:
        SpecError: an argument is not finite, or the length not above 0.

    >>> motion(4, 90)
    array([[0.125],
           [0.25 ],
           [0.25 ],
           [0.25 ],
           [0.125]])
    """
    _check_positive("length", length)
    if not math.isfinite(angle):
        raise SpecError(f"angle must be finite, but got {angle!r}")
    turn = math.radians(angle % 180)
    direction = [0.0 if abs(part) < 1e-12 else part for part in (-math.sin(turn), math.cos(turn))]
    reach = [max(0, math.ceil(abs(part) * length / 2 - 0.5 - 1e-9)) for part in direction]
    cuts = [-length / 2, length / 2]  # along the line, where it ends and where it goes from pixel to pixel
    for part, most in zip(direction, reach, strict=True):
        if part:
            cuts += [cut for edge in np.arange(-most, most) + 0.5 if abs(cut := edge / part) < length / 2]
    cuts = sorted(cuts)
    kernel = np.zeros([2 * most + 1 for most in reach])
    for start, end in pairwise(cuts):
        y, x = (round((start + end) / 2 * part) + most for part, most in zip(direction, reach, strict=True))
        kernel[y, x] += (end - start) / length
    return kernel


def read_kernel(text: str) -> np.ndarray:
    """The kernel that a text names: "gaussian:SIGMA", "motion:LENGTH,ANGLE", or the name of an npy file.

    Args:
        text: one of these. The array of a file is taken as it is: convolved with, its middle at n//2 of each axis.

    Returns:
        float64 (height, width).

    Raises:
        SpecError: the text names no kernel, a number has no meaning, or the file holds something else.
        FileNotFoundError: there is no such file.
        ShapeError: the array has not two axes, or an axis of no elements.
        DTypeError: it is not of real numbers.

    >>> read_kernel("motion:3,0").round(6)
    array([[0.333333, 0.333333, 0.333333]])
    """
    if text.endswith(".npy"):
        return _checked(text, read_npy(Path(text)))
    name, _, rest = text.partition(":")
    try:
        match name, [float(part) for part in rest.split(",")]:
            case "gaussian", [sigma]:
                return gaussian(sigma)
            case "motion", [length, angle]:
                return motion(length, angle)
    except ValueError as reason:
        if isinstance(reason, SpecError):
            raise
    raise SpecError(f"kernel {text!r} is unknown; there are gaussian:SIGMA, motion:LENGTH,ANGLE and FILE.npy")


def _checked(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim != 2 or 0 in array.shape:
        raise ShapeError(f"the kernel in {name} must have two axes with elements, but its shape is {array.shape}")
    if array.dtype.kind not in "iuf":
        raise DTypeError(f"the kernel in {name} must be of real numbers, but its dtype is {array.dtype}")
    kernel = array.astype(np.float64)
    if not np.isfinite(kernel).all() or not kernel.any():
        raise SpecError(f"the kernel in {name} must be finite, and not 0 everywhere")
    return kernel


def _check_positive(name: str, number: float) -> None:
    if not 0 < number < math.inf:
        raise SpecError(f"{name} must be above 0 and finite, but got {number!r}")
