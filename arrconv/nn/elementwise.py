"""Layers without parameters that work element by element, window by window, or on shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from arrconv._namespace import device_of, namespace_of
from arrconv.errors import ShapeError, SpecError
from arrconv.functional import activation, pool, resize
from arrconv.functional.random import uniform
from arrconv.functional.reals import as_number
from arrconv.nn.layer import Layer
from arrconv.spec import as_int

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrconv._namespace import Array
    from arrconv.functional.resize import Interpolation


class ReLU(Layer):
    """max(0, x), of which the backward pass lets through what was positive."""

    def forward(self, x: Array) -> Array:
        """y = relu(x)."""
        y = activation.relu(x)
        self.keep(y)  # positive where x is; the next layer keeps it, too
        return y

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """Gx = gy where x > 0."""
        return activation.relu_backward(self.kept(), gy) if needs_input else None


class LeakyReLU(Layer):
    """x where x > 0, else negative_slope·x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = as_number(negative_slope, "negative_slope")

    def forward(self, x: Array) -> Array:
        """y = leaky_relu(x)."""
        self.keep(x)
        return activation.leaky_relu(x, negative_slope=self.negative_slope)

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """Gx = gy where x > 0, else negative_slope·gy."""
        x = self.kept()
        return activation.leaky_relu_backward(x, gy, negative_slope=self.negative_slope) if needs_input else None


class Sigmoid(Layer):
    """1/(1 + e^−x)."""

    def forward(self, x: Array) -> Array:
        """y = sigmoid(x)."""
        y = activation.sigmoid(x)
        self.keep(y)
        return y

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """Gx = gy·y·(1 − y)."""
        return activation.sigmoid_backward(self.kept(), gy) if needs_input else None


class Tanh(Layer):
    """The hyperbolic tangent."""

    def forward(self, x: Array) -> Array:
        """y = tanh(x)."""
        y = activation.tanh(x)
        self.keep(y)
        return y

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """Gx = gy·(1 − y²)."""
        return activation.tanh_backward(self.kept(), gy) if needs_input else None


class Softplus(Layer):
    """log(1 + e^x)."""

    def forward(self, x: Array) -> Array:
        """y = softplus(x)."""
        self.keep(x)
        return activation.softplus(x)

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """Gx = gy·sigmoid(x)."""
        return activation.softplus_backward(self.kept(), gy) if needs_input else None


class _Pool(Layer):
    """What both kinds of pooling have in common."""

    ndim: ClassVar[int | None] = None
    passes: ClassVar[tuple[Any, Any]]

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int | Sequence[int]] = 0,
        dilation: int | Sequence[int] = 1,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.options: Any = {"stride": stride, "padding": padding, "dilation": dilation}

    def forward(self, x: Array) -> Array:
        """Pool x."""
        if self.ndim is not None and x.ndim != self.ndim + 2:
            raise ShapeError(f"{type(self).__name__} needs {self.ndim + 2} axes, but x has shape {tuple(x.shape)}")
        self.keep(x)
        return self.passes[0](x, self.kernel_size, **self.options)

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """The gradient by x."""
        x = self.kept()
        return self.passes[1](x, gy, self.kernel_size, **self.options) if needs_input else None


class MaxPool(_Pool):
    """`max_pool` over any number of axes; `MaxPool1d`, `MaxPool2d` and `MaxPool3d` insist on theirs."""

    passes = pool.max_pool, pool.max_pool_backward


class AvgPool(_Pool):
    """`avg_pool` over any number of axes; `AvgPool1d`, `AvgPool2d` and `AvgPool3d` insist on theirs."""

    passes = pool.avg_pool, pool.avg_pool_backward


class MaxPool1d(MaxPool):
    """`MaxPool` over one axis."""

    ndim = 1


class MaxPool2d(MaxPool):
    """`MaxPool` over two axes."""

    ndim = 2


class MaxPool3d(MaxPool):
    """`MaxPool` over three axes."""

    ndim = 3


class AvgPool1d(AvgPool):
    """`AvgPool` over one axis."""

    ndim = 1


class AvgPool2d(AvgPool):
    """`AvgPool` over two axes."""

    ndim = 2


class AvgPool3d(AvgPool):
    """`AvgPool` over three axes."""

    ndim = 3


class Upsample(Layer):
    """`upsample` by an integer factor, without parameters."""

    def __init__(self, scale_factor: int | Sequence[int], mode: Interpolation = "nearest") -> None:
        super().__init__()
        self.scale_factor, self.mode = scale_factor, mode

    def forward(self, x: Array) -> Array:
        """The finer x."""
        return resize.upsample(x, self.scale_factor, mode=self.mode)

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """The adjoint of the linear map that it is."""
        return resize.upsample_backward(gy, self.scale_factor, mode=self.mode) if needs_input else None


class Flatten(Layer):
    """The axes from `start_dim` on as one."""

    def __init__(self, start_dim: int = 1) -> None:
        super().__init__()
        self.start_dim = as_int(start_dim, "start_dim", 0)

    def forward(self, x: Array) -> Array:
        """x with fewer axes."""
        self.keep(tuple(x.shape))
        shape = x.shape[: self.start_dim]
        return namespace_of(x).reshape(x, (*shape, math.prod(x.shape[self.start_dim :])))

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """Gy in the shape of x."""
        shape = self.kept()
        return namespace_of(gy).reshape(gy, shape) if needs_input else None


class Dropout(Layer):
    """In training mode each element is 0 with probability p, else divided by 1 − p.

    Which, the seed and the number of passes so far decide, on every library alike; `calls` can be set back.
    """

    def __init__(self, p: float = 0.5, *, seed: int = 0) -> None:
        super().__init__()
        self.p, self.seed, self.calls = as_number(p, "p"), as_int(seed, "seed"), 0
        if not 0 <= self.p < 1:
            raise SpecError(f"p must be at least 0 and below 1, but got {p!r}")

    def forward(self, x: Array) -> Array:
        """x with some elements dropped, in training mode."""
        if not self.is_training:
            return x
        xp = namespace_of(x)
        numbers = uniform(xp, tuple(x.shape), self.seed, self.calls, dtype=x.dtype, device=device_of(x))
        self.calls += 1
        factor = xp.astype(numbers >= self.p, x.dtype) / (1 - self.p)
        self.keep(factor)
        return x * factor

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """The same elements of gy dropped."""
        factor = self.kept()
        return gy * factor if needs_input else None
