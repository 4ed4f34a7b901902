"""Pooling in any number of dimensions, each kind beside its backward pass: a walk over the taps of a window."""

from __future__ import annotations

import math
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from arrconv._namespace import device_of
from arrconv.errors import ShapeError, SpecError
from arrconv.functional.reals import mixed_namespace
from arrconv.geometry import Geometry, check_shape
from arrconv.slicing import extend, restrict
from arrconv.spec import ConvSpec, as_int, per_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrconv._namespace import Array


class PoolOptions(TypedDict, total=False):
    """The keyword options of pooling."""

    stride: int | Sequence[int] | None
    padding: int | Sequence[int | Sequence[int]]
    dilation: int | Sequence[int]


def max_pool(x: Array, kernel_size: int | Sequence[int], /, **options: Unpack[PoolOptions]) -> Array:
    """The largest number of each window, y[n, c, l] = max over k of x[n, c, stride·l + dilation·k − begin].

    What lies beyond x counts for nothing; a window that sees nothing else gives −∞. NaN is larger than any number.

    Args:
        x: real floating-point numbers, (N, C, *size).
        kernel_size: the window, one integer for all axes or one for each.
        stride: from window to window; without it, the window's size.
        padding: as for `conv`, of zeros that count for nothing.
        dilation: from tap to tap of a window.

    Returns:
        (N, C, *output), output = max(0, ⌊(padded − extent)/stride⌋ + 1).

    Raises:
        DTypeError: x does not hold real floating-point numbers.
        ShapeError: x has less than three axes.
        SpecError: an option has no meaning.

    >>> import numpy as np
    >>> max_pool(np.asarray([[[1.0, 3.0, 2.0, 5.0, 4.0]]]), 2)
    array([[[3., 5.]]])
    """
    pool = _Pool.of(x, kernel_size, options)
    return reduce(pool.xp.maximum, pool.windows(x, -math.inf))


def max_pool_backward(
    x: Array, gy: Array, kernel_size: int | Sequence[int], /, **options: Unpack[PoolOptions]
) -> Array:
    """gx: each gy added to the input that was the largest of its window, the first of them where there are several.

    Args:
        x, kernel_size, options: what `max_pool` was given.
        gy: the gradient by its result, (N, C, *output).

    Returns:
        The gradient by x.

    Raises:
        DTypeError, ShapeError, SpecError: as for `max_pool`; the dtypes differ, or gy has another shape.

    >>> import numpy as np
    >>> max_pool_backward(np.asarray([[[1.0, 3.0, 3.0]]]), np.asarray([[[7.0, 8.0]]]), 2, stride=1)
    array([[[ 0., 15.,  0.]]])
    """
    pool = _Pool.of(x, kernel_size, options, gy)
    xp, y = pool.xp, reduce(pool.xp.maximum, pool.windows(x, -math.inf))
    nothing = xp.zeros_like(gy)
    rest, parts = gy, []
    for seen in pool.windows(x, -math.inf):
        is_largest = (seen == y) | xp.isnan(seen)
        parts.append(xp.where(is_largest, rest, nothing))
        rest = xp.where(is_largest, nothing, rest)
    return pool.spread(parts)


def avg_pool(x: Array, kernel_size: int | Sequence[int], /, **options: Unpack[PoolOptions]) -> Array:
    """The mean of each window, the zeros of the padding included.

    Args:
        x, kernel_size, stride, padding, dilation: as for `max_pool`; zeros of the padding count here.

    Returns:
        (N, C, *output), as for `max_pool`.

    Raises:
        DTypeError, ShapeError, SpecError: as for `max_pool`.

    >>> import numpy as np
    >>> avg_pool(np.asarray([[[1.0, 3.0, 2.0, 5.0, 4.0]]]), 2)
    array([[[2. , 3.5]]])
    """
    pool = _Pool.of(x, kernel_size, options)
    return reduce(add, pool.windows(x, 0.0)) / pool.taps


