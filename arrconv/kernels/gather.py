"""Gathering windows of an array into the columns of a matrix, block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import chain, product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.axis import Windows
    from arrconv.kernels.blocks import Box


@dataclass(frozen=True, slots=True)
class Layout:
    """In which order the axes (n, g, C, *taps, *windows) of gathered elements lie in memory, and which make one axis.

    `axes` has a tuple for each axis of the result: the gathered axes that it runs through, the last one fastest.
    """

    axes: tuple[tuple[int, ...], ...]
    order: tuple[int, ...]
    places: tuple[int, ...]

    @classmethod
    def of(cls, *axes: tuple[int, ...]) -> Layout:
        """The layout whose result has these axes."""
        order = tuple(chain.from_iterable(axes))
        return cls(axes, order, tuple(order.index(number) for number in range(len(order))))


@cache
def image_by_image(ndim: int) -> Layout:
    """(n, g, C·K, l): the columns of each image, a matrix for each."""
    return Layout.of((0,), (1,), tuple(range(2, 3 + ndim)), tuple(range(3 + ndim, 3 + 2 * ndim)))


@cache
def side_by_side(ndim: int) -> Layout:
    """(1, g, C·K, n·l): the columns of all images, one matrix for all."""
    return Layout.of((), (1,), tuple(range(2, 3 + ndim)), (0, *range(3 + ndim, 3 + 2 * ndim)))


@cache
def row_by_row(ndim: int) -> Layout:
    """(n, g, r, C·K, l): a matrix for each position r of the first axis."""
    return Layout.of((0,), (1,), (3 + ndim,), tuple(range(2, 3 + ndim)), tuple(range(4 + ndim, 3 + 2 * ndim)))


def fill(lib: Any, target: Array, images: Array, elements: tuple[Windows, ...]) -> None:
    """Copy from images what windows of one tap see to a target (…, *counts), with zeros where they see nothing."""
    before: tuple[slice, ...] = (slice(None),) * (target.ndim - len(elements))
    lead = before
    for w in elements:
        seeing = w.seeing(0)
        target[(*before, slice(0, seeing.start))] = 0
        target[(*before, slice(seeing.stop, None))] = 0
        before += (seeing,)
    lib.copyto(target[before], images[(*lead, *(w.seen(0) for w in elements))])


class Buffer:
    """Memory of its own for one array after the other, made when the first needs it."""

    def __init__(self, lib: Any, dtype: Any) -> None:
        self._lib, self._dtype = lib, dtype
        self._memory: Any = None

    def __call__(self, *shape: int) -> Array:
        """An array of this shape with anything in it; it replaces the one before."""
        size = math.prod(shape)
        if self._memory is None or self._memory.size < size:
            self._memory = self._lib.empty(size, self._dtype)
        return self._memory[:size].reshape(shape)


class Positions:
    """The elements (N, G, C, *sizes) of an array as the columns of matrices: itself where that can be, else copies."""

    def __init__(self, lib: Any, source: Array, dtype: Any) -> None:
        is_ready = source.dtype == dtype and source.flags.c_contiguous
        self._source = source.reshape(*source.shape[:3], -1) if is_ready else source
        self._is_ready, self._buffer = is_ready, Buffer(lib, dtype)

    def __call__(self, ns: slice, gs: slice, cs: slice, box: Box, *, is_joined: bool) -> Array:
        """The elements at the places of a box: (n, g, C, l), or those of all images side by side, (1, g, C, n·l)."""
        if self._is_ready and not is_joined:
            return self._source[ns, gs, cs, box.flat]
        found = self._source[(ns, gs, cs, *((box.flat,) if self._is_ready else box.places))]
        n, g, c, *counts = found.shape
        if is_joined:
            memory = self._buffer(g, c, n, *counts)
            memory[...] = found.transpose(1, 2, 0, *range(3, found.ndim))
            return memory.reshape(1, g, c, -1)
        memory = self._buffer(*found.shape)
        memory[...] = found
        return memory.reshape(n, g, c, -1)


class Gather:
    """Gathers windows of a source (N, G, C, *sizes) into columns."""

    def __init__(self, lib: Any, source: Array, dtype: Any) -> None:
        self._lib, self._source = lib, source
        self._is_native = source.dtype == dtype
        self._slab, self._columns = Buffer(lib, dtype), Buffer(lib, dtype)

    def __call__(self, ns: slice, gs: slice, cs: slice, box: Box, layout: Layout) -> Array:
        """The windows of some images, groups and channels in a box."""
        images = self._source[ns, gs, cs]
        shape = (*images.shape[:3], *box.shape)
        memory = self._columns(*(shape[axis] for axis in layout.order))
        self._copy(memory.transpose(layout.places), images, box)
        return memory.reshape([math.prod(shape[axis] for axis in axes) for axes in layout.axes])

    def padded(self, ns: slice, gs: slice, cs: slice, box: Box) -> Array:
        """The part (n, g, C, *spans) of some images, groups and channels that a box reads, zeros around them."""
        return self._padded(self._source[ns, gs, cs], box)

    def _copy(self, columns: Array, images: Array, box: Box) -> None:
        """Fill the columns (n, g, C, *K, *l) with the windows of a box."""
        if box.is_dense:
            self._lib.copyto(columns, self._view(images, box))
        else:  # taps far apart: what lies between them is not worth copying
            self._copy_taps(columns, images, box)

    def _view(self, images: Array, box: Box) -> Array:
        """An overlapping view (n, g, C, *K, *l) of the images where the box lies inside them, else of a padded copy."""
        slab = images[(..., *box.span)] if box.is_inside and self._is_native else self._padded(images, box)
        steps = list(zip(slab.strides[3:], box.windows, strict=True))
        between_taps = (step * w.spacing if w.taps > 1 else 0 for step, w in steps)  # a lone one may name any distance
        between_windows = (step * w.step if w.count > 1 else 0 for step, w in steps)
        strides = (*slab.strides[:3], *between_taps, *between_windows)
        return self._lib.lib.stride_tricks.as_strided(slab, (*slab.shape[:3], *box.shape), strides)

    def _padded(self, images: Array, box: Box) -> Array:
        """The part of the images that a box reads, with the zeros of the padding, in the gatherer's dtype."""
        slab = self._slab(*images.shape[:3], *(w.span for w in box.windows))
        fill(self._lib, slab, images, tuple(w.spanned() for w in box.windows))
        return slab

    def _copy_taps(self, columns: Array, images: Array, box: Box) -> None:
        """Fill the columns (n, g, C, *K, *l) tap by tap, straight from the images."""
        for tap in product(*(range(w.taps) for w in box.windows)):
            target = columns[(slice(None), slice(None), slice(None), *tap)]
            seeing = [w.seeing(t) for w, t in zip(box.windows, tap, strict=True)]
            target[...] = 0
            if all(part.stop > part.start for part in seeing):
                seen = (w.seen(t) for w, t in zip(box.windows, tap, strict=True))
                self._lib.copyto(target[(..., *seeing)], images[(..., *seen)])
