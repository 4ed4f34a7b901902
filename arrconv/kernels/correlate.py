"""A matrix times the windows of an array, block by block: what `conv` and the transposed convolution both come to."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.kernels.blocks import block_workspace, even, plan
from arrconv.kernels.gather import Buffer, Gather, Positions, image_by_image, row_by_row, side_by_side
from arrconv.kernels.strips import plan_strips, share_rows
from arrconv.kernels.threads import for_each, threads_for
from arrconv.products import matmul

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array
    from arrconv.axis import Windows
    from arrconv.kernels.blocks import Box
    from arrconv.kernels.strips import Strip

_JOINED = 128  # images of fewer positions are joined: narrower matrix products spend their time on the other matrix
_FEW_ROWS = 64  # up to which it pays to gather less for a matrix product, one narrow piece at a time


def correlate(lib: Any, source: Array, matrix: Array, windows: tuple[Windows, ...], *outs: Array) -> None:
    """Let out (N, G, O, *positions) = matrix (G, O, C, *taps) times the windows of source (N, G, C, *sizes).

    Where there are several outs, the matrix has the rows of all of them, one after the other.
    """
    if lib is np and matrix.shape[1] <= _FEW_ROWS and share_rows(windows):
        _by_strips(source, matrix, windows, *outs)
    else:
        by_blocks(lib, source, matrix, windows, *outs)


def by_blocks(
    lib: Any,
    source: Array,
    matrix: Array,
    windows: tuple[Windows, ...],
    *outs: Array,
    gatherer: type[Gather] = Gather,
) -> None:
    """The same, all windows of a block gathered into one matrix for one product."""
    out, ndim = outs[0], len(windows)
    dtype = out.dtype
    matrix = lib.ascontiguousarray(matrix.reshape(*matrix.shape[:2], -1), dtype)  # (G, O, C·K)
    groups, *heights = matrix.shape
    blocks = plan(len(out), groups, max(heights) * dtype.itemsize, windows, cached=lib is np, shared=1, joined=_JOINED)
    is_in_place = len(outs) == 1 and out.flags.c_contiguous and not blocks.is_joined
    flat_out = out.reshape(*out.shape[:3], -1) if is_in_place else None  # (N, G, O, L), a view
    layout = side_by_side(ndim) if blocks.is_joined else image_by_image(ndim)

    def make_worker() -> Callable[[tuple[slice, slice, Box]], None]:
        gather, positions, buffer = gatherer(lib, source, dtype), Positions(lib, source, dtype), Buffer(lib, dtype)

        def worker(task: tuple[slice, slice, Box]) -> None:
            ns, gs, box = task
            if blocks.is_whole:
                columns = positions(ns, gs, slice(None), box, is_joined=blocks.is_joined)
            else:
                columns = gather(ns, gs, slice(None), box, layout)  # (n, g, C·K, l) or (1, g, C·K, n·l)
            if flat_out is not None:
                matmul(lib, matrix[gs], columns, out=flat_out[ns, gs, :, box.flat])
                return
            found = buffer(len(columns), gs.stop - gs.start, matrix.shape[1], columns.shape[3])
            matmul(lib, matrix[gs], columns, out=found)
            if blocks.is_joined:
                found = found.reshape(*found.shape[1:3], ns.stop - ns.start, -1).transpose(2, 0, 1, 3)
            store(found, [each[(ns, gs, slice(None), *box.places)] for each in outs])

        return worker

    tasks = list(product(blocks.images, blocks.groups, blocks.boxes))
    for_each(tasks, make_worker, threads_for(lib, len(outs) * out.size * matrix.shape[2]))


def _by_strips(source: Array, matrix: Array, windows: tuple[Windows, ...], *outs: Array) -> None:
    """Each row of a strip gathered once, for one product for each position along the first axis."""
    out, ndim = outs[0], len(windows)
    dtype = out.dtype
    groups, rows, channels, taps = matrix.shape[:4]
    matrix = np.ascontiguousarray(np.moveaxis(matrix, 3, 2), dtype).reshape(groups, 1, rows, -1)  # (G, 1, O, K0·C·K')
    height = matrix.shape[3] // taps
    cut = plan_strips(len(out), groups, max(height, rows) * dtype.itemsize, windows, block_workspace())
    is_in_place = len(outs) == 1 and out.flags.c_contiguous
    flat_out = out.reshape(*out.shape[:4], -1) if is_in_place else None  # (N, G, O, L0, L'), a view
    layout = row_by_row(ndim)

    def make_worker() -> Callable[[tuple[slice, slice, Strip]], None]:
        gather, buffer = Gather(np, source, dtype), Buffer(np, dtype)

        def worker(task: tuple[slice, slice, Strip]) -> None:
            ns, gs, strip = task
            gathered = gather(ns, gs, slice(None), strip.box, layout)  # (1, g, r, C·K', l)
            _, g, _, _, columns = gathered.shape
            per_image, per_group, per_row, *within = gathered.strides
            rows_together = np.lib.stride_tricks.as_strided(  # (1, g, l0, K0·C·K', l)
                gathered,
                (1, g, strip.count, taps * height, columns),
                (per_image, per_group, strip.step * per_row, *within),
            )
            if flat_out is not None:
                target = flat_out[ns, gs, :, strip.places[0], strip.flat].swapaxes(2, 3)  # (1, g, l0, O, l)
                np.matmul(matrix[gs], rows_together, out=target)
                return
            found = np.matmul(matrix[gs], rows_together, out=buffer(1, g, strip.count, rows, columns))
            store(found.swapaxes(2, 3), [each[(ns, gs, slice(None), *strip.places)] for each in outs])

        return worker

    tasks = list(product(even(len(out), 1), cut.groups, cut.strips))
    for_each(tasks, make_worker, threads_for(np, len(outs) * out.size * channels * taps * height))


def store(found: Array, targets: list[Array]) -> None:
    """Write the rows of products (n, g, outs·O, …) to where they belong, (n, g, O, *positions) each."""
    height = targets[0].shape[2]
    for number, target in enumerate(targets):
        target[...] = found[:, :, number * height : (number + 1) * height].reshape(target.shape)