def avg_pool_backward(
    x: Array, gy: Array, kernel_size: int | Sequence[int], /, **options: Unpack[PoolOptions]
) -> Array:
    """gx: each gy shared out evenly to the inputs of its window.

    Args:
        x, kernel_size, options: what `avg_pool` was given; of x only the shape counts.
        gy: the gradient by its result, (N, C, *output).

    Returns:
        The gradient by x.

    Raises:
        DTypeError, ShapeError, SpecError: as for `avg_pool`; the dtypes differ, or gy has another shape.

    >>> import numpy as np
    >>> avg_pool_backward(np.zeros((1, 1, 3)), np.asarray([[[6.0, 8.0]]]), 2, stride=1)
    array([[[3., 7., 4.]]])
    """
    pool = _Pool.of(x, kernel_size, options, gy)
    return pool.spread([gy / pool.taps] * pool.taps)


class _Pool:
    """The walk over the taps of windows: what each sees of an array, and the adjoint."""

    def __init__(self, xp: Any, geometry: Geometry) -> None:
        self.xp, self.geometry = xp, geometry

    @classmethod
    def of(cls, x: Array, kernel_size: Any, options: Any, gy: Array | None = None) -> _Pool:
        """The walk over windows of x, whose options are checked; gy must be of the shape of the result."""
        xp = mixed_namespace(x=x) if gy is None else mixed_namespace(x=x, gy=gy)
        if x.ndim < 3:
            raise ShapeError(f"x has shape {tuple(x.shape)}, but needs (N, C, *size)")
        if unknown := options.keys() - PoolOptions.__annotations__.keys():
            raise SpecError(
                f"{min(unknown)!r} is no option of pooling; there are {', '.join(PoolOptions.__annotations__)}"
            )
        ndim, channels = x.ndim - 2, x.shape[1]
        kernel = per_axis(kernel_size, ndim, "kernel_size", 1)
        stride = options.get("stride")
        spec = ConvSpec.of(
            ndim,
            stride=kernel if stride is None else stride,
            padding=options.get("padding", 0),
            dilation=options.get("dilation", 1),
            groups=max(1, as_int(channels, "channels", 0)),
        )
        geometry = Geometry.forward(spec, tuple(x.shape), (channels, min(channels, 1), *kernel))
        if gy is not None:
            check_shape("gy", gy.shape, geometry.output_shape, "the result of pooling")
        return cls(xp, geometry)

    @property
    def taps(self) -> int:
        """The number of taps of a window."""
        return math.prod(self.geometry.kernel_size)

    def windows(self, x: Array, beyond: float) -> list[Array]:
        """What each tap sees, (N, C, *output), with this number beyond x."""
        for number, axis in enumerate(self.geometry.axes, start=2):
            x = self._padded(x, number, axis.begin, axis.end, beyond)
        return [self._seen(x, tap) for tap in self.geometry.taps]

    def spread(self, parts: list[Array]) -> Array:
        """The adjoint of `windows`: what each tap saw, (N, C, *output), added to where it saw it."""
        total = reduce(add, (self._laid(part, tap) for part, tap in zip(parts, self.geometry.taps, strict=True)))
        for number, axis in enumerate(self.geometry.axes, start=2):
            total = self._padded(total, number, -axis.begin, -axis.end, 0.0)
        return total

    def _seen(self, x: Array, tap: tuple[int, ...]) -> Array:
        for number, (axis, k) in enumerate(zip(self.geometry.axes, tap, strict=True), start=2):
            x = restrict(x, number, axis.dilation * k if axis.output_size else 0, axis.output_size, axis.stride)
        return x

    def _laid(self, part: Array, tap: tuple[int, ...]) -> Array:
        for number, (axis, k) in enumerate(zip(self.geometry.axes, tap, strict=True), start=2):
            start = axis.dilation * k if axis.output_size else 0
            part = extend(self.xp, part, number, start, axis.padded_size, axis.stride)
        return part

    def _padded(self, x: Array, number: int, begin: int, end: int, value: float) -> Array:
        """x with so many elements more of a number at both ends of an axis, or fewer."""
        size = x.shape[number]
        x = restrict(x, number, min(size, max(0, -begin)), max(0, size - max(0, -begin) - max(0, -end)))
        pieces = [self._filled(x, number, max(0, begin), value), x, self._filled(x, number, max(0, end), value)]
        pieces = [piece for piece in pieces if piece.shape[number]]
        return self.xp.concat(pieces, axis=number) if len(pieces) > 1 else pieces[0] if pieces else x

    def _filled(self, like: Array, number: int, size: int, value: float) -> Array:
        shape = (*like.shape[:number], size, *like.shape[number + 1 :])
        return self.xp.full(shape, value, dtype=like.dtype, device=device_of(like))
