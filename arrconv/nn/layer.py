"""What a layer is: a forward and a backward pass, parameters with their gradients, and layers within it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from arrconv._namespace import device_of, namespace_of
from arrconv.errors import ShapeError, SpecError
from arrconv.functional.random import uniform
from arrconv.geometry import check_shape
from arrconv.kernels import check_algorithm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from arrconv._namespace import Array


@dataclass(eq=False)
class Parameter:
    """An array that is learned, and the gradient of the loss by it.

    Attributes:
        shape: of both.
        low, high: between which the first values are drawn, evenly; equal for a constant.
        value: the array; None before `Layer.initialise`.
        grad: what backward passes have added up; None where none has.
        is_learned: whether it has a gradient; a running mean has not.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    value: Any = None
    grad: Any = None
    is_learned: bool = True

    def add(self, gradient: Array) -> None:
        """Add to the gradient."""
        self.grad = gradient if self.grad is None else self.grad + gradient

    def draw(self, xp: Any, dtype: Any, device: Any, *key: int) -> None:
        """Give it its first values, which the key decides."""
        if self.low == self.high:
            self.value = xp.full(self.shape, self.low, dtype=dtype, device=device)
        else:
            unit = uniform(xp, self.shape, *key, dtype=dtype, device=device)
            self.value = unit * (self.high - self.low) + self.low
        self.grad = None


