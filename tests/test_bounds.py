"""The error bounds against rational arithmetic: they hold, they are not vacuous, and they tell arithmetics apart."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import oracle
import pytest
from geometries import random_geometries

import arrconv
from arrconv import Arithmetic, Geometry, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DTYPES = ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"]
DATA = ["normal", "wide", "subnormal", "cancelling"]
FORMATS = {  # bits of the fraction, exponent of the smallest normal number
    "float16": (10, -14),
    "bfloat16": (7, -126),
    "tf32": (10, -126),
    "float32": (23, -126),
    "float64": (52, -1022),
}
PARTS = {"complex64": "float32", "complex128": "float64"}


def small_geometries(count: int, *, seed: int, most: int = 260) -> Iterator[Geometry]:
    """Batched geometries with so few products that fractions are quick."""
    found = 0
    for number in range(200):
        for g in map(Geometry.batched, random_geometries(20, seed=1000 * seed + number)):
            if math.prod(g.weight_shape) * g.products("w") <= most:
                yield g
                found += 1
            if found == count:
                return
    raise AssertionError("too few geometries")


# Data


def draw(rng: np.random.Generator, shapes: list[tuple[int, ...]], dtype: str, kind: str) -> list[np.ndarray]:
    """Arrays of a dtype that make rounding hard in one way."""
    if dtype not in PARTS:
        return [reals(rng, shape, dtype, kind, at) for at, shape in enumerate(shapes)]
    parts = [[reals(rng, s, PARTS[dtype], kind, at) for at, s in enumerate(shapes)] for _ in range(2)]
    return [(real + 1j * imaginary).astype(dtype) for real, imaginary in zip(*parts, strict=True)]


def reals(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, kind: str, at: int) -> np.ndarray:
    bits, smallest = FORMATS[dtype]
    values = rng.standard_normal(shape)
    if kind == "wide":
        values = np.sign(values) * 10 ** rng.uniform(*((-4, 1) if dtype == "float16" else (-6, 6)), shape)
    elif kind == "subnormal":  # the last is the bias
        tiny = 2.0 ** (smallest // 2) if at % 2 else 2.0 ** (smallest - smallest // 2)
        values = values * tiny * 2.0 ** rng.integers(-bits // 2, 3, shape)
    elif kind == "cancelling":
        values = np.sign(values) * (1 + at + rng.standard_normal(shape) * 2.0 ** (-bits // 2))
    return values.astype(getattr(ml_dtypes, dtype, dtype))


# Exact values


def scaled(array: np.ndarray) -> tuple[np.ndarray, int]:
    """Integers, and how many binary places they are shifted by."""
    ratios = [float(value).as_integer_ratio() for value in array.flat]
    places = max((bottom.bit_length() - 1 for _, bottom in ratios), default=0)
    whole = np.empty(array.shape, dtype=object)
    whole.flat = [top << (places - bottom.bit_length() + 1) for top, bottom in ratios]
    return whole, places


def exactly(call: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """A product of real arrays by the index loop, as Fractions."""
    integers, places = zip(*map(scaled, arrays), strict=True)
    return np.vectorize(lambda v: Fraction(v, 2 ** sum(places)), otypes=[object])(call(*integers))


Parts = list[np.ndarray]  # of exact real parts, and of imaginary parts where it is complex


def member_parts(call: Callable[..., np.ndarray], arrays: list[np.ndarray], *, adjoint: bool) -> Parts:
    """The exact result of a linear or bilinear member; an adjoint conjugates its first array."""
    if arrays[0].dtype.kind != "c":
        return [exactly(call, *arrays)]
    if len(arrays) == 1:
        return [exactly(call, arrays[0].real), exactly(call, arrays[0].imag)]
    a, b = arrays
    a = np.conj(a) if adjoint else a
    return [
        exactly(call, a.real, b.real) - exactly(call, a.imag, b.imag),
        exactly(call, a.real, b.imag) + exactly(call, a.imag, b.real),
    ]


def add_bias(parts: Parts, bias: np.ndarray) -> Parts:
    column = bias.reshape(-1, *(1,) * (parts[0].ndim - 2))
    return [p + exactly(lambda b: b, b) for p, b in zip(parts, (column.real, column.imag), strict=False)]


def members(g: Geometry, arrays: list[np.ndarray]) -> Iterator[tuple[str, Any, dict[str, Any], Parts]]:
    """Every member with its arrays, its options and its exact result."""
    o = g.options
    x, w, gy, b, back = arrays
    forward = member_parts(lambda x, w: oracle.conv(x, w, None, **o), [x, w], adjoint=False)
    yield "conv", (x, w), o, forward
    yield "conv", (x, w, b), o, add_bias(forward, b)
    exact = member_parts(lambda w, y: oracle.transpose_input(w, y, g.input_size, **o), [w, gy], adjoint=True)
    yield "conv_grad_input", (w, gy), o | {"input_size": g.input_size}, exact
    exact = member_parts(lambda x, y: oracle.transpose_weight(x, y, g.kernel_size, **o), [x, gy], adjoint=True)
    yield "conv_grad_weight", (x, gy), o | {"kernel_size": g.kernel_size}, exact
    yield "conv_grad_bias", (gy,), {}, member_parts(oracle.grad_bias, [gy], adjoint=False)
    if g.padding_mode == "zeros" and all(0 <= a.slack < max(a.stride, a.dilation) for a in g.axes):
        t = {name: value for name, value in o.items() if name != "padding_mode"} | {"output_padding": g.slack}
        exact = member_parts(lambda y, w: oracle.conv_transpose(y, w, None, **t), [gy, w], adjoint=False)
        yield "conv_transpose", (gy, w, back), t, add_bias(exact, back)


def squared_errors(got: np.ndarray, exact: Parts) -> list[Fraction]:
    """|got − exact|², exactly."""
    got = np.asarray(got)
    pieces = [got.real, got.imag] if len(exact) == 2 else [got.astype(np.float64)]
    columns = [
        [(Fraction(float(value)) - truth) ** 2 for value, truth in zip(piece.flat, part.flat, strict=True)]
        for piece, part in zip(pieces, exact, strict=True)
    ]
    return [sum(parts) for parts in zip(*columns, strict=True)]  # type: ignore[misc]


def shapes_of(g: Geometry) -> list[tuple[int, ...]]:
    return [g.input_shape, g.weight_shape, g.output_shape, (g.out_channels,), (g.in_channels,)]


def largest_share(got: np.ndarray, exact: Parts, bound: np.ndarray) -> float:
    """The largest share of its bound that any error takes; above 1 the bound is broken."""
    assert got.shape == exact[0].shape == bound.shape
    share = Fraction(0)
    for square, limit in zip(squared_errors(got, exact), np.asarray(bound).flat, strict=True):
        assert math.isfinite(limit)
        assert limit > 0 or square == 0
        share = max(share, square / Fraction(float(limit)) ** 2 if square else Fraction(0))
    return 2.0 if 1 < share < 1 + 2**-40 else math.sqrt(share)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", DATA)
def test_every_result_is_within_its_bound(kind: str, dtype: str) -> None:
    rng = np.random.default_rng([DTYPES.index(dtype), DATA.index(kind)])
    checked: Counter[str] = Counter()
    for g in small_geometries(24, seed=DTYPES.index(dtype), most=120 if dtype in PARTS else 260):
        for name, arrays, options, exact in members(g, draw(rng, shapes_of(g), dtype, kind)):
            bound = arrconv.error_bound(name, *arrays, **options)
            assert bound.dtype == np.float64
            for kernel in [{"algorithm": name} for name in ("table", "gemm", "taps")] if options else [{}]:
                share = largest_share(getattr(arrconv, name)(*arrays, **options, **kernel), exact, bound)
                assert share <= 1, (name, kernel, str(g), share)
            checked[name] += 1
    assert checked["conv"] == 48
    assert checked["conv_transpose"] >= 3


# Shape, dtype, and what needs no bound


def test_the_bound_has_the_shape_of_the_result() -> None:
    g = Geometry.parse("c=4 o=6 g=2 x=9,7 k=3,2 s=2,1 p=1:0,2 mode=reflect")
    o = g.options
    rng = np.random.default_rng(1)
    for dtype in DTYPES:
        x, w, gy = draw(rng, [g.input_shape, g.weight_shape, g.output_shape], dtype, "normal")
        bounds = arrconv.error_bound("conv_backward", x, w, gy, needs=("input", "bias"), **o)
        assert bounds.weight is None
        alone = arrconv.error_bound("conv_grad_input", w, gy, input_size=(9, 7), **o)
        sums = arrconv.error_bound("conv_grad_bias", gy, spatial_ndim=2)
        for bound, same, shape in ((bounds.input, alone, (4, 9, 7)), (bounds.bias, sums, (6,))):
            assert bound.shape == shape
            assert bound.dtype == np.float64
            assert np.array_equal(bound, same)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint16"])
def test_integers_have_no_error(dtype: str) -> None:
    x, w = np.ones((2, 3, 9), dtype), np.ones((4, 3, 2), dtype)
    grad_weight = arrconv.error_bound("conv_grad_weight", x, x, kernel_size=(1,))
    grad_bias = arrconv.error_bound("conv_grad_bias", x)
    for bound, shape in ((arrconv.error_bound("conv", x, w), (2, 4, 8)), (grad_weight, (3, 3, 1)), (grad_bias, (3,))):
        assert bound.dtype == np.float64
        assert bound.shape == shape
        assert not bound.any()


def test_components_near_the_largest_number_have_a_finite_bound() -> None:
    """The modulus of a complex number may exceed what its parts' format holds."""
    x = np.full((1, 1, 2), 3e38 + 3e38j, np.complex64)
    w = np.full((1, 1, 1), 2**-20, np.complex64)
    assert np.isfinite(arrconv.error_bound("conv", x, w)).all()  # and no warning, which would be an error here


