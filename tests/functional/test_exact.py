"""algorithm="exact": the exact sum, rounded once, bit for bit against rational arithmetic on what is hard to add up."""

from __future__ import annotations

import math
import struct
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

import hard_sums
import numpy as np
import pytest
import rational
from hard_sums import KINDS
from rational import DTYPES, FORMATS, Exact, Format, bits, cases, check, dtype_of, format_of, number, rounded

import arrconv
from arrconv import Geometry
from arrconv.kernels import KERNELS

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST = 400  # numbers that are compared for each kind of data and dtype
SIGN = {name: 1 << form.width - 1 for name, form in FORMATS.items()}


# The judge


@pytest.mark.parametrize("dtype", FORMATS)
def test_the_judge_rounds_to_the_nearest_number_and_ties_to_even(dtype: str) -> None:
    """Between neighbours it needs no other rounding to compare with; the last neighbour of all is infinity."""
    form, rng = FORMATS[dtype], np.random.default_rng(1)
    for pattern in [0, 1, 2, form.infinity - 1, *rng.integers(form.infinity, size=300, dtype=np.uint64).tolist()]:
        whole, exponent = number(pattern, form)
        assert rounded(whole, -exponent, form) == pattern
        even = pattern + pattern % 2
        for places, offset, expected in [(1, 1, even), (90, 2**89 - 1, pattern), (900, 2**899 + 1, pattern + 1)]:
            between = (whole << places) + offset
            assert rounded(between, places - exponent, form) == expected
            assert rounded(-between, places - exponent, form) == expected | SIGN[dtype]
        assert bits(np.ldexp(np.float64(whole), exponent).astype(dtype_of(dtype))) == [pattern]


def test_the_judge_by_hand_and_against_python() -> None:
    assert rounded(2**200 + 2**176 + 1, 200, FORMATS["float32"]) == 0x3F800001
    assert rounded(2**100 + 2**92 + 1, 100, FORMATS["bfloat16"]) == 0x3F81  # 0x3F80 by way of float32
    assert [rounded(v, 0, FORMATS["float16"]) for v in (0, 65519, 65520, -65520)] == [0, 0x7BFF, 0x7C00, 0xFC00]
    assert rounded(-1, 2000, FORMATS["float64"]) == SIGN["float64"]
    rng = np.random.default_rng(2)
    for places in rng.integers(0, 1100, 500).tolist():
        whole = int.from_bytes(rng.bytes(12)) - 2**95
        assert [rounded(whole, places, FORMATS["float64"])] == bits(np.asarray(whole / 2**places))
        half = float(whole >> 43)  # 53 bits
        (expected,) = struct.unpack("H", struct.pack("e", half / 2.0 ** (40 + places % 50)))
        assert rounded(whole >> 43, 40 + places % 50, FORMATS["float16"]) == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_judge_sees_one_wrong_bit(dtype: str) -> None:
    g = Geometry.parse("n=2 c=4 o=6 g=2 x=5 k=2 p=1:0")
    case = next(cases(g, hard_sums.draw(np.random.default_rng(3), g, dtype, "normal")))
    form = format_of(dtype)
    patterns = np.asarray(rational.rounded_bits(case.exact[0], form), f"u{form.width // 8}")
    right = patterns.view(dtype_of(dtype)).reshape(g.output_shape)
    assert rational.case_faults(case, [right]) == []
    patterns[7] ^= 1
    (fault,) = rational.case_faults(case, [right])
    assert fault.startswith("number 7: ")
    assert len(rational.case_faults(case, [right[0]])) == len(rational.case_faults(case, [right.astype(object)])) == 1


# Random geometries, all members, data of every kind


