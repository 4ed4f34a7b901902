"""Upsampling: its definition by position, the framework's interpolation, and the adjoint in exact numbers."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import array_api_strict
import numpy as np
import pytest

import arrconv
from arrconv import DTypeError, ShapeError, SpecError, check_gradient

CASES: list[tuple[tuple[int, ...], Any]] = [
    ((2, 3, 5), 2),
    ((2, 3, 4), 3),
    ((1, 2, 1), 4),
    ((1, 2, 3, 4), 2),
    ((1, 2, 3, 2), (3, 2)),
    ((1, 2, 3, 2), (1, 5)),
    ((1, 1, 2, 3, 2), (2, 3, 4)),
    ((1, 1, 2, 3, 2, 2), 2),
    ((2, 3, 5), 1),
]
MODES = ["nearest", "linear"]


def interpolated(row: list[Fraction], factor: int, mode: str) -> list[Fraction]:
    """By position: the middle of fine cell i lies at (i + 1/2)/factor − 1/2, and beyond the ends nothing changes."""
    found = []
    for fine in range(len(row) * factor):
        place = Fraction(2 * fine + 1, 2 * factor) - Fraction(1, 2)
        if mode == "nearest":
            found.append(row[fine // factor])
            continue
        low = math.floor(place)
        share = place - low
        ends = [row[min(max(at, 0), len(row) - 1)] for at in (low, low + 1)]
        found.append((1 - share) * ends[0] + share * ends[1])
    return found


def loop(x: Any, factors: tuple[int, ...], mode: str) -> Any:
    x = np.vectorize(Fraction, otypes=[object])(x)
    for axis, factor in enumerate(factors, start=2):
        x = np.apply_along_axis(lambda row, f=factor: interpolated(list(row), f, mode), axis, x)
    return x.astype(float)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "factor"), CASES)
def test_values_are_those_of_the_definition(shape: tuple[int, ...], factor: Any, mode: Any) -> None:
    x = np.random.default_rng(1).integers(-50, 50, shape).astype(float)
    factors = (factor,) * (len(shape) - 2) if isinstance(factor, int) else factor
    got = arrconv.upsample(x, factor, mode=mode)
    assert got.shape == (*shape[:2], *(n * f for n, f in zip(shape[2:], factors, strict=True)))
    assert got == pytest.approx(loop(x, factors, mode), rel=1e-14, abs=1e-13)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "factor"), CASES)
def test_the_backward_pass_is_the_adjoint(shape: tuple[int, ...], factor: Any, mode: Any) -> None:
    """In powers of two and small integers, where nothing is rounded unless a factor is odd."""
    rng = np.random.default_rng(2)
    x = rng.integers(-9, 10, shape).astype(float)
    y = arrconv.upsample(x, factor, mode=mode)
    gy = rng.integers(-9, 10, y.shape).astype(float)
    gx = arrconv.upsample_backward(gy, factor, mode=mode)
    assert gx.shape == shape
    assert float((y * gy).sum()) == pytest.approx(float((x * gx).sum()), rel=1e-13, abs=1e-10)
    check = check_gradient(
        lambda a: arrconv.upsample(a, factor, mode=mode),
        lambda _, g: arrconv.upsample_backward(g, factor, mode=mode),
        x[:1, :1],
    )
    assert check, str(check)


@pytest.mark.parametrize(("shape", "factor"), [case for case in CASES if len(case[0]) < 6])
def test_values_are_those_of_pytorch(shape: tuple[int, ...], factor: Any) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = np.random.default_rng(3).standard_normal(shape)
    given = torch.tensor(x, requires_grad=True)
    mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[len(shape)]
    factors = (factor,) * (len(shape) - 2) if isinstance(factor, int) else factor
    scale = tuple(float(f) for f in factors)
    y = torch.nn.functional.interpolate(given, scale_factor=scale, mode=mode, align_corners=False)
    gy = np.random.default_rng(4).standard_normal(tuple(y.shape))
    y.backward(torch.tensor(gy))
    assert arrconv.upsample(x, factor, mode="linear") == pytest.approx(y.detach().numpy(), rel=1e-13, abs=1e-13)
    assert arrconv.upsample_backward(gy, factor, mode="linear") == pytest.approx(
        given.grad.numpy(), rel=1e-12, abs=1e-12
    )
    nearest = torch.nn.functional.interpolate(given, scale_factor=scale, mode="nearest")
    assert np.array_equal(arrconv.upsample(x, factor), nearest.detach().numpy())


@pytest.mark.parametrize("mode", MODES)
def test_a_constant_stays_one(mode: Any) -> None:
    x = np.full((1, 2, 3, 4), 7.0)
    assert np.array_equal(arrconv.upsample(x, (2, 4), mode=mode), np.full((1, 2, 6, 16), 7.0))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(0, 2, 5), (2, 0, 5), (2, 3, 0)])
def test_empty_arrays_stay_empty(mode: Any, shape: tuple[int, ...]) -> None:
    y = arrconv.upsample(np.zeros(shape), 3, mode=mode)
    assert y.shape == (*shape[:2], 3 * shape[2])
    assert arrconv.upsample_backward(y, 3, mode=mode).shape == shape


@pytest.mark.parametrize("mode", MODES)
def test_another_library_and_device_gives_the_same(mode: Any) -> None:
    x = np.random.default_rng(6).standard_normal((2, 3, 4, 5))
    device = array_api_strict.Device("device1")
    got = arrconv.upsample(array_api_strict.asarray(x, device=device), 2, mode=mode)
    assert got.device == device
    home = array_api_strict.asarray(got, device=array_api_strict.Device("CPU_DEVICE"))
    assert np.asarray(home) == pytest.approx(arrconv.upsample(x, 2, mode=mode), rel=1e-15)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: arrconv.upsample(np.ones((2, 3)), 2), ShapeError, r"x has shape \(2, 3\), but needs"),
        (lambda: arrconv.upsample(np.ones((1, 1, 4), int), 2), DTypeError, "must hold real"),
        (lambda: arrconv.upsample(np.ones((1, 1, 4)), 0), SpecError, "factor must be at least 1, but got 0"),
        (lambda: arrconv.upsample(np.ones((1, 1, 4)), 1.5), SpecError, "factor must be an integer, but got 1.5"),
        (lambda: arrconv.upsample(np.ones((1, 1, 4)), 2, mode="cubic"), SpecError, "mode='cubic' is unknown"),
        (lambda: arrconv.upsample_backward(np.ones((1, 1, 5)), 2), ShapeError, "no multiple of the factor 2"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
