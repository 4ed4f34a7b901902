"""Convolution and transposed convolution as layers; arguments, weights and their names are PyTorch's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Self

from arrconv.errors import ShapeError, SpecError
from arrconv.functional.conv import conv, conv_backward, conv_transpose, conv_transpose_backward
from arrconv.nn.layer import Layer, Parameter
from arrconv.spec import ConvSpec, as_int, per_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrconv._namespace import Array
    from arrconv.spec import NamedPadding, PaddingMode


class _Convolution(Layer):
    """What both have in common: a weight, perhaps a bias, options, and the two passes."""

    ndim: ClassVar[int | None] = None

    def __init__(
        self, weight: tuple[int, ...], features: int, fan_in: int, has_bias: bool, options: dict[str, Any]
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
        self.parameters["weight"] = Parameter(weight, -bound, bound)
        if has_bias:
            self.parameters["bias"] = Parameter((features,), -bound, bound)
        self.options = options

    @classmethod
    def _kernel(cls, kernel_size: int | Sequence[int]) -> tuple[int, ...]:
        """The kernel size on each axis; a layer of any number of axes needs a tuple."""
        if cls.ndim is not None:
            return per_axis(kernel_size, cls.ndim, "kernel_size", 1)
        if isinstance(kernel_size, int):
            raise SpecError(f"{cls.__name__} has as many axes as kernel_size has numbers, but that is {kernel_size}")
        return per_axis(kernel_size, len(kernel_size), "kernel_size", 1)

    @property
    def _bias(self) -> Array | None:
        return self.value("bias") if "bias" in self.parameters else None

    def convolve_by(self, algorithm: str) -> Self:
        """Use an algorithm, by the name that `conv` takes, in both passes."""
        super().convolve_by(algorithm)
        self.options["algorithm"] = algorithm
        return self

    def _checked(self, x: Array) -> Array:
        """x, which must have a batch."""
        axes = len(self.parameters["weight"].shape)
        if x.ndim != axes:
            raise ShapeError(
                f"{type(self).__name__} needs (N, C, *size) with {axes} axes, but x has shape {tuple(x.shape)}"
            )
        return x

    def _backward(self, function: Any, gy: Array, needs_input: bool) -> Array | None:
        needs = [
            name for name, is_needed in (("input", needs_input), *((n, True) for n in self.parameters)) if is_needed
        ]
        gradients = function(self.kept(), self.value("weight"), gy, needs=needs, **self.options)
        for name, parameter in self.parameters.items():
            parameter.add(getattr(gradients, name))
        return gradients.input


class Conv(_Convolution):
    """`conv` with its weight (C_out, C_in/groups, *kernel) and bias (C_out,), over as many axes as the kernel has.

    Args:
        in_channels, out_channels: C_in and C_out.
        kernel_size: one number for each axis; `Conv1d`, `Conv2d` and `Conv3d` take an integer for all.
        stride, padding, dilation, groups, padding_mode: as for `conv`.
        bias: whether there is one.

    Raises:
        SpecError: an argument has no meaning.

    >>> import numpy as np
    >>> layer = Conv2d(3, 8, 5, stride=2, padding=2).initialise(np, seed=0)
    >>> layer(np.zeros((1, 3, 9, 12), np.float32)).shape
    (1, 8, 5, 6)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int | Sequence[int]] | NamedPadding = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
    ) -> None:
        kernel = self._kernel(kernel_size)
        options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        options["padding_mode"] = padding_mode
        channels, features, groups = _channels(in_channels, out_channels, groups)
        ConvSpec.of(len(kernel), **options)  # which checks them
        weight = (features, channels // groups, *kernel)
        super().__init__(weight, features, math.prod(weight[1:]), bias, options)

    def forward(self, x: Array) -> Array:
        """y = conv(x, weight, bias)."""
        self.keep(self._checked(x))
        return conv(x, self.value("weight"), self._bias, **self.options)

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """The other two derivatives of the trilinear form, and the sum of gy for the bias: `conv_backward`."""
        return self._backward(conv_backward, gy, needs_input)


class ConvTranspose(_Convolution):
    """`conv_transpose` with its weight (C_in, C_out/groups, *kernel) and bias (C_out,).

    Args:
        in_channels, out_channels: of what it takes and gives.
        kernel_size: as for `Conv`.
        stride, padding, output_padding, groups, dilation: as for `conv_transpose`.
        bias: whether there is one.
        padding_mode: "zeros", the only one.

    Raises:
        SpecError: an argument has no meaning.

    >>> import numpy as np
    >>> layer = ConvTranspose2d(8, 3, 2, stride=2).initialise(np, seed=0)
    >>> layer(np.zeros((1, 8, 5, 6), np.float32)).shape
    (1, 3, 10, 12)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int | Sequence[int]] | NamedPadding = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        padding_mode: PaddingMode = "zeros",
    ) -> None:
        if padding_mode != "zeros":
            raise SpecError(f"a transposed convolution has padding_mode='zeros' only, but got {padding_mode!r}")
        kernel = self._kernel(kernel_size)
        options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        channels, features, groups = _channels(in_channels, out_channels, groups)
        ConvSpec.of(len(kernel), **options)
        weight = (channels, features // groups, *kernel)
        fan_in = math.prod(weight[1:])  # PyTorch's, which counts the outputs of an input
        super().__init__(weight, features, fan_in, bias, options | {"output_padding": output_padding})

    def forward(self, x: Array) -> Array:
        """conv_transpose(x, weight, bias)."""
        self.keep(self._checked(x))
        return conv_transpose(x, self.value("weight"), self._bias, **self.options)

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """A convolution of gy for the input, the weight gradient with exchanged roles, and the sum for the bias."""
        return self._backward(conv_transpose_backward, gy, needs_input)


class Conv1d(Conv):
    """`Conv` over one axis."""

    ndim = 1


class Conv2d(Conv):
    """`Conv` over two axes."""

    ndim = 2


class Conv3d(Conv):
    """`Conv` over three axes."""

    ndim = 3


class ConvTranspose1d(ConvTranspose):
    """`ConvTranspose` over one axis."""

    ndim = 1


class ConvTranspose2d(ConvTranspose):
    """`ConvTranspose` over two axes."""

    ndim = 2


class ConvTranspose3d(ConvTranspose):
    """`ConvTranspose` over three axes."""

    ndim = 3


TransposeConv2d = ConvTranspose2d


class Upsampling(ConvTranspose2d):
    """A learned upsampling: a transposed convolution whose stride is its kernel, unless another is given.

    Args:
        in_channels, out_channels, kernel_size: as for `ConvTranspose`.
        stride: without it, the kernel size: every input becomes a block of that size.
        padding, output_padding, groups, bias, dilation: as for `ConvTranspose`.

    >>> import numpy as np
    >>> Upsampling(8, 3, 2).initialise(np, seed=0)(np.zeros((1, 8, 5, 6), np.float32)).shape
    (1, 3, 10, 12)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int | Sequence[int]] | NamedPadding = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
    ) -> None:
        stride = kernel_size if stride is None else stride
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation
        )


def _channels(in_channels: int, out_channels: int, groups: int) -> tuple[int, int, int]:
    """The three as integers; the groups must divide both."""
    found = as_int(in_channels, "in_channels", 1), as_int(out_channels, "out_channels", 1), as_int(groups, "groups", 1)
    for name, channels in (("in_channels", found[0]), ("out_channels", found[1])):
        if channels % found[2]:
            raise SpecError(f"{name}={channels} is not divisible by groups={found[2]}")
    return found
