"""Case strings mean what they say, and say what they mean."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from arrconv_conformance import Case, catalogue
from arrconv_conformance.cases import BEFORE, NAMED_PADDINGS
from arrconv_conformance.data import DATA_SETS, DTYPES
from arrconv_conformance.generate import generated
from arrconv_conformance.layouts import LAYOUTS
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.wrong import WRONG
from hypothesis import given, settings
from hypothesis import strategies as st

from arrconv import ShapeError, SpecError

SMALL = "n=2 c=4 o=6 x=9 k=3"
LARGE = "n=2 c=4 o=6 g=2 x=9,7 k=3,2 s=2,1 p=1:0,2 d=1,2"
GEOMETRIES = [case.geometry for case in [*catalogue()[::9], *generated(40, 5)]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any case that there may be, whether it can be asked or not."""
    member = draw(st.sampled_from([None, *MEMBERS]))
    roles = draw(st.permutations(["x", "w", "y", "bias"]))
    layouts = draw(st.lists(st.sampled_from(list(LAYOUTS)), max_size=4))
    needs = draw(st.sets(st.sampled_from(["input", "weight", "bias"])))
    is_backward = str(member).endswith("_backward")
    case = Case(
        draw(st.sampled_from(GEOMETRIES)),
        member=member,
        dtype=draw(st.sampled_from([None, *DTYPES])),
        data=draw(st.sampled_from([None, *DATA_SETS])),
        needs=tuple(need for need in ("input", "weight", "bias") if need in needs) if is_backward else (),
        layout=tuple(zip(roles, layouts, strict=False)),
        bias=draw(st.sampled_from([None, "none"])),
        before=draw(st.sampled_from([None, *BEFORE])),
        wrong=draw(st.sampled_from([None, *WRONG])),
    )
    padding = draw(st.sampled_from([None, *NAMED_PADDINGS]))
    if padding is None:
        return case
    words = [word for word in str(case).split() if not word.startswith(("p=", "l="))]
    return Case.parse(" ".join([*words, f"p={padding}"]))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(cases())
def test_cases_round_trip_through_their_text(case: Case) -> None:
    again = Case.parse(str(case))
    assert again == case
    assert str(again) == str(case)
    assert hash(again) == hash(case)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cases(), st.randoms(use_true_random=False))
def test_the_tokens_of_a_case_may_come_in_any_order(case: Case, order: Any) -> None:
    words = str(case).split()
    order.shuffle(words)
    assert Case.parse(" ".join(words)) == case


