"""Faults of arithmetic: narrower formats than are claimed, at one place or another, and fast algorithms that round more."""

# ruff: noqa: E501 - each fault is one row of a table

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.bounds import FORMATS
from arrconv_conformance.data import numpy_dtype
from arrconv_conformance.faults.call import (
    BIAS,
    FORWARD,
    INPUT,
    TRANSPOSED,
    TRANSPOSED_BIAS,
    TRANSPOSED_WEIGHT,
    WEIGHT,
)
from arrconv_conformance.faults.fault import COMPUTED, Fault
from arrconv_conformance.faults.sums import finished, summed, terms_of
from arrconv_conformance.faults.walk import padded_by, walks_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv_conformance.data import Array
    from arrconv_conformance.faults.call import Call
    from arrconv_conformance.faults.fault import Broken

SMALL_FLOATS = ("float16", "bfloat16")


def rounded_to(array: Array, bits: int) -> Array:
    """Real numbers rounded to so many fraction bits, to nearest, ties to even."""
    if array.dtype.kind == "c":
        result = np.empty_like(array)
        result.real, result.imag = rounded_to(array.real, bits), rounded_to(array.imag, bits)
        return result
    with np.errstate(all="ignore"):
        fractions, exponents = np.frexp(array)
        rounded = np.ldexp(np.rint(np.ldexp(fractions, bits + 1)), exponents - bits - 1)
    return np.where(np.isfinite(array), rounded, array).astype(array.dtype)


def cut_to(array: Array, bits: int) -> Array:
    """Real numbers cut to so many fraction bits, towards zero."""
    with np.errstate(all="ignore"):
        fractions, exponents = np.frexp(array)
        cut = np.ldexp(np.trunc(np.ldexp(fractions, bits + 1)), exponents - bits - 1)
    return np.where(np.isfinite(array), cut, array).astype(array.dtype)


def _of(broken: Broken, *dtypes: str) -> Broken:
    return lambda call: broken(call) if call.dtype in dtypes else call.right()


def _by(narrow: str, *dtypes: str) -> Broken:
    """By way of a narrower dtype."""

    def broken(call: Call) -> Array:
        with np.errstate(all="ignore"):
            return call.mapped(lambda array: array.astype(narrow)).right().astype(call["w"].dtype)

    return _of(broken, *dtypes)


def _inputs(bits: int, condition: Callable[[Call], bool] = lambda _: True, *dtypes: str) -> Broken:
    """The factors, not the bias, rounded to fewer bits."""

    def broken(call: Call) -> Array:
        if call.role == "bias" or not condition(call):
            return call.right()
        return call.with_operands(**{role: rounded_to(call[role], bits) for role in call.factors}).right()

    return _of(broken, *(dtypes or ("float32",)))


def _long(call: Call) -> bool:
    return call.role != "bias" and call.geometry.products(call.role) > 400


def _steps(dtype: str, *dtypes: str) -> Broken:
    """Each sum rounded to a narrow dtype after each addition."""
    return _of(lambda call: summed(call, lambda total: _narrowed(total, dtype)), *dtypes)


def _narrowed(array: Array, dtype: str) -> Array:
    """Rounded to a dtype, which may be one that is not installed where the fault is only listed."""
    return array.astype(numpy_dtype(dtype)).astype(array.dtype)


def _blocks(dtype: str, block: int, *dtypes: str) -> Broken:
    """Sums rounded to a narrow dtype between blocks."""

    def broken(call: Call) -> Array:
        terms = terms_of(call)
        if terms is None or terms.table.shape[1] <= block:
            return call.right()
        total = np.zeros(len(terms.table))
        with np.errstate(all="ignore"):
            for start in range(0, terms.table.shape[1], block):
                part = total + terms.table[:, start : start + block].sum(axis=1)
                total = _narrowed(part, dtype)
            return finished(call, total if terms.bias is None else total + terms.bias, terms)

    return _of(broken, *dtypes)


def _saturating(dtype: str) -> Broken:
    """Sums that stop at the largest number of their format."""
    largest = FORMATS[dtype].largest
    return _of(lambda call: summed(call, lambda total: np.clip(total, -largest, largest)), dtype)


