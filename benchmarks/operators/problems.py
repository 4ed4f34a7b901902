"""The kernels that are measured, and how far results are apart."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from arrconv.linop import Conv, norm_bounds

LIBRARIES = ("scipy", "pylops", "sigpy")
DISTANCE = 0.5
"""Of the second kernel's operator from the identity: its singular values lie within 1 ± that."""

APART = 1e-12
"""More than what roundings make of the same operator in float64."""

Array = np.ndarray[Any, Any]


def installed() -> dict[str, str]:
    """The versions of the other libraries that are there."""
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def kernels(channels: int, size: int) -> dict[str, Array]:
    """3×3 weights: normal numbers, and the same made small beside a delta."""
    w = np.random.default_rng(0).standard_normal((channels, channels, 3, 3))
    delta = np.zeros_like(w)
    delta[range(channels), range(channels), 1, 1] = 1.0
    norm = norm_bounds(Conv(w, (size, size), padding=1), rtol=0.1).high
    return {"random": w, "near a delta": delta + DISTANCE / norm * w}


def normal(*shape: int, dtype: str = "float64") -> Array:
    rng = np.random.default_rng(1)
    real = rng.standard_normal(shape)
    return (real + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else real).astype(dtype)


def relative(found: Array, right: Array) -> float:
    """‖found − right‖ / ‖right‖."""
    return float(np.linalg.norm(found - right) / np.linalg.norm(right))


def check_same(name: str, found: Array, right: Array) -> None:
    """Raise unless a library's result is that of arrconv, but for rounding."""
    if found.shape != right.shape or not relative(found, right) <= APART:
        apart = relative(found, right) if found.shape == right.shape else "a shape"
        raise RuntimeError(f"{name} is another operator: what it gives is {apart} from what arrconv gives")
