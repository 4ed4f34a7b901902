"""Faults of memory: layouts that are not looked at."""

# ruff: noqa: E501 - each fault is one row of a table

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from arrconv_conformance.faults.call import (
    BIAS,
    FORWARD,
    INPUT,
    SINGLES,
    TRANSPOSED,
    TRANSPOSED_BIAS,
    TRANSPOSED_INPUT,
    TRANSPOSED_WEIGHT,
    WEIGHT,
)
from arrconv_conformance.faults.fault import Fault
from arrconv_conformance.layouts import buffer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv_conformance.data import Array
    from arrconv_conformance.faults.call import Call
    from arrconv_conformance.members import Role


def _from(array: Array, start: int) -> Array:
    """As many elements of the buffer from a place on, taken for C order; what lies beyond it is zero."""
    flat = buffer_of(array).ravel("K")[max(0, start) :]
    result = np.zeros(array.size, array.dtype)
    result[: min(array.size, len(flat))] = flat[: array.size]
    return result.reshape(array.shape)


def _place(array: Array) -> int:
    """Where in its buffer the first element of an array is."""
    base = buffer_of(array)
    lowest = sum(min(0, stride * (size - 1)) for stride, size in zip(base.strides, base.shape, strict=True))
    return int(array.ctypes.data - base.ctypes.data - lowest) // array.itemsize


def _dense(array: Array) -> Array:
    """The elements from the first one on, as though they were in C order."""
    return array if array.flags.c_contiguous or not array.size else _from(array, _place(array))


def _from_base(array: Array) -> Array:
    """The elements from the begin of the buffer on, as though it were all."""
    return array if array.flags.c_contiguous or not array.size else _from(array, 0)


def _unsigned(array: Array) -> Array:
    """Negative strides taken for positive ones."""
    return np.ascontiguousarray(array[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in array.strides)])


def _dense_if(condition: Callable[[Array], bool]) -> Callable[[Array], Array]:
    return lambda array: _dense(array) if array.ndim > 1 and array.size and condition(array) else array


def _is_last(array: Array) -> bool:
    """Whether the channels lie closest together, without gaps."""
    return array.ndim > 2 and bool(np.moveaxis(array, 1, -1).flags.c_contiguous) and not array.flags.c_contiguous


def _is_slice(array: Array) -> bool:
    """Whether the channels lie closest together, with gaps behind them."""
    return (
        array.ndim > 2 and array.strides[1] == array.itemsize and not _is_last(array) and not array.flags.c_contiguous
    )


def _last_without_gaps(array: Array) -> Array:
    """Channels last, as though there were no more of them."""
    if not array.size or not _is_slice(array) or _is_broadcast(array):
        return array
    last = np.moveaxis(array, 1, -1)
    return np.moveaxis(_from(array, _place(array)).reshape(last.shape), -1, 1)


def _is_fortran(array: Array) -> bool:
    return bool(array.flags.f_contiguous) and not array.flags.c_contiguous


def _is_broadcast(array: Array) -> bool:
    return 0 in array.strides and max(array.shape) > 1


def _is_offset(array: Array) -> bool:
    return array.strides[-1] == array.itemsize and not array.flags.c_contiguous and not _is_broadcast(array)


def _is_strided(array: Array) -> bool:
    return min(map(abs, array.strides)) >= 2 * array.itemsize


def _first_row_alone(array: Array) -> Array:
    """Of a broadcast array the first entry alone, and zeros for the others."""
    if array.ndim < 2 or not _is_broadcast(array):
        return array
    result = np.zeros_like(array, order="C")
    result[:1] = array[:1]
    return result


def _reads(role: Role, change: Callable[[Array], Array]) -> Callable[[Call], Array]:
    """With one operand read wrongly."""
    return lambda call: (
        call.with_operands(**{role: change(call[role])}).right() if role in call.operands else call.right()
    )


def _all_read(change: Callable[[Array], Array]) -> Callable[[Call], Array]:
    return lambda call: call.mapped(change).right()


_MEMORY = "the strides of an array are not looked at"
_CONTIGUOUS = "https://github.com/pytorch/pytorch/issues/1246"
_ROLES: dict[str, tuple[Role, tuple[str, ...]]] = {
    "x": ("x", (FORWARD, WEIGHT)),
    "the weight": ("w", (FORWARD,)),
    "the weight in the input gradient": ("w", (INPUT,)),
    "the cotangent": ("y", (INPUT, WEIGHT, BIAS)),
    "y": ("y", (TRANSPOSED,)),
    "the transposed weight": ("w", (TRANSPOSED, TRANSPOSED_INPUT)),
    "the transposed cotangent": ("x", (TRANSPOSED_INPUT, TRANSPOSED_WEIGHT, TRANSPOSED_BIAS)),
}
_LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "channels-last arrays": _dense_if(_is_last),
    "slices of channels-last arrays": _dense_if(_is_slice),
    "Fortran order": _dense_if(_is_fortran),
    "arrays in a larger buffer": _dense_if(_is_offset),
    "every second element": _dense_if(_is_strided),
    "negative strides": _unsigned,
    "broadcast arrays": _first_row_alone,
}

# fmt: off
FAULTS = [
    *(Fault(f"strides of {name} ignored", _MEMORY, _reads(role, _dense), members, _CONTIGUOUS if role == "w" else None) for name, (role, members) in _ROLES.items()),
    *(Fault(f"{layout} read as C order", "one layout that is not looked for", _all_read(change), SINGLES) for layout, change in _LAYOUTS.items()),
    Fault("slices of channels-last arrays read without gaps", "a layout that is looked for, but not its gaps", _all_read(_last_without_gaps), SINGLES, "https://github.com/pytorch/pytorch/issues/180984"),
    Fault("channels-last cotangent read as C order", "one layout in one operand", _reads("y", _LAYOUTS["channels-last arrays"]), (WEIGHT,)),
    Fault("channels-last x read as C order", "one layout in one operand", _reads("x", _LAYOUTS["channels-last arrays"]), (FORWARD,)),
    Fault("negative strides of the weight ignored", "one layout in one operand", _reads("w", _unsigned), (FORWARD, TRANSPOSED)),
    Fault("offsets ignored", "the begin of the buffer for that of the view", _all_read(_from_base), SINGLES),
]
# fmt: on
"""Faults of memory."""
