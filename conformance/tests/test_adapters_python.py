"""The adapters of JAX, TensorFlow, MLX and SciPy: that they ask their frameworks for what they are asked.

The values come from the literal loop of tests/oracle.py, in integers that every dtype here holds exactly. An error in
a layout, an order of channels or a direction of padding shows in them; where a framework has no way to say something,
its adapter must say so, and not do it itself.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import oracle
import pytest
from arrconv_conformance import Unsupported
from arrconv_conformance.layouts import laid_out

LIBRARIES = {"jax": "jax", "tensorflow": "tensorflow", "mlx": "mlx.core", "scipy": "scipy"}
DIFFERENTIABLE = ("jax", "tensorflow", "mlx")


@pytest.fixture
def adapter(request: pytest.FixtureRequest) -> Any:
    name = request.param
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a framework has to say while it is imported is not ours to judge
        pytest.importorskip(LIBRARIES[name], reason=f"{name} is not installed")
        return importlib.import_module(f"arrconv_conformance.adapters.{name}")


everywhere = pytest.mark.parametrize("adapter", LIBRARIES, indirect=True)
with_gradients = pytest.mark.parametrize("adapter", DIFFERENTIABLE, indirect=True)


def integers(shape: tuple[int, ...], seed: int, dtype: str = "float32") -> Any:
    """Small integers, complex ones with two parts."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-4, 5, shape)
    return (values + 1j * rng.integers(-4, 5, shape) if dtype.startswith("complex") else values).astype(dtype)


def options(ndim: int, **changes: Any) -> dict[str, Any]:
    plain = {"stride": (1,) * ndim, "padding": ((0, 0),) * ndim, "dilation": (1,) * ndim, "groups": 1}
    return plain | {"padding_mode": "zeros"} | changes


def transposed(forward: dict[str, Any], output_padding: tuple[int, ...]) -> dict[str, Any]:
    kept = {name: value for name, value in forward.items() if name != "padding_mode"}
    return kept | {"output_padding": output_padding}


def assert_same(found: Any, expected: Any, dtype: str = "float32") -> None:
    assert isinstance(found, np.ndarray)
    assert (found.shape, found.dtype) == (expected.shape, np.dtype(dtype))
    assert np.array_equal(found.astype(complex), expected.astype(complex))


def assert_everything_asked_is_right(
    adapter: Any, x_shape: Any, w_shape: Any, given: dict[str, Any], dtype: str = "float32"
) -> Any:
    """All that a geometry has, with the values of the oracle; the result of the convolution."""
    x, w = integers(x_shape, 1, dtype), integers(w_shape, 2, dtype)
    bias = integers((w_shape[0],), 3, dtype)
    expected = oracle.conv(x, w, bias, **given)
    y = adapter.conv(x, w, bias, **given)
    assert_same(y, expected, dtype)
    assert_same(adapter.conv(x, w, None, **given), oracle.conv(x, w, None, **given), dtype)
    gy = integers(expected.shape, 4, dtype)
    grads = adapter.conv_backward(x, w, gy, needs=("input", "weight", "bias"), **given)
    assert_same(grads["input"], oracle.transpose_input(np.conj(w), gy, x.shape[2:], **given), dtype)
    assert_same(grads["weight"], oracle.transpose_weight(np.conj(x), gy, w.shape[2:], **given), dtype)
    assert_same(grads["bias"], oracle.grad_bias(gy), dtype)
    return y


def assert_right_transposed(
    adapter: Any, y_shape: Any, w_shape: Any, given: dict[str, Any], dtype: str = "float32"
) -> None:
    y, w = integers(y_shape, 5, dtype), integers(w_shape, 6, dtype)
    bias = integers((w_shape[1] * given["groups"],), 7, dtype)
    assert_same(adapter.conv_transpose(y, w, bias, **given), oracle.conv_transpose(y, w, bias, **given), dtype)
    assert_same(adapter.conv_transpose(y, w, None, **given), oracle.conv_transpose(y, w, None, **given), dtype)


def test_the_comparison_sees_every_difference() -> None:
    right = np.arange(6.0, dtype="float32").reshape(2, 3)
    assert_same(right, right)
    for wrong in (right.T, right.astype("float64"), right + 1, right.tolist()):
        with pytest.raises(AssertionError):
            assert_same(wrong, right)


