"""The products of single elements: for each of a few elements of a contraction's result, a row of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable  # noqa: TC003
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from arrconv._namespace import Array, device_of

if TYPE_CHECKING:
    from arrconv.axis import Axis
    from arrconv.geometry import Direction, Geometry

_OPERANDS: dict[Direction, str] = {"y": "xw", "x": "wy", "w": "xy"}  # in the order of the form


@dataclass(frozen=True, slots=True)
class Meetings:
    """Which indices of the two operands meet in each of M elements of the result: two integer arrays, (M, T).

    They are indices along one spatial axis, or along the two axes before, flattened; below 0 there is no meeting.
    """

    first: Array
    second: Array


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of products of M elements: every combination of one meeting from each of `meetings`."""

    xp: Any
    sizes: tuple[tuple[int, ...], ...]
    meetings: tuple[Meetings, ...]

    @classmethod
    def of(cls, xp: Any, geometry: Geometry, direction: Direction, elements: Array) -> Rows:
        """The rows of the elements with these flat indices; the geometry is batched."""
        sizes = {"x": geometry.input_size, "w": geometry.kernel_size, "y": geometry.output_size}
        lead, *places = _unravel(elements, (-1, *sizes[direction]))
        along_axes = (
            _ALONG_AXIS[direction](xp, axis, geometry.padding_mode, place)
            for axis, place in zip(geometry.axes, places, strict=True)
        )
        meetings = (_between_channels(xp, geometry, direction, lead), *along_axes)
        return cls(xp, tuple(sizes[name] for name in _OPERANDS[direction]), meetings)

    @property
    def length(self) -> int:
        """The number of places in a row."""
        return math.prod(pair.first.shape[1] for pair in self.meetings)

    def factors(self, first: Array, second: Array, start: int, stop: int) -> Meetings:
        """The factors of the products start … stop − 1 of each row, (M, stop − start), zeros where there is none."""
        xp = self.xp
        numbers = xp.arange(start, stop, dtype=xp.int64, device=device_of(first))
        columns = _unravel(numbers, tuple(pair.first.shape[1] for pair in self.meetings))
        a = self._look_up(first, [xp.take(m.first, c, axis=1) for m, c in self._with(columns)], self.sizes[0])
        b = self._look_up(second, [xp.take(m.second, c, axis=1) for m, c in self._with(columns)], self.sizes[1])
        return Meetings(a, b)

    def _with(self, columns: list[Array]) -> zip[tuple[Meetings, Array]]:
        return zip(self.meetings, columns, strict=True)

    def _look_up(self, array: Array, indices: list[Array], sizes: tuple[int, ...]) -> Array:
        """The elements at these indices, (M, Q); 0 where one of them is below 0."""
        xp = self.xp
        *_, present = accumulate((index >= 0 for index in indices), lambda a, b: a & b)
        if math.prod(array.shape) == 0:
            return xp.zeros(present.shape, dtype=array.dtype, device=device_of(array))
        flat, *places = indices
        for place, size in zip(places, sizes, strict=True):
            flat = flat * size + place
        flat = xp.reshape(xp.where(present, flat, xp.zeros_like(flat)), (-1,))
        values = xp.reshape(xp.take(xp.reshape(array, (-1,)), flat), present.shape)
        return xp.where(present, values, xp.zeros_like(values))


def _unravel(flat: Array, shape: tuple[int, ...]) -> list[Array]:
    """The indices along each axis of a flat index; the first axis may be of any size."""
    indices: list[Array] = []
    for size in reversed(shape[1:]):
        indices.insert(0, flat % size)
        flat = flat // size
    return [flat, *indices]


