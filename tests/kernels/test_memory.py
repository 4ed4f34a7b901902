"""Where memory runs out: half the workspace, as often as the kernel can do with, and then an error with the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import arrconv
from arrconv import OutOfMemoryError, kernels
from arrconv.kernels.base import Kernel, Problem
from arrconv.kernels.limits import current_limits

X, W = np.ones((2, 3, 7, 5), np.float32), np.ones((4, 3, 2, 3), np.float32)


class Greedy:
    """A kernel that allocates its workspace, and refuses to work with little of it."""

    def __init__(self, memory: int, least: int) -> None:
        self.memory, self.least, self.tried = memory, least, list[int]()

    def refuses(self, _: Problem) -> str | None:
        return "so little workspace" if current_limits().workspace < self.least else None

    def contract(self, problem: Problem, first: Any, second: Any) -> Any:
        self.tried.append(current_limits().workspace)
        if self.tried[-1] > self.memory:
            raise MemoryError("no memory left")
        return kernels.taps.contract(problem, first, second)


def install(monkeypatch: pytest.MonkeyPatch, greedy: Greedy) -> None:
    monkeypatch.setitem(kernels.KERNELS, "gemm", Kernel("gemm", greedy.refuses, greedy.contract))


def test_less_workspace_is_tried_until_memory_suffices(monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = Greedy(memory=9 * 2**20, least=2**20)
    install(monkeypatch, greedy)
    with arrconv.limits(workspace=2**26) as given:
        found = arrconv.conv(X, W, algorithm="gemm")
        assert current_limits() == given  # those of the caller again
    assert np.array_equal(found, arrconv.conv(X, W, algorithm="taps"))
    assert greedy.tried == [2**26, 2**25, 2**24, 2**23]


@pytest.mark.parametrize(("least", "tried"), [(1, 2**20), (2**23, 2**23)])
def test_the_error_says_what_was_needed(least: int, tried: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result of x's gradient, in float32, which is 2·3·7·5·4 bytes."""
    greedy = Greedy(memory=0, least=least)
    install(monkeypatch, greedy)
    expected = (
        rf"numpy lacks memory for a result \(2, 3, 7, 5\) of float32, which takes 840 bytes, and gemm's workspace of "
        rf"{tried} bytes, the least that was tried: no memory left"
    )
    with arrconv.limits(workspace=2**26), pytest.raises(OutOfMemoryError, match=expected) as caught:
        arrconv.conv_grad_input(W, np.ones((2, 4, 6, 3), np.float32), input_size=(7, 5), algorithm="gemm")
    assert isinstance(caught.value, MemoryError)
    assert min(greedy.tried) == tried


def test_what_is_too_large_for_numpy_is_said() -> None:
    """An image of 2 PiB that takes no memory."""
    x = np.broadcast_to(np.float64(1), (1, 1, 2**24, 2**24))
    with pytest.raises(
        OutOfMemoryError, match=r"\(1, 1, 16777216, 16777216\) of float64, which takes 2251799813685248 b"
    ):
        arrconv.conv(x, np.ones((1, 1, 1, 1)), algorithm="taps")
