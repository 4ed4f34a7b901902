"""Every spelling of the same arrays and options gives the same bits; inputs stay as they are, results are fresh."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import arrconv
from arrconv import conv, conv_backward, conv_grad_bias, conv_grad_input, conv_grad_weight, conv_transpose

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = ["float32", "float64", "complex128", "int16", "float16"]
ALGORITHMS = ["table", "gemm", "taps"]
SHAPES = {"x": (3, 4, 9, 13), "w": (6, 2, 5, 2), "bias": (6,), "gy": (3, 6, 4, 15), "back": (4,)}
OPTIONS: dict[str, Any] = {"stride": (2, 1), "padding": ((2, 1), (0, 3)), "groups": 2}


def whole(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Small integers, negative and complex where the dtype allows: every sum of products is exact."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-3, 4, shape)
    return (values + 1j * rng.integers(-3, 4, shape) if dtype.startswith("complex") else values).astype(dtype)


def inside(array: np.ndarray, step: int) -> np.ndarray:
    """The same values within a larger buffer, every `step`-th element of it and not from its start."""
    base = np.full([step * size + 2 for size in array.shape], 99, array.dtype)
    view = base[tuple(slice(1, 1 + step * size, step) for size in array.shape)]
    view[...] = array
    return view


def reversed_view(array: np.ndarray) -> np.ndarray:
    flip = (slice(None, None, -1),) * array.ndim
    return np.ascontiguousarray(array[flip])[flip]


def channels_last(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, min(1, array.ndim - 1), -1)), -1, min(1, array.ndim - 1))


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "strided": lambda array: inside(array, 3),
    "offset": lambda array: inside(array, 1),
    "reversed": reversed_view,
    "fortran": np.asfortranarray,
    "channels-last": channels_last,
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "read-only": read_only,
    "unaligned": lambda array: np.frombuffer(b"?" + array.tobytes(), array.dtype, offset=1).reshape(array.shape),
}


def members(arrays: dict[str, np.ndarray], algorithm: str) -> dict[str, np.ndarray]:
    """What every member makes of these arrays."""
    x, w, bias, gy, back = (arrays[name] for name in SHAPES)
    both = OPTIONS | {"algorithm": algorithm}
    grads = conv_backward(x, w, gy, **both)
    return {
        "conv": conv(x, w, bias, **both),
        "conv_transpose": conv_transpose(gy, w, back, output_padding=(1, 0), **both),
        "conv_grad_input": conv_grad_input(w, gy, input_size=(9, 13), **both),
        "conv_grad_weight": conv_grad_weight(x, gy, kernel_size=(5, 2), **both),
        "conv_grad_bias": conv_grad_bias(gy),
        "conv_backward.input": grads.input,
        "conv_backward.weight": grads.weight,
        "conv_backward.bias": grads.bias,
    }


def owner(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def same_bits(got: np.ndarray, expected: np.ndarray) -> bool:
    return got.dtype == expected.dtype and got.shape == expected.shape and got.tobytes() == expected.tobytes()


def result_dtype(dtype: str) -> np.dtype[Any]:
    return np.dtype("int64" if np.dtype(dtype).kind in "iu" else dtype)


def check_results(results: dict[str, np.ndarray], inputs: dict[str, np.ndarray], dtype: str) -> None:
    """Native, C-contiguous, of the right dtype, and in memory of their own."""
    for member, result in results.items():
        assert type(result) is np.ndarray, member
        assert result.dtype == result_dtype(dtype), member
        assert result.dtype.isnative, member
        assert result.flags.c_contiguous, member
        assert result.flags.writeable, member
        assert not any(np.shares_memory(result, array) for array in inputs.values()), member


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_of_an_input_changes_no_bit(layout: str, dtype: str, algorithm: str) -> None:
    plain = {name: whole(shape, dtype, seed) for seed, (name, shape) in enumerate(SHAPES.items())}
    expected = members(plain, algorithm)
    for names in [*([name] for name in SHAPES), list(SHAPES)]:
        arrays = plain | {name: LAYOUTS[layout](plain[name]) for name in names}
        assert all(np.array_equal(arrays[name], plain[name]) for name in names)
        buffers = [(owner(array), owner(array).tobytes()) for array in arrays.values()]
        results = members(arrays, algorithm)
        assert all(buffer.tobytes() == before for buffer, before in buffers), names
        check_results(results, arrays, dtype)
        for member, result in results.items():
            assert same_bits(result, expected[member]), (member, names)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_broadcast_input_gives_the_bits_of_a_full_one(dtype: str, axis: int, algorithm: str) -> None:
    broadcast = {}
    for seed, (name, shape) in enumerate(SHAPES.items()):
        place = min(axis, len(shape) - 1)
        one = whole((*shape[:place], 1, *shape[place + 1 :]), dtype, seed)
        broadcast[name] = np.broadcast_to(one, shape)
    expected = members({name: array.copy() for name, array in broadcast.items()}, algorithm)
    results = members(broadcast, algorithm)
    check_results(results, broadcast, dtype)
    for member, result in results.items():
        assert same_bits(result, expected[member]), member


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "complex64"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [(), (5,), (5, 7)])
def test_an_identity_gives_a_copy(size: tuple[int, ...], algorithm: str, dtype: str) -> None:
    x = whole((2, 3, *size), dtype, 1)
    w = np.eye(3, dtype=dtype).reshape(3, 3, *(1,) * len(size))
    before = x.copy()
    results = {
        "conv": conv(x, w, algorithm=algorithm),
        "batch-free": conv(x[0], w, algorithm=algorithm)[None],
        "grouped": conv(x, np.ones((3, 1, *w.shape[2:]), dtype), groups=3, algorithm=algorithm),
        "transpose": conv_transpose(x, w, algorithm=algorithm),
        "grad": conv_grad_input(w, x, input_size=size, algorithm=algorithm),
        "bias": conv_grad_bias(x[0, :, *(0,) * len(size)], spatial_ndim=0),
    }
    check_results(results, {"x": x, "w": w}, dtype)
    for member, result in results.items():
        expected = before[:1] if member == "batch-free" else before
        expected = before[0, :, *(0,) * len(size)] if member == "bias" else expected
        assert np.array_equal(result, expected), member
        result += 1
    assert same_bits(x, before)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_crop_gives_memory_of_its_own(algorithm: str) -> None:
    x, w = whole((2, 3, 7, 11), "float64", 1), np.eye(3).reshape(3, 3, 1, 1)
    crop = {"padding": ((-1, -2), (-3, 0)), "algorithm": algorithm}
    cropped = conv(x, w, **crop)
    assert np.array_equal(cropped, x[:, :, 1:5, 3:])
    spread = conv_transpose(cropped, w, **crop)
    assert np.array_equal(spread[:, :, 1:5, 3:], cropped)
    assert np.count_nonzero(spread) == np.count_nonzero(cropped)
    check_results({"cropped": cropped, "spread": spread}, {"x": x, "w": w}, "float64")
    assert not np.shares_memory(cropped, spread)


PAIRS: list[Any] = [(2, 1), [2, 1], np.array([2, 1]), (np.int64(2), np.uint8(1)), range(2, 0, -1)]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{type(pair).__name__}-{pair}")
def test_options_take_any_sequence_of_any_integers(pair: Any) -> None:
    x, w, gy = (whole(SHAPES[name], "int64", 3) for name in ("x", "w", "gy"))
    expected = conv(x, w, stride=(2, 1), dilation=(2, 1), padding=((2, 1), (2, 1)), groups=2)
    options = {"stride": pair, "dilation": pair, "padding": [pair, pair], "groups": np.int8(2)}
    assert same_bits(conv(x, w, **options), expected)
    sized = conv_grad_input(w, gy, input_size=[np.int64(9), 13], **OPTIONS)
    assert same_bits(sized, conv_grad_input(w, gy, input_size=(9, 13), **OPTIONS))
    weight = conv_grad_weight(x, gy, kernel_size=np.array([5, 2]), **OPTIONS)
    assert same_bits(weight, conv_grad_weight(x, gy, kernel_size=(5, 2), **OPTIONS))
    longer = conv_transpose(gy, w, **(OPTIONS | {"stride": 3}), output_padding=pair)
    assert same_bits(longer, conv_transpose(gy, w, **(OPTIONS | {"stride": 3}), output_padding=(2, 1)))


def test_options_take_arrays_of_no_axes() -> None:
    x, w = whole(SHAPES["x"], "int64", 3), whole(SHAPES["w"], "int64", 4)
    assert same_bits(conv(x, w, stride=np.array(2), groups=np.array(2)), conv(x, w, stride=2, groups=2))


def test_sizes_may_be_a_torch_size() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, w, gy = (torch.asarray(whole(SHAPES[name], "float64", 5)) for name in ("x", "w", "gy"))
    gx = conv_grad_input(w, gy, input_size=x.shape[2:], **OPTIONS)
    gw = conv_grad_weight(x, gy, kernel_size=w.shape[2:], **OPTIONS)
    assert (gx.shape, gw.shape) == (x.shape, w.shape)
    assert same_bits(gx.numpy(), conv_grad_input(w.numpy(), gy.numpy(), input_size=(9, 13), **OPTIONS))
    assert same_bits(gw.numpy(), conv_grad_weight(x.numpy(), gy.numpy(), kernel_size=(5, 2), **OPTIONS))


@pytest.mark.parametrize(("x_shape", "w_shape"), [
    ((0, 4, 9, 13), (6, 2, 5, 2)),
    ((3, 0, 9, 13), (6, 0, 5, 2)),
    ((3, 4, 9, 13), (0, 2, 5, 2)),
    ((3, 4, 1, 13), (6, 2, 5, 2)),
    ((3, 4, 0, 13), (6, 2, 5, 2)),
    ((3, 4, 9, 0), (6, 2, 5, 5)),
    ((0, 0, 0, 0), (0, 0, 5, 2)),
    ((4, 2, 13), (6, 2, 5, 2)),
    ((0, 9, 13), (6, 0, 5, 2)),
])  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "int16", "complex128", "float16"])
@pytest.mark.parametrize("algorithm", ["auto", *ALGORITHMS])
def test_nothing_to_add_gives_zeros_and_the_bias(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], dtype: str, algorithm: str
) -> None:
    options = {"stride": 2, "padding": ((0, 1), 0), "groups": 2, "algorithm": algorithm}
    x, w, bias = whole(x_shape, dtype, 1), whole(w_shape, dtype, 2), whole(w_shape[:1], dtype, 3)
    y = conv(x, w, bias, **options)
    assert y.shape[:-2] == (*x_shape[:-3], w_shape[0])
    assert np.array_equal(y, np.broadcast_to(bias[:, None, None], y.shape))
    grads = conv_backward(x, w, np.ones(y.shape, dtype), **options)
    assert [grad.shape for grad in astuple(grads)] == [x.shape, w.shape, bias.shape]
    assert not np.any(grads.input)
    assert not np.any(grads.weight)
    assert np.array_equal(grads.bias, np.full(bias.shape, y.size // max(1, w_shape[0])))
    check_results({"y": y, "gx": grads.input, "gw": grads.weight, "gb": grads.bias}, {"x": x, "w": w, "b": bias}, dtype)
    if y.size == 0:
        transposed = {key: value for key, value in options.items() if key != "padding"}
        size = tuple(max(0, 2 * (n - 1) + k) for n, k in zip(y.shape[-2:], w_shape[2:], strict=True))
        back = whole((x.shape[-3],), dtype, 4)
        spread = conv_transpose(y, w, back, output_size=size, **transposed)
        assert spread.shape == (*x_shape[:-3], x_shape[-3], *size)
        assert np.array_equal(spread, np.broadcast_to(back[:, None, None], spread.shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_batch_free_is_a_batch_of_one(dtype: str, algorithm: str) -> None:
    plain = {name: whole(shape, dtype, seed) for seed, (name, shape) in enumerate(SHAPES.items())}
    batched = members(plain | {name: plain[name][:1] for name in ("x", "gy")}, algorithm)
    x, w, bias, gy, back = (plain[name][0] if name in ("x", "gy") else plain[name] for name in SHAPES)
    both = OPTIONS | {"algorithm": algorithm}
    single = {
        "conv": conv(x, w, bias, **both),
        "conv_transpose": conv_transpose(gy, w, back, output_padding=(1, 0), **both),
        "conv_grad_input": conv_grad_input(w, gy, input_size=(9, 13), **both),
        "conv_grad_weight": conv_grad_weight(x, gy, kernel_size=(5, 2), **both),
        "conv_grad_bias": conv_grad_bias(gy, spatial_ndim=2),
        "conv_backward.bias": conv_backward(x, w, gy, needs={"bias"}, **both).bias,
    }
    check_results(single, plain, dtype)
    for member, result in single.items():
        expected = batched[member]
        assert same_bits(result, expected if member.endswith(("weight", "bias")) else expected[0]), member


def test_grad_bias_counts_the_spatial_axes() -> None:
    gy = whole((2, 3, 5, 7), "float64", 1)
    assert np.array_equal(conv_grad_bias(gy), gy.sum((0, 2, 3)))
    assert np.array_equal(conv_grad_bias(gy, spatial_ndim=2), gy.sum((0, 2, 3)))
    assert np.array_equal(conv_grad_bias(gy, spatial_ndim=3), gy.sum((1, 2, 3)))
    assert np.array_equal(conv_grad_bias(gy[0, 0], spatial_ndim=0), gy[0, 0].sum(0))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("first", "second"), [("uint64", "uint64"), ("int64", "uint64"), ("uint8", "int8"),
                                               ("int8", "uint32"), ("int16", "int64")])  # fmt: skip
def test_integers_are_exact_modulo_2_64(first: str, second: str, algorithm: str) -> None:
    rng = np.random.default_rng(11)
    full = {name: np.iinfo(name) for name in (first, second)}
    x = rng.integers(full[first].min, full[first].max, (2, 3, 5), first, endpoint=True)
    w = rng.integers(full[second].min, full[second].max, (4, 3, 2), second, endpoint=True)
    bias = np.full(4, full[second].max, second)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(object), 2, axis=2)  # Python's own integers
    exact = np.tensordot(windows, w.astype(object), ((1, 3), (1, 2))).transpose(0, 2, 1) + bias.astype(object)[:, None]
    wrapped = ((exact + 2**63) % 2**64 - 2**63).astype(np.int64)
    y = conv(x, w, bias, algorithm=algorithm)
    assert y.dtype == np.int64
    assert np.array_equal(y, wrapped)
    gy = rng.integers(full[second].min, full[second].max, y.shape, second, endpoint=True)
    exact_gw = np.tensordot(gy.astype(object), windows, ((0, 2), (0, 2)))
    gw = conv_grad_weight(x, gy, kernel_size=(2,), algorithm=algorithm)
    assert np.array_equal(gw, ((exact_gw + 2**63) % 2**64 - 2**63).astype(np.int64))
    if "64" in first:
        assert max(map(abs, exact.ravel())) > 2**64  # or nothing would have wrapped


def test_views_of_bfloat16_are_read_right() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    x, w = whole((2, 3, 7), "float32", 1).astype(ml_dtypes.bfloat16), whole((4, 3, 2), "float32", 2)
    w = w.astype(ml_dtypes.bfloat16)
    expected = conv(x.astype(np.float32), w.astype(np.float32))
    for algorithm in ALGORITHMS:
        y = conv(inside(x, 2), w[::-1], algorithm=algorithm)
        assert y.dtype == ml_dtypes.bfloat16
        assert np.array_equal(y.astype(np.float32), expected[:, ::-1])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_subclass_without_rules_of_its_own_is_an_array(algorithm: str, tmp_path: Any) -> None:
    class Tagged(np.ndarray):
        pass

    x, w = whole((2, 3, 7), "float64", 1), whole((4, 3, 2), "float64", 2)
    mapped = np.memmap(tmp_path / "x", "float64", "w+", shape=x.shape)
    mapped[...] = x
    for given in (mapped, x.view(Tagged)):
        assert np.array_equal(np.asarray(conv(given, w, algorithm=algorithm)), arrconv.conv(x, w))