@everywhere
def test_a_convolution_by_hand(adapter: Any) -> None:
    x = np.array([[[1, 2, 3, 4]]], "float32")
    w, bias = np.array([[[1, 10]]], "float32"), np.array([100], "float32")
    given = options(1)
    assert adapter.conv(x, w, bias, **given).tolist() == [[[121, 132, 143]]]
    assert adapter.conv(x, w, None, **given).tolist() == [[[21, 32, 43]]]
    found = adapter.conv_transpose(x, w, bias, **transposed(given, (0,)))
    assert found.tolist() == [[[101, 112, 123, 134, 140]]]


@with_gradients
def test_gradients_by_hand(adapter: Any) -> None:
    x, w, gy = (np.array([[values]], "float32") for values in ([1, 2, 3, 4], [1, 10], [1, 2, 3]))
    grads = adapter.conv_backward(x, w, gy, needs=("weight", "input", "bias"), **options(1))
    found = {need: grad.tolist() for need, grad in grads.items()}
    assert found == {"input": [[[1, 12, 23, 30]]], "weight": [[[14, 20]]], "bias": [6]}
    assert adapter.conv_backward(x, w, gy, needs=("bias",), **options(1)).keys() == {"bias"}


@everywhere
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "padding"),
    [
        ((3, 2, 7), (5, 2, 3), ((0, 0),)),
        ((2, 3, 6, 5), (4, 3, 2, 3), ((0, 0), (0, 0))),
        ((2, 3, 6, 5), (4, 3, 2, 3), ((1, 0), (0, 2))),
        ((2, 1, 6, 5), (4, 1, 2, 3), ((1, 1), (2, 2))),  # SciPy's "full"
        ((2, 1, 6, 5), (4, 1, 4, 3), ((2, 1), (1, 1))),  # SciPy's "same"
        ((2, 3, 4, 6, 5), (2, 3, 3, 1, 2), ((0, 0), (0, 0), (0, 0))),
    ],
)
def test_convolutions_that_all_have(adapter: Any, x_shape: Any, w_shape: Any, padding: Any) -> None:
    x, w, bias = integers(x_shape, 1), integers(w_shape, 2), integers(w_shape[:1], 3)
    given = options(len(padding), padding=padding)
    assert_same(adapter.conv(x, w, bias, **given), oracle.conv(x, w, bias, **given))


@everywhere
@pytest.mark.parametrize(
    ("y_shape", "w_shape", "padding"),
    [
        ((3, 4, 7), (4, 2, 3), ((0, 0),)),
        ((2, 3, 6, 5), (3, 4, 2, 3), ((0, 0), (0, 0))),
        ((2, 1, 6, 5), (1, 4, 4, 3), ((1, 2), (1, 1))),
    ],
)
def test_transposed_convolutions_that_all_have(adapter: Any, y_shape: Any, w_shape: Any, padding: Any) -> None:
    assert_right_transposed(
        adapter, y_shape, w_shape, transposed(options(len(padding), padding=padding), (0,) * len(padding))
    )


@with_gradients
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "changes"),
    [
        ((2, 3, 11), (4, 3, 4), {"stride": (3,), "padding": ((2, 1),)}),
        ((2, 3, 9), (4, 3, 2), {"padding": ((1, 2),), "dilation": (3,)}),
        ((2, 3, 8, 7), (4, 3, 2, 3), {"stride": (2, 3), "padding": ((1, 0), (0, 2))}),
        ((2, 3, 8, 7), (4, 3, 2, 3), {"padding": ((1, 2), (2, 0)), "dilation": (3, 2)}),
        ((2, 2, 5, 4, 6), (3, 2, 2, 1, 3), {"stride": (2, 1, 3), "padding": ((1, 0), (0, 0), (2, 1))}),
        ((3, 2, 6, 5), (4, 2, 2, 3), {"padding": ((1, 2), (2, 0)), "padding_mode": "reflect"}),
    ],
)
def test_all_of_a_geometry(adapter: Any, x_shape: Any, w_shape: Any, changes: dict[str, Any]) -> None:
    assert_everything_asked_is_right(adapter, x_shape, w_shape, options(len(x_shape) - 2, **changes))


