"""Geometry: a ConvSpec bound to sizes. Every shape, index and count of the family is computed here; no arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from arrconv.axis import Axis
from arrconv.errors import ShapeError, SpecError
from arrconv.spec import ConvOptions, ConvSpec, PaddingMode, as_int, per_axis, sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Direction = Literal["y", "x", "w"]
"""Which derivative of the trilinear form: ∂T/∂y (conv), ∂T/∂x (transposed conv), ∂T/∂w (weight gradient)."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes, options and channel counts of one convolution; `batch` is None for batch-free arrays.

    Make one with `Geometry.forward`, `Geometry.transposed` or `Geometry.parse`. `str()` gives its one-line case string.

    >>> g = Geometry.forward(ConvSpec.of(2, stride=(2, 1), padding=((1, 0), 1)), (2, 6, 17, 23), (8, 6, 3, 5))
    >>> g.output_shape
    (2, 8, 8, 21)
    >>> print(g)
    n=2 c=6 o=8 x=17,23 k=3,5 s=2,1 p=1:0,1
    >>> Geometry.parse(str(g)) == g
    True
    """

    batch: int | None
    in_channels: int
    out_channels: int
    groups: int
    padding_mode: PaddingMode
    axes: tuple[Axis, ...]
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Kernels look up by geometry what they have planned before; hashing all the numbers would take longer.
        values = (self.batch, self.in_channels, self.out_channels, self.groups, self.padding_mode, self.axes)
        object.__setattr__(self, "_hash", hash(values))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        # Made anew where it is unpickled: another process hashes texts differently.
        return Geometry, (
            self.batch,
            self.in_channels,
            self.out_channels,
            self.groups,
            self.padding_mode,
            self.axes,
        )

    @property
    def ndim(self) -> int:
        """The number of spatial axes."""
        return len(self.axes)

    @property
    def input_size(self) -> tuple[int, ...]:
        """The spatial sizes of x."""
        return tuple(axis.input_size for axis in self.axes)

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """The spatial sizes of w."""
        return tuple(axis.kernel_size for axis in self.axes)

    @property
    def output_size(self) -> tuple[int, ...]:
        """The spatial sizes of y."""
        return tuple(axis.output_size for axis in self.axes)

    @property
    def slack(self) -> tuple[int, ...]:
        """The output padding with which the transposed convolution returns to `input_size`."""
        return tuple(axis.slack for axis in self.axes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of x."""
        return (*self._lead, self.in_channels, *self.input_size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of w: (C_out, C_in/groups, *kernel)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of y."""
        return (*self._lead, self.out_channels, *self.output_size)

    def shape_of(self, direction: Direction) -> tuple[int, ...]:
        """The shape of what a contraction gives: that of y, x or w."""
        return {"y": self.output_shape, "x": self.input_shape, "w": self.weight_shape}[direction]

    @property
    def options(self) -> ConvOptions:
        """The keyword options of `conv` and its gradients for these sizes: `conv(x, w, **geometry.options)`."""
        return ConvOptions(
            stride=tuple(axis.stride for axis in self.axes),
            padding=tuple((axis.begin, axis.end) for axis in self.axes),
            dilation=tuple(axis.dilation for axis in self.axes),
            groups=self.groups,
            padding_mode=self.padding_mode,
        )

    @property
    def _lead(self) -> tuple[int, ...]:
        return () if self.batch is None else (self.batch,)

    @property
    def taps(self) -> Iterator[tuple[int, ...]]:
        """The positions within the kernel, last axis fastest."""
        return product(*(range(size) for size in self.kernel_size))

    @property
    def is_empty(self) -> bool:
        """Whether the trilinear form has no term at all, so that every contraction is zero."""
        return 0 in (self.batch, self.in_channels, self.out_channels, *self.output_size)

    def products(self, direction: Direction) -> int:
        """The number K of products that are added into one element of the result, at the most."""
        taps = math.prod(self.kernel_size)
        match direction:
            case "y":
                return self.in_channels // self.groups * taps
            case "x":
                folds = math.prod(axis.fold(self.padding_mode) for axis in self.axes)
                return self.out_channels // self.groups * taps * folds
            case "w":
                return (1 if self.batch is None else self.batch) * math.prod(self.output_size)

    def batched(self) -> Geometry:
        """The same with a batch of one in place of none."""
        return replace(self, batch=1) if self.batch is None else self

    def padded(self) -> Geometry:
        """The same contraction over an input that is padded already."""
        return replace(self, padding_mode="zeros", axes=tuple(axis.padded() for axis in self.axes))

    @classmethod
    def forward(cls, spec: ConvSpec, x_shape: Sequence[int], w_shape: Sequence[int]) -> Geometry:
        """The geometry of `conv` for x and w of these shapes; x with one axis fewer than w is batch-free.

        Raises:
            ShapeError: the shapes do not fit each other, the groups or the padding mode.
        """
        x_sizes, w_sizes = _as_shape("x", x_shape), _as_shape("w", w_shape)
        _check_axes("x", x_sizes, w_sizes, spec)
        return _forward(spec, x_sizes, w_sizes)

    @classmethod
    def transposed(
        cls,
        spec: ConvSpec,
        y_shape: Sequence[int],
        w_shape: Sequence[int],
        *,
        output_padding: int | Sequence[int] = 0,
        output_size: Sequence[int] | None = None,
    ) -> Geometry:
        """The geometry of the forward problem that `conv_transpose` of y and w transposes.

        Raises:
            SpecError: output_padding and output_size are both given, or out of range.
            ShapeError: the shapes do not fit each other or the groups.
        """
        y_sizes, w_sizes = _as_shape("y", y_shape), _as_shape("w", w_shape)
        ndim = _check_axes("y", y_sizes, w_sizes, spec)
        if spec.padding_mode != "zeros":
            raise SpecError(
                f"a transposed convolution has no padding modes, but got padding_mode={spec.padding_mode!r}"
            )
        padding = per_axis(output_padding, ndim, "output_padding", 0)
        wanted = None if output_size is None else sizes(output_size, "output_size", ndim)
        if any(padding) and (wanted is not None or isinstance(spec.padding, str)):
            other = f"output_size={wanted}" if wanted is not None else f"padding={spec.padding!r}"
            raise SpecError(f"output_padding={output_padding} and {other} both fix the size of the result; give one")
        return _transposed(spec, y_sizes, w_sizes, padding, wanted)

    @classmethod
    def parse(cls, text: str) -> Geometry:
        """The geometry that a one-line case string describes.

        The tokens, in any order: `n` batch (absent: batch-free), `c` input channels, `o` output channels, `g` groups,
        `x` input sizes, `k` kernel sizes, `s` stride, `p` padding (one number or begin:end for each axis), `d`
        dilation, `mode` padding mode, `l` output positions where they are fewer than the sizes imply. One number
        stands for all axes, `-` for no axes at all.

        Raises:
            SpecError: the text is not of this form.
            ShapeError: its sizes do not fit each other.

        >>> Geometry.parse("n=2 c=4 o=6 g=2 x=9 k=3 s=2 p=1:2 mode=reflect").output_shape
        (2, 6, 5)
        """
        from arrconv._casestring import parse

        return parse(text)

    def __str__(self) -> str:
        from arrconv._casestring import form

        return form(self)


def check_shape(name: str, shape: Sequence[int], expected: tuple[int, ...], why: str) -> None:
    """Raise a ShapeError unless `shape` is the expected one."""
    if tuple(shape) != expected:
        raise ShapeError(f"{name} has shape {tuple(shape)}, but {why} has {expected}")


_INT = {int}


def _as_shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape as a tuple of ints: 2.0 equals 2, and must not be remembered in its place."""
    given = tuple(shape)
    if {*map(type, given)} <= _INT and (not given or min(given) >= 0):
        return given
    return tuple(as_int(size, f"{name}.shape[{axis}]", 0) for axis, size in enumerate(given))


def _check_axes(name: str, shape: tuple[int, ...], w_shape: tuple[int, ...], spec: ConvSpec) -> int:
    """The number of spatial axes, once w, its companion and the options have been seen to agree on it."""
    ndim = len(w_shape) - 2
    if ndim < 0:
        raise ShapeError(f"w has shape {w_shape}, but needs (C_out, C_in/groups, *kernel)")
    if spec.ndim != ndim:
        raise ShapeError(f"the options are for {spec.ndim} spatial axes, but w {w_shape} has {ndim} spatial axes")
    if len(shape) not in (ndim + 1, ndim + 2):
        raise ShapeError(
            f"{name} has {len(shape)} axes, shape {shape}, but w {w_shape} has {ndim} spatial axes "
            f"and expects {ndim + 2}, or {ndim + 1} without a batch"
        )
    if 0 in w_shape[2:]:
        raise ShapeError(f"w has shape {w_shape}, but every kernel axis must be at least 1")
    return ndim


def _split(shape: tuple[int, ...], ndim: int) -> tuple[int | None, int, tuple[int, ...]]:
    batch = shape[0] if len(shape) == ndim + 2 else None
    channels, *spatial = shape[-ndim - 1 :]
    return batch, channels, tuple(spatial)


def _check_groups(w_shape: tuple[int, ...], groups: int) -> None:
    if w_shape[0] % groups:
        raise ShapeError(f"w {w_shape} has {w_shape[0]} output channels, which groups={groups} does not divide")


@lru_cache(maxsize=4096)
def _forward(spec: ConvSpec, x_shape: tuple[int, ...], w_shape: tuple[int, ...]) -> Geometry:
    batch, channels, input_size = _split(x_shape, spec.ndim)
    _check_groups(w_shape, spec.groups)
    if channels != w_shape[1] * spec.groups:
        expected = w_shape[1] * spec.groups
        raise ShapeError(f"x has {channels} channels, but w {w_shape} with groups={spec.groups} expects {expected}")
    padding = _amounts(spec, input_size, w_shape[2:])
    axes = tuple(
        _forward_axis(*sizes, spec.padding_mode, number)
        for number, sizes in enumerate(zip(input_size, w_shape[2:], spec.stride, spec.dilation, padding, strict=True))
    )
    return Geometry(batch, channels, w_shape[0], spec.groups, spec.padding_mode, axes)


def _forward_axis(n: int, k: int, s: int, d: int, pair: tuple[int, int], mode: str, number: int) -> Axis:
    if n == 0 and mode != "zeros" and any(pair):
        raise ShapeError(
            f"spatial axis {number} of x is empty, so padding_mode={mode!r} has nothing to fill {pair} with"
        )
    axis = Axis(n, k, s, d, *pair, output_size=0)
    return replace(axis, output_size=axis.full_output_size)


@lru_cache(maxsize=4096)
def _transposed(
    spec: ConvSpec,
    y_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    output_padding: tuple[int, ...],
    wanted: tuple[int, ...] | None,
) -> Geometry:
    batch, channels, positions = _split(y_shape, spec.ndim)
    _check_groups(w_shape, spec.groups)
    if channels != w_shape[0]:
        raise ShapeError(f"y has {channels} channels, but w {w_shape} expects {w_shape[0]} (its first axis)")
    if isinstance(spec.padding, str):
        if wanted is None:
            wanted = tuple(length * s for length, s in zip(positions, spec.stride, strict=True))
        padding = _amounts(spec, wanted, w_shape[2:])
    else:
        padding = spec.padding
    axes = []
    for number, (length, k, s, d, pair) in enumerate(
        zip(positions, w_shape[2:], spec.stride, spec.dilation, padding, strict=True)
    ):
        bare = Axis(0, k, s, d, *pair, output_size=length)
        extra = output_padding[number] if wanted is None else wanted[number] - bare.unslackened_size
        _check_output_padding(bare, extra, number, wanted)
        axes.append(replace(bare, input_size=bare.unslackened_size + extra))
    return Geometry(batch, w_shape[1] * spec.groups, channels, spec.groups, spec.padding_mode, tuple(axes))


def _check_output_padding(axis: Axis, extra: int, number: int, wanted: tuple[int, ...] | None) -> None:
    """Raise unless the transposed convolution along this axis can end `extra` positions late."""
    limit = max(axis.stride, axis.dilation) - 1
    size = axis.unslackened_size
    if not 0 <= extra <= limit:
        if wanted is None:
            raise SpecError(
                f"output_padding={extra} on spatial axis {number} must be below the stride ({axis.stride}) "
                f"or the dilation ({axis.dilation})"
            )
        raise ShapeError(
            f"output size {wanted[number]} on spatial axis {number} cannot come from {axis.output_size} positions: "
            f"kernel {axis.kernel_size}, stride {axis.stride}, dilation {axis.dilation}, "
            f"padding {(axis.begin, axis.end)} give {size} to {size + limit}"
        )
    if size + extra < 0:
        raise ShapeError(
            f"the result's spatial axis {number} would have the size ({axis.output_size} − 1)·{axis.stride} + "
            f"{axis.extent} − {axis.begin} − {axis.end} + {extra} = {size + extra}, which is negative"
        )


def _amounts(spec: ConvSpec, input_size: tuple[int, ...], kernel_size: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The padding in numbers: `same` keeps ⌈size/stride⌉ outputs, the odd one of the total at the end or the begin."""
    if not isinstance(spec.padding, str):
        return spec.padding
    found = []
    for n, k, s, d in zip(input_size, kernel_size, spec.stride, spec.dilation, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        small, large = total // 2, total - total // 2
        found.append((small, large) if spec.padding == "same_upper" else (large, small))
    return tuple(found)
