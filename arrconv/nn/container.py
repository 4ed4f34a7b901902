"""Layers of layers: one after the other, and one beside a shortcut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from arrconv._namespace import namespace_of
from arrconv.errors import DTypeError, ShapeError, SpecError
from arrconv.geometry import check_shape
from arrconv.nn.layer import Layer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrconv._namespace import Array

Join = Literal["concatenate", "add"]


class Sequential(Layer):
    """Layers one after the other; the backward pass goes through them in reverse.

    >>> import numpy as np
    >>> from arrconv.nn import Conv2d, ReLU
    >>> net = Sequential(Conv2d(3, 8, 3), ReLU(), Conv2d(8, 1, 3)).initialise(np, seed=0)
    >>> net(np.zeros((1, 3, 9, 12), np.float32)).shape
    (1, 1, 5, 8)
    >>> [name for name, _ in net.named_parameters()]
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        for number, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise DTypeError(f"argument {number} is a {type(layer).__name__}, not a layer")
            self.layers[str(number)] = layer
        if len({id(layer) for layer in layers}) < len(layers):
            raise SpecError(
                "a layer is there twice; it keeps what one backward pass needs, so each place needs its own"
            )

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers.values())

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, number: int) -> Layer:
        return list(self)[number]

    def forward(self, x: Array) -> Array:
        """The result of the last layer."""
        for layer in self:
            x = layer.forward(x)
        return x

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """The gradient by the input, each layer's handed to the one before, to the first with parameters at least."""
        layers = list(self)
        first = 0 if needs_input else next((n for n, layer in enumerate(layers) if layer.size), len(layers))
        for number in range(len(layers) - 1, first - 1, -1):
            g = layers[number].backward(gy, needs_input=needs_input or number > first)
            if g is None:
                return None
            gy = g
        return gy if needs_input else None


class Skip(Layer):
    """A layer, and its input beside its result: concatenated along the channels, the result first, or added.

    >>> import numpy as np
    >>> from arrconv.nn import Conv2d
    >>> Skip(Conv2d(3, 8, 3, padding=1)).initialise(np, seed=0)(np.zeros((1, 3, 9, 12), np.float32)).shape
    (1, 11, 9, 12)
    """

    def __init__(self, inner: Layer, join: Join = "concatenate") -> None:
        super().__init__()
        if not isinstance(inner, Layer):
            raise DTypeError(f"inner is a {type(inner).__name__}, not a layer")
        if join not in get_args(Join):
            raise SpecError(f"join={join!r} is unknown; there are {', '.join(get_args(Join))}")
        self.layers["inner"], self.join = inner, join

    @property
    def inner(self) -> Layer:
        """The layer."""
        return self.layers["inner"]

    def forward(self, x: Array) -> Array:
        """Both together."""
        y = self.inner.forward(x)
        if self.join == "add":
            check_shape("the inner result", y.shape, tuple(x.shape), "the input that is added to it")
            return y + x
        if y.ndim != x.ndim or (y.shape[0], *y.shape[2:]) != (x.shape[0], *x.shape[2:]):
            raise ShapeError(
                f"the inner result has shape {tuple(y.shape)}, which differs from the input's, {tuple(x.shape)}, not "
                "only in the channels"
            )
        self.keep(y.shape[1])
        return namespace_of(x).concat([y, x], axis=1)

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """The gradient through the layer, and that past it."""
        if self.join == "add":
            g = self.inner.backward(gy, needs_input=needs_input)
            return None if g is None else g + gy
        channels = self.kept()
        g = self.inner.backward(gy[:, :channels, ...], needs_input=needs_input)
        return None if g is None else g + gy[:, channels:, ...]