def _overflowing(call: Call) -> Array:
    """Sums whose range, not whose precision, is that of float16."""
    largest = FORMATS["float16"].largest
    return summed(call, lambda total: np.where(np.abs(total) > largest, np.copysign(np.inf, total), total))


def _truncated_sums(call: Call) -> Array:
    return summed(call, lambda total: cut_to(total, 23))


def _truncated_result(call: Call) -> Array:
    """The result cut, not rounded."""
    terms = terms_of(call)
    if terms is None:
        return call.right()
    with np.errstate(all="ignore"):
        total = terms.table.sum(axis=1) + (0 if terms.bias is None else terms.bias)
        return finished(call, cut_to(total, FORMATS[call.dtype].fraction_bits), terms)


def _rounded_twice(call: Call) -> Array:
    """Rounded once before the bias is added, and once more after."""
    if "bias" not in call.operands or call.is_empty:
        return call.right()
    with np.errstate(all="ignore"):
        first = call.with_operands(bias=None).right()
        wide = first.astype(np.float32) + call["bias"].astype(np.float32).reshape(-1, *(1,) * call.ndim)
        return wide.astype(first.dtype)


def _by_products(call: Call) -> Array:
    """Products rounded to the dtype before they are added up."""
    terms = terms_of(call)
    if terms is None:
        return call.right()
    with np.errstate(all="ignore"):
        total = terms.table.astype(call["w"].dtype).astype(np.float64).sum(axis=1)
        return finished(call, total if terms.bias is None else total + terms.bias, terms)


def _integers(wrap: str) -> Broken:
    """Sums that wrap in a narrower integer."""
    return lambda call: call.right().astype(wrap).astype(np.int64) if call["w"].dtype.kind in "iu" else call.right()


def _reread(given: str, seen: str) -> Broken:
    """Integers taken for those of another sign."""
    return _of(lambda call: call.mapped(lambda array: np.ascontiguousarray(array).view(seen)).right(), given)


def _by_float(call: Call) -> Array:
    """Integers by way of float64, whose sums are exact to 2^53."""
    if call["w"].dtype.kind not in "iu":
        return call.right()
    wide = call.mapped(lambda array: array.astype(np.float64)).right()
    return np.where(np.abs(wide) < 2.0**63, wide, 0).astype(np.int64)


def _clipped(call: Call) -> Array:
    """Where results of int8 are claimed to wrap, they saturate."""
    return np.clip(call.right(), -128, 127).astype(np.int8) if call.dtype == "int8" else call.right()


def _three_products(call: Call) -> Array:
    """A complex product by three real ones."""
    if not np.iscomplexobj(call["w"]) or call.role == "bias" or call.is_empty:
        return call.right()
    first, second = call.factors
    (a, b), (c, d) = ((call.factor(role).real, call.factor(role).imag) for role in (first, second))
    plain = call.with_operands(bias=None)

    def real(left: Array, right: Array) -> Array:
        # What is not multiplied has to be real as well: the weight, of its own gradient.
        others = {role: array.real for role, array in plain.operands.items()}
        return plain.with_operands(**(others | {first: left, second: right})).right()

    result = np.empty(call.right().shape, call["w"].dtype)
    with np.errstate(all="ignore"):
        both, one, other = real(a + b, c + d), real(a, c), real(b, d)
        result.real, result.imag = one - other, both - one - other
        if "bias" in call.operands:
            result += call["bias"].reshape(-1, *(1,) * call.ndim)
    return result


_B = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
               [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]], np.float32)  # fmt: skip
_G = np.array([[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
               [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]], np.float32)  # fmt: skip
_A = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float32)


