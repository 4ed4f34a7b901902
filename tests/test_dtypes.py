"""Each dtype's contract: 16 bits rounded once, integers exact modulo 2^64, complex with and without conjugates."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import array_api_strict
import ml_dtypes
import numpy as np
import oracle
import pytest
from geometries import random_geometries

import arrconv
from arrconv import Geometry
from arrconv._namespace import backend_of
from arrconv.kernels import table

REALS = ["float32", "float64"]
COMPLEXES = ["complex64", "complex128"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
HALVES = {"float16": 10, "bfloat16": 7}  # bits of the fraction
LIBRARIES = ["numpy-gemm", "numpy-taps", "strict-taps", "torch-taps"]
ALL = [
    (library, dtype)
    for library in LIBRARIES
    for dtype in [*HALVES, *REALS, *COMPLEXES, *INTEGERS]
    if not (library.startswith("strict") and dtype in HALVES)
]
GEOMETRY = Geometry.parse("n=2 c=4 o=6 g=2 x=7,9 k=3,2 s=2,1 p=1:2,0:1 d=1,2")


class Library:
    """Arrays of one library in one dtype, and back to NumPy; and the kernel to ask for."""

    def __init__(self, name: str, dtype: str) -> None:
        library, _, self.algorithm = name.partition("-")
        self.dtype, self.is_torch = dtype, library == "torch"
        if self.is_torch:
            self._torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        self._put: Any = {"numpy": np.asarray, "strict": array_api_strict.asarray}.get(library)

    def put(self, array: np.ndarray) -> Any:
        if not self.is_torch:
            return self._put(array.astype(numpy_dtype(self.dtype)))
        if self.dtype in HALVES:
            return self._torch.asarray(array.astype(np.float64)).to(getattr(self._torch, self.dtype))
        return self._torch.asarray(array.astype(self.dtype))

    def get(self, array: Any) -> np.ndarray:
        """In float64 where NumPy would not know the dtype."""
        return np.asarray(array.to(self._torch.float64) if self.is_torch and self.dtype in HALVES else array)

    def name_of(self, dtype: Any) -> str:
        if isinstance(dtype, type):  # NumPy names a dtype by its scalar type as well
            dtype = np.dtype(dtype)
        return str(dtype).rpartition(".")[2]


def numpy_dtype(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


def draw(rng: np.random.Generator, g: Geometry, largest: int, *, is_complex: bool = False) -> list[np.ndarray]:
    """Whole numbers as x, w, gy and bias, batched."""
    g = g.batched()
    shapes = (g.input_shape, g.weight_shape, g.output_shape, (g.out_channels,))
    real, imaginary = ([rng.integers(-largest, largest + 1, shape) for shape in shapes] for _ in range(2))
    return [a + 1j * b if is_complex else a for a, b in zip(real, imaginary, strict=True)]


def compute(library: Library, g: Geometry, arrays: list[np.ndarray], *, bias: bool = True) -> list[Any]:
    """The result of every member, in the library's own arrays."""
    o = g.options | {"algorithm": library.algorithm}
    x, w, gy, b = (library.put(array) for array in arrays)
    return [
        arrconv.conv(x, w, b if bias else None, **o),
        arrconv.conv_grad_input(w, gy, input_size=g.input_size, **o),
        arrconv.conv_grad_weight(x, gy, kernel_size=g.kernel_size, **o),
        arrconv.conv_grad_bias(gy),
    ]


def judge(g: Geometry, arrays: list[np.ndarray], *, bias: bool = True) -> list[np.ndarray]:
    """The same by the index loop; gradients are adjoints, which conjugate."""
    o = g.options
    x, w, gy, b = (array.astype(object) for array in arrays)
    return [
        oracle.conv(x, w, b if bias else None, **o),
        oracle.transpose_input(np.conj(w), gy, g.input_size, **o),
        oracle.transpose_weight(np.conj(x), gy, g.kernel_size, **o),
        oracle.grad_bias(gy),
    ]


# What comes out


@pytest.mark.parametrize(("name", "dtype"), ALL)
def test_result_dtype_and_accumulator(name: str, dtype: str) -> None:
    library = Library(name, dtype)
    arrays = draw(np.random.default_rng(1), GEOMETRY, 3)
    result = "int64" if dtype in INTEGERS else dtype
    for got in compute(library, GEOMETRY, arrays):
        assert library.name_of(got.dtype) == result
    backend = backend_of(x=library.put(arrays[0]))
    accumulator = "float32" if dtype in HALVES else result
    assert library.name_of(library.put(arrays[0]).dtype) == dtype
    assert [library.name_of(each) for each in (backend.result, backend.accumulator)] == [result, accumulator]
    transposed = arrconv.conv_transpose(library.put(arrays[2][:, :, :3, :4]), library.put(arrays[1]), groups=2)
    assert library.name_of(transposed.dtype) == result


