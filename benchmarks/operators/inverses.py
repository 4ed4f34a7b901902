"""What inverses and norms of one convolution cost: circular padding beside zeros around."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from arrconv.linop import Conv, Inverse, norm_bounds, pinv, tikhonov
from benchmarks.engine import seconds, spread
from benchmarks.operators.problems import kernels, normal, relative

SET_UPS = 3
DAMP = 1e-2  # times the largest singular value


def inverses(channels: int, size: int, rounds: int) -> dict[str, Any]:
    """Set-up, a solution and its error, of a random kernel."""
    w = kernels(channels, size)["random"]
    circular, zeros = (
        Conv(w, (size, size), padding=1, padding_mode=mode)  # type: ignore[arg-type]
        for mode in ("circular", "zeros")
    )
    damp = DAMP * norm_bounds(circular).high
    return {
        "circular, pinv": measured(circular, lambda: pinv(circular), rounds),
        "circular, tikhonov": measured(circular, lambda: tikhonov(circular, damp), rounds, damp),
        "zeros, pinv": measured(zeros, lambda: pinv(zeros, method="border"), rounds),
    }


def measured(operator: Conv, make: Callable[[], Inverse], rounds: int, damp: float = 0.0) -> dict[str, Any]:
    """The gradient of ‖A x − y‖² + damp²·‖x‖² is 0 at the solution: its norm, as a share of that at 0, is the error."""
    x = normal(*operator.shape_in)
    y = operator @ x
    set_ups = [seconds(make) for _ in range(SET_UPS)]
    inverse = make()
    found = inverse @ y
    residual = operator @ found - y
    gradient = operator.H @ residual + damp**2 * found
    return {
        "method": inverse.method,
        "set_up_s": spread(set_ups),
        "solution_ms": spread([seconds(lambda: inverse @ y) * 1e3 for _ in range(rounds)]),
        "gradient": float(np.linalg.norm(gradient) / np.linalg.norm(operator.H @ y)),
        "residual": float(np.linalg.norm(residual) / np.linalg.norm(y)),
        "error_of_x": relative(found, x),
        "damp": damp,
    }


def norm(channels: int, size: int, rounds: int) -> dict[str, Any]:
    """The bounds of the norm of a random kernel with zeros around, the first call and later ones."""
    operator = Conv(kernels(channels, size)["random"], (size, size), padding=1)
    first = seconds(lambda: norm_bounds(operator))
    bounds = norm_bounds(operator)
    return {
        "low": bounds.low,
        "high": bounds.high,
        "relative_width": bounds.high / bounds.low - 1,
        "iterations": bounds.iterations,
        "first_call_s": first,
        "seconds": spread([seconds(lambda: norm_bounds(operator)) for _ in range(rounds)]),
    }
