"""Gathering windows of an array into the columns of a matrix, block by block."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.kernels.blocks import Box, Plan


class Gather:
    """Gathers windows of a source (N, G, C, *sizes) into columns, through memory of its own that it uses again."""

    def __init__(self, lib: Any, source: Array, plan: Plan, dtype: Any) -> None:
        self._lib, self._source, self._dtype = lib, source, dtype
        self._is_native = source.dtype == dtype
        self._slab: Any = None
        self._columns: Any = None
        is_ready = plan.is_whole and self._is_native and source.flags.c_contiguous
        self._ready = source.reshape(*source.shape[:3], -1) if is_ready else None  # (N, G, C, L)

    def __call__(self, n: int, gs: slice, cs: slice, box: Box) -> Array:
        """The columns (g, C·K, l) of some groups and channels of image n in a box."""
        if self._ready is not None:
            return self._ready[n, gs, cs, box.flat]
        image = self._source[n, gs, cs]
        shape = (*image.shape[:2], *box.shape)
        size = math.prod(shape)
        if self._columns is None or self._columns.size < size:
            self._columns = self._lib.empty(size, self._dtype)
        columns = self._columns[:size].reshape(shape)
        if box.is_dense:
            self._lib.copyto(columns, self._view(image, box))
        else:  # taps far apart: what lies between them is not worth copying
            self._copy_taps(columns, image, box)
        return columns.reshape(shape[0], -1, box.flat.stop - box.flat.start)

    def view(self, n: int, gs: slice, box: Box) -> Array:
        """The windows (g, C, *K, *l) of some groups of image n as an overlapping view; their span is copied at need."""
        return self._view(self._source[n, gs], box)

    def _view(self, image: Array, box: Box) -> Array:
        """An overlapping view of the image itself where the box lies inside it, else of a padded copy."""
        slab = image[(..., *box.span)] if box.is_inside and self._is_native else self._padded(image, box)
        steps = list(zip(slab.strides[2:], box.windows, strict=True))
        between_taps = (step * w.spacing if w.taps > 1 else 0 for step, w in steps)  # a lone one may name any distance
        between_windows = (step * w.step if w.count > 1 else 0 for step, w in steps)
        strides = (*slab.strides[:2], *between_taps, *between_windows)
        return self._lib.lib.stride_tricks.as_strided(slab, (*slab.shape[:2], *box.shape), strides)

    def _padded(self, image: Array, box: Box) -> Array:
        """The part of the image that a box reads, with the zeros of the padding, in the gatherer's dtype."""
        shape = (*image.shape[:2], *(w.span for w in box.windows))
        size = math.prod(shape)
        if self._slab is None or self._slab.size < size:
            self._slab = self._lib.empty(size, self._dtype)
        slab = self._slab[:size].reshape(shape)
        sources = [w.overlap for w in box.windows]
        places = [slice(s.start - w.start, s.stop - w.start) for s, w in zip(sources, box.windows, strict=True)]
        for number, place in enumerate(places):
            before = (slice(None), slice(None), *places[:number])
            slab[(*before, slice(0, place.start))] = 0
            slab[(*before, slice(place.stop, None))] = 0
        self._lib.copyto(slab[(..., *places)], image[(..., *sources)])
        return slab

    def _copy_taps(self, columns: Array, image: Array, box: Box) -> None:
        """Fill the columns (g, C, *K, *l) tap by tap, straight from the image."""
        for tap in product(*(range(w.taps) for w in box.windows)):
            target = columns[(slice(None), slice(None), *tap)]
            seeing = [w.seeing(t) for w, t in zip(box.windows, tap, strict=True)]
            target[...] = 0
            if all(part.stop > part.start for part in seeing):
                seen = (w.seen(t) for w, t in zip(box.windows, tap, strict=True))
                self._lib.copyto(target[(..., *seeing)], image[(..., *seen)])
