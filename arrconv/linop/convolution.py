"""Convolutions of bounded arrays as operators: every option of `conv`, and the flipped kernels of signal processing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack, get_args

from arrconv._namespace import namespace_of
from arrconv.errors import ShapeError, SpecError
from arrconv.functional.conv import conv, conv_grad_input
from arrconv.geometry import Geometry
from arrconv.linop.operator import Operator
from arrconv.spec import ConvOptions, ConvSpec, check_options, sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrconv._namespace import Array

Extent = Literal["full", "same", "valid"]


class Conv(Operator):
    """`arrconv.conv` with a fixed weight, on arrays of one size. Its adjoint is a transposed convolution.

    Args:
        w: the weight, (C_out, C_in/groups, *kernel), for arrays (C_in, *input_size); or a kernel without channels,
            with as many axes as input_size, for arrays (*input_size).
        input_size: the spatial sizes of what it takes.
        algorithm: as for `conv`.
        options: stride, padding, dilation, groups, padding_mode, as for `conv`.

    Raises:
        ShapeError: w has neither as many axes as input_size nor two more, or shapes do not fit.
        SpecError: an option has no meaning.
        DTypeError: w is no array of real or complex floating-point numbers.

    Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016, section 4.

    >>> import numpy as np
    >>> A = Conv(np.asarray([[[1.0, 10.0]]]), (3,), padding=1)
    >>> A.to_matrix()
    array([[10.,  0.,  0.],
           [ 1., 10.,  0.],
           [ 0.,  1., 10.],
           [ 0.,  0.,  1.]])
    >>> A.H @ np.asarray([[1.0, 0.0, 0.0, 0.0]])
    array([[10.,  0.,  0.]])
    """

    def __init__(
        self, w: Array, input_size: Sequence[int], *, algorithm: str = "auto", **options: Unpack[ConvOptions]
    ) -> None:
        check_options("Conv", options, ConvOptions)
        size = sizes(input_size, "input_size")
        ndim = len(size)
        self._has_channels = has_channels(w, ndim)
        self.w = w if self._has_channels else w[None, None, ...]
        spec = ConvSpec.of(ndim, **options)
        channels = self.w.shape[1] * spec.groups
        self.geometry = Geometry.forward(spec, (1, channels, *size), tuple(self.w.shape))
        lead = [(n,) if self._has_channels else () for n in (channels, self.w.shape[0])]
        super().__init__((*lead[0], *size), (*lead[1], *self.geometry.output_size), w)
        self._options, self._algorithm = options, algorithm

    def _map(self, x: Array) -> Array:
        y = conv(self._with_channels(x), self.w, algorithm=self._algorithm, **self._options)
        return self.xp.reshape(y, (x.shape[0], *self.shape_out))

    def _map_back(self, y: Array) -> Array:
        x = conv_grad_input(
            self.w, self._with_channels(y), input_size=self.geometry.input_size, algorithm=self._algorithm,
            **self._options,
        )  # fmt: skip
        return self.xp.reshape(x, (y.shape[0], *self.shape_in))

    def _with_channels(self, x: Array) -> Array:
        return x if self._has_channels else self.xp.expand_dims(x, axis=1)


class Convolve(Conv):
    """Convolution in the sense of signal processing: y[i] = Σ_t k[t]·x[i − t], the kernel flipped.

    Args:
        kernel: (C_out, C_in, *kernel), or without channels, as for `Conv`.
        input_size: the spatial sizes of what it takes.
        extent: "full": every i that a product reaches, input + kernel − 1; "valid": those whose products all lie within
            the input; "same": as many as the input has, out of the middle of "full", from its (kernel − 1)//2-th on.

    Raises:
        SpecError: there is no such extent.
        ShapeError, DTypeError: as for `Conv`.

    >>> import numpy as np
    >>> Convolve(np.asarray([1.0, 10.0, 100.0]), (2,)) @ np.asarray([1.0, 2.0])
    array([  1.,  12., 120., 200.])
    """

    def __init__(self, kernel: Array, input_size: Sequence[int], *, extent: Extent = "full") -> None:
        if extent not in get_args(Extent):
            raise SpecError(f"extent={extent!r} is unknown; there are {', '.join(get_args(Extent))}")
        ndim = len(sizes(input_size, "input_size"))
        has_channels(kernel, ndim)
        lengths = kernel.shape[kernel.ndim - ndim :]
        ends = {
            "full": [(k - 1, k - 1) for k in lengths],
            "same": [(k // 2, (k - 1) // 2) for k in lengths],
            "valid": [(0, 0)] * ndim,
        }
        super().__init__(_flipped(kernel, ndim), input_size, padding=ends[extent])


class Correlate(Convolve):
    """Correlation: y[i] = Σ_t conj(k[t])·x[i + t], the matched filter; the adjoint of `Convolve` with the same kernel.

    The adjoint of "full" is "valid", that of "valid" is "full"; that of "same" is "same" for odd kernels.

    Args:
        kernel, input_size, extent: as for `Convolve`; "full" begins where the kernel's last element meets the input's
            first.

    Raises:
        SpecError, ShapeError, DTypeError: as for `Convolve`.

    >>> import numpy as np
    >>> k = np.asarray([1.0, 10.0, 100.0])
    >>> Correlate(k, (4,), extent="valid") @ np.asarray([1.0, 2.0, 3.0, 4.0])
    array([321., 432.])
    """

    def __init__(self, kernel: Array, input_size: Sequence[int], *, extent: Extent = "full") -> None:
        ndim = len(sizes(input_size, "input_size"))
        has_channels(kernel, ndim)
        super().__init__(_flipped(conjugated(kernel), ndim), input_size, extent=extent)


def has_channels(w: Array, ndim: int) -> bool:
    """Whether a kernel for so many spatial axes has two axes of channels before them.

    Raises:
        ShapeError: it has neither as many axes nor two more.
    """
    if w.ndim not in (ndim, ndim + 2):
        raise ShapeError(
            f"the kernel has shape {tuple(w.shape)}, but for {ndim} spatial axes it needs {ndim} axes, or two more for "
            "the channels (C_out, C_in)"
        )
    return bool(w.ndim == ndim + 2)


def conjugated(array: Array) -> Array:
    """The conjugate of complex numbers; real ones as they are."""
    xp = namespace_of(array)
    return xp.conj(array) if xp.isdtype(array.dtype, "complex floating") else array


def _flipped(kernel: Array, ndim: int) -> Array:
    return namespace_of(kernel).flip(kernel, axis=tuple(range(kernel.ndim - ndim, kernel.ndim)))
