"""Convolutions of periodic arrays, of any stride that divides the sizes, as products at each frequency."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrconv._namespace import device_of, namespace_of
from arrconv.linop.circular import Circulant, laid_out, symbol_of
from arrconv.linop.convolution import Conv
from arrconv.linop.simple import Phases, Reshape

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.axis import Axis
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


def frequency_form(operator: Operator) -> FrequencyForm | None:
    """How an operator becomes products at each frequency; None where it does not.

    It does where it is a `Circulant`, or a `Conv` with as much circular padding that each output has its own s inputs.
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
    channels = (geometry.in_channels, *geometry.input_size)
    like, strides = operator.example, [a.stride for a in geometry.axes]
    phases = Phases(channels, strides, like)
    circulant = Circulant(_symbol(operator.w, geometry.groups, geometry.axes), geometry.output_size, like)
    before = phases @ Reshape(operator.shape_in, channels, like)
    after = Reshape(circulant.shape_out, operator.shape_out, like)
    return FrequencyForm(after, circulant, before, math.prod(strides))


def _symbol(w: Array, groups: int, axes: tuple[Axis, ...]) -> Array:
    """Of a convolution of phases: the tap at x[s·l + j] is of phase j mod s, and lies ⌊j/s⌋ before the output."""
    xp, ndim = namespace_of(w), len(axes)
    fewer = [a.output_size for a in axes]
    taps = [[a.dilation * k - a.begin for k in range(a.kernel_size)] for a in axes]
    places = [
        [j % a.stride * m + -(j // a.stride) % m for j in own] for own, a, m in zip(taps, axes, fewer, strict=True)
    ]
    laid = laid_out(_dense(w, groups), places, [a.input_size for a in axes])
    apart = [part for a, m in zip(axes, fewer, strict=True) for part in (a.stride, m)]
    order = (0, 1, *range(2, 2 + 2 * ndim, 2), *range(3, 3 + 2 * ndim, 2))
    parts = xp.permute_dims(xp.reshape(laid, (*laid.shape[:2], *apart)), order)
    return symbol_of(xp.reshape(parts, (laid.shape[0], -1, *fewer)), ndim)


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
