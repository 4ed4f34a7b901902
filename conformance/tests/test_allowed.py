"""How far off an answer may be: not at all where every order of summation is exact, else by the claimed bound."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from arrconv_conformance import Case
from arrconv_conformance.claims import Claim
from arrconv_conformance.data import is_available, numpy_dtype
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.question import Question

import arrconv
from arrconv import Arithmetic

GEOMETRY = "n=2 c=4 o=6 g=2 x=7,5 k=3,2 s=2,1 p=1:0,1 d=1,2"
MEMBERS_AND_RESULTS = [(name, need) for name, member in MEMBERS.items() for need in member.yields]
FORMATS = {  # significant bits, exponent of the smallest number, exponent of the largest power of two
    "float16": (11, -24, 15),
    "bfloat16": (8, -133, 127),
    "tf32": (11, -136, 127),
    "float32": (24, -149, 127),
    "float64": (53, -1074, 1023),
}


def asked(text: str, arithmetic: Arithmetic | None = None) -> Question:
    case = Case.parse(text)
    claim = Claim.of(SimpleNamespace(name="mine"), str(case.dtype))
    return Question(case, claim if arithmetic is None else replace(claim, arithmetic=arithmetic))


# The bound


@pytest.mark.parametrize(
    ("dtype", "changes"),
    [
        ("float32", {}),
        ("float64", {}),
        ("float16", {}),
        ("complex64", {}),
        ("float32", {"input": "tf32"}),
        ("float32", {"flushes_subnormals": True}),
        ("float64", {"accumulate": "float32"}),
    ],
)
@pytest.mark.parametrize(("name", "need"), MEMBERS_AND_RESULTS)
def test_the_bound_is_that_of_the_claimed_arithmetic(name: str, need: str, dtype: str, changes: dict[str, str]) -> None:
    arithmetic = replace(Arithmetic.of(dtype), **changes)
    made = asked(f"{GEOMETRY} member={name} dtype={dtype} data=wide", arithmetic)
    bounds: Any = arrconv.error_bound(
        made.member.function,
        *(made.operands[role] for role in made.member.takes),
        arithmetic=arithmetic,
        **made.options,
    )
    allowed = made.expected[need].allowed
    assert allowed is not None
    bound = bounds if need == "result" else getattr(bounds, need)
    assert allowed.shape == bound.shape
    assert np.all((allowed == bound) | (allowed == 0))
    assert np.count_nonzero(allowed) > allowed.size / 2


def test_a_float16_result_that_may_overflow_may_be_anything() -> None:
    arithmetic = Arithmetic("float16", "float16", "float16")
    for size, may_overflow in ((250.0, False), (255.0, False), (256.0, True), (300.0, True)):
        made = asked("n=1 c=1 o=1 x=- k=- member=conv dtype=float16 data=uniform", arithmetic)
        vars(made)["operands"] = {
            "x": np.array([[size]], np.float16),
            "w": np.array([[255.75]], np.float16),
            "bias": np.array([0.0625], np.float16),
        }
        allowed = made.expected["result"].allowed
        assert allowed is not None
        assert np.isinf(allowed).all() == may_overflow
        assert allowed.item() > 60


# Where a sum must be exact


def representable(number: Fraction, name: str, *, flushed: bool = False) -> bool:
    bits, least, top = FORMATS[name]
    if not number:
        return True
    if flushed:
        least += bits - 1
        if abs(number) < Fraction(2) ** least:
            return False
    odd = abs(number.numerator)
    shift = (odd & -odd).bit_length() - 1 - (number.denominator.bit_length() - 1)
    length = odd.bit_length() - ((odd & -odd).bit_length() - 1)
    return length <= bits and (flushed or shift >= least) and abs(number) < Fraction(2) ** (top + 1)


def is_exact_in_any_order(terms: list[Fraction], inputs: list[Fraction], arithmetic: Arithmetic) -> bool:
    """Whether all sums of some of the terms are numbers of the accumulator, and all inputs ones of the input format."""
    flushed = arithmetic.flushes_subnormals
    sums = [sum(some, Fraction(0)) for size in range(1, len(terms) + 1) for some in combinations(terms, size)]
    if not all(representable(number, arithmetic.accumulate, flushed=flushed) for number in sums):
        return False
    bits, least, top = FORMATS[arithmetic.output]
    total = sums[-1]
    in_range = abs(total) < Fraction(2) ** top * (2 - Fraction(1, 2**bits))
    if flushed and total and abs(total) < Fraction(2) ** (least + bits - 1):
        return False
    return in_range and all(representable(number, arithmetic.input) for number in inputs)


ARITHMETICS = [
    ("float16", Arithmetic("float16", "float16", "float16")),
    ("float16", Arithmetic("float16", "float32", "float16")),
    ("float16", Arithmetic("float16", "float16", "float32")),
    ("float16", Arithmetic("float16", "float32", "float16", flushes_subnormals=True)),
    ("float32", Arithmetic("float32", "float32", "float32")),
    ("float32", Arithmetic("tf32", "float32", "float32")),
    ("float32", Arithmetic("float16", "float32", "float32")),
    ("float32", Arithmetic("bfloat16", "bfloat16", "bfloat16")),
    ("float32", Arithmetic("float32", "float32", "float32", flushes_subnormals=True)),
    ("float64", Arithmetic("float64", "float32", "float64")),
]


def drawn(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    """Numbers of few bits, at and beyond the ends of what formats hold."""
    least, top = {"float16": (-24, 15), "float32": (-149, 60), "float64": (-300, 300)}[dtype]
    level = int(rng.choice([0, 0, 0, least, least + 11, least // 2, top - 12, top - 4]))
    bits = int(rng.choice([1, 3, 3, 5, 8, 10, 12, 24]))
    integers = rng.integers(-(2**bits), 2**bits + 1, shape).astype(np.float64)
    return np.ldexp(integers, level).astype(dtype)


@pytest.mark.parametrize(("dtype", "arithmetic"), ARITHMETICS, ids=str)
def test_no_error_is_allowed_only_where_every_order_of_summation_makes_none(dtype: str, arithmetic: Arithmetic) -> None:
    """Four products and a bias, in all orders and all ways to bracket them: the sums of all subsets."""
    rng = np.random.default_rng(5)
    verdicts: Counter[tuple[bool, bool]] = Counter()
    for _ in range(200):
        made = asked(f"n=1 c=4 o=2 x=- k=- member=conv dtype={dtype} data=ones", arithmetic)
        with np.errstate(over="ignore"):
            x, w, bias = (drawn(rng, shape, dtype) for shape in ((1, 4), (2, 4), (2,)))
        if not all(np.isfinite(array).all() for array in (x, w, bias)):
            continue
        vars(made)["operands"] = {"x": x, "w": w, "bias": bias * (rng.random() < 0.5)}
        allowed = made.expected["result"].allowed
        assert allowed is not None
        for row in range(2):
            inputs = [Fraction(float(number)) for number in (*x[0], *w[row])]
            terms = [a * b for a, b in zip(inputs[:4], inputs[4:], strict=True)]
            terms.append(Fraction(float(made.operands["bias"][row])))
            verdicts[bool(allowed[0, row] == 0), is_exact_in_any_order(terms, inputs, arithmetic)] += 1
    assert verdicts[True, False] == 0
    assert verdicts[True, True] > 2  # and it is said where it is so
    assert verdicts[False, False] > 20


@pytest.mark.parametrize(
    ("dtype", "unit", "sizes", "is_exact"),
    [
        ("float32", 0, [2**24 - 2, 1], True),  # the sum of the absolute values counts
        ("float32", 0, [2**24 - 2, -3], False),
        ("float64", 0, [2**53 - 2, 1], True),
        ("float64", 0, [2**53 - 2, 3], False),
        ("float64", 0, [2**53, 1], False),  # in float64 the two add up to 2^53 again
        ("complex64", 0, [2**24 - 2, -1], True),
        ("complex64", 0, [2**24 - 2, 3], False),
        ("float32", -149, [2**24 - 2, 1], True),
        ("float32", -150, [2, 1], False),  # a product below the smallest number
        ("float64", -1074, [2, -1], True),
        ("float64", -1075, [2, 1], False),
    ],
)
def test_up_to_the_last_integer_that_the_accumulator_holds(
    dtype: str, unit: int, sizes: list[int], is_exact: bool
) -> None:
    made = asked(f"n=1 c=2 o=1 x=- k=- member=conv dtype={dtype} data=ones bias=none")
    vars(made)["operands"] = {
        "x": np.full((1, 2), 2.0 ** (unit // 2), dtype),
        "w": np.ldexp(np.array([sizes], float), unit - unit // 2).astype(dtype),
    }
    allowed = made.expected["result"].allowed
    assert allowed is not None
    assert (allowed.item() == 0) == is_exact


def test_sums_of_integers_are_right_to_the_last_bit() -> None:
    for dtype in ("int64", "int8", "uint8"):
        found = asked(f"{GEOMETRY} member=conv_grad_weight dtype={dtype} data=extremes").expected["weight"]
        assert found.allowed is None
        assert found.magnitude is None


def test_the_formats_of_this_test_are_numpys() -> None:
    for name, (bits, least, top) in FORMATS.items():
        if name == "tf32" or not is_available(name):
            continue
        made = numpy_dtype(name).type
        assert float(made(2.0**least)) == 2.0**least
        assert float(made(2.0**top)) == 2.0**top
        assert float(made(1 + 2.0 ** (1 - bits))) == 1 + 2.0 ** (1 - bits)
        assert representable(Fraction(2) ** least, name)
        assert not representable(Fraction(2) ** (least - 1), name)
        assert not representable(Fraction(2**bits + 1), name)
        assert representable(Fraction(2**bits), name)
