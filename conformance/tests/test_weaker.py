"""Weaker arithmetic: it is named where a result is right for it, and for nothing that is worse."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from arrconv_conformance import Case
from arrconv_conformance.adapters.own import OwnAdapter
from arrconv_conformance.asking import Asker
from arrconv_conformance.claims import Claim
from arrconv_conformance.question import Question

BF16 = "bfloat16"


def asked(adapter: Any, text: str) -> Any:
    case = Case.parse(f"n=3 c=4 o=5 x=9,7 k=3,2 {text}")
    return Asker(adapter).ask(Question(case, Claim.of(adapter, str(case.dtype))))


def spoiled(spoil: Any) -> OwnAdapter:
    """arrconv with results that are spoiled."""
    return OwnAdapter("spoiled", "1", np.asarray, lambda array: spoil(np.asarray(array)))


def through(dtype: str) -> OwnAdapter:
    """arrconv with operands and results that are rounded to another dtype first."""
    return OwnAdapter("through", "1", lambda array: array.astype(dtype), lambda array: np.asarray(array, "float64"))


def test_float64_through_float32_is_named() -> None:
    verdict = asked(through("float32"), "member=conv dtype=float64 data=normal")
    assert verdict.outcome == "deviates"
    assert verdict.message.endswith("; as with float32 throughout")


def test_inputs_with_fewer_bits_are_named() -> None:
    def tf32(array: Any) -> Any:
        bits = array.view(np.int32)
        return ((bits + 0xFFF + (bits >> 13 & 1)) & ~0x1FFF).view(np.float32)

    verdict = asked(OwnAdapter("tf32", "1", tf32, np.asarray), "member=conv dtype=float32 data=normal")
    assert verdict.message.endswith("; as with inputs in TF32")


def test_sums_in_16_bits_are_named_for_the_gradient_that_has_them() -> None:
    pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed; bfloat16 is a dtype of it")

    def conv_backward(_x: Any, _w: Any, gy: Any, **_: Any) -> Any:
        total = np.zeros(5, gy.dtype)
        for item in gy.transpose(0, 2, 3, 1).reshape(-1, 5):
            total = total + item  # rounds each time
        return {"bias": total}

    adapter = type("Sums", (), {"name": "sums", "version": "1", "conv_backward": staticmethod(conv_backward)})
    verdict = asked(adapter, f"member=conv_grad_bias dtype={BF16} data=normal")
    assert re.search(r"^bias: .*; as with sums in bfloat16$", verdict.message)


def test_what_is_worse_than_any_of_them_is_not_excused() -> None:
    def one_wrong(array: Any) -> Any:
        return np.where(np.arange(array.size).reshape(array.shape) == 17, -array, array)

    for dtype in ("float64", "float32", "float16", "complex64"):
        verdict = asked(spoiled(one_wrong), f"member=conv dtype={dtype} data=positive")
        assert verdict.outcome == "deviates"
        assert "as with" not in verdict.message
    assert "as with" not in asked(spoiled(one_wrong), "member=conv dtype=int32 data=integers").message


def test_the_result_without_an_excuse_is_reported() -> None:
    class Both(OwnAdapter):
        """float64 through float32 in one gradient, and plainly wrong numbers in a later one."""

        def conv_backward(self, x: Any, w: Any, gy: Any, **options: Any) -> Any:
            found = super().conv_backward(*(array.astype("float32") for array in (x, w, gy)), **options)
            return {need: grad.astype("float64") + 9 * (need == "weight") for need, grad in found.items()}

    verdict = asked(Both("both", "1", np.asarray, np.asarray), "member=conv_backward dtype=float64 data=normal")
    assert verdict.message.startswith("weight: ")
    assert "as with" not in verdict.message
