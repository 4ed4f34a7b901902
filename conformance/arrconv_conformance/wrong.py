"""Wrong calls: what no framework can answer, so that any answer is a wrong one.

Each takes a good call and spoils one thing. An error is what is asked for, whatever its type and text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv import Geometry
    from arrconv_conformance.data import Array
    from arrconv_conformance.members import Member, Role

    Operands = dict[Role, Array]
    Options = dict[str, Any]
    Spoiler = Callable[[Member, Operands, Options], tuple[Operands, Options]]


def _longer(array: Array, axis: int) -> Array:
    """One entry more along an axis."""
    return np.concatenate([array, array.take([0], axis)], axis)


def _operand(position: int, axis: int) -> Spoiler:
    """The operand at a position of the call is one entry too long along an axis."""

    def spoil(member: Member, operands: Operands, options: Options) -> tuple[Operands, Options]:
        role = member.takes[position]
        return operands | {role: _longer(operands[role], axis)}, options

    return spoil


def _option(name: str, value: int) -> Spoiler:
    """An option is a number that it cannot be, on the last axis."""

    def spoil(_: Member, operands: Operands, options: Options) -> tuple[Operands, Options]:
        return operands, options | {name: (*options[name][:-1], value)}

    return spoil


def _groups(_: Member, operands: Operands, options: Options) -> tuple[Operands, Options]:
    return operands, options | {"groups": len(operands["w"]) + 1}


WRONG: dict[str, Spoiler] = {
    "channels": _operand(0, 1),
    "bias": _operand(2, 0),
    "cotangent-batch": _operand(2, 0),
    "cotangent-channels": _operand(2, 1),
    "cotangent-size": _operand(2, -1),
    "groups": _groups,
    "no-groups": lambda _, operands, options: (operands, options | {"groups": 0}),
    "stride": _option("stride", 0),
    "negative-stride": _option("stride", -1),
    "dilation": _option("dilation", 0),
}
"""The wrong calls by name: one channel, bias entry, image, channel or position too many; groups that do not divide the
channels, or none; a stride or a dilation that is not positive."""


def can_be_wrong(wrong: str, member: Member, geometry: Geometry) -> bool:
    """Whether a call of a member can be wrong in this way: it has what is spoilt, and all of it has elements."""
    if 0 in (*geometry.input_shape, *geometry.weight_shape, *geometry.output_shape):
        return False
    if wrong in ("stride", "negative-stride", "dilation", "cotangent-size") and not geometry.ndim:
        return False
    if wrong == "bias":
        return not member.needs
    return bool(member.needs) if wrong.startswith("cotangent") else True
