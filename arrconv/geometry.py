"""Geometry: a ConvSpec bound to sizes. Every shape, index and count of the family is computed here; no arrays."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Literal

from arrconv.errors import ShapeError, SpecError
from arrconv.spec import ConvSpec, per_axis, sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Direction = Literal["y", "x", "w"]
"""Which derivative of the trilinear form: ∂T/∂y (conv), ∂T/∂x (transposed conv), ∂T/∂w (weight gradient)."""


@dataclass(frozen=True, slots=True)
class Run:
    """`length` consecutive padded positions that read x at start, start + step, …; a start of None reads zeros.

    A step of 0 repeats one element, a step of −1 walks backwards.
    """

    start: int | None
    length: int
    step: int = 1


@dataclass(frozen=True, slots=True)
class Windows:
    """A row of windows over one axis: window l, tap t reads the source at start + step·l + spacing·t."""

    size: int
    taps: int
    count: int
    step: int
    spacing: int
    start: int

    @property
    def stop(self) -> int:
        """One past the last source index that any window reads; equals `start` where there is no window."""
        if self.count == 0:
            return self.start
        return self.start + self.step * (self.count - 1) + self.spacing * (self.taps - 1) + 1

    def part(self, first: int, count: int) -> Windows:
        """The windows first … first + count − 1 alone."""
        return replace(self, count=count, start=self.start + self.step * first)


@dataclass(frozen=True, slots=True)
class Phase:
    """The inputs of one residue modulo the stride: which they are, which taps reach them, and the windows over y."""

    first: int
    first_tap: int
    tap_step: int
    windows: Windows


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis: sizes, stride, dilation, the padding at both ends and the number of output positions."""

    input_size: int
    kernel_size: int
    stride: int
    dilation: int
    begin: int
    end: int
    output_size: int

    @property
    def extent(self) -> int:
        """The span of the dilated kernel: dilation·(kernel − 1) + 1."""
        return self.dilation * (self.kernel_size - 1) + 1

    @property
    def padded_size(self) -> int:
        """The size after padding; never negative, however much is cropped."""
        return max(0, self.input_size + self.begin + self.end)

    @property
    def full_output_size(self) -> int:
        """max(0, ⌊(padded − extent)/stride⌋ + 1): the forward output size that the sizes imply."""
        return max(0, (self.input_size + self.begin + self.end - self.extent) // self.stride + 1)

    @property
    def slack(self) -> int:
        """How many trailing padded positions no window reaches: the output padding of the transposed convolution."""
        return self.input_size - self.unslackened_size

    @property
    def unslackened_size(self) -> int:
        """The input size that the transposed convolution yields with no output padding."""
        return (self.output_size - 1) * self.stride + self.extent - self.begin - self.end

    def runs(self, mode: str) -> tuple[Run, ...]:
        """The padded axis in order, as runs of the map m(i), i = −begin … size + end − 1, of a padding mode."""
        return tuple(run for run in _runs(self, mode) if run.length > 0)

    def fold(self, mode: str) -> int:
        """The largest number of padded positions that read one and the same input."""
        if mode == "zeros":
            return 1
        steps: Counter[int] = Counter()
        for run in self.runs(mode):
            assert run.start is not None
            low, high = sorted((run.start, run.start + run.step * (run.length - 1)))
            weight = run.length if run.step == 0 else 1
            steps[low] += weight
            steps[high + 1] -= weight
        level = largest = 0
        for position in sorted(steps):
            level += steps[position]
            largest = max(largest, level)
        return max(1, largest)

    def padded(self) -> Axis:
        """The same windows over an input that is padded already."""
        return replace(self, input_size=self.padded_size, begin=0, end=0)

    def windows(self) -> Windows:
        """How outputs read inputs. Inputs outside 0 … input_size − 1 are the zeros of the padding."""
        return Windows(self.input_size, self.kernel_size, self.output_size, self.stride, self.dilation, -self.begin)

    def phases(self) -> tuple[Phase, ...]:
        """How inputs read outputs, for each residue modulo the stride that any tap reaches.

        Input i lies at padded position j = i + begin, and receives w[k]·y[l] wherever j = stride·l + dilation·k. For
        j = stride·m + r the taps with dilation·k ≡ r (mod stride) count, every (stride/gcd)-th one, and l = m − q
        with q = (dilation·k − r)/stride, which grows by dilation/gcd from tap to tap. Walking these taps backwards
        makes each phase a row of windows over y with step 1.
        """
        common = math.gcd(self.stride, self.dilation)
        tap_step, spacing = self.stride // common, self.dilation // common
        found = []
        for residue in range(0, self.stride, common):
            first_tap = next(k for k in range(tap_step) if (self.dilation * k - residue) % self.stride == 0)
            taps = len(range(first_tap, self.kernel_size, tap_step))
            low = -((residue - self.begin) // self.stride)  # the smallest m with stride·m + residue ≥ begin
            high = -((residue - self.begin - self.input_size) // self.stride)
            if taps == 0 or high <= low:
                continue
            last_shift = (self.dilation * first_tap - residue) // self.stride + spacing * (taps - 1)
            windows = Windows(self.output_size, taps, high - low, 1, spacing, low - last_shift)
            found.append(Phase(self.stride * low + residue - self.begin, first_tap, tap_step, windows))
        return tuple(found)


def _runs(axis: Axis, mode: str) -> Iterator[Run]:
    n, first, last = axis.input_size, -axis.begin, axis.input_size + axis.end  # positions first … last − 1
    if mode == "zeros":
        yield Run(None, min(last, 0) - first)
        yield Run(max(first, 0), min(last, n) - max(first, 0))
        yield Run(None, last - max(first, n))
    elif mode == "replicate" or (mode == "reflect" and n == 1):  # one element is its own mirror image
        yield Run(0, axis.begin, 0)
        yield Run(0, n)
        yield Run(n - 1, axis.end, 0)
    elif mode == "circular":
        while first < last:
            start = first % n
            run = Run(start, min(n - start, last - first))
            yield run
            first += run.length
    else:
        period = 2 * (n - 1)
        while first < last:
            place = first % period
            run = Run(place, n - 1 - place) if place < n - 1 else Run(period - place, period - place, -1)
            run = replace(run, length=min(run.length, last - first))
            yield run
            first += run.length


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
    padding_mode: str
    axes: tuple[Axis, ...]

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
        return _forward(spec, tuple(x_shape), tuple(w_shape))

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
        ndim = _check_weight("y", y_shape, w_shape)
        padding = per_axis(output_padding, ndim, "output_padding", 0)
        wanted = None if output_size is None else sizes(output_size, "output_size", ndim)
        if any(padding) and (wanted is not None or isinstance(spec.padding, str)):
            other = f"output_size={wanted}" if wanted is not None else f"padding={spec.padding!r}"
            raise SpecError(f"output_padding={output_padding} and {other} both fix the size of the result; give one")
        return _transposed(spec, tuple(y_shape), tuple(w_shape), padding, wanted)

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


def _check_weight(name: str, shape: Sequence[int], w_shape: Sequence[int]) -> int:
    """The number of spatial axes, once w and its companion have been seen to agree on it."""
    ndim = len(w_shape) - 2
    if ndim < 0:
        raise ShapeError(f"w has shape {tuple(w_shape)}, but needs (C_out, C_in/groups, *kernel)")
    if len(shape) not in (ndim + 1, ndim + 2):
        raise ShapeError(
            f"{name} has {len(shape)} axes, shape {tuple(shape)}, but w {tuple(w_shape)} has {ndim} spatial axes "
            f"and expects {ndim + 2}, or {ndim + 1} without a batch"
        )
    if 0 in w_shape[2:]:
        raise ShapeError(f"w has shape {tuple(w_shape)}, but every kernel axis must be at least 1")
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
    ndim = _check_weight("x", x_shape, w_shape)
    batch, channels, input_size = _split(x_shape, ndim)
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
    ndim = len(spec.stride)
    batch, channels, positions = _split(y_shape, ndim)
    _check_groups(w_shape, spec.groups)
    if channels != w_shape[0]:
        raise ShapeError(f"y has {channels} channels, but w {w_shape} expects {w_shape[0]} (its first axis)")
    if isinstance(spec.padding, str):
        named = wanted or tuple(length * s for length, s in zip(positions, spec.stride, strict=True))
        padding = _amounts(spec, named, w_shape[2:])
        wanted = named
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