def test_subnormal_moduli_are_not_rounded_down() -> None:
    """B holds |x| as it is, not as a complex64's own absolute value rounds it."""
    tiny = 2.0**-149
    x = np.full((1, 1, 2), complex(tiny, tiny), np.complex64)
    w = np.full((1, 1, 1), 2.0**120, np.complex64)
    bound = arrconv.error_bound("conv", x, w, arithmetic=Arithmetic("bfloat16", "float32", "float32"))
    magnitude = math.sqrt(2) * tiny * 2.0**120
    assert (bound >= math.sqrt(2) * ((1 + 2.0**-8) ** 2 - 1) * magnitude * (1 - 1e-12)).all()


# Not vacuous


@pytest.mark.parametrize("dtype", DTYPES[:4])
def test_the_bound_is_no_larger_than_the_sum_warrants(dtype: str) -> None:
    """At most 4·K·u·B, B = |x| ⋆ |w| in fractions; a narrower result adds its own rounding."""
    rng = np.random.default_rng(3)
    bits = FORMATS["float32" if "16" in dtype else dtype][0]
    for g in small_geometries(16, seed=33):
        arrays = draw(rng, shapes_of(g), dtype, "normal")
        terms = {"conv": g.products("y"), "conv_grad_input": g.products("x"), "conv_grad_weight": g.products("w")}
        pairs = zip(members(g, arrays), members(g, [np.abs(a.astype(np.float64)) for a in arrays]), strict=True)
        for (name, given, options, exact), (_, _, _, magnitude) in pairs:
            if name not in terms or len(given) == 3:
                continue
            bound = arrconv.error_bound(name, *given, **options)
            for limit, value, B in zip(bound.flat, exact[0].flat, magnitude[0].flat, strict=True):
                allowed = 4 * terms[name] * B * Fraction(2) ** (-bits - 1) + terms[name] * Fraction(2) ** -120
                if "16" in dtype:
                    allowed += Fraction(2) ** -FORMATS[dtype][0] * (abs(value) + allowed) + Fraction(2) ** -24
                assert Fraction(float(limit)) <= allowed, (name, str(g))


