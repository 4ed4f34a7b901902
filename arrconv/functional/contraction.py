"""A checked call, ready to be computed, bounded or explained. Every member of the family becomes one of these."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from arrconv.bounds import Arithmetic, error_in_sum
from arrconv.errors import ShapeError
from arrconv.functional import exact
from arrconv.functional.orders import RealSum
from arrconv.geometry import Geometry
from arrconv.kernels import KERNELS, Choice, check_algorithm, choose, memory, select
from arrconv.kernels.base import Problem
from arrconv.padding import pad, pad_adjoint
from arrconv.spec import ConvSpec

if TYPE_CHECKING:
    from arrconv._namespace import Array, Backend
    from arrconv.geometry import Direction


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

    def real_sums(self) -> list[RealSum]:
        """The real sums whose values, flat, are the elements of the result, or their real and imaginary parts."""

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
        algorithm = _needed(self.backend, algorithm)
        if algorithm == "exact":
            return exact.nearest(self)
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
        result = memory.contract(kernel, problem, first, second)
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
        return choose(self._problem(), _needed(self.backend, algorithm))

    def real_sums(self) -> list[RealSum]:
        """The contraction of real numbers itself; of complex ones, two contractions for each part of the result."""
        backend = self.backend
        wide = backend.in_float64()
        (a, *b), (c, *d) = backend.real_parts(self.first), backend.real_parts(self.second)
        biases = [None, None] if self.bias is None else backend.real_parts(self.bias)
        form = replace(self, backend=wide, first=a, second=c, bias=None)
        if not backend.is_complex:
            return [RealSum(form, ((a, c),), biases[0])]
        return [RealSum(form, ((a, c), (-b[0], d[0])), biases[0]), RealSum(form, ((a, d[0]), (b[0], c)), biases[1])]

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
        return self.geometry.shape_of(self.direction)

    @property
    def terms(self) -> int:
        """The largest number of terms in a sum of real numbers; a complex product makes two."""
        products = self.geometry.products(self.direction)
        return products * (2 if self.backend.is_complex else 1) + (self.bias is not None)

    def _problem(self) -> Problem:
        geometry = self.geometry.batched()
        if geometry.padding_mode != "zeros":  # kernels know no other mode; the map is applied before them
            geometry = geometry.padded()
        is_final = self.bias is None and (self.direction != "x" or self.geometry.padding_mode == "zeros")
        return Problem(self.direction, geometry, self.backend, is_final)


@dataclass(frozen=True, slots=True)
class ChannelSum:
    """The sum over batch and space for each channel: the gradient of a bias."""

    backend: Backend
    array: Array
    spatial_ndim: int

    def evaluate(self, algorithm: str = "auto") -> Array:
        """The sum, added up in the accumulator's dtype and rounded once; no kernel makes a difference."""
        backend = self.backend
        if _needed(backend, algorithm) == "exact":
            return exact.nearest(self)
        total = backend.xp.sum(backend.accumulating(self.array), axis=self._summed, dtype=backend.accumulator)
        return backend.rounded(total)

    def real_sums(self) -> list[RealSum]:
        """For each part of the array, the weight gradient of a kernel of one tap, where x is all ones."""
        xp, wide, array = self.backend.xp, self.backend.in_float64(), self.array
        batch, spatial = array.shape[: self._channel], array.shape[self._channel + 1 :]
        ones = xp.ones((*batch, 1, *spatial), dtype=wide.result, device=wide.device)
        weight_shape = (array.shape[self._channel], 1, *(1,) * self.spatial_ndim)
        geometry = Geometry.forward(ConvSpec.of(self.spatial_ndim), ones.shape, weight_shape)
        parts = self.backend.real_parts(array)
        return [RealSum(Contraction("w", geometry, wide, ones, part), ((ones, part),), None) for part in parts]

    def explain(self, algorithm: str = "auto") -> Choice:
        """The array library's own sum, unless it is to be exact."""
        check_algorithm(algorithm)
        if _needed(self.backend, algorithm) == "exact":
            return Choice("exact", dict.fromkeys(KERNELS, "exact was asked for"))
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


def _needed(backend: Backend, algorithm: str) -> str:
    """The algorithm that a dtype needs: integers are exact by any."""
    return "auto" if algorithm == "exact" and backend.is_integer else algorithm


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


def parts(computation: Computation) -> tuple[Array, Array]:
    """(high, low) for each element of the result: its nearest float64 number, and that of what high lacks."""
    if computation.backend.is_integer:
        result = computation.evaluate()
        return result, computation.backend.xp.zeros_like(result)
    return exact.parts(computation)


def check_bias(bias: Array | None, channels: int) -> None:
    """Raise a ShapeError unless a bias has one entry for each channel of the result."""
    if bias is not None and tuple(bias.shape) != (channels,):
        raise ShapeError(f"bias has shape {tuple(bias.shape)}, but the result has {channels} channels: ({channels},)")
