"""Noisy pictures and what a denoiser should make of them: noise models, and pairs of pictures to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np

from arrconv.errors import DTypeError, ShapeError, SpecError
from arrconv.functional.reals import as_number
from arrconv.geometry import check_shape
from arrconv.spec import as_int

if TYPE_CHECKING:
    from collections.abc import Iterator

Pictures = np.ndarray[Any, np.dtype[np.uint8]]
"""uint8 (N, C, H, W)."""

Target = Literal["noisy", "clean"]

_AT_ONCE = 2**22  # elements that get their noise together


class Noise(Protocol):
    """What makes a noisy copy of brightness from 0 to 1, in float32."""

    def __call__(self, rng: np.random.Generator, brightness: np.ndarray) -> np.ndarray:
        """A noisy copy, neither rounded nor clipped."""


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Normal noise of one strength: brightness + sigma·z, sigma in units of white."""

    sigma: float = 25 / 255

    def __post_init__(self) -> None:
        if as_number(self.sigma, "sigma") < 0:
            raise SpecError(f"sigma must not be negative, but got {self.sigma!r}")

    def __call__(self, rng: np.random.Generator, brightness: np.ndarray) -> np.ndarray:
        """A noisy copy."""
        noise = rng.standard_normal(brightness.shape, dtype=np.float32)
        noise *= np.float32(self.sigma)
        noise += brightness
        return noise


@dataclass(frozen=True, slots=True)
class Poisson:
    """The noise of counted light: Poisson(peak·brightness)/peak, with so many photons for white."""

    peak: float = 30.0

    def __post_init__(self) -> None:
        as_number(self.peak, "peak", above=0)

    def __call__(self, rng: np.random.Generator, brightness: np.ndarray) -> np.ndarray:
        """A noisy copy."""
        counts = rng.poisson(brightness * np.float32(self.peak))
        return (counts / self.peak).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pictures that a network is given, and those that it should answer with: uint8 (N, C, H, W), of one shape.

    Raises:
        DTypeError: an array is not of uint8.
        ShapeError: they have not four axes, or differ in shape.

    >>> pairs = Pairs.noisy(np.zeros((5, 3, 8, 9), np.uint8), Gaussian(0.1), seed=0)
    >>> pairs.inputs.shape, len(pairs)
    ((5, 3, 8, 9), 5)
    """

    inputs: Pictures
    targets: Pictures

    def __post_init__(self) -> None:
        for name, array in (("inputs", self.inputs), ("targets", self.targets)):
            check_pictures(name, array)
        check_shape("targets", self.targets.shape, tuple(self.inputs.shape), "inputs")

    def __len__(self) -> int:
        return len(self.inputs)

    @classmethod
    def noisy(cls, pictures: Pictures, noise: Noise, *, seed: int, target: Target = "noisy") -> Pairs:
        """Noisy copies of clean pictures, and either others of them (Noise2Noise) or the pictures themselves.

        Copies are rounded to whole numbers from 0 to 255, like those of a camera.

        Source: J. Lehtinen et al., "Noise2Noise: learning image restoration without clean data", 2018, section 3.
        """
        check_pictures("pictures", pictures)
        if target not in get_args(Target):
            raise SpecError(f"target={target!r} is unknown; there are {', '.join(get_args(Target))}")
        inputs = noisy_copy(pictures, noise, seed, 0)
        return cls(inputs, noisy_copy(pictures, noise, seed, 1) if target == "noisy" else pictures)

    def order(self, epoch: int, *, seed: int) -> np.ndarray:
        """The numbers of all pairs in the order of an epoch; it depends on nothing else."""
        order: np.ndarray = np.random.default_rng((as_int(seed, "seed", 0), epoch)).permutation(len(self))
        return order

    def batches(self, epoch: int, size: int, *, seed: int, first: int = 0) -> Iterator[np.ndarray]:
        """The numbers of the pairs of each batch of an epoch, from one on; the last batch may be short."""
        order = self.order(epoch, seed=seed)
        for start in range(first * size, len(order), size):
            yield order[start : start + size]


def noisy_copy(pictures: Pictures, noise: Noise, seed: int, stream: int) -> Pictures:
    """A noisy copy, rounded and clipped; the numbers of a seed are those of its stream."""
    rng = np.random.default_rng((as_int(seed, "seed", 0), stream))
    copy = np.empty_like(pictures)
    step = max(1, _AT_ONCE // max(1, pictures[0].size if len(pictures) else 1))
    for start in range(0, len(pictures), step):
        part = slice(start, start + step)
        found = noise(rng, pictures[part].astype(np.float32) / np.float32(255))
        found *= np.float32(255)
        copy[part] = np.clip(np.rint(found, out=found), 0, 255, out=found)
    return copy


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
