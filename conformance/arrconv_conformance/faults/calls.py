"""Faults of checking: wrong calls that are answered, after something has been cut or replaced without a word."""

# ruff: noqa: E501 - each fault is one row of a table

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from arrconv_conformance.faults.fault import COMPUTED, Broken, Fault

if TYPE_CHECKING:
    from arrconv_conformance.data import Array
    from arrconv_conformance.faults.call import Call
    from arrconv_conformance.members import Role

_BACKWARD = (INPUT, WEIGHT, BIAS, TRANSPOSED_INPUT, TRANSPOSED_WEIGHT, TRANSPOSED_BIAS)


def _mended(call: Call, option: str, wrong: int) -> Array:
    """With ones for the numbers of an option that cannot be."""
    numbers = call.options[option]
    mended: Any = 1 if numbers == wrong else numbers
    if isinstance(numbers, tuple):
        mended = tuple(1 if number == wrong else number for number in numbers)
    return call.right() if mended == numbers else call.with_options(**{option: mended}).right()


def _long_bias(call: Call) -> Array:
    """A bias with too many entries: the first are taken."""
    if "bias" not in call.operands:
        return call.right()
    channels = call["w"].shape[1] * call.groups if call.member == TRANSPOSED else len(call["w"])
    return call.with_operands(bias=call["bias"][:channels]).right()


def _unchecked_channels(call: Call) -> Array:
    """An input with too many channels: the first are taken."""
    role: Role = "y" if call.member.startswith("conv_transpose") else "x"
    channels = len(call["w"]) if role == "y" else call["w"].shape[1] * call.groups
    return call.with_operands(**{role: call[role][:, :channels]}).right() if call.groups else call.right()


def _unchecked_cotangent(axis: int) -> Broken:
    """A cotangent that is too long: its begin is taken."""

    def broken(call: Call) -> Array:
        is_transposed = call.member.startswith("conv_transpose")
        role: Role = "x" if is_transposed else "y"
        expected = call.geometry.input_shape if is_transposed else call.geometry.output_shape
        cut = np.moveaxis(np.moveaxis(call[role], axis, 0)[: expected[axis]], 0, axis)
        return call.with_operands(**{role: cut}).right()

    return broken


# fmt: off
FAULTS = [
    Fault("stride of zero taken for one", "an option that is not checked", lambda call: _mended(call, "stride", 0)),
    Fault("stride of minus one taken for one", "an option that is not checked", lambda call: _mended(call, "stride", -1)),
    Fault("dilation of zero taken for one", "an option that is not checked", lambda call: _mended(call, "dilation", 0)),
    Fault("no groups taken for one", "an option that is not checked", lambda call: _mended(call, "groups", 0)),
    Fault("too long a bias accepted", "a length that is not checked", _long_bias, (FORWARD, TRANSPOSED)),
    Fault("too many channels accepted", "a length that is not checked", _unchecked_channels, COMPUTED),
    Fault("too many images of the cotangent accepted", "a length that is not checked", _unchecked_cotangent(0), _BACKWARD),
    Fault("too many channels of the cotangent accepted", "a length that is not checked", _unchecked_cotangent(1), _BACKWARD),
    Fault("too long a cotangent accepted", "a length that is not checked", _unchecked_cotangent(-1), _BACKWARD),
]
# fmt: on
"""Faults of checking."""