@cache
def geometries(kind: str, dtype: str) -> list[Geometry]:
    """Some of any sort, and some with a transpose; half as many for complex numbers, of which each is two."""
    seed = 1 + KINDS.index(kind) + len(KINDS) * DTYPES.index(dtype)
    drawn = [g for g in hard_sums.small_geometries(60, seed=seed, most=150) if math.prod(g.input_shape) >= 12]
    some = 2 if dtype in rational.PARTS else 4
    return drawn[:some] + [g for g in drawn[some:] if rational.has_transpose(g)][: some // 2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_member_is_rounded_once(kind: str, dtype: str) -> None:
    compared: Counter[str] = Counter()
    rng = np.random.default_rng([KINDS.index(kind), DTYPES.index(dtype)])
    for g in geometries(kind, dtype):
        for case in cases(g, hard_sums.draw(rng, g, dtype, kind)):
            compared[case.member] += check(case)
    assert len(compared) == 7
    assert compared.total() >= LEAST


def test_that_is_more_than_20_000_numbers_of_every_sort() -> None:
    assert len(KINDS) * len(DTYPES) * LEAST > 20_000
    drawn = [g for kind in KINDS for dtype in DTYPES for g in geometries(kind, dtype)]
    assert len({str(g) for g in drawn}) > 250
    assert {(g.ndim, g.padding_mode) for g in drawn if g.ndim} == {
        (ndim, mode) for ndim in (1, 2, 3) for mode in ("zeros", "circular", "reflect", "replicate")
    }
    for seen in (
        lambda g: g.ndim == 0,
        lambda g: g.batch is None,
        lambda g: 1 < g.groups < g.in_channels,
        lambda g: any(a.begin < 0 for a in g.axes),
        lambda g: any(a.begin != a.end for a in g.axes),
        lambda g: any(a.dilation > a.stride > 1 for a in g.axes),
        rational.has_transpose,
    ):
        assert sum(map(seen, drawn)) >= 20


# Zeros, overflow, what a bias leaves, no terms


@pytest.mark.parametrize("dtype", FORMATS)
def test_zeros_and_overflow_by_hand(dtype: str) -> None:
    form = FORMATS[dtype]
    tiny, large = 2.0**form.least, math.ldexp(2.0**form.precision - 1, form.top - form.precision + 1)
    half = 2.0 ** (form.top - form.precision)  # of the last place of the largest number
    sums = [
        ((tiny, -tiny), 0.0), ((-0.0, -0.0), 0.0), ((-0.0,), 0.0), ((-tiny, -0.0), -tiny), ((large, half), math.inf),
        ((-large, -half), -math.inf), ((large, half, -tiny), large), ((-large, -half, tiny), -large),
        ((large, large, -large), large), ((large, large, half, -large, -large), half), ((half, half, large), math.inf),
    ]  # fmt: skip
    products = [((-tiny, tiny), -0.0), ((tiny, tiny), 0.0), ((tiny, -0.5), -0.0), ((-tiny, 0.75), -tiny)]
    products += [((0.0, -large), 0.0), ((-large, large), -math.inf), ((large, 1.5), math.inf)]
    a, b = np.zeros((2, len(sums) + len(products), 5))
    for row, (terms, _) in enumerate(sums):
        a[row, : len(terms)], b[row] = terms, 1
    for row, (pair, _) in enumerate(products, start=len(sums)):
        (a[row, 1], b[row, 1]), a[row, ::2] = pair, -1  # and −1 · 0 = −0
    a, b = a.astype(dtype_of(dtype)), b.astype(dtype_of(dtype))
    expected = bits(np.asarray([value for _, value in sums + products]).astype(dtype_of(dtype)))
    for case in [*hard_sums.dot_products(a, b), hard_sums.sums(a[: len(sums)])]:
        check(case)
        (got,) = case.run(algorithm="exact")
        assert bits(got) == expected[: got.size], case.member
    nothing, bias = np.zeros((2, 0), a.dtype), np.asarray([-0.0, -tiny]).astype(a.dtype)
    assert bits(arrconv.conv(nothing[:1], nothing, bias, algorithm="exact")) == [0, bits(bias)[1]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bias_that_takes_the_result_away_leaves_what_was_rounded_off(dtype: str) -> None:
    g, rng = Geometry.parse("n=1 c=24 o=48 g=4 x=- k=- s=- p=- d=-"), np.random.default_rng(4)
    left = 0
    for kind in ("normal", "wide", "cancelling", "ties"):
        x, w, gy, _, _ = hard_sums.draw(rng, g, dtype, kind)
        y = arrconv.conv(x, w, groups=4, algorithm="exact")
        gx = arrconv.conv_transpose(gy, w, groups=4, algorithm="exact")
        every = cases(g, [x, w, gy, -y[0], -gx[0]])
        made = [case for case in every if case.member in ("conv", "conv_transpose") and len(case.arrays) == 3]
        assert len(made) == 2
        left += sum(map(check, made)) - sum(np.count_nonzero(case.run(algorithm="exact")[0] == 0) for case in made)
        high, low = arrconv.exact_parts("conv", x, w, groups=4)
        if dtype in ("float64", "complex128"):
            assert np.array_equal(y, high)
            assert np.array_equal(made[0].run(algorithm="exact")[0], low)
    assert left > 100


EMPTY = ["n=0 c=2 o=3 x=5 k=2", "n=2 c=0 o=3 x=5 k=2", "n=2 c=2 o=0 x=5 k=2", "n=2 c=2 o=3 x=3 k=5", "c=2 o=3 x=0 k=1"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", EMPTY)
def test_sums_of_nothing_are_the_bias(text: str, dtype: str) -> None:
    g = Geometry.parse(text)
    arrays = hard_sums.draw(np.random.default_rng(6), g, dtype, "normal")
    for case in cases(g, arrays):
        check(case)


# NaN and infinities


def spoil(rng: np.random.Generator, array: np.ndarray) -> None:
    parts = array.view(rational.PARTS[str(array.dtype)]) if array.dtype.kind == "c" else array
    for _ in range(int(rng.integers(1, 4))):
        parts.reshape(-1)[rng.integers(parts.size)] = rng.choice([math.nan, math.inf, -math.inf])


def with_classes(finite: list[Any], classes: Exact, form: Format) -> list[Any]:
    """The bits of results, where some are what Python floats make of NaN and infinities."""
    infinite = {math.inf: form.infinity, -math.inf: form.infinity | 1 << form.width - 1}
    found = rational.interleaved([part.whole.reshape(-1).tolist() for part in classes])
    return [p if math.isfinite(c) else infinite.get(c, "nan") for p, c in zip(finite, found, strict=True)]


def named(array: Any, form: Format) -> list[Any]:
    """The bits of an array, with one name for all NaNs."""
    below = (1 << form.width - 1) - 1
    return ["nan" if pattern & below > form.infinity else pattern for pattern in bits(array)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["normal", "zeros", "full-range", "overflow"])
def test_what_is_not_finite_reaches_its_results_only(kind: str, dtype: str) -> None:
    """Large finite products do not become infinities that would meet others; the rest is rounded as ever."""
    rng, form, wide = np.random.default_rng(9), format_of(dtype), FORMATS["float64"]
    seen: Counter[Any] = Counter()
    for g, spoiled in zip(hard_sums.small_geometries(6, seed=77, most=150), (3, 0, 1, 2, 0, 1), strict=True):
        arrays = hard_sums.draw(rng, g, dtype, kind)
        spoil(rng, arrays[spoiled])
        with np.errstate(invalid="ignore"):
            both = [list(cases(g, arrays, reader)) for reader in (rational.read_finite, rational.read_classes)]
        for case, other in zip(*both, strict=True):
            with np.errstate(invalid="ignore"):
                results, parts = case.run(algorithm="exact"), case.parts()
            for exact, classes, got, (high, low) in zip(case.exact, other.exact, results, parts, strict=True):
                expected = with_classes(rational.rounded_bits(exact, form), classes, form)
                assert named(got, form) == expected, (case.member, str(g))
                assert named(high, wide) == with_classes(rational.rounded_bits(exact, wide), classes, wide)
                lows = zip(
                    rational.remainder_bits(exact), with_classes([0] * len(expected), classes, wide), strict=True
                )
                assert bits(low) == [0 if special else pattern for pattern, special in lows], case.member
                seen.update(min(p, 1) if isinstance(p, int) and p < form.infinity else p for p in expected)
    assert min(seen["nan"], seen[1]) >= 10
    assert seen[form.infinity] >= 2


def test_finite_products_do_not_overflow_into_nan() -> None:
    x, w = np.asarray([[[1e300, 1e300, 1.0, -1e300, math.inf]]]), np.asarray([[[1e300, -1e300]]])
    with np.errstate(invalid="ignore"):
        got = arrconv.conv(x, w, algorithm="exact")
        meeting = arrconv.conv(x[..., 3:], abs(w), algorithm="exact")
    assert got.tolist() == [[[0.0, math.inf, math.inf, -math.inf]]]
    assert meeting.item() == math.inf


# Integers, layouts, what is not needed, names


PLANE = "n=3 c=4 o=2 g=2 x=5,3 k=3,2 s=2,1 p=1:0,2"  # every member has it


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint16"])
def test_integers_are_exact_as_they_are(dtype: str) -> None:
    """Modulo 2**64, with nothing left over."""
    g, rng, low = Geometry.parse(PLANE), np.random.default_rng(10), np.iinfo(dtype).min
    arrays = [rng.integers(low, np.iinfo(dtype).max, shape, dtype, endpoint=True) for shape in rational.shapes(g)]
    for case in rational.calls(g, arrays):
        every = zip(case.run(), case.run(algorithm="exact"), case.parts(), strict=True)
        for ordinary, exact, (high, low) in every:
            assert exact.dtype == high.dtype == low.dtype == np.int64
            assert ordinary.tolist() == exact.tolist() == high.tolist(), case.member
            assert low.shape == high.shape
            assert not low.any()


def inside(array: np.ndarray) -> np.ndarray:
    """The same values in a larger buffer, the other way round."""
    buffer = np.full([2 * size + 1 for size in array.shape], 77, array.dtype)
    view = buffer[(slice(None, 0, -2),) * array.ndim]
    view[...] = array
    return view


def unaligned(array: np.ndarray) -> np.ndarray:
    """The same values at an odd address, not to be written to."""
    return np.frombuffer(b"?" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)


def memory(owner: Any) -> bytes:
    """What an array or a buffer holds."""
    return owner.tobytes() if isinstance(owner, np.ndarray) else bytes(owner)


def swapped(array: np.ndarray) -> np.ndarray:
    """The same values in the other byte order, which ml_dtypes does not have."""
    return array if str(array.dtype) == "bfloat16" else array.astype(array.dtype.newbyteorder())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [np.asfortranarray, inside, unaligned, swapped])
def test_inputs_of_any_layout_are_only_read(layout: Callable[[np.ndarray], np.ndarray], dtype: str) -> None:
    g = Geometry.parse(PLANE)
    plain = hard_sums.draw(np.random.default_rng(11), g, dtype, "wide")
    arrays = [layout(array) for array in plain]
    owners = [array if array.base is None else array.base for array in arrays]
    before = [memory(owner) for owner in owners]
    for case, same in zip(rational.calls(g, arrays), rational.calls(g, plain), strict=True):
        for array, expected in zip(case.run(algorithm="exact"), same.run(algorithm="exact"), strict=True):
            assert array.dtype == dtype_of(dtype)
            assert array.dtype.isnative
            assert array.tobytes() == expected.tobytes(), case.member
            assert array.flags.c_contiguous
            assert array.flags.writeable
            assert not any(np.shares_memory(array, given) for given in arrays)
    assert [memory(owner) for owner in owners] == before


@pytest.mark.parametrize("member", ["conv_backward", "conv_transpose_backward"])
def test_gradients_together_are_those_alone_and_none_where_not_needed(member: str) -> None:
    g = Geometry.parse(PLANE)
    made = rational.calls(g, hard_sums.draw(np.random.default_rng(12), g, "complex64", "cancelling"))
    (case,) = (case for case in made if case.member == member)
    a, w, b = case.arrays
    o = g.options | {"algorithm": "exact"}
    sums = arrconv.conv_grad_bias(b, algorithm="exact")
    if member == "conv_backward":
        size = {"input_size": g.input_size}
        alone = [
            arrconv.conv_grad_input(w, b, **size, **o),
            arrconv.conv_grad_weight(a, b, kernel_size=(3, 2), **o),
            sums,
        ]
    else:
        alone = [arrconv.conv(b, w.conj(), **o), arrconv.conv_grad_weight(b, a, kernel_size=(3, 2), **o).conj(), sums]
    results, parts = case.run(algorithm="exact"), case.parts()
    for together, (high, low), single in zip(results, parts, alone, strict=True):
        assert np.array_equal(together, single)
        assert high.dtype == low.dtype == np.complex128
    needs = {"needs": ("bias", "input")}
    some = case._replace(options=case.options | needs)
    for got, every in [(some.run(algorithm="exact"), results), (some.parts(), parts)]:
        assert got[1] is None
        assert [np.asarray(got[at]).tobytes() for at in (0, 2)] == [np.asarray(every[at]).tobytes() for at in (0, 2)]


def test_exact_is_the_name_of_a_kernel_that_has_to_be_asked_for() -> None:
    x, w = np.ones((2, 3, 5)), np.ones((4, 3, 2))
    choice = arrconv.explain("conv", x, w, algorithm="exact")
    assert choice.kernel == "exact"
    assert set(choice.passed_over) == set(KERNELS)
    choice = arrconv.explain("conv", x, w)
    assert choice.kernel != "exact"
    assert choice.passed_over["exact"]
    with pytest.raises(arrconv.SpecError, match=r"algorithm='sum' is unknown.*exact"):
        arrconv.conv_grad_bias(x, algorithm="sum")
    with pytest.raises(arrconv.SpecError, match="member='convolve' is unknown"):
        arrconv.exact_parts("convolve", x, w)