def _winograd(call: Call) -> Array:
    """Winograd's F(4×4, 3×3) for kernels of three by three with stride 1, in float32."""
    geometry = call.geometry
    steps = [(axis.stride, axis.dilation) for axis in geometry.axes]
    if call.is_empty or geometry.kernel_size != (3, 3) or set(steps) != {(1, 1)}:
        return call.right()
    x, w = padded_by(call["x"], walks_of(call)), call["w"]
    rows, columns = geometry.output_size
    x = np.pad(x, ((0, 0), (0, 0), (0, -rows % 4), (0, -columns % 4)))
    groups = call.groups
    kernels = np.einsum("ai,ocij,bj->ocab", _G, w, _G).reshape(groups, -1, w.shape[1], 6, 6)
    result = np.empty((len(x), geometry.out_channels, rows + -rows % 4, columns + -columns % 4), np.float32)
    with np.errstate(all="ignore"):
        for top, left in product(range(0, rows, 4), range(0, columns, 4)):
            tile = np.einsum("ai,ncij,bj->ncab", _B, x[:, :, top : top + 6, left : left + 6], _B)
            tile = tile.reshape(len(x), groups, -1, 6, 6)
            sums = np.einsum("gocab,ngcab->ngoab", kernels, tile).reshape(len(x), -1, 6, 6)
            result[:, :, top : top + 4, left : left + 4] = np.einsum("ia,noab,jb->noij", _A, sums, _A)
        result = result[:, :, :rows, :columns]
        if "bias" in call.operands:
            result = result + call["bias"].reshape(-1, 1, 1)
    return np.ascontiguousarray(result)


