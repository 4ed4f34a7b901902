"""Batch and group normalisation: the same formula over other axes, and so the same backward pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from arrconv._namespace import namespace_of
from arrconv.errors import ShapeError, SpecError
from arrconv.functional.reals import as_number
from arrconv.nn.layer import Layer, Parameter
from arrconv.spec import as_int

if TYPE_CHECKING:
    from arrconv._namespace import Array


@dataclass(frozen=True, slots=True)
class _Standardised:
    """x̂ = (x − mean)·scale, with scale = 1/√(variance + eps), over some axes."""

    array: Array
    scale: Array
    mean: Array
    variance: Array
    axes: tuple[int, ...]

    @classmethod
    def of(cls, x: Array, axes: tuple[int, ...], eps: float) -> _Standardised:
        """With the mean and the variance of x itself."""
        xp = namespace_of(x)
        mean = xp.mean(x, axis=axes, keepdims=True)
        centred = x - mean
        variance = xp.mean(centred * centred, axis=axes, keepdims=True)
        scale = 1 / xp.sqrt(variance + eps)
        return cls(centred * scale, scale, mean, variance, axes)

    def backward(self, g: Array) -> Array:
        """Gx = scale·(g − mean(g) − x̂·mean(g·x̂)): what of g changes neither the mean nor the variance."""
        xp = namespace_of(g)
        along = xp.mean(g * self.array, axis=self.axes, keepdims=True)
        return self.scale * (g - xp.mean(g, axis=self.axes, keepdims=True) - self.array * along)


class _Norm(Layer):
    """What follows standardisation: a weight and a bias for each channel."""

    def __init__(self, channels: int, eps: float, affine: bool) -> None:
        super().__init__()
        self.channels, self.eps = as_int(channels, "channels", 1), as_number(eps, "eps")
        if affine:
            self.parameters["weight"] = Parameter((self.channels,), 1.0, 1.0)
            self.parameters["bias"] = Parameter((self.channels,), 0.0, 0.0)

    def _check(self, x: Array) -> None:
        if x.ndim < 2 or x.shape[1] != self.channels:
            raise ShapeError(
                f"x has shape {tuple(x.shape)}, but {type(self).__name__} needs (N, {self.channels}, *size)"
            )

    def _scaled(self, x: Array) -> Array:
        """weight·x̂ + bias."""
        if "weight" not in self.parameters:
            return x
        return x * self._spread("weight", x) + self._spread("bias", x)

    def _scaled_backward(self, x: Array, gy: Array) -> Array:
        """Add to the gradients of weight and bias; the gradient by x̂."""
        if "weight" not in self.parameters:
            return gy
        xp, axes = namespace_of(gy), (0, *range(2, gy.ndim))
        self.parameters["weight"].add(xp.sum(gy * x, axis=axes, dtype=gy.dtype))
        self.parameters["bias"].add(xp.sum(gy, axis=axes, dtype=gy.dtype))
        return gy * self._spread("weight", gy)

    def _spread(self, name: str, like: Array) -> Array:
        return _for_channels(self.value(name), like)


class BatchNorm(_Norm):
    """Each channel with mean 0 and variance 1 over the batch and all positions; then a weight and a bias.

    In evaluation mode the running mean and variance stand in, which training mode moves by `momentum` towards those of
    each batch (the variance with N·∏size − 1 in the denominator).

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: from 0 to 1.
        affine: whether there are a weight and a bias.

    Source: S. Ioffe, C. Szegedy, "Batch normalization", 2015, algorithms 1 and 2.

    >>> import numpy as np
    >>> layer = BatchNorm(2).initialise(np, seed=0, dtype="float64")
    >>> layer(np.asarray([[[1.0, 3.0], [5.0, 5.0]]])).round(3)
    array([[[-1.,  1.],
            [ 0.,  0.]]])
    """

    ndims: ClassVar[tuple[int, ...] | None] = None

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True) -> None:
        super().__init__(num_features, eps, affine)
        self.momentum = as_number(momentum, "momentum")
        self.parameters["running_mean"] = Parameter((self.channels,), 0.0, 0.0, is_learned=False)
        self.parameters["running_var"] = Parameter((self.channels,), 1.0, 1.0, is_learned=False)

    def forward(self, x: Array) -> Array:
        """y = weight·x̂ + bias."""
        self._check(x)
        if self.ndims is not None and x.ndim not in self.ndims:
            raise ShapeError(f"{type(self).__name__} needs {self.ndims[-1]} axes, but x has shape {tuple(x.shape)}")
        if not self.is_training:
            scale = 1 / namespace_of(x).sqrt(self.value("running_var") + self.eps)
            centred = x - self._spread("running_mean", x)
            return self._scaled(centred * _for_channels(scale, x))
        count = x.shape[0] * math.prod(x.shape[2:])
        if count < 2:
            raise ShapeError(f"x has shape {tuple(x.shape)}: one number for each channel has no variance to learn from")
        found = _Standardised.of(x, (0, *range(2, x.ndim)), self.eps)
        for name, new in (("running_mean", found.mean), ("running_var", found.variance * (count / (count - 1)))):
            parameter = self.parameters[name]
            moved = namespace_of(x).reshape(new, (self.channels,)) - self.value(name)
            parameter.value = self.value(name) + moved * self.momentum
        self.keep(found)
        return self._scaled(found.array)

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """Through weight and bias, and through the standardisation."""
        found = self.kept()
        g = self._scaled_backward(found.array, gy)
        return found.backward(g) if needs_input else None


class BatchNorm1d(BatchNorm):
    """`BatchNorm` of (N, C) or (N, C, L)."""

    ndims = (2, 3)


class BatchNorm2d(BatchNorm):
    """`BatchNorm` of (N, C, H, W)."""

    ndims = (4,)


class BatchNorm3d(BatchNorm):
    """`BatchNorm` of (N, C, D, H, W)."""

    ndims = (5,)


class GroupNorm(_Norm):
    """Each group of channels of each image with mean 0 and variance 1; then a weight and a bias for each channel.

    Args:
        num_groups: divides the channels.
        num_channels: C.
        eps: added to the variance.
        affine: whether there are a weight and a bias.

    Source: Y. Wu, K. He, "Group normalization", 2018, section 3.

    >>> import numpy as np
    >>> layer = GroupNorm(1, 2).initialise(np, seed=0, dtype="float64")
    >>> layer(np.asarray([[[1.0, 3.0], [1.0, 3.0]]])).round(3)
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__(num_channels, eps, affine)
        self.groups = as_int(num_groups, "num_groups", 1)
        if self.channels % self.groups:
            raise SpecError(f"num_channels={self.channels} is not divisible by num_groups={self.groups}")

    def forward(self, x: Array) -> Array:
        """y = weight·x̂ + bias."""
        self._check(x)
        found = _Standardised.of(self._grouped(x), (2,), self.eps)
        self.keep(found)
        return self._scaled(namespace_of(x).reshape(found.array, tuple(x.shape)))

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """Through weight and bias, and through the standardisation."""
        xp, found = namespace_of(gy), self.kept()
        g = self._scaled_backward(xp.reshape(found.array, tuple(gy.shape)), gy)
        return xp.reshape(found.backward(self._grouped(g)), tuple(gy.shape)) if needs_input else None

    def _grouped(self, x: Array) -> Array:
        size = math.prod(x.shape[1:]) // self.groups
        return namespace_of(x).reshape(x, (x.shape[0], self.groups, size))  # (N, G, C/G·∏size)


def _for_channels(values: Array, like: Array) -> Any:
    """(C,) as (C, 1, …), to go with (N, C, *size)."""
    return namespace_of(values).reshape(values, (-1, *(1,) * (like.ndim - 2)))