@pytest.mark.parametrize("adapter", ["jax", "mlx"], indirect=True)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_strides_with_groups_and_unequal_channels(adapter: Any, dtype: str) -> None:
    if adapter.name == "mlx" and dtype != "float32":
        pytest.skip("MLX has these dtypes not at all, or not with groups")
    given = options(2, stride=(2, 3), padding=((1, 2), (0, 3)), dilation=(2, 1), groups=2)
    assert_everything_asked_is_right(adapter, (2, 4, 8, 7), (6, 2, 2, 3), given, dtype)
    assert_right_transposed(adapter, (2, 6, 4, 3), (6, 2, 2, 3), transposed(given, (1, 2)), dtype)


@pytest.mark.parametrize("adapter", ["jax", "tensorflow"], indirect=True)
def test_strides_with_groups_forward(adapter: Any) -> None:
    x, w, bias = integers((2, 4, 8, 7), 1), integers((6, 2, 2, 3), 2), integers((6,), 3)
    given = options(2, stride=(2, 3), padding=((1, 2), (0, 3)), dilation=(2, 1), groups=2)
    assert_same(adapter.conv(x, w, bias, **given), oracle.conv(x, w, bias, **given))


@with_gradients
@pytest.mark.parametrize(
    ("y_shape", "w_shape", "stride", "output_padding"),
    [
        ((2, 4, 5), (4, 3, 3), (3,), (2,)),
        ((2, 4, 5, 3), (4, 3, 3, 2), (2, 3), (1, 2)),
        ((2, 2, 3, 2, 4), (2, 3, 2, 3, 1), (2, 3, 1), (1, 2, 0)),
    ],
)
def test_output_padding(adapter: Any, y_shape: Any, w_shape: Any, stride: Any, output_padding: Any) -> None:
    assert_right_transposed(adapter, y_shape, w_shape, transposed(options(len(stride), stride=stride), output_padding))


@with_gradients
def test_the_padding_of_a_transposed_convolution_crops(adapter: Any) -> None:
    for padding in (((1, 1), (2, 2)), ((1, 0), (0, 2))):
        given = transposed(options(2, stride=(2, 3), padding=padding), (1, 0))
        assert_right_transposed(adapter, (2, 4, 5, 3), (4, 2, 3, 4), given)


@with_gradients
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_are_adjoints(adapter: Any, dtype: str) -> None:
    if adapter.name == "mlx" and dtype == "float64":
        pytest.skip("MLX has no float64 for dilated inputs, which this gradient is made of")
    given = options(2, stride=(2, 3), padding=((1, 0), (2, 1)))
    x, w, y = integers((3, 2, 8, 7), 1, dtype), integers((5, 2, 3, 4), 2, dtype), integers((3, 5, 4, 3), 3, dtype)
    grads = adapter.conv_backward(x, w, y, needs=("input", "weight"), **given)
    law = (adapter.conv(x, w, None, **given) * y).sum()
    assert law != 0
    assert law == (x * grads["input"]).sum() == (w * grads["weight"]).sum()
    assert grads["input"].dtype == grads["weight"].dtype == np.dtype(dtype)


@with_gradients
def test_gradients_of_the_transposed_convolution_are_adjoints(adapter: Any) -> None:
    given = transposed(options(2, stride=(2, 3), padding=((1, 1), (2, 2))), (1, 2))
    y, w = integers((3, 5, 4, 3), 1), integers((5, 2, 3, 4), 2)
    x = adapter.conv_transpose(y, w, None, **given)
    gx = integers(x.shape, 3)
    grads = adapter.conv_transpose_backward(y, w, gx, needs=("input", "weight", "bias"), **given)
    law = (x * gx).sum()
    assert law != 0
    assert law == (y * grads["input"]).sum() == (w * grads["weight"]).sum()
    assert grads["bias"].tolist() == gx.sum((0, 2, 3)).tolist()
    forward = options(2, stride=(2, 3), padding=((1, 1), (2, 2)))
    assert_same(grads["input"], oracle.conv(gx, w, None, **forward)[:, :, :4, :3])