@pytest.mark.parametrize("dtype", ["bool", "bool_"])
def test_bool_is_refused(dtype: str) -> None:
    x = np.ones((1, 1, 3), getattr(np, dtype))
    with pytest.raises(arrconv.DTypeError, match="bool"):
        arrconv.conv(x, x)


# Integers


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_exact_modulo_two_to_the_64(dtype: str, name: str) -> None:
    library, rng, info = Library(name, dtype), np.random.default_rng(2), np.iinfo(dtype)
    for number, g in enumerate(random_geometries(10, seed=31)):
        g = g.batched()
        arrays = [
            rng.integers(info.min, info.max, array.shape, dtype=dtype, endpoint=True) for array in draw(rng, g, 1)
        ]
        arrays[number % 4].flat[0] = info.max
        for got, expected in zip(compute(library, g, arrays), judge(g, arrays), strict=True):
            wrapped = (expected + 2**63) % 2**64 - 2**63
            assert np.array_equal(library.get(got), wrapped.astype(np.int64)), str(g)


def test_the_largest_products_wrap_as_python_says() -> None:
    most = np.full((1, 1, 1), 2**64 - 1, np.uint64)
    least = np.full((1, 1, 1), -(2**63), np.int64)
    for algorithm in ("table", "gemm", "taps"):
        assert arrconv.conv(most, most, algorithm=algorithm).item() == 1
        assert arrconv.conv(least, least, algorithm=algorithm).item() == 0
        assert arrconv.conv(least, np.full_like(least, 3), algorithm=algorithm).item() == -(2**63)
        narrow = np.full((1, 300, 1), -128, np.int8)
        assert arrconv.conv(narrow, narrow, algorithm=algorithm).item() == 300 * 128 * 128
        assert arrconv.conv(most, narrow[:, :1], algorithm=algorithm).item() == 128  # integers may differ in dtype


# 16 bits


def nearest(value: int, fraction_bits: int) -> int:
    """The integer rounded to so many bits after its first, ties to even."""
    shift = max(0, abs(value).bit_length() - fraction_bits - 1)
    unit = 2**shift
    quotient, rest = divmod(abs(value), unit)
    quotient += 2 * rest > unit or (2 * rest == unit and quotient % 2)
    return quotient * unit * (1 if value > 0 else -1)


def test_nearest_rounds_half_to_even() -> None:
    assert [nearest(v, 10) for v in (2047, 2049, 2051, -2051, 4098, 4102, 0)] == [
        2047,
        2048,
        2052,
        -2052,
        4096,
        4104,
        0,
    ]
    for value in range(1, 60000, 7):
        assert nearest(value, 10) == float(np.float16(value))


@pytest.mark.parametrize("name", ["numpy-gemm", "numpy-taps", "torch-taps"])
@pytest.mark.parametrize("dtype", HALVES)
def test_sums_beyond_the_format_are_rounded_once(dtype: str, name: str) -> None:
    """Sums that float32 holds exactly, and 16 bits do not: the nearest number, ties to even."""
    library, rng = Library(name, dtype), np.random.default_rng(3)
    rounded = ties = 0
    for g in random_geometries(24, seed=41):
        g = g.batched()
        arrays = draw(rng, g, 48)
        for got, exact in zip(compute(library, g, arrays), judge(g, arrays), strict=True):
            assert max(map(abs, exact.flat), default=0) < 2**16 - 2**5, str(g)  # nothing overflows
            expected = np.vectorize(lambda v: nearest(v, HALVES[dtype]), otypes=[np.float64])(exact)
            assert np.array_equal(library.get(got).astype(np.float64), expected), str(g)
            rounded += int(np.sum(expected != exact))
            ties += sum(2 * abs(v - e) == 2 ** (abs(v).bit_length() - HALVES[dtype] - 1)
                        for v, e in zip(exact.flat, expected.flat, strict=True))  # fmt: skip
    assert rounded > 500
    assert ties > 100


