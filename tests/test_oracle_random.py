"""The oracle on random geometries: against its own laws, and against PyTorch."""

import math
import random
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import oracle
import pytest

TORCH_MODES = {"zeros": "constant", "circular": "circular", "reflect": "reflect", "replicate": "replicate"}
MODES = ("zeros", "circular", "reflect", "replicate")
Pair = tuple[int, int]


# Random geometries


@dataclass(frozen=True, slots=True)
class Geometry:
    batch: int
    c_in: int
    c_out: int
    n: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[Pair, ...]
    groups: int
    mode: str
    positions: tuple[int, ...]  # of the forward pass

    @property
    def x_shape(self) -> tuple[int, ...]:
        return (self.batch, self.c_in, *self.n)

    @property
    def w_shape(self) -> tuple[int, ...]:
        return (self.c_out, self.c_in // self.groups, *self.kernel)

    @property
    def y_shape(self) -> tuple[int, ...]:
        return (self.batch, self.c_out, *self.positions)

    @property
    def options(self) -> Any:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "padding_mode": self.mode,
        }


@cache
def draw(seed: int, *, within_torch: bool = True) -> Geometry:
    """A geometry whose batch, channels and sizes all differ; the seed fixes dimension and padding mode."""
    rng = random.Random(seed)
    d, mode = seed % 3 + 1, MODES[seed // 3 % 4]
    while True:
        groups, batch = rng.choice((1, 2, 3)), rng.randint(2, 3)
        c_in, c_out = groups * rng.randint(1, 4), groups * rng.randint(1, 4)
        n = tuple(rng.randint(2, (14, 9, 6)[d - 1]) for _ in range(d))
        sizes = (batch, c_in, c_out, *n)
        if len(set(sizes)) < len(sizes):
            continue
        kernel = tuple(rng.sample(range(1, (6, 5, 4)[d - 1]), d))
        stride = tuple(rng.randint(1, 3) for _ in range(d))
        dilation = tuple(rng.randint(1, 3) for _ in range(d))
        padding = tuple(
            (draw_padding(rng, size, mode, within_torch), draw_padding(rng, size, mode, within_torch)) for size in n
        )
        axes = zip(n, kernel, stride, dilation, padding, strict=True)
        # A position for each start at which the whole kernel still lies inside: counted, not computed.
        positions = tuple(
            sum(start + spread * (k - 1) < begin + size + end for start in range(0, 99, s))
            for size, k, s, spread, (begin, end) in axes
        )
        work = batch * c_out * math.prod(positions) * c_in // groups * math.prod(kernel)
        if 0 < work <= 1_500:
            return Geometry(batch, c_in, c_out, n, kernel, stride, dilation, padding, groups, mode, positions)


def draw_padding(rng: random.Random, size: int, mode: str, within_torch: bool) -> int:
    if mode == "zeros":
        return rng.randint(-1, 4)
    if not within_torch:
        return rng.choice((0, 1, 2 * size + 1))
    return rng.randint(0, {"circular": size, "reflect": size - 1, "replicate": size + 2}[mode])


def integers(rng: random.Random, shape: tuple[int, ...]) -> np.ndarray:
    """Small Python ints other than 0, so that no product can go missing unseen."""
    result = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        result[index] = rng.choice((-1, 1)) * rng.randint(1, 9)
    return result


def assert_same(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.dtype == object
    assert got.shape == expected.shape
    assert got.tolist() == expected.tolist()


def trimmed(rng: random.Random, positions: tuple[int, ...]) -> tuple[int, ...]:
    """At most as many positions on each axis, at least one."""
    return tuple(rng.randint(max(1, count - 2), count) for count in positions)


SEEDS = range(60)
TRANSPOSED_SEEDS = range(48)


def test_the_geometries_are_varied() -> None:
    drawn = [draw(seed) for seed in SEEDS]
    assert {(len(g.n), g.mode) for g in drawn} == set(product((1, 2, 3), MODES))
    assert sum(1 < g.groups < min(g.c_in, g.c_out) for g in drawn) >= 10
    assert sum(any(begin != end for begin, end in g.padding) for g in drawn) >= 10
    assert sum(min(map(min, g.padding)) < 0 for g in drawn) >= 5
    assert sum(any(s > 1 for s in g.stride) and any(d > 1 for d in g.dilation) for g in drawn) >= 10
    assert sum(g.positions != trimmed(random.Random(1), g.positions) for g in drawn) >= 10


def large_integer(rng: random.Random) -> int:
    return rng.randint(-(2**80), 2**80)


def fraction(rng: random.Random) -> Fraction:
    return Fraction(rng.randint(-50, 50), rng.randint(1, 20))


def gaussian_integer(rng: random.Random) -> complex:
    return complex(rng.randint(-9, 9), rng.randint(-9, 9))


@pytest.mark.parametrize("number", [large_integer, fraction, gaussian_integer])
@pytest.mark.parametrize("seed", range(100, 112))
def test_the_transposes_are_the_transposes(seed: int, number: Any) -> None:
    """The sums of y * conv(x, w), x * transpose_input(w, y) and w * transpose_weight(x, y) are one number."""
    g = draw(seed, within_torch=False)
    rng = random.Random(seed)
    x, w, y = (
        np.array([number(rng) for _ in range(math.prod(shape))], dtype=object).reshape(shape)
        for shape in (g.x_shape, g.w_shape, g.y_shape)
    )
    form = (oracle.conv(x, w, None, **g.options) * y).sum()
    assert (oracle.transpose_input(w, y, g.n, **g.options) * x).sum() == form
    assert (oracle.transpose_weight(x, y, g.kernel, **g.options) * w).sum() == form
    assert form != 0


@pytest.mark.parametrize("seed", [seed for seed in range(96) if seed // 3 % 4 == 0])
def test_conv_transpose_is_the_transpose_of_the_input(seed: int) -> None:
    g = draw(seed)
    rng = random.Random(seed)
    positions = trimmed(rng, g.positions)
    w, y = integers(rng, g.w_shape), integers(rng, (g.batch, g.c_out, *positions))
    axes = zip(g.n, positions, g.kernel, g.stride, g.dilation, g.padding, strict=True)
    output_padding = tuple(
        begin + n + end - ((count - 1) * s + d * (k - 1) + 1) for n, count, k, s, d, (begin, end) in axes
    )
    x = oracle.conv_transpose(
        y, w, None,
        stride=g.stride, padding=g.padding, output_padding=output_padding,
        dilation=g.dilation, groups=g.groups,
    )  # fmt: skip
    assert_same(x, oracle.transpose_input(w, y, g.n, **g.options))


# PyTorch, in float64 on small integers: every partial sum is exact, so the answers must be equal


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch, the independent second opinion, is not installed")


def tensor(torch: Any, a: np.ndarray) -> Any:
    return torch.tensor(a.astype(np.float64), requires_grad=True)


def torch_pads(padding: tuple[Pair, ...]) -> list[int]:
    """PyTorch lists the last axis first."""
    return [amount for pair in reversed(padding) for amount in pair]


@pytest.mark.parametrize("seed", SEEDS)
def test_conv_and_gradients_agree_with_torch(torch: Any, seed: int) -> None:
    g = draw(seed)
    rng = random.Random(seed)
    x, w, bias = integers(rng, g.x_shape), integers(rng, g.w_shape), integers(rng, (g.c_out,))
    functional = torch.nn.functional
    tx, tw, tb = (tensor(torch, a) for a in (x, w, bias))
    padded = functional.pad(tx, torch_pads(g.padding), mode=TORCH_MODES[g.mode])
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[len(g.n) - 1]
    ty = convolve(padded, tw, tb, stride=g.stride, dilation=g.dilation, groups=g.groups)
    assert_same(oracle.conv(x, w, bias, **g.options), ty.detach().numpy())

    positions = trimmed(rng, g.positions)
    gy = integers(rng, (g.batch, g.c_out, *positions))
    kept = ty[(..., *(slice(count) for count in positions))]
    tgx, tgw, tgb = torch.autograd.grad(kept, (tx, tw, tb), tensor(torch, gy))
    assert_same(oracle.transpose_input(w, gy, g.n, **g.options), tgx.numpy())
    assert_same(oracle.transpose_weight(x, gy, g.kernel, **g.options), tgw.numpy())
    assert_same(oracle.grad_bias(gy), tgb.numpy())


@pytest.mark.parametrize("seed", TRANSPOSED_SEEDS)
def test_conv_transpose_agrees_with_torch(torch: Any, seed: int) -> None:
    """PyTorch's own padding and output padding; what they cannot say is in the next test."""
    g = draw(seed)
    rng = random.Random(seed)
    y, w, bias = integers(rng, g.y_shape), integers(rng, g.w_shape), integers(rng, (g.c_in,))
    # PyTorch takes an output padding below the stride or below the dilation.
    output_padding = tuple(rng.randrange(max(s, d)) for s, d in zip(g.stride, g.dilation, strict=True))
    axes = zip(g.kernel, g.dilation, g.positions, g.stride, strict=True)
    padding = tuple(rng.randint(0, ((count - 1) * s + d * (k - 1)) // 2) for k, d, count, s in axes)
    scatter = getattr(torch.nn.functional, f"conv_transpose{len(g.n)}d")
    expected = scatter(
        *(tensor(torch, a) for a in (y, w, bias)),
        stride=g.stride, padding=padding, output_padding=output_padding, dilation=g.dilation, groups=g.groups,
    )  # fmt: skip
    got = oracle.conv_transpose(
        y, w, bias,
        stride=g.stride, padding=tuple((p, p) for p in padding), output_padding=output_padding,
        dilation=g.dilation, groups=g.groups,
    )  # fmt: skip
    assert_same(got, expected.detach().numpy())


@pytest.mark.parametrize("seed", TRANSPOSED_SEEDS)
def test_conv_transpose_with_asymmetric_padding_crops_what_torch_scatters(torch: Any, seed: int) -> None:
    g = draw(seed)
    rng = random.Random(seed)
    y, w = integers(rng, g.y_shape), integers(rng, g.w_shape)
    axes = zip(g.kernel, g.dilation, g.positions, g.stride, strict=True)
    full = [(count - 1) * s + d * (k - 1) + 1 for k, d, count, s in axes]
    padding = tuple((rng.randint(-3, (size - 1) // 2), rng.randint(-3, (size - 1) // 2)) for size in full)
    output_padding = tuple(rng.randint(0, 5) for _ in full)
    scatter = getattr(torch.nn.functional, f"conv_transpose{len(g.n)}d")
    everything = scatter(tensor(torch, y), tensor(torch, w), stride=g.stride, dilation=g.dilation, groups=g.groups)
    edges = zip(padding, output_padding, strict=True)
    crop = torch_pads(tuple((-begin, extra - end) for (begin, end), extra in edges))
    got = oracle.conv_transpose(
        y, w, None,
        stride=g.stride, padding=padding, output_padding=output_padding, dilation=g.dilation, groups=g.groups,
    )  # fmt: skip
    assert_same(got, torch.nn.functional.pad(everything, crop).detach().numpy())