@pytest.mark.parametrize("adapter", ["jax"], indirect=True)
def test_complex_gradients_conjugate(adapter: Any) -> None:
    forward = options(1, stride=(2,), padding=((1, 2),))
    assert_everything_asked_is_right(adapter, (2, 2, 7), (3, 2, 3), forward, "complex64")
    given = transposed(forward, (1,))
    y, w = integers((2, 3, 4), 1, "complex128"), integers((3, 2, 3), 2, "complex128")
    x = adapter.conv_transpose(y, w, None, **given)
    gx = integers(x.shape, 3, "complex128")
    grads = adapter.conv_transpose_backward(y, w, gx, needs=("input", "weight"), **given)
    law = np.vdot(x, gx)
    assert law == np.vdot(y, grads["input"]) == np.vdot(w, grads["weight"])


@pytest.mark.parametrize("adapter", ["scipy"], indirect=True)
def test_complex_convolutions_do_not_conjugate(adapter: Any) -> None:
    x, w = integers((2, 3, 7), 1, "complex64"), integers((4, 3, 2), 2, "complex64")
    assert_same(adapter.conv(x, w, None, **options(1)), oracle.conv(x, w, None, **options(1)), "complex64")
    given = transposed(options(1), (0,))
    assert_right_transposed(adapter, (2, 4, 6), (4, 3, 2), given, "complex64")


@with_gradients
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_floating_point_numbers_come_back_as_such(adapter: Any, dtype: str) -> None:
    pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed; bfloat16 is a dtype of it")
    assert_everything_asked_is_right(adapter, (2, 1, 4), (2, 1, 2), options(1), dtype)


@pytest.mark.parametrize("adapter", ["jax"], indirect=True)
def test_negative_padding_goes_to_the_convolution(adapter: Any) -> None:
    assert_everything_asked_is_right(adapter, (2, 3, 9, 8), (4, 3, 2, 3), options(2, padding=((-1, -2), (1, -1))))


@everywhere
@pytest.mark.parametrize(
    ("padding", "amounts"),
    [("valid", ((0, 0), (0, 0))), ("same_upper", ((0, 1), (1, 1))), ("same_lower", ((1, 0), (1, 1)))],
)
def test_names_of_paddings_are_passed_on_or_unsupported(adapter: Any, padding: str, amounts: Any) -> None:
    offered = {
        "jax": ("valid", "same_upper", "same_lower"),
        "tensorflow": ("valid", "same_upper"),
        "mlx": (),
        "scipy": ("valid", "same_lower"),
    }
    x, w = integers((2, 1, 5, 6), 1), integers((4, 1, 2, 3), 2)
    if padding in offered[adapter.name]:
        expected = oracle.conv(x, w, None, **options(2, padding=amounts))
        assert_same(adapter.conv(x, w, None, **options(2, padding=padding)), expected)
    else:
        with pytest.raises(Unsupported):
            adapter.conv(x, w, None, **options(2, padding=padding))


@pytest.mark.parametrize("adapter", ["jax", "tensorflow"], indirect=True)
def test_the_names_of_a_transposed_convolution_mean_the_strided_size(adapter: Any) -> None:
    y, w = integers((2, 4, 3, 5), 1), integers((4, 3, 3, 4), 2)
    given = transposed(options(2, stride=(2, 3), padding="same_upper"), (0, 0))
    amounts = transposed(options(2, stride=(2, 3), padding=((0, 1), (0, 1))), (0, 0))  # of sizes 6 and 15
    assert_same(adapter.conv_transpose(y, w, None, **given), oracle.conv_transpose(y, w, None, **amounts))


LACKS = {
    "tensorflow": [
        ((2, 3), (4, 3), {}),
        ((2, 3, 8), (4, 3, 2), {"padding": ((-1, 0),)}),
        ((2, 3, 8), (4, 3, 2), {"padding_mode": "circular"}),
        ((2, 3, 8), (4, 3, 2), {"padding_mode": "replicate"}),
    ],
    "mlx": [
        ((2, 3), (4, 3), {}),
        ((2, 3, 4, 3, 5, 2), (4, 3, 1, 2, 1, 2), {}),
        ((2, 3, 8), (4, 3, 2), {"padding_mode": "circular"}),
    ],
    "scipy": [
        ((2, 3, 8), (4, 3, 2), {"stride": (2,)}),
        ((2, 3, 8), (4, 3, 2), {"dilation": (2,)}),
        ((2, 4, 8), (4, 2, 2), {"groups": 2}),
        ((2, 3, 8), (4, 3, 2), {"padding": ((0, -1),)}),
        ((2, 3, 8), (4, 3, 2), {"padding_mode": "replicate"}),
    ],
}