class Layer:
    """A function with a backward pass. A subclass defines `forward` and `backward`, and names what it is made of.

    `forward` keeps what `backward` needs, unless the layer is in evaluation mode; `backward` takes the gradient by the
    result, adds to the gradients of the parameters, and returns that by the input.

    Attributes:
        parameters: by name, as PyTorch names them.
        layers: those within it, by name.
        is_training: whether it is in training mode.
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Parameter] = {}
        self.layers: dict[str, Layer] = {}
        self.is_training = True
        self._kept: Any = None

    def forward(self, x: Array) -> Array:
        """The layer's result."""
        raise NotImplementedError

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """The gradient by the last input, given that by the result; None where it is not needed.

        The gradients of the parameters are added to what is there.
        """
        raise NotImplementedError

    def __call__(self, x: Array) -> Array:
        """`forward`."""
        return self.forward(x)

    @property
    def size(self) -> int:
        """The number of learned numbers."""
        return sum(math.prod(p.shape) for _, p in self.named_parameters() if p.is_learned)

    @property
    def example(self) -> Array:
        """One of its arrays: where they are, and of which library and dtype."""
        for _, parameter in self.named_parameters():
            if parameter.value is None:
                break
            return parameter.value
        raise SpecError(f"this {type(self).__name__} has no arrays yet, or no parameters at all")

    def keep(self, what: Any) -> None:
        """Remember for the backward pass, in training mode."""
        self._kept = what if self.is_training else None

    def kept(self) -> Any:
        """What the last forward pass kept; it can be had once."""
        if self._kept is None:
            raise SpecError(f"{type(self).__name__}.backward needs a forward pass in training mode before each call")
        kept, self._kept = self._kept, None
        return kept

    def value(self, name: str) -> Array:
        """A parameter's array."""
        value = self.parameters[name].value
        if value is None:
            raise SpecError(
                f"{type(self).__name__} has no {name} yet; call initialise(numpy, seed=0), or load_state_dict, first"
            )
        return value

    def initialise(self, library: Any, *, seed: int, dtype: str = "float32", device: Any = None) -> Self:
        """Draw all parameters, as PyTorch would: evenly between ±1/√fan_in, biases included.

        The values depend on the seed and the parameter's number, on nothing else: they are the same on every library.

        Args:
            library: the array library, such as the module `numpy` or `cupy`.
            seed: any integer.
            dtype: "float32" or "float64".
            device: where the library should put them; its own choice where it is not given.

        Returns:
            The layer itself.

        Raises:
            SpecError: the library has no such dtype, or it is no array library.

        >>> import numpy as np
        >>> from arrconv import nn
        >>> nn.Conv2d(3, 8, 3).initialise(np, seed=0).value("weight").shape
        (8, 3, 3, 3)
        """
        xp = namespace_of(library)
        if dtype not in ("float32", "float64"):
            raise SpecError(f"dtype={dtype!r} is unknown; parameters are float32 or float64")
        for number, (_, parameter) in enumerate(self.named_parameters()):
            parameter.draw(xp, getattr(xp, dtype), device, seed, number)
        return self

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters, those of the layers within it included, by the names that PyTorch gives them."""
        yield from self.parameters.items()
        for name, layer in self.layers.items():
            yield from ((f"{name}.{inner}", parameter) for inner, parameter in layer.named_parameters())

    def param(self) -> list[tuple[Array, Array]]:
        """(parameter, gradient) of all that are learned; zeros where there is no gradient yet."""
        return [(p.value, _gradient(p)) for _, p in self.named_parameters() if p.is_learned]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for _, parameter in self.named_parameters():
            parameter.grad = None

    def update_parameters(self, values: Sequence[Array]) -> None:
        """Replace the arrays of all that are learned, in the order of `param`."""
        learned = [(name, p) for name, p in self.named_parameters() if p.is_learned]
        if len(values) != len(learned):
            raise ShapeError(f"{len(values)} arrays are given for {len(learned)} parameters")
        for (name, parameter), value in zip(learned, values, strict=True):
            check_shape(name, value.shape, parameter.shape, "the parameter")
            parameter.value = value

    def state_dict(self) -> dict[str, Array]:
        """All arrays that a trained layer consists of, by the names that PyTorch gives them."""
        return {name: parameter.value for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over arrays from a state, such as another layer's, or a PyTorch module's, `state_dict`.

        They are copied to the library, dtype and device of the parameters that are there; where there are none yet,
        they are taken as they are. Nothing is taken where anything does not fit.

        Raises:
            SpecError: names are missing, or there are others.
            ShapeError: an array has another shape.
        """
        own = dict(self.named_parameters())
        missing, others = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        others = [name for name in others if not name.endswith("num_batches_tracked")]
        if missing or others:
            raise SpecError(
                f"the state does not fit: it lacks {missing or 'nothing'}, and has {others or 'nothing'} more"
            )
        for name, parameter in own.items():
            check_shape(name, state[name].shape, parameter.shape, "the parameter")
        for name, parameter in own.items():
            parameter.value = state[name] if parameter.value is None else copied_like(parameter.value, state[name])
            parameter.grad = None

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, or out of it."""
        self.is_training, self._kept = mode, None
        for layer in self.layers.values():
            layer.train(mode)
        return self

    def convolve_by(self, algorithm: str) -> Self:
        """Let all convolutions in it, both passes, use an algorithm, by the name that `conv` takes.

        Layers that are added later are not told.

        Raises:
            SpecError: there is none of that name.

        >>> import numpy as np
        >>> from arrconv import nn
        >>> net = nn.Sequential(nn.Conv1d(3, 8, 3), nn.Tanh()).initialise(np, seed=0).convolve_by("exact")
        >>> net(np.ones((1, 3, 5), np.float32)).shape
        (1, 8, 3)
        """
        check_algorithm(algorithm)
        for layer in self.layers.values():
            layer.convolve_by(algorithm)
        return self

    def eval(self) -> Self:
        """Switch to evaluation mode: nothing is kept for a backward pass, nothing is random."""
        return self.train(False)


def _gradient(parameter: Parameter) -> Array:
    if parameter.grad is not None or parameter.value is None:
        return parameter.grad
    return namespace_of(parameter.value).zeros_like(parameter.value)


def copied_like(own: Array, given: Any) -> Array:
    """A copy of an array of any library in an array like our own."""
    xp = namespace_of(own)
    return xp.asarray(given, dtype=own.dtype, device=device_of(own), copy=True)
