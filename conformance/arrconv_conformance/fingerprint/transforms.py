"""Winograd and FFT: whether a pixel disturbs results that it reaches through zero weights only.

Every output channel copies one input channel, moved by one tap; all other weights are zero. One pixel of each image and
channel is huge. Sums of products are exact then: the huge pixel is multiplied by zero. Transforms add neighbouring
pixels, or all of them, before they multiply; what is added to the huge pixel is lost, and missing in other results.
(A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016; M. Mathieu, M. Henaff, Y. LeCun,
"Fast Training of Convolutional Networks through FFTs", ICLR 2014.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv_conformance.data import stream

if TYPE_CHECKING:
    from arrconv_conformance.data import Array
    from arrconv_conformance.fingerprint.subject import Subject
    from arrconv_conformance.members import Role

LARGEST_TILE = 8
"""Results along an axis of the largest tile that is taken for one of Winograd's; larger ones go by the name of FFT."""

WRONG = "wrong results"
"""What is said of a function that does not even copy."""


@dataclass(frozen=True, slots=True)
class _Copies:
    """Operands, with and without huge pixels, that make every result a copy of one pixel.

    Args:
        plain: the operands without huge pixels.
        huge: the operands with them.
        expected: the result.
        is_huge: which results are copies of a huge pixel.
        pixels: where the huge pixel lies that a result may have to do with, axis by axis.
        places: to which position a result belongs, axis by axis.
    """

    plain: dict[Role, Array]
    huge: dict[Role, Array]
    expected: Array
    is_huge: Array
    pixels: Array
    places: Array


@dataclass(frozen=True, slots=True)
class _Image:
    """A signal with one huge pixel for each image and channel."""

    plain: Array
    is_huge: Array
    pixels: Array

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> _Image:
        """Numbers 1, 2 and 3 of which neighbours differ, and pixels at pseudorandom places, (axes, N, C)."""
        sizes = shape[2:]
        plain = 1.0 + np.indices(shape).sum(axis=0) % 3
        pixels = np.stack([_random(f"pixel {axis}", shape[:2], size) for axis, size in enumerate(sizes)])
        grid = np.indices(shape)[2:]
        is_huge = np.all(grid == pixels.reshape(*pixels.shape, *(1,) * len(sizes)), axis=0)
        return cls(plain, is_huge, pixels)

    def with_huge(self, number: float) -> Array:
        return np.where(self.is_huge, number, self.plain)


def _random(text: str, shape: tuple[int, ...], below: int) -> Array:
    words = stream(text, int(np.prod(shape))) >> np.uint64(33)
    return (words % np.uint64(below)).astype(np.int64).reshape(shape)


def transform(subject: Subject) -> str:
    """The transform that was seen: none, `Winograd` with the size of its tiles, or `FFT`; or `WRONG`."""
    unit, huge = _sizes(subject)
    copies = _of_weight(subject, huge / unit) if subject.result == "w" else _of_signal(subject, huge / unit)
    plain = _asked(subject, copies.plain, unit)
    if not np.all(np.abs(plain - copies.expected) <= 0.25):
        return WRONG
    got = _asked(subject, copies.huge, unit)
    # What is not finite went beyond a range, which is no transform's doing.
    disturbed = ~copies.is_huge & (got != plain) & np.isfinite(got)
    return _name(subject, copies, disturbed) if disturbed.any() else ""


def _sizes(subject: Subject) -> tuple[float, float]:
    """The size of ordinary pixels and of huge ones: further apart than float32, or float64, has bits."""
    match subject.format.smallest_exponent:
        case -14:
            return 2.0**-13, 2.0**14
        case -126:
            return 1.0, 2.0**60
        case _:
            return 1.0, 2.0**100


def _asked(subject: Subject, operands: dict[Role, Array], unit: float) -> Array:
    first, second = subject.operands
    arrays = {first: subject.array(unit * operands[first]), second: subject.array(operands[second])}
    got = subject.call(arrays)
    real = got.real if got.dtype.kind == "c" else got
    scaled: Array = real.astype(np.float64) / unit
    return scaled


