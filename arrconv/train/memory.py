"""Memory that arrays leave is kept for the next ones while a network is trained."""

from __future__ import annotations

import ctypes
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGE, _ALL = 2**25, 2**31 - 1  # an array from which on it is mapped by itself (the most that is allowed); no limit


@contextmanager
def kept_memory() -> Iterator[None]:
    """Within the block the C library keeps what is freed, instead of giving it back to the system.

    A step makes and frees arrays of a few megabytes, which come back from the system empty, page by page: a quarter of
    the time of a step of a small network. Afterwards what is free is given back, and limits are the largest ones
    that the library would have come to by itself. Without the GNU C library nothing is changed.

    Source: the GNU C Library manual, 2.36, section 3.2.3.7, malloc tunable parameters.
    """
    library = _gnu_library()
    if library is None:
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, _LARGE)
    library.mallopt(_TRIM_THRESHOLD, _ALL)
    try:
        yield
    finally:
        library.mallopt(_TRIM_THRESHOLD, 2 * _LARGE)
        library.malloc_trim(0)


def _gnu_library() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt") else None
