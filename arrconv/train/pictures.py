"""Pictures: uint8 where they are kept, brightness from 0 to 1 where a network is; and squares cut from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv._namespace import device_of, namespace_of
from arrconv.errors import DTypeError, ShapeError
from arrconv.spec import as_int

if TYPE_CHECKING:
    from arrconv._namespace import Array

Pictures = np.ndarray[Any, np.dtype[np.uint8]]
"""uint8 (N, C, H, W)."""


def brightness(pictures: Array, like: Array) -> Array:
    """Pictures as numbers from 0 to 1, where an array is and in its dtype; other numbers than uint8 are so already."""
    xp = namespace_of(like)
    found = carried(pictures, like)
    numbers = xp.astype(found, like.dtype)
    return numbers / 255 if found.dtype == xp.uint8 else numbers


def pixels(brightness: np.ndarray) -> Pictures:
    """The nearest whole numbers from 0 to 255, where white is 1."""
    found = brightness * np.float32(255)
    return np.clip(np.rint(found, out=found), 0, 255, out=found).astype(np.uint8)


def carried(array: Array, like: Array) -> Array:
    """An array where another is."""
    return namespace_of(like).asarray(array, device=device_of(like))


def host(array: Array) -> np.ndarray[Any, Any]:
    """A copy of an array in NumPy."""
    if hasattr(array, "get"):  # CuPy's
        copied: np.ndarray[Any, Any] = array.get()
        return copied
    xp = namespace_of(array)
    return np.asarray(xp.asarray(array, device=device_of(xp.zeros(0))))  # from where the library puts arrays by itself


def crops(pictures: list[np.ndarray], count: int, size: int, *, seed: int, shrink: int = 1) -> Pictures:
    """Squares cut from pictures at random places, each turned over at random.

    Args:
        pictures: uint8 (C, H, W), of any sizes from size·shrink on.
        count: how many squares, not negative.
        size: of their sides.
        seed: what decides the places; the first squares do not depend on how many there are.
        shrink: squares are cut so many times as large, and averaged.

    Returns:
        uint8 (count, C, size, size).

    Raises:
        ShapeError: there is no picture, or one is too small, or they differ in channels.
        SpecError: an argument has no meaning.
    """
    count, size, shrink = as_int(count, "count", 0), as_int(size, "size", 1), as_int(shrink, "shrink", 1)
    if not pictures:
        raise ShapeError("there is no picture to cut from")
    for number, picture in enumerate(pictures):
        if min(picture.shape[1:]) < size * shrink or len(picture) != len(pictures[0]):
            raise ShapeError(
                f"picture {number} has shape {picture.shape}, but needs {len(pictures[0])} channels and at least "
                f"{size * shrink} pixels a side"
            )
    rng = np.random.default_rng((as_int(seed, "seed", 0), 2))
    found = np.empty((count, len(pictures[0]), size, size), np.uint8)
    for number in range(count):
        picture = pictures[rng.integers(len(pictures))]
        y, x = (int(rng.integers(n - size * shrink + 1)) for n in picture.shape[1:])
        turns, is_mirrored = int(rng.integers(4)), bool(rng.integers(2))
        part = picture[:, y : y + size * shrink, x : x + size * shrink]
        if shrink > 1:
            means = part.reshape(len(part), size, shrink, size, shrink).mean(axis=(2, 4), dtype=np.float32)
            part = np.rint(means).astype(np.uint8)
        part = np.rot90(part, turns, axes=(1, 2))
        found[number] = part[:, :, ::-1] if is_mirrored else part
    return found


def check_pictures(name: str, array: np.ndarray) -> None:
    """Raise an error unless an array holds pictures."""
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        what = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise DTypeError(f"{name} must be a NumPy array of uint8, but is of {what}")
    if array.ndim != 4:
        raise ShapeError(f"{name} must have the axes (N, C, H, W), but have shape {array.shape}")
