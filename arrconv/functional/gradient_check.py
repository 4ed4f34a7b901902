"""Whether a backward pass is the gradient of its forward pass: by differences, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrconv.errors import ShapeError, SpecError
from arrconv.functional.reals import as_number, mixed_namespace
from arrconv.geometry import check_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array


@dataclass(frozen=True, slots=True)
class GradientCheck:
    """What became of a check; true where the gradients agree.

    Attributes:
        gap: the largest difference of an element from its numeric derivative.
        allowed: the largest difference that the numeric derivatives' own errors explain.
        argument: the number of the argument where the gap is largest, by its share of what is allowed.
        element: its place in that argument, flat.
        given: the element of the gradient.
        numeric: the derivative by differences.
    """

    gap: float
    allowed: float
    argument: int
    element: int
    given: float
    numeric: float

    def __bool__(self) -> bool:
        return self.gap <= self.allowed

    def __str__(self) -> str:
        verdict = "agree" if self else "differ"
        return (
            f"the gradients {verdict}: element {self.element} of argument {self.argument} is {self.given!r}, by "
            f"differences {self.numeric!r}, {self.gap:.3g} apart where {self.allowed:.3g} are allowed"
        )


def check_gradient(
    function: Callable[..., Array],
    gradient: Callable[..., Array | tuple[Array, ...]],
    /,
    *arrays: Array,
    gy: Array | None = None,
    step: float = 1e-3,
) -> GradientCheck:
    """Compare a gradient with differences of the function, for each element of each argument.

    The derivative of Σ gy·function(*arrays) by an element is taken from four values of it, at one and at two steps to
    either side, so that its error is of fourth order; the difference from that of second order bounds it, to which the
    rounding of the values comes. A function with a kink there (a ReLU at 0) has no derivative to compare with.

    Args:
        function: takes the arrays, returns an array.
        gradient: takes the arrays and gy; returns the gradient by each, as a tuple, or by the only one.
        arrays: real float64 numbers, of any shape; small ones, since each element takes four calls.
        gy: the gradient by the result, of its shape; without it, different numbers between 1 and 2.
        step: the distance of the values; above 0.

    Returns:
        A `GradientCheck`, true where all elements agree, which says where they differ most.

    Raises:
        DTypeError: the arrays are not real floating-point numbers of one dtype.
        ShapeError: a gradient, or gy, has another shape than what it is of.
        SpecError: the dtype is not float64, there is no array, or the step is not above 0.

    Source: W. H. Press et al., "Numerical Recipes", 3rd edition, 2007, section 5.7.

    >>> import numpy as np
    >>> from arrconv import sigmoid, sigmoid_backward
    >>> x = np.linspace(-3, 3, 5)
    >>> bool(check_gradient(sigmoid, lambda x, gy: sigmoid_backward(sigmoid(x), gy), x))
    True
    >>> bool(check_gradient(sigmoid, sigmoid_backward, x))  # which takes the result of sigmoid, not what it was given
    False
    """
    if not arrays:
        raise SpecError("check_gradient needs an array to take derivatives by")
    step = as_number(step, "step", above=0)
    xp = mixed_namespace(**{f"array {number}": array for number, array in enumerate(arrays)})
    if arrays[0].dtype != xp.float64:
        raise SpecError(f"differences need float64, but the arrays have dtype {arrays[0].dtype}")
    result = function(*arrays)
    if gy is None:
        gy = xp.reshape(xp.arange(1, 1 + math.prod(result.shape), dtype=result.dtype), result.shape)
        gy = 1 + xp.remainder(gy * 0.6180339887498949, xp.ones_like(gy))
    check_shape("gy", gy.shape, tuple(result.shape), "the result of the function")
    found = gradient(*arrays, gy)
    gradients = found if isinstance(found, tuple) else (found,)
    if len(gradients) != len(arrays):
        raise ShapeError(f"the function takes {len(arrays)} arrays, but the gradient returned {len(gradients)}")
    worst: GradientCheck | None = None
    for argument, (array, given) in enumerate(zip(arrays, gradients, strict=True)):
        check_shape(f"gradient {argument}", given.shape, tuple(array.shape), f"array {argument}")
        for element, value in enumerate(_flat(xp, given)):
            numeric, allowed = _derivative(xp, function, arrays, argument, element, gy, step)
            check = GradientCheck(abs(value - numeric), allowed, argument, element, value, numeric)
            if worst is None or _share(check) > _share(worst):
                worst = check
    return GradientCheck(0.0, 0.0, 0, 0, 0.0, 0.0) if worst is None else worst


def _share(check: GradientCheck) -> float:
    """Of what is allowed; NaN counts as the most."""
    return math.inf if math.isnan(check.gap) else check.gap / max(check.allowed, 1e-300)


def _derivative(
    xp: Any, function: Any, arrays: tuple[Array, ...], argument: int, element: int, gy: Array, step: float
) -> tuple[float, float]:
    """The derivative of Σ gy·function by one element, and what it may be wrong by."""
    array = arrays[argument]
    places = xp.reshape(xp.arange(math.prod(array.shape)), array.shape)
    one = xp.astype(places == element, array.dtype)
    terms = [
        gy * function(*arrays[:argument], array + one * (steps * step), *arrays[argument + 1 :])
        for steps in (-2, -1, 1, 2)
    ]
    two_below, below, above, two_above = (float(xp.sum(some)) for some in terms)
    size = max(float(xp.sum(xp.abs(some))) for some in terms)
    second, wide = (above - below) / (2 * step), (two_above - two_below) / (4 * step)
    fourth = (4 * second - wide) / 3
    rounding = 64 * 2.0**-53 * size * max(1.0, math.log2(2 + math.prod(gy.shape))) / step
    return fourth, step * abs(fourth - second) + rounding


def _flat(xp: Any, array: Array) -> list[float]:
    flat = xp.reshape(array, (-1,))
    return [float(flat[number]) for number in range(flat.shape[0])]
