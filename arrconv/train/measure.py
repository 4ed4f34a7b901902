"""How good a denoiser is: the signal-to-noise ratio of its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from arrconv.functional.reals import real_namespace
from arrconv.train.pictures import host

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array
    from arrconv.nn.layer import Layer
    from arrconv.train.pairs import Data


def psnr(answers: Array, targets: Array, /) -> Array:
    """The peak signal-to-noise ratio of each picture, −10·log10 of its mean squared error where white is 1, in dB.

    Args:
        answers, targets: real floating-point numbers (N, C, *size), of one shape.

    Returns:
        (N,); infinite where they are equal.

    Raises:
        DTypeError, ShapeError: as for `mse_loss`.

    >>> import numpy as np
    >>> psnr(np.full((1, 3, 4, 4), 0.6), np.full((1, 3, 4, 4), 0.5)).round(6)
    array([20.])
    """
    xp = real_namespace(answers=answers, targets=targets)
    errors = xp.mean((answers - targets) ** 2, axis=tuple(range(1, answers.ndim)))
    is_zero = errors == 0
    decibels = -10 * xp.log10(xp.where(is_zero, xp.ones_like(errors), errors))
    return xp.where(is_zero, xp.full_like(errors, float("inf")), decibels)


def evaluate(net: Layer, pairs: Data, *, batch: int = 100) -> float:
    """The mean over pictures of the PSNR of a network's answers, which are neither rounded nor clipped, in dB.

    The network is in evaluation mode meanwhile.

    Args:
        net: a network with parameters.
        pairs: `Pairs` or `FreshPairs`, whose targets should be clean pictures.
        batch: how many pictures go through it at a time.

    Returns:
        The mean; NaN where there is no picture.
    """
    was_training = net.is_training
    net.eval()
    try:
        return mean_psnr(net.forward, pairs, net.example, batch=batch)
    finally:
        net.train(was_training)


def mean_psnr(answer: Callable[[Array], Array], pairs: Data, like: Array, *, batch: int = 100) -> float:
    """The mean over pictures of the PSNR of what a function answers, where an array is and in its dtype, in dB."""
    draw = pairs.placed(like)
    starts = range(0, len(pairs), batch)
    drawn = (draw(np.arange(start, min(start + batch, len(pairs))), number) for number, start in enumerate(starts))
    ratios = [host(psnr(answer(x), t)) for x, t in drawn]
    return float(np.mean(np.concatenate(ratios))) if ratios else float("nan")