@pytest.mark.parametrize("name", ["numpy-gemm", "numpy-taps", "torch-taps"])
@pytest.mark.parametrize("dtype", HALVES)
def test_long_sums_of_ones_do_not_stall(dtype: str, name: str) -> None:
    """Added up in 16 bits, 4,096 ones would be 2,048 in float16 and 256 in bfloat16."""
    library, a = Library(name, dtype), Library(name, dtype).algorithm
    x, w, gy = (library.put(np.ones(shape)) for shape in ((1, 1024, 2, 2), (1, 1024, 2, 2), (4, 1, 32, 32)))
    wide = library.put(np.ones((4, 1, 33, 33)))
    results = [
        arrconv.conv(x, w, algorithm=a),
        arrconv.conv_grad_input(
            library.put(np.ones((4096, 1))), library.put(np.ones((3, 4096))), input_size=(), algorithm=a
        ),
        arrconv.conv_grad_weight(wide, gy, kernel_size=(2, 2), algorithm=a),
        arrconv.conv_grad_bias(gy),
        arrconv.conv_transpose(library.put(np.ones((1, 4096, 1))), library.put(np.ones((4096, 1, 3))), algorithm=a),
    ]
    for result in results:
        assert np.all(library.get(result).astype(np.float64) == 4096)
    folded = {"padding": ((1365, 1366),), "padding_mode": "circular", "algorithm": a}
    gx = arrconv.conv_grad_input(w[:, :1, :1, 0], library.put(np.ones((1, 1, 2732))), input_size=(1,), **folded)
    assert library.get(gx).astype(np.float64).item() == nearest(2732, HALVES[dtype])


@pytest.mark.parametrize("name", ["numpy-gemm", "numpy-taps", "torch-taps"])
@pytest.mark.parametrize("dtype", HALVES)
def test_16_bits_are_within_the_bound_and_are_float32_rounded(dtype: str, name: str) -> None:
    library, single, rng = Library(name, dtype), Library(name, "float32"), np.random.default_rng(4)
    for g in random_geometries(10, seed=51):
        g = g.batched()
        arrays = [numpy_round(rng.standard_normal(a.shape), dtype) for a in draw(rng, g, 1)]
        fractions = [np.vectorize(Fraction, otypes=[object])(a.astype(np.float64)) for a in arrays]
        o, (x, w, _, b) = g.options, (library.put(a) for a in arrays)
        got, wide = compute(library, g, arrays), compute(single, g, arrays)
        for result, float32 in zip(got, wide, strict=True):
            assert np.array_equal(library.get(result), numpy_round(single.get(float32), dtype)), str(g)
        bound = np.asarray(arrconv.error_bound("conv", x, w, b, **o))
        exact = oracle.conv(*fractions[:2], fractions[3], **o)
        for value, limit, truth in zip(library.get(got[0]).flat, bound.flat, exact.flat, strict=True):
            assert abs(Fraction(float(value)) - truth) <= Fraction(float(limit)), str(g)


def numpy_round(array: np.ndarray, dtype: str) -> np.ndarray:
    return array.astype(np.float32).astype(numpy_dtype(dtype)).astype(np.float64)


# Complex numbers


def hermitian(a: np.ndarray, b: np.ndarray) -> complex:
    return complex(np.sum(a * np.conj(b)))


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("dtype", COMPLEXES)
def test_complex_forms_are_bilinear_and_gradients_adjoint(dtype: str, name: str) -> None:
    library, rng = Library(name, dtype), np.random.default_rng(5)
    for g in random_geometries(24, seed=61):
        g = g.batched()
        arrays = draw(rng, g, 9, is_complex=True)
        got = [library.get(result) for result in compute(library, g, arrays, bias=False)]
        for result, expected in zip(got, judge(g, arrays, bias=False), strict=True):
            assert np.array_equal(result, expected.astype(complex)), str(g)
        x, w, gy, _ = arrays
        y, gx, gw, _ = got
        assert hermitian(y, gy) == hermitian(x, gx) == hermitian(w, gw), str(g)


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("dtype", COMPLEXES)
def test_a_complex_transpose_does_not_conjugate(dtype: str, name: str) -> None:
    library, rng, seen = Library(name, dtype), np.random.default_rng(6), 0
    for g in random_geometries(80, seed=62):
        g = g.batched()
        if g.padding_mode != "zeros" or not all(0 <= a.slack < max(a.stride, a.dilation) for a in g.axes):
            continue
        o = {k: v for k, v in g.options.items() if k != "padding_mode"} | {"output_padding": g.slack}
        x, w, y, _ = draw(rng, g, 9, is_complex=True)
        b = x[0].reshape(g.in_channels, -1)[:, 0]
        got = arrconv.conv_transpose(*map(library.put, (y, w, b)), algorithm=library.algorithm, **o)
        expected = oracle.conv_transpose(y.astype(object), w.astype(object), b.astype(object), **o)
        assert np.array_equal(library.get(got), expected.astype(complex)), str(g)
        seen += 1
    assert seen >= 10


