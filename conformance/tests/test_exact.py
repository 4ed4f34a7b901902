"""The exact results against the literal loop of tests/oracle.py, which shares nothing with them."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import pytest
from arrconv_conformance import Case, catalogue
from arrconv_conformance.cases import DATA_SETS, MEMBERS
from arrconv_conformance.data import Operand, operand
from arrconv_conformance.exact import Exact, Products, exact_result
from arrconv_conformance.question import is_applicable

if TYPE_CHECKING:
    from arrconv import Geometry

MOST_PRODUCTS = 1500


def small_cases() -> list[Case]:
    """Some forty small cases, from every file of the catalogue that has any."""
    small = [case for case in catalogue() if len(Products.of(case.geometry).x) < MOST_PRODUCTS]
    modes = [case for case in small if case.geometry.padding_mode != "zeros"]
    batch_free = [case for case in small if case.geometry.batch is None]
    plain = [case for case in small if case.geometry.padding_mode == "zeros"]
    return list(dict.fromkeys(modes[::2] + batch_free + plain[::4]))


CASES = small_cases()


def shapes(geometry: Geometry, member: str) -> dict[str, tuple[int, ...]]:
    channels = geometry.in_channels if member == "conv_transpose" else geometry.out_channels
    return {
        "x": geometry.input_shape,
        "w": geometry.weight_shape,
        "y": geometry.output_shape,
        "bias": (channels,),
    }


TAKES = {
    "conv": ("x", "w", "bias"),
    "conv_grad_input": ("w", "y"),
    "conv_grad_weight": ("x", "y"),
    "conv_grad_bias": ("y",),
    "conv_transpose": ("w", "y", "bias"),
}
YIELDS = {"conv": "y", "conv_grad_input": "x", "conv_grad_weight": "w", "conv_grad_bias": "bias", "conv_transpose": "x"}


def expected(geometry: Geometry, member: str, numbers: dict[str, Any]) -> Any:
    """What the loop makes of numbers that have a batch axis; the result has one too, unless it is w or a bias."""
    options: Any = {
        "stride": tuple(axis.stride for axis in geometry.axes),
        "padding": tuple((axis.begin, axis.end) for axis in geometry.axes),
        "dilation": tuple(axis.dilation for axis in geometry.axes),
        "groups": geometry.groups,
    }
    mode = {"padding_mode": geometry.padding_mode}
    match member:
        case "conv":
            return oracle.conv(numbers["x"], numbers["w"], numbers["bias"], **options, **mode)
        case "conv_grad_input":
            return oracle.transpose_input(numbers["w"], numbers["y"], geometry.input_size, **options, **mode)
        case "conv_grad_weight":
            return oracle.transpose_weight(numbers["x"], numbers["y"], geometry.kernel_size, **options, **mode)
        case "conv_grad_bias":
            return oracle.grad_bias(numbers["y"])
        case _:
            slack = geometry.slack
            return oracle.conv_transpose(numbers["y"], numbers["w"], numbers["bias"], output_padding=slack, **options)


def fractions(numbers: Operand) -> Any:
    scale = Fraction(2) ** numbers.exponent
    result = np.empty(numbers.integers.shape, dtype=object)
    for index in np.ndindex(result.shape):
        result[index] = int(numbers.integers[index]) * scale
    return result


def check(case: Case, member: str, operands: dict[str, Operand]) -> Exact:
    geometry = case.geometry
    result = exact_result(geometry, Products.of(geometry), member, operands, shapes(geometry, member)[YIELDS[member]])
    numbers: dict[str, Any] = {role: fractions(values) for role, values in operands.items()}
    if geometry.batch is None:
        numbers |= {role: numbers[role][None] for role in ("x", "y") if role in numbers}
    wanted = expected(geometry, member, numbers)
    if geometry.batch is None and YIELDS[member] in ("x", "y"):
        wanted = wanted[0]
    assert result.integers.shape == wanted.shape
    assert all(result.fraction(index) == wanted[index] for index in np.ndindex(wanted.shape))
    return result


def test_the_cases_are_of_every_kind() -> None:
    assert len(CASES) >= 40
    geometries = [case.geometry for case in CASES]
    assert {g.padding_mode for g in geometries} == {"zeros", "circular", "reflect", "replicate"}
    assert {g.ndim for g in geometries} == {0, 1, 2, 3}
    assert {g.batch is None for g in geometries} == {True, False}
    assert any(g.groups > 1 for g in geometries)
    assert any(0 in g.output_shape for g in geometries)
    assert any(axis.begin < 0 for g in geometries for axis in g.axes)
    assert any(axis.output_size < axis.full_output_size for g in geometries for axis in g.axes)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_member_is_the_sum_that_the_loop_makes(case: Case) -> None:
    for member in MEMBERS:
        if not is_applicable(Case(case.geometry, member)):
            continue
        for data in DATA_SETS:
            operands = {
                role: operand(str(case.geometry), role, shapes(case.geometry, member)[role], data, "float64")
                for role in TAKES[member]
            }
            check(case, member, operands)


@pytest.mark.parametrize("member", MEMBERS)
def test_operands_of_53_bits_are_summed_exactly(member: str) -> None:
    """All of the largest magnitude and of one sign, so that any overflow of 64-bit integers would show."""
    case = Case.parse("n=2 c=6 o=4 g=2 x=7,9 k=3,2 p=1,2")
    for sign in (1, -1):
        operands = {
            role: Operand(
                np.full(shapes(case.geometry, member)[role], sign * (2**53 - 1)), -52 if role != "bias" else 0
            )
            for role in TAKES[member]
        }
        largest = max(check(case, member, operands).integers.reshape(-1), key=abs)
        assert abs(largest) > 2**55


def test_very_many_large_products_are_summed_exactly() -> None:
    case = Case.parse("n=1 c=1 o=1 x=100000 k=1")
    operands = {role: Operand(np.full((1, 1, 100_000), 2**53 - 1), 0) for role in ("x", "y")}
    result = exact_result(case.geometry, Products.of(case.geometry), "conv_grad_weight", operands, (1, 1, 1))
    assert result.integers.tolist() == [[[100_000 * (2**53 - 1) ** 2]]]


def test_the_products_are_those_of_the_loop() -> None:
    geometry = Case.parse("n=2 c=4 o=6 g=2 x=5,3 k=2,2 s=2,1 p=1:2,0:1 d=1,2 mode=reflect").geometry
    found = Products.of(geometry)
    loop = list(
        oracle.products(
            geometry.input_shape,
            geometry.weight_shape,
            geometry.output_shape,
            stride=(2, 1),
            padding=((1, 2), (0, 1)),
            dilation=(1, 2),
            groups=2,
            padding_mode="reflect",
        )
    )

    def flat(shape: tuple[int, ...], index: tuple[int, ...] | None) -> int:
        assert index is not None
        return int(np.ravel_multi_index(index, shape))

    wanted = sorted(
        (flat(geometry.input_shape, x), flat(geometry.weight_shape, w), flat(geometry.output_shape, y))
        for x, w, y in loop
    )
    assert sorted(zip(found.x.tolist(), found.w.tolist(), found.y.tolist(), strict=True)) == wanted
