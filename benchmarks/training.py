"""Training steps beside PyTorch's, in turns, each library in a process of its own: printed as JSON on standard output.

A step is the forward pass, the loss, the backward pass and the optimiser's change, of the same network from the same
weights, given the same pictures; the losses of the first steps are compared.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from arrconv import limits, nn
from arrconv.functional.loss import mse_loss, mse_loss_backward
from arrconv.train import SGD, Adam
from arrconv.train.memory import kept_memory
from arrconv.train.networks import network
from benchmarks.engine import environment, spread
from benchmarks.peers.session import Missing, Session
from benchmarks.peers.worker import PAUSE, serve, use_threads

ROUNDS, CALLS = 9, 5
FIRST = 3  # steps whose losses are compared
PAIRS = 50_000  # of an epoch

WORK = (("seed", 64, 32, 32), ("seed", 64, 512, 32), ("unet", 16, 32, 32), ("unet", 32, 16, 64))
"""Network and its width, pictures in a batch, and their size."""

Step = Callable[[], float]


def pictures(batch: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    first, second = (rng.random((batch, 3, size, size), np.float32) for _ in range(2))
    return first, second


def arrconv_step(name: str, width: int, batch: int, size: int) -> Step:
    net = network(name, 3, width)
    net.initialise(np, seed=0)
    x, t = pictures(batch, size)
    optimiser = SGD(net, lr=10.0) if name == "seed" else Adam(net, lr=1e-3)

    def step() -> float:
        optimiser.zero_grad()
        y = net.forward(x)
        loss = mse_loss(y, t)
        net.backward(mse_loss_backward(y, t), needs_input=False)
        optimiser.step()
        return float(loss)

    return step


def torch_step(name: str, width: int, batch: int, size: int) -> Step:
    import torch

    net = torch_net(network(name, 3, width).initialise(np, seed=0))
    x, t = (torch.from_numpy(array) for array in pictures(batch, size))
    optimiser: Any = (
        torch.optim.SGD(net.parameters(), lr=10.0) if name == "seed" else torch.optim.Adam(net.parameters(), lr=1e-3)
    )

    def step() -> float:
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), t)
        loss.backward()
        optimiser.step()
        return float(loss.item())

    return step


def torch_net(own: nn.Layer) -> Any:
    """A network that has its first values, in PyTorch, with the same values."""
    import torch

    net = torch_twin(own)
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), own.state_dict().values(), strict=True):
            parameter.copy_(torch.from_numpy(value))
    return net


def torch_twin(layer: nn.Layer) -> Any:
    """The same layers in PyTorch, their parameters in the same order."""
    import torch

    class Skip(torch.nn.Module):
        def __init__(self, inner: Any, join: str) -> None:
            super().__init__()
            self.inner, self.join = inner, join

        def forward(self, x: Any) -> Any:
            y = self.inner(x)
            return y + x if self.join == "add" else torch.cat((y, x), dim=1)

    if isinstance(layer, nn.Sequential):
        return torch.nn.Sequential(*(torch_twin(inner) for inner in layer))
    if isinstance(layer, nn.Skip):
        return Skip(torch_twin(layer.inner), layer.join)
    if isinstance(layer, nn.Conv | nn.ConvTranspose):
        first, second, *kernel = layer.parameters["weight"].shape
        own = {name: layer.options[name] for name in ("stride", "padding")}
        if isinstance(layer, nn.Conv):
            return torch.nn.Conv2d(second, first, kernel, **own)
        return torch.nn.ConvTranspose2d(first, second, kernel, **own)
    if isinstance(layer, nn.LeakyReLU):
        return torch.nn.LeakyReLU(layer.negative_slope)
    return getattr(torch.nn, type(layer).__name__)()


class Trainer:
    """A library, and the step that it has prepared."""

    def __init__(self, library: str) -> None:
        with limits() as now:
            use_threads(now.threads)
        self._memory = ExitStack()
        if library == "arrconv":
            self._memory.enter_context(kept_memory())  # as in `fit`
        self._make = {"arrconv": arrconv_step, "torch": torch_step}[library]
        if library == "torch":
            import torch

            self._versions = {"torch": torch.__version__}
        else:
            self._versions = {}

    def hello(self) -> dict[str, Any]:
        return {"versions": self._versions}

    def prepare(self, name: str, width: int, batch: int, size: int) -> dict[str, Any]:
        self._step = self._make(name, width, batch, size)
        return {"losses": [self._step() for _ in range(FIRST)]}

    def time(self) -> dict[str, float]:
        time.sleep(PAUSE)
        self._step()  # wakes threads
        return {"seconds": statistics.median(self._seconds() for _ in range(CALLS))}

    def _seconds(self) -> float:
        start = time.perf_counter()
        self._step()
        return time.perf_counter() - start


def measured(name: str, width: int, batch: int, size: int, sessions: dict[str, Session]) -> dict[str, Any]:
    """The times of a step in each library, and their ratio, round by round."""
    losses = {
        library: one.ask("prepare", name=name, width=width, batch=batch, size=size)["losses"]
        for library, one in sessions.items()
    }
    for library, found in losses.items():
        if not np.allclose(found, losses["arrconv"], rtol=1e-4, atol=0):
            raise RuntimeError(f"{library} has the losses {found}, but arrconv {losses['arrconv']}")
    times: dict[str, list[float]] = {library: [] for library in sessions}
    for _ in range(ROUNDS):
        for library, session in sessions.items():
            times[library].append(session.ask("time")["seconds"] * 1e3)
    found = {f"{library}_ms": spread(values) for library, values in times.items()}
    if "torch" in times:
        found["torch / arrconv"] = spread([b / a for a, b in zip(times["arrconv"], times["torch"], strict=True)])
    return found | {"losses": losses}


def main() -> None:
    with limits() as now:
        threads = now.threads
    sessions, versions = {}, {}
    for library in ("arrconv", "torch"):
        try:
            sessions[library] = Session(library, threads, module="benchmarks.training")
        except Missing:
            continue
        versions |= sessions[library].about["versions"]
    steps = {
        f"{name} of width {width}, {batch} of {size}×{size}": measured(name, width, batch, size, sessions)
        for name, width, batch, size in WORK
    }
    for session in sessions.values():
        session.close()
    record = environment()
    record["versions"] |= versions
    print(json.dumps({"steps": steps} | record))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(lambda: Trainer(sys.argv[1]))
    else:
        main()
