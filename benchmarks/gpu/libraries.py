"""arrconv on CuPy, PyTorch on CUDA, and what says how fast the device is; times are those of CUDA's events.

For trying it out without a device NumPy stands in for CuPy, and PyTorch computes on the processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from arrconv_conformance.data import numpy_dtype

from arrconv import limits
from benchmarks.engine import processor
from benchmarks.gpu.work import one_image
from benchmarks.peers.libraries import arrconv as own
from benchmarks.peers.report import BASE, MEMORY, OWN, PRODUCT
from benchmarks.peers.session import Missing

if TYPE_CHECKING:
    from benchmarks.peers.work import Array, Task

DEVICES = ("cuda", "cpu")

TF32 = f"{BASE}-tf32"

PRODUCT_SIZE = {"float64": 4096, "float32": 6144, "float16": 8192, "bfloat16": 8192}
COPIED = 2**30
SMALLER = 16
"""How many times as small matrix products are a side, and copies, on a processor."""


class Library(Protocol):
    """What computes tasks, and says how long it takes.

    Attributes:
        is_convolution: whether its results are those of the tasks; else it says how fast the device is.
    """

    is_convolution: bool

    def prepare(self, task: Task) -> Callable[[], Any]:
        """A call that computes a task, on operands that are where it computes."""

    def seconds(self, call: Callable[[], Any], calls: int) -> float:
        """Of one call, when so many follow each other and nothing is waited for between them."""

    def operations(self, task: Task) -> int:
        """Of one call."""

    def result(self, call: Callable[[], Any]) -> Array:
        """What a call gives, on the host."""

    def about(self) -> dict[str, Any]:
        """Versions and the device, as far as it knows them."""


def library(name: str, device: str) -> Library:
    """The library of a name: `arrconv`, `arrconv:ALGORITHM`, `torch`, `torch-tf32`, `matmul` or `copy`.

    Raises:
        ImportError, Missing: it is not installed, or there is no device for it, or the device has no such thing.
    """
    if name in (BASE, TF32):
        return OnTorch(import_module("torch"), device, tf32=name == TF32)
    cupy = Host() if device == "cpu" else import_module("cupy")
    if not cupy.is_available():
        raise Missing("there is no CUDA device")
    kind, _, algorithm = name.partition(":")
    if kind == OWN:
        return OnCupy(cupy, algorithm or "auto")
    return {PRODUCT: Product, MEMORY: Copy}[name](cupy)


def repeated(task: Task, put: Callable[[Array], Any], repeat: Callable[[Any, int], Any]) -> list[Any]:
    """The operands of a task where they are computed with: the host's single image, again and again."""
    x, w, g = map(put, one_image(task).operands)
    times = task.row.geometry.batch or 1
    return [repeat(x, times), w, repeat(g, times)]


WORKSPACE = 2**30
"""Bytes that arrconv may use beside operands and results; with fewer, cuDNN would not take tensor cores everywhere."""


class Clock:
    """Times calls by the events of a device, which is told so by what makes events, and what is between two of them."""

    is_convolution = True

    def __init__(self, event: Callable[[], Any], milliseconds: Callable[[Any, Any], float]) -> None:
        self._event, self._milliseconds = event, milliseconds

    def seconds(self, call: Callable[[], Any], calls: int) -> float:
        """Of one call; one before them wakes, compiles and chooses."""
        call()
        start, end = self._event(), self._event()
        start.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        return self._milliseconds(start, end) / 1e3 / calls

    def operations(self, task: Task) -> int:
        return task.operations


