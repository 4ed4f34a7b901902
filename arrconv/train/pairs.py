"""Noisy pictures and what a denoiser should make of them: noise models, and pairs of pictures to learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np

from arrconv._namespace import library_name, namespace_of
from arrconv.errors import SpecError
from arrconv.functional.reals import as_number
from arrconv.geometry import check_shape
from arrconv.spec import as_int
from arrconv.train.pictures import brightness, carried, check_pictures, host, pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrconv._namespace import Array
    from arrconv.train.pictures import Pictures

Target = Literal["noisy", "clean"]

Draw = Callable[[np.ndarray, int], "tuple[Array, Array]"]
"""From the numbers of pairs, and that of a step, to the brightness of inputs and targets."""

_AT_ONCE = 2**22  # elements that get their noise together


class Noise(Protocol):
    """What makes a noisy copy of brightness from 0 to 1, in float32, in NumPy or CuPy."""

    def __call__(self, rng: Any, brightness: Any) -> Any:
        """A noisy copy, neither rounded nor clipped; the generator is of the library of the array."""


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Normal noise of one strength: brightness + sigma·z, sigma in units of white."""

    sigma: float = 25 / 255

    def __post_init__(self) -> None:
        if as_number(self.sigma, "sigma") < 0:
            raise SpecError(f"sigma must not be negative, but got {self.sigma!r}")

    def __call__(self, rng: Any, brightness: Any) -> Any:
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

    def __call__(self, rng: Any, brightness: Any) -> Any:
        """A noisy copy."""
        counts = rng.poisson(brightness.astype(np.float64) * self.peak)
        return (counts / self.peak).astype(np.float32)


class Data(Protocol):
    """What a network learns from or is measured by: so many pairs of pictures."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W) of inputs and of targets."""

    def __len__(self) -> int:
        """N."""

    def placed(self, like: Array) -> Draw:
        """Carry the pictures to where an array is; pairs are drawn there, in its dtype."""


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

    @property
    def shape(self) -> tuple[int, ...]:
        """Of inputs and of targets."""
        return tuple(self.inputs.shape)

    def __len__(self) -> int:
        return len(self.inputs)

    @classmethod
    def noisy(cls, pictures: Pictures, noise: Noise, *, seed: int, target: Target = "noisy") -> Pairs:
        """Noisy copies of clean pictures, and either others of them (Noise2Noise) or the pictures themselves.

        Copies are rounded to whole numbers from 0 to 255, like those of a camera.

        Source: J. Lehtinen et al., "Noise2Noise: learning image restoration without clean data", 2018, section 3.
        """
        check_pictures("pictures", pictures)
        _check_target(target)
        inputs = noisy_copy(pictures, noise, seed, 0)
        return cls(inputs, noisy_copy(pictures, noise, seed, 1) if target == "noisy" else pictures)

    def placed(self, like: Array) -> Draw:
        """Pairs are the same in each step."""
        inputs, targets = (carried(array, like) for array in (self.inputs, self.targets))

        def draw(numbers: np.ndarray, _: int) -> tuple[Array, Array]:
            places = carried(numbers, like)
            return _chosen(inputs, places, like), _chosen(targets, places, like)

        return draw


@dataclass(frozen=True, slots=True)
class FreshPairs:
    """Clean pictures, uint8 (N, C, H, W), whose noise is drawn anew in each step, and neither rounded nor clipped.

    The mean of such copies is the picture, also where it is black or white: clipped copies of black are grey on
    average, and who learns from them answers so. On CuPy the noise is drawn on the GPU, by CuPy's generator.

    Raises:
        DTypeError: the pictures are not of uint8.
        ShapeError: they have not four axes.
        SpecError: the target is unknown, or the seed no integer from 0 on.

    >>> pairs = FreshPairs(np.zeros((5, 3, 8, 9), np.uint8), Gaussian(0.1), seed=0)
    >>> x, t = pairs.placed(np.zeros(0))(np.asarray([0, 3]), 17)
    >>> x.shape, x.dtype, bool((x < 0).any()), len(pairs)
    ((2, 3, 8, 9), dtype('float64'), True, 5)
    """

    pictures: Pictures
    noise: Noise
    seed: int
    target: Target = "noisy"

    def __post_init__(self) -> None:
        check_pictures("pictures", self.pictures)
        _check_target(self.target)
        as_int(self.seed, "seed", 0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of inputs and of targets."""
        return tuple(self.pictures.shape)

    def __len__(self) -> int:
        return len(self.pictures)

    def placed(self, like: Array) -> Draw:
        """What a step draws depends on the seed and on its number alone."""
        pictures, library = carried(self.pictures, like), library_name(namespace_of(like))
        has_generators = library in ("numpy", "cupy")  # with the same methods
        random = import_module(f"{library}.random") if has_generators else np.random

        def draw(numbers: np.ndarray, step: int) -> tuple[Array, Array]:
            rng = random.default_rng(np.random.SeedSequence((self.seed, 3, step)))
            clean = _chosen(pictures, carried(numbers, like), like)

            def copy() -> Array:
                here = clean if has_generators else host(clean)
                return brightness(self.noise(rng, here.astype(np.float32)), like)

            return copy(), copy() if self.target == "noisy" else clean

        return draw


def batches(count: int, epoch: int, size: int, *, seed: int, first: int = 0) -> Iterator[np.ndarray]:
    """The numbers of the pairs of each batch of an epoch, from one on; the last batch may be short.

    The order of an epoch depends on the seed, on its number and on how many pairs there are, and on nothing else.
    """
    order = np.random.default_rng((as_int(seed, "seed", 0), epoch)).permutation(count)
    for start in range(first * size, count, size):
        yield order[start : start + size]


def noisy_copy(pictures: Pictures, noise: Noise, seed: int, stream: int) -> Pictures:
    """A noisy copy, rounded and clipped; the numbers of a seed are those of its stream."""
    rng = np.random.default_rng((as_int(seed, "seed", 0), stream))
    copy = np.empty_like(pictures)
    step = max(1, _AT_ONCE // max(1, pictures[0].size if len(pictures) else 1))
    for start in range(0, len(pictures), step):
        part = slice(start, start + step)
        copy[part] = pixels(noise(rng, pictures[part].astype(np.float32) / np.float32(255)))
    return copy


def _chosen(pictures: Array, numbers: Array, like: Array) -> Array:
    """The brightness of the pictures of some numbers, out of all."""
    return brightness(namespace_of(like).take(pictures, numbers, axis=0), like)


def _check_target(target: Target) -> None:
    if target not in get_args(Target):
        raise SpecError(f"target={target!r} is unknown; there are {', '.join(get_args(Target))}")
