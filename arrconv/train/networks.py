"""Two denoisers: a small one of strided convolutions, and a U-Net."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrconv.errors import SpecError
from arrconv.nn import Conv2d, Layer, LeakyReLU, ReLU, Sequential, Sigmoid, Skip, Upsampling
from arrconv.spec import as_int

if TYPE_CHECKING:
    from collections.abc import Callable


def seed_network(channels: int = 3, width: int = 64) -> Sequential:
    """Two convolutions of stride 2, to width and four times as many channels, and two upsamplings back; kernels of 2.

    Each block of 4×4 pixels is answered from itself alone.

    >>> seed_network().size
    132995
    """
    width = as_int(width, "width", 1)
    return Sequential(
        Conv2d(channels, width, 2, stride=2), ReLU(), Conv2d(width, 4 * width, 2, stride=2), ReLU(),
        Upsampling(4 * width, width, 2), ReLU(), Upsampling(width, channels, 2), Sigmoid(),
    )  # fmt: skip


def unet(channels: int = 3, width: int = 16, depth: int = 2) -> Skip:
    """A U-Net that finds what is to be added to a picture: strided convolutions down, upsamplings up, skips between.

    Args:
        channels: of the pictures.
        width: channels at full size; each level below has twice as many.
        depth: how often the size is halved.

    Source: O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical image segmentation",
    2015; K. Zhang et al., "Beyond a Gaussian denoiser", 2017, for learning the residue.

    >>> unet(width=8, depth=1).size
    8459
    """
    width, depth = as_int(width, "width", 1), as_int(depth, "depth", 0)

    def block(given: int, features: int) -> list[Layer]:
        pairs = ([Conv2d(n, features, 3, padding=1), LeakyReLU(0.1)] for n in (given, features))
        return [layer for pair in pairs for layer in pair]

    def level(features: int, below: int) -> Sequential:
        """Features to the same number of them, by way of a picture of half the size."""
        inner = [Skip(level(2 * features, below - 1)), *block(4 * features, 2 * features)] if below > 1 else []
        down = Conv2d(features, 2 * features, 2, stride=2)
        return Sequential(down, *block(2 * features, 2 * features), *inner, Upsampling(2 * features, features, 2))

    middle = [Skip(level(width, depth)), *block(2 * width, width)] if depth else []
    return Skip(Sequential(*block(channels, width), *middle, Conv2d(width, channels, 3, padding=1)), "add")


NETWORKS: dict[str, Callable[..., Layer]] = {"seed": seed_network, "unet": unet}
"""By name: what makes a network for so many channels, perhaps of a width."""

MULTIPLE = 4
"""What the sizes of pictures must be multiples of, for these networks."""


def network(name: str, channels: int, width: int | None = None) -> Layer:
    """A network by name, of its own width unless one is given.

    Raises:
        SpecError: there is none of this name.
    """
    if name not in NETWORKS:
        raise SpecError(f"net={name!r} is unknown; there are {', '.join(NETWORKS)}")
    return NETWORKS[name](channels) if width is None else NETWORKS[name](channels, width)
