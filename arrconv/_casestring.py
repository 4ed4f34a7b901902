"""The one-line case string of a Geometry: `n=2 c=6 o=8 g=2 x=17,23 k=3,5 s=2,1 p=1:2,0:1 d=1,2 mode=circular`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from arrconv.errors import ShapeError, SpecError
from arrconv.geometry import Geometry
from arrconv.spec import ConvSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_TOKENS = ("n", "c", "o", "g", "x", "k", "s", "p", "d", "mode", "l")


def form(geometry: Geometry) -> str:
    """The case string of a geometry; tokens at their defaults are left out."""
    axes = geometry.axes
    parts = [] if geometry.batch is None else [f"n={geometry.batch}"]
    parts += [f"c={geometry.in_channels}", f"o={geometry.out_channels}"]
    if geometry.groups != 1:
        parts.append(f"g={geometry.groups}")
    parts += [f"x={_join(geometry.input_size)}", f"k={_join(geometry.kernel_size)}"]
    if any(axis.stride != 1 for axis in axes):
        parts.append(f"s={_join([axis.stride for axis in axes])}")
    if any(axis.begin or axis.end for axis in axes):
        parts.append(f"p={_join([_pair(axis.begin, axis.end) for axis in axes])}")
    if any(axis.dilation != 1 for axis in axes):
        parts.append(f"d={_join([axis.dilation for axis in axes])}")
    if geometry.padding_mode != "zeros":
        parts.append(f"mode={geometry.padding_mode}")
    if any(axis.output_size != axis.full_output_size for axis in axes):
        parts.append(f"l={_join(geometry.output_size)}")
    return " ".join(parts)


def parse(text: str) -> Geometry:
    """The geometry of a case string."""
    if not isinstance(text, str):
        raise SpecError(f"a case must be a text, but got {text!r}")
    tokens = _split(text)
    missing = [name for name in ("c", "o", "x", "k") if name not in tokens]
    if missing:
        raise SpecError(f"case {text!r} lacks {', '.join(name + '=' for name in missing)}")
    input_size = _ints(tokens["x"], text, minimum=0)
    kernel = _ints(tokens["k"], text, len(input_size), minimum=1)
    pairs = _entries(tokens.get("p", "0"), len(input_size), text)
    spec = ConvSpec.of(
        len(input_size),
        stride=_ints(tokens.get("s", "1"), text, len(input_size)),
        padding=tuple(_begin_end(entry, text) for entry in pairs),
        dilation=_ints(tokens.get("d", "1"), text, len(input_size)),
        groups=_int(tokens.get("g", "1"), text),
        padding_mode=tokens.get("mode", "zeros"),  # type: ignore[arg-type]  # ConvSpec.of names an unknown mode itself
    )
    channels, out_channels = _int(tokens["c"], text, 0), _int(tokens["o"], text, 0)
    if channels % spec.groups:
        raise ShapeError(f"case {text!r}: groups={spec.groups} does not divide c={channels}")
    lead = (_int(tokens["n"], text, 0),) if "n" in tokens else ()
    geometry = Geometry.forward(spec, (*lead, channels, *input_size), (out_channels, channels // spec.groups, *kernel))
    return _limit(geometry, _ints(tokens["l"], text, len(input_size), minimum=0)) if "l" in tokens else geometry


def _limit(geometry: Geometry, positions: tuple[int, ...]) -> Geometry:
    for axis, count in zip(geometry.axes, positions, strict=True):
        if count > axis.full_output_size:
            raise ShapeError(f"l={_join(positions)} exceeds the {geometry.output_size} positions of the sizes")
    axes = tuple(replace(axis, output_size=count) for axis, count in zip(geometry.axes, positions, strict=True))
    return replace(geometry, axes=axes)


def _split(text: str) -> dict[str, str]:
    tokens: dict[str, str] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not equals or name not in _TOKENS or name in tokens:
            raise SpecError(f"case {text!r}: {word!r} is not one of {' '.join(t + '=' for t in _TOKENS)}, each once")
        tokens[name] = value
    return tokens


def _join(numbers: Sequence[Any]) -> str:
    return ",".join(str(number) for number in numbers) or "-"


def _pair(begin: int, end: int) -> str:
    return str(begin) if begin == end else f"{begin}:{end}"


def _begin_end(entry: str, text: str) -> tuple[int, int]:
    begin, colon, end = entry.partition(":")
    return _int(begin, text), _int(end if colon else begin, text)


def _entries(value: str, count: int | None, text: str) -> list[str]:
    entries = [] if value == "-" else value.split(",")
    if count is not None and len(entries) == 1:
        return entries * count
    if count is not None and len(entries) != count:
        raise SpecError(f"case {text!r}: {value!r} has {len(entries)} entries for {count} spatial axes")
    return entries


def _ints(value: str, text: str, count: int | None = None, minimum: int | None = None) -> tuple[int, ...]:
    return tuple(_int(entry, text, minimum) for entry in _entries(value, count, text))


def _int(value: str, text: str, minimum: int | None = None) -> int:
    if re.fullmatch("-?[0-9]+", value) is None:  # int() alone would also take 1_0, spaces and other scripts' digits
        raise SpecError(f"case {text!r}: {value!r} is not an integer")
    if minimum is not None and int(value) < minimum:
        raise SpecError(f"case {text!r}: {value} is below {minimum}")
    return int(value)
