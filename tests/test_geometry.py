"""Sizes, windows, phases, runs and counts against literal loops over all small parameters, and the case strings."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import oracle
import pytest
from geometries import random_geometries
from hypothesis import given, settings
from hypothesis import strategies as st

from arrconv import Axis, ConvSpec, Geometry, ShapeError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

MODES = ["zeros", "circular", "reflect", "replicate"]
STEPS = [pytest.param(s, d, id=f"s={s}-d={d}") for s in range(1, 5) for d in range(1, 5)]


def axis_of(n: int, k: int, s: int, d: int, begin: int, end: int) -> Axis:
    return forward((n,), (k,), s, ((begin, end),), d).axes[0]


def forward(n: tuple[int, ...], k: tuple[int, ...], s: int, padding: object, d: int, mode: str = "zeros") -> Geometry:
    spec = ConvSpec.of(len(n), stride=s, padding=padding, dilation=d, padding_mode=mode)  # type: ignore[arg-type]
    return Geometry.forward(spec, (2, 1, *n), (3, 1, *k))


def all_axes(s: int, d: int) -> Iterator[Axis]:
    for n, k, begin, end in product(range(9), range(1, 5), range(-2, 6), range(-2, 6)):
        yield axis_of(n, k, s, d, begin, end)


def positions_by_loop(axis: Axis) -> int:
    """Every start, a stride apart, at which all taps still lie on the padded axis."""
    stop = axis.input_size + axis.begin + axis.end
    starts = range(0, 40, axis.stride)
    return sum(all(start + axis.dilation * k < stop for k in range(axis.kernel_size)) for start in starts)


def meetings(axis: Axis) -> list[tuple[int, int, int]]:
    """All (input, output, tap) that meet in the trilinear form, sorted."""
    return sorted(
        (i, l, k)
        for l in range(axis.output_size)  # noqa: E741 - the formula's name
        for k in range(axis.kernel_size)
        if 0 <= (i := axis.stride * l + axis.dilation * k - axis.begin) < axis.input_size
    )


def meetings_of_phases(axis: Axis) -> list[tuple[int, int, int]]:
    """The same, as the phases enumerate them."""
    found = []
    for phase in axis.phases():
        windows = phase.windows
        assert windows.size == axis.output_size
        for m in range(windows.count):
            i = phase.first + axis.stride * m
            assert 0 <= i < axis.input_size
            for t in range(windows.taps):
                l = windows.start + windows.step * m + windows.spacing * t  # noqa: E741
                k = phase.first_tap + phase.tap_step * (windows.taps - 1 - t)  # backwards
                if 0 <= l < axis.output_size:
                    found.append((i, l, k))
    return sorted(found)


@pytest.mark.parametrize(("s", "d"), STEPS)
def test_sizes_are_those_counted(s: int, d: int) -> None:
    for axis in all_axes(s, d):
        taps = [d * k for k in range(axis.kernel_size)]
        assert axis.extent == max(taps) - min(taps) + 1, axis
        assert axis.padded_size == len(range(-axis.begin, axis.input_size + axis.end)), axis
        assert axis.output_size == axis.full_output_size == positions_by_loop(axis), axis
        if axis.output_size:
            last_read = s * (axis.output_size - 1) + max(taps)
            assert axis.slack == axis.padded_size - (last_read + 1), axis
            assert 0 <= axis.slack < s, axis


@pytest.mark.parametrize(("s", "d"), STEPS)
def test_windows_read_where_the_form_says(s: int, d: int) -> None:
    for axis in all_axes(s, d):
        windows = axis.windows()
        assert (windows.size, windows.taps, windows.count) == (axis.input_size, axis.kernel_size, axis.output_size)
        read = {
            (l, k): s * l + d * k - axis.begin
            for l, k in product(range(windows.count), range(windows.taps))  # noqa: E741
        }
        assert read == {
            (l, k): windows.start + windows.step * l + windows.spacing * k
            for l, k in read  # noqa: E741
        }
        assert windows.stop == (1 + max(read.values()) if read else windows.start)
        inside = {index for index in range(windows.start, windows.stop) if 0 <= index < axis.input_size}
        assert set(range(axis.input_size)[windows.overlap]) == inside
        assert windows.overlap.start <= windows.overlap.stop
        assert windows.is_inside == (len(inside) == windows.span) or not read
        for k in range(windows.taps):
            seeing = {l: read[l, k] for l in range(windows.count) if 0 <= read[l, k] < axis.input_size}  # noqa: E741
            assert list(range(windows.count)[windows.seeing(k)]) == sorted(seeing)
            assert not seeing or list(range(axis.input_size)[windows.seen(k)]) == list(seeing.values())
        for first in range(0, windows.count, 3):
            part = windows.part(first, windows.count - first)
            assert (part.size, part.taps, part.count) == (windows.size, windows.taps, windows.count - first)
            assert part.start == read[first, 0]
            assert part.stop == windows.stop


@pytest.mark.parametrize(("s", "d"), STEPS)
def test_kin_read_each_of_their_elements_where_it_is_counted(s: int, d: int) -> None:
    for axis in all_axes(s, d):
        windows = axis.windows()
        for first in range(min(windows.kin, windows.count)):
            members = range(first, windows.count, windows.kin)
            kin = windows.part(first, len(members), windows.kin)
            assert [kin.start + kin.step * n for n in range(kin.count)] == [s * l - axis.begin for l in members]  # noqa: E741
            elements = kin.elements()
            assert (elements.taps, elements.size, elements.start) == (1, windows.size, kin.start)
            for number, tap in product(range(kin.count), range(kin.taps)):
                element = elements.start + elements.step * (number * kin.advance + tap)
                assert element == s * members[number] + d * tap - axis.begin
            assert elements.count == (kin.count - 1) * kin.advance + kin.taps


@pytest.mark.parametrize(("s", "d"), STEPS)
def test_phases_enumerate_every_meeting_once(s: int, d: int) -> None:
    for axis in all_axes(s, d):
        shortened = replace(axis, output_size=axis.output_size // 2)
        for each in (axis, shortened):
            assert meetings_of_phases(each) == meetings(each), each
            inputs = [p.first + s * m for p in each.phases() for m in range(p.windows.count)]
            assert len(inputs) == len(set(inputs)), each


def test_huge_strides_and_sizes_cost_nothing() -> None:
    started = time.perf_counter()
    for stride, dilation in ((10**9, 7), (10**9, 10**9), (10**9, 10**6), (3, 10**9), (10**9 + 7, 10**9 + 9)):
        axis = axis_of(4 * 10**9, 4, stride, dilation, 5, 1)
        windows = {tuple(sorted(_hit(axis, phase))) for phase in axis.phases()}
        hit = {meeting for phase in windows for meeting in phase}
        wanted = {
            (stride * l + dilation * k - 5, l, k)
            for l, k in product(range(min(axis.output_size, 5)), range(4))  # noqa: E741
        }
        assert {m for m in wanted if 0 <= m[0] < axis.input_size} <= hit
    assert time.perf_counter() - started < 2


def _hit(axis: Axis, phase: object) -> Iterator[tuple[int, int, int]]:
    """The meetings of the first five outputs in a phase."""
    windows = phase.windows  # type: ignore[attr-defined]
    for t, l in product(range(windows.taps), range(min(5, axis.output_size))):  # noqa: E741
        m = l - windows.start - windows.spacing * t
        if 0 <= m < windows.count:
            k = phase.first_tap + phase.tap_step * (windows.taps - 1 - t)  # type: ignore[attr-defined]
            yield phase.first + axis.stride * m, l, k  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", MODES)
def test_runs_are_the_map_of_the_mode_and_fold_counts_it(mode: str) -> None:
    for n in range(8):
        amounts = [0] if n == 0 and mode != "zeros" else [*range(-9 if mode == "zeros" else 0, 12), 3 * n + 20, 97]
        for begin, end in product(amounts, amounts):
            axis = Axis(n, 1, 1, 1, begin, end, 0)
            read = []
            for run in axis.runs(mode):
                assert run.length > 0
                read += [None if run.start is None else run.start + run.step * j for j in range(run.length)]
            assert read == [oracle.source(i, n, mode) for i in range(-begin, n + end)], axis
            counted = Counter(i for i in read if i is not None)
            assert axis.fold(mode) == max(counted.values(), default=1), axis


def test_padded_axis_has_the_same_windows_without_padding() -> None:
    for axis in (*all_axes(2, 3), *all_axes(3, 1)):
        padded = axis.padded()
        assert (padded.begin, padded.end, padded.input_size) == (0, 0, max(0, axis.input_size + axis.begin + axis.end))
        assert padded.output_size == axis.output_size == padded.full_output_size


def test_products_are_those_of_the_form() -> None:
    attained = 0
    for g in random_geometries(160, seed=71):
        counts: dict[str, Counter[object]] = {"x": Counter(), "w": Counter(), "y": Counter()}
        shapes = (g.batched().input_shape, g.weight_shape, g.batched().output_shape)
        options = {"stride": tuple(a.stride for a in g.axes), "dilation": tuple(a.dilation for a in g.axes)}
        padding = tuple((a.begin, a.end) for a in g.axes)
        for x, w, y in oracle.products(
            *shapes, **options, padding=padding, groups=g.groups, padding_mode=g.padding_mode
        ):
            counts["w"][w] += 1
            counts["y"][y] += 1
            if x is not None:
                counts["x"][x] += 1
        assert set(counts["y"].values()) == {g.products("y")}, str(g)  # zeros of the padding are multiplied
        assert set(counts["w"].values()) == {g.products("w")}, str(g)
        assert max(counts["x"].values(), default=0) <= g.products("x"), str(g)
        attained += max(counts["x"].values(), default=0) == g.products("x")
    assert attained >= 40


def test_products_of_folded_inputs() -> None:
    circular = forward((2,), (3,), 1, ((6, 5),), 1, "circular")  # 13 positions, 6 or 7 on each input
    assert [circular.products(direction) for direction in ("y", "x", "w")] == [3, 3 * 3 * 7, 2 * 11]  # type: ignore[arg-type]
    replicate = forward((4, 3), (2, 1), 1, ((3, 1), (0, 2)), 1, "replicate")
    assert replicate.products("x") == 3 * 2 * (4 * 3)


@pytest.mark.parametrize(("s", "d"), STEPS)
def test_same_padding_is_the_least_that_keeps_every_stride(s: int, d: int) -> None:
    for n, k in product(range(1, 13), range(1, 6)):
        wanted = -(-n // s)
        total = next(t for t in range(99) if oracle.output_size(n, k, s, d, 0, t) == wanted)
        upper, lower = (forward((n,), (k,), s, name, d).axes[0] for name in ("same_upper", "same_lower"))
        assert (upper.begin, upper.end) == (total // 2, total - total // 2)
        assert (lower.begin, lower.end) == (total - total // 2, total // 2)
        assert upper.output_size == lower.output_size == wanted
        assert forward((n,), (k,), s, "same", d).axes[0] == upper
    assert forward((0,), (3,), s, "same", d).output_size == (0,)


@pytest.mark.parametrize(
    ("n", "k", "s", "d", "pair"),
    [(5, 2, 1, 1, (0, 1)), (6, 3, 2, 1, (0, 1)), (7, 4, 1, 3, (4, 5)), (7, 4, 3, 2, (3, 3)), (9, 1, 4, 2, (0, 0))],
)
def test_same_padding_by_hand(n: int, k: int, s: int, d: int, pair: tuple[int, int]) -> None:
    upper, lower = (forward((n,), (k,), s, name, d).axes[0] for name in ("same_upper", "same_lower"))
    assert (upper.begin, upper.end) == pair == (lower.end, lower.begin)


def transposed(length: int, k: int, s: int, d: int, padding: object, **size: object) -> Geometry:
    spec = ConvSpec.of(1, stride=s, padding=padding, dilation=d)  # type: ignore[arg-type]
    return Geometry.transposed(spec, (2, 3, length), (3, 1, k), **size)  # type: ignore[arg-type]


@pytest.mark.parametrize(("s", "d"), STEPS)
def test_transposing_with_the_slack_returns_to_the_input(s: int, d: int) -> None:
    returned = 0
    for axis in all_axes(s, d):
        if not 0 <= axis.slack < max(s, d):
            continue
        options = (axis.output_size, axis.kernel_size, s, d, ((axis.begin, axis.end),))
        by_padding = transposed(*options, output_padding=axis.slack)
        assert by_padding.axes == (axis,)
        assert by_padding.input_size == (axis.input_size,)
        assert transposed(*options, output_size=(axis.input_size,)) == by_padding
        returned += 1
    assert returned > 1000


@pytest.mark.parametrize(("s", "d"), STEPS)
def test_output_size_and_output_padding_name_the_same_sizes(s: int, d: int) -> None:
    for length, k, begin, end in product(range(1, 5), range(1, 4), range(-1, 3), range(-1, 3)):
        options = (length, k, s, d, ((begin, end),))
        reach = [s * l + d * t - begin for l, t in product(range(length), range(k))]  # noqa: E741
        least = max(reach) + 1 - end
        for extra in range(-2, max(s, d) + 2):
            size = least + extra
            if 0 <= extra < max(s, d) and size >= 0:
                sized = transposed(*options, output_size=(size,))
                assert sized.input_size == (size,)
                assert sized == transposed(*options, output_padding=extra)
                assert sized.output_size == (length,)
                assert sized.slack == (extra,)
                continue
            with pytest.raises((SpecError, ShapeError), match=r"output[_ ]size"):
                transposed(*options, output_size=(size,))
            with pytest.raises((SpecError, ShapeError), match=r"output_padding|negative"):
                transposed(*options, output_padding=extra)


@pytest.mark.parametrize(("s", "d"), STEPS)
def test_same_padding_of_a_transposed_problem_is_that_of_the_forward_one(s: int, d: int) -> None:
    for length, k, name in product(range(1, 6), range(1, 5), ("same_upper", "same_lower")):
        whole = transposed(length, k, s, d, name)
        assert whole == forward((length * s,), (k,), s, name, d)
        for size in range((length - 1) * s + 1, length * s + 1):  # the sizes with so many positions
            assert transposed(length, k, s, d, name, output_size=(size,)) == forward((size,), (k,), s, name, d)


def random_case(rng: random.Random, number: int) -> Geometry:
    """Any geometry at all: empty and one-element axes, no batch, no channels, up to four dimensions, positions cut."""
    ndim, groups = number % 5, rng.randint(1, 3)
    mode = rng.choice(MODES)
    batch = () if rng.random() < 0.3 else (rng.randint(0, 4),)
    channels, out_channels = rng.randint(0, 3), groups * rng.randint(0, 3)
    low = 0 if mode != "zeros" else -4
    kernel = [rng.randint(1, 5) for _ in range(ndim)]
    spec = ConvSpec.of(
        ndim,
        stride=[rng.randint(1, 3) for _ in range(ndim)],
        padding=[(rng.randint(low, 4), rng.randint(low, 4)) for _ in range(ndim)],
        dilation=[rng.randint(1, 3) for _ in range(ndim)],
        groups=groups,
        padding_mode=mode,  # type: ignore[arg-type]
    )
    sizes = [rng.randint(low == 0, 9) for _ in range(ndim)]
    geometry = Geometry.forward(spec, (*batch, groups * channels, *sizes), (out_channels, channels, *kernel))
    if number % 2:
        return geometry
    axes = tuple(replace(axis, output_size=rng.randint(0, axis.output_size)) for axis in geometry.axes)
    return replace(geometry, axes=axes)


def test_case_strings_give_back_five_hundred_geometries() -> None:
    rng = random.Random(5)
    drawn = [random_case(rng, number) for number in range(500)]
    texts = [str(g) for g in drawn]
    assert len(set(texts)) == len(set(drawn)) > 450
    for text, g in zip(texts, drawn, strict=True):
        assert Geometry.parse(text) == g, text
        assert Geometry.parse(" ".join(reversed(text.split()))) == g, text
    assert sum(" l=" in text for text in texts) > 50
    assert sum("n=" not in text for text in texts) > 50
    assert sum("x=-" in text for text in texts) >= 90


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(st.randoms(use_true_random=False), st.integers(0, 4))
def test_case_strings_round_trip_whatever_is_drawn(rng: random.Random, number: int) -> None:
    g = random_case(rng, number)
    assert Geometry.parse(str(g)) == g


@pytest.mark.parametrize(
    ("text", "canonical", "shapes"),
    [
        ("c=1 o=2 x=- k=-", "c=1 o=2 x=- k=-", ((1,), (2, 1), (2,))),
        ("n=3 c=4 o=2 x=7,9 k=2 s=2", "n=3 c=4 o=2 x=7,9 k=2,2 s=2,2", ((3, 4, 7, 9), (2, 4, 2, 2), (3, 2, 3, 4))),
        ("g=2 o=6 c=4 x=9 k=3 p=1:-2", "c=4 o=6 g=2 x=9 k=3 p=1:-2", ((4, 9), (6, 2, 3), (6, 6))),
        ("n=1 c=1 o=1 x=6 k=1 d=5 l=2", "n=1 c=1 o=1 x=6 k=1 d=5 l=2", ((1, 1, 6), (1, 1, 1), (1, 1, 2))),
        ("n=1 c=1 o=1 x=6 k=1 l=6 g=1", "n=1 c=1 o=1 x=6 k=1", ((1, 1, 6), (1, 1, 1), (1, 1, 6))),
    ],
)
def test_case_strings_by_hand(text: str, canonical: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    g = Geometry.parse(text)
    assert str(g) == canonical
    assert (g.input_shape, g.weight_shape, g.output_shape) == shapes


def test_a_transposed_problem_beyond_the_stride_says_how_many_positions_count() -> None:
    g = transposed(4, 3, 2, 5, 0, output_padding=3)
    assert str(g) == "n=2 c=1 o=3 x=20 k=3 s=2 d=5 l=4"
    assert Geometry.parse(str(g)) == g
    assert g.axes[0].full_output_size == 5


def test_a_geometry_unpickled_in_another_process_is_found_by_its_equals() -> None:
    geometry = Geometry.parse("n=2 c=3 o=4 x=9 k=3 mode=circular p=1")
    program = (
        "import pickle, sys; g = pickle.load(sys.stdin.buffer); "
        "from arrconv import Geometry; sys.exit(hash(g) != hash(Geometry.parse(str(g))))"
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, input=pickle.dumps(geometry), check=False)
    assert result.returncode == 0
