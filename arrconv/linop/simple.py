"""Operators that move, choose or scale numbers: identity, diagonal, padding, cropping, sampling; and the FFT."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

from arrconv.errors import DTypeError, ShapeError, SpecError
from arrconv.functional.resize import Interpolation, upsample, upsample_backward
from arrconv.geometry import Geometry
from arrconv.linop.operator import Operator
from arrconv.padding import pad, pad_adjoint
from arrconv.slicing import extend, restrict
from arrconv.spec import ConvSpec, as_int, per_axis, sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arrconv._namespace import Array
    from arrconv.spec import PaddingMode


class Identity(Operator):
    """x ↦ x.

    Args:
        shape: of x.
        like: an array of the library and dtype, on the device.
    """

    def __init__(self, shape: Sequence[int], like: Array) -> None:
        super().__init__(shape, shape, like)

    def _map(self, x: Array) -> Array:
        return x

    def _map_back(self, y: Array) -> Array:
        return y


class Diagonal(Operator):
    """x ↦ d·x, element by element.

    Args:
        diagonal: the factors, in the shape of x; or of a shape that broadcasts to `shape`.
        shape: of x; that of the factors where it is not given.

    >>> import numpy as np
    >>> Diagonal(np.asarray([[2.0], [3.0]]), shape=(2, 3)) @ np.ones((2, 3))
    array([[2., 2., 2.],
           [3., 3., 3.]])
    """

    def __init__(self, diagonal: Array, shape: Sequence[int] | None = None) -> None:
        shape = tuple(diagonal.shape) if shape is None else tuple(shape)
        super().__init__(shape, shape, diagonal)
        try:
            self.diagonal = self.xp.broadcast_to(diagonal, self.shape_in)
        except ValueError:
            raise ShapeError(f"factors of shape {tuple(diagonal.shape)} do not broadcast to {self.shape_in}") from None

    def _map(self, x: Array) -> Array:
        return x * self.diagonal

    def _map_back(self, y: Array) -> Array:
        return y * (self.xp.conj(self.diagonal) if self.is_complex else self.diagonal)


class Pad(Operator):
    """The last axes of x continued beyond their ends; with negative amounts, cropped.

    Args:
        shape: of x, (..., *size).
        padding: for each of the last axes (begin, end), or one number for both.
        like: an array of the library and dtype, on the device.
        mode: "zeros", "circular", "reflect" or "replicate", as for `conv`.

    Raises:
        SpecError, ShapeError: as for `conv`.

    >>> import numpy as np
    >>> Pad((3,), [(1, 2)], np.zeros(0), mode="circular") @ np.asarray([1.0, 2.0, 3.0])
    array([3., 1., 2., 3., 1., 2.])
    """

    def __init__(
        self, shape: Sequence[int], padding: Sequence[int | Sequence[int]], like: Array, *, mode: PaddingMode = "zeros"
    ) -> None:
        ndim = len(padding)
        if len(shape) < ndim:
            raise ShapeError(f"padding for {ndim} axes is given, but the shape {tuple(shape)} has {len(shape)}")
        spec = ConvSpec.of(ndim, padding=padding, padding_mode=mode)
        size = tuple(shape)[len(shape) - ndim :]
        self._geometry = Geometry.forward(spec, (1, 1, *size), (1, 1, *(1,) * ndim))
        super().__init__(shape, (*tuple(shape)[: len(shape) - ndim], *self._geometry.output_size), like)

    def _map(self, x: Array) -> Array:
        return pad(self.xp, x, self._geometry)

    def _map_back(self, y: Array) -> Array:
        return pad_adjoint(self.xp, y, self._geometry)


class Crop(Pad):
    """The last axes of x without so many elements at their ends.

    Args:
        shape: of x, (..., *size).
        amounts: for each of the last axes (begin, end), or one number for both, not negative.
        like: an array of the library and dtype, on the device.

    Raises:
        SpecError: an amount is negative.

    >>> import numpy as np
    >>> Crop((4,), [(1, 2)], np.zeros(0)) @ np.asarray([1.0, 2.0, 3.0, 4.0])
    array([2.])
    """

    def __init__(self, shape: Sequence[int], amounts: Sequence[int | Sequence[int]], like: Array) -> None:
        ends = [(entry, entry) if isinstance(entry, int) else entry for entry in amounts]
        negated = [[-as_int(n, f"amounts[{axis}]", 0) for n in both] for axis, both in enumerate(ends)]
        super().__init__(shape, negated, like)


class Downsample(Operator):
    """Every s-th element of the last axes of x, from the first on; the adjoint puts zeros between.

    Args:
        shape: of x, (..., *size).
        factors: s for each of the last axes, at least 1.
        like: an array of the library and dtype, on the device.

    >>> import numpy as np
    >>> A = Downsample((5,), (2,), np.zeros(0))
    >>> A @ np.asarray([1.0, 2.0, 3.0, 4.0, 5.0]), A.H @ np.asarray([1.0, 3.0, 5.0])
    (array([1., 3., 5.]), array([1., 0., 3., 0., 5.]))
    """

    def __init__(self, shape: Sequence[int], factors: Sequence[int], like: Array) -> None:
        self._factors = sizes(factors, "factors", minimum=1)
        lead = len(shape) - len(self._factors)
        if lead < 0:
            raise ShapeError(f"{len(self._factors)} factors are given, but the shape {tuple(shape)} has {len(shape)}")
        fewer = [-(-n // s) for n, s in zip(tuple(shape)[lead:], self._factors, strict=True)]
        super().__init__(shape, (*tuple(shape)[:lead], *fewer), like)

    def _map(self, x: Array) -> Array:
        for axis, s, _, length in self._axes():
            x = restrict(x, axis, 0, length, s)
        return x

    def _map_back(self, y: Array) -> Array:
        for axis, s, size, _ in self._axes():
            y = extend(self.xp, y, axis, 0, size, s)
        return y

    def _axes(self) -> Iterator[tuple[int, int, int, int]]:
        """For each sampled axis of (N, *shape): its number, its factor, its length in x and in y."""
        lead = len(self.shape_in) - len(self._factors)
        for number, s in enumerate(self._factors, start=lead):
            yield number + 1, s, self.shape_in[number], self.shape_out[number]


class Reshape(Operator):
    """The same numbers, in the same order, in another shape.

    Args:
        shape_in, shape_out: of as many elements.
        like: an array of the library and dtype, on the device.

    Raises:
        ShapeError: they have not as many.
    """

    def __init__(self, shape_in: Sequence[int], shape_out: Sequence[int], like: Array) -> None:
        super().__init__(shape_in, shape_out, like)
        if self.size_in != self.size_out:
            raise ShapeError(f"shape {self.shape_in} has {self.size_in} elements, but {self.shape_out} {self.size_out}")

    def _map(self, x: Array) -> Array:
        return self.xp.reshape(x, (x.shape[0], *self.shape_out))

    def _map_back(self, y: Array) -> Array:
        return self.xp.reshape(y, (y.shape[0], *self.shape_in))


class Phases(Operator):
    """The elements r, r + s, r + 2s, … of each axis as a channel of its own, for r = 0 … s − 1: (C·∏s, *(size/s)).

    A convolution of stride s is one of stride 1 of these channels. The order is that of (C, *s).

    Args:
        shape: of x, (C, *size).
        factors: s for each axis, at least 1, divisors of the sizes.
        like: an array of the library and dtype, on the device.

    Raises:
        ShapeError: a size is no multiple of its factor, or their numbers differ.

    Source: P. P. Vaidyanathan, "Multirate systems and filter banks", 1993, section 4.3, the polyphase representation.

    >>> import numpy as np
    >>> Phases((1, 6), (3,), np.zeros(0)) @ np.arange(6.0)[None, :]
    array([[0., 3.],
           [1., 4.],
           [2., 5.]])
    """

    def __init__(self, shape: Sequence[int], factors: Sequence[int], like: Array) -> None:
        factors = sizes(factors, "factors", minimum=1)
        channels, *size = shape
        if len(size) != len(factors) or any(n % s for n, s in zip(size, factors, strict=True)):
            raise ShapeError(f"the sizes of {tuple(shape)} beyond the channels are no multiples of {factors}")
        fewer = [n // s for n, s in zip(size, factors, strict=True)]
        self._apart = [part for n, s in zip(fewer, factors, strict=True) for part in (n, s)]
        super().__init__(shape, (channels * math.prod(factors), *fewer), like)
        axes = len(size)
        self._order = (0, 1, *range(3, 3 + 2 * axes, 2), *range(2, 2 + 2 * axes, 2))

    def _map(self, x: Array) -> Array:
        parts = self.xp.reshape(x, (*x.shape[:2], *self._apart))
        return self.xp.reshape(self.xp.permute_dims(parts, self._order), (x.shape[0], *self.shape_out))

    def _map_back(self, y: Array) -> Array:
        xp, order = self.xp, self._order
        counts = (y.shape[0], self.shape_in[0], *self._apart)
        parts = xp.reshape(y, tuple(counts[axis] for axis in order))
        back = sorted(range(len(order)), key=order.__getitem__)
        return xp.reshape(xp.permute_dims(parts, tuple(back)), (y.shape[0], *self.shape_in))


class Upsample(Operator):
    """Upsampling of (C, *size) by an integer factor, as `arrconv.upsample` does: a transposed convolution.

    Args:
        shape: of x, (C, *size).
        factor: one integer for all axes or one for each, at least 1.
        like: a real array of the library and dtype, on the device.
        mode: "linear" (bilinear, trilinear) or "nearest".

    Source: J. Long, E. Shelhamer, T. Darrell, "Fully convolutional networks for semantic segmentation", 2015, section
    3.3.

    >>> import numpy as np
    >>> Upsample((1, 2), 2, np.zeros(0)) @ np.asarray([[0.0, 4.0]])
    array([[0., 1., 3., 4.]])
    """

    def __init__(
        self, shape: Sequence[int], factor: int | Sequence[int], like: Array, *, mode: Interpolation = "linear"
    ) -> None:
        self._factor, self._mode = per_axis(factor, len(shape) - 1, "factor", 1), mode
        if len(shape) < 2:
            raise ShapeError(f"shape {tuple(shape)} has no channels, or no axis to upsample; give (C, *size)")
        larger = (n * f for n, f in zip(tuple(shape)[1:], self._factor, strict=True))
        super().__init__(shape, (shape[0], *larger), like)
        if self.is_complex:
            raise DTypeError(f"upsampling is of real numbers, but got dtype {self.dtype}")
        if mode not in get_args(Interpolation):
            raise SpecError(f"mode={mode!r} is unknown; there are {', '.join(get_args(Interpolation))}")

    def _map(self, x: Array) -> Array:
        return upsample(x, self._factor, mode=self._mode)

    def _map_back(self, y: Array) -> Array:
        return upsample_backward(y, self._factor, mode=self._mode)


class FFT(Operator):
    """The discrete Fourier transform of the last axes, divided by the square root of their size: it is unitary.

    Args:
        shape: of x, (..., *size).
        ndim: how many axes are transformed.
        like: a complex array of the library and dtype, on the device.

    >>> import numpy as np
    >>> F = FFT((4,), 1, np.zeros(0, complex))
    >>> np.round((F.H @ F).to_matrix(), 12).real
    array([[1., 0., 0., 0.],
           [0., 1., 0., 0.],
           [0., 0., 1., 0.],
           [0., 0., 0., 1.]])
    """

    def __init__(self, shape: Sequence[int], ndim: int, like: Array) -> None:
        super().__init__(shape, shape, like)
        if not self.is_complex:
            raise DTypeError(f"Fourier transforms are complex, but got dtype {self.dtype}")
        if not 1 <= as_int(ndim, "ndim") <= len(self.shape_in):
            raise SpecError(f"ndim must be from 1 to {len(self.shape_in)}, but got {ndim}")
        self._axes = tuple(range(-ndim, 0))

    def _map(self, x: Array) -> Array:
        return self.xp.fft.fftn(x, axes=self._axes, norm="ortho")

    def _map_back(self, y: Array) -> Array:
        return self.xp.fft.ifftn(y, axes=self._axes, norm="ortho")
