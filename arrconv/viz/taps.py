"""Which inputs an output reads, through which taps, and what it finds in the padding."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from arrconv.errors import ShapeError
from arrconv.geometry import Geometry
from arrconv.spec import ConvOptions, ConvSpec, check_options, sizes
from arrconv.viz.canvas import (
    GAP,
    NOW,
    OUTSIDE,
    PALE,
    Canvas,
    Key,
    as_grid,
    cell_of,
    check_kernel,
    named,
    positions,
    spans,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

LEGEND = (
    Key("reads the input", NOW),
    Key("reads the padding", PALE),
    Key("padding, and what it holds", OUTSIDE),
    Key("cropped", is_crossed=True),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One tap of one output: the place it falls on, where input i is at place i, and the input it finds there.

    `source` is None where it finds a zero of the padding.
    """

    tap: tuple[int, ...]
    place: tuple[int, ...]
    source: tuple[int, ...] | None


def readings(geometry: Geometry, output: Sequence[int]) -> list[Reading]:
    """What an output position reads, tap by tap: y[l] is the sum of w[tap]·x[source].

    Args:
        geometry: of the convolution.
        output: the position, one index for each spatial axis.

    Raises:
        SpecError: there is no such output.

    >>> geometry = Geometry.parse("c=1 o=1 x=5 k=3 s=2 p=1 mode=circular")
    >>> [(r.tap, r.place, r.source) for r in readings(geometry, (0,))]
    [((0,), (-1,), (4,)), ((1,), (0,), (0,)), ((2,), (1,), (1,))]
    """
    (position,) = positions([output], geometry.output_size, "output")
    held = contents(geometry)
    found = []
    for tap in geometry.taps:
        place = tuple(
            axis.stride * index + axis.offsets[k] for axis, index, k in zip(geometry.axes, position, tap, strict=True)
        )
        found.append(Reading(tap, place, held[place]))
    return found


def contents(geometry: Geometry) -> dict[tuple[int, ...], tuple[int, ...] | None]:
    """The input that each place of the padded axes holds, None for a zero; places that are cropped are absent.

    >>> contents(Geometry.parse("c=1 o=1 x=3 k=2 p=1:-1"))
    {(-1,): None, (0,): (0,), (1,): (1,)}
    """
    along = [list(enumerate(axis.sources(geometry.padding_mode), start=-axis.begin)) for axis in geometry.axes]
    held = {}
    for entries in product(*along):
        places, found = zip(*entries, strict=True)
        held[places] = None if None in found else found
    return held


def draw_taps(
    weight: Any,
    input_size: Sequence[int],
    outputs: Sequence[int | Sequence[int]],
    file: Path | str | IO[bytes],
    **options: Unpack[ConvOptions],
) -> None:
    """Draw to an image file which inputs some outputs read, through which taps: one panel for each output.

    Around the input stands its padding, with what it holds: zeros, or the inputs that its mode puts there. Inputs that
    a negative padding crops are hatched.

    Args:
        weight: the kernel, of one or two spatial axes, without channels, of any library that NumPy can read.
        input_size: the spatial sizes of the input.
        outputs: the positions to draw: tuples, or integers where there is one axis.
        file: a path, whose ending says which format, or an open binary file, which gets a PNG.
        options: stride, padding, dilation, padding_mode, as for `conv`.

    Raises:
        UnsupportedError: the kernel has other than one or two axes; there would be too many cells; or matplotlib is not
            installed.
        ShapeError: input_size has not as many entries as the kernel has axes.
        SpecError: a position or an option has no meaning.

    >>> import io
    >>> draw_taps(np.asarray([1, 2, 3]), (5,), [0, 2], io.BytesIO(), padding=1, padding_mode="reflect")
    """
    check_options("draw_taps", options, ConvOptions)
    weight, size = np.asarray(weight), sizes(input_size, "input_size")
    check_kernel(weight)
    if len(size) != weight.ndim:
        raise ShapeError(f"input_size={size} has {len(size)} entries, but the weight has shape {weight.shape}")
    geometry = Geometry.forward(ConvSpec.of(weight.ndim, **options), (1, *size), (1, 1, *weight.shape))
    chosen = positions(outputs, geometry.output_size, "outputs")
    read, made = as_grid([len(places) for places in spans(geometry)]), as_grid(geometry.output_size)
    rows, columns = as_grid(weight.shape)
    canvas = Canvas(len(chosen) + 1, max(read[1] + GAP + made[1], columns), max(read[0], made[0], rows), LEGEND)
    canvas.kernel(weight)
    for panel, output in enumerate(chosen, start=1):
        _draw_input(canvas, panel, geometry, output)
        _draw_output(canvas, panel, geometry, output, read[1] + GAP)
    canvas.save(file)


def _draw_input(canvas: Canvas, panel: int, geometry: Geometry, output: tuple[int, ...]) -> None:
    """The padded input: each tap on the place that it reads, and what each place holds."""
    taps = {reading.place: reading.tap for reading in readings(geometry, output)}
    held = contents(geometry)
    low = [places.start for places in spans(geometry)]
    canvas.title(panel, f"{named('y', output)} reads")
    for place in product(*spans(geometry)):
        is_inside = all(0 <= i < n for i, n in zip(place, geometry.input_size, strict=True))
        source = held.get(place, place)
        canvas.cell(
            panel,
            *cell_of([i - first for i, first in zip(place, low, strict=True)]),
            text=named("w", taps[place]) if place in taps else "",
            note="0" if source is None else named("x", source),
            face=(NOW if is_inside else PALE) if place in taps else "white" if is_inside else OUTSIDE,
            is_crossed=place not in held,
        )
    corner = cell_of([-first for first in low])
    canvas.frame(panel, *corner, as_grid(geometry.input_size))


def _draw_output(canvas: Canvas, panel: int, geometry: Geometry, output: tuple[int, ...], column: float) -> None:
    canvas.title(panel, "output", column)
    for index in np.ndindex(geometry.output_size):
        row, across = cell_of(index)
        canvas.cell(panel, row, column + across, note=named("y", index), face=NOW if index == output else "white")
    canvas.frame(panel, 0, column, as_grid(geometry.output_size))
