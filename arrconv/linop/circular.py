"""Circular convolutions, which the Fourier transform makes products: a matrix of channels for each frequency."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from arrconv._namespace import device_of, namespace_of
from arrconv.errors import ShapeError, SpecError
from arrconv.kernels.fourier import restore, transform
from arrconv.kernels.stacks import each
from arrconv.linop.convolution import has_channels
from arrconv.linop.operator import Operator
from arrconv.spec import as_int, sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrconv._namespace import Array


class Circulant(Operator):
    """A map of periodic arrays that commutes with every shift: at each frequency a matrix of channels, its symbol.

    Args:
        symbol: complex, (*frequencies, C_out, C_in) for arrays with channels, (*frequencies) for arrays without; for
            real arrays half of the frequencies of the last axis, as `rfftn` gives them.
        size: the spatial sizes.
        like: an array of the library and dtype, on the device.

    Attributes:
        symbol, size: the same.

    Raises:
        ShapeError: the symbol has not these frequencies.
    """

    def __init__(self, symbol: Array, size: Sequence[int], like: Array) -> None:
        self.size, self.symbol = sizes(size, "size", minimum=1), symbol
        ndim = len(self.size)
        self.has_channels = symbol.ndim == ndim + 2
        made, given = (tuple(symbol.shape[at : at + 1]) for at in (ndim, ndim + 1))
        super().__init__((*given, *self.size), (*made, *self.size), like)
        last = self.size[-1] if self.is_complex else self.size[-1] // 2 + 1
        frequencies = tuple(symbol.shape[:ndim])
        if frequencies != (*self.size[:-1], last) or symbol.ndim not in (ndim, ndim + 2):
            raise ShapeError(
                f"the symbol has shape {tuple(symbol.shape)}, but arrays of size {self.size} and dtype {self.dtype} "
                f"have the frequencies {(*self.size[:-1], last)}, which two axes of channels may follow"
            )

    def with_symbol(self, symbol: Array) -> Circulant:
        """The map of arrays of the same size that has another symbol."""
        return Circulant(symbol, self.size, self.example)

    @property
    def H(self) -> Circulant:  # noqa: N802
        """The adjoint: at each frequency the conjugate, with rows for columns."""
        symbol = self.xp.conj(self.symbol)
        return self.with_symbol(self.xp.matrix_transpose(symbol) if self.has_channels else symbol)

    def _map(self, x: Array) -> Array:
        return self._restored(self._multiplied(self.symbol, transform(self.xp, x, len(self.size))))

    def kernel(self) -> Array:
        """What it convolves with, ((C_out, C_in,) *size): what an element at q adds at p is that at p − q."""
        ndim = len(self.size)
        channels = range(ndim, self.symbol.ndim)
        spectra = self.xp.permute_dims(self.symbol, (*channels, *range(ndim)))
        return self._restored(spectra)

    def to_matrix(self) -> Array:
        """Its matrix, (size_out, size_in), of blocks that are circulant: each number is one of the kernel's."""
        xp, kernel, count = self.xp, self.kernel(), math.prod(self.size)
        kernel = xp.reshape(kernel, (math.prod(kernel.shape) // count, count))  # (C_out·C_in, places)
        places = unravelled(xp.arange(count, dtype=xp.int64, device=self.device), self.size)
        index = xp.reshape(differences(places, places, self.size), (count * count,))
        blocks = xp.reshape(xp.take(kernel, index, axis=1), (*self._channels, count, count))
        return xp.reshape(xp.permute_dims(blocks, (0, 2, 1, 3)), (self.size_out, self.size_in))

    @property
    def _channels(self) -> tuple[int, int]:
        """How many it gives and takes."""
        return (self.shape_out[0], self.shape_in[0]) if self.has_channels else (1, 1)

    def _restored(self, spectrum: Array) -> Array:
        found = restore(self.xp, spectrum, self.size, is_complex=self.is_complex)
        return self.xp.astype(found, self.dtype, copy=False)  # that of float16 is float32

    def _map_back(self, y: Array) -> Array:
        # K.H v is the conjugate of the transpose of K times conj(v), and of that no copy is needed.
        xp = self.xp
        spectrum = xp.conj(transform(xp, y, len(self.size)))
        symbol = xp.matrix_transpose(self.symbol) if self.has_channels else self.symbol
        return self._restored(xp.conj(self._multiplied(symbol, spectrum)))

    def _multiplied(self, symbol: Array, spectrum: Array) -> Array:
        """A symbol times (N, C_in, *frequencies), or (N, *frequencies)."""
        xp, ndim = self.xp, len(self.size)
        if not self.has_channels or symbol.shape[-2:] == (1, 1):
            spectrum *= symbol[..., 0, 0] if self.has_channels else symbol
            return spectrum
        vectors = xp.permute_dims(spectrum, (*range(2, 2 + ndim), 1, 0))  # (*frequencies, C_in, N)
        products = each(xp, xp.matmul, symbol, vectors)  # (*frequencies, C_out, N)
        return xp.permute_dims(products, (ndim + 1, ndim, *range(ndim)))


class CircularConv(Circulant):
    """Circular convolution by the Fourier transform: y[i] = Σ_t k[t]·x[(i − t + origin) mod n].

    Its transpose is circular convolution with the kernel flipped *and shifted*, t ↦ −t mod n; its adjoint is the same,
    conjugated.

    Args:
        kernel: (C_out, C_in, *kernel) for arrays (C_in, *size), or (*kernel) for arrays (*size); of any length, also
            larger than the array, around which it is then wrapped.
        size: the spatial sizes; those of the kernel where they are not given.
        origin: the index of the kernel that is multiplied by x[i] itself: one for all axes or one for each, or
            "centre" for kernel//2.

    Raises:
        ShapeError: the kernel has neither as many axes as size nor two more.
        SpecError: the origin is no integer and not "centre".
        DTypeError: the kernel is no array of real or complex floating-point numbers.

    Source: R. M. Gray, "Toeplitz and circulant matrices: a review", 2006, chapter 3.

    >>> import numpy as np
    >>> A = CircularConv(np.asarray([1.0, 10.0]), (4,))
    >>> A.to_matrix()
    array([[ 1.,  0.,  0., 10.],
           [10.,  1.,  0.,  0.],
           [ 0., 10.,  1.,  0.],
           [ 0.,  0., 10.,  1.]])
    """

    def __init__(
        self,
        kernel: Array,
        size: Sequence[int] | None = None,
        *,
        origin: int | Sequence[int] | Literal["centre"] = 0,
    ) -> None:
        size = tuple(kernel.shape) if size is None else sizes(size, "size", minimum=1)
        ndim = len(size)
        lengths = kernel.shape[kernel.ndim - ndim :] if has_channels(kernel, ndim) else kernel.shape
        origins = [k // 2 for k in lengths] if origin == "centre" else _origins(origin, ndim)
        places = [[(t - o) % n for t in range(k)] for k, o, n in zip(lengths, origins, size, strict=True)]
        self._taps, self._places = kernel, places
        super().__init__(symbol_of(laid_out(kernel, places, size), ndim), size, kernel)

    def kernel(self) -> Array:
        """The kernel, laid around the array: ((C_out, C_in,) *size), its origin first."""
        return laid_out(self._taps, self._places, self.size)


def _origins(origin: Any, ndim: int) -> list[int]:
    entries = [origin] * ndim if isinstance(origin, int | str) else list(origin)
    if len(entries) != ndim:
        raise SpecError(f"origin={origin!r} has {len(entries)} entries for {ndim} spatial axes")
    return [as_int(entry, f"origin[{axis}]") for axis, entry in enumerate(entries)]


def laid_out(kernel: Array, places: Sequence[Sequence[int]], size: Sequence[int]) -> Array:
    """A kernel (..., *kernel) laid on arrays of a size, its taps at places along each axis; those that meet add up."""
    xp, device = namespace_of(kernel), device_of(kernel)
    lead = kernel.ndim - len(places)
    for axis, (own, n) in enumerate(zip(places, size, strict=True), start=lead):
        taps = xp.asarray(own, dtype=xp.int64, device=device)
        chosen = xp.astype(taps[:, None] == xp.arange(n, dtype=xp.int64, device=device), kernel.dtype)  # (kernel, n)
        moved = xp.moveaxis(kernel, axis, -1)
        kernel = xp.moveaxis(xp.matmul(moved, chosen), -1, axis)
    return kernel


def differences(there: list[Array], here: list[Array], size: tuple[int, ...]) -> Array:
    """The place of p − q on the torus, in the order of `reshape`, for all pairs (p, q)."""
    index = there[0][:, None] * 0 + here[0][None, :] * 0
    for p, q, n in zip(there, here, size, strict=True):
        index = index * n + (p[:, None] - q[None, :]) % n
    return index


def unravelled(flat: Array, shape: tuple[int, ...]) -> list[Array]:
    """The index along each axis of places in the order of `reshape`."""
    return [flat // math.prod(shape[axis + 1 :]) % n for axis, n in enumerate(shape)]


def symbol_of(kernel: Array, ndim: int) -> Array:
    """The Fourier transform of kernels ((C_out, C_in,) *size): (*frequencies(, C_out, C_in)), half for real ones."""
    xp, lead = namespace_of(kernel), kernel.ndim - ndim
    return xp.permute_dims(transform(xp, kernel, ndim), (*range(lead, kernel.ndim), *range(lead)))
