"""Faults with numbers that are no ordinary ones: NaN, infinities, zeros, and very small or large numbers."""

# ruff: noqa: E501 - each fault is one row of a table

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from arrconv.bounds import FORMATS
from arrconv_conformance.data import PARTS
from arrconv_conformance.faults.call import (
    FORWARD,
    INPUT,
    TRANSPOSED,
    TRANSPOSED_INPUT,
    TRANSPOSED_WEIGHT,
    WEIGHT,
)
from arrconv_conformance.faults.fault import COMPUTED, Broken, Fault
from arrconv_conformance.faults.sums import finished, terms_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv_conformance.data import Array
    from arrconv_conformance.faults.call import Call


def _inexact(broken: Broken) -> Broken:
    def chosen(call: Call) -> Array:
        if call["w"].dtype.kind in "iu":
            return call.right()
        with np.errstate(all="ignore"):
            return broken(call)

    return chosen


def _special(array: Array) -> Array:
    return ~np.isfinite(array)


def _cleaned(array: Array) -> Array:
    return np.where(_special(array), array.dtype.type(0), array)


def _skipping(call: Call, skipped: str) -> Array:
    """Products with a zero of one factor left out, so that what the other holds there does not matter.

    The right result, but where something that is not finite is met by zeros of that factor alone.
    """
    if (
        call.is_empty
        or not any(_special(array).any() for array in call.operands.values())
        or skipped not in call.factors
    ):
        return call.right()
    other = next(role for role in call.factors if role != skipped)
    clean = call.mapped(_cleaned).right()
    marked = {other: _special(call[other]), skipped: call[skipped] != 0, "bias": None}
    marks = call.with_operands(**marked).mapped(lambda array: array.astype(bool).astype(np.float64)).right()
    right = call.right()
    return np.where(_special(right) & (marks == 0), clean, right)


def _replaced(value: float) -> Broken:
    """What is not finite in an operand replaced by a number."""
    return lambda call: call.mapped(lambda array: np.where(_special(array), array.dtype.type(value), array)).right()


def _infinity_as_nan(call: Call) -> Array:
    result = call.right()
    return np.where(np.isinf(result), result.dtype.type(np.nan), result)


def _clipped_infinity(call: Call) -> Array:
    """Infinities replaced by the largest number."""
    result = call.right()
    if result.dtype.kind == "c":
        return result
    largest = result.dtype.type(FORMATS[call.dtype].largest)
    return np.where(np.isposinf(result), largest, np.where(np.isneginf(result), -largest, result))


def _spread(call: Call, tile: int | None) -> Array:
    """NaN in the whole tile, or image, of the result in which there is one; elsewhere the right result."""
    result = call.right()
    wrong = _special(result)
    if not wrong.any() or not call.ndim:
        return result
    if tile is None:
        hit = wrong.any(axis=tuple(range(2, result.ndim)), keepdims=True)
        return np.where(np.broadcast_to(hit, result.shape), result.dtype.type(np.nan), result)
    columns = np.arange(result.shape[-1]) // tile
    tiles = [wrong[..., columns == number].any(axis=-1) for number in range(int(columns[-1]) + 1)]
    hit = np.stack(tiles, axis=-1)[..., columns]
    return np.where(hit, result.dtype.type(np.nan), result)


def _leaking(call: Call) -> Array:
    """Inputs that no window sees are multiplied by zero, and added to the first output."""
    seen = call.right()
    if call.is_empty or "x" not in call.operands or call.role == "x":
        return seen
    special = _special(call["x"])
    if special.any() and not _special(seen).any():
        seen.flat[0] = np.nan
    return seen


def _through_weight(call: Call) -> Array:
    """The weight gradient reads the weight, times zero."""
    result = call.right()
    if _special(call["w"]).any():
        result[...] = np.nan
    return result


def _small(call: Call) -> float:
    return FORMATS[PARTS.get(call.dtype, call.dtype)].smallest_normal


