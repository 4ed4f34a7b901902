"""Training steps in float64 and float32, beside those of NumPy."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import arrconv
from arrconv.train import SGD
from arrconv.train.networks import seed_network
from arrconv_conformance.gpu_check.place import Findings, Place, finish

NUDGE = 2.0**-20
"""The relative change of all first weights whose effect differences in float64 must not exceed.

A sum of a step has fewer than 2^14 products, so that a hundred steps err by less than 2^7·2^14·2^-53 = 2^-32 of what
they add up: far less than this change makes, and arithmetic of float32 errs by more.
"""

RATE, WIDTH, BATCH, SIZE = 10.0, 64, 32, 32


def train(place: Place, steps: int, width: int = WIDTH) -> Findings:
    """The losses of so many steps in float64, which must be those of NumPy, and in float32, which are shown."""
    numpy = Place.of("numpy")
    mine, theirs, nudged = (
        losses(where, "float64", steps, width, nudge) for where, nudge in ((numpy, 0.0), (place, 0.0), (numpy, NUDGE))
    )
    apart, allowed = (float(np.abs(curve - mine).max()) for curve in (theirs, nudged))
    single = {where.name: losses(where, "float32", steps, width).tolist() for where in (numpy, place)}
    is_right = bool(np.isfinite(theirs).all() and theirs[-1] < theirs[0] and apart <= allowed)
    line = (
        f"{steps} steps, loss {theirs[0]:.6f} to {theirs[-1]:.6f}; from NumPy's {apart:.1e}, of at most {allowed:.1e}"
    )
    record = {"steps": steps, "width": width, "apart": apart, "allowed": allowed, "float32": single}
    return Findings(line, record | {"float64": {numpy.name: mine.tolist(), place.name: theirs.tolist()}}, is_right)


def losses(place: Place, dtype: str, steps: int, width: int, nudge: float = 0.0) -> np.ndarray[Any, Any]:
    """The losses of steps that are the same everywhere but for rounding; the last is that after them."""
    net: Any = seed_network(width=width).initialise(np, seed=0, dtype=dtype)
    state = {name: array * np.asarray(1 + nudge, dtype) for name, array in net.state_dict().items()}
    net = seed_network(width=width).initialise(place.module, seed=0, dtype=dtype)
    net.load_state_dict(state)
    rng = np.random.default_rng(0)
    clean = rng.random((BATCH, 3, 1, 1)) * np.ones((BATCH, 3, SIZE, SIZE))
    x, t = (place.put((clean + 0.1 * rng.standard_normal(clean.shape)).astype(dtype)) for _ in range(2))
    optimiser, found = SGD(net, lr=RATE), []
    for _ in range(steps):
        optimiser.zero_grad()
        y = net.forward(x)
        found.append(arrconv.mse_loss(y, t))
        net.backward(arrconv.mse_loss_backward(y, t), needs_input=False)
        optimiser.step()
    found.append(arrconv.mse_loss(net.forward(x), t))
    return np.asarray([float(place.get(loss)) for loss in found])


if __name__ == "__main__":
    finish(train(Place.of(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])), sys.argv[2])
