"""Convolution of one large image, forward and adjoint: with its spectrum kept, and as libraries have it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from time import perf_counter
from typing import Any

import numpy as np

from arrconv.linop import CircularConv, Conv, Operator
from benchmarks.engine import seconds, spread
from benchmarks.operators.problems import Array, check_same, normal

DTYPES = ("float64", "complex128")
LENGTHS = (9, 63)
SLOW = 1000.0  # milliseconds, from which on one call must do

Map = Callable[[Array], Array]
Pair = tuple[Map, Map]
"""A convolution and its adjoint."""


def transforms(size: int, lengths: Iterable[int], rounds: int, libraries: Collection[str]) -> dict[str, Any]:
    """Milliseconds of each, taking turns."""
    return {
        f"{length}×{length}, {dtype}": turns(size, normal(length, length, dtype=dtype), rounds, libraries)
        for length in lengths
        for dtype in DTYPES
    }


def turns(size: int, kernel: Array, rounds: int, libraries: Collection[str]) -> dict[str, Any]:
    """Those of one boundary are compared with the first of them, then all take turns but those that are slow."""
    pairs: dict[str, Pair] = {}
    times: dict[str, dict[str, list[float]]] = {}
    x = np.random.default_rng(2).standard_normal((size, size)).astype(kernel.dtype)
    for boundary in (dict(periodic(size, kernel)), dict(with_zeros(size, kernel, libraries))):
        first = next(iter(boundary.values()))
        expected = [function(x) for function in first]
        for name, pair in boundary.items():
            times[name] = {"forward_ms": [], "adjoint_ms": []}
            for values, function, right in zip(times[name].values(), pair, expected, strict=True):
                began = perf_counter()
                found = function(x)
                values.append((perf_counter() - began) * 1e3)
                check_same(name, found, right)
        pairs |= boundary
    for number in range(rounds):
        for name, pair in pairs.items():
            if max(min(values) for values in times[name].values()) > SLOW:
                continue
            if number == 0:  # the first call was a warm-up
                times[name] = {direction: [] for direction in times[name]}
            for values, function in zip(times[name].values(), pair, strict=True):
                values.append(seconds(lambda f=function: f(x)) * 1e3)
    twice = {name: {key: values * 2 for key, values in found.items()} for name, found in times.items()}  # one will do
    return {name: {key: spread(values) for key, values in found.items()} for name, found in twice.items()}


def of(operator: Operator) -> Pair:
    return operator.apply, operator.H.apply


def periodic(size: int, kernel: Array) -> Iterator[tuple[str, Pair]]:
    """The images as one period of periodic ones."""
    yield "periodic: arrconv, CircularConv", of(CircularConv(kernel, (size, size), origin="centre"))
    laid = np.zeros((size, size), kernel.dtype)
    laid[: len(kernel), : len(kernel)] = kernel
    laid = np.roll(laid, (-(len(kernel) // 2),) * 2, axis=(0, 1))
    forward, back = (np.fft.fft2, np.fft.ifft2) if kernel.dtype.kind == "c" else (np.fft.rfft2, np.fft.irfft2)
    symbol = forward(laid)
    adjoint = np.conj(symbol)
    shape = (size, size)
    yield (
        "periodic: NumPy, spectrum kept",
        (lambda x: back(forward(x) * symbol, shape), lambda y: back(forward(y) * adjoint, shape)),
    )


def with_zeros(size: int, kernel: Array, libraries: Collection[str]) -> Iterator[tuple[str, Pair]]:
    """Zeros around, and as much of the result as was given."""
    padding = len(kernel) // 2
    back = np.flip(kernel)
    for algorithm in ("auto", "fft"):
        operator = Conv(back, (size, size), padding=padding, algorithm=algorithm)
        yield f'zeros: arrconv, conv, algorithm="{algorithm}"', of(operator)
    if "scipy" in libraries:
        from scipy import signal

        for function in (signal.fftconvolve, signal.oaconvolve):
            yield (
                f"zeros: SciPy, {function.__name__}",
                (
                    lambda x, f=function: f(x, kernel, mode="same"),
                    lambda y, f=function: f(y, np.conj(back), mode="same"),
                ),
            )
    if "pylops" in libraries:
        from pylops.signalprocessing import ConvolveND

        block = ConvolveND((size, size), h=kernel, offset=(padding, padding), dtype=kernel.dtype)
        yield "zeros: PyLops, ConvolveND", (block.__matmul__, block.H.__matmul__)
    if "sigpy" in libraries:
        from sigpy.linop import ConvolveData, Resize

        full = ConvolveData((size, size), kernel, mode="full")
        cropped = Resize((size, size), full.oshape) * full
        yield "zeros: SigPy, ConvolveData, cropped", (cropped, cropped.H)
