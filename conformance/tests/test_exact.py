"""The exact results against the literal loop of tests/oracle.py, which shares nothing with them."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import pytest
from arrconv_conformance import Case, catalogue
from arrconv_conformance.exact import Exact, Products, exact_result, shape_of
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.question import operands_of
from family import RESULTS, Complex, by_the_loop, numbers

import arrconv

if TYPE_CHECKING:
    from arrconv import Geometry

MOST_PRODUCTS = 700
SUMS = {name: member for name, member in MEMBERS.items() if not name.endswith("_backward")}
MODES = ("zeros", "circular", "reflect", "replicate")


def exact(geometry: Geometry, name: str, operands: dict[str, Any]) -> Exact:
    result: Any = RESULTS[name]
    return exact_result(geometry, Products.of(geometry), MEMBERS[name], result, operands)  # type: ignore[arg-type]


def check(geometry: Geometry, name: str, operands: dict[str, Any]) -> Any:
    """Compare with the loop to the last bit of high and of low; what the loop makes."""
    found = exact(geometry, name, operands)
    wanted = by_the_loop(geometry, name, {role: numbers(array) for role, array in operands.items()})
    assert found.special is None
    assert found.padded is None
    assert found.high.shape == wanted.shape
    for index in np.ndindex(wanted.shape):
        check_number(found.high[index].item(), found.low[index].item(), wanted[index])
    return wanted


def check_number(high: Any, low: Any, wanted: Any) -> None:
    if isinstance(high, int):
        assert high == (wanted + 2**63) % 2**64 - 2**63
        assert low == 0
    elif isinstance(high, complex):
        check_number(high.real, low.real, wanted.real)
        check_number(high.imag, low.imag, wanted.imag if isinstance(wanted, Complex) else Fraction(0))
    else:
        assert high == float(wanted)  # Python divides integers with one rounding to nearest even
        rest = Fraction(wanted) - Fraction(high)
        assert low == float(rest)
        assert abs(low) <= math.ulp(high) / 2


def operands(geometry: Geometry, name: str, dtype: str, data: str) -> dict[str, Any]:
    return dict(operands_of(Case(geometry, member=name, dtype=dtype, data=data)))


def applicable(geometry: Geometry, name: str) -> bool:
    """The loop of the transposed convolution knows no modes, and no output padding below zero."""
    if not name.startswith("conv_transpose"):
        return all(axis.output_size == axis.full_output_size for axis in geometry.axes)
    return geometry.padding_mode == "zeros" and all(0 <= slack < 9 for slack in geometry.slack)


@cache
def small_cases() -> list[Geometry]:
    """Some thirty small geometries, from every file of the catalogue that has any."""
    small = [case.geometry for case in catalogue() if 0 < Products.count(case.geometry) < MOST_PRODUCTS]
    empty = [case.geometry for case in catalogue() if not Products.count(case.geometry)]
    limited = [g for g in small if any(axis.output_size < axis.full_output_size for axis in g.axes)]
    modes = [g for g in small if g.padding_mode != "zeros"]
    plain = [g for g in small if g.padding_mode == "zeros"]
    rare = [next(g for g in some if g.ndim == ndim) for ndim, some in ((0, plain), (3, plain), (3, modes))]
    return list(dict.fromkeys([*empty, *limited[:3], *rare, *modes[::4], *plain[::8]]))


def test_the_cases_are_of_every_kind() -> None:
    geometries = small_cases()
    assert 25 <= len(geometries) <= 60
    assert {g.padding_mode for g in geometries} == set(MODES)
    assert {g.ndim for g in geometries} >= {0, 1, 2, 3}
    assert any(1 < g.groups < g.in_channels for g in geometries)
    assert any(0 in g.output_shape for g in geometries)
    assert any(axis.begin < 0 for g in geometries for axis in g.axes)
    assert any(axis.output_size < axis.full_output_size for g in geometries for axis in g.axes)


# Every member


@pytest.mark.parametrize("geometry", small_cases(), ids=str)
def test_every_member_is_the_sum_that_the_loop_makes(geometry: Geometry) -> None:
    members = [name for name in SUMS if applicable(geometry, name)]
    assert members
    for place, name in enumerate(members):
        check(geometry, name, operands(geometry, name, ("float64", "float32", "int16")[place % 3], "integers"))
        check(geometry, name, operands(geometry, name, "float64", ("normal", "wide", "uniform")[place % 3]))


GEOMETRY = "n=3 c=4 o=6 g=2 x=5,4 k=2,3 s=2,1 p=1:0,0:1 d=1,2"
ALL_DTYPES = [
    ("float16", "wide"),
    ("bfloat16", "normal"),
    ("float32", "subnormal"),
    ("float64", "subnormal"),
    ("float64", "underflow"),
    ("float32", "cancelling"),
    ("complex64", "normal"),
    ("complex128", "wide"),
    ("complex128", "integers"),
    ("int8", "extremes"),
    ("uint8", "extremes"),
    ("int32", "extremes"),
    ("int64", "extremes"),
]


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize(("dtype", "data"), ALL_DTYPES)
def test_every_dtype_and_range_is_summed_exactly(name: str, dtype: str, data: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    geometry = Case.parse(GEOMETRY).geometry
    wanted = check(geometry, name, operands(geometry, name, dtype, data))
    if dtype == "int64" and RESULTS[name] != "bias":
        assert any(not -(2**63) <= total < 2**63 for total in wanted.flat)  # so that the modulo mattered


def test_the_gradient_of_the_weight_conjugates_what_was_saved() -> None:
    """One product by hand: conj(2 + 3j)·(5 + 7j) = 31 − 1j, whichever of the two convolutions it is of."""
    geometry = Case.parse("n=1 c=1 o=1 x=- k=-").geometry
    saved, given = np.array([[2 + 3j]]), np.array([[5 + 7j]])
    assert exact(geometry, "conv_grad_weight", {"x": saved, "w": saved, "y": given}).high.item() == 31 - 1j
    assert exact(geometry, "conv_transpose_grad_weight", {"y": saved, "w": saved, "x": given}).high.item() == 31 - 1j
    assert exact(geometry, "conv_grad_input", {"x": given, "w": saved, "y": given}).high.item() == 31 - 1j
    assert exact(geometry, "conv_transpose_grad_input", {"y": given, "w": saved, "x": given}).high.item() == 31 - 1j
    assert exact(geometry, "conv", {"x": saved, "w": given}).high.item() == -11 + 29j
    assert exact(geometry, "conv_transpose", {"y": saved, "w": given}).high.item() == -11 + 29j


# Numbers of every size


def full(geometry: Geometry, name: str, values: dict[str, float], dtype: str = "float64") -> dict[str, Any]:
    member = MEMBERS[name]
    takes = [role for role in member.takes if role in values]
    return {role: np.full(shape_of(geometry, role, member.bias_role), values[role], dtype) for role in takes}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("sign", [1, -1])
def test_operands_of_53_bits_are_summed_exactly(name: str, sign: int) -> None:
    """All of the largest magnitude and of one sign, so that any overflow of 64-bit integers would show."""
    geometry = Case.parse("n=2 c=6 o=4 g=2 x=5,4 k=3,2 p=1,2").geometry
    values = dict.fromkeys(("x", "w", "y"), sign * float(2**53 - 1)) | {"bias": 3.0**33}
    check(geometry, name, full(geometry, name, values))


@pytest.mark.parametrize("name", [name for name in SUMS if RESULTS[name] != "bias"])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_sums_beyond_53_bits_and_below_63_keep_what_float64_loses(name: str, dtype: str) -> None:
    geometry = Case.parse("n=2 c=2 o=3 x=4 k=2 p=1").geometry
    rng = np.random.default_rng(28)
    member = MEMBERS[name]
    made: dict[str, Any] = {}
    for role in member.takes[: 3 if member.needs else 2]:
        shape = (2, *shape_of(geometry, role, member.bias_role))
        real, imaginary = rng.integers(-(2**27), 2**27, shape) * 2 + 1
        made[role] = (real + 1j * imaginary if dtype == "complex128" else real).astype(dtype)
    check(geometry, name, made)
    assert np.count_nonzero(exact(geometry, name, made).low) > 3


def test_very_many_large_products_are_summed_exactly() -> None:
    geometry = Case.parse("n=1 c=1 o=1 x=100000 k=1").geometry
    values = {"x": float(2**53 - 1), "w": 0.0, "y": float(2**53 - 1)}
    found = exact(geometry, "conv_grad_weight", full(geometry, "conv_grad_weight", values))
    check_number(found.high.item(), found.low.item(), Fraction(100_000 * (2**53 - 1) ** 2))


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("spread", [20, 60, 250, 990])
def test_numbers_of_very_different_size_are_summed_exactly(name: str, spread: int) -> None:
    """Beyond 62 bits between the largest and the smallest, integers of 64 bits do not hold them any more."""
    geometry = Case.parse("n=2 c=2 o=3 x=4 k=2 p=1").geometry
    rng = np.random.default_rng(spread)
    made = {}
    for role in MEMBERS[name].takes:
        shape = shape_of(geometry, role, MEMBERS[name].bias_role)
        exponents = rng.integers(-spread, min(spread, 480), shape)
        made[role] = np.ldexp(rng.standard_normal(shape), exponents)
    check(geometry, name, made)


def test_1e300_meets_its_reciprocal_and_the_smallest_number() -> None:
    geometry = Case.parse("n=1 c=4 o=1 x=- k=-").geometry
    x, w = np.array([[1e300, 3e-300, 5e-324, 1e300]]), np.array([[7e-300, 1e300, 1.5, 5e-324]])
    for bias in (0.1, 1e308, -1e-300):
        check(geometry, "conv", {"x": x, "w": w, "bias": np.array([bias])})


def test_a_bias_far_above_and_below_the_products_is_added_exactly() -> None:
    geometry = Case.parse(GEOMETRY).geometry
    for name in ("conv", "conv_transpose"):
        for bias in (2.0**200 / 3, 2.0**-200 / 3, 2.0**-1074):
            for dtype in ("float64", "complex128"):
                made = operands(geometry, name, dtype, "integers")
                made["bias"] = np.full(made["bias"].shape, bias, dtype)
                check(geometry, name, made)


def test_the_lists_are_those_of_the_loop() -> None:
    for mode in MODES:
        geometry = Case.parse(f"n=2 c=4 o=6 g=2 x=5,3 k=2,2 s=2,1 p=1:2,0:1 d=1,2 mode={mode}").geometry
        found = Products.of(geometry)
        shapes = (geometry.input_shape, geometry.weight_shape, geometry.output_shape)
        inside, outside = [], []
        for x, w, y in oracle.products(*shapes, **geometry.options):  # type: ignore[misc]
            indices = (flat(shapes[0], x), flat(shapes[1], w), flat(shapes[2], y))
            (outside if x is None else inside).append(indices)
        for listed, wanted in ((found.inside, inside), (found.outside, outside)):
            assert sorted(zip(listed.x.tolist(), listed.w.tolist(), listed.y.tolist(), strict=True)) == sorted(wanted)
        assert Products.count(geometry) == len(inside) + len(outside)
        assert bool(outside) == (mode == "zeros")


def flat(shape: tuple[int, ...], index: tuple[int, ...] | None) -> int:
    return -1 if index is None else int(np.ravel_multi_index(index, shape))


# The other way


@pytest.mark.parametrize(
    ("dtype", "data"), [("float32", "wide"), ("float64", "cancelling"), ("complex64", "normal"), ("int64", "extremes")]
)
@pytest.mark.parametrize("name", SUMS)
def test_the_list_of_products_agrees_with_the_exact_algorithm(name: str, dtype: str, data: str) -> None:
    member, geometry = MEMBERS[name], Case.parse(GEOMETRY).geometry
    made = operands(geometry, name, dtype, data)
    options: Any = dict(geometry.options)
    if member.is_transposed:
        del options["padding_mode"]
        options["output_padding"] = geometry.slack
    if member.needs:
        options["needs"] = member.needs
    parts: Any = arrconv.exact_parts(member.function, *(made[role] for role in member.takes), **options)
    high, low = parts if not member.needs else getattr(parts, member.needs[0])
    found = exact(geometry, name, made)
    assert np.array_equal(found.high, high)
    assert np.array_equal(found.low, low)
