"""CUDA graphs on the stand-in for CuPy: what a capturing stream is given is kept, and done when its graph is launched.

As on a device, nothing is done during a capture but to find shapes and views, and a launch does each operation again,
on the same memory and with the same numbers. What is made during a capture holds nonsense until then. CuPy refuses to
capture matrix products and looks, and so does this. It also finds what a device would take without a word: memory of
a graph that others may be given, and streams that have not waited for each other.
"""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from stand_in import LOOKS, RAW, WORK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WRITERS = ("__setitem__", "copyto", "fill", "launch")
BY_CUBLAS = ("dot", "matmul", "tensordot", "vecdot", "__matmul__")


class MemoryPool:
    """Where memory comes from."""

    def malloc(self, size: int) -> None:
        raise NotImplementedError  # NumPy does it


class Stream:
    """A queue of work, which may be kept instead of done."""

    def __init__(self, *, non_blocking: bool = False, is_default: bool = False) -> None:
        self.is_legacy = is_default or not non_blocking
        self.tape: list[Callable[[], Any]] | None = None
        self.is_busy = False

    def __enter__(self) -> Stream:
        assert not _STREAMS[-1].is_busy, "what the stream before has still to do may come too late"
        _STREAMS.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        assert not self.is_busy, "the next stream does not wait for what this one has still to do"
        _STREAMS.pop()

    def synchronize(self) -> None:
        if self.tape is not None:
            raise RuntimeError("cudaErrorStreamCaptureUnsupported")
        self.is_busy = False

    def begin_capture(self) -> None:
        if self.is_legacy:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self.tape is not None:
            raise RuntimeError("cudaErrorIllegalState")
        self.tape, LOOKS.is_capturing = [], True

    def end_capture(self) -> Graph:
        if self.tape is None:
            raise RuntimeError("cudaErrorIllegalState")
        graph, self.tape, LOOKS.is_capturing = Graph(self.tape), None, False
        return graph


class Graph:
    """What was kept."""

    def __init__(self, tape: list[Callable[[], Any]]) -> None:
        self.tape, self.pool = tape, weakref.ref(_POOLS[-1])

    def launch(self, stream: Stream | None = None) -> None:
        assert self.pool() is not None, "the memory of the graph has been given back"
        (stream or _STREAMS[-1]).is_busy = True
        for operation in self.tape:
            operation()


_SHARED = MemoryPool()
_POOLS = [_SHARED]
_STREAMS = [Stream(is_default=True)]
CALLS = [0]
"""How often the host has called for work so far, but for launches of graphs."""


@contextmanager
def using_allocator(malloc: Callable[[int], Any]) -> Iterator[None]:
    _POOLS.append(malloc.__self__)  # type: ignore[attr-defined] - a pool's method
    try:
        yield
    finally:
        _POOLS.pop()


def work(function: Any, args: Any, options: Any) -> Any:
    """Do an operation of NumPy's, or keep it where the current stream captures."""
    CALLS[0] += 1
    stream = _STREAMS[-1]
    if stream.tape is None:
        stream.is_busy = True
        return function(*args, **options)
    name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
    if name in BY_CUBLAS:
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    is_in_place = name.startswith("__i") and name != "__invert__"
    if name in WRITERS or is_in_place or options.get("out") is not None:
        stream.tape.append(partial(function, *args, **options))
        return owner if is_in_place else options.get("out")
    with np.errstate(all="ignore"):  # of nonsense
        found = function(*args, **options)
    if not isinstance(found, np.ndarray | np.generic):
        return found
    made = np.asarray(found)
    if root(made) in map(root, arrays((owner, args, *options.values()))):
        return made  # a view
    assert _POOLS[-1] is not _SHARED, "others may be given this memory of a graph"
    made.fill(np.nan if made.dtype.kind in "fc" else 1)
    if not name.startswith("empty"):
        stream.tape.append(lambda: np.copyto(made, function(*args, **options)))
    return made


def arrays(value: Any) -> Iterator[np.ndarray]:
    """All arrays of NumPy's among arguments."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from arrays(one)


def root(array: Any) -> int:
    """What tells the memory that an array is a view of."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return id(array)


@contextmanager
def captures() -> Iterator[None]:
    """Within the block the stand-in has streams, graphs and pools."""
    before, WORK.by = (WORK.by, RAW.cuda), work
    RAW.cuda = SimpleNamespace(
        Stream=Stream, MemoryPool=MemoryPool, using_allocator=using_allocator, get_current_stream=lambda: _STREAMS[-1]
    )
    try:
        yield
    finally:
        (WORK.by, RAW.cuda), LOOKS.is_capturing, _STREAMS[0].is_busy = before, False, False
        del _STREAMS[1:]
