"""The operands of a case: made from its text alone, each from a stream of its own, at most one element special."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from arrconv_conformance import Case
from arrconv_conformance.data import operand, special_value
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.question import operands_of
from splitmix import words

if TYPE_CHECKING:
    from collections.abc import Callable

# The exponents of the largest powers of two.
LARGEST = {"float16": 15, "bfloat16": 127, "float32": 127, "float64": 1023, "complex64": 127, "complex128": 1023}


CASE = "n=2 c=3 o=5 x=7 k=2 s=2 p=1:0"


def role_shapes(member: str) -> dict[str, tuple[int, ...]]:
    """Those of the case above; its y has four positions."""
    bias = (3,) if member.startswith("conv_transpose") else (5,)
    return {"x": (2, 3, 7), "w": (5, 3, 2), "y": (2, 5, 4), "bias": bias}


@pytest.mark.parametrize("member", MEMBERS)
def test_operands_follow_from_the_text_of_the_case_and_the_role(member: str) -> None:
    case = Case.parse(f"{CASE} member={member} dtype=float32 data=underflow")
    made = operands_of(case)
    factors = {"conv": {"x": 0, "w": 1, "bias": 2}, "conv_transpose": {"y": 0, "w": 1, "bias": 2}}
    backward = {"x": 0, "w": 0, "y": 1} if not member.startswith("conv_transpose") else {"y": 0, "w": 0, "x": 1}
    for role, factor in factors.get(member, backward).items():
        shape = role_shapes(member)[role]
        expected = operand(f"{CASE} underflow {role}", shape, "underflow", "float32", factor)
        array = made.pop(role)  # type: ignore[call-overload]
        assert array.shape == shape
        assert array.tobytes() == expected.tobytes()
    assert made == {}


def test_the_text_of_a_case_alone_makes_its_operands_again() -> None:
    for text in (
        f"{CASE} member=conv_backward dtype=complex64 data=normal needs=input,bias layout=x:last,y:broadcast",
        f"{CASE} member=conv dtype=float16 data=inf bias=none before=options",
        "n=2 c=3 o=5 x=7,8 k=2,3 p=same_upper member=conv_transpose dtype=float64 data=nan",
    ):
        case = Case.parse(text)
        again = operands_of(Case.parse(str(case)))
        first = operands_of(case)
        assert list(first) == list(again)
        assert [array.tobytes() for array in first.values()] == [array.tobytes() for array in again.values()]


def test_roles_data_sets_geometries_and_salts_have_streams_of_their_own() -> None:
    def bytes_of(geometry: str, data: str, salt: str = "") -> list[bytes]:
        case = Case.parse(f"n=2 c=5 o=5 x=9 {geometry} member=conv dtype=float64 data={data}")
        return [array.reshape(-1)[:5].tobytes() for array in operands_of(case, salt).values()]

    made = [
        *bytes_of("k=9", "integers"),
        *bytes_of("k=9 s=2", "integers"),
        *bytes_of("k=9", "nan"),
        *bytes_of("k=9", "uniform"),
        *bytes_of("k=9", "integers", " before"),
    ]
    assert len(set(made)) == len(made) == 15


def test_what_is_computed_with_the_operands_does_not_change_them() -> None:
    """Members, layouts and gradients of one geometry and data set share what they have in common."""
    plain = operands_of(Case.parse(f"{CASE} member=conv dtype=float32 data=normal"))
    other = operands_of(
        Case.parse(f"{CASE} member=conv_backward dtype=float32 data=normal needs=bias,input layout=x:last")
    )
    assert plain["x"].tobytes() == other["x"].tobytes()
    assert plain["w"].tobytes() == other["w"].tobytes()
    broadcast = operands_of(Case.parse(f"{CASE} member=conv dtype=float32 data=normal layout=w:broadcast"))["w"]
    assert all(np.array_equal(row, plain["w"][0]) for row in broadcast)


def test_no_bias_where_none_is_wanted() -> None:
    for member in ("conv", "conv_transpose"):
        case = Case.parse(f"{CASE} member={member} dtype=float32 data=ones bias=none")
        assert "bias" not in operands_of(case)


# The one element that is special


def special_roles(member: str) -> list[str]:
    """In conv the input or the weight; elsewhere no bias, and a weight only where nothing is multiplied by it."""
    if member == "conv":
        return ["x", "w"]
    if member.endswith(("grad_weight", "grad_bias")):
        return ["y", "w", "x"] if "transpose" in member else ["x", "w", "y"]
    return {"conv_transpose": ["y"]}.get(member, ["y", "x"] if "transpose" in member else ["x", "y"])


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize(("data", "is_special"), [("nan", np.isnan), ("inf", np.isposinf), ("huge", lambda a: a > 9)])
def test_the_special_element_is_one_and_lies_where_the_stream_says(
    member: str, data: str, is_special: Callable[[Any], Any]
) -> None:
    seen = set()
    for batch in range(1, 9):
        geometry = f"n={batch} c=3 o=5 x=7 k=2"
        case = Case.parse(f"{geometry} member={member} dtype=float32 data={data}")
        which, where = words(f"{geometry} {data} special", 2)
        roles = special_roles(member)
        role = roles[which % len(roles)]
        seen.add(role)
        for other, array in operands_of(case).items():
            found = np.flatnonzero(is_special(array)).tolist()
            assert found == ([where % array.size] if other == role else [])
    assert seen == set(special_roles(member))  # each of them in one of the eight


def test_a_special_element_of_a_broadcast_operand_is_in_every_entry() -> None:
    case = Case.parse("n=4 c=3 o=5 x=7 k=2 member=conv_transpose dtype=float32 data=nan layout=y:broadcast")
    made = np.isnan(operands_of(case)["y"])  # type: ignore[index]
    assert made[0].sum() == 1
    assert all(np.array_equal(entry, made[0]) for entry in made)


def test_an_array_without_elements_has_no_special_one() -> None:
    for data in ("nan", "inf", "huge"):
        for member in [name for name in MEMBERS if "w" not in special_roles(name)]:  # a weight has elements
            made = operands_of(Case.parse(f"n=0 c=3 o=4 x=9 k=3 member={member} dtype=float32 data={data}"))
            assert all(np.all(np.abs(array.astype(np.float64)) <= 9) for array in made.values())


@pytest.mark.parametrize("dtype", LARGEST)
def test_huge_is_the_largest_power_of_two_over_128(dtype: str) -> None:
    largest = Fraction(2) ** LARGEST[dtype]
    assert Fraction(special_value("huge", dtype)) == largest / 128
    assert math.isnan(special_value("nan", dtype))
    assert special_value("inf", dtype) == math.inf
