"""arrconv without Numba, as it is installed without the extra `fast`."""

from __future__ import annotations

import sys

sys.modules["numba"] = None  # type: ignore[assignment] # before arrconv looks for it

from benchmarks.peers.libraries.arrconv import as_array, prepare, versions  # noqa: E402

__all__ = ["as_array", "prepare", "versions"]
