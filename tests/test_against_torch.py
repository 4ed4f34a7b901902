"""float64 agreement with PyTorch over random geometries: every member, each element within the derived bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from geometries import random_geometries, transposable_geometries

import arrconv
from arrconv import Geometry

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
functional = torch.nn.functional

SHARES, EACH = 6, 160  # 960 random geometries, of which PyTorch takes those of 1 to 3 dimensions


def torch_conv(g: Geometry, x: Any, w: Any, b: Any) -> Any:
    """PyTorch's convolution, with its own padding in every mode: one axis and one mode at a time."""
    pads = [amount for axis in reversed(g.axes) for amount in (axis.begin, axis.end)]
    mode = "constant" if g.padding_mode == "zeros" else g.padding_mode
    if any(pads):
        x = functional.pad(x, pads, mode=mode)
    call = getattr(functional, f"conv{g.ndim}d")
    return call(x, w, b, tuple(a.stride for a in g.axes), 0, tuple(a.dilation for a in g.axes), g.groups)


def torch_takes(g: Geometry) -> bool:
    """Whether PyTorch has this case at all: it pads at most once round, and at most three axes of a batch."""
    if g.ndim == 0:
        return False
    most = {"circular": lambda n: n, "reflect": lambda n: n - 1}.get(g.padding_mode)
    fits = most is None or all(max(axis.begin, axis.end) <= most(axis.input_size) for axis in g.axes)
    # Its crop of a padded axis must leave something, and so must its kernel.
    return fits and all(axis.input_size + min(axis.begin, 0) + min(axis.end, 0) > 0 for axis in g.axes)


def has_transpose(g: Geometry) -> bool:
    return all(0 <= a.slack < max(a.stride, a.dilation) and a.input_size > 0 for a in g.axes)


def both_bounds(member: str, *arrays: np.ndarray, **options: Any) -> Any:
    """Two float64 results, each within the bound of the exact one, are within twice the bound of each other."""
    bounds = arrconv.error_bound(member, *arrays, **options)
    return bounds.map(lambda bound: 2 * bound) if isinstance(bounds, arrconv.ConvGrads) else 2 * bounds


def check(g: Geometry, rng: np.random.Generator) -> None:
    options = g.options
    x, w, gy = (rng.standard_normal(shape) for shape in (g.input_shape, g.weight_shape, g.output_shape))
    b = rng.standard_normal(g.out_channels)
    tx, tw, tb = (torch.from_numpy(array).requires_grad_() for array in (x, w, b))
    expected = torch_conv(g, tx, tw, tb)
    expected.backward(torch.from_numpy(gy))
    grads = arrconv.conv_backward(x, w, gy, **options)
    bounds = both_bounds("conv_backward", x, w, gy, **options)
    results = [
        (arrconv.conv(x, w, b, **options), expected, both_bounds("conv", x, w, b, **options)),
        (grads.input, tx.grad, bounds.input),
        (grads.weight, tw.grad, bounds.weight),
        (grads.bias, tb.grad, bounds.bias),
    ]
    for got, wanted, bound in results:
        assert got.shape == tuple(wanted.shape), str(g)
        assert np.all(np.abs(got - wanted.detach().numpy()) <= bound), str(g)


def check_transposed(g: Geometry, rng: np.random.Generator) -> None:
    options = dict(g.options) | {"output_padding": g.slack}
    del options["padding_mode"]
    y, w, b = (rng.standard_normal(shape) for shape in (g.output_shape, g.weight_shape, (g.in_channels,)))
    call = getattr(functional, f"conv_transpose{g.ndim}d")
    same = {"stride": options["stride"], "output_padding": g.slack, "dilation": options["dilation"], "groups": g.groups}
    begins = tuple(a.begin for a in g.axes)
    expected = call(*map(torch.from_numpy, (y, w, b)), padding=begins, **same).numpy()
    got = arrconv.conv_transpose(y, w, b, **options)
    assert got.shape == expected.shape, str(g)
    assert np.all(np.abs(got - expected) <= both_bounds("conv_transpose", y, w, b, **options)), str(g)


@pytest.mark.parametrize("share", range(SHARES))
def test_torch_agrees_within_the_bounds(share: int) -> None:
    rng = np.random.default_rng(share)
    taken = [g for g in random_geometries(EACH, seed=1000 + share) if torch_takes(g)]
    assert len(taken) >= 84  # with six shares, more than 500
    for g in taken:
        check(g, rng)


@pytest.mark.parametrize("share", range(SHARES))
def test_torch_agrees_on_transposed_convolutions(share: int) -> None:
    rng = np.random.default_rng(share)
    taken = [g for g in transposable_geometries(EACH, seed=2000 + share) if has_transpose(g)]
    assert len(taken) >= 84
    for g in taken:
        check_transposed(g, rng)