class OnCupy(Clock):
    """arrconv, by one of its algorithms, on an array library with CuPy's words."""

    def __init__(self, cupy: Any, algorithm: str = "auto") -> None:
        super().__init__(cupy.cuda.Event, cupy.cuda.get_elapsed_time)
        self._cupy, self._algorithm = cupy, algorithm

    def prepare(self, task: Task) -> Callable[[], Any]:
        cupy = self._cupy
        cupy.get_default_memory_pool().free_all_blocks()  # other processes need room, too
        x, w, g = repeated(task, cupy.asarray, lambda array, times: cupy.repeat(array, times, axis=0))
        return own.call_of(task, x, w, g, self._algorithm)

    def seconds(self, call: Callable[[], Any], calls: int) -> float:
        with limits(workspace=WORKSPACE):
            return super().seconds(call, calls)

    def result(self, call: Callable[[], Any]) -> Array:
        with limits(workspace=WORKSPACE):
            found: Array = self._cupy.asnumpy(call())
        return found

    def about(self) -> dict[str, Any]:
        if isinstance(self._cupy, Host):
            return {"versions": own.versions(), "device": {"name": processor()}}
        device = import_module("arrconv_conformance.adapters.cupy").device()
        return {"versions": own.versions() | {"cupy": self._cupy.__version__}, "device": device}


class Product(OnCupy):
    """A square matrix product in the dtype of the task."""

    is_convolution = False

    def prepare(self, task: Task) -> Callable[[], Any]:
        size = self._size(task)
        a = self._cupy.random.standard_normal((size, size)).astype(numpy_dtype(task.dtype))
        return lambda: self._cupy.matmul(a, a)

    def operations(self, task: Task) -> int:
        return 2 * self._size(task) ** 3

    def _size(self, task: Task) -> int:
        return PRODUCT_SIZE[task.dtype] // (SMALLER if isinstance(self._cupy, Host) else 1)


class Copy(Product):
    """A copy of memory; its operations are the bytes that are read and written."""

    def prepare(self, task: Task) -> Callable[[], Any]:
        source, target = (self._cupy.zeros(self.operations(task) // 16) for _ in range(2))
        return lambda: self._cupy.copyto(target, source)

    def operations(self, task: Task) -> int:
        return 2 * COPIED // (SMALLER if isinstance(self._cupy, Host) else 1)


class OnTorch(Clock):
    """PyTorch with cuDNN, which tries its algorithms and takes the fastest; float32 as it is, or by way of TF32."""

    def __init__(self, torch: Any, device: str, *, tf32: bool = False) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise Missing("PyTorch sees no CUDA device")
        if device != "cuda" and tf32:
            raise Missing("TF32 is of CUDA devices")
        if device == "cuda":
            super().__init__(lambda: torch.cuda.Event(enable_timing=True), lambda start, end: start.elapsed_time(end))
        else:
            super().__init__(HostEvent, _between)
        self._torch, self._device, self._tf32 = torch, device, tf32
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32  # in this process

    def prepare(self, task: Task) -> Callable[[], Any]:
        from benchmarks.peers.libraries import torch as peer

        if self._tf32 and task.dtype != "float32":
            raise NotImplementedError("TF32 is a way to compute with float32")
        self._torch.cuda.empty_cache()
        operands = repeated(task, lambda a: peer.tensor(a).to(self._device), self._repeat)
        return peer.call_of(task, *operands)

    def _repeat(self, tensor: Any, times: int) -> Any:
        return self._torch.repeat_interleave(tensor, times, dim=0)

    def result(self, call: Callable[[], Any]) -> Array:
        from benchmarks.peers.libraries import torch as peer

        return peer.as_array(call().cpu())

    def about(self) -> dict[str, Any]:
        return {"versions": {"torch": self._torch.__version__, "cudnn": str(self._torch.backends.cudnn.version())}}


class Host:
    """NumPy in CuPy's words."""

    def __init__(self) -> None:
        self.cuda = SimpleNamespace(Event=HostEvent, get_elapsed_time=_between)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def is_available(self) -> bool:
        return True

    def asnumpy(self, array: Any) -> Any:
        return array

    def get_default_memory_pool(self) -> Any:
        return SimpleNamespace(free_all_blocks=lambda: None)


class HostEvent:
    """An event of a processor, on which all is done when a call comes back."""

    at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        """There is nothing to wait for."""


def _between(start: HostEvent, end: HostEvent) -> float:
    return (end.at - start.at) * 1e3