@pytest.mark.parametrize("adapter", LACKS, indirect=True)
def test_what_a_framework_lacks_is_unsupported(adapter: Any) -> None:
    for x_shape, w_shape, changes in LACKS[adapter.name]:
        with pytest.raises(Unsupported):
            adapter.conv(integers(x_shape, 1), integers(w_shape, 2), None, **options(len(w_shape) - 2, **changes))


@pytest.mark.parametrize("adapter", ["tensorflow"], indirect=True)
def test_tensorflow_has_amounts_of_transposed_padding_in_two_dimensions_alone(adapter: Any) -> None:
    given = transposed(options(1, padding=((1, 0),)), (0,))
    with pytest.raises(Unsupported, match="conv1d_transpose takes no amounts"):
        adapter.conv_transpose(integers((2, 4, 5), 1), integers((4, 3, 3), 2), None, **given)


@pytest.mark.parametrize("adapter", ["tensorflow"], indirect=True)
def test_tensorflow_is_not_told_groups_that_the_filters_do_not_say(adapter: Any) -> None:
    with pytest.raises(Unsupported, match="not told the number of groups"):
        adapter.conv(integers((2, 3, 8), 1), integers((4, 3, 2), 2), None, **options(1, groups=5))


@with_gradients
def test_integers_have_no_gradients(adapter: Any) -> None:
    x, w, gy = (integers(shape, seed, "int32") for seed, shape in enumerate(((2, 3, 8), (4, 3, 2), (2, 4, 7))))
    with pytest.raises(Unsupported):
        adapter.conv_backward(x, w, gy, needs=("input",), **options(1))


@pytest.mark.parametrize(
    ("adapter", "dtypes"),
    [("jax", ("int8", "uint8", "int16", "int32", "int64")), ("tensorflow", ("int32",)), ("scipy", ("int16", "uint8"))],
    indirect=["adapter"],
)
def test_integers_come_back_as_such(adapter: Any, dtypes: tuple[str, ...]) -> None:
    for dtype in dtypes:
        x, w = (
            abs(integers(shape, seed, "int64")).astype(dtype) for seed, shape in ((1, (2, 1, 4, 5)), (2, (3, 1, 2, 2)))
        )
        assert_same(adapter.conv(x, w, None, **options(2)), oracle.conv(x, w, None, **options(2)), dtype)
        assert adapter.claims[dtype] == "wraps"


@pytest.mark.parametrize("adapter", ["tensorflow", "mlx"], indirect=True)
def test_a_dtype_that_a_framework_lacks_is_unsupported(adapter: Any) -> None:
    for dtype in ("complex64", "int8"):
        with pytest.raises(Unsupported):
            adapter.conv(integers((2, 3, 8), 1, dtype), integers((4, 3, 2), 2, dtype), None, **options(1))


@everywhere
@pytest.mark.parametrize("layout", ["last", "fortran", "strided", "offset", "readonly", "reversed"])
def test_every_layout_has_the_same_values(adapter: Any, layout: str) -> None:
    x, w = integers((2, 3, 6, 5), 1), integers((4, 3, 2, 3), 2)
    views = laid_out(x, layout), laid_out(w, layout)
    if adapter.name == "mlx" and layout == "reversed":
        with pytest.raises(Unsupported, match="negative strides"):
            adapter.conv(*views, None, **options(2))
    else:
        assert_same(adapter.conv(*views, None, **options(2)), oracle.conv(x, w, None, **options(2)))


@pytest.mark.parametrize("adapter", ["scipy"], indirect=True)
def test_scipy_has_no_gradients(adapter: Any) -> None:
    assert not hasattr(adapter, "conv_backward")
    assert not hasattr(adapter, "conv_transpose_backward")


@pytest.mark.parametrize("adapter", ["jax"], indirect=True)
def test_jax_keeps_its_64_bits_to_itself(adapter: Any) -> None:
    import jax

    x, w = integers((2, 3, 7), 1, "float64"), integers((4, 3, 2), 2, "float64")
    before = jax.config.jax_enable_x64
    assert_same(adapter.conv(x, w, None, **options(1)), oracle.conv(x, w, None, **options(1)), "float64")
    assert jax.config.jax_enable_x64 is before