def _fourier(call: Call) -> Array:
    """By the Fourier transform, in the dtype's own precision."""
    geometry = call.geometry
    if call.is_empty or not call.ndim or max(geometry.kernel_size) < 2:
        return call.right()
    x, w = padded_by(call["x"], walks_of(call)), call["w"]
    spread = np.zeros((*w.shape[:2], *(axis.extent for axis in geometry.axes)), w.dtype)
    taps: tuple[Any, ...] = (..., *(slice(None, None, axis.dilation) for axis in geometry.axes))
    spread[taps] = w
    axes, sizes = tuple(range(2, x.ndim)), x.shape[2:]
    groups = call.groups
    with np.errstate(all="ignore"):
        images = np.fft.rfftn(x, sizes, axes).reshape(len(x), groups, 1, -1, *sizes[:-1], sizes[-1] // 2 + 1)
        kernels = np.fft.rfftn(spread, sizes, axes).conj()
        kernels = kernels.reshape(groups, -1, w.shape[1], *kernels.shape[2:])
        spectrum = (images * kernels).sum(axis=3).reshape(len(x), geometry.out_channels, *kernels.shape[3:])
        whole = np.fft.irfftn(spectrum, sizes, axes).astype(x.dtype)
        counts = [(axis.output_size - 1) * axis.stride + 1 for axis in geometry.axes]
        steps = (slice(0, count, axis.stride) for count, axis in zip(counts, geometry.axes, strict=True))
        windows: tuple[Any, ...] = (..., *steps)
        result = whole[windows]
        if "bias" in call.operands:
            result = result + call["bias"].reshape(-1, *(1,) * call.ndim)
    return np.ascontiguousarray(result)


def _wide_result(call: Call) -> Array:
    """float32, where float64 is asked for."""
    result = call.right()
    return result.astype(np.float32) if result.dtype == np.float64 else result


_BOTH = (FORWARD, TRANSPOSED)
_SUMS = (*COMPUTED, BIAS, TRANSPOSED_BIAS)

# fmt: off
FAULTS = [
    Fault("float32 returned for float64", "a default dtype", _wide_result, _SUMS),
    Fault("float64 by float32", "a narrow temporary", _by("float32", "float64"), _SUMS),
    Fault("float64 by float32 in the weight gradient", "a narrow temporary", _by("float32", "float64"), (WEIGHT, TRANSPOSED_WEIGHT)),
    Fault("float64 sums in float32", "a narrow accumulator", _steps("float32", "float64"), (FORWARD, TRANSPOSED)),
    Fault("complex128 by complex64", "a narrow temporary", _by("complex64", "complex128"), _SUMS),
    Fault("float32 by float16", "a narrow temporary", _by("float16", "float32")),
    Fault("bfloat16 by float16", "one 16-bit format for another", _by("float16", "bfloat16")),
    Fault("float16 by bfloat16", "one 16-bit format for another", _of(lambda call: call.mapped(lambda array: array.astype(numpy_dtype("bfloat16"))).right().astype(np.float16), "float16")),
    Fault("TF32", "tensor cores under a float32 claim", _inputs(10)),
    Fault("TF32 in the weight gradient", "tensor cores in one pass", _inputs(10), (WEIGHT, TRANSPOSED_WEIGHT)),
    Fault("TF32 in long sums", "tensor cores where it pays", _inputs(10, _long), _BOTH),
    Fault("TF32 in long sums of the input gradient", "tensor cores where it pays", _inputs(10, _long), (INPUT,)),
    Fault("TF32 in long sums of the weight gradient", "tensor cores where it pays", _inputs(10, _long), (WEIGHT,)),
    Fault("TF32 in complex64", "tensor cores for real parts", _inputs(10, lambda _: True, "complex64")),
    Fault("bfloat16 inputs", "a default precision under a float32 claim", _inputs(7)),
    Fault("bfloat16 inputs in long sums", "a default precision where it pays", _inputs(7, _long)),
    Fault("16-bit parts of float32", "two bfloat16 parts of three", _inputs(15)),
    Fault("float16 sums", "a narrow accumulator", _steps("float16", "float16"), _SUMS),
    Fault("float16 sums of float32", "a narrow accumulator", _steps("float16", "float32"), (FORWARD,)),
    Fault("bfloat16 sums", "a narrow accumulator", _steps("bfloat16", "bfloat16"), _SUMS),
    Fault("bfloat16 sums in the bias gradient", "a narrow accumulator", _steps("bfloat16", "bfloat16"), (BIAS,)),
    Fault("float16 sums in the weight gradient", "a narrow accumulator", _steps("float16", "float16"), (WEIGHT,)),
    Fault("bfloat16 sums between blocks of 32", "partial sums that are stored", _blocks("bfloat16", 32, "bfloat16")),
    Fault("float16 sums between blocks of 128", "partial sums that are stored", _blocks("float16", 128, "float16")),
    Fault("bfloat16 sums between blocks of 256 in float32", "partial sums that are stored", _blocks("bfloat16", 256, "float32")),
    Fault("products rounded to 16 bits", "a multiplication in the dtype", _of(_by_products, *SMALL_FLOATS)),
    Fault("rounded before the bias", "a bias that is added after the cast", _of(_rounded_twice, *SMALL_FLOATS), _BOTH),
    Fault("16-bit results cut", "a cast that drops bits", _of(_truncated_result, *SMALL_FLOATS)),
    Fault("float32 sums cut", "rounding towards zero in tensor cores", _of(_truncated_sums, "float32")),
    Fault("float16 sums overflow", "an accumulator of float16's range", _of(_overflowing, "float16"), (FORWARD, INPUT, WEIGHT)),
    Fault("float32 sums overflow at 65504", "an accumulator of float16's range", _of(_overflowing, "float32"), (FORWARD, WEIGHT)),
    Fault("float16 sums saturate", "sums that are clipped", _saturating("float16"), (FORWARD, INPUT, WEIGHT)),
    Fault("sums wrap at 8 bits", "an accumulator of int8", _integers("int8"), _SUMS),
    Fault("sums wrap at 16 bits", "an accumulator of int16", _integers("int16"), _SUMS),
    Fault("sums wrap at 32 bits", "an accumulator of int32", _integers("int32"), _SUMS),
    Fault("sums wrap at 32 bits in the weight gradient", "an accumulator of int32", _integers("int32"), (WEIGHT,)),
    Fault("uint8 as int8", "a sign that is not there", _reread("uint8", "int8"), _SUMS),
    Fault("int16 as uint16", "a sign that is lost", _reread("int16", "uint16"), _SUMS),
    Fault("integers by float64", "exact to 2^53 alone", _by_float, _SUMS),
    Fault("int8 saturates where it should wrap", "quantised arithmetic", _clipped, COMPUTED, None, {"int8": "wraps"}),
    Fault("complex products by three", "fewer multiplications, more rounding", _three_products),
    Fault("Winograd", "F(4×4, 3×3) under a float32 claim", _of(_winograd, "float32"), (FORWARD,)),
    Fault("Fourier", "a fast transform under a float32 claim", _of(_fourier, "float32"), (FORWARD,)),
]
# fmt: on
"""Faults of arithmetic."""
