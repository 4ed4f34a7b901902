"""What a picture shows of the scene that was blurred: all of it, with a rule for what lies beyond, or a part of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from arrconv.errors import ShapeError, SpecError
from arrconv.kernels.fourier import fast_size
from arrconv.linop import CircularConv, Convolve, Crop, Pad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrconv.linop import Circulant, Operator

Boundary = Literal["unknown", "circular", "zeros", "reflect", "replicate"]


@dataclass(frozen=True, slots=True)
class View:
    """How a scene is seen.

    Attributes:
        blur: from a scene to its blurred picture.
        circulant: the same blur of a scene that is periodic.
        crop: from a scene to what a sharp picture would show.
    """

    blur: Operator
    circulant: Circulant
    crop: Operator


def view(kernel: np.ndarray, size: Sequence[int], boundary: Boundary = "unknown") -> View:
    """How pictures of a size come about by a kernel.

    Where the boundary is unknown the scene is larger than the picture by the kernel, and nothing is assumed of what the
    picture does not show: the blur is the "valid" part of a convolution. The scene lies on a torus, the picture in
    its first corner, which is larger still where that makes Fourier transforms faster; no pixel of the picture sees
    what is added. With another boundary the scene is as large as the picture.

    Args:
        kernel: float64 (height, width), no larger than the picture.
        size: of the picture, (height, width).
        boundary: what is beyond the picture: "unknown", or "circular", "zeros", "reflect", "replicate" as for `conv`.

    Returns:
        A `View`.

    Raises:
        ShapeError: the kernel is larger than the picture.
        SpecError: there is no such boundary.

    >>> view(np.ones((1, 3)), (2, 6)).blur
    Composition((2, 8) → (2, 6))
    """
    if boundary not in get_args(Boundary):
        raise SpecError(f"boundary={boundary!r} is unknown; there are {', '.join(get_args(Boundary))}")
    if any(k > n for k, n in zip(kernel.shape, size, strict=True)):
        raise ShapeError(f"the kernel has {_pixels(kernel.shape)} pixels, more than the picture's {_pixels(size)}")
    if boundary == "circular":
        circulant = CircularConv(kernel, size, origin="centre")
        return View(circulant, circulant, Crop(size, (0, 0), kernel))
    torus = [fast_size(n + k - 1) for n, k in zip(size, kernel.shape, strict=True)]
    circulant = CircularConv(kernel, torus, origin="centre")
    if boundary == "unknown":
        crop = Crop(torus, [(0, t - n) for n, t in zip(size, torus, strict=True)], kernel)
        return View(crop @ circulant, circulant, crop)
    ends = _ends(kernel)
    pad = Pad(size, ends, kernel, mode=boundary)
    rest = Pad(pad.shape_out, [(0, t - n) for n, t in zip(pad.shape_out, torus, strict=True)], kernel)
    middle = Crop(torus, [(b, t - n - b) for (b, _), n, t in zip(ends, size, torus, strict=True)], kernel)
    periodic = CircularConv(kernel, size, origin="centre")
    return View(middle @ circulant @ rest @ pad, periodic, Crop(size, (0, 0), kernel))


def blurred(sharp: np.ndarray, kernel: np.ndarray, boundary: Boundary = "unknown") -> np.ndarray:
    """What a sharp picture becomes by a kernel; where the boundary is unknown, the part that it decides.

    Args:
        sharp: float64 (..., height, width).
        kernel, boundary: as for `view`.

    Returns:
        (..., height, width); where the boundary is unknown, smaller by the kernel less one pixel.

    Raises:
        ShapeError, SpecError: as for `view`.

    >>> blurred(np.asarray([[1.0, 3.0, 7.0]]), np.asarray([[0.5, 0.5]]))
    array([[2., 5.]])
    """
    size = sharp.shape[-2:]
    seen = view(kernel, size, boundary)  # which checks them
    found: np.ndarray = (Convolve(kernel, size, extent="valid") if boundary == "unknown" else seen.blur) @ sharp
    return found


def shown(sharp: np.ndarray, kernel: np.ndarray, boundary: Boundary = "unknown") -> np.ndarray:
    """The part of a sharp picture that `blurred` shows.

    >>> shown(np.asarray([[1.0, 3.0, 7.0]]), np.asarray([[0.5, 0.5]]))
    array([[1., 3.]])
    """
    ends = [(0, 0)] * 2 if boundary != "unknown" else _ends(kernel)
    found: np.ndarray = Crop(sharp.shape[-2:], ends, np.zeros(0)) @ sharp.astype(np.float64)
    return found


def extended(picture: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A picture on a torus: each axis is continued by its mirror images at both ends, one fading into the other.

    Args:
        picture: (..., height, width).
        size: of the torus, each from the picture's to twice that.

    Returns:
        (..., *size).

    >>> extended(np.asarray([[0.0, 8.0]]), (1, 3))
    array([[0., 8., 4.]])
    """
    for axis, n in enumerate(size, start=picture.ndim - len(size)):
        added = n - picture.shape[axis]
        mirrored = np.flip(picture, axis)
        behind, ahead = np.split(mirrored, [added], axis)[0], np.split(mirrored, [picture.shape[axis] - added], axis)[1]
        fading = (1 + np.cos(np.pi * np.arange(1, added + 1) / (added + 1))) / 2
        shares = fading.reshape(-1, *(1,) * (picture.ndim - 1 - axis))
        picture = np.concatenate([picture, shares * behind + (1 - shares) * ahead], axis)
    return picture


def tapered(picture: np.ndarray, kernel: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A picture on a torus, as if the scene were periodic: towards its border it fades into itself blurred once more.

    What the kernel could not have made, such as edges where the ends of the picture meet, would come back as ripples.

    Args:
        picture: float64 (C, height, width).
        kernel: what blurred it; as wide as this the picture fades.
        size: of the torus, as for `extended`; where it is that of the picture, this is periodic itself.

    Returns:
        (C, *size).

    Source: S. J. Reeves, "Fast image restoration without boundary artifacts", 2005, on tapering.
    """
    if tuple(size) == picture.shape[1:]:
        return picture
    whole = extended(picture, size)
    again = CircularConv(np.abs(kernel) / np.abs(kernel).sum(), size, origin="centre") @ whole
    ramps = []
    for n, k, length in zip(picture.shape[1:], kernel.shape, size, strict=True):
        places = np.arange(length)
        ramps.append(np.clip((np.minimum(places, n - 1 - places) + 1) / k, 0, 1))
    share = np.outer(*ramps)
    found: np.ndarray = share * whole + (1 - share) * again
    return found


def _ends(kernel: np.ndarray) -> list[tuple[int, int]]:
    """How far the first pixel of each axis sees before the picture, and the last one behind it."""
    return [(k - 1 - k // 2, k // 2) for k in kernel.shape]


def _pixels(size: Sequence[int]) -> str:
    return "×".join(str(n) for n in size[::-1])
