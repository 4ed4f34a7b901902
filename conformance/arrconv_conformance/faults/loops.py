"""Faults of loops over channels, images and columns: tiles, remainders, blocks of long sums, and empty arrays."""

# ruff: noqa: E501 - each fault is one row of a table

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from arrconv_conformance.faults.call import (
    BIAS,
    FORWARD,
    INPUT,
    TRANSPOSED,
    TRANSPOSED_BIAS,
    TRANSPOSED_INPUT,
    TRANSPOSED_WEIGHT,
    WEIGHT,
)
from arrconv_conformance.faults.fault import COMPUTED, Fault
from arrconv_conformance.faults.groups import joined, split
from arrconv_conformance.faults.walk import along

if TYPE_CHECKING:
    from arrconv_conformance.data import Array
    from arrconv_conformance.faults.call import Call

FROM_W = (FORWARD, INPUT, TRANSPOSED, TRANSPOSED_INPUT)


def _whole(count: int, tile: int) -> int:
    """How many there are in whole tiles; all where there is not one tile."""
    return count // tile * tile or count


def _summed_channels(call: Call, tile: int) -> Array:
    """Only whole tiles of the channels over which a group adds up."""
    count = call["w"].shape[1] if call.role == "y" else len(call["w"]) // call.groups
    if call.is_empty or _whole(count, tile) == count:
        return call.right()
    w = call["w"].copy()
    if call.role == "y":
        w[:, _whole(w.shape[1], tile) :] = 0
    else:
        split(w, call.groups)[:, _whole(len(w) // call.groups, tile) :] = 0
    return call.with_operands(w=w).right()


def _written_channels(call: Call, tile: int) -> Array:
    """Only whole tiles of the channels of the result."""
    result = call.right()
    if not call.is_empty:
        channels = np.moveaxis(result, 0 if call.role == "w" else 1, 0)
        channels[_whole(len(channels), tile) :] = 0
    return result


def _columns(call: Call, tile: int) -> Array:
    """Only whole tiles of the last axis of the result."""
    result = call.right()
    if call.ndim and not call.is_empty:
        result[..., _whole(result.shape[-1], tile) :] = 0
    return result


def _positions(call: Call, tile: int) -> Array:
    """Only whole tiles of all the positions of an image."""
    result = np.ascontiguousarray(call.right())
    if not call.is_empty:
        flat = result.reshape(*result.shape[:2], -1)
        flat[..., _whole(flat.shape[-1], tile) :] = 0
    return result


def _without_last_column(call: Call) -> Array:
    result = call.right()
    if call.ndim and not call.is_empty:
        result[..., -1] = 0
    return result


def _without_images(call: Call, images: slice) -> Array:
    """Some images are left out: of what is added up, or of the result."""
    if call.is_empty:
        return call.right()
    if call.role in ("w", "bias"):
        role = call.factors[-1]
        array = call[role].copy()
        array[images] = 0
        return call.with_operands(**{role: array}).right()
    result = call.right()
    result[images] = 0
    return result


def _images_permuted(call: Call) -> Array:
    return np.roll(call.right(), 1, axis=0)


def _lone_image(call: Call) -> Array:
    """A path of its own for one image, which forgets the last row."""
    result = call.right()
    if call.geometry.batch == 1 and call.ndim and not call.is_empty:
        result[:, :, -1] = 0
    return result


def _lone_weight_gradient(call: Call) -> Array:
    """A path of its own for one image, which takes its gradient by the first channel of gy."""
    if call.geometry.batch != 1 or call.is_empty or call.geometry.out_channels == 1:
        return call.right()
    y = call["y"]
    return call.with_operands(y=np.broadcast_to(y[:, :1], y.shape)).right()


def _from_products(call: Call, first: int, last: int | None) -> Array:
    """Only some of the products of each sum, counted channel by channel, and tap by tap in each."""
    if call.is_empty or call.role == "bias":
        return call.right()
    if call.role == "w":
        y = call["y"].copy()
        rows = np.moveaxis(y, 1, 0).reshape(y.shape[1], -1).copy()
        rows[:, :first] = 0
        rows[:, last:] = 0
        y = np.moveaxis(rows.reshape(y.shape[1], len(y), *y.shape[2:]), 0, 1)
        return call.with_operands(y=np.ascontiguousarray(y)).right()
    w = call["w"].copy()
    if call.role == "y":
        rows = w.reshape(len(w), -1)
    else:
        rows = np.moveaxis(split(w, call.groups), 1, 2).reshape(call.groups * w.shape[1], -1).copy()
    rows[:, :first] = 0
    rows[:, last:] = 0
    if call.role == "x":
        shape = (call.groups, w.shape[1], len(w) // call.groups, *w.shape[2:])
        w = joined(np.moveaxis(rows.reshape(shape), 1, 2))
    return call.with_operands(w=w).right()


def _products(call: Call) -> int:
    return call.geometry.products(call.role)  # type: ignore[arg-type]


def _first_block(call: Call, block: int) -> Array:
    """The first block of each sum alone."""
    return _from_products(call, 0, block) if _products(call) > block else call.right()


def _whole_blocks(call: Call, block: int) -> Array:
    """Whole blocks of each sum alone."""
    count = _products(call)
    return _from_products(call, 0, _whole(count, block)) if count > block else call.right()


def _last_block(call: Call, block: int) -> Array:
    """The last block written, not added."""
    count = _products(call)
    return _from_products(call, (count - 1) // block * block, None) if count > block else call.right()


def _sixteen_bits(call: Call) -> Array:
    """Images, or channels of the result, that are counted in 16 bits."""
    result = call.right()
    most = 1 << 16
    if call.role in ("w", "bias"):
        role = call.factors[-1]
        if len(call[role]) <= most:
            return result
        return _without_images(call, slice(most, None))
    result[most:] = 0
    result[:, most:] = 0
    return result


def _empty_sum(call: Call) -> Array:
    """What was in memory, where there is nothing to add up."""
    result = call.right()
    if call.geometry.is_empty:
        result[...] = 77 if result.dtype.kind in "iu" else np.nan
    return result


def _no_bias_alone(call: Call) -> Array:
    """No bias, where there is nothing to add it to."""
    if call.geometry.is_empty and "bias" in call.operands:
        return call.with_operands(bias=None).right()
    return call.right()


def _no_output_channels(call: Call) -> Array:
    """Without input channels the result has none either."""
    result = call.right()
    return result[:, :0] if call.geometry.in_channels == 0 else result


def _one_window(call: Call) -> Array:
    """At least one position, however large the kernel."""
    if 0 not in call.geometry.output_size or call.geometry.batch == 0:
        return call.right()
    geometry = call.geometry
    shape = (*geometry.output_shape[:2], *(max(1, size) for size in geometry.output_size))
    return np.zeros(shape, call.right().dtype)


def _small_sizes(call: Call) -> Array:
    """Axes of one position lose their padding, as though they were squeezed away."""
    return along(call, lambda axis: replace(axis, begin=0) if axis.input_size == 1 else axis)


def _odd_last(call: Call) -> Array:
    """Two rows at a time, and the last of an odd number unwritten."""
    result = call.right()
    if call.ndim > 1 and not call.is_empty and result.shape[2] % 2 and result.shape[2] > 1:
        result[:, :, -1] = 0
    return result


def _wide_images(call: Call) -> Array:
    """Columns beyond a buffer of 32 unwritten."""
    result = call.right()
    if call.ndim and not call.is_empty:
        result[..., 32:] = 0
    return result


def _offset_by_sixteen(call: Call) -> Array:
    """The outputs of the second tile of channels are those of the first."""
    if call.is_empty or call.role not in ("y", "x"):
        return call.right()
    result = call.right()
    count = result.shape[1]
    if count > 16:
        result[:, 16:] = result[:, np.arange(count - 16) % 16]
    return result


_TILES = (4, 8, 16, 32)

# fmt: off
FAULTS = [
    *(Fault(f"sums over whole tiles of {tile} channels", "an unrolled loop without remainder", lambda call, tile=tile: _summed_channels(call, tile), FROM_W) for tile in _TILES),  # type: ignore[misc]
    *(Fault(f"whole tiles of {tile} channels written", "a blocked layout without remainder", lambda call, tile=tile: _written_channels(call, tile)) for tile in _TILES),  # type: ignore[misc]
    *(Fault(f"whole tiles of {tile} columns written", "a vector loop without remainder", lambda call, tile=tile: _columns(call, tile), FROM_W) for tile in (8, 64)),  # type: ignore[misc]
    *(Fault(f"whole tiles of {tile} positions written", "a matrix product without remainder", lambda call, tile=tile: _positions(call, tile), FROM_W) for tile in (16, 128)),  # type: ignore[misc]
    Fault("columns beyond 32 unwritten", "a buffer of one row that is too short", _wide_images, FROM_W),
    Fault("second tile of channels repeats the first", "an offset that is not advanced", _offset_by_sixteen),
    Fault("last column unwritten", "tiles that end early", _without_last_column, (FORWARD, INPUT)),
    Fault("last of an odd number of rows unwritten", "two rows at a time", _odd_last, FROM_W),
    Fault("images permuted", "a stale image index", _images_permuted, FROM_W),
    Fault("last image missing", "a loop that ends early", lambda call: _without_images(call, slice(-1, None)), (WEIGHT, TRANSPOSED_WEIGHT)),
    Fault("last image alone", "written, not added", lambda call: _without_images(call, slice(-1)), (WEIGHT, TRANSPOSED_WEIGHT)),
    Fault("last image missing in the bias gradient", "a loop that ends early", lambda call: _without_images(call, slice(-1, None)), (BIAS, TRANSPOSED_BIAS)),
    Fault("last image unwritten", "a loop that ends early", lambda call: _without_images(call, slice(-1, None)), (FORWARD, INPUT)),
    *(Fault(f"images beyond {most} missing", "a batch that is cut into pieces", lambda call, most=most: _without_images(call, slice(most, None)), (*COMPUTED, BIAS)) for most in (2, 16, 32)),  # type: ignore[misc]
    Fault("one image loses its last row", "a path for a batch of one", _lone_image, (FORWARD, INPUT)),
    Fault("one image's weight gradient by the first channel", "a path for a batch of one", _lone_weight_gradient, (WEIGHT,)),
    *(Fault(f"products beyond {block} lost", "a block of a long sum that is forgotten", lambda call, block=block: _first_block(call, block)) for block in (256, 512, 1024, 2048, 4096)),  # type: ignore[misc]
    Fault("products beyond 2048 lost in the forward pass", "a block of a long sum that is forgotten", lambda call: _first_block(call, 2048), (FORWARD, TRANSPOSED)),
    *(Fault(f"whole blocks of {block} products added", "a long sum without remainder", lambda call, block=block: _whole_blocks(call, block)) for block in (64, 256, 1024)),  # type: ignore[misc]
    *(Fault(f"last block of {block} products alone", "blocks written, not added", lambda call, block=block: _last_block(call, block)) for block in (256, 1024)),  # type: ignore[misc]
    Fault("counted in 16 bits", "an index that is too short", _sixteen_bits, (*COMPUTED, BIAS), "https://github.com/pytorch/pytorch/issues/96225"),
    Fault("junk for empty sums", "memory that is not cleared", _empty_sum, (FORWARD, INPUT, WEIGHT, TRANSPOSED), "https://github.com/tensorflow/tensorflow/issues/9949"),
    Fault("junk for an empty weight gradient", "memory that is not cleared", _empty_sum, (WEIGHT,), "https://github.com/tensorflow/tensorflow/issues/9949"),
    Fault("no bias without channels", "an early return", _no_bias_alone, (FORWARD, TRANSPOSED)),
    Fault("no channels without channels", "an early return", _no_output_channels, (FORWARD,), "https://github.com/pytorch/pytorch/issues/101356"),
    Fault("at least one position", "a size that is never zero", _one_window, (FORWARD,)),
    Fault("axis of one element loses its padding", "an axis that is squeezed away", _small_sizes),
]
# fmt: on
"""Faults of loops."""
