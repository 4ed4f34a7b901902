"""Convolution by the Fourier transform: every option against exact results, within an error bound of its own."""

from __future__ import annotations

import tracemalloc
from typing import Any

import array_api_compat.numpy as xnp
import array_api_strict
import numpy as np
import pytest
from geometries import random_geometries

import arrconv
from arrconv import Geometry, UnsupportedError, error_bound, explain
from arrconv.kernels import fourier

GEOMETRIES = [g for g in random_geometries(32, seed=8) if g.ndim]
SMALL = 2**13  # bytes of workspace, for which positions, channels and images are cut


def normal(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    rng = np.random.default_rng((seed, *shape))
    real = rng.standard_normal(shape)
    return (real + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else real).astype(dtype)


def calls(g: Geometry, dtype: str) -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
    x, w, y, bias = (normal(s, dtype) for s in (g.input_shape, g.weight_shape, g.output_shape, (g.out_channels,)))
    options: dict[str, Any] = g.options
    return {
        "conv": ((x, w, bias), options),
        "conv_grad_input": ((w, y), options | {"input_size": g.input_size}),
        "conv_grad_weight": ((x, y), options | {"kernel_size": g.kernel_size}),
    }


@pytest.mark.parametrize("workspace", [2**26, SMALL])
@pytest.mark.parametrize("dtype", ["float64", "complex64", "float16"])
def test_every_option_within_the_bound(dtype: str, workspace: int) -> None:
    compared = 0
    for g in GEOMETRIES:
        for name, (arrays, options) in calls(g, dtype).items():
            member = getattr(arrconv, name)
            with arrconv.limits(workspace=workspace):
                try:
                    found = member(*arrays, algorithm="fft", **options)
                except UnsupportedError:
                    assert workspace == SMALL
                    continue
            exact = member(*arrays, algorithm="exact", **options)
            bound = error_bound(name, *arrays, algorithm="fft", **options)
            assert found.shape == exact.shape == bound.shape
            assert found.dtype == exact.dtype
            kind = complex if dtype.startswith("complex") else float
            assert (np.abs(found.astype(kind) - exact.astype(kind)) <= bound).all(), (name, str(g))
            compared += 1
    assert compared > (2.9 if workspace > SMALL else 2) * len(GEOMETRIES)


@pytest.mark.parametrize(
    "case",
    [
        "n=2 c=3 o=5 x=40,53 k=31,17 p=15,8",
        "n=3 c=4 o=6 g=2 x=37,29 k=9,12 s=2,3 d=2,1 p=7:3,4",
        "n=2 c=7 o=5 x=301 k=90 p=-3:40",
    ],
)
def test_whole_numbers_are_the_nearest(case: str) -> None:
    """The sums are so small that rounding brings each back; sums over many channels are matrix products."""
    g = Geometry.parse(case)
    rng = np.random.default_rng(1)
    x, w, y = (rng.integers(-5, 6, shape) for shape in (g.input_shape, g.weight_shape, g.output_shape))
    floats = [array.astype("float64") for array in (x, w, y)]
    for workspace in (2**26, 2**18):
        with arrconv.limits(workspace=workspace):
            options: Any = g.options | {"algorithm": "fft"}
            assert np.array_equal(np.rint(arrconv.conv(*floats[:2], **options)), arrconv.conv(x, w, **g.options))
            back = arrconv.conv_grad_input(*floats[1:], input_size=g.input_size, **options)
            assert np.array_equal(np.rint(back), arrconv.conv_grad_input(w, y, input_size=g.input_size, **g.options))
            of_weight = arrconv.conv_grad_weight(floats[0], floats[2], kernel_size=g.kernel_size, **options)
            right = arrconv.conv_grad_weight(x, y, kernel_size=g.kernel_size, **g.options)
            assert np.array_equal(np.rint(of_weight), right)


def test_it_has_the_error_that_its_bound_says_and_direct_summation_has_not() -> None:
    """One large number spoils those that never meet it."""
    x = normal((1, 1, 64), "float64")
    x[0, 0, 0] = 1e12
    w = normal((1, 1, 9), "float64")
    error = np.abs(arrconv.conv(x, w, algorithm="fft") - arrconv.conv(x, w, algorithm="exact"))
    assert (error > error_bound("conv", x, w)).any()
    assert (error <= error_bound("conv", x, w, algorithm="fft")).all()
    assert (error_bound("conv", x, w, algorithm="fft") < 1e12 * 1e-11).all()


def test_what_is_not_finite_reaches_what_reads_it_alone() -> None:
    x, w = normal((2, 3, 20, 21), "float32"), normal((4, 3, 5, 7), "float32")
    x[1, 2, 10, 11], w[3, 0, 0, 0] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        direct, found = (arrconv.conv(x, w, padding=2, algorithm=name) for name in ("taps", "fft"))
    assert np.array_equal(np.isnan(found), np.isnan(direct))
    assert np.array_equal(found == np.inf, direct == np.inf)
    assert 0 < np.isnan(found).sum() < found.size


@pytest.mark.parametrize(
    ("case", "room"), [("n=4 c=32 o=24 x=96,80 k=11,9 p=5", 2**24), ("n=1 c=1 o=1 x=700,650 k=9,9", 2**25)]
)
def test_the_workspace_bounds_its_memory_and_threads_change_no_bit(case: str, room: int) -> None:
    g = Geometry.parse(case)
    for name, (arrays, options) in calls(g, "float64").items():
        found = []
        for threads in (1, 2):
            with arrconv.limits(workspace=room, threads=threads):
                tracemalloc.start()
                try:
                    found.append(getattr(arrconv, name)(*arrays, algorithm="fft", **options))
                    peak = tracemalloc.get_traced_memory()[1]
                finally:
                    tracemalloc.stop()
            assert peak - 2 * found[0].nbytes <= 1.25 * room  # the result, and the look whether it is finite
        assert np.array_equal(*found)


def test_it_runs_when_it_is_asked_for_only_and_says_what_it_cannot() -> None:
    x, w = np.ones((1, 2, 9)), np.ones((3, 2, 3))
    assert "only when asked for" in explain("conv", x, w).passed_over["fft"]
    assert explain("conv", x, w, algorithm="fft").kernel == "fft"
    for arrays, reason in (
        ((x.astype(int), w.astype(int)), "sums of integers are exact"),
        (tuple(map(array_api_strict.asarray, (x, w))), "not on those of array_api_strict"),
        ((np.ones((1, 2)), np.ones((3, 2))), "no axis"),
    ):
        with pytest.raises(UnsupportedError, match=reason):
            arrconv.conv(*arrays, algorithm="fft")
    with arrconv.limits(workspace=100), pytest.raises(UnsupportedError, match="spectra of one kernel and one window"):
        arrconv.conv(x, w, algorithm="fft")
    assert arrconv.conv(np.ones((0, 2, 9)), w, algorithm="fft").shape == (0, 3, 7)
    assert arrconv.conv(x[..., :2], w, algorithm="fft").shape == (1, 3, 0)
    assert not arrconv.conv_grad_weight(x[..., :2], np.ones((1, 3, 0)), kernel_size=(3,), algorithm="fft").any()


def test_integers_have_no_error_and_a_bias_the_ordinary_one() -> None:
    y = normal((2, 3, 5), "float32")
    assert np.array_equal(error_bound("conv_grad_bias", y, algorithm="fft"), error_bound("conv_grad_bias", y))
    assert not error_bound("conv", np.ones((1, 1, 4), int), np.ones((1, 1, 2), int), algorithm="fft").any()


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("size", [(5,), (6, 7), (3, 4, 5), (256, 300)])
def test_transforms_are_those_of_the_standard(size: tuple[int, ...], dtype: str) -> None:
    x, axes = normal((2, *size), dtype), tuple(range(-len(size), 0))
    is_complex = dtype.startswith("complex")
    expected = np.fft.fftn(x, axes=axes) if is_complex else np.fft.rfftn(x, axes=axes)
    found = fourier.transform(xnp, x, len(size))
    assert found.dtype == np.result_type(dtype, np.complex64)
    unit = np.finfo(dtype).eps * np.abs(expected).max()
    assert np.abs(found - expected).max() <= 4 * unit
    assert np.abs(fourier.restore(xnp, found, size, is_complex=is_complex) - x).max() <= 40 * np.finfo(dtype).eps


def test_fast_sizes_are_the_next_ones_with_small_factors() -> None:
    def is_fast(n: int) -> bool:
        for p in (2, 3, 5):
            while n % p == 0:
                n //= p
        return n == 1

    fast = [n for n in range(1, 1100) if is_fast(n)]
    for least in range(1, 1000):
        assert fourier.fast_size(least) == next(n for n in fast if n >= least)