def test_a_case_is_told_in_the_order_of_its_fields() -> None:
    text = (
        "before=data data=normal layout=w:fortran,x:last needs=bias,input mode=circular k=3 x=9 member=conv_backward "
        "dtype=float64 wrong=stride p=same_lower o=6 c=4 n=2"
    )
    assert str(Case.parse(text)) == (
        "n=2 c=4 o=6 x=9 k=3 p=same_lower mode=circular member=conv_backward dtype=float64 data=normal "
        "needs=input,bias layout=w:fortran,x:last before=data wrong=stride"
    )


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("member=conv_transpose", "member", "conv_transpose"),
        ("dtype=bfloat16", "dtype", "bfloat16"),
        ("data=cancelling", "data", "cancelling"),
        ("member=conv_backward needs=bias,weight,bias", "needs", ("weight", "bias")),
        ("layout=y:last,x:strided", "layout", (("y", "last"), ("x", "strided"))),
        ("bias=none", "bias", "none"),
        ("before=options", "before", "options"),
        ("wrong=channels", "wrong", "channels"),
        ("p=same_upper", "padding", "same_upper"),
        ("p=2", "padding", None),
        ("", "needs", ()),
    ],
)
def test_each_token_sets_its_field(text: str, field: str, value: Any) -> None:
    assert getattr(Case.parse(f"{SMALL} {text}"), field) == value


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (f"{SMALL} member=pool", SpecError, "'member=pool' is unknown; member= is one of conv, conv_transpose,"),
        (f"{SMALL} dtype=float8", SpecError, "'dtype=float8' is unknown; dtype= is one of float32, float64"),
        (f"{SMALL} data=random", SpecError, "data= is one of integers, sparse"),
        (f"{SMALL} member=conv_backward needs=x", SpecError, "needs= is one of input, weight, bias"),
        (f"{SMALL} member=conv_backward needs=", SpecError, "needs= is one of input, weight, bias"),
        (f"{SMALL} member=conv needs=input", SpecError, "needs= is for member=conv_backward and"),
        (f"{SMALL} needs=input", SpecError, "needs= is for member=conv_backward and"),
        (f"{SMALL} layout=z:last", SpecError, "layout= is one of x, w, y, bias"),
        (f"{SMALL} layout=x:first", SpecError, "layout= is one of plain, last"),
        (f"{SMALL} layout=x", SpecError, "layout= is one of plain, last"),
        (f"{SMALL} bias=some", SpecError, "bias= is one of none"),
        (f"{SMALL} before=nothing", SpecError, "before= is one of data, options"),
        (f"{SMALL} wrong=all", SpecError, "wrong= is one of channels"),
        (f"{SMALL} p=same", SpecError, "'same' is not an integer"),
        (f"{SMALL} p=1 p=valid", SpecError, "p= is given twice"),
        (f"{SMALL} p=valid p=valid", SpecError, "p= is given twice"),
        (f"{SMALL} p=valid p=1", SpecError, "p= is given twice"),
        (f"{SMALL} p=1 p=1", SpecError, "each once"),
        (f"{SMALL} dtype=float32 dtype=float32", SpecError, "dtype= is given twice"),
        (f"{SMALL} q=1", SpecError, "'q=1' is not one of"),
        (f"{SMALL} conv", SpecError, "'conv' is not one of"),
        ("c=4 o=6 x=9 k=3", SpecError, "arrays have a batch here; give n="),
        ("n=2 c=4 o=6 x=9", SpecError, "lacks k="),
        ("n=2 c=4 o=6 g=4 x=9 k=3", ShapeError, "groups=4 does not divide"),
        ("", SpecError, "lacks"),
    ],
)
def test_texts_that_are_no_case_are_refused(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Case.parse(text)


# Padding by name


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("x=9,8 k=4,3 p=valid", "p=0"),
        ("x=9,8 k=4,3 p=same_upper", "p=1:2,1"),
        ("x=9,8 k=4,3 p=same_lower", "p=2:1,1"),
        ("x=9,8 k=4,3 s=2,3 p=same_upper", "p=1:2,0:1"),  # outputs 5 and 3: 8 + 4 − 9 and 6 + 3 − 8 more
        ("x=9,8 k=4,3 s=2,3 p=same_lower", "p=2:1,1:0"),
        ("x=9,8 k=4,3 d=2,5 p=same_upper", "p=3,5"),
        ("x=9,8 k=1,2 s=3,4 p=same_upper", "p=0"),
        ("x=9,8 k=4,3 p=same_lower mode=reflect", "p=2:1,1 mode=reflect"),
    ],
)
def test_a_name_stands_for_amounts(text: str, amounts: str) -> None:
    named = Case.parse(f"n=2 c=4 o=6 g=2 {text}")
    sizes = [word for word in text.split() if not word.startswith(("p=", "mode="))]
    assert named.geometry == Case.parse(f"n=2 c=4 o=6 g=2 {' '.join(sizes)} {amounts}").geometry
    assert named != Case(named.geometry)
    assert Case.parse(str(named)) == named


# What can be asked


def single(text: str, member: str = "conv", dtype: str = "float32", data: str = "ones") -> Case:
    return Case.parse(f"{text} member={member} dtype={dtype} data={data}")


TRANSPOSED = [name for name in MEMBERS if name.startswith("conv_transpose")]
FORWARD = [name for name in MEMBERS if name not in TRANSPOSED]


