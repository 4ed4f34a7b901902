"""The trilinear form T(x, w, y) and its three derivatives, tap by tap: the definition of everything else.

    T(x, w, y) = Σ y[n, o, l] · w[o, c, k] · x[n, c, s·l + d·k]      over n, o, c, l, k, with x padded already

Channels o and c meet only within one of the G groups. Each derivative is one matrix product for each tap k, between
`windows`, the slice of x that the tap sees, and the other array; ∂T/∂x uses the adjoint of that slice instead.
No conjugation takes place, nothing is skipped, and no array is written to.
"""

from __future__ import annotations

import math
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

from arrconv.products import matmul
from arrconv.slicing import extend, restrict

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.geometry import Geometry


def contract_y(xp: Any, x: Array, w: Array, geometry: Geometry) -> Array:
    """∂T/∂y: the convolution of padded x (N, C, *padded) with w (O, C/G, *kernel), as (N, O, *output)."""
    taps = _taps(xp, w, geometry)
    terms = (matmul(xp, taps[(..., *tap)], _windows(xp, x, geometry, tap)) for tap in geometry.taps)
    return xp.reshape(reduce(add, terms), geometry.output_shape)  # from (N, G, O/G, L)


def contract_x(xp: Any, w: Array, y: Array, geometry: Geometry) -> Array:
    """∂T/∂x: each y (N, O, *output) lays its kernel w (O, C/G, *kernel) down, as (N, C, *padded)."""
    taps = xp.permute_dims(_taps(xp, w, geometry), (0, 2, 1, *range(3, 3 + geometry.ndim)))  # (G, C/G, O/G, *kernel)
    y = _columns(xp, y, geometry, geometry.out_channels)
    terms = (_spread(xp, matmul(xp, taps[(..., *tap)], y), geometry, tap) for tap in geometry.taps)
    return reduce(add, terms)


def contract_w(xp: Any, x: Array, y: Array, geometry: Geometry) -> Array:
    """∂T/∂w: the correlation of padded x (N, C, *padded) with y (N, O, *output), as (O, C/G, *kernel)."""
    y = _fold_batch(xp, _columns(xp, y, geometry, geometry.out_channels))  # (G, O/G, N·L)
    terms = [
        matmul(xp, y, xp.matrix_transpose(_fold_batch(xp, _windows(xp, x, geometry, tap)))) for tap in geometry.taps
    ]
    return xp.reshape(xp.stack(terms, axis=-1), geometry.weight_shape)  # from (G, O/G, C/G, K)


def _taps(xp: Any, w: Array, geometry: Geometry) -> Array:
    groups = geometry.groups
    out_channels, channels, *kernel = geometry.weight_shape
    return xp.reshape(w, (groups, out_channels // groups, channels, *kernel))  # (G, O/G, C/G, *kernel)


def _windows(xp: Any, x: Array, geometry: Geometry, tap: tuple[int, ...]) -> Array:
    """What one tap sees: padded x at s·l + d·k for all l, as (N, G, C/G, L)."""
    for number, (axis, k) in enumerate(zip(geometry.axes, tap, strict=True), start=2):
        start = axis.dilation * k if axis.output_size else 0
        x = restrict(x, number, start, axis.output_size, axis.stride)
    return _columns(xp, x, geometry, geometry.in_channels)


def _spread(xp: Any, columns: Array, geometry: Geometry, tap: tuple[int, ...]) -> Array:
    """The adjoint of `_windows`: (N, G, C/G, L) laid down at s·l + d·k, as (N, C, *padded)."""
    x = xp.reshape(columns, (geometry.batch, geometry.in_channels, *geometry.output_size))
    for number, (axis, k) in enumerate(zip(geometry.axes, tap, strict=True), start=2):
        start = axis.dilation * k if axis.output_size else 0
        x = extend(xp, x, number, start, axis.padded_size, axis.stride)
    return x


def _columns(xp: Any, array: Array, geometry: Geometry, channels: int) -> Array:
    groups, positions = geometry.groups, math.prod(geometry.output_size)
    return xp.reshape(array, (geometry.batch, groups, channels // groups, positions))  # (N, G, channels/G, L)


def _fold_batch(xp: Any, columns: Array) -> Array:
    batch, groups, channels, positions = columns.shape
    columns = xp.permute_dims(columns, (1, 2, 0, 3))  # (G, channels/G, N, L)
    return xp.reshape(columns, (groups, channels, batch * positions))
