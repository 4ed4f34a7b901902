"""Convolution by the Fourier transform, for large kernels: fewer operations, and another error than direct summation.

An array and a kernel, laid on a torus that holds what the kernel's windows read, are multiplied frequency by frequency;
positions are cut into blocks (overlap-save) until all spectra fit the workspace. The error of an element is relative
to the norms of whole arrays, not to the products that make it up, so that it runs only when it is asked for.

Sources: T. G. Stockham, "High-speed convolution and correlation", 1966; for the error, `arrconv.bounds.error_by_fft`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.kernels import taps
from arrconv.kernels.base import Kernel, Problem
from arrconv.kernels.blocks import cut, even
from arrconv.kernels.correlations import contract_w, contract_x, contract_y
from arrconv.kernels.fourier import fast_size, restore, transform
from arrconv.kernels.gather import fill
from arrconv.kernels.limits import current_limits
from arrconv.kernels.stacks import each
from arrconv.kernels.walks import phases_of, windows_of

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.axis import Windows
    from arrconv.geometry import Direction, Geometry
    from arrconv.kernels.base import Contract

_COPIES = 2  # of each spectrum: before its transform and after it, or out of it and in the order of the products
_FEW_CHANNELS = 4  # up to which products are added channel by channel, without a matrix product for each frequency


def refuses(problem: Problem) -> str | None:
    """Why fft cannot serve a problem, or None."""
    backend, geometry = problem.backend, problem.geometry
    if backend.library not in ("numpy", "cupy"):
        return f"it works on NumPy and CuPy arrays, not on those of {backend.library}"
    if backend.is_integer:
        return "it rounds, and sums of integers are exact"
    if geometry.ndim == 0:
        return "there is nothing to transform where there is no axis"
    spectra, room = _least_spectra(geometry, problem.direction, problem.dtype.itemsize), current_limits().workspace
    if spectra > room:
        return f"the spectra of one kernel and one window take {spectra} bytes, more than the {room} of the workspace"
    return None


def yields(_: Problem) -> str | None:
    """Why it is left to others: its error."""
    return "its error bound is worse than that of direct summation; it runs only when asked for"


def contract(problem: Problem, first: Array, second: Array) -> Array:
    """The contraction by transforms, in the accumulator's dtype; by the definition where something is not finite.

    A NaN or an overflow would otherwise spread over all that is transformed with it.
    """
    with np.errstate(all="ignore"):
        found = _CONTRACTIONS[problem.direction](problem, first, second)
    return found if problem.library.isfinite(found).all() else taps.contract(problem, first, second)


def _correlate(lib: Any, source: Array, matrix: Array, windows: tuple[Windows, ...], *outs: Array) -> None:
    """Let out (N, G, O, *positions) = matrix (G, O, C, *taps) times the windows of source (N, G, C, *sizes).

    Where there are several outs, the matrix has the rows of all of them, one after the other.
    """
    rows = outs[0].shape[2]
    for number, out in enumerate(outs):
        _correlate_one(lib, source, matrix[:, number * rows : (number + 1) * rows], windows, out)


def _correlate_one(lib: Any, source: Array, matrix: Array, windows: tuple[Windows, ...], out: Array) -> None:
    images, groups, channels = source.shape[:3]
    rows, room = matrix.shape[1], current_limits().workspace
    blocks = _plan(images, groups, rows, channels, windows, out.dtype.itemsize, room)
    for gs, rs, cs in product(blocks.groups, blocks.rows, blocks.channels):
        kernels = _kernels(lib, matrix[gs, rs, cs], blocks, out.dtype)
        for ns, places in product(blocks.images, blocks.places):
            read = [w.part(p.start, p.stop - p.start).spanned() for w, p in zip(windows, places, strict=True)]
            spectra = _spectra(lib, source[ns, gs, cs], tuple(read), blocks.torus, out.dtype)
            found = _restored(lib, kernels, spectra, blocks, out.dtype)
            part = found[(..., *(slice(0, w.step * (p.stop - p.start - 1) + 1, w.step)
                                 for w, p in zip(windows, places, strict=True)))]  # fmt: skip
            if cs.start:
                out[(ns, gs, rs, *places)] += part
            else:
                out[(ns, gs, rs, *places)] = part


def _spectra(lib: Any, images: Array, read: tuple[Windows, ...], torus: tuple[int, ...], dtype: Any) -> Array:
    """The spectra (n, g, c, *frequencies) of what windows of one tap see of images."""
    slab = lib.zeros((*images.shape[:3], *torus), dtype)
    fill(lib, slab[(..., *(slice(0, w.count) for w in read))], images, read)
    return transform(lib, slab, len(torus))


def _kernels(lib: Any, matrix: Array, blocks: _Blocks, dtype: Any) -> Array:
    """The spectra of correlation with kernels (g, o, c, *taps), (g, o, c, *frequencies) or (*frequencies, g, o, c)."""
    # Correlation turns the transform's sign around, but does not conjugate numbers: both conjugations together.
    spectra = transform(lib, _laid_out(lib, lib.conj(matrix), blocks, dtype), len(blocks.torus))
    lib.conj(spectra, out=spectra)
    return spectra if matrix.shape[2] <= _FEW_CHANNELS else _frequencies_first(lib, spectra)


def _laid_out(lib: Any, matrix: Array, blocks: _Blocks, dtype: Any) -> Array:
    """Kernels on the torus, zeros between and behind their taps."""
    laid = lib.zeros((*matrix.shape[:3], *blocks.torus), dtype)
    laid[(..., *(slice(0, d * (k - 1) + 1, d) for d, k in zip(blocks.spacing, matrix.shape[3:], strict=True)))] = matrix
    return laid


def _restored(lib: Any, kernels: Array, spectra: Array, blocks: _Blocks, dtype: Any) -> Array:
    """Kernels times (n, g, c, *frequencies), summed over channels and transformed back: (n, g, o, *torus)."""
    ndim, channels = len(blocks.torus), spectra.shape[2]
    if channels <= _FEW_CHANNELS:
        products = kernels[:, :, 0] * spectra[:, :, None, 0]  # (n, g, o, *frequencies)
        for channel in range(1, channels):
            products += kernels[:, :, channel] * spectra[:, :, None, channel]
    else:
        vectors = _frequencies_first(lib, lib.moveaxis(spectra, 0, 2))  # (*frequencies, g, c, n)
        found = each(lib, lib.matmul, kernels, vectors)  # (*frequencies, g, o, n)
        products = lib.ascontiguousarray(found.transpose(ndim + 2, ndim, ndim + 1, *range(ndim)))
    return restore(lib, products, blocks.torus, is_complex=dtype.kind == "c")


def _frequencies_first(lib: Any, spectra: Array) -> Array:
    """(a, b, c, *frequencies) as (*frequencies, a, b, c)."""
    return lib.ascontiguousarray(spectra.transpose(*range(3, spectra.ndim), 0, 1, 2))


@dataclass(frozen=True, slots=True)
class _Blocks:
    """How a correlation is cut: ranges of images, groups, rows and channels, boxes of positions, all on one torus."""

    torus: tuple[int, ...]
    spacing: tuple[int, ...]
    places: tuple[tuple[slice, ...], ...]
    images: tuple[slice, ...]
    groups: tuple[slice, ...]
    rows: tuple[slice, ...]
    channels: tuple[slice, ...]


@lru_cache(maxsize=256)
def _plan(
    images: int, groups: int, rows: int, channels: int, windows: tuple[Windows, ...], itemsize: int, room: int
) -> _Blocks:
    """The largest boxes whose spectra, and those of one kernel, fit; then as many kernels and images as fit, too."""
    counts = [w.count for w in windows]
    while 3 * _spectrum(windows, counts, itemsize) > room and max(counts) > 1:
        longest = max(range(len(counts)), key=lambda axis: (counts[axis] > 1, _torus(windows, counts)[axis]))
        counts[longest] = -(-counts[longest] // 2)
    units = max(3, room // _spectrum(windows, counts, itemsize))
    c = min(channels, math.isqrt(units + 1) - 1)  # of which one image and as many rows fit
    o = min(rows, max(1, (units - c) // (c + 1)))
    n = min(images, max(1, (units - o * c) // (o + c)))
    g = min(groups, max(1, units // (n * c + o * c + n * o)))
    ranges = [cut(w.count, -(-w.count // count)) for w, count in zip(windows, counts, strict=True)]
    return _Blocks(
        _torus(windows, counts), tuple(w.spacing for w in windows), tuple(product(*ranges)),
        *(tuple(even(*pair)) for pair in ((images, n), (groups, g), (rows, o), (channels, c))),
    )  # fmt: skip


def _torus(windows: tuple[Windows, ...], counts: list[int]) -> tuple[int, ...]:
    """A torus that holds what so many windows of each axis read."""
    return tuple(fast_size(w.part(0, count).span) for w, count in zip(windows, counts, strict=True))


def _spectrum(windows: tuple[Windows, ...], counts: list[int], itemsize: int) -> int:
    """The bytes that one array takes on its way through a transform."""
    *others, last = _torus(windows, counts)
    return _COPIES * 2 * itemsize * math.prod(others) * (last // 2 + 1)


def transform_length(geometry: Geometry, direction: Direction) -> int:
    """The numbers of the largest torus on which a contraction is computed, unless the workspace makes it smaller."""
    walks = _walks(geometry, direction)
    return max((math.prod(_torus(windows, [w.count for w in windows])) for windows in walks), default=1)


@lru_cache(maxsize=1024)
def _least_spectra(geometry: Geometry, direction: Direction, itemsize: int) -> int:
    """The bytes that are needed for one position of one channel of one image."""
    walks = _walks(geometry, direction)
    return max((3 * _spectrum(windows, [1] * geometry.ndim, itemsize) for windows in walks), default=0)


def _walks(geometry: Geometry, direction: Direction) -> list[tuple[Windows, ...]]:
    """The windows of each correlation that a contraction is."""
    if geometry.is_empty:
        return []
    if direction == "x":
        return list(phases_of(geometry))
    windows = windows_of(geometry)
    return [tuple(w.exchanged() for w in windows) if direction == "w" else windows]


_CONTRACTIONS: dict[str, Contract] = {
    "y": partial(contract_y, _correlate),
    "x": partial(contract_x, _correlate),
    "w": partial(contract_w, _correlate),
}

KERNEL = Kernel("fft", refuses, contract, yields)
