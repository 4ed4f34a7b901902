"""Questions: what is passed to a framework, and how far off its answer may be."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import oracle
import pytest
from arrconv_conformance import Case, question
from arrconv_conformance.claims import Claim
from arrconv_conformance.exact import Products
from arrconv_conformance.layouts import buffer_of
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.question import Question

GEOMETRY = "n=2 c=4 o=6 g=2 x=7,5 k=3,2 s=2,1 p=1:0,1 d=1,2"
MEMBERS_AND_RESULTS = [(name, need, role) for name, member in MEMBERS.items() for need, role in member.yields.items()]


def asked(text: str) -> Question:
    case = Case.parse(text)
    return Question(case, Claim.of(SimpleNamespace(name="mine"), str(case.dtype)))


def test_a_question_is_one_member_dtype_and_data_set() -> None:
    for text in ("dtype=float32 data=ones", "member=conv data=ones", "member=conv dtype=float32"):
        with pytest.raises(ValueError, match=r"case 'n=2 .*' must name one member, dtype and data set"):
            Question(Case.parse(f"{GEOMETRY} {text}"), Claim(None, ()))


# What is passed


OPTIONS = {"stride": (2, 1), "padding": ((1, 0), (1, 1)), "dilation": (1, 2), "groups": 2}


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (f"{GEOMETRY} member=conv", OPTIONS | {"padding_mode": "zeros"}),
        (f"{GEOMETRY} mode=reflect member=conv", OPTIONS | {"padding_mode": "reflect"}),
        (f"{GEOMETRY} member=conv_transpose", OPTIONS | {"output_padding": (1, 0)}),
        (f"{GEOMETRY} member=conv_grad_weight", OPTIONS | {"padding_mode": "zeros", "needs": ("weight",)}),
        (
            f"{GEOMETRY} member=conv_backward",
            OPTIONS | {"padding_mode": "zeros", "needs": ("input", "weight", "bias")},
        ),
        (
            f"{GEOMETRY} member=conv_backward needs=bias,input",
            OPTIONS | {"padding_mode": "zeros", "needs": ("input", "bias")},
        ),
        (
            f"{GEOMETRY} member=conv_transpose_backward needs=weight",
            OPTIONS | {"output_padding": (1, 0), "needs": ("weight",)},
        ),
        (
            "n=2 c=3 o=4 x=9,8 k=3,2 p=same_lower member=conv",
            {"stride": (1, 1), "padding": "same_lower", "dilation": (1, 1), "groups": 1, "padding_mode": "zeros"},
        ),
        (
            "n=2 c=3 o=4 x=- k=- p=valid member=conv_transpose",
            {"stride": (), "padding": "valid", "dilation": (), "groups": 1, "output_padding": ()},
        ),
    ],
)
def test_the_options_are_those_of_the_case(text: str, options: dict[str, Any]) -> None:
    assert asked(f"{text} dtype=float32 data=ones").options == options


@pytest.mark.parametrize("name", MEMBERS)
def test_the_operands_come_in_the_order_of_the_member_and_in_their_layouts(name: str) -> None:
    takes = MEMBERS[name].takes
    layouts = ",".join(
        f"{role}:{layout}" for role, layout in zip(takes, ("reversed", "fortran", "offset"), strict=True)
    )
    made = asked(f"{GEOMETRY} member={name} dtype=float32 data=normal layout={layouts}")
    for role, array in zip(takes, made.arrays, strict=True):
        assert array is not None
        assert np.array_equal(array, made.operands[role])
        assert array.size > 20 or role == "bias"
    first, second, third = made.arrays
    assert first is not None
    assert second is not None
    assert third is not None
    assert all(step < 0 for step in first.strides)
    assert second.flags.f_contiguous
    assert (buffer_of(third).size > third.size) == (takes[2] != "bias")


def test_a_framework_that_spoils_an_array_spoils_no_other() -> None:
    made = asked(f"{GEOMETRY} member=conv dtype=float32 data=normal")
    first = made.arrays[0]
    assert first is not None
    first[...] = 0
    assert np.count_nonzero(made.operands["x"])
    assert np.array_equal(np.asarray(made.arrays[0]), made.operands["x"])


def test_no_bias_is_passed_as_none() -> None:
    for name in ("conv", "conv_transpose"):
        assert asked(f"{GEOMETRY} member={name} dtype=float32 data=ones bias=none").arrays[2] is None
        assert asked(f"{GEOMETRY} member={name} dtype=float32 data=ones").arrays[2] is not None


def test_no_more_is_expected_than_is_asked_for() -> None:
    for needs in (("input",), ("weight", "bias"), ("input", "weight", "bias")):
        for name in ("conv_backward", "conv_transpose_backward"):
            text = f"{GEOMETRY} member={name} dtype=float32 data=ones needs={','.join(needs)}"
            assert tuple(asked(text).expected) == needs


# What is expected: magnitudes and lengths


def part_sizes(array: Any) -> Any:
    parts = [np.abs(array.real), np.abs(array.imag)] if array.dtype.kind == "c" else [np.abs(array)]
    return sum(part.astype(np.float64) for part in parts)


def loop(geometry: Any, role: str, sizes: dict[str, Any]) -> Any:
    """Σ|first||second| and the number of products of each element, by the loop of the oracle."""
    shapes = (geometry.input_shape, geometry.weight_shape, geometry.output_shape)
    sums: Counter[Any] = Counter()
    counts: Counter[Any] = Counter()
    for indices in oracle.products(*shapes, **geometry.options):
        at = dict(zip(("x", "w", "y"), indices, strict=True))
        if at["x"] is not None:
            first, second = (other for other in ("x", "w", "y") if other != role)
            sums[at[role]] += sizes[first][at[first]] * sizes[second][at[second]]
            counts[at[role]] += 1
    result = np.zeros(shapes[("x", "w", "y").index(role)])
    for index, total in sums.items():
        result[index] = total
    return result, max(counts.values())


@pytest.mark.parametrize(
    ("dtype", "data", "mode"), [("float32", "normal", "replicate"), ("complex64", "wide", "zeros")]
)
@pytest.mark.parametrize(("name", "need", "role"), MEMBERS_AND_RESULTS)
def test_the_magnitude_and_the_length_are_those_of_the_loop(
    name: str, need: str, role: str, mode: str, dtype: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"{GEOMETRY} mode={mode} member={name} dtype={dtype} data={data}"
    if not Case.parse(text).is_applicable:
        assert mode == "replicate"
        return
    made = asked(text)
    geometry, sizes = made.case.geometry, {role: part_sizes(array) for role, array in made.operands.items()}
    if role == "bias":
        y = sizes[made.member.takes[2]]
        magnitude, terms = y.sum(axis=(0, 2, 3)), y[:, 0].size
    else:
        magnitude, terms = loop(geometry, role, sizes)
        magnitude = magnitude + sizes["bias"].reshape(-1, 1, 1) if "bias" in sizes else magnitude
    found = made.expected[need]
    assert found.magnitude == pytest.approx(magnitude, rel=1e-12)
    assert found.terms == terms
    monkeypatch.setattr(question, "LARGEST_LIST", 0)
    assert asked(text).expected[need].magnitude == pytest.approx(magnitude, rel=1e-12)
    assert asked(text).expected[need].terms >= terms


# Cases with more products than are listed


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        ("float32", "integers"),
        ("float16", "normal"),
        ("complex64", "normal"),
        ("int64", "extremes"),
        ("float64", "wide"),
    ],
)
@pytest.mark.parametrize("name", MEMBERS)
def test_without_a_list_the_same_is_expected(name: str, dtype: str, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{GEOMETRY} member={name} dtype={dtype} data={data}"
    listed = asked(text).expected
    monkeypatch.setattr(question, "LARGEST_LIST", 0)
    monkeypatch.setattr(Products, "of", None)
    for need, found in asked(text).expected.items():
        assert np.array_equal(found.exact.high, listed[need].exact.high)
        assert np.array_equal(found.exact.low, listed[need].exact.low)
        if found.allowed is None:
            assert listed[need].allowed is None
        else:
            assert np.array_equal(found.allowed, listed[need].allowed)


@pytest.mark.parametrize("data", ["nan", "inf", "huge"])
@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("layout", ["", "layout=y:broadcast,x:broadcast,w:broadcast"])
def test_without_a_list_the_same_is_not_finite(
    name: str, data: str, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: Counter[str] = Counter()
    small = "c=2 o=4 g=2 x=5 k=3 s=2 p=2:1"
    kinds_of_call = (("zeros", "float32"), ("reflect", "float64"), ("zeros", "complex64"), ("zeros", "float64"))
    for batch, (mode, dtype) in enumerate(kinds_of_call * (1 if data == "huge" else 2), start=2):
        case = Case.parse(f"n={batch} {small} mode={mode} member={name} dtype={dtype} data={data} {layout}")
        if not case.is_applicable:
            continue
        monkeypatch.undo()
        listed = asked(str(case)).expected
        monkeypatch.setattr(question, "LARGEST_LIST", 0)
        for need, found in asked(str(case)).expected.items():
            one, other = listed[need].exact, found.exact
            assert np.array_equal(one.high, other.high)
            if one.special is None or one.padded is None:
                assert other.special is None or not other.special.any()
                continue
            assert other.special is not None
            assert other.padded is not None
            assert np.array_equal(one.padded, other.padded)
            assert np.array_equal(one.special[~one.padded], other.special[~one.padded], equal_nan=True)
            assert np.array_equal(one.special[one.padded] == 0, other.special[one.padded] == 0)
            kinds["special"] += np.count_nonzero(one.special)
            kinds["padded"] += np.count_nonzero(one.padded)
    assert bool(kinds["special"]) == (data != "huge")
    padded = data != "huge" and any(role in ("y", "w") for role in MEMBERS[name].yields.values())
    assert bool(kinds["padded"]) <= padded