@pytest.mark.parametrize("dtype", DTYPES[:4])
def test_a_single_product_takes_nearly_all_of_its_bound(dtype: str) -> None:
    rng = np.random.default_rng(4)
    x, w = draw(rng, [(1, 1, 4000), (1, 1, 1)], dtype, "normal")
    exact = [exactly(lambda x, w: x * w, x, w)]
    bound = arrconv.error_bound("conv", x, w)
    assert 0.9 < largest_share(arrconv.conv(x, w), exact, bound) <= 1


def test_powers_of_two_by_hand() -> None:
    x, w = np.full((1, 3, 2), 2.0, np.float32), np.full((1, 3, 1), 4.0, np.float32)
    u = 2.0**-24
    for bias, expected in (((), 3 * u * 24), ((np.full(1, -8.0, np.float32),), 4 * u * 32)):
        bound = arrconv.error_bound("conv", x, w, *bias)
        assert np.all((expected <= bound) & (bound < expected * (1 + 1e-12) + 1e-40))
    bound = arrconv.error_bound("conv", x.astype(complex), w.astype(complex))
    expected = math.sqrt(2) * 6 * 2.0**-53 * 24
    assert np.all((expected <= bound) & (bound < expected * (1 + 1e-12)))
    rounded = arrconv.error_bound("conv", x, w, arithmetic=Arithmetic("tf32", "float32", "float32"))
    expected = ((1 + 2.0**-11) ** 2 * (1 + 3 * u) - 1) * 24
    assert np.all((expected <= rounded) & (rounded < expected * (1 + 1e-12)))
    flushed = arrconv.error_bound("conv", 0 * x, w, arithmetic=Arithmetic("float32", "float32", "float32", True))
    least = 3 * 2.0**-126
    assert np.all((least <= flushed) & (flushed < 1.001 * least))


