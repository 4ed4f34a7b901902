"""The error of a contraction by the Fourier transform: the formula of `bounds.error_by_fft`, put to its arrays."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from arrconv.bounds import FourierNorms, error_by_fft
from arrconv.geometry import Geometry
from arrconv.kernels.fft import transform_length
from arrconv.padding import pad
from arrconv.spec import ConvSpec

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.bounds import Arithmetic
    from arrconv.functional.contraction import Contraction


def bound_by_fft(call: Contraction, arithmetic: Arithmetic) -> Array:
    """An upper bound of |computed − exact| for each element of a contraction by the Fourier transform, in float64."""
    magnitudes = call.widened(magnitudes=True)
    xp, geometry, direction = magnitudes.backend.xp, call.geometry, call.direction
    first, second = magnitudes.first, magnitudes.second
    folds = 1
    if geometry.padding_mode != "zeros":
        if direction == "x":
            folds = math.prod(axis.fold(geometry.padding_mode) for axis in geometry.axes)
        else:
            first = pad(xp, first, geometry)
    two, one = ([_norms(xp, array, geometry.ndim, order) for array in (first, second)] for order in (2, 1))
    channels = _flat(geometry)

    def summed(a: Array, b: Array) -> Array:
        return replace(magnitudes, geometry=channels, first=a, second=b, bias=None).evaluate()

    product = summed(two[0], two[1])
    crossed = xp.minimum(summed(two[0], one[1]), summed(one[0], two[1]))
    if call.bias is not None:
        product = product + magnitudes.bias
    largest = (1 + _largest(xp, two[0])) * (1 + _largest(xp, two[1]))
    norms = FourierNorms(product * folds, crossed * folds, folds * largest, channels.products(direction) + folds)
    length = transform_length(geometry.padded().batched(), direction)
    error = error_by_fft(norms, length, arithmetic, call.backend.dtype)
    return xp.broadcast_to(xp.reshape(error, (*error.shape, *(1,) * geometry.ndim)), call.shape)


def _flat(geometry: Geometry) -> Geometry:
    """The same channels and batch, without spatial axes."""
    lead = () if geometry.batch is None else (geometry.batch,)
    weight = (geometry.out_channels, geometry.in_channels // geometry.groups)
    return Geometry.forward(ConvSpec.of(0, groups=geometry.groups), (*lead, geometry.in_channels), weight)


def _norms(xp: Any, array: Array, ndim: int, order: int) -> Array:
    """The norms of an array without its last axes, raised by their own rounding."""
    flat = xp.reshape(array, (*array.shape[: array.ndim - ndim], math.prod(array.shape[array.ndim - ndim :])))
    return xp.linalg.vector_norm(flat, axis=-1, ord=order) * (1 + (flat.shape[-1] + 4) * 2.0**-52)


def _largest(xp: Any, array: Array) -> Array:
    return xp.max(array) if math.prod(array.shape) else 0.0
