"""Fourier transforms over the last axes, shared out among threads on NumPy, which has none of its own for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv._namespace import library_name
from arrconv.kernels.blocks import cut
from arrconv.kernels.threads import for_each, threads_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arrconv._namespace import Array

_WORK = 8  # products that take as long as one number of one transform, for each doubling of its length


def transform(lib: Any, x: Array, ndim: int) -> Array:
    """The transform of the last axes; of real arrays the half of it that is not the conjugate of the other."""
    is_complex = lib.isdtype(x.dtype, "complex floating")
    axes = tuple(range(-ndim, 0))
    if library_name(lib) != "numpy":
        return lib.fft.fftn(x, axes=axes) if is_complex else lib.fft.rfftn(x, axes=axes)
    n = x.shape[-1]
    found = np.empty((*x.shape[:-1], n if is_complex else n // 2 + 1), np.result_type(x.dtype, np.complex64))
    _along(np.fft.fft if is_complex else np.fft.rfft, x, -1, n, found)
    for axis in axes[:-1]:
        _along(np.fft.fft, found, axis, found.shape[axis], found)
    return found


def restore(lib: Any, spectrum: Array, size: Sequence[int], *, is_complex: bool) -> Array:
    """The inverse of `transform`, for arrays (..., *size)."""
    axes = tuple(range(-len(size), 0))
    if library_name(lib) != "numpy":
        return lib.fft.ifftn(spectrum, axes=axes) if is_complex else lib.fft.irfftn(spectrum, s=tuple(size), axes=axes)
    if len(size) > 1:
        given, spectrum = spectrum, np.empty(spectrum.shape, spectrum.dtype)
        for axis in axes[:-1]:
            _along(np.fft.ifft, given, axis, given.shape[axis], spectrum)
            given = spectrum
    found = np.empty((*spectrum.shape[:-1], size[-1]), spectrum.dtype if is_complex else spectrum.real.dtype)
    _along(np.fft.ifft if is_complex else np.fft.irfft, spectrum, -1, size[-1], found)
    return found


def fast_size(least: int) -> int:
    """The smallest number, not below one, without other prime factors than 2, 3 and 5: transforms of it are fast."""
    best = 1 << max(0, least - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            rest = -(-least // three)
            best = min(best, three << max(0, rest - 1).bit_length())
            three *= 3
        five *= 5
    return best


def _along(function: Any, x: Array, axis: int, n: int, out: Array) -> None:
    """Transforms of length n along an axis, counted from the end; in place where both arrays are one."""
    if not out.size:
        return
    others = [other for other in range(-x.ndim, 0) if other != axis]
    threads = threads_for(np, _WORK * n.bit_length() * out.size) if others else 1
    if threads == 1:
        function(x, n=n, axis=axis, out=out)
        return
    shared = max(others, key=lambda other: x.shape[other])
    before = (slice(None),) * (x.ndim + shared)

    def make_worker() -> Callable[[slice], None]:
        def worker(part: slice) -> None:
            function(x[(*before, part)], n=n, axis=axis, out=out[(*before, part)])

        return worker

    for_each(cut(x.shape[shared], 4 * threads), make_worker, threads)
