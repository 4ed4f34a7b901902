"""The catalogue holds what it claims to hunt, and case strings mean what they say."""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from arrconv_conformance import Case, catalogue, generated
from arrconv_conformance.cases import DATA_SETS, DTYPES, MEMBERS
from arrconv_conformance.question import is_applicable

from arrconv import Axis, Geometry, ShapeError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@cache
def sections(file: str) -> dict[str, list[Geometry]]:
    """The geometries of one file of the catalogue under the comment that precedes them."""
    found: dict[str, list[Geometry]] = {}
    heading = ""
    for line in files("arrconv_conformance.cases").joinpath(f"{file}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.removeprefix("#").strip()
        elif line.strip():
            found.setdefault(heading, []).append(Case.parse(line).geometry)
    return found


def some(cases: Iterable[Geometry], claim: Callable[[Geometry], bool]) -> bool:
    return any(claim(geometry) for geometry in cases)


def on_some_axis(claim: Callable[[Axis], object]) -> Callable[[Geometry], bool]:
    return lambda geometry: any(claim(axis) for axis in geometry.axes)


def distinct(values: Iterable[object]) -> bool:
    return all(a != b for a, b in combinations(values, 2))


def amount(axis: Axis) -> int:
    return max(axis.begin, axis.end)


def depthwise(g: Geometry) -> bool:
    return 1 < g.groups == g.in_channels


def everything(g: Geometry) -> bool:
    return (
        1 < g.groups < g.in_channels
        and some([g], on_some_axis(lambda a: a.stride > 1))
        and some([g], on_some_axis(lambda a: a.dilation > 1))
        and some([g], on_some_axis(lambda a: a.begin != a.end))
    )


ALL = [case.geometry for case in catalogue()]


# What each comment of the catalogue claims of every case that follows it.
CLAIMS: dict[tuple[str, str], Callable[[Geometry], bool]] = {
    ("10-stride", "the last window ends at the last input"): lambda g: set(g.slack) == {0},
    ("10-stride", "inputs left over at the end, unequal along the axes"): on_some_axis(lambda a: a.slack > 0),
    (
        "10-stride",
        "stride larger than the kernel: some inputs are never read, and their gradient is zero",
    ): on_some_axis(lambda a: a.stride > a.kernel_size),
    ("10-stride", "stride on one axis alone"): lambda g: sum(a.stride > 1 for a in g.axes) == 1,
    ("20-padding", "the same at both ends, unequal along the axes"): lambda g: all(a.begin == a.end for a in g.axes),
    ("20-padding", "unequal ends"): on_some_axis(lambda a: a.begin != a.end),
    (
        "20-padding",
        "at least as much as the kernel: outputs that see nothing but padding",
    ): lambda g: all(min(a.begin, a.end) >= a.extent for a in g.axes),
    ("20-padding", "negative: inputs are cropped, and their gradient is zero"): on_some_axis(
        lambda a: min(a.begin, a.end) < 0
    ),
    ("20-padding", "with stride, unequal ends and a remainder"): on_some_axis(lambda a: a.stride > 1 and amount(a) > 0),
    ("30-dilation", "alone"): lambda g: all(a.stride == 1 and amount(a) == 0 for a in g.axes),
    ("30-dilation", "with padding"): on_some_axis(lambda a: a.dilation > 1),
    ("30-dilation", "with a stride that shares a factor with it, and with one that does not"): on_some_axis(
        lambda a: a.stride > 1 and a.dilation > 1
    ),
    ("30-dilation", "the amounts of `same`: ⌈size/stride⌉ outputs"): lambda g: all(
        a.output_size == -(-a.input_size // a.stride) and a.end - a.begin in (0, 1) for a in g.axes
    ),
    ("40-groups", "a few groups, channels unequal"): lambda g: g.groups > 1 and g.in_channels != g.out_channels,
    ("40-groups", "depthwise"): lambda g: depthwise(g) and g.out_channels == 2 * g.groups,
    ("40-groups", "depthwise with a multiplier of three and more"): lambda g: (
        depthwise(g) and g.out_channels >= 3 * g.groups
    ),
    ("40-groups", "fewer outputs than inputs in each group"): lambda g: g.groups > 1 and g.out_channels < g.in_channels,
    ("40-groups", "stride × groups × padding × dilation"): lambda g: 1 < g.groups < min(g.in_channels, g.out_channels),
    ("40-groups", "one channel in, one out"): lambda g: 1 in (g.in_channels, g.out_channels),
    ("50-modes", "circular"): lambda g: g.padding_mode == "circular" and some([g], on_some_axis(amount)),
    ("50-modes", "reflect: the edge is not repeated"): lambda g: (
        g.padding_mode == "reflect" and some([g], on_some_axis(amount))
    ),
    ("50-modes", "replicate"): lambda g: g.padding_mode == "replicate" and some([g], on_some_axis(amount)),
    ("50-modes", "circular, more than once round"): lambda g: (
        g.padding_mode == "circular" and all(amount(a) > a.input_size for a in g.axes)
    ),
    ("50-modes", "reflect, there and back again"): lambda g: (
        g.padding_mode == "reflect" and any(amount(a) > a.input_size - 1 for a in g.axes)
    ),
    ("50-modes", "replicate, far beyond the edge"): lambda g: (
        g.padding_mode == "replicate" and any(amount(a) > a.input_size for a in g.axes)
    ),
    ("50-modes", "one element is its own mirror image"): on_some_axis(lambda a: a.input_size == 1 and amount(a) > 0),
    ("60-transposed", "output padding at or beyond the stride, below the dilation"): lambda g: all(
        a.output_size < a.full_output_size and a.stride <= a.slack < a.dilation for a in g.axes
    ),
    ("60-transposed", "with groups"): lambda g: g.groups > 1,
    ("60-transposed", "the layers of generative networks: kernel 4, stride 2, padding 1"): lambda g: all(
        (a.kernel_size, a.stride, a.begin, a.end) == (4, 2, 1, 1) for a in g.axes
    ),
    ("60-transposed", "kernel equal to the stride: nothing overlaps"): lambda g: all(
        a.kernel_size == a.stride for a in g.axes
    ),
    ("70-dimensions", "no spatial axis: a matrix product"): lambda g: g.ndim == 0,
    ("70-dimensions", "batch-free"): lambda g: g.batch is None,
    ("70-dimensions", "one-element axes of x, w and y"): on_some_axis(
        lambda a: 1 in (a.input_size, a.kernel_size, a.output_size)
    ),
    ("70-dimensions", "1×1 kernels"): lambda g: math.prod(g.kernel_size) == 1,
    ("70-dimensions", "four spatial axes"): lambda g: g.ndim == 4,
    ("70-dimensions", "long and thin"): lambda g: max(g.input_size) >= 65,
    ("80-empty", "no image"): lambda g: g.batch == 0,
    ("80-empty", "no channel"): lambda g: 0 in (g.in_channels, g.out_channels),
    ("80-empty", "kernel larger than the padded input: no output"): on_some_axis(lambda a: a.extent > a.padded_size),
    ("80-empty", "empty spatial axes"): on_some_axis(lambda a: a.input_size == 0),
    ("90-long-sums", "many channels"): lambda g: max(g.products("y"), g.products("x")) >= 288,
    ("90-long-sums", "large kernels"): lambda g: math.prod(g.kernel_size) >= 31,
    ("90-long-sums", "large batches and images, for the weight gradient"): lambda g: g.products("w") >= 425,
}


def test_every_comment_is_held_to_its_claim() -> None:
    first = {("00-first", "plain, then with everything"), ("60-transposed", "every output padding below the stride")}
    names = [file.name.removesuffix(".txt") for file in files("arrconv_conformance.cases").iterdir()]
    found = {(name, heading) for name in names if name[0].isdigit() for heading in sections(name)}
    assert found == set(CLAIMS) | first


@pytest.mark.parametrize(("file", "heading"), CLAIMS)
def test_every_case_under_a_comment_is_what_the_comment_claims(file: str, heading: str) -> None:
    wrong = [str(geometry) for geometry in sections(file)[heading] if not CLAIMS[file, heading](geometry)]
    assert not wrong


HUNTED: dict[str, Callable[[Geometry], bool]] = {
    "sizes, kernels and strides unequal on each of three axes": lambda g: (
        g.ndim == 3 and distinct(g.input_size) and distinct(g.kernel_size) and distinct(a.stride for a in g.axes)
    ),
    "batch, channels in and out and sizes all different": lambda g: (
        g.batch not in (None, 1) and distinct((g.batch, g.in_channels, g.out_channels, *g.input_size))
    ),
    "stride × groups × padding × dilation at once": everything,
    "begin ≠ end with a stride and a remainder": on_some_axis(
        lambda a: a.stride > 1 and a.begin != a.end and a.slack > 0
    ),
    "negative at one end, positive at the other": on_some_axis(lambda a: a.begin * a.end < 0),
    "dilation that shares a factor with the stride": on_some_axis(
        lambda a: math.gcd(a.stride, a.dilation) not in (1, a.stride) or 1 < a.stride == a.dilation
    ),
    "dilation coprime to the stride, both above one": on_some_axis(
        lambda a: min(a.stride, a.dilation) > 1 == math.gcd(a.stride, a.dilation) and a.kernel_size > 1
    ),
    "groups with several channels in and out of each": lambda g: (
        g.groups > 2 and g.in_channels > 2 * g.groups and g.out_channels > 2 * g.groups
    ),
    "depthwise with a multiplier": lambda g: depthwise(g) and g.out_channels > 2 * g.groups,
    "a mode with groups and dilation": lambda g: (
        g.padding_mode != "zeros" and g.groups > 1 and some([g], on_some_axis(lambda a: a.dilation > 1))
    ),
    "a batch-free mode": lambda g: g.batch is None and g.padding_mode != "zeros",
    "batch-free with groups": lambda g: g.batch is None and g.groups > 1,
    "no spatial axis, batch-free": lambda g: g.batch is None and g.ndim == 0,
    "an input that is empty, and results that are not": lambda g: 0 in g.input_size and 0 not in g.output_size,
}


@pytest.mark.parametrize("kind", HUNTED)
def test_the_catalogue_has_every_hunted_kind(kind: str) -> None:
    assert some(ALL, HUNTED[kind])


@pytest.mark.parametrize("slack", range(4))
def test_every_output_padding_below_the_stride_is_there(slack: int) -> None:
    assert some(sections("60-transposed")["every output padding below the stride"], lambda g: slack in g.slack)


def test_dilated_cases_share_a_factor_with_the_stride_and_do_not() -> None:
    both = sections("30-dilation")["with a stride that shares a factor with it, and with one that does not"]
    shared = [{math.gcd(a.stride, a.dilation) > 1 for a in g.axes if a.stride > 1} for g in both]
    assert {True} in shared
    assert {False} in shared


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_each_mode_comes_forward_backward_and_beyond_once_round(mode: str) -> None:
    of_mode = [g for g in ALL if g.padding_mode == mode]
    assert len(of_mode) >= 15
    assert {g.ndim for g in of_mode} == {1, 2, 3}
    assert some(of_mode, lambda g: all(min(a.begin, a.end) > a.input_size for a in g.axes))
    assert some(of_mode, on_some_axis(lambda a: a.begin != a.end))


def test_no_case_is_asked_twice() -> None:
    assert len(ALL) == len(set(ALL)) == len({str(g) for g in ALL}) >= 300


def test_every_case_yields_a_question_for_every_member_somewhere() -> None:
    asked = {(s.member, s.dtype, s.data) for case in catalogue()[:4] for s in case.single() if is_applicable(s)}
    assert len(asked) == len(MEMBERS) * len(DTYPES) * len(DATA_SETS)


@pytest.mark.parametrize("case", catalogue()[::7], ids=str)
def test_cases_round_trip_through_their_text(case: Case) -> None:
    assert Case.parse(str(case)) == case
    singles = list(case.single())
    assert [Case.parse(str(single)) for single in singles] == singles
    assert len(set(singles)) == len(MEMBERS) * len(DTYPES) * len(DATA_SETS)


def test_tokens_of_a_case_may_come_in_any_order() -> None:
    case = Case.parse("data=uniform k=3 x=9 member=conv_transpose o=6 c=4 dtype=float64")
    assert str(case) == "c=4 o=6 x=9 k=3 member=conv_transpose dtype=float64 data=uniform"
    assert list(case.single()) == [case]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("c=4 o=6 x=9 k=3 member=pool", SpecError, "'member=pool' is unknown; member= is one of conv,"),
        ("c=4 o=6 x=9 k=3 dtype=float16", SpecError, "dtype= is one of float32, float64"),
        ("c=4 o=6 x=9 k=3 data=normal", SpecError, "data= is one of integers, uniform"),
        ("c=4 o=6 x=9 k=3 q=1", SpecError, "'q=1' is not one of"),
        ("c=4 o=6 x=9", SpecError, "lacks k="),
        ("c=4 o=6 g=4 x=9 k=3", ShapeError, "groups=4 does not divide"),
        ("", SpecError, "lacks"),
    ],
)
def test_texts_that_are_no_case_are_refused(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Case.parse(text)


def test_random_cases_are_the_same_for_the_same_seed_and_can_all_be_run() -> None:
    cases = generated(200, 7)
    assert cases == generated(200, 7)
    assert cases[:50] == generated(50, 7)
    assert len(set(cases) & set(generated(200, 8))) < 60  # most of those without a spatial axis repeat
    for case in cases:
        assert Case.parse(str(case)) == case
        assert any(is_applicable(single) for single in case.single())
        assert 0 not in case.geometry.output_shape
    assert {case.geometry.ndim for case in cases} == {0, 1, 2, 3}
    assert {case.geometry.padding_mode for case in cases} == {"zeros", "circular", "reflect", "replicate"}
