"""Every member of the family by the literal loop of `oracle`, in exact numbers of Python, complex ones too."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle

if TYPE_CHECKING:
    from arrconv import Geometry

RESULTS = {"conv": "y", "conv_grad_input": "x", "conv_grad_weight": "w", "conv_grad_bias": "bias"} | {
    "conv_transpose": "x",
    "conv_transpose_grad_input": "y",
    "conv_transpose_grad_weight": "w",
    "conv_transpose_grad_bias": "bias",
}
"""The role in which each member yields its result."""


@dataclass(frozen=True)
class Complex:
    """A complex number of which both parts are exact."""

    real: Any
    imag: Any

    def __add__(self, other: Any) -> Complex:
        return self if other == 0 else Complex(self.real + other.real, self.imag + other.imag)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Any:
        if other == 0:
            return 0
        a, b, c, d = self.real, self.imag, other.real, other.imag
        return Complex(a * c - b * d, a * d + b * c)

    __rmul__ = __mul__

    def conjugate(self) -> Complex:
        return Complex(self.real, -self.imag)


def number(value: Any) -> Any:
    if isinstance(value, complex):
        return Complex(Fraction(value.real), Fraction(value.imag))
    return value if isinstance(value, int) else Fraction(float(value))


def numbers(array: Any) -> Any:
    """The elements as exact numbers of Python."""
    result = np.empty(array.shape, object)
    for index in np.ndindex(array.shape):
        result[index] = number(array[index].item())
    return result


def conjugated(array: Any) -> Any:
    result = np.empty(array.shape, object)
    for index in np.ndindex(array.shape):
        result[index] = array[index].conjugate()
    return result


def by_the_loop(geometry: Geometry, name: str, given: dict[str, Any]) -> Any:
    """What the loop makes of numbers; the gradients are adjoints, so what was saved for them is conjugated."""
    o: Any = geometry.options
    x, w, y, bias = (given.get(role) for role in ("x", "w", "y", "bias"))
    match name:
        case "conv":
            return oracle.conv(x, w, bias, **o)
        case "conv_grad_input":
            return oracle.transpose_input(conjugated(w), y, geometry.input_size, **o)
        case "conv_grad_weight":
            return oracle.transpose_weight(conjugated(x), y, geometry.kernel_size, **o)
        case "conv_grad_bias":
            return oracle.grad_bias(y)
        case "conv_transpose":
            o = {option: value for option, value in o.items() if option != "padding_mode"}
            return oracle.conv_transpose(y, w, bias, output_padding=geometry.slack, **o)
        case "conv_transpose_grad_input":
            everywhere = oracle.conv(x, conjugated(w), None, **o)
            return everywhere[(..., *(slice(size) for size in geometry.output_size))]  # there may be fewer positions
        case "conv_transpose_grad_weight":
            return oracle.transpose_weight(x, conjugated(y), geometry.kernel_size, **o)
        case _:
            return oracle.grad_bias(x)
