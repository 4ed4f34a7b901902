"""Dead leaves: pictures of discs that hide one another, whose statistics are those of photographs; no data needed.

Radii r have the density r^−3, which makes the picture look alike at every scale; each disc has a colour, a shade that
changes across it and a texture. What a denoiser learns from them is nearly what it learns from photographs.
"""

from __future__ import annotations

import numpy as np

from arrconv.spec import as_int

_SMALLEST = 3.0  # radius, in pixels of the picture
_FINER = 2  # discs are drawn on a grid so many times as fine, and averaged, so that edges are soft
_COVERED = 0.9995  # of the picture, before what is left shows the background


def dead_leaves(count: int, size: int | tuple[int, int] = 128, *, seed: int = 0) -> np.ndarray:
    """Draw pictures, each from a stream of its own, so that more of them begin with the same.

    Args:
        count: how many, not negative.
        size: their height and width in pixels, at least 1.
        seed: any integer that is not negative.

    Returns:
        uint8 (count, 3, height, width), values from 0 to 255.

    Raises:
        SpecError: an argument has no meaning.

    Source: A. B. Lee, D. Mumford, J. Huang, "Occlusion models for natural images", 2001; R. Achddou, Y. Gousseau, S.
    Ladjal, "Synthetic images as a regularity prior for image restoration neural networks", 2021.

    >>> dead_leaves(2, (32, 48), seed=1).shape
    (2, 3, 32, 48)
    """
    count, seed = as_int(count, "count", 0), as_int(seed, "seed", 0)
    height, width = (as_int(n, "size", 1) for n in ((size, size) if isinstance(size, int) else size))
    pictures = np.empty((count, 3, height, width), np.uint8)
    for number in range(count):
        pictures[number] = _picture(np.random.default_rng((seed, number)), height, width)
    return pictures


def _picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """One picture: discs from front to back, each only where nothing is in front of it."""
    shape = (height * _FINER, width * _FINER)
    canvas = np.empty((3, *shape), np.float32)
    canvas[...] = rng.uniform(0, 1, (3, 1, 1))
    is_free = np.ones(shape, bool)
    # Brightness varies more than colour, and discs of one picture share their colours.
    palette = (rng.beta(1.2, 1.2, (16, 1)) + rng.normal(0, 0.1, (16, 3))).astype(np.float32)
    smallest = _SMALLEST * _FINER
    largest = max(2 * smallest, max(shape) / 2)
    left = is_free.size * (1 - _COVERED)
    free = is_free.size
    while free > left:
        for radius in _radii(rng, smallest, largest, 256):
            free -= _draw(rng, canvas, is_free, float(radius), palette)
    fine = canvas.reshape(3, height, _FINER, width, _FINER).mean(axis=(2, 4))
    pixels: np.ndarray = np.clip(np.rint(fine * 255), 0, 255).astype(np.uint8)
    return pixels


def _radii(rng: np.random.Generator, smallest: float, largest: float, count: int) -> np.ndarray:
    """Radii of the density r^−3 between two limits."""
    low, high = largest**-2, smallest**-2
    radii: np.ndarray = rng.uniform(low, high, count) ** -0.5
    return radii


def _draw(rng: np.random.Generator, canvas: np.ndarray, is_free: np.ndarray, radius: float, palette: np.ndarray) -> int:
    """Draw one disc where the canvas is free; how many elements it took."""
    middle = [rng.uniform(-radius, n + radius) for n in is_free.shape]
    colour = palette[rng.integers(len(palette))] + rng.normal(0, 0.05, 3).astype(np.float32)
    slope, wave, phase, depth = rng.normal(0, 0.15, 2), rng.normal(0, 1, 2), rng.uniform(0, 6.3), rng.exponential(0.03)
    wave *= rng.uniform(0.2, 1.5) / (np.hypot(*wave) + 1e-9)
    ends = [(int(m - radius), int(m + radius) + 2) for m in middle]
    span = [slice(max(0, low), min(n, high)) for (low, high), n in zip(ends, is_free.shape, strict=True)]
    free = is_free[tuple(span)]
    if not free.any():
        return 0
    y, x = np.ogrid[tuple(span)]
    y, x = y - middle[0], x - middle[1]
    is_new = free & (y * y + x * x <= radius * radius)
    if not is_new.any():
        return 0
    shade = (slope[0] * y + slope[1] * x) / radius + depth * np.sin(wave[0] * y + wave[1] * x + phase)
    part = canvas[(slice(None), *span)]
    np.copyto(part, (colour[:, None, None] + shade).astype(np.float32), where=is_new)
    free &= ~is_new
    return int(np.count_nonzero(is_new))
