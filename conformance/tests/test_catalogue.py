"""The catalogue holds what it claims to hunt."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from importlib.resources import files
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from arrconv_conformance import Case, catalogue
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.wrong import WRONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from arrconv import Axis, Geometry


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


ALL = [case.geometry for case in catalogue()]  # some of them of one member, dtype and data set alone


# What each comment of the catalogue claims of every case that follows it.
CLAIMS: dict[tuple[str, str], Callable[[Geometry], bool]] = {
    ("05-layers", "three by three"): lambda g: g.kernel_size == (3, 3),
    ("05-layers", "depthwise, three by three and five by five"): lambda g: (
        depthwise(g) and g.kernel_size in ((3, 3), (5, 5))
    ),
    ("05-layers", "one by one: a product of matrices"): lambda g: g.kernel_size == (1, 1),
    ("05-layers", "the first layer: a large kernel, few channels"): lambda g: (
        min(g.kernel_size) >= 5 and g.in_channels <= 3
    ),
    ("05-layers", "in one dimension, and in three"): lambda g: g.ndim in (1, 3) and set(g.kernel_size) == {3},
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
    (
        "20-padding",
        "cropped at the begin, zeros at the end: to look for padding at the begin alone is to read beyond the row",
    ): on_some_axis(lambda a: a.begin < 0 < a.end),
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
    ("40-groups", "more channels than a vector has elements, and no multiple of it"): lambda g: (
        max(g.in_channels, g.out_channels) > 16 and all(n % 16 for n in (g.in_channels, g.out_channels))
    ),
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
    ("70-dimensions", "one image"): lambda g: g.batch == 1,
    ("70-dimensions", "one-element axes of x, w and y"): on_some_axis(
        lambda a: 1 in (a.input_size, a.kernel_size, a.output_size)
    ),
    ("70-dimensions", "1×1 kernels"): lambda g: math.prod(g.kernel_size) == 1,
    ("70-dimensions", "four spatial axes"): lambda g: g.ndim == 4,
    ("70-dimensions", "long and thin"): lambda g: max(g.input_size) >= 65,
    ("80-empty", "no image"): lambda g: g.batch == 0,
    ("80-empty", "no channel"): lambda g: 0 in (g.in_channels, g.out_channels),
    ("80-empty", "kernel larger than the padded input: no output"): on_some_axis(lambda a: a.extent > a.padded_size),
    (
        "80-empty",
        "kernel larger than the padded input by less than the stride: to divide towards zero is to find one output",
    ): on_some_axis(lambda a: 0 < a.extent - a.padded_size < a.stride),
    ("80-empty", "empty spatial axes"): on_some_axis(lambda a: a.input_size == 0),
    ("90-long-sums", "many channels"): lambda g: max(g.products("y"), g.products("x")) >= 288,
    ("90-long-sums", "large kernels"): lambda g: math.prod(g.kernel_size) >= 31,
    ("90-long-sums", "large batches and images, for the weight gradient"): lambda g: g.products("w") >= 425,
    ("90-long-sums", "many long sums, whose errors together show a lower precision"): lambda g: any(
        g.products(role) >= 500 and math.prod(shape) >= 1000
        for role, shape in (("x", g.input_shape), ("w", g.weight_shape), ("y", g.output_shape))
    ),
    ("full", "many long sums, whose errors together show a lower precision"): lambda g: any(
        g.products(role) >= 400 and math.prod(shape) >= 1000
        for role, shape in (("x", g.input_shape), ("w", g.weight_shape), ("y", g.output_shape))
    ),
    ("full", "large in one respect: tiles, blocks and threads of all kinds begin and end inside"): lambda g: (
        max(g.batch or 0, g.in_channels, g.out_channels, *g.input_size) >= 33
    ),
    ("full", "more than 16 bits can count: images, channels in and out"): lambda g: (
        max(g.batch or 0, g.in_channels, g.out_channels) > 2**16
    ),
}


def test_every_comment_is_held_to_its_claim() -> None:
    first = {("00-first", "plain, then with everything"), ("60-transposed", "every output padding below the stride")}
    names = [file.name.removesuffix(".txt") for file in files("arrconv_conformance.cases").iterdir()]
    found = {(name, heading) for name in names if not name.startswith("__") for heading in sections(name)}
    others = {
        ("85-wrong", "Wrong calls of every kind: whatever answers them is wrong."),
        ("85-wrong", "with one tap, where a kernel may not look"),
        ("20-padding", "by name, in every mode: how much it is, the framework finds"),
    }
    assert found == set(CLAIMS) | first | others


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
    "one image in a mode": lambda g: g.batch == 1 and g.padding_mode != "zeros",
    "one image with groups": lambda g: g.batch == 1 and g.groups > 1,
    "one image without a spatial axis": lambda g: g.batch == 1 and g.ndim == 0,
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
    cases = catalogue(full=True)
    assert len(set(cases)) == len(cases) >= 380
    general = [case.geometry for case in catalogue() if case.data is None]
    assert len(set(general)) == len(general) >= 370


def test_a_case_stands_for_everything_or_is_large_or_wrong() -> None:
    for case in catalogue():
        assert (case.dtype is None) == (case.data is None)
        if case.data is not None and case.wrong is None:
            assert case.member is not None
            assert max(case.geometry.products(role) for role in ("x", "w", "y")) >= 500


def test_every_call_that_can_be_wrong_is_there() -> None:
    wrong = [case for case in catalogue() if case.wrong is not None]
    assert {case.wrong for case in wrong} == set(WRONG)
    for case in wrong:
        assert any(replace(case, member=member).is_applicable for member in MEMBERS)


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
def test_padding_by_name_comes_in_every_mode_and_unequal(mode: str) -> None:
    named = [case for case in catalogue() if case.padding is not None and case.geometry.padding_mode == mode]
    assert {case.padding for case in named} >= ({"valid", "same_upper", "same_lower"} if mode == "zeros" else set())
    assert some((case.geometry for case in named), on_some_axis(lambda a: a.begin != a.end))


def test_padding_by_name_comes_for_the_transposed_convolution() -> None:
    cases = [replace(case, member="conv_transpose", dtype="float32", data="ones") for case in catalogue()]
    named = [case for case in cases if case.padding is not None and case.is_applicable]
    assert {case.padding for case in named} == {"valid", "same_upper", "same_lower"}


def test_what_takes_long_is_in_a_file_of_its_own() -> None:
    more = catalogue(full=True)[len(catalogue()) :]
    assert catalogue(full=True)[: len(catalogue())] == catalogue()
    assert len(more) >= 10
    assert len(set(more)) == len(more)
    assert not set(more) & set(catalogue())
    products = [math.prod(case.geometry.output_shape) * case.geometry.products("y") for case in more]
    quick = [case.geometry for case in catalogue() if case.member is None]
    assert max(products) > 1_000_000 > max(math.prod(g.output_shape) * g.products("y") for g in quick)
