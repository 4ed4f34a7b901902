"""How good a denoiser is: the signal-to-noise ratio of its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv._namespace import device_of, namespace_of
from arrconv.functional.reals import real_namespace
from arrconv.train.pairs import check_pictures

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.nn.layer import Layer
    from arrconv.train.pairs import Pictures


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


def evaluate(net: Layer, inputs: Pictures, targets: Pictures, *, batch: int = 100) -> float:
    """The mean over pictures of the PSNR of a network's answers, which are neither rounded nor clipped, in dB.

    The network is in evaluation mode meanwhile.

    Args:
        net: a network with parameters.
        inputs, targets: uint8 (N, C, H, W).
        batch: how many pictures go through it at a time.

    Returns:
        The mean; NaN where there is no picture.

    Raises:
        DTypeError, ShapeError: as for `Pairs`.
    """
    check_pictures("inputs", inputs)
    check_pictures("targets", targets)
    was_training = net.is_training
    net.eval()
    try:
        ratios = []
        for start in range(0, len(inputs), batch):
            x, t = (brightness(net, array[start : start + batch]) for array in (inputs, targets))
            ratios.append(host(psnr(net.forward(x), t)))
    finally:
        net.train(was_training)
    return float(np.mean(np.concatenate(ratios))) if ratios else float("nan")


def brightness(net: Layer, pictures: Pictures) -> Array:
    """Pictures as numbers from 0 to 1, where a network's parameters are and in their dtype."""
    like = next(p.value for _, p in net.named_parameters())
    xp = namespace_of(like)
    return xp.astype(xp.asarray(pictures, device=device_of(like)), like.dtype) / 255


def host(array: Array) -> np.ndarray[Any, Any]:
    """A copy of an array in NumPy."""
    if hasattr(array, "get"):  # CuPy's
        copied: np.ndarray[Any, Any] = array.get()
        return copied
    xp = namespace_of(array)
    return np.asarray(xp.asarray(array, device=device_of(xp.zeros(0))))  # from where the library puts arrays by itself
