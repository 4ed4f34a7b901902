"""Pseudo-inverses by Penrose's conditions, and all inverses and spectra against dense matrices."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest

from arrconv import DTypeError, ShapeError, SpecError, UnsupportedError
from arrconv.linop import (
    Circulant,
    CircularConv,
    Conv,
    ConvergenceWarning,
    Convolve,
    Diagonal,
    Identity,
    Matrix,
    Operator,
    condition,
    dot_test,
    inverse,
    pinv,
    rank,
    singular_values,
    tikhonov,
    wiener,
)
from arrconv.linop.frequencies import frequency_form
from arrconv.linop.matrices import BUDGET

DTYPES = ("float64", "complex128")


def normal(*shape: int, dtype: str, seed: int = 0) -> Any:
    rng = np.random.default_rng((seed, *shape))
    real = rng.standard_normal(shape)
    return (real + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else real).astype(dtype)


def periodic(shape: tuple[int, ...], size: tuple[int, ...], dtype: str, **options: Any) -> Operator:
    return Conv(normal(*shape, dtype=dtype), size, padding_mode="circular", **options)


def deficient(dtype: str) -> Any:
    """A kernel of which one output channel is the sum of the others, at every frequency."""
    w = normal(3, 3, 3, 2, dtype=dtype)
    return np.concatenate([w[:2], w[:1] + w[1:2]])


# By frequencies; each with its rank, where it is not full.
PERIODIC: dict[str, Any] = {
    "no channels, odd": lambda t: CircularConv(normal(3, 2, dtype=t), (5, 7)),
    "no channels, even": lambda t: CircularConv(normal(4, dtype=t), (8,)),
    "square": lambda t: CircularConv(normal(3, 3, 3, 3, dtype=t), (6, 5), origin="centre"),
    "wide": lambda t: CircularConv(normal(2, 4, 3, dtype=t), (8,)),
    "tall": lambda t: CircularConv(normal(4, 2, 2, 3, dtype=t), (4, 6)),
    "conv": lambda t: periodic((3, 3, 3, 2), (5, 6), t, padding=((1, 1), (0, 1))),
    "conv, dilated": lambda t: periodic((2, 2, 3, 3), (6, 7), t, padding=2, dilation=2),
    "conv, one more channel": lambda t: periodic((3, 2, 3), (9,), t, padding=1),
    "conv, groups": lambda t: periodic((4, 2, 3), (6,), t, padding=1, groups=2),
    "strided, wide": lambda t: periodic((3, 2, 3, 3), (6, 4), t, padding=((1, 0), (1, 1)), stride=2),
    "strided, tall": lambda t: periodic((7, 1, 3, 4), (6, 6), t, padding=((1, 0), (0, 1)), stride=(2, 3)),
    "strided, no channels": lambda t: periodic((2, 2), (6, 6), t, stride=2),
    "strided, 3-D": lambda t: periodic((3, 1, 2, 1, 3), (4, 2, 3), t, stride=(2, 1, 1), padding=((0, 0), 0, 1)),
    "rank-deficient": lambda t: CircularConv(deficient(t), (4, 5)),
    "zero": lambda t: CircularConv(np.zeros((2, 3, 2), t), (5,)),
    "some frequencies zero": lambda t: CircularConv(np.asarray([1, 1], t), (6,)),
}
DENSE: dict[str, Any] = {
    "zero padding": lambda t: Conv(normal(3, 3, 3, 2, dtype=t), (4, 5), padding=((1, 1), (1, 0))),
    "no padding, wide": lambda t: Conv(normal(3, 3, 3, dtype=t), (7,)),
    "stride and dilation": lambda t: Conv(normal(4, 2, 2, 3, dtype=t), (5, 6), padding=2, stride=2, dilation=(2, 1)),
    "reflected": lambda t: Conv(normal(3, 2, 3, dtype=t), (6,), padding=1, padding_mode="reflect"),
    "diagonal with zeros": lambda t: Diagonal(np.asarray([2, 0, 3, 0], t)),
    "a product": lambda t: CircularConv(normal(3, dtype=t), (6,)) @ Conv(normal(2, dtype=t), (5,), padding=1),
    "nothing": lambda t: Conv(normal(2, 3, 4, dtype=t), (3,)),
}
ALL = PERIODIC | DENSE
each = pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in ALL for dtype in DTYPES])


@each
def test_singular_values_are_those_of_the_matrix(name: str, dtype: str) -> None:
    operator = ALL[name](dtype)
    found = singular_values(operator)
    expected = np.linalg.svd(operator.to_matrix(), compute_uv=False)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max(initial=0) <= 1e-13 * expected.max(initial=0)
    assert (frequency_form(operator) is not None) == (name in PERIODIC)
    assert rank(operator) == np.linalg.matrix_rank(operator.to_matrix())


@each
def test_a_pseudo_inverse_fulfils_the_conditions_of_penrose(name: str, dtype: str) -> None:
    operator = ALL[name](dtype)
    found = pinv(operator)
    a, b = operator.to_matrix(), found.to_matrix()
    values = np.linalg.svd(a, compute_uv=False)
    cond = values.max(initial=0) / min((v for v in values if v > 1e-10), default=1)
    assert cond <= 1e6
    limit = 100 * np.finfo(dtype).eps * max(1, cond)
    size = np.abs(b).max(initial=0)
    assert np.abs(b - np.linalg.pinv(a)).max(initial=0) <= limit * size
    norm: Any = lambda m: np.linalg.norm(m, 2) if m.size else 0.0  # noqa: E731
    assert norm(a @ b @ a - a) <= limit * max(1, norm(a))
    assert norm(b @ a @ b - b) <= limit * max(1, norm(b))
    assert norm((a @ b).conj().T - a @ b) <= limit
    assert norm((b @ a).conj().T - b @ a) <= limit
    assert dot_test(found)
    assert np.abs(pinv(operator.H).to_matrix() - b.conj().T).max(initial=0) <= limit * size
    assert found.method == ("frequencies" if name in PERIODIC else "matrix")


@pytest.mark.parametrize("rcond", [0.0, 0.3, 0.9, 2.0])
@pytest.mark.parametrize("name", ["square", "strided, wide", "zero padding"])
def test_one_limit_cuts_all_frequencies(name: str, rcond: float) -> None:
    """A limit of each frequency would keep other singular values."""
    operator = ALL[name]("float64")
    expected = np.linalg.pinv(operator.to_matrix(), rcond=rcond) if rcond < 1 else 0 * operator.to_matrix().T
    found = pinv(operator, rcond=rcond).to_matrix()
    assert np.abs(found - expected).max() <= 1e-12 * max(1, np.abs(expected).max())


@each
def test_tikhonov_is_its_formula(name: str, dtype: str) -> None:
    operator, damp = ALL[name](dtype), 0.3
    a = operator.to_matrix()
    expected = np.linalg.solve(a.conj().T @ a + damp**2 * np.eye(a.shape[1]), a.conj().T)
    for found, right in (
        (tikhonov(operator, damp), expected),
        (tikhonov(operator.H, damp), expected.conj().T),
    ):
        assert np.abs(found.to_matrix() - right).max(initial=0) <= 1e-12
        assert dot_test(found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [n for n in PERIODIC if "strided" not in n])
def test_wieners_filter_is_its_formula(name: str, dtype: str) -> None:
    """S A.H (A S A.H + N)⁻¹ with the covariances S and N that have these spectra."""
    operator = PERIODIC[name](dtype)
    form = frequency_form(operator)
    assert form is not None
    shape = form.circulant.symbol.shape[: len(form.circulant.size)]
    rng = np.random.default_rng(1)
    kernel = rng.standard_normal(form.circulant.size)  # of which |·|² in the Fourier domain is even, as spectra are
    spectrum = np.abs(np.fft.fftn(kernel)[tuple(slice(n) for n in shape)]) ** 2
    noise = 0.5
    covariance = np.kron(np.eye(len_channels(operator.shape_in, form)), Circulant(
        spectrum.astype(complex), form.circulant.size, operator.example).to_matrix())  # fmt: skip
    a = operator.to_matrix()
    expected = covariance @ a.conj().T @ np.linalg.inv(a @ covariance @ a.conj().T + noise * np.eye(a.shape[0]))
    found = wiener(operator, spectrum, noise)
    assert np.abs(found.to_matrix() - expected).max() <= 1e-11
    assert dot_test(found)
    flat = wiener(operator, 4.0, 4.0 * 0.09).to_matrix()  # a flat spectrum: Tikhonov's
    assert np.abs(flat - tikhonov(operator, 0.3).to_matrix()).max() <= 1e-12


def len_channels(shape: tuple[int, ...], form: Any) -> int:
    return shape[0] if len(shape) > len(form.circulant.size) else 1


# With zeros around, of full rank; the border's system is theirs, though they are small.
ZEROS: dict[str, Any] = {
    "square": lambda t: Conv(normal(2, 2, 3, 2, dtype=t, seed=3), (3, 4), padding=((1, 1), (1, 0))),
    "square, near the identity": lambda t: Conv(delta(3, (3, 3), t), (6, 5), padding=1),
    "square, even kernel": lambda t: Conv(delta(2, (2, 4), t), (5, 7), padding=((0, 1), (2, 1))),
    "square, dilated": lambda t: Conv(delta(2, (3, 3), t), (7, 8), padding=((2, 2), (2, 2)), dilation=2),
    "square, no channels": lambda t: Conv(delta(1, (3, 3), t)[0, 0], (4, 6), padding=1),
    "square, strided": lambda t: Conv(normal(4, 1, 2, 2, dtype=t), (6, 4), stride=2),
    "wide": lambda t: Conv(normal(2, 3, 3, 2, dtype=t), (5, 6), padding=((1, 1), (1, 0))),
    "wide, no padding": lambda t: Conv(normal(2, 2, 3, dtype=t), (9,)),
    "wide, strided": lambda t: Conv(normal(3, 2, 3, 3, dtype=t), (5, 6), padding=1, stride=2),
    "wide, cropped": lambda t: Conv(normal(2, 2, 2, 2, dtype=t), (6, 5), padding=((-1, 0), (0, -1))),
    "tall": lambda t: Conv(normal(3, 2, 3, 3, dtype=t), (5, 6), padding=1),
    "tall, full": lambda t: Convolve(normal(3, 2, dtype=t), (4, 5)),
    "tall, strided, groups": lambda t: Conv(normal(6, 1, 3, dtype=t), (8,), padding=1, stride=2, groups=2),
    "tall, 3-D": lambda t: Conv(normal(3, 1, 2, 1, 3, dtype=t), (3, 2, 4), padding=((1, 0), 0, 1)),
}


def delta(channels: int, kernel: tuple[int, ...], dtype: str) -> Any:
    """A little of everything around the identity."""
    w = 0.1 * normal(channels, channels, *kernel, dtype=dtype)
    w[(range(channels), range(channels), *(k // 2 for k in kernel))] += 1
    return w


@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in ZEROS for dtype in DTYPES])
def test_zero_padding_is_inverted_by_its_border(name: str, dtype: str) -> None:
    operator = ZEROS[name](dtype)
    a = operator.to_matrix()
    values = np.linalg.svd(a, compute_uv=False)
    cond = values[0] / values[-1]
    assert cond <= 1e6
    expected = np.linalg.pinv(a)
    found = pinv(operator, method="border")
    assert "border" in found.explain()
    limit = 100 * np.finfo(dtype).eps * cond
    assert np.abs(found.to_matrix() - expected).max() <= limit * np.abs(expected).max()
    assert np.abs(found.H.to_matrix() - expected.conj().T).max() <= limit * np.abs(expected).max()
    other = pinv(operator.H, method="border").to_matrix()
    assert np.abs(other - expected.conj().T).max() <= limit * np.abs(expected).max()
    damped = np.linalg.solve(a.conj().T @ a + 0.09 * np.eye(a.shape[1]), a.conj().T)
    found = tikhonov(operator, 0.3, method="border")
    assert np.abs(found.to_matrix() - damped).max() <= 1e-12
    assert np.abs(found.H.to_matrix() - damped.conj().T).max() <= 1e-12


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["square", "wide", "tall", "rank-deficient", "stride and dilation"])
def test_little_damping_loses_no_small_singular_values(name: str, dtype: str) -> None:
    """The squares of singular values, beside which damp² is nothing, would."""
    operator, damp = ALL[name](dtype), 1e-9
    left, values, right = np.linalg.svd(operator.to_matrix(), full_matrices=False)
    expected = (right.conj().T * (values / (values**2 + damp**2))) @ left.conj().T
    found = tikhonov(operator, damp).to_matrix()
    clear = [v for v in values if v > 1e-10]
    if len(clear) == len(values):
        assert (
            np.abs(found - expected).max() <= 100 * np.finfo(dtype).eps * clear[0] / clear[-1] * np.abs(expected).max()
        )
    a = operator.to_matrix()  # of any rank A B A is nearly A
    assert np.abs(a @ found @ a - a).max() <= 1e-5 * np.abs(a).max()


def test_a_circulant_has_its_kernel() -> None:
    kernel = normal(2, 3, 4, 5, dtype="float64")
    assert np.abs(CircularConv(kernel, (4, 5)).kernel() - kernel).max() <= 1e-14


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_any_rank_the_damped_inverse_goes_by_the_border(dtype: str) -> None:
    """Where the pseudo-inverse, by a probe, finds that it cannot."""
    w = np.concatenate([normal(1, 3, 3, 3, dtype=dtype)] * 2)  # the second channel is the first
    operator = Conv(w, (5, 4), padding=1)
    a = operator.to_matrix()
    damped = np.linalg.solve(a.conj().T @ a + 0.09 * np.eye(a.shape[1]), a.conj().T)
    assert np.abs(tikhonov(operator, 0.3, method="border").to_matrix() - damped).max() <= 1e-12
    with pytest.raises(UnsupportedError, match="border: on 3 tori it has frequencies at which it is singular"):
        pinv(operator, method="border")
    assert np.abs(pinv(operator).to_matrix() - np.linalg.pinv(a)).max() <= 1e-12
    gap = Conv(normal(4, 1, 3, dtype=dtype), (7,), padding=((-1, 3),), groups=1)  # x[0] is never read
    with pytest.raises(UnsupportedError, match="the rank is not full, or nearly so"):
        pinv(gap, method="border")


def test_the_border_is_taken_where_the_matrix_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = Conv(delta(2, (3, 3), "float64"), (24, 23), padding=1)
    found = pinv(operator)
    assert found.method == "border"
    assert found.reasons[1] == "matrix: its sides (1104, 1104) exceed 1024, from which on the border is tried first"
    assert found.reasons[2].startswith("border: 96 unknown numbers around a torus of (25, 24), a matrix of 0 MiB; a")
    assert (found @ np.zeros((0, 2, 24, 23))).shape == (0, 2, 24, 23)
    x = normal(3, 2, 24, 23, dtype="float64")
    assert np.linalg.norm(found @ (operator @ x) - x) <= 1e-13 * np.linalg.norm(x)
    monkeypatch.setitem(__import__("sys").modules, "scipy.linalg", None)
    other = pinv(operator)  # without LU factors
    y = normal(2, 24, 23, dtype="float64")
    assert np.linalg.norm(other @ y - found @ y) <= 1e-13 * np.linalg.norm(y)
    assert np.linalg.norm(other.H @ y - found.H @ y) <= 1e-13 * np.linalg.norm(y)
    assert pinv(operator, rcond=0.0).method == "matrix"
    iterated = pinv(operator, budget=50_000)
    assert iterated.method == "iteration"
    assert [reason.partition(":")[0] for reason in iterated.reasons[1:]] == ["matrix", "border", "matrix", "iteration"]
    assert np.linalg.norm(iterated @ y - found @ y) <= 1e-8 * np.linalg.norm(y)
    with pytest.raises(UnsupportedError, match=r"but the budget is 0 MiB; iteration: it cannot tell small singular"):
        pinv(operator, budget=50_000, rcond=0.1)


def test_conditions() -> None:
    assert condition(Identity((3, 4), np.zeros(0))) == 1.0
    assert condition(Diagonal(np.asarray([2.0, 0.0]))) == np.inf
    assert np.isnan(condition(Identity((0,), np.zeros(0))))
    assert rank(Identity((0,), np.zeros(0))) == 0
    assert rank(Diagonal(np.asarray([1.0, 0.1, 0.01])), rcond=0.05) == 2


def test_any_library_and_device_gives_the_same() -> None:
    device = array_api_strict.Device("device1")
    w = normal(3, 2, 3, 3, dtype="float64")
    here = Conv(w, (6, 4), padding=((1, 0), (1, 1)), stride=2, padding_mode="circular")
    there = Conv(
        array_api_strict.asarray(w, device=device), (6, 4), padding=((1, 0), (1, 1)), stride=2, padding_mode="circular"
    )
    back: Any = lambda x: np.asarray(array_api_strict.asarray(x, device=array_api_strict.Device("CPU_DEVICE")))  # noqa: E731
    assert np.abs(back(singular_values(there)) - singular_values(here)).max() <= 1e-14 * 10
    for make in (pinv, lambda a: tikhonov(a, 0.2)):
        assert np.abs(back(make(there).to_matrix()) - make(here).to_matrix()).max() <= 1e-13


@pytest.mark.filterwarnings("ignore:invalid value")  # 0·inf, in a matrix
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pinv(CircularConv(np.ones(3)), rcond=-1), SpecError, "rcond must be from 0 on"),
        (lambda: pinv(CircularConv(np.asarray([1.0, np.nan]))), SpecError, "not finite, and no inverse"),
        (lambda: pinv(Conv(np.asarray([1.0, np.inf]), (3,))), SpecError, "not finite, and no inverse"),
        (lambda: singular_values(CircularConv(np.asarray([1.0, np.nan]))), SpecError, "and no singular values"),
        (lambda: pinv(CircularConv(np.ones(3)), method="magic"), SpecError, "method='magic' is unknown"),
        (lambda: pinv(Diagonal(np.ones(3)), method="border"), UnsupportedError, "no convolution with zeros around"),
        (lambda: pinv(Diagonal(np.ones(3)), method="frequencies"), UnsupportedError, "no convolution of periodic"),
        (
            lambda: pinv(Conv(np.ones(3), (9,)), rcond=0.1, method="border"),
            UnsupportedError,
            "a limit for singular val",
        ),
        (lambda: pinv(Conv(np.ones(3), (2,)), method="border"), UnsupportedError, "border: it has no elements"),
        (lambda: tikhonov(CircularConv(np.ones(3)), 0.0), SpecError, "damp must be above 0"),
        (lambda: tikhonov(CircularConv(np.asarray([np.nan])), 1.0), SpecError, "not finite, and no inverse"),
        (
            lambda: pinv(Conv(np.ones((8, 8, 3, 3)), (64, 64), padding=1), rcond=0.1),
            UnsupportedError,
            r"would take 8,192 MiB, but the budget is 1,024 MiB",
        ),
        (
            lambda: pinv(
                Conv(np.ones((64, 64, 3, 3)), (512, 512), padding=1, padding_mode="circular"), method="frequencies"
            ),
            UnsupportedError,
            r"the symbol of Conv.* would take 8,224 MiB, but the budget is 1,024 MiB",
        ),
        (
            lambda: pinv(Conv(np.ones((64, 64, 3, 3)), (512, 512), padding=1), method="border"),
            UnsupportedError,
            r"its symbol on a torus of \(513, 513\) would take 8,240 MiB",
        ),
        (
            lambda: singular_values(Conv(np.full((2, 2, 3, 3), np.nan), (9, 9), padding=1)),
            SpecError,
            "and no singular values",
        ),
        (lambda: pinv(CircularConv(np.ones(3, np.float16))), DTypeError, "in float32 or float64, but CircularConv"),
        (lambda: singular_values(Diagonal(np.ones(3, np.float16))), DTypeError, "has dtype float16"),
        (lambda: inverse(Conv(np.ones(3), (9,))), ShapeError, "maps 9 numbers to 7, and has no inverse"),
        (lambda: inverse(CircularConv(np.ones(4))), SpecError, "is singular, or too near to it for float64"),
        (lambda: inverse(Diagonal(np.asarray([1.0, 0.0]))), SpecError, "Diagonal.* is singular"),
        (lambda: inverse(Conv(np.ones(3), (9,), padding=1), method="iteration"), UnsupportedError, "cannot tell small"),
        (lambda: singular_values(Conv(np.ones(3), (9,)), budget=100), UnsupportedError, "the budget is 0 MiB"),
        (lambda: wiener(Conv(np.ones(3), (9,)), 1.0, 1.0), UnsupportedError, "needs a convolution of periodic arrays"),
        (lambda: wiener(periodic((2, 2), (6, 6), "float64", stride=2), 1.0, 1.0), UnsupportedError, "of stride 1"),
        (lambda: wiener(CircularConv(np.ones(3)), 1.0, 0.0), SpecError, "noise_psd must be finite and above 0"),
        (lambda: wiener(CircularConv(np.ones(3)), -1.0, 1.0), SpecError, "signal_psd must be finite and not below 0"),
        (lambda: wiener(CircularConv(np.ones(3)), np.ones(3), 1.0), ShapeError, r"but the frequencies are \(2,\)"),
    ],
)
def test_what_cannot_be_is_said(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
    assert BUDGET == 2**30


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_the_inverse_is_one_from_both_sides(dtype: str) -> None:
    square = normal(6, 6, dtype=dtype)
    for operator in (
        CircularConv(np.asarray([3.0, 1.0, 0.5], dtype), (7,)),
        Conv(delta(2, (3, 2), dtype), (5, 4), padding=((1, 1), (0, 1))),
        Matrix(square, (2, 3), (6,)),
        Identity((0, 3), np.zeros(0, dtype)),
    ):
        found = inverse(operator)
        one = np.eye(operator.size_in)
        limit = 100 * np.finfo(dtype).eps * np.linalg.cond(operator.to_matrix()) if operator.size_in else 0.0
        for both in (found @ operator, operator @ found):
            assert np.abs(both.to_matrix() - one).max(initial=0.0) <= limit


@pytest.mark.parametrize("damp", [0.0, 0.3])
def test_inverses_by_iteration_are_those_of_the_matrix(damp: float) -> None:
    """Adjoint included; many at once."""
    for name in ("tall, full", "wide"):
        operator = ZEROS[name]("complex128")
        by = [
            pinv(operator, method=m) if not damp else tikhonov(operator, damp, method=m)
            for m in ("iteration", "matrix")
        ]
        y, x = (normal(2, 3, *shape, dtype="complex128") for shape in (operator.shape_out, operator.shape_in))
        found, expected = (way @ y for way in by)
        assert np.linalg.norm(found - expected) <= 1e-8 * np.linalg.norm(expected)
        found, expected = (way.H @ x for way in by)
        assert np.linalg.norm(found - expected) <= 1e-8 * np.linalg.norm(expected)


def test_an_iteration_that_does_not_arrive_warns() -> None:
    operator = Diagonal(np.logspace(-9, 0, 3000))
    with pytest.warns(ConvergenceWarning, match=r"stopped after 2000 iterations.* of where it began"):
        found = pinv(operator, method="iteration") @ np.ones(3000)
    gradient = operator.H @ (operator @ found - 1)
    assert np.linalg.norm(gradient) > 1e-10 * np.linalg.norm(operator.H @ np.ones(3000))  # so that it warned rightly