@pytest.mark.parametrize("algorithm", ["table", "gemm", "taps"])
@pytest.mark.parametrize("dtype", ["complex128", "float64"])
def test_gradients_are_those_of_torch(dtype: str, algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's convention for complex gradients, forward and transposed, on whole numbers: equal to the last bit."""
    monkeypatch.setattr(table, "_MOST", dict.fromkeys("yxw", 2**30))
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(7)
    for ndim, stride, padding, dilation, groups in ((1, 2, 1, 3, 2), (2, (2, 1), (0, 2), (1, 2), 3), (3, 1, 1, 1, 1)):
        sizes, kernel = (9, 7, 5)[:ndim], (3, 2, 2)[:ndim]
        o = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        x, w = (whole(rng, s, dtype) for s in ((2, 2 * groups, *sizes), (groups * 3, 2, *kernel)))
        tx, tw = (torch.asarray(a).requires_grad_() for a in (x, w))
        b = torch.asarray(whole(rng, (groups * 3,), dtype)).requires_grad_()
        ty = getattr(torch.nn.functional, f"conv{ndim}d")(tx, tw, b, **o)
        gy = whole(rng, tuple(ty.shape), dtype)
        expected = torch.autograd.grad(ty, (tx, tw, b), torch.asarray(gy))
        grads = arrconv.conv_backward(x, w, gy, algorithm=algorithm, **o)
        same(grads, expected)
        ty = torch.asarray(gy).requires_grad_()
        b = torch.asarray(whole(rng, (2 * groups,), dtype)).requires_grad_()
        tz = getattr(torch.nn.functional, f"conv_transpose{ndim}d")(ty, tw, b, **o)
        gz = whole(rng, tuple(tz.shape), dtype)
        assert np.array_equal(arrconv.conv_transpose(gy, w, b.detach().numpy(), **o), tz.detach().numpy())
        expected = torch.autograd.grad(tz, (ty, tw, b), torch.asarray(gz))
        same(arrconv.conv_transpose_backward(gy, w, gz, algorithm=algorithm, **o), expected)


def whole(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    values = rng.integers(-9, 10, shape) + (1j * rng.integers(-9, 10, shape) if dtype.startswith("complex") else 0)
    return values.astype(dtype)


def same(grads: arrconv.ConvGrads, expected: tuple[Any, ...]) -> None:
    for got, wanted in zip((grads.input, grads.weight, grads.bias), expected, strict=True):
        assert np.array_equal(got, wanted.numpy())


# Second derivatives


@pytest.mark.parametrize("algorithm", ["table", "gemm", "taps"])
@pytest.mark.parametrize("is_complex", [False, True])
def test_second_derivatives_are_members_again(
    is_complex: bool, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⟨∂member, z⟩, by linearity the difference of two calls, is ⟨step, another member⟩; exactly, in whole numbers."""
    monkeypatch.setattr(table, "_MOST", dict.fromkeys("yxw", 2**30))
    rng = np.random.default_rng(8)
    for g in random_geometries(40, seed=81):
        g = g.batched()
        o = g.options | {"algorithm": algorithm}
        dx, dw, dy, _ = draw(rng, g, 9, is_complex=is_complex)  # steps, and directions to look in
        x, w, gy, _ = draw(rng, g, 9, is_complex=is_complex)

        def gx_of(w: np.ndarray, gy: np.ndarray, g: Geometry = g, o: dict[str, Any] = o) -> np.ndarray:
            return arrconv.conv_grad_input(w, gy, input_size=g.input_size, **o)

        def gw_of(x: np.ndarray, gy: np.ndarray, g: Geometry = g, o: dict[str, Any] = o) -> np.ndarray:
            return arrconv.conv_grad_weight(x, gy, kernel_size=g.kernel_size, **o)

        pairs = [
            (gx_of(w, gy + dy) - gx_of(w, gy), dx, dy, arrconv.conv(dx, w, **o)),
            (gx_of(w + dw, gy) - gx_of(w, gy), dx, dw, gw_of(dx, gy)),
            (gw_of(x, gy + dy) - gw_of(x, gy), dw, dy, arrconv.conv(x, dw, **o)),
            (gw_of(x + dx, gy) - gw_of(x, gy), dw, dx, gx_of(dw, gy)),
        ]
        for change, direction, step, member in pairs:
            assert hermitian(change, direction).real == hermitian(step, member).real, str(g)