def _flushed(array: Array, smallest: float) -> Array:
    if array.dtype.kind == "c":
        result = np.empty_like(array)
        result.real, result.imag = _flushed(array.real, smallest), _flushed(array.imag, smallest)
        return result
    return np.where(np.abs(array.astype(np.float64)) < smallest, array.dtype.type(0), array)


def _flushed_inputs(call: Call) -> Array:
    return call.mapped(lambda array: _flushed(array, _small(call))).right()


def _flushed_output(call: Call) -> Array:
    return _flushed(call.right(), _small(call))


def _flushed_products(call: Call) -> Array:
    """Products that are subnormal in float32, replaced by zero."""
    terms = terms_of(call) if call.dtype == "float32" else None
    if terms is None:
        return call.right()
    total = _flushed(terms.table, _small(call)).sum(axis=1)
    return finished(call, total if terms.bias is None else total + terms.bias, terms)


def _overflowing_products(call: Call) -> Array:
    """Operands scaled up by 2^8, and the result down."""
    if call.role == "bias":
        return call.right()
    first = call.factors[0]
    scaled = call.with_operands(**{first: call[first] * call[first].dtype.type(256), "bias": None}).right()
    scaled = scaled / scaled.dtype.type(256)
    if "bias" in call.operands:
        scaled = scaled + call["bias"].reshape(-1, *(1,) * call.ndim)
    return np.asarray(scaled.astype(call["w"].dtype))


def _of(broken: Callable[[Call], Array], *members: str) -> tuple[Broken, tuple[str, ...]]:
    return _inexact(broken), members or COMPUTED


# fmt: off
FAULTS = [
    Fault("zeros of the weight skipped", "a sparse weight", *_of(lambda call: _skipping(call, "w"), FORWARD)),
    Fault("zeros of x skipped", "a sparse input", *_of(lambda call: _skipping(call, "x"), FORWARD, WEIGHT)),
    Fault("zeros of the cotangent skipped", "a sparse gradient", *_of(lambda call: _skipping(call, "y"), WEIGHT, TRANSPOSED)),
    Fault("zeros of the weight skipped in gradients", "a sparse weight", *_of(lambda call: _skipping(call, "w"), INPUT, TRANSPOSED, TRANSPOSED_INPUT)),
    Fault("NaN taken for zero", "a comparison that NaN fails", *_of(_replaced(0.0)), "https://github.com/pytorch/pytorch/issues/12484"),
    Fault("NaN taken for zero in gradients", "a comparison that NaN fails", *_of(_replaced(0.0), INPUT, WEIGHT)),
    Fault("infinity turned into NaN", "a difference of infinities", *_of(_infinity_as_nan)),
    Fault("infinity clipped", "saturating arithmetic", *_of(_clipped_infinity, FORWARD, INPUT, WEIGHT)),
    Fault("NaN all over the image", "a Fourier transform", *_of(lambda call: _spread(call, None), FORWARD, TRANSPOSED)),
    Fault("NaN all over the image of the input gradient", "a Fourier transform", *_of(lambda call: _spread(call, None), INPUT)),
    Fault("NaN all over tiles of four", "Winograd's transform", *_of(lambda call: _spread(call, 4), FORWARD)),
    Fault("NaN where no window looks leaks", "a multiplication by zero", *_of(_leaking, FORWARD, WEIGHT)),
    Fault("NaN of the weight in its gradient", "a decay of zero times the weight", *_of(_through_weight, WEIGHT, TRANSPOSED_WEIGHT)),
    Fault("subnormal inputs flushed", "denormals are zero", *_of(_flushed_inputs)),
    Fault("subnormal results flushed", "flush to zero", *_of(_flushed_output)),
    Fault("subnormal products flushed", "flush to zero, before the addition", *_of(_flushed_products)),
    Fault("overflow on the way", "operands that are scaled up first", *_of(_overflowing_products)),
]
# fmt: on
"""Faults with special numbers."""
