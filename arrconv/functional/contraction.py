"""A checked call, ready to be computed, bounded or explained. Every member of the family becomes one of these."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from arrconv.bounds import Arithmetic, error_in_sum
from arrconv.errors import ShapeError
from arrconv.kernels import KERNELS, Choice, check_algorithm, choose, select
from arrconv.kernels.base import Problem
from arrconv.padding import pad, pad_adjoint

if TYPE_CHECKING:
    from arrconv._namespace import Array, Backend
    from arrconv.geometry import Direction, Geometry


class Computation(Protocol):
    """What can be computed, bounded and explained."""

    @property
    def backend(self) -> Backend:
        """What the arrays share."""

    def evaluate(self, algorithm: str = "auto") -> Array:
        """The result, added up in the accumulator's dtype and rounded once."""

    def explain(self, algorithm: str = "auto") -> Choice:
        """The kernel that `evaluate` uses, and why each other is passed over."""

    def widened(self, magnitudes: bool) -> Computation:
        """The same in float64, of the real arrays themselves or of the absolute values."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""

    @property
    def terms(self) -> int:
        """The largest number of terms in a sum of real numbers; a complex product makes two."""


@dataclass(frozen=True, slots=True)
class Contraction:
    """One derivative of the trilinear form, and a bias for the channels of its result.

    The operands come in the order of the form: (x, w) for y, (w, y) for x, (x, y) for w.
    """

    direction: Direction
    geometry: Geometry
    backend: Backend
    first: Array
    second: Array
    bias: Array | None = None

    def evaluate(self, algorithm: str = "auto") -> Array:
        """The contraction and its bias, added up in the accumulator's dtype and rounded once."""
        xp, geometry, problem = self.backend.xp, self.geometry.batched(), self._problem()
        first, second = self.first, self.second
        if self.geometry.batch is None:  # x and y carry the batch, w does not
            first = first if self.direction == "x" else xp.expand_dims(first, axis=0)
            second = second if self.direction == "y" else xp.expand_dims(second, axis=0)
        kernel = select(problem, algorithm)
        padded_before = geometry.padding_mode != "zeros"
        if padded_before and self.direction != "x":
            # Integers are widened first, since some libraries cannot flip the narrow unsigned ones.
            first = pad(xp, self.backend.accumulating(first) if self.backend.is_integer else first, geometry)
        result = kernel.contract(problem, first, second)
        if padded_before and self.direction == "x":
            result = pad_adjoint(xp, result, geometry)
        if self.bias is not None:
            bias = self.backend.accumulating(self.bias)
            result += xp.reshape(bias, (-1, *(1,) * geometry.ndim))  # in place: kernels return fresh memory
        if self.geometry.batch is None and self.direction != "w":
            result = xp.squeeze(result, axis=0)
        return self.backend.rounded(result)

    def explain(self, algorithm: str = "auto") -> Choice:
        """The kernel that `evaluate` uses, and why each other is passed over."""
        return choose(self._problem(), algorithm)

    def widened(self, magnitudes: bool) -> Contraction:
        """The same in float64, of the real arrays themselves or of the absolute values."""
        widen = self.backend.magnitude if magnitudes else self.backend.in_float64().accumulating
        return replace(
            self,
            backend=self.backend.in_float64(),
            first=widen(self.first),
            second=widen(self.second),
            bias=None if self.bias is None else widen(self.bias),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        geometry = self.geometry
        return {"y": geometry.output_shape, "x": geometry.input_shape, "w": geometry.weight_shape}[self.direction]

    @property
    def terms(self) -> int:
        """The largest number of terms in a sum of real numbers; a complex product makes two."""
        products = self.geometry.products(self.direction)
        return products * (2 if self.backend.is_complex else 1) + (self.bias is not None)

    def _problem(self) -> Problem:
        geometry = self.geometry.batched()
        if geometry.padding_mode != "zeros":  # kernels know no other mode; the map is applied before them
            geometry = geometry.padded()
        return Problem(self.direction, geometry, self.backend)


@dataclass(frozen=True, slots=True)
class ChannelSum:
    """The sum over batch and space for each channel: the gradient of a bias."""

    backend: Backend
    array: Array
    spatial_ndim: int

    def evaluate(self, algorithm: str = "auto") -> Array:
        """The sum, added up in the accumulator's dtype and rounded once; `algorithm` makes no difference."""
        backend = self.backend
        total = backend.xp.sum(backend.accumulating(self.array), axis=self._summed, dtype=backend.accumulator)
        return backend.rounded(total)

    def explain(self, algorithm: str = "auto") -> Choice:
        """Always the array library's own sum."""
        check_algorithm(algorithm)
        return Choice("sum", dict.fromkeys(KERNELS, "the gradient of a bias is a plain sum"))

    def widened(self, magnitudes: bool) -> ChannelSum:
        """The same in float64, of the real array itself or of the absolute values."""
        wide = self.backend.in_float64()
        return replace(
            self, backend=wide, array=(self.backend.magnitude if magnitudes else wide.accumulating)(self.array)
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return (self.array.shape[self._channel],)

    @property
    def terms(self) -> int:
        """The number of elements of one channel."""
        return math.prod(self.array.shape[axis] for axis in self._summed)

    @property
    def _channel(self) -> int:
        return int(self.array.ndim) - self.spatial_ndim - 1

    @property
    def _summed(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(self.array.ndim) if axis != self._channel)


def bound(computation: Computation, arithmetic: Arithmetic | None) -> Array:
    """An upper bound of |computed − exact| in a claimed arithmetic, for each element of the result, in float64."""
    backend = computation.backend
    xp = backend.xp
    if backend.is_integer:
        return xp.zeros(computation.shape, dtype=backend.in_float64().result, device=backend.device)
    arithmetic = arithmetic or Arithmetic.of(backend.dtype)
    magnitude = computation.widened(magnitudes=True).evaluate()
    result = magnitude  # an upper bound of |y| where y itself is complex
    if arithmetic.rounds_output and not backend.is_complex:
        result = xp.abs(computation.widened(magnitudes=False).evaluate())
    error = error_in_sum(magnitude, result, computation.terms, arithmetic, backend.dtype)
    # Real and imaginary part are sums of their own, each within the bound.
    return error * math.sqrt(2) if backend.is_complex else error


def check_bias(bias: Array | None, channels: int) -> None:
    """Raise a ShapeError unless a bias has one entry for each channel of the result."""
    if bias is not None and tuple(bias.shape) != (channels,):
        raise ShapeError(f"bias has shape {tuple(bias.shape)}, but the result has {channels} channels: ({channels},)")
