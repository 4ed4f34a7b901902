"""The adapters of ONNX Runtime, the ONNX reference evaluator, OpenVINO and tinygrad: what they ask frameworks for.

The values come from the literal loop of tests/oracle.py, in integers that every dtype here holds exactly.
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

LIBRARIES = {"onnxruntime": "onnxruntime", "onnx_reference": "onnx", "openvino": "openvino", "tinygrad": "tinygrad"}
ONNX = ("onnxruntime", "onnx_reference")


@pytest.fixture
def adapter(request: pytest.FixtureRequest) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a framework has to say while it is imported is not ours to judge
        pytest.importorskip(LIBRARIES[request.param], reason=f"{request.param} is not installed")
        return importlib.import_module(f"arrconv_conformance.adapters.{request.param}")


everywhere = pytest.mark.parametrize("adapter", LIBRARIES, indirect=True)


def integers(shape: tuple[int, ...], seed: int, dtype: Any = "float32") -> Any:
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def options(ndim: int, **changes: Any) -> dict[str, Any]:
    plain = {"stride": (1,) * ndim, "padding": ((0, 0),) * ndim, "dilation": (1,) * ndim, "groups": 1}
    return plain | {"padding_mode": "zeros"} | changes


def transposed(ndim: int, **changes: Any) -> dict[str, Any]:
    given = options(ndim, output_padding=(0,) * ndim, **changes)
    del given["padding_mode"]
    return given


def assert_same(found: Any, expected: Any, dtype: Any = "float32") -> None:
    assert isinstance(found, np.ndarray)
    assert (found.shape, found.dtype) == (expected.shape, np.dtype(dtype))
    assert np.array_equal(found.astype(float), expected.astype(float))


@everywhere
def test_a_convolution_by_hand(adapter: Any) -> None:
    x, w, bias = np.array([[[1, 2, 3, 4]]], "float32"), np.array([[[1, 10]]], "float32"), np.array([100], "float32")
    assert adapter.conv(x, w, bias, **options(1)).tolist() == [[[121, 132, 143]]]
    assert adapter.conv_transpose(x, w, None, **transposed(1)).tolist() == [[[1, 12, 23, 34, 40]]]


@everywhere
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 2), (0, 3))])
def test_strides_groups_dilation_and_unequal_padding(adapter: Any, padding: Any) -> None:
    x, w, bias = integers((2, 4, 9, 8), 1), integers((6, 2, 2, 3), 2), integers((6,), 3)
    given = options(2, stride=(2, 3), padding=padding, dilation=(3, 2), groups=2)
    assert_same(adapter.conv(x, w, bias, **given), oracle.conv(x, w, bias, **given))


@pytest.mark.parametrize("adapter", ["onnxruntime", "openvino", "tinygrad"], indirect=True)
def test_transposed_strides_groups_and_output_padding(adapter: Any) -> None:
    y, w, bias = integers((2, 6, 4, 3), 1), integers((6, 2, 2, 3), 2), integers((4,), 3)
    given = transposed(2, stride=(2, 3), padding=((1, 1), (0, 0)), groups=2) | {"output_padding": (1, 2)}
    assert_same(adapter.conv_transpose(y, w, bias, **given), oracle.conv_transpose(y, w, bias, **given))


@everywhere
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
def test_padding_modes_go_to_the_operation_for_them(adapter: Any, mode: str) -> None:
    x, w = integers((2, 3, 6, 5), 1), integers((4, 3, 2, 3), 2)
    given = options(2, padding=((1, 2), (2, 0)), padding_mode=mode)
    if (adapter.name, mode) == ("openvino", "circular"):
        with pytest.raises(Unsupported, match="no circular padding"):
            adapter.conv(x, w, None, **given)
    else:
        assert_same(adapter.conv(x, w, None, **given), oracle.conv(x, w, None, **given))


@pytest.mark.parametrize("adapter", ["onnxruntime", "openvino", "tinygrad"], indirect=True)
def test_negative_padding_crops(adapter: Any) -> None:
    x, w = integers((2, 3, 9, 8), 1), integers((4, 3, 2, 3), 2)
    given = options(2, padding=((-1, -2), (1, -1)))
    assert_same(adapter.conv(x, w, None, **given), oracle.conv(x, w, None, **given))


@everywhere
@pytest.mark.parametrize(
    ("padding", "amounts"),
    [("valid", ((0, 0), (0, 0))), ("same_upper", ((0, 1), (1, 1))), ("same_lower", ((1, 0), (1, 1)))],
)
def test_names_of_paddings_are_passed_on_or_unsupported(adapter: Any, padding: str, amounts: Any) -> None:
    x, w = integers((2, 3, 5, 6), 1), integers((4, 3, 2, 3), 2)
    if adapter.name == "tinygrad" and padding != "valid":
        with pytest.raises(Unsupported, match="no padding by name"):
            adapter.conv(x, w, None, **options(2, padding=padding))
    else:
        expected = oracle.conv(x, w, None, **options(2, padding=amounts))
        assert_same(adapter.conv(x, w, None, **options(2, padding=padding)), expected)


@everywhere
@pytest.mark.parametrize("layout", ["last", "fortran", "strided", "offset", "readonly", "reversed", "broadcast"])
def test_every_layout_has_the_same_values(adapter: Any, layout: str) -> None:
    x, w = (laid_out(integers(shape, seed), layout) for seed, shape in ((1, (2, 3, 6, 5)), (2, (4, 3, 2, 3))))
    assert_same(adapter.conv(x, w, None, **options(2)), oracle.conv(np.array(x), np.array(w), None, **options(2)))


@pytest.mark.parametrize("adapter", ["openvino", "tinygrad"], indirect=True)
def test_bfloat16_is_not_read_after_it_was_freed(adapter: Any) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed; bfloat16 is a dtype of it")
    x, w = integers((2, 1, 6, 5), 1, ml_dtypes.bfloat16), integers((40, 1, 2, 3), 2, ml_dtypes.bfloat16)
    for layout in ("plain", "fortran"):
        found = adapter.conv(laid_out(x, layout), laid_out(w, layout), None, **options(2))
        assert_same(
            found, oracle.conv(x.astype("float32"), w.astype("float32"), None, **options(2)), ml_dtypes.bfloat16
        )


@pytest.mark.parametrize("adapter", ["tinygrad"], indirect=True)
def test_gradients(adapter: Any) -> None:
    x, w, gy = integers((2, 3, 7), 1), integers((4, 3, 2), 2), integers((2, 4, 3), 3)
    given = options(1, stride=(2,))
    grads = adapter.conv_backward(x, w, gy, needs=("weight", "input", "bias"), **given)
    assert_same(grads["input"], oracle.transpose_input(w, gy, (7,), **given))
    assert_same(grads["weight"], oracle.transpose_weight(x, gy, (2,), **given))
    assert_same(grads["bias"], oracle.grad_bias(gy))
    with pytest.raises(Unsupported):
        adapter.conv_backward(*(integers(a.shape, 1, "int32") for a in (x, w, gy)), needs=("input",), **given)


@everywhere
def test_what_a_framework_lacks_is_unsupported(adapter: Any) -> None:
    for dtype, shapes in (("complex64", ((2, 3, 8), (4, 3, 2))), ("float32", ((2, 3), (4, 3)))):
        x, w = (integers(shape, 1, dtype) for shape in shapes)
        with pytest.raises(Unsupported):
            adapter.conv(x, w, None, **options(w.ndim - 2))


@pytest.mark.parametrize("adapter", ONNX, indirect=True)
def test_onnx_has_no_integers_and_no_gradients(adapter: Any) -> None:
    with pytest.raises(Unsupported, match="no convolution of integers"):
        adapter.conv(integers((2, 3, 8), 1, "int32"), integers((4, 3, 2), 2, "int32"), None, **options(1))
    assert not hasattr(adapter, "conv_backward")
