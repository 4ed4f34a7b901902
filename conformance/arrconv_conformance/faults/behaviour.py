"""Faults of behaviour: operands that are written to, results that are not one's own, and what calls leave behind."""

# ruff: noqa: E501 - each fault is one row of a table

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv_conformance.faults.axes import fit
from arrconv_conformance.faults.call import (
    BIAS,
    FORWARD,
    INPUT,
    TRANSPOSED,
    TRANSPOSED_BIAS,
    WEIGHT,
)
from arrconv_conformance.faults.fault import Fault
from arrconv_conformance.layouts import buffer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv_conformance.data import Array
    from arrconv_conformance.faults.call import Call
    from arrconv_conformance.members import Role


def _overwriting(role: Role) -> Callable[[Call], Array]:
    """An operand is used as scratch memory, and not restored."""

    def broken(call: Call) -> Array:
        result = call.right()
        array = call.operands.get(role)
        if array is not None and array.flags.writeable and array.size:
            array.flat[0] = array.flat[0] + array.dtype.type(1) if np.isfinite(array.flat[0]) else 0
        return result

    return broken


def _padding_in_place(call: Call) -> Array:
    """The gap behind an operand of a larger buffer is written to."""
    result = call.right()
    buffer = buffer_of(call["x"])
    if buffer.size > call["x"].size and buffer.flags.writeable:
        buffer.flat[-1] = 0
    return result


def _view_of_cotangent(call: Call) -> Array:
    """The sum of a single element, without a copy."""
    array = call[call.factors[0]]
    return array.reshape(-1) if array.size == array.shape[1] and array.size else call.right()


def _reused_buffer(call: Call) -> Array:
    """The result lies in memory that the next call of this shape writes to."""
    result = call.right()
    buffer: Array = call.memory.setdefault((call.member, result.shape, result.dtype.name), np.empty_like(result))
    buffer[...] = result
    return buffer


def _remembered(role: Role) -> Callable[[Call], Array]:
    """The first operand of each shape is kept, prepared for later calls."""

    def broken(call: Call) -> Array:
        if role not in call.operands:
            return call.right()
        kept = call.memory.setdefault((call.member, role, call[role].shape, call.dtype), call[role].copy())
        return call.with_operands(**{role: kept}).right()

    return broken


def _remembered_by_address(call: Call) -> Array:
    """The prepared weight is kept for the address at which it was."""
    key = (call.member, call["w"].__array_interface__["data"][0], call["w"].shape, call.dtype)
    return call.with_operands(w=call.memory.setdefault(key, call["w"].copy())).right()


def _remembered_options(call: Call) -> Array:
    """The first plan for arrays of these shapes, whatever the options."""
    key = (call.member, *(array.shape for array in call.operands.values()))
    options = call.memory.setdefault(key, call.options)
    other = call.with_options(**options)
    try:
        result = other.right()
    except ValueError:
        return call.right()
    return fit(result, call.right())


def _remembered_mode(call: Call) -> Array:
    """The padding mode is no part of the key."""
    key = (call.member, *(array.shape for array in call.operands.values()), str(call.options["stride"]))
    mode = call.memory.setdefault(key, call.mode)
    if mode == call.mode or call.member.startswith("conv_transpose") or 0 in call.geometry.input_size:
        return call.right()
    try:
        return call.with_options(padding_mode=mode).right()
    except ValueError:
        return call.right()


def _remembered_dtype(call: Call) -> Array:
    """The dtype is no part of the key: the arithmetic of the first call is that of all."""
    dtype = call.memory.setdefault((call.member, str(call.geometry)), call.dtype)
    if {dtype, call.dtype} != {"float32", "float64"} or dtype == "float64":
        return call.right()
    with np.errstate(all="ignore"):
        return call.mapped(lambda array: array.astype(np.float32)).right().astype(np.float64)


