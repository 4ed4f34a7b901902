"""The convolution family as a literal index loop: the judge of every exact test.

It imports nothing from the library under test and shares no idea with it: one product at a time, every index
spelled out, nothing rearranged, nothing skipped. Entries may be Python ints of any size, Fractions, floats or
complex numbers; arrays are anything that has a `shape` and is indexed by a tuple. NumPy only holds the
results: object arrays of Python numbers, so integers and Fractions are never rounded or wrapped.

Shapes, for d spatial dimensions (d = 0 included):
    x  (N, C_in, *n)        w  (C_out, C_in / groups, *kernel)        y  (N, C_out, *positions)
Options: stride and dilation are tuples of d ints, padding is a tuple of d pairs (begin, end), which may be
negative in mode "zeros"; padding_mode is "zeros", "circular", "reflect" or "replicate".
"""

from collections.abc import Iterator
from itertools import product
from typing import Any, TypedDict, Unpack

import numpy as np

Array = Any  # has a shape, is indexed by a tuple
Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


class Options(TypedDict):
    stride: Sizes
    padding: Pads
    dilation: Sizes
    groups: int
    padding_mode: str


def source(i: int, n: int, mode: str) -> int | None:
    """The index in 0 .. n-1 that position i of an endlessly padded axis reads, or None where it is a zero."""
    if 0 <= i < n:
        return i
    if mode == "zeros":
        return None
    if n == 0:
        raise ValueError(f"an axis of size 0 has nothing to pad with in mode {mode!r}")
    if mode == "circular":
        return i % n
    if mode == "replicate":
        return 0 if i < 0 else n - 1
    if mode == "reflect":
        if n == 1:
            return 0
        while not 0 <= i < n:  # one mirror after the other; the edge itself is not repeated
            i = -i if i < 0 else 2 * (n - 1) - i
        return i
    raise ValueError(f"unknown padding mode {mode!r}")


