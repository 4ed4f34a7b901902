"""Convolutions of periodic arrays, of any stride that divides the sizes, as products at each frequency."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrconv._namespace import device_of, namespace_of
from arrconv.errors import UnsupportedError
from arrconv.linop.circular import Circulant, laid_out, symbol_of
from arrconv.linop.convolution import Conv
from arrconv.linop.matrices import BUDGET, itemsize, over_budget
from arrconv.linop.simple import Phases, Reshape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrconv._namespace import Array
    from arrconv.geometry import Geometry
    from arrconv.linop.operator import Operator


@dataclass(frozen=True, slots=True)
class FrequencyForm:
    """An operator as after @ circulant @ before, where the first and the last only move numbers: they are unitary.

    Attributes:
        after, circulant, before: these.
        phases: of each channel, so many are channels of the circulant: the product of the strides.
    """

    after: Operator
    circulant: Circulant
    before: Operator
    phases: int = 1

    @property
    def operator(self) -> Operator:
        """The product."""
        return self.after @ (self.circulant @ self.before)


def frequency_form(operator: Operator, budget: int = BUDGET) -> FrequencyForm | None:
    """How an operator becomes products at each frequency; None where it does not.

    It does where it is a `Circulant`, or a `Conv` with as much circular padding that each output has its own s inputs.

    Raises:
        UnsupportedError: the symbol would take more bytes than the budget has.
    """
    if isinstance(operator, Circulant):
        same = [Reshape(shape, shape, operator.example) for shape in (operator.shape_out, operator.shape_in)]
        return FrequencyForm(same[0], operator, same[1])
    if not isinstance(operator, Conv):
        return None
    geometry = operator.geometry
    is_periodic = geometry.padding_mode == "circular" or all(a.begin == a.end == 0 for a in geometry.axes)
    if not is_periodic or any(a.output_size * a.stride != a.input_size or not a.input_size for a in geometry.axes):
        return None
    needed = symbol_bytes(operator, geometry.output_size)
    if needed > budget:
        raise UnsupportedError(f"the symbol of {operator} {over_budget(needed, budget)}")
    strides = [a.stride for a in geometry.axes]
    circulant = phase_circulant(operator.w, geometry, geometry.output_size)
    channels, like = (geometry.in_channels, *geometry.input_size), operator.example
    before = Phases(channels, strides, like) @ Reshape(operator.shape_in, channels, like)
    after = Reshape(circulant.shape_out, operator.shape_out, like)
    return FrequencyForm(after, circulant, before, math.prod(strides))


def symbol_bytes(conv: Conv, size: Sequence[int]) -> int:
    """The bytes of the symbol of a convolution on a torus, the size of which counts in steps of the stride."""
    geometry = conv.geometry
    channels = geometry.out_channels * geometry.in_channels * math.prod(a.stride for a in geometry.axes)
    frequencies = math.prod(size) if conv.is_complex else math.prod(size[:-1]) * (size[-1] // 2 + 1)
    return channels * frequencies * itemsize(conv) * (1 if conv.is_complex else 2)


def phase_circulant(w: Array, geometry: Geometry, size: Sequence[int]) -> Circulant:
    """A strided convolution of periodic arrays as a circulant of their phases.

    A tap that reads x[s·l + j] is of phase j mod s, and lies ⌊j/s⌋ behind the output.

    Args:
        w: (C_out, C_in/groups, *kernel).
        geometry: of which the groups, the strides and the places of the taps count, but not the sizes.
        size: of what it gives; what it takes has s times that.

    Returns:
        From (C_in·∏s, *size) to (C_out, *size).
    """
    xp, ndim, strides = namespace_of(w), len(size), [a.stride for a in geometry.axes]
    places = [
        [j % a.stride * m + -(j // a.stride) % m for j in a.offsets] for a, m in zip(geometry.axes, size, strict=True)
    ]
    laid = laid_out(_dense(w, geometry.groups), places, [s * m for s, m in zip(strides, size, strict=True)])
    apart = [part for s, m in zip(strides, size, strict=True) for part in (s, m)]
    order = (0, 1, *range(2, 2 + 2 * ndim, 2), *range(3, 3 + 2 * ndim, 2))
    parts = xp.permute_dims(xp.reshape(laid, (*laid.shape[:2], *apart)), order)
    kernel = xp.reshape(parts, (laid.shape[0], laid.shape[1] * math.prod(strides), *size))
    return Circulant(symbol_of(kernel, ndim), size, w)


def _dense(w: Array, groups: int) -> Array:
    """A grouped weight with zeros for the channels of other groups: (C_out, C_in, *kernel)."""
    if groups == 1:
        return w
    xp, device = namespace_of(w), device_of(w)
    made, own = w.shape[:2]
    of_output = xp.arange(made, dtype=xp.int64, device=device) // (made // groups)
    of_input = xp.arange(own * groups, dtype=xp.int64, device=device) // own
    is_own = xp.reshape(of_output[:, None] == of_input, (made, own * groups, *(1,) * (w.ndim - 2)))
    repeated = xp.concat([w] * groups, axis=1)
    return xp.where(is_own, repeated, xp.zeros_like(repeated))
