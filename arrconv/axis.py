"""Axis: one spatial axis of a convolution. Which input meets which output through which tap is decided here."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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

    @property
    def span(self) -> int:
        """How many consecutive source elements the windows cover, those between taps and beyond the source included."""
        return self.stop - self.start

    @property
    def is_inside(self) -> bool:
        """Whether no window reads beyond the source."""
        return self.start >= 0 and self.stop <= self.size

    @property
    def is_identity(self) -> bool:
        """Whether the windows are of one element each, and are the source in order."""
        return self.taps == 1 and self.start == 0 and self.step == 1 and self.count == self.size

    @property
    def overlap(self) -> slice:
        """The part of the source that lies within the span; empty, but within the source, where none does."""
        low = min(max(self.start, 0), self.size)
        return slice(low, max(low, min(self.stop, self.size)))

    def seeing(self, tap: int) -> slice:
        """The windows whose tap falls on the source."""
        start = self.start + self.spacing * tap
        low = min(max(0, -(start // self.step)), self.count)  # the first for which it is not below 0
        return slice(low, max(low, min(self.count, -((start - self.size) // self.step))))

    def seen(self, tap: int) -> slice:
        """The source elements on which the tap of those windows falls."""
        windows = self.seeing(tap)
        start = self.start + self.spacing * tap
        return slice(start + self.step * windows.start, max(start + self.step * (windows.stop - 1) + 1, 0), self.step)

    def part(self, first: int, count: int, every: int = 1) -> Windows:
        """So many windows alone, from the first on every one, every second, …."""
        return replace(self, count=count, start=self.start + self.step * first, step=self.step * every)

    @property
    def kin(self) -> int:
        """How far apart windows are whose taps share a residue modulo the spacing: they read the same elements."""
        return self.spacing // math.gcd(self.step, self.spacing)

    @property
    def advance(self) -> int:
        """From one window to the next of its kin, how many taps farther the same element is seen."""
        return self.step // math.gcd(self.step, self.spacing)

    def spanned(self, phases: int = 1, phase: int = 0) -> Windows:
        """The elements of the span, or every so many of them from one on, as windows of one tap."""
        return Windows(self.size, 1, -(-self.span // phases), phases, 1, self.start + phase)

    def exchanged(self) -> Windows:
        """Windows whose taps are these windows, and whose windows are these taps."""
        return replace(self, taps=self.count, count=self.taps, step=self.spacing, spacing=self.step)

    def elements(self) -> Windows:
        """What windows read that are all kin, each element once, as windows of one tap."""
        count = (self.count - 1) * self.advance + self.taps
        return Windows(self.size, 1, count, self.spacing, 1, self.start)


@dataclass(frozen=True, slots=True)
class Phase:
    """The inputs of one residue modulo the stride: which they are, which taps reach them, and the windows over y."""

    first: int
    stride: int
    first_tap: int
    tap_step: int
    windows: Windows

    @property
    def inputs(self) -> slice:
        """Which inputs these are."""
        return slice(self.first, None, self.stride)

    @property
    def taps(self) -> slice:
        """Which taps reach them, backwards, as the windows see them."""
        last = self.first_tap + self.tap_step * (self.windows.taps - 1)
        return slice(last, self.first_tap - 1 if self.first_tap else None, -self.tap_step)


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
    def offsets(self) -> tuple[int, ...]:
        """dilation·k − begin for each tap k: an output l reads the inputs stride·l + offset."""
        return tuple(self.dilation * k - self.begin for k in range(self.kernel_size))

    @property
    def torus_size(self) -> int:
        """The least size, in steps of the stride, of a periodic axis with the input at its begin and zeros behind it on
        which every output reads what it reads with zeros around.
        """
        reach = self.stride * (self.output_size - 1) + self.extent - self.begin
        needed = max(self.input_size + max(self.begin, 0), reach, self.stride * self.output_size)
        return -(-needed // self.stride)

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

    def sources(self, mode: str) -> Iterator[int | None]:
        """m(i) of every padded position in order: the input that it reads, None where it reads a zero."""
        for run in self.runs(mode):
            for number in range(run.length):
                yield None if run.start is None else run.start + run.step * number

    def reads(self, mode: str) -> list[list[int | None]]:
        """For each output the input that each tap reads, None where it reads a zero."""
        held = list(self.sources(mode))
        taps = range(0, self.extent, self.dilation)
        return [[held[self.stride * output + tap] for tap in taps] for output in range(self.output_size)]

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
        tap_step, spacing = self._tap_step, self.dilation // math.gcd(self.stride, self.dilation)
        found = []
        for first_tap in range(min(tap_step, self.kernel_size)):  # taps less than tap_step apart differ in residue
            residue = self.dilation * first_tap % self.stride
            taps = len(range(first_tap, self.kernel_size, tap_step))
            low = -((residue - self.begin) // self.stride)  # the smallest m with stride·m + residue ≥ begin
            high = -((residue - self.begin - self.input_size) // self.stride)
            if high <= low:
                continue
            last_shift = self.dilation * first_tap // self.stride + spacing * (taps - 1)
            windows = Windows(self.output_size, taps, high - low, 1, spacing, low - last_shift)
            first = self.stride * low + residue - self.begin
            found.append(Phase(first, self.stride, first_tap, tap_step, windows))
        return tuple(found)

    @property
    def _tap_step(self) -> int:
        """How far apart the taps are that share a residue modulo the stride."""
        return self.stride // math.gcd(self.stride, self.dilation)


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
