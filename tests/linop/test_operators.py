"""The laws of linear operators, for each of them: one matrix says what it, its adjoint, transpose and conjugate do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import array_api_strict
import ml_dtypes
import numpy as np
import pytest

import arrconv
from arrconv import DeviceError, DTypeError, ShapeError, SpecError
from arrconv.linop import (
    FFT,
    Circulant,
    CircularConv,
    Conv,
    Convolve,
    Correlate,
    Crop,
    Diagonal,
    Differences,
    Downsample,
    Identity,
    Operator,
    Pad,
    Upsample,
    block,
    dot_test,
    linearity_gap,
    stack,
)
from arrconv.linop.laws import random_like

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = ("float32", "float64", "complex64", "complex128")


def numbers(*shape: int, dtype: str, seed: int = 0) -> Any:
    """Small integers, in both parts where they are complex."""
    rng = np.random.default_rng((seed, *shape))
    real = rng.integers(-4, 5, shape)
    return (real + 1j * rng.integers(-4, 5, shape) if dtype.startswith("complex") else real).astype(dtype)


def of_conv(dtype: str, **options: Any) -> Operator:
    return Conv(numbers(4, 3, 2, 3, dtype=dtype), (5, 6), **options)


def diagonal(dtype: str) -> Operator:
    return Diagonal(numbers(3, dtype=dtype))


def short(dtype: str) -> Operator:
    return Conv(numbers(2, dtype=dtype), (2,), padding=1)


# All are made of small integers, except those with a Fourier transform.
OPERATORS: dict[str, Callable[[str], Operator]] = {
    "identity": lambda t: Identity((2, 3), numbers(0, dtype=t)),
    "identity of one number": lambda t: Identity((), numbers(0, dtype=t)),
    "identity of nothing": lambda t: Identity((2, 0), numbers(0, dtype=t)),
    "diagonal": lambda t: Diagonal(numbers(3, 4, dtype=t)),
    "diagonal, broadcast": lambda t: Diagonal(numbers(3, 1, dtype=t), (2, 3, 4)),
    "pad": lambda t: Pad((2, 3, 4), [(1, 2), (0, 3)], numbers(0, dtype=t)),
    "pad, reflected": lambda t: Pad((3, 4), [(1, 7), (2, 0)], numbers(0, dtype=t), mode="reflect"),
    "pad, circular": lambda t: Pad((4,), [(5, 2)], numbers(0, dtype=t), mode="circular"),
    "pad, replicated": lambda t: Pad((2, 4), [2], numbers(0, dtype=t), mode="replicate"),
    "crop": lambda t: Crop((2, 5, 6), [(1, 2), 1], numbers(0, dtype=t)),
    "differences": lambda t: Differences((2, 3, 4), 2, numbers(0, dtype=t)),
    "differences of one number": lambda t: Differences((2, 1), 1, numbers(0, dtype=t)),
    "differences of nothing": lambda t: Differences((2, 0), 2, numbers(0, dtype=t)),
    "downsample": lambda t: Downsample((2, 7, 6), (3, 2), numbers(0, dtype=t)),
    "conv": lambda t: of_conv(t),
    "conv, all options": lambda t: of_conv(t, stride=(2, 1), padding=((1, 0), (2, 3)), dilation=(1, 2)),
    "conv, reflected": lambda t: of_conv(t, padding=((1, 0), (2, 3)), padding_mode="reflect"),
    "conv, groups": lambda t: Conv(numbers(4, 2, 3, dtype=t), (7,), groups=2, padding="same"),
    "conv, 3-D": lambda t: Conv(numbers(2, 1, 2, 1, 2, dtype=t), (2, 3, 4), padding=1),
    "conv without channels": lambda t: Conv(numbers(2, 3, dtype=t), (4, 5), padding=(1, 0)),
    "conv that gives nothing": lambda t: Conv(numbers(4, 3, 5, dtype=t), (3,)),
    "convolve, full": lambda t: Convolve(numbers(3, 2, dtype=t), (4, 5)),
    "convolve, same": lambda t: Convolve(numbers(4, 3, dtype=t), (6, 5), extent="same"),
    "convolve, valid": lambda t: Convolve(numbers(2, 3, 2, 3, dtype=t), (4, 5), extent="valid"),
    "correlate": lambda t: Correlate(numbers(3, 2, dtype=t), (4, 5)),
    "circular": lambda t: CircularConv(numbers(3, 2, dtype=t), (5, 6)),
    "circular, odd size": lambda t: CircularConv(numbers(2, dtype=t), (7,), origin=1),
    "circular, channels": lambda t: CircularConv(numbers(4, 3, 3, 2, dtype=t), (5, 6), origin="centre"),
    "circular, one channel": lambda t: CircularConv(numbers(1, 1, 3, 2, dtype=t), (4, 3), origin=(1, 0)),
    "circular, large kernel": lambda t: CircularConv(numbers(7, dtype=t), (3,), origin=-2),
    "circular, one element": lambda t: CircularConv(numbers(2, 3, 2, dtype=t), (1,)),
    "composition": lambda t: of_conv(t) @ Pad((3, 4, 4), [(1, 0), 1], numbers(0, dtype=t)),
    "sum": lambda t: of_conv(t) - 3 * of_conv(t) / 2,
    "gram": lambda t: of_conv(t).gram(),
    "stack": lambda t: stack([of_conv(t), Identity((3, 5, 6), numbers(0, dtype=t))]),
    "stack along an axis": lambda t: stack([of_conv(t), of_conv(t, stride=1, padding=0)], axis=0),
    "block": lambda t: block([[diagonal(t), short(t)], [2 * diagonal(t), -short(t)]]),
    "adjoint": lambda t: of_conv(t).H,
    "transpose": lambda t: of_conv(t).T,
    "conjugate": lambda t: of_conv(t).conj(),
}
REAL: dict[str, Callable[[str], Operator]] = {
    "upsample": lambda t: Upsample((2, 3, 4), (2, 3), numbers(0, dtype=t)),
    "upsample, nearest": lambda t: Upsample((1, 3), 4, numbers(0, dtype=t), mode="nearest"),
}
COMPLEX: dict[str, Callable[[str], Operator]] = {
    "scaled": lambda t: (2 - 3j) * of_conv(t),
    "FFT": lambda t: FFT((2, 3, 4), 2, numbers(0, dtype=t)),
}
CASES = [(name, make, dtype) for name, make in OPERATORS.items() for dtype in DTYPES]
CASES += [(name, make, dtype) for name, make in REAL.items() for dtype in DTYPES[:2]]
CASES += [(name, make, dtype) for name, make in COMPLEX.items() for dtype in DTYPES[2:]]
each = pytest.mark.parametrize(("make", "dtype"), [pytest.param(m, t, id=f"{n}, {t}") for n, m, t in CASES])


def near(found: Any, expected: Any) -> bool:
    """Up to rounding of a few operations."""
    size = np.abs(expected).max(initial=0)
    return found.shape == expected.shape and bool(
        np.abs(found - expected).max(initial=0) <= 32 * np.finfo(found.dtype).eps * size
    )


@each
def test_one_matrix_is_the_operator_and_its_relatives(make: Callable[[str], Operator], dtype: str) -> None:
    operator = make(dtype)
    matrix = operator.to_matrix()
    assert matrix.shape == (operator.size_out, operator.size_in)
    assert matrix.dtype == np.dtype(dtype)
    assert near(operator.H.to_matrix(), matrix.conj().T)
    assert near(operator.T.to_matrix(), matrix.T)
    assert near(operator.conj().to_matrix(), matrix.conj())
    assert near(operator.H.H.to_matrix(), matrix)
    assert near(operator.T.T.to_matrix(), matrix)
    x = random_like(operator.example, (2, 3, *operator.shape_in), 5)
    y = operator @ x
    assert y.shape == (2, 3, *operator.shape_out)
    assert near(y.reshape(6, operator.size_out), (matrix @ x.reshape(6, operator.size_in).T).T)
    assert dot_test(operator), dot_test(operator)
    v = random_like(operator.example, (2, 3, *operator.shape_in), 6)
    assert linearity_gap(operator.apply, x, v) <= 8 * np.finfo(dtype).eps


@pytest.mark.parametrize("name", ["conv, all options", "circular, channels", "composition", "stack", "FFT", "upsample"])
def test_any_library_and_device_gives_the_same(name: str) -> None:
    make = (OPERATORS | REAL | COMPLEX)[name]
    dtype = "complex128" if name in COMPLEX else "float64"
    here = make(dtype)
    device = array_api_strict.Device("device1")
    there = on_strict(make, dtype, device)
    x = random_like(here.example, (2, *here.shape_in), 5)
    found = there @ array_api_strict.asarray(x, device=device)
    assert found.device == device
    back = np.asarray(array_api_strict.asarray(found, device=array_api_strict.Device("CPU_DEVICE")))
    assert near(back, here @ x)
    assert dot_test(there)


def on_strict(make: Callable[[str], Operator], dtype: str, device: Any) -> Operator:
    """The operator made of arrays of another library."""
    with pytest.MonkeyPatch.context() as patch:
        original = numbers
        patch.setitem(
            make.__globals__, "numbers", lambda *a, **k: array_api_strict.asarray(original(*a, **k), device=device)
        )
        return make(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("origin", [0, 2, -1, "centre"])
def test_circular_convolution_is_its_definition(origin: Any, dtype: str) -> None:
    """y[i] = Σ_t k[t]·x[(i − t + origin) mod n], by a loop."""
    kernel, n = numbers(2, 3, 4, 2, dtype=dtype), (5, 3)
    first = [4 // 2, 2 // 2] if origin == "centre" else [origin] * 2
    operator = CircularConv(kernel, n, origin=origin)
    x = numbers(3, *n, dtype=dtype, seed=1)
    expected = np.zeros((2, *n), dtype)
    for o, c, *t in np.ndindex(2, 3, 4, 2):
        for i in np.ndindex(*n):
            expected[(o, *i)] += kernel[(o, c, *t)] * x[(c, *((i[a] - t[a] + first[a]) % n[a] for a in range(2)))]
    assert near(operator @ x, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", [(3, 2), (1, 4), (5, 5)])
def test_convolutions_of_signal_processing_are_their_definitions(lengths: tuple[int, int], dtype: str) -> None:
    """Against NumPy's on one axis after another, for separable kernels; exact integers."""
    a, b, x = numbers(lengths[0], dtype=dtype), numbers(lengths[1], dtype=dtype), numbers(6, 5, dtype=dtype, seed=3)
    kernel = a[:, None] * b
    full = np.apply_along_axis(np.convolve, 1, np.apply_along_axis(np.convolve, 0, x, a), b)
    assert np.array_equal(Convolve(kernel, (6, 5)) @ x, full)
    starts = [(k - 1) // 2 for k in lengths]
    middle = full[starts[0] : starts[0] + 6, starts[1] : starts[1] + 5]
    assert np.array_equal(Convolve(kernel, (6, 5), extent="same") @ x, middle)
    valid = full[lengths[0] - 1 : 6, lengths[1] - 1 : 5]
    assert np.array_equal(Convolve(kernel, (6, 5), extent="valid") @ x, valid)
    y = numbers(*full.shape, dtype=dtype, seed=4)
    assert np.array_equal(Convolve(kernel, (6, 5)).H @ y, Correlate(kernel, full.shape, extent="valid") @ y)
    if all(k % 2 for k in lengths):
        same = Correlate(kernel, (6, 5), extent="same") @ x
        assert np.array_equal(Convolve(kernel, (6, 5), extent="same").H @ x, same)


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_the_matrix_of_a_circular_convolution_has_the_numbers_of_its_kernel(dtype: str) -> None:
    """Exactly, though it is applied by transforms: a block of rolled kernels for each pair of channels."""
    kernel = numbers(3, 2, 4, 5, dtype=dtype)
    matrix = CircularConv(kernel, origin=1, size=(4, 5)).to_matrix()
    columns = [np.roll(kernel, (i - 1, j - 1), axis=(2, 3)).reshape(3, 2, 20) for i in range(4) for j in range(5)]
    assert np.array_equal(matrix, np.stack(columns, axis=3).transpose(0, 2, 1, 3).reshape(60, 40))
    other = CircularConv(kernel, origin=1, size=(4, 5)).H.to_matrix()  # whose kernel comes back from its symbol
    assert near(other, matrix.conj().T)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("size", [(5,), (3, 4), (3, 2, 4)])
def test_upsampling_is_interpolation_and_the_transpose_of_a_strided_convolution(size: Any, factor: int) -> None:
    """Both in whole numbers: 2·factor times the formula on each axis, and kernels laid down on the stretched grid."""
    x = np.random.default_rng(0).integers(-50, 50, (1, *size))
    taps = np.arange(2 * factor - factor % 2)
    row = 2 * factor - np.abs(2 * taps - (len(taps) - 1))  # 1, 3, …, 3, 1, or 2, 4, …, 4, 2
    kernel, formula, ndim = np.ones((1,) * len(size), int), x, len(size)
    for axis, n in enumerate(size):
        kernel = kernel * row.reshape(*(len(row) if other == axis else 1 for other in range(ndim)))
        place = 2 * np.arange(n * factor) + 1 - factor  # of the middles of fine cells, in units of 1/(2·factor)
        low, share = place // (2 * factor), place % (2 * factor)
        below, above = (formula.take(np.clip(at, 0, n - 1), axis=axis + 1) for at in (low, low + 1))
        share = share.reshape(*(-1 if other == axis else 1 for other in range(ndim)))
        formula = (2 * factor - share) * below + share * above
    edged = np.pad(x, [(0, 0)] + [(1, 1)] * ndim, mode="edge")
    padding = (len(taps) - factor) // 2
    laid = arrconv.conv_transpose(edged[None], kernel[None, None], stride=factor, padding=padding)[0]
    assert np.array_equal(laid[(..., *(slice(factor, -factor),) * ndim)], formula)
    found = Upsample((1, *size), factor, np.zeros(0)) @ x.astype(float)
    assert np.abs(found - formula / (2 * factor) ** ndim).max() <= (0 if factor != 3 else 100 * np.finfo(float).eps)


def test_differences_are_those_of_numpy() -> None:
    x = numbers(2, 3, 4, 5, dtype="float64")
    found = Differences((3, 4, 5), 2, x) @ x
    assert np.array_equal(found[:, 0], np.diff(x, axis=2, append=x[:, :, -1:]))
    assert np.array_equal(found[:, 1], np.diff(x, axis=3, append=x[..., -1:]))


def test_operators_act_on_the_last_axes_of_any_batch() -> None:
    operator = of_conv("float64")
    x = numbers(2, 4, 3, 5, 6, dtype="float64")
    y = operator @ x
    assert np.array_equal(y[1, 2], operator.apply(x[1, 2]))
    assert (operator @ x[:0]).shape == (0, 4, *operator.shape_out)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: of_conv("float64") @ np.zeros((3, 5, 7)), ShapeError, r"x has shape \(3, 5, 7\), but this Conv\("),
        (lambda: of_conv("float64") @ np.zeros((6,)), ShapeError, r"takes \(…, 3, 5, 6\)"),
        (lambda: of_conv("float64") @ np.zeros((3, 5, 6), np.float32), DTypeError, "x has dtype float32, but the oper"),
        (lambda: of_conv("float64") @ array_api_strict.zeros((3, 5, 6)), DTypeError, "must be of one library"),
        (lambda: of_conv("float64") @ of_conv("float64"), ShapeError, "does not take what Conv"),
        (lambda: of_conv("float64") + of_conv("float64", stride=2), ShapeError, "cannot be added"),
        (lambda: of_conv("float64") + of_conv("float32"), DTypeError, "the second has float32"),
        (lambda: 1j * of_conv("float64"), DTypeError, "cannot be multiplied by the complex number 1j"),
        (lambda: Conv(numbers(4, 3, 2, dtype="int64"), (5,)), DTypeError, "an operator has real or complex floating"),
        (lambda: Conv(np.zeros((4, 3, 2)), (5, 5)), ShapeError, "for 2 spatial axes it needs 2 axes, or two more"),
        (lambda: Conv(np.zeros((4, 3, 2)), (5,), strides=2), TypeError, "unexpected keyword argument 'strides'"),
        (lambda: Convolve(np.zeros(3), (5,), extent="all"), SpecError, "extent='all' is unknown"),
        (lambda: CircularConv(np.zeros(3), (5,), origin=(1, 2)), SpecError, "has 2 entries for 1 spatial axes"),
        (lambda: CircularConv(np.zeros(3), (5,), origin="middle"), SpecError, r"origin\[0\] must be an integer"),
        (lambda: CircularConv(np.zeros(3), (0,)), SpecError, r"size\[0\] must be at least 1"),
        (lambda: Circulant(np.zeros(4, complex), (4,), np.zeros(0)), ShapeError, r"have the frequencies \(3,\)"),
        (lambda: Diagonal(np.zeros(3), (2,)), ShapeError, "do not broadcast"),
        (lambda: Pad((3,), [1, 1], np.zeros(0)), ShapeError, "padding for 2 axes is given"),
        (lambda: Crop((3,), [-1], np.zeros(0)), SpecError, r"amounts\[0\] must be at least 0"),
        (lambda: Downsample((3,), (0,), np.zeros(0)), SpecError, r"factors\[0\] must be at least 1"),
        (lambda: Upsample((3,), 2, np.zeros(0)), ShapeError, "has no channels"),
        (lambda: Upsample((1, 3), 2, np.zeros(0, complex)), DTypeError, "upsampling is of real numbers"),
        (lambda: Upsample((1, 3), 2, np.zeros(0), mode="cubic"), SpecError, "mode='cubic' is unknown"),
        (lambda: FFT((3,), 1, np.zeros(0)), DTypeError, "Fourier transforms are complex"),
        (lambda: FFT((3,), 2, np.zeros(0, complex)), SpecError, "ndim must be from 1 to 1"),
        (lambda: Differences((3,), 2, np.zeros(0)), SpecError, "ndim must be from 1 to 1"),
        (lambda: stack([]), SpecError, "there is no operator to stack"),
        (lambda: stack([Identity((2,), np.zeros(0)), Identity((3,), np.zeros(0))]), ShapeError, "do not take the same"),
        (lambda: stack([short("float64"), diagonal("float64")]), ShapeError, "do not take the same"),
        (lambda: stack([of_conv("float64"), of_conv("float64", stride=2)], axis=0), ShapeError, "do not join along"),
        (lambda: block([[diagonal("float64")], []]), SpecError, "rows of as many operators are needed"),
        (
            lambda: Identity((2,), array_api_strict.zeros(0)) @ array_api_strict.zeros(
                2, device=array_api_strict.Device("device1")
            ),
            DeviceError,
            "all arrays must share one device",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_an_operator_says_what_it_maps() -> None:
    assert str(of_conv("float64")) == "Conv((3, 5, 6) → (4, 4, 4))"
    assert str(diagonal("float64").H) == "Adjoint((3,) → (3,))"


def test_half_precision_goes_by_float32_and_comes_back() -> None:
    kernel = np.asarray([1.0, 2.0, 3.0], np.float16)
    circular = CircularConv(kernel, (6,))
    assert (circular @ np.ones(6, np.float16)).dtype == np.float16
    assert np.array_equal(circular @ np.ones(6, np.float16), np.full(6, 6.0))
    for operator in (circular, circular.H, Conv(kernel, (6,), padding=1)):
        assert dot_test(operator)
    with pytest.raises(DTypeError, match="no bfloat16, but got dtype bfloat16"):
        Diagonal(np.ones(3, ml_dtypes.bfloat16))