def _remembered_bias(call: Call) -> Array:
    """A bias that was given once is added to later results of the shape, too."""
    key = (call.member, str(call.geometry), call.dtype)
    if "bias" in call.operands:
        call.memory[key] = call["bias"].copy()
    return call.with_operands(bias=call.memory.get(key)).right()


def _second_call(call: Call) -> Array:
    """A faster algorithm, which is chosen at the second call of a kind, drops the last row."""
    result = call.right()
    if call.is_repeated and result.size:
        result.reshape(-1)[-1] = 0
    return result


def _accumulated(call: Call) -> Array:
    """Gradients that are added to what an earlier call left."""
    result = call.right()
    key = (call.member, str(call.geometry), call.dtype)
    earlier = call.memory.get(key)
    call.memory[key] = result
    with np.errstate(all="ignore"):
        return result if earlier is None else (result + earlier).astype(result.dtype)


def _other_operands(call: Call) -> Array:
    """The first cotangent of a kind, as though gradients did not change."""
    role = call.factors[-1]
    kept = call.memory.setdefault((call.member, str(call.geometry), call.dtype), call[role].copy())
    return call.with_operands(**{role: kept}).right()


def _fault(*fields: Any) -> Fault:
    return replace(Fault(*fields), remembers=True)


# fmt: off
FAULTS = [
    _fault("x overwritten", "scratch memory that is an operand", _overwriting("x"), (FORWARD, WEIGHT)),
    _fault("weight overwritten", "scratch memory that is an operand", _overwriting("w"), (FORWARD, TRANSPOSED)),
    _fault("weight overwritten by the input gradient", "scratch memory that is an operand", _overwriting("w"), (INPUT,)),
    _fault("cotangent overwritten", "scratch memory that is an operand", _overwriting("y"), (INPUT, WEIGHT, BIAS)),
    _fault("y overwritten", "scratch memory that is an operand", _overwriting("y"), (TRANSPOSED,)),
    _fault("bias overwritten", "scratch memory that is an operand", _overwriting("bias"), (FORWARD, TRANSPOSED)),
    _fault("beyond x overwritten", "padding in place", _padding_in_place, (FORWARD,)),
    _fault("bias gradient is a view", "the sum of one element", _view_of_cotangent, (BIAS, TRANSPOSED_BIAS)),
    _fault("result's memory used again", "an output buffer for each shape", _reused_buffer, (FORWARD, INPUT, WEIGHT)),
    _fault("weights remembered", "a cache with too small a key", _remembered("w"), (FORWARD, INPUT, TRANSPOSED), "https://github.com/uxlfoundation/oneDNN/issues/1113"),
    _fault("inputs remembered", "a cache with too small a key", _remembered("x"), (FORWARD, WEIGHT)),
    _fault("cotangents remembered", "a cache with too small a key", _other_operands, (INPUT, WEIGHT, BIAS)),
    _fault("biases remembered", "a cache with too small a key", _remembered("bias"), (FORWARD, TRANSPOSED)),
    _fault("bias remembered where there is none", "a plan that has one", _remembered_bias, (FORWARD, TRANSPOSED)),
    _fault("weights remembered by address", "a cache that outlives its key", _remembered_by_address, (FORWARD, INPUT)),
    _fault("options remembered", "a plan for each shape", _remembered_options, (FORWARD, INPUT, WEIGHT), "https://github.com/tensorflow/tfjs/pull/2507"),
    _fault("padding mode remembered", "a plan for each shape and stride", _remembered_mode, (FORWARD, INPUT)),
    _fault("arithmetic remembered", "a plan for each geometry", _remembered_dtype, (FORWARD,)),
    _fault("weight gradients accumulate over calls", "memory that is not cleared", _accumulated, (WEIGHT,)),
    _fault("second call wrong", "an algorithm that is chosen later", _second_call, (FORWARD, INPUT, WEIGHT)),
]
# fmt: on
"""Faults of behaviour."""
