"""Pooling: against a literal loop, PyTorch and differences, with every option."""

from __future__ import annotations

from itertools import product
from typing import Any

import array_api_strict
import numpy as np
import pytest

import arrconv
from arrconv import DTypeError, ShapeError, SpecError, check_gradient

CASES: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    ((2, 3, 7), 2, {}),
    ((2, 3, 9), 3, {"stride": 2, "padding": 1}),
    ((2, 2, 7, 9), (2, 3), {}),
    ((1, 2, 8, 6), (3, 2), {"stride": (1, 2), "padding": ((1, 0), 1), "dilation": (2, 1)}),
    ((1, 2, 7, 8), 2, {"stride": 1, "padding": ((-1, 2), (0, -2))}),
    ((1, 2, 5, 6, 4), (2, 3, 1), {"stride": (2, 1, 1), "padding": (1, 0, 2)}),
    ((1, 1, 3, 4, 3, 2), 2, {"stride": 1}),
    ((2, 3, 2), 5, {}),  # a window larger than what there is
]
KINDS = {"max": (arrconv.max_pool, arrconv.max_pool_backward), "avg": (arrconv.avg_pool, arrconv.avg_pool_backward)}


def loop(kind: str, x: Any, kernel: Any, options: dict[str, Any]) -> Any:
    ndim = x.ndim - 2
    spread = lambda value: (value,) * ndim if isinstance(value, int) else tuple(value)  # noqa: E731
    kernel = spread(kernel)
    stride, dilation = spread(options.get("stride", kernel)), spread(options.get("dilation", 1))
    padding = [(p, p) if isinstance(p, int) else p for p in spread(options.get("padding", 0))]
    sizes = [
        max(0, (n + b + e - d * (k - 1) - 1) // s + 1)
        for n, (b, e), d, k, s in zip(x.shape[2:], padding, dilation, kernel, stride, strict=True)
    ]
    y = np.empty((*x.shape[:2], *sizes))
    for lead in np.ndindex(*x.shape[:2]):
        for at in np.ndindex(*sizes):
            seen = []
            for tap in np.ndindex(*kernel):
                place = [a * s + t * d for a, s, t, d in zip(at, stride, tap, dilation, strict=True)]
                ends = [n + b + e for n, (b, e) in zip(x.shape[2:], padding, strict=True)]
                assert all(p < end for p, end in zip(place, ends, strict=True))
                place = [p - b for p, (b, _) in zip(place, padding, strict=True)]
                inside = all(0 <= p < n for p, n in zip(place, x.shape[2:], strict=True))
                seen.append(x[(*lead, *place)] if inside else (-np.inf if kind == "max" else 0.0))
            y[(*lead, *at)] = max(seen) if kind == "max" else sum(seen) / len(seen)
    return y


@pytest.mark.parametrize(("shape", "kernel", "options"), CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_the_loop(kind: str, shape: tuple[int, ...], kernel: Any, options: dict[str, Any]) -> None:
    x = np.random.default_rng(1).integers(-50, 50, shape) / 4
    got = KINDS[kind][0](x, kernel, **options)
    expected = loop(kind, x, kernel, options)
    assert got.shape == expected.shape
    assert got == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(("shape", "kernel", "options"), CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_backward_pass_is_the_gradient(
    kind: str, shape: tuple[int, ...], kernel: Any, options: dict[str, Any]
) -> None:
    """Of numbers that lie farther apart than the steps of the differences."""
    x = np.random.default_rng(2).permutation(np.arange(float(np.prod(shape)))).reshape(shape) / 8
    forward, backward = KINDS[kind]
    if not np.isfinite(forward(x, kernel, **options)).all():
        return  # windows that see nothing have no derivative to compare with
    check = check_gradient(lambda a: forward(a, kernel, **options), lambda a, gy: backward(a, gy, kernel, **options), x)
    assert check, str(check)


@pytest.mark.parametrize(("shape", "kernel", "options"), CASES)
def test_the_mean_and_its_backward_pass_are_adjoint(
    shape: tuple[int, ...], kernel: Any, options: dict[str, Any]
) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(-9, 10, shape).astype(float)
    y = arrconv.avg_pool(x, kernel, **options)
    gy = rng.integers(-9, 10, y.shape).astype(float) * np.prod(kernel)
    assert float((y * gy).sum()) == pytest.approx(
        float((x * arrconv.avg_pool_backward(x, gy, kernel, **options)).sum())
    )


@pytest.mark.parametrize(("shape", "kernel", "options"), CASES[:6])
def test_values_and_gradients_are_those_of_pytorch(
    shape: tuple[int, ...], kernel: Any, options: dict[str, Any]
) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not all(isinstance(p, int) for p in np.atleast_1d(np.asarray(options.get("padding", 0), dtype=object))):
        pytest.skip("PyTorch pads both ends alike")
    ndim = len(shape) - 2
    x = np.random.default_rng(4).integers(0, 4, shape).astype(float)  # many that are equal
    given = torch.tensor(x, requires_grad=True)
    try:
        y = getattr(torch.nn.functional, f"max_pool{ndim}d")(given, kernel, **options)
    except RuntimeError as reason:
        pytest.skip(f"PyTorch: {reason}".splitlines()[0])
    gy = np.random.default_rng(5).standard_normal(tuple(y.shape))
    y.backward(torch.tensor(gy))
    assert np.array_equal(arrconv.max_pool(x, kernel, **options), y.detach().numpy())
    assert arrconv.max_pool_backward(x, gy, kernel, **options) == pytest.approx(given.grad.numpy(), rel=1e-14)


def test_of_equal_numbers_the_first_has_the_gradient() -> None:
    x = np.ones((1, 1, 4, 4))
    gx = arrconv.max_pool_backward(x, np.asarray([[[[1.0, 2.0], [3.0, 4.0]]]]), 2)
    assert gx[0, 0].tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]


def test_nan_is_larger_than_any_number() -> None:
    x = np.asarray([[[1.0, np.nan, 3.0, 4.0]]])
    assert np.isnan(arrconv.max_pool(x, 2)).tolist() == [[[True, False]]]
    assert arrconv.max_pool_backward(x, np.asarray([[[5.0, 6.0]]]), 2).tolist() == [[[0.0, 5.0, 0.0, 6.0]]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(0, 2, 5), (2, 0, 5), (2, 3, 0)])
def test_empty_arrays_are_pooled(kind: str, shape: tuple[int, ...]) -> None:
    x = np.zeros(shape)
    y = KINDS[kind][0](x, 2)
    assert y.shape == (*shape[:2], shape[2] // 2)
    assert KINDS[kind][1](x, np.ones_like(y), 2).shape == shape


@pytest.mark.parametrize("kind", KINDS)
def test_another_library_and_device_gives_the_same(kind: str) -> None:
    forward, backward = KINDS[kind]
    x = np.random.default_rng(6).standard_normal((2, 3, 7, 5))
    gy = forward(x, 3, stride=2, padding=1)
    device = array_api_strict.Device("device1")
    arrays = [array_api_strict.asarray(array, device=device) for array in (x, gy)]
    for got, right in (
        (forward(arrays[0], 3, stride=2, padding=1), gy),
        (backward(*arrays, 3, stride=2, padding=1), backward(x, gy, 3, stride=2, padding=1)),
    ):
        assert got.device == device
        home = array_api_strict.asarray(got, device=array_api_strict.Device("CPU_DEVICE"))
        assert np.array_equal(np.asarray(home), right)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: arrconv.max_pool(np.ones((2, 3)), 2), ShapeError, r"x has shape \(2, 3\), but needs"),
        (lambda: arrconv.max_pool(np.ones((1, 1, 4), int), 2), DTypeError, "must hold real"),
        (lambda: arrconv.avg_pool(np.ones((1, 1, 4)), 0), SpecError, "kernel_size must be at least 1, but got 0"),
        (lambda: arrconv.avg_pool(np.ones((1, 1, 4)), (2, 2)), SpecError, "kernel_size"),
        (lambda: arrconv.avg_pool(np.ones((1, 1, 4)), 2, stride=0), SpecError, "stride must be at least 1"),
        (lambda: arrconv.max_pool(np.ones((1, 1, 4)), 2, groups=2), SpecError, "'groups' is no option of pooling"),
        (lambda: arrconv.max_pool_backward(np.ones((1, 1, 4)), np.ones((1, 1, 3)), 2), ShapeError, "gy has shape"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_no_two_cases_are_the_same() -> None:
    assert all(a != b for a, b in product(CASES, CASES) if a is not b)
