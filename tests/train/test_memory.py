"""Memory that is kept: arrays that are made and freed again and again come back without a page that is new."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from arrconv.train.memory import _gnu_library, kept_memory


@pytest.mark.skipif(_gnu_library() is None, reason="there is no GNU C library")
def test_freed_arrays_are_reused() -> None:
    import resource

    def faults() -> int:
        """Of 30 rounds with three arrays of three megabytes each."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(30):
            arrays = [np.full(3 * 2**17, 1.0) for _ in range(3)]
            del arrays
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with kept_memory():
        faults()
        assert faults() < 30 * 3 * 768 / 10  # pages


def test_elsewhere_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert _gnu_library() is None
    with kept_memory():
        pass