# Other arithmetics, emulated one operation at a time


def nearest(name: str, flush: bool = False) -> Callable[[float], float]:
    """Rounding to the nearest number of a format, ties to even; subnormal numbers become zero where they flush."""
    bits, smallest = FORMATS[name]

    def to(value: float) -> float:
        if flush and abs(value) < 2.0**smallest:
            return 0.0
        place = max(math.frexp(value)[1] - 1, smallest) - bits
        return math.ldexp(round(math.ldexp(value, -place)), place)

    return to


def emulate(x: np.ndarray, w: np.ndarray, g: Geometry, claimed: Arithmetic, seed: int = 0) -> np.ndarray:
    """`conv` in a claimed arithmetic, added up in a random order; at most float32, so that float64 is exact enough."""
    given, output = nearest(claimed.input), nearest(claimed.output)
    accumulate = nearest(claimed.accumulate, claimed.flushes_subnormals)
    y = np.zeros(g.output_shape)
    terms = list(oracle.products(g.input_shape, g.weight_shape, g.output_shape, **g.options))
    for number in np.random.default_rng(seed).permutation(len(terms)):
        read, tap, place = terms[number]
        value = 0.0 if read is None else given(float(x[read]))
        y[place] = accumulate(y[place] + accumulate(value * given(float(w[tap]))))
    return np.vectorize(output)(y)


def emulated_shares(claimed: Arithmetic, case: str, scale: float, seed: int) -> tuple[float, float]:
    """The largest share of the claimed arithmetic's bound that the emulation takes, and of that of float32."""
    g, rng = Geometry.parse(case), np.random.default_rng(seed)
    x, w = (rng.uniform(1, 8, s) * rng.choice([-1, 1], s) / 4 for s in (g.input_shape, g.weight_shape))
    x, w = x.astype(np.float32), (w * scale).astype(np.float32)
    exact = member_parts(lambda x, w: oracle.conv(x, w, None, **g.options), [x, w], adjoint=False)
    got = emulate(x, w, g, claimed, seed)
    bounds = (arrconv.error_bound("conv", x, w, arithmetic=a, **g.options) for a in (claimed, "float32"))
    return tuple(largest_share(got, exact, bound) for bound in bounds)  # type: ignore[return-value]


CASES = ["n=2 c=1 o=3 x=9 k=1", "n=1 c=3 o=2 x=5,4 k=3,3 p=1,0", "n=2 c=16 o=1 x=3,5 k=2,2", "n=1 c=64 o=2 x=9 k=1"]
TRIPLES = [
    ("tf32", "float32", "float32"),
    ("bfloat16", "float32", "float32"),
    ("bfloat16", "float32", "bfloat16"),
    ("float16", "float16", "float16"),
    ("bfloat16", "float16", "float16"),
    ("bfloat16", "bfloat16", "bfloat16"),
    ("float32", "float16", "float32"),
    ("float32", "tf32", "float16"),
    ("tf32", "tf32", "float16"),
    ("bfloat16", "bfloat16", "float16"),
    ("float32", "float32", "float16"),
]