def output_size(n: int, k: int, s: int, d: int, begin: int, end: int) -> int:
    """How many positions a kernel of k taps takes along an axis of n; floor, and never below zero."""
    return max(0, (n + begin + end - (d * (k - 1) + 1)) // s + 1)


def products(
    x_shape: Sizes,
    w_shape: Sizes,
    y_shape: Sizes,
    *,
    stride: Sizes,
    padding: Pads,
    dilation: Sizes,
    groups: int,
    padding_mode: str,
) -> Iterator[tuple[Sizes | None, Sizes, Sizes]]:
    """Every product of the trilinear form, sum of x[x_index] * w[w_index] * y[y_index], as its three indices.

    The x index is None where the padding supplies a zero. y may have fewer positions than the forward pass.
    """
    batch, c_in, *n = x_shape
    c_out, c_per_group, *kernel = w_shape
    y_batch, y_channels, *positions = y_shape
    assert batch == y_batch, f"batch sizes differ: x {x_shape}, y {y_shape}"
    assert c_in == c_per_group * groups, f"input channels differ: x {x_shape}, w {w_shape}, groups {groups}"
    assert c_out == y_channels, f"output channels differ: w {w_shape}, y {y_shape}"
    assert c_out % groups == 0, f"{c_out} output channels do not split into {groups} groups"
    axes = list(zip(n, kernel, stride, dilation, padding, positions, strict=True))
    for size, k, s, d, (begin, end), count in axes:
        assert count <= output_size(size, k, s, d, begin, end), f"too many positions: {y_shape}"

    for item in range(batch):
        for o in range(c_out):
            group = o // (c_out // groups)
            for l in product(*(range(count) for count in positions)):  # noqa: E741 - the formula's name
                for c in range(c_per_group):
                    for tap in product(*(range(k) for k in kernel)):
                        read = [
                            source(s * l[axis] + d * tap[axis] - begin, size, padding_mode)
                            for axis, (size, _, s, d, (begin, _), _) in enumerate(axes)
                        ]
                        inside = [i for i in read if i is not None]
                        x_index = (item, group * c_per_group + c, *inside) if len(inside) == len(read) else None
                        yield x_index, (o, c, *tap), (item, o, *l)


def conv(x: Array, w: Array, bias: Array | None, **options: Unpack[Options]) -> np.ndarray:
    """y[n, o, l] = bias[o] + sum over c, k of w[o, c, k] * x[n, c, s*l + d*k - begin].

    A zero of the padding is multiplied, not skipped, so that a non-finite weight shows.
    """
    axes = zip(x.shape[2:], w.shape[2:], options["stride"], options["dilation"], options["padding"], strict=True)
    positions = tuple(output_size(n, k, s, d, begin, end) for n, k, s, d, (begin, end) in axes)
    y = _zeros((x.shape[0], w.shape[0], *positions))
    _add_bias(y, bias)
    for x_index, w_index, y_index in products(x.shape, w.shape, y.shape, **options):
        y[y_index] += _entry(w, w_index) * (0 if x_index is None else _entry(x, x_index))
    return y


def transpose_input(w: Array, y: Array, input_size: Sizes, **options: Unpack[Options]) -> np.ndarray:
    """The transpose of x -> conv(x, w): the same products, added up in x. No conjugation."""
    x = _zeros((y.shape[0], w.shape[1] * options["groups"], *input_size))
    for x_index, w_index, y_index in products(x.shape, w.shape, y.shape, **options):
        if x_index is not None:
            x[x_index] += _entry(w, w_index) * _entry(y, y_index)
    return x


def transpose_weight(x: Array, y: Array, kernel_size: Sizes, **options: Unpack[Options]) -> np.ndarray:
    """The transpose of w -> conv(x, w): the same products, added up in w. No conjugation."""
    w = _zeros((y.shape[1], x.shape[1] // options["groups"], *kernel_size))
    for x_index, w_index, y_index in products(x.shape, w.shape, y.shape, **options):
        w[w_index] += _entry(y, y_index) * (0 if x_index is None else _entry(x, x_index))
    return w


def grad_bias(gy: Array) -> np.ndarray:
    """The sum of gy over the batch and all positions, one entry for each output channel."""
    gb = _zeros((gy.shape[1],))
    for index in product(*(range(size) for size in gy.shape)):
        gb[index[1]] += _entry(gy, index)
    return gb


def conv_transpose(
    y: Array,
    w: Array,
    bias: Array | None,
    *,
    stride: Sizes,
    padding: Pads,
    output_padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> np.ndarray:
    """Every y[n, o, l] lays its scaled kernel down at s*l - begin + d*k; what falls outside is dropped.

    Deliberately not a call of transpose_input: the two must agree, which is a test.
    """
    batch, c_out, *positions = y.shape
    w_channels, c_per_group, *kernel = w.shape
    assert c_out == w_channels, f"channels differ: y {y.shape}, w {w.shape}"
    assert c_out % groups == 0, f"{c_out} channels do not split into {groups} groups"
    axes = list(zip(positions, kernel, stride, dilation, padding, output_padding, strict=True))
    sizes = [
        max(0, (count - 1) * s + d * (k - 1) + 1 - begin - end + extra) for count, k, s, d, (begin, end), extra in axes
    ]
    x = _zeros((batch, c_per_group * groups, *sizes))
    _add_bias(x, bias)
    for item, o, c in product(range(batch), range(c_out), range(c_per_group)):
        channel = (o // (c_out // groups)) * c_per_group + c
        for l in product(*(range(count) for count in positions)):  # noqa: E741 - the formula's name
            for tap in product(*(range(k) for k in kernel)):
                at = [s * l[axis] - begin + d * tap[axis] for axis, (_, _, s, d, (begin, _), _) in enumerate(axes)]
                if all(0 <= i < size for i, size in zip(at, sizes, strict=True)):
                    x[item, channel, *at] += _entry(w, (o, c, *tap)) * _entry(y, (item, o, *l))
    return x


def _zeros(shape: Sizes) -> np.ndarray:
    return np.full(shape, 0, dtype=object)


def _add_bias(result: np.ndarray, bias: Array | None) -> None:
    if bias is not None:
        assert len(bias) == result.shape[1], f"{len(bias)} bias entries for {result.shape[1]} channels"
        for index in product(*(range(size) for size in result.shape)):
            result[index] += _entry(bias, index[1])


def _entry(a: Array, index: Sizes | int) -> Any:
    value = a[index]
    # An array library's own scalar would wrap or round at its own width; the Python number does not.
    return value.item() if hasattr(value, "item") else value