@pytest.mark.parametrize(
    ("text", "forward", "transposed"),
    [
        (LARGE, True, True),
        (f"{SMALL} p=1 mode=circular", True, False),
        (f"{SMALL} p=-1", True, True),
        ("n=2 c=4 o=6 x=8 k=2 p=1 d=3 l=6", False, True),  # fewer positions than the sizes imply
        ("n=2 c=4 o=6 x=9 k=2 d=3 l=3", False, False),  # it would end three late
        ("n=2 c=4 o=6 x=9 k=2 d=3 l=4", False, True),
        ("n=2 c=4 o=6 x=3 k=7", True, False),  # no position, and less than no input
        ("n=0 c=4 o=6 x=9 k=3", True, True),
        (f"{SMALL} p=valid", True, True),
        (f"{SMALL} p=same_upper", True, True),
        ("n=2 c=4 o=6 x=9 k=3 s=3 p=same_upper", True, True),
        ("n=2 c=4 o=6 x=9 k=3 s=2 p=same_upper", True, False),  # 5 positions are of 10 inputs
        ("n=2 c=4 o=6 x=9 k=2 s=3 p=same_upper", True, False),  # the last input is reached by no tap
        ("n=2 c=4 o=6 x=10 k=3 s=2 p=valid", True, True),
    ],
)
def test_a_member_is_asked_where_it_exists(text: str, forward: bool, transposed: bool) -> None:
    assert {single(text, member).is_applicable for member in FORWARD} == {forward}
    assert {single(text, member).is_applicable for member in TRANSPOSED} == {transposed}


def test_a_data_set_is_asked_in_the_dtypes_that_it_has() -> None:
    floats = {"float32", "float64", "float16", "bfloat16", "complex64", "complex128"}
    for data in DATA_SETS:
        asked = {dtype for dtype in DTYPES if single(SMALL, dtype=dtype, data=data).is_applicable}
        if data in ("integers", "sparse", "count", "ones"):
            assert asked == set(DTYPES)
        else:
            assert asked == {"extremes": set(DTYPES) - floats, "tall": {"float16"}}.get(data, floats)


@pytest.mark.parametrize(
    ("text", "wrong", "is_asked"),
    [
        (f"{LARGE} member=conv", "channels", True),
        (f"{LARGE} member=conv", "bias", True),
        (f"{LARGE} member=conv bias=none", "bias", False),
        (f"{LARGE} member=conv_backward", "bias", False),
        (f"{LARGE} member=conv_backward", "cotangent-size", True),
        (f"{LARGE} member=conv", "cotangent-size", False),
        ("n=2 c=4 o=6 x=- k=- member=conv_backward", "cotangent-size", False),
        ("n=2 c=4 o=6 x=- k=- member=conv", "stride", False),
        ("n=2 c=4 o=6 x=- k=- member=conv", "no-groups", True),
        ("n=0 c=4 o=6 x=9 k=3 member=conv", "channels", False),
    ],
)
def test_a_call_is_wrong_where_it_has_what_is_spoilt(text: str, wrong: str, is_asked: bool) -> None:
    assert Case.parse(f"{text} dtype=float32 data=ones wrong={wrong}").is_applicable == is_asked


def test_a_case_stands_for_all_that_it_does_not_name() -> None:
    singles = list(Case.parse(LARGE).singles())
    floats, generic = 6, 2
    assert len(singles) == len(set(singles)) == len(MEMBERS) * (generic * len(DTYPES) + 10 * floats + 5 + 1)
    assert all(case.is_single and case.is_applicable for case in singles)
    assert not {"count", "ones"} & {case.data for case in singles}
    assert {case.dtype for case in singles} == set(DTYPES)
    assert [case.data for case in singles] == sorted((case.data for case in singles), key=list(DATA_SETS).index)
    assert {case.geometry for case in singles} == {Case.parse(LARGE).geometry}


def test_what_a_case_names_stays_as_it_is() -> None:
    named = "layout=x:last bias=none before=data"
    for member, dtype, data in product(("conv", None), ("int8", "float16", None), ("extremes", "normal", "ones", None)):
        words = [f"{name}={value}" for name, value in (("member", member), ("dtype", dtype), ("data", data)) if value]
        case = Case.parse(" ".join([LARGE, *words, named]))
        singles = list(case.singles())
        assert bool(singles) == (dtype is None or data in (None, "ones") or (data == "extremes") == (dtype == "int8"))
        for one in singles:
            assert one.member == member or member is None
            assert one.dtype == dtype or dtype is None
            assert one.data == data or data is None
            assert replace(one, member=member, dtype=dtype, data=data) == case
        assert case.is_single == (None not in (member, dtype, data))