@pytest.mark.parametrize("scale", [1.0, 2.0**-12, 2.0**-23], ids=["ordinary", "small", "tiny"])
@pytest.mark.parametrize("triple", TRIPLES, ids="-".join)
def test_an_emulated_arithmetic_stays_within_its_own_bound_alone(triple: tuple[str, str, str], scale: float) -> None:
    if triple[0] == "float16" and scale < 2.0**-14:
        scale = 2.0**-10  # inputs that are rounded first are normal numbers
    shares = [emulated_shares(Arithmetic(*triple), case, scale, seed) for case in CASES for seed in range(2)]
    assert max(own for own, _ in shares) <= 1
    for at in range(0, len(shares), 2):  # for every K up to 64, TF32's own included
        assert max(single for _, single in shares[at : at + 2]) > 1, CASES[at // 2]


@pytest.mark.parametrize("case", CASES)
def test_flushing_subnormals_needs_to_be_claimed(case: str) -> None:
    flushing = Arithmetic("float32", "float32", "float32", flushes_subnormals=True)
    own, single = emulated_shares(flushing, case, 2.0**-126, 5)
    assert own <= 1 < single
    assert emulated_shares(Arithmetic.of("float32"), case, 2.0**-126, 5)[0] <= 1


# Many positions folded onto one input


@pytest.mark.parametrize("kernel", ["table", "gemm", "taps"])
@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_folded_padding_is_within_its_bound(dtype: str, mode: str, kernel: str) -> None:
    g = Geometry.parse(f"n=2 c=2 o=3 x=2,3 k=2,1 p=17:12,4:0 mode={mode}")
    o, rng = g.options, np.random.default_rng(6)
    w, gy = draw(rng, [g.weight_shape, g.output_shape], dtype, "normal")
    exact = member_parts(lambda w, y: oracle.transpose_input(w, y, (2, 3), **o), [w, gy], adjoint=True)
    bound = arrconv.error_bound("conv_grad_input", w, gy, input_size=(2, 3), **o)
    got = arrconv.conv_grad_input(w, gy, input_size=(2, 3), algorithm=kernel, **o)
    assert largest_share(got, exact, bound) <= 1


def test_an_input_on_which_small_numbers_get_lost_fold_after_fold() -> None:
    w, gy = np.ones((1, 1, 1), np.float32), np.full((1, 1, 71), 0.99 * 2.0**-24, np.float32)
    gy[..., 0] = 1
    o = {"input_size": (1,), "padding": ((40, 30),), "padding_mode": "circular"}
    exact = [exactly(lambda gy: gy.sum(2, keepdims=True), gy)]
    bound = arrconv.error_bound("conv_grad_input", w, gy, **o)
    assert largest_share(arrconv.conv_grad_input(w, gy, **o), exact, bound) <= 1


# What cannot be claimed


@pytest.mark.parametrize("role", range(3))
@pytest.mark.parametrize("wrong", ["float8", "int8", "complex64", "auto", "", None, 32, np.float32])
def test_an_unknown_format_is_refused(wrong: Any, role: int) -> None:
    triple: list[Any] = ["float32"] * 3
    triple[role] = wrong
    with pytest.raises(
        SpecError, match="is no known format; the formats are float16, bfloat16, tf32, float32, float64"
    ):
        Arithmetic(*triple)


def test_the_arithmetic_of_each_dtype() -> None:
    assert Arithmetic.of("bfloat16") == Arithmetic("bfloat16", "float32", "bfloat16")
    assert Arithmetic.of("complex64") == Arithmetic("float32", "float32", "float32")
    assert Arithmetic.of("complex128") == Arithmetic("float64", "float64", "float64", flushes_subnormals=False)
    x, w = np.ones((1, 2, 5), np.float32), np.ones((3, 2, 2), np.float32)
    named, given = (arrconv.error_bound("conv", x, w, arithmetic=a) for a in ("float16", Arithmetic.of("float16")))
    assert np.array_equal(named, given)
    assert (named > arrconv.error_bound("conv", x, w)).all()