def _of_signal(subject: Subject, huge: float) -> _Copies:
    """Result channel q copies channel q of the signal, modulo their number, through taps from the first to the last."""
    first, second = subject.operands
    image = _Image.of(subject.shape(first))
    kernel, wide = subject.geometry.kernel_size, subject.capacity[1]
    count = subject.taps
    taps = np.arange(wide) % count if count <= wide else np.linspace(0, count - 1, wide).round().astype(int)
    channels = np.arange(wide) % subject.depth
    marks = np.zeros((wide, subject.depth))
    marks[np.arange(wide), channels] = 1
    weight = subject.weight(marks, np.broadcast_to(taps[:, None], marks.shape))

    def moved(array: Array) -> Array:
        padded = np.pad(array, [(0, 0), (0, 0), *((k // 2, k // 2) for k in kernel)])
        copies = []
        for channel, tap in zip(channels, taps, strict=True):
            starts = np.unravel_index(tap, kernel)
            if subject.result == "x":
                starts = tuple(k - 1 - start for k, start in zip(kernel, starts, strict=True))
            window = (slice(s, s + size) for s, size in zip(starts, array.shape[2:], strict=True))
            index: Any = (slice(None), channel, *window)
            copies.append(padded[index])
        return np.stack(copies, axis=1)

    pixels = image.pixels[:, :, channels]
    return _Copies(
        plain={first: image.plain, second: weight},
        huge={first: image.with_huge(huge), second: weight},
        expected=moved(image.plain),
        is_huge=moved(image.is_huge),
        pixels=pixels.reshape(*pixels.shape, *(1,) * len(kernel)),
        places=np.indices(subject.shape(first)[2:])[:, None, None],
    )


def _of_weight(subject: Subject, huge: float) -> _Copies:
    """Output channel o has a single 1, in one image, so that the gradient's taps copy what is around that place.

    It lies where the taps of one input channel reach the huge pixel, and those of the others mostly do not.
    """
    image = _Image.of(subject.shape("x"))
    batch, channels, *sizes = subject.shape("y")
    kernel = subject.geometry.kernel_size
    images = np.arange(channels) % batch
    near = image.pixels[:, images, np.arange(channels) % subject.shape("x")[1]]
    places = np.stack(
        [
            np.clip(pixels + _random(f"place {axis}", (channels,), k) - k // 2, 0, size - 1)
            for axis, (pixels, k, size) in enumerate(zip(near, kernel, sizes, strict=True))
        ]
    )
    y = np.zeros(subject.shape("y"))
    y[(images, np.arange(channels), *places)] = 1

    def around(array: Array) -> Array:
        padded = np.pad(array, [(0, 0), (0, 0), *((k // 2, k // 2) for k in kernel)])
        windows = []
        for number, place in zip(images, places.T, strict=True):
            index: Any = (number, slice(None), *(slice(p, p + k) for p, k in zip(place, kernel, strict=True)))
            windows.append(padded[index])
        return np.stack(windows)  # (C_out, C_in, *kernel)

    ones = (1,) * len(kernel)
    pixels = image.pixels[:, images]  # (axes, C_out, C_in)
    return _Copies(
        plain={"x": image.plain, "y": y},
        huge={"x": image.with_huge(huge), "y": y},
        expected=around(image.plain),
        is_huge=around(image.is_huge),
        pixels=pixels.reshape(*pixels.shape, *ones),
        places=places.reshape(*places.shape, 1, *ones),
    )


def _name(subject: Subject, copies: _Copies, disturbed: Array) -> str:
    """The transform by the distances at which results are disturbed."""
    kernel = subject.geometry.kernel_size
    axes = range(len(kernel))
    pixels = [np.broadcast_to(copies.pixels[axis], disturbed.shape)[disturbed] for axis in axes]
    places = [np.broadcast_to(copies.places[axis], disturbed.shape)[disturbed] for axis in axes]
    if any(np.abs(pixels[axis] - places[axis]).max() > LARGEST_TILE + kernel[axis] for axis in axes):
        return "FFT"
    if subject.result == "w":
        return "Winograd"
    tiles = [_tile(pixels[axis], places[axis], kernel[axis]) for axis in axes]
    return f"Winograd, tiles of {'×'.join(map(str, tiles))}" if all(tiles) else "Winograd or the like"


def _tile(pixels: Array, places: Array, k: int) -> int:
    """The smallest size of tiles of results in which every disturbance lies, or 0; a tile reads k − 1 pixels more."""
    for size in range(1 if k == 1 else 2, LARGEST_TILE + 1):
        for offset in range(size):
            low = (places - offset) // size * size + offset - k // 2
            if np.all((low <= pixels) & (pixels < low + size + k - 1)):
                return size
    return 0