def _between_channels(xp: Any, geometry: Geometry, direction: Direction, lead: Array) -> Meetings:
    """The meetings along batch and channels, where `lead` is the flat index of these of the result."""
    groups, all_in, all_out = geometry.groups, geometry.in_channels, geometry.out_channels
    inner, outer = all_in // groups, all_out // groups
    lead = xp.expand_dims(lead, axis=1)  # (M, 1)

    def every(count: int) -> Array:
        return xp.expand_dims(xp.arange(count, dtype=lead.dtype, device=device_of(lead)), axis=0)  # (1, T)

    match direction:
        case "y":  # (n, o) reads (n, c) of x and (o, c) of w
            n, o, c = lead // all_out, lead % all_out, every(inner)
            return Meetings(n * all_in + o // outer * inner + c, o * inner + c)
        case "x":  # (n, c) reads (o, c) of w and (n, o) of y
            n, channel = lead // all_in, lead % all_in
            o = channel // inner * outer + every(outer)
            return Meetings(o * inner + channel % inner, n * all_out + o)
        case "w":  # (o, c) reads (n, c) of x and (n, o) of y
            n, o, c = every(geometry.batch or 0), lead // inner, lead % inner
            return Meetings(n * all_in + o // outer * inner + c, n * all_out + o)


def _meetings_of_outputs(xp: Any, axis: Axis, mode: str, outputs: Array) -> Meetings:
    """Output l reads input m(stride·l + dilation·k − begin) through every tap k."""
    taps = xp.arange(axis.kernel_size, dtype=outputs.dtype, device=device_of(outputs))
    positions = axis.stride * xp.expand_dims(outputs, axis=1) + axis.dilation * taps
    return Meetings(_inputs_at(xp, axis, mode, positions), xp.broadcast_to(taps, positions.shape))


def _meetings_of_taps(xp: Any, axis: Axis, mode: str, taps: Array) -> Meetings:
    """Tap k reads input m(stride·l + dilation·k − begin) for every output l."""
    outputs = xp.arange(axis.output_size, dtype=taps.dtype, device=device_of(taps))
    positions = axis.stride * outputs + axis.dilation * xp.expand_dims(taps, axis=1)
    return Meetings(_inputs_at(xp, axis, mode, positions), xp.broadcast_to(outputs, positions.shape))


def _meetings_of_inputs(xp: Any, axis: Axis, mode: str, inputs: Array) -> Meetings:
    """Input i meets tap k in output (j − dilation·k)/stride, for each padded position j that reads i."""
    device = device_of(inputs)
    readers: list[list[int]] = [[] for _ in range(axis.input_size)]
    for position, source in enumerate(axis.sources(mode)):
        if source is not None:
            readers[source].append(position)
    most = max(map(len, readers), default=0)
    table = [row + [-1] * (most - len(row)) for row in readers]
    positions = xp.take(xp.asarray(table, dtype=inputs.dtype, device=device), inputs, axis=0)  # (M, F)
    taps = xp.arange(axis.kernel_size, dtype=inputs.dtype, device=device)
    steps = xp.expand_dims(positions, axis=2) - axis.dilation * taps  # (M, F, K): stride times the output
    meets = (steps >= 0) & (steps % axis.stride == 0)
    meets = meets & (steps // axis.stride < axis.output_size)
    taps, none = xp.broadcast_to(taps, steps.shape), -xp.ones_like(steps)
    flat = (inputs.shape[0], most * axis.kernel_size)
    return Meetings(
        xp.reshape(xp.where(meets, taps, none), flat), xp.reshape(xp.where(meets, steps // axis.stride, none), flat)
    )


def _inputs_at(xp: Any, axis: Axis, mode: str, positions: Array) -> Array:
    """The inputs at padded positions, −1 for a zero."""
    sources = [-1 if source is None else source for source in axis.sources(mode)]
    table = xp.asarray(sources, dtype=positions.dtype, device=device_of(positions))
    return xp.reshape(xp.take(table, xp.reshape(positions, (-1,))), positions.shape)


_ALONG_AXIS: dict[Direction, Callable[[Any, Axis, str, Array], Meetings]] = {
    "y": _meetings_of_outputs,
    "x": _meetings_of_inputs,
    "w": _meetings_of_taps,
}
