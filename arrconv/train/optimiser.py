"""Gradient descent: plain, with momentum, and adaptive; formulas and defaults are those of PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arrconv._namespace import namespace_of
from arrconv.errors import ShapeError, SpecError
from arrconv.functional.reals import as_number
from arrconv.geometry import check_shape
from arrconv.nn.layer import copied_like

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrconv._namespace import Array
    from arrconv.nn.layer import Layer, Parameter


class Optimiser:
    """What all have in common: a network, a learning rate, and arrays beside each parameter that remember.

    Attributes:
        net: the network.
        lr: the learning rate; it may be set between steps, as a schedule does.
        steps: how many have been taken.
    """

    def __init__(self, net: Layer, lr: float, weight_decay: float) -> None:
        self.net, self.steps = net, 0
        self.lr, self.weight_decay = _not_negative(lr, "lr"), _not_negative(weight_decay, "weight_decay")
        self.memory: dict[str, dict[str, Array]] = {}

    @property
    def settings(self) -> dict[str, Any]:
        """What it was made with, beside the network."""
        changing = ("net", "memory", "steps")
        return {"name": type(self).__name__} | {key: value for key, value in vars(self).items() if key not in changing}

    def zero_grad(self) -> None:
        """Forget all gradients of the network."""
        self.net.zero_grad()

    def step(self) -> None:
        """Move each parameter that has a gradient."""
        self.steps += 1
        self.move(*self.rates())

    def rates(self) -> tuple[float, ...]:
        """All numbers of a step that may differ from those of another: what `lr` and `steps` come to."""
        return (self.lr,)

    def move(self, *rates: Any) -> None:
        """Move each parameter that has a gradient, at these rates: numbers, or arrays of no axes that hold them."""
        for name, parameter in self.net.named_parameters():
            if parameter.is_learned and parameter.grad is not None:
                self._move(parameter, self.memory.setdefault(name, {}), *rates)

    def _move(self, parameter: Parameter, memory: dict[str, Array], *rates: Any) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, beside the network and the settings: arrays by name, and `steps`."""
        arrays = {f"{name}.{what}": array for name, memory in self.memory.items() for what, array in memory.items()}
        return {"steps": self.steps, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            SpecError: it remembers something of a parameter that the network does not have.
            ShapeError: an array has another shape than its parameter.
        """
        own: dict[str, Parameter] = dict(self.net.named_parameters())
        memory: dict[str, dict[str, Array]] = {}
        for key, array in state.items():
            if key == "steps":
                continue
            name, _, what = key.rpartition(".")
            if name not in own:
                raise SpecError(f"the state remembers {key!r}, but the network has no parameter {name!r}")
            check_shape(key, array.shape, own[name].shape, "its parameter")
            memory.setdefault(name, {})[what] = copied_like(own[name].value, array)
        self.memory, self.steps = memory, int(state["steps"])


class SGD(Optimiser):
    """w ← w − lr·g; with momentum, v ← momentum·v + g and w ← w − lr·v, where Nesterov's takes g + momentum·v.

    Args:
        net: the network.
        lr: the learning rate, not negative.
        momentum: how much of the last step's direction is kept, not negative.
        nesterov: whether the gradient is that of the place to which the momentum leads; needs momentum.
        weight_decay: g ← g + weight_decay·w before all else, not negative.

    Source: I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013, section 2.

    >>> import numpy as np
    >>> from arrconv import nn
    >>> net = nn.Linear(1, 1, bias=False)
    >>> net.load_state_dict({"weight": np.asarray([[2.0]])})
    >>> _ = net(np.asarray([[3.0]])), net.backward(np.asarray([[1.0]]))
    >>> SGD(net, lr=0.5).step()
    >>> net.value("weight")
    array([[0.5]])
    """

    def __init__(
        self, net: Layer, lr: float, *, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        super().__init__(net, lr, weight_decay)
        self.momentum, self.nesterov = _not_negative(momentum, "momentum"), nesterov
        if nesterov and not self.momentum:
            raise SpecError("nesterov needs a momentum above 0")

    def _move(self, parameter: Parameter, memory: dict[str, Array], *rates: Any) -> None:
        (lr,) = rates
        g = parameter.grad
        if self.weight_decay:
            g = g + parameter.value * self.weight_decay
        if self.momentum:
            memory["velocity"] = memory["velocity"] * self.momentum + g if memory else g
            g = g + memory["velocity"] * self.momentum if self.nesterov else memory["velocity"]
        parameter.value = parameter.value - g * lr


class Adam(Optimiser):
    """w ← w − lr·m̂/(√v̂ + eps), with running means m of g and v of g², set right for their start at 0.

    Args:
        net: the network.
        lr: the learning rate, not negative.
        betas: how much of m and of v is kept in a step, from 0 to below 1.
        eps: added to the denominator.
        weight_decay: g ← g + weight_decay·w before all else.

    Source: D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.
    """

    def __init__(
        self,
        net: Layer,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(net, lr, weight_decay)
        self.betas = tuple(_not_negative(beta, "betas") for beta in betas)
        if len(self.betas) != 2 or max(self.betas) >= 1:
            raise SpecError(f"betas must be two numbers below 1, but got {betas!r}")
        self.eps = _not_negative(eps, "eps")

    def rates(self) -> tuple[float, ...]:
        """The root of what v lacks for its start at 0, and the learning rate, made up for what m lacks."""
        first, second = (1 - beta**self.steps for beta in self.betas)
        return second**0.5, self.lr / first

    def _decayed(self, parameter: Parameter, *_: Any) -> tuple[Array, Array]:
        """The parameter and its gradient, after weight decay."""
        if not self.weight_decay:
            return parameter.value, parameter.grad
        return parameter.value, parameter.grad + parameter.value * self.weight_decay

    def _move(self, parameter: Parameter, memory: dict[str, Array], *rates: Any) -> None:
        spread, lr, *kept = rates
        value, g = self._decayed(parameter, *kept)
        for name, term, beta in (("mean", g, self.betas[0]), ("square", g * g, self.betas[1])):
            new = term * (1 - beta)
            memory[name] = memory[name] * beta + new if name in memory else new
        root = namespace_of(g).sqrt(memory["square"]) / spread
        parameter.value = value - memory["mean"] / (root + self.eps) * lr


class AdamW(Adam):
    """`Adam` with weight decay beside the gradient: w ← (1 − lr·weight_decay)·w before the step.

    Args:
        net, lr, betas, eps: as for `Adam`.
        weight_decay: 0.01 where it is not given.

    Source: I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
    """

    def __init__(
        self,
        net: Layer,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(net, lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def rates(self) -> tuple[float, ...]:
        """Those of `Adam`, and what is kept of the parameter."""
        return *super().rates(), 1 - self.lr * self.weight_decay

    def _decayed(self, parameter: Parameter, *kept: Any) -> tuple[Array, Array]:
        return parameter.value * kept[0], parameter.grad


def clip_gradients(net: Layer, most: float) -> Array:
    """Scale all gradients so that their norm together is at most this.

    Args:
        net: a network after a backward pass.
        most: the largest norm, above 0.

    Returns:
        The norm before, an array of no axes.

    Raises:
        SpecError: `most` is not above 0.
        ShapeError: there is no gradient.

    Source: R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", 2013,
    algorithm 1.
    """
    most = as_number(most, "most", above=0)
    learned = [p for _, p in net.named_parameters() if p.is_learned and p.grad is not None]
    if not learned:
        raise ShapeError("there is no gradient to clip; a backward pass comes first")
    xp = namespace_of(learned[0].grad)
    norm = xp.sqrt(sum(xp.sum(p.grad * p.grad, dtype=p.grad.dtype) for p in learned))
    factor = xp.minimum(most / (norm + 1e-6), xp.ones_like(norm))
    for parameter in learned:
        parameter.grad = parameter.grad * factor
    return norm


def _not_negative(value: Any, name: str) -> float:
    number = as_number(value, name)
    if number < 0:
        raise SpecError(f"{name} must not be negative, but got {value!r}")
    return number
