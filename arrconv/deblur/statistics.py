"""What a blurred picture says about itself: the noise in it, and the spectrum of what was blurred."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLOCKED = 0.05  # the share of frequencies, those that a kernel lets through least, which noise is found by
_SEEN = 0.1  # of the largest power that a kernel lets through; less says little about the scene
_RINGS, _FEWEST = 12, 8  # rings of frequencies, and how many frequencies one needs


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """The power of a scene at the frequency f, in cycles per pixel: scale·f^−exponent, per pixel.

    Source: D. J. Field, "Relations between the statistics of natural images and the response properties of cortical
    cells", 1987.

    Attributes:
        scale, exponent: these.
    """

    scale: float
    exponent: float

    def spectrum(self, size: Sequence[int]) -> np.ndarray:
        """It at the frequencies that `rfftn` gives for arrays of a size; at 0 as at the lowest other one.

        >>> PowerLaw(1.0, 2.0).spectrum((1, 4))
        array([[16., 16.,  4.]])
        """
        squares = _squares(size)
        squares[0, 0] = 1 / max(2, *size) ** 2
        found: np.ndarray = self.scale * squares ** (-self.exponent / 2)
        return found


def noise_of(picture: np.ndarray, kernel: np.ndarray) -> float:
    """The standard deviation of white noise in a picture that a known kernel has blurred.

    At the frequencies that the kernel blocks there is nothing but noise. Its power has an exponential distribution,
    whose median is ln 2 times its mean; the median is little moved by what comes through after all.

    Args:
        picture: float64 (C, H, W).
        kernel: no larger than the picture.

    Returns:
        A standard deviation, in the unit of the picture.

    >>> noise = 0.1 * np.random.default_rng(0).standard_normal((3, 60, 80))
    >>> round(noise_of(noise, np.ones((5, 5)) / 25), 2)
    0.1
    """
    passed = np.abs(np.fft.rfft2(kernel, picture.shape[1:]))
    blocked = passed <= np.quantile(passed, _BLOCKED)
    return math.sqrt(float(np.median(_periodograms(picture)[:, blocked])) / math.log(2))


def power_law_of(picture: np.ndarray, kernel: np.ndarray, noise: float) -> PowerLaw:
    """The power law that is nearest to what a known kernel and white noise have left of a scene's spectrum.

    On each ring of frequencies that the kernel lets through the power S of the scene is that with the least
    Σ(|Y|² − |K|²·S − noise²)²; a straight line is laid through log S over log f. Where fewer than three rings have more
    power than noise, the exponent is 2, and the scale such that the picture's variance is met.

    Args:
        picture: float64 (C, H, W); the power is the mean over channels.
        kernel: no larger than the picture.
        noise: its standard deviation.

    Returns:
        A `PowerLaw`, whose exponent is from 0.5 to 4.
    """
    size, signal = picture.shape[1:], _periodograms(picture).mean(0) - noise**2
    passed, distance = np.abs(np.fft.rfft2(kernel, size)) ** 2, np.sqrt(_squares(size))
    edges = np.geomspace(min(0.1, 4 / min(size)), 0.5, _RINGS + 1)
    rings = [
        ring
        for low, high in pairwise(edges)
        if (ring := (low <= distance) & (distance < high) & (passed > _SEEN * passed.max())).sum() >= _FEWEST
    ]
    powers = [np.sum(signal[ring] * passed[ring]) / np.sum(passed[ring] ** 2) for ring in rings]
    points = [
        (np.mean(np.log(distance[ring])), math.log(power))
        for ring, power in zip(rings, powers, strict=True)
        if power > noise**2
    ]
    if len(points) < 3:
        unit = PowerLaw(1.0, 2.0)
        seen = float(np.mean(passed * unit.spectrum(size)))
        return PowerLaw(max(float(picture.var(axis=(1, 2)).mean()) - noise**2, noise**2) / seen, 2.0)
    places, logs = (np.asarray(part) for part in zip(*points, strict=True))
    slope = float(np.clip(np.polyfit(places, logs, 1)[0], -4.0, -0.5))
    return PowerLaw(math.exp(float(np.mean(logs - slope * places))), -slope)


def _periodograms(picture: np.ndarray) -> np.ndarray:
    """The power of each channel at each frequency, per pixel; a window keeps the borders from spreading over all."""
    rows, columns = (np.hanning(n + 2)[1:-1] for n in picture.shape[1:])
    window = np.outer(rows, columns)
    shades = picture - picture.mean(axis=(1, 2), keepdims=True)
    found: np.ndarray = np.abs(np.fft.rfft2(shades * window)) ** 2 / np.sum(window**2)
    return found


def _squares(size: Sequence[int]) -> np.ndarray:
    """The squared distance of each frequency from 0, in cycles per pixel."""
    height, width = size
    found: np.ndarray = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width) ** 2
    return found
