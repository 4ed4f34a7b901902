"""Convolutions whose arithmetic is known, as adapters: what fingerprints are tested on. They import nothing of arrconv.

Only what a fingerprint asks for: stride 1, no dilation, no groups, zeros around.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

Array = Any


def identity(array: Array) -> Array:
    return array


def rounded(bits: int, how: Callable[[Array], Array] = np.rint) -> Callable[[Array], Array]:
    """A function that rounds to so many fraction bits: np.rint to nearest and to even, np.trunc towards zero."""

    def to_bits(array: Array) -> Array:
        fractions, exponents = np.frexp(np.asarray(array, np.float64))
        return np.ldexp(how(np.ldexp(fractions, bits + 1)), exponents - bits - 1).astype(np.asarray(array).dtype)

    return to_bits


def flushed(array: Array) -> Array:
    return np.where(np.abs(array) < 2.0**-126, np.zeros_like(array), array)


@dataclass(frozen=True)
class Adding:
    """Products (M, K) · (K, N) added one after the other; `each` rounds products, `total` every partial sum."""

    total: Callable[[Array], Array] = identity
    each: Callable[[Array], Array] = identity
    dtype: Any = np.float32
    backwards: bool = False

    def __call__(self, a: Array, b: Array) -> Array:
        a, b = a.astype(self.dtype), b.astype(self.dtype)
        result = np.zeros((a.shape[0], b.shape[1]), self.dtype)
        order = range(a.shape[1])
        for k in reversed(order) if self.backwards else order:
            result = self.total(result + self.each(a[:, k, None] * b[k]))
        return result


def pairwise(a: Array, b: Array) -> Array:
    if a.shape[1] == 1:
        return a * b
    half = a.shape[1] // 2
    return pairwise(a[:, :half], b[:half]) + pairwise(a[:, half:], b[half:])


def in_blocks(a: Array, b: Array) -> Array:
    """Four products at a time in float32, and their sums in float16."""
    result = np.zeros((a.shape[0], b.shape[1]), np.float16)
    for k in range(0, a.shape[1], 4):
        result = result + Adding()(a[:, k : k + 4], b[k : k + 4]).astype(np.float16)
    return result


def in_two_parts(a: Array, b: Array) -> Array:
    """float32 as two bfloat16 each, without the product of the small parts."""
    short, add = rounded(7), Adding()
    a_high, b_high = short(a), short(b)
    return add(a_high, b_high) + (add(a_high, short(b - b_high)) + add(short(a - a_high), b_high))


def three_products(a: Array, b: Array) -> Array:
    add = Adding()
    first, second = add(a.real, b.real), add(a.imag, b.imag)
    both = add(a.real + a.imag, b.real + b.imag)
    return (first - second) + 1j * (both - first - second)


def four_products(a: Array, b: Array) -> Array:
    add = Adding()
    return (add(a.real, b.real) - add(a.imag, b.imag)) + 1j * (add(a.real, b.imag) + add(a.imag, b.real))


@dataclass
class Emulation:
    """An adapter: `given` is done to operands, `product` multiplies matrices, `stored` is done to results."""

    product: Callable[[Array, Array], Array] = field(default_factory=Adding)
    given: Callable[[Array], Array] = identity
    stored: Callable[[Array], Array] = identity
    bias_after: bool = False
    claims: dict[str, Any] = field(default_factory=dict)
    name: str = "emulation"
    version: str = "1"

    def conv(self, x: Array, w: Array, bias: Array, *, padding: Any, **_: Any) -> Array:
        return self._with_bias(self.correlate(x, w, padding), bias, x.dtype)

    def conv_transpose(self, y: Array, w: Array, bias: Array, *, padding: Any, **_: Any) -> Array:
        return self._with_bias(self._adjoint(y, w, padding), bias, y.dtype)

    def conv_backward(self, x: Array, w: Array, gy: Array, *, needs: Any, padding: Any, **_: Any) -> dict[str, Array]:
        [need] = needs
        if need == "input":
            return {need: self._with_bias(np.conj(self._adjoint(np.conj(gy), w, padding)), None, x.dtype)}
        return {need: self._with_bias(self.gradient(np.conj(x), gy, w.shape, padding), None, x.dtype)}

    def correlate(self, x: Array, w: Array, padding: Any) -> Array:
        """A forward convolution, image by image."""
        cells = windows(self.given(x), w.shape[2:], padding)  # (N, C, *sizes, *kernel)
        sizes = cells.shape[2 : x.ndim]
        matrix = self.given(w).reshape(len(w), -1).T  # (C·taps, C_out)
        images = []
        for number, image in enumerate(cells):
            columns = np.moveaxis(image, 0, len(sizes)).reshape(int(np.prod(sizes)), -1)  # (positions, C·taps)
            images.append(self.product_of(x, number)(columns, matrix).T.reshape(len(w), *sizes))
        return np.stack(images)

    def gradient(self, x: Array, gy: Array, shape: tuple[int, ...], padding: Any) -> Array:
        """The sums over images and positions."""
        cells = np.moveaxis(windows(self.given(x), shape[2:], padding), 1, 0)  # (C, N, *sizes, *kernel)
        spatial = len(shape) - 2
        taps = np.moveaxis(cells, range(-spatial, 0), range(1, 1 + spatial))  # (C, *kernel, N, *sizes)
        matrix = np.moveaxis(self.given(gy), 1, -1).reshape(-1, shape[0])  # (N·positions, C_out)
        return self.product_of(x, 0)(taps.reshape(-1, len(matrix)), matrix).T.reshape(shape)

    def product_of(self, x: Array, number: int) -> Callable[[Array, Array], Array]:
        """How the products of an image of x are added."""
        return self.product

    def _adjoint(self, y: Array, w: Array, padding: Any) -> Array:
        spatial = tuple(range(2, w.ndim))
        amounts = [(k - 1 - begin, k - 1 - end) for k, (begin, end) in zip(w.shape[2:], padding, strict=True)]
        return self.correlate(y, np.flip(w, spatial).swapaxes(0, 1), amounts)

    def _with_bias(self, result: Array, bias: Array, dtype: Any) -> Array:
        if bias is None:
            return self.stored(result.astype(dtype))
        bias = bias.reshape(-1, *(1,) * (result.ndim - 2))
        if self.bias_after:
            return self.stored(result.astype(dtype)) + bias
        return self.stored((result + bias).astype(dtype))


def windows(x: Array, kernel: tuple[int, ...], padding: Any) -> Array:
    padded = np.pad(x, [(0, 0), (0, 0), *padding])
    return np.lib.stride_tricks.sliding_window_view(padded, kernel, tuple(range(2, x.ndim)))


class ByPlace(Emulation):
    """Odd images are added up in the other direction."""

    def product_of(self, x: Array, number: int) -> Callable[[Array, Array], Array]:
        return Adding(backwards=number % 2 == 1)


class ByBatchSize(Emulation):
    """A single image is added up in the other direction."""

    def product_of(self, x: Array, number: int) -> Callable[[Array, Array], Array]:
        return Adding(backwards=len(x) == 1)


class ByLayout(Emulation):
    """What does not lie in C order is added up in the other direction."""

    def product_of(self, x: Array, number: int) -> Callable[[Array, Array], Array]:
        return Adding(backwards=not x.flags.c_contiguous)


class ByRun(Emulation):
    """Every second call is added up in the other direction."""

    calls = 0

    def correlate(self, x: Array, w: Array, padding: Any) -> Array:
        self.calls += 1
        return super().correlate(x, w, padding)

    def product_of(self, x: Array, number: int) -> Callable[[Array, Array], Array]:
        return Adding(backwards=self.calls % 2 == 1)


class ByPosition(Emulation):
    """The second half of the positions is added up in the other direction."""

    def product_of(self, x: Array, number: int) -> Callable[[Array, Array], Array]:
        def halves(a: Array, b: Array) -> Array:
            half = len(a) // 2
            return np.concatenate([Adding()(a[:half], b), Adding(backwards=True)(a[half:], b)])

        return halves


class ByThreads(Emulation):
    """Two threads are two halves of a sum."""

    count = 1

    def set_threads(self, count: int) -> None:
        self.count = count

    def product_of(self, x: Array, number: int) -> Callable[[Array, Array], Array]:
        return pairwise if self.count > 1 else Adding()


WINOGRAD = {
    2: (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]],
    ),
    4: (
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}
"""Bᵀ, G and Aᵀ of F(m, 3), by m: A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016."""


@dataclass
class Winograd(Emulation):
    """F(m×m, 3×3) where the kernel is of that size, with all transforms in float32."""

    tile: int = 2

    def correlate(self, x: Array, w: Array, padding: Any) -> Array:
        if w.shape[2:] != (3, 3):
            return super().correlate(x, w, padding)
        data, kernel, output = (np.array(matrix, x.dtype) for matrix in WINOGRAD[self.tile])
        m = self.tile
        height, width = (n + sum(pair) - 2 for n, pair in zip(x.shape[2:], padding, strict=True))
        more = [(begin, end + -size % m) for (begin, end), size in zip(padding, (height, width), strict=True)]
        cells = windows(x, (m + 2, m + 2), more)[:, :, ::m, ::m]  # (N, C, rows, columns, m + 2, m + 2)
        transformed = data @ cells @ data.T
        weights = kernel @ w @ kernel.T  # (O, C, m + 2, m + 2)
        sums = np.zeros((len(x), len(w), *transformed.shape[2:]), x.dtype)
        for channel in range(x.shape[1]):
            sums += transformed[:, None, channel] * weights[:, channel][None, :, None, None]
        tiles = output @ sums @ output.T  # (N, O, rows, columns, m, m)
        image = np.moveaxis(tiles, 4, 3).reshape(len(x), len(w), tiles.shape[2] * m, tiles.shape[3] * m)
        return image[:, :, :height, :width]

    def gradient(self, x: Array, gy: Array, shape: tuple[int, ...], padding: Any) -> Array:
        """The transpose of the same algorithm: a tile of gy takes the place of the tile of results."""
        if shape[2:] != (3, 3):
            return super().gradient(x, gy, shape, padding)
        data, kernel, output = (np.array(matrix, x.dtype) for matrix in WINOGRAD[self.tile])
        m = self.tile
        ends = [-size % m for size in gy.shape[2:]]
        more = [(begin, end + rest) for (begin, end), rest in zip(padding, ends, strict=True)]
        cells = windows(x, (m + 2, m + 2), more)[:, :, ::m, ::m]
        tiles = windows(gy, (m, m), [(0, rest) for rest in ends])[:, :, ::m, ::m]
        transformed, grads = data @ cells @ data.T, output.T @ tiles @ output
        sums = np.einsum("ncabij,noabij->ocij", transformed, grads)
        return kernel.T @ sums @ kernel


class Fourier(Emulation):
    """Where the kernel is larger than one tap, a product of float32 transforms of the whole image."""

    def correlate(self, x: Array, w: Array, padding: Any) -> Array:
        if set(w.shape[2:]) == {1}:
            return super().correlate(x, w, padding)
        padded = np.pad(x, [(0, 0), (0, 0), *padding])
        axes = tuple(range(2, x.ndim))
        sizes = padded.shape[2:]
        weights = np.conj(np.fft.fftn(w, sizes, axes))
        sums = np.einsum("nc...,oc...->no...", np.fft.fftn(padded, sizes, axes), weights)
        result = np.fft.ifftn(sums, sizes, axes)
        kept = tuple(slice(size - k + 1) for size, k in zip(sizes, w.shape[2:], strict=True))
        return result.real[(..., *kept)].astype(x.dtype)

    def gradient(self, x: Array, gy: Array, shape: tuple[int, ...], padding: Any) -> Array:
        if set(shape[2:]) == {1}:
            return super().gradient(x, gy, shape, padding)
        padded = np.pad(x, [(0, 0), (0, 0), *padding])
        axes = tuple(range(2, x.ndim))
        sizes = padded.shape[2:]
        transformed = np.conj(np.fft.fftn(gy, sizes, axes))
        sums = np.einsum("nc...,no...->oc...", np.fft.fftn(padded, sizes, axes), transformed)
        kept = tuple(slice(k) for k in shape[2:])
        return np.fft.ifftn(sums, sizes, axes).real[(..., *kept)].astype(x.dtype)
