"""Ways to train the seed's network for an epoch on the device, each in a process of its own."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from arrconv import limits
from arrconv.train import SGD, Pairs, fit
from arrconv.train.networks import seed_network
from arrconv.train.pairs import Draw, batches
from benchmarks.gpu.libraries import WORKSPACE, library
from benchmarks.gpu.rivals import reason_of
from benchmarks.peers.report import BASE, OWN
from benchmarks.peers.worker import serve
from benchmarks.training import torch_net

RATE, SIZE = 10.0, 32
"""Of learning, and of the pictures a side."""

EVERY = 50
"""Steps after which a loss is looked at, as `fit` does where nothing is said."""


def pictures(count: int) -> Pairs:
    """Pairs of pictures of even squares with noise of their own: the same everywhere, and made in a second."""
    rng = np.random.default_rng(0)

    def drawn(low: int, high: int, size: int) -> np.ndarray:
        return rng.integers(low, high, (count, 3, size, size), dtype=np.uint8)

    clean = drawn(0, 192, SIZE // 4).repeat(4, axis=2).repeat(4, axis=3)
    return Pairs(*(clean + drawn(0, 64, SIZE) for _ in range(2)))


class Way(Protocol):
    """A network, pairs where it is, and a way to train it."""

    def losses(self, batch: int, count: int, every: int) -> list[float]:
        """Train from the first weights on, an epoch of the first so many pairs, until the device has done all of it.

        Returns:
            The mean loss so far, after every so many steps, and that of the epoch.
        """


@dataclass(frozen=True)
class Placed:
    """The first pairs of those that have been carried to the device already."""

    draw: Draw
    count: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count, 3, SIZE, SIZE)

    def __len__(self) -> int:
        return self.count

    def placed(self, like: Any) -> Draw:
        return self.draw


class WithFit:
    """arrconv's own loop, with an algorithm and options of `fit`."""

    def __init__(self, device: str, pairs: Pairs, width: int, algorithm: str = "auto", **options: Any) -> None:
        xp = import_module({"cuda": "cupy", "cpu": "numpy"}[device])
        self._net = seed_network(width=width).initialise(xp, seed=0).convolve_by(algorithm)
        self._first, self._draw, self._options = self._net.state_dict(), pairs.placed(self._net.example), options

    def losses(self, batch: int, count: int, every: int) -> list[float]:
        found: list[float] = []
        self._net.load_state_dict(self._first)
        with limits(workspace=WORKSPACE):
            fit(
                self._net, SGD(self._net, lr=RATE), Placed(self._draw, count), epochs=1, batch=batch, every=every,
                on_report=lambda report: found.append(report.loss), **self._options,
            )  # fmt: skip
        return found


class WithTorch:
    """The loop that one writes with PyTorch, all data on the device; the loss may be compiled by `torch.compile`."""

    def __init__(self, device: str, pairs: Pairs, width: int, *, tf32: bool = False, is_compiled: bool = False) -> None:
        torch = self._torch = import_module("torch")
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32  # in this process
        self._device, self._net = device, torch_net(seed_network(width=width).initialise(np, seed=0)).to(device)
        self._first = {name: value.clone() for name, value in self._net.state_dict().items()}
        self._pairs = [torch.from_numpy(array).to(device) for array in (pairs.inputs, pairs.targets)]
        self._full = torch.compile(self._loss, dynamic=False) if is_compiled else self._loss

    def losses(self, batch: int, count: int, every: int) -> list[float]:
        torch = self._torch
        self._net.load_state_dict(self._first)
        optimiser = torch.optim.SGD(self._net.parameters(), lr=RATE)
        order = torch.from_numpy(np.concatenate(list(batches(count, 0, batch, seed=0)))).to(self._device)
        found = []
        for places in torch.split(order, batch):
            x, t = (pictures[places].to(torch.float32) / 255 for pictures in self._pairs)
            optimiser.zero_grad()
            # a last batch that is not full is not compiled for
            loss = (self._full if len(places) == batch else self._loss)(x, t)
            loss.backward()
            optimiser.step()
            found.append(loss.detach() * len(places))
        sums = torch.stack(found).double().cumsum(0).tolist()
        means = [total / min(count, number * batch) for number, total in enumerate(sums, 1)]
        return [*means[every - 1 :: every], means[-1]]

    def _loss(self, x: Any, t: Any) -> Any:
        return self._torch.nn.functional.mse_loss(self._net(x), t)


WAYS: dict[str, Callable[[str, Pairs, int], Way]] = {
    OWN: WithFit,
    f"{OWN}-graph": partial(WithFit, graph=True),
    f"{OWN}-implicit": partial(WithFit, algorithm="implicit"),
    f"{OWN}-implicit-graph": partial(WithFit, algorithm="implicit", graph=True),
    BASE: WithTorch,
    f"{BASE}-tf32": partial(WithTorch, tf32=True),
    f"{BASE}-compiled": partial(WithTorch, is_compiled=True),
    f"{BASE}-compiled-tf32": partial(WithTorch, tf32=True, is_compiled=True),
}
"""By name; what is added here is measured."""


class Trainer:
    """A process's way to train."""

    def __init__(self, name: str, device: str) -> None:
        self._make = partial(WAYS[name], device)
        self._about = library(name.partition("-")[0], device).about()

    def hello(self) -> dict[str, Any]:
        return self._about

    def prepare(self, pairs: int, width: int) -> dict[str, Any]:
        try:
            self._way = self._make(pictures(pairs), width)
        except Exception as reason:  # of what is being tried anything may come
            return {"lacks": reason_of(reason)}
        return {}

    def train(self, batch: int, count: int, every: int = EVERY) -> dict[str, Any]:
        """The losses of an epoch of so many pairs, and how long it took."""
        try:
            start = time.perf_counter()
            losses = self._way.losses(batch, count, every)
            seconds = time.perf_counter() - start
        except Exception as reason:
            return {"lacks": reason_of(reason)}
        is_finite = all(map(math.isfinite, losses))
        return {"losses": losses, "seconds": seconds} if is_finite else {"lacks": f"its losses are {losses}"}


if __name__ == "__main__":
    device, _, name = sys.argv[1].partition(" ")
    serve(lambda: Trainer(name, device))
