"""The adapters of PyTorch: what reaches its kernels, which the suite's own checks cannot see."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from arrconv_conformance.adapters import Unsupported, load_adapter
from arrconv_conformance.layouts import laid_out

torch = pytest.importorskip("torch", reason="torch is not installed")


def integers(shape: tuple[int, ...], seed: int, dtype: str = "float64") -> Any:
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


OPTIONS: dict[str, Any] = {"stride": (2, 1), "padding": ((1, 1), (0, 0)), "dilation": (1, 2), "groups": 2}


def operands(seed: int = 0) -> list[Any]:
    return [integers(shape, seed + place) for place, shape in enumerate(((3, 4, 7, 9), (6, 2, 3, 2), (3, 6, 4, 7)))]


def strides_that_arrive(arrays: list[Any], adapter: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The strides of x and w in the convolution, and of gy in its gradient."""
    seen: list[Any] = []
    conv2d, grad = torch.nn.functional.conv2d, torch.autograd.grad

    def spy_conv(x: Any, w: Any, *rest: Any) -> Any:
        seen.extend((x.stride(), w.stride()))
        return conv2d(x, w, *rest)

    def spy_grad(result: Any, wanted: Any, gradient: Any) -> Any:
        seen.append(gradient.stride())
        return grad(result, wanted, gradient)

    monkeypatch.setattr(torch.nn.functional, "conv2d", spy_conv)
    monkeypatch.setattr(torch.autograd, "grad", spy_grad)
    load_adapter(adapter).conv_backward(*arrays, needs=("input", "weight"), padding_mode="zeros", **OPTIONS)
    return seen


@pytest.mark.parametrize("last", [0, 1, 2])
def test_a_layout_reaches_the_kernel_as_it_is(last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [laid_out(array, "last" if place == last else "plain") for place, array in enumerate(operands())]
    expected = [tuple(step // array.itemsize for step in array.strides) for array in arrays]
    assert strides_that_arrive(arrays, "torch", monkeypatch) == expected


def test_each_operand_is_channels_last_alone_and_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Counter[tuple[bool, ...]] = Counter()
    for seed in range(0, 240, 4):
        arrays = operands(seed)
        with monkeypatch.context() as patch:
            found[tuple(stride[1] == 1 for stride in strides_that_arrive(arrays, "torch-channels-last", patch))] += 1
    assert len(found) == 7
    assert (False, False, False) not in found


def test_the_same_numbers_are_laid_out_alike_and_yield_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = operands(8)
    with monkeypatch.context() as patch:
        first = strides_that_arrive(arrays, "torch-channels-last", patch)
    assert first == strides_that_arrive([array.copy() for array in arrays], "torch-channels-last", monkeypatch)
    results = [
        load_adapter(name).conv_backward(*arrays, needs=("input", "weight"), padding_mode="zeros", **OPTIONS)
        for name in ("torch", "torch-channels-last")
    ]
    for need in ("input", "weight"):
        assert np.array_equal(results[0][need], results[1][need])


def test_negative_strides_are_unsupported_and_not_copied() -> None:
    arrays = [laid_out(array, "reversed") for array in operands()]
    with pytest.raises(Unsupported, match="negative strides"):
        load_adapter("torch").conv(*arrays[:2], None, padding_mode="zeros", **OPTIONS)


def test_autocast_returns_bfloat16_and_gradients_of_the_arrays() -> None:
    pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed; bfloat16 is a dtype of it")
    adapter = load_adapter("torch-autocast")
    x, w, gy = (array.astype("float32") for array in operands())
    assert adapter.conv(x, w, None, padding_mode="zeros", **OPTIONS).dtype.name == "bfloat16"
    grads = adapter.conv_backward(x, w, gy, needs=("input",), padding_mode="zeros", **OPTIONS)
    assert grads["input"].dtype == np.float32
    assert adapter.claims["float32"]["output"] == "bfloat16"


def test_threads_can_be_set() -> None:
    before = torch.get_num_threads()
    try:
        load_adapter("torch").set_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
