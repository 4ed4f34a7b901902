"""arrconv on CuPy, PyTorch on CUDA, and what says how fast the device is; times are those of CUDA's events."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks.peers.libraries import arrconv as own
from benchmarks.peers.work import ROWS, Array, Task

if TYPE_CHECKING:
    from benchmarks.gpu.measure import Library

PRODUCT_SIZE = {"float64": 4096, "float32": 8192, "float16": 8192}
COPIED = 2**30


def repeated(task: Task, put: Callable[[Array], Any], concatenate: Callable[[list[Any]], Any]) -> list[Any]:
    """The operands of a task where they are computed with: images of the host's task, again and again."""
    times = max(1, (task.row.geometry.batch or 1) // (ROWS[task.row.name].geometry.batch or 1))
    host = task if times == 1 else Task(ROWS[task.row.name], task.direction, task.dtype)
    x, w, g = map(put, host.operands)
    return [concatenate([x] * times), w, concatenate([g] * times)]


class Events:
    """What has CUDA's events as its clock, of a module `cuda` with streams and events in CuPy's or PyTorch's words."""

    def __init__(self, cuda: Any, elapsed: Callable[[Any, Any], float], options: dict[str, Any]) -> None:
        self._cuda, self._elapsed, self._options = cuda, elapsed, options

    def seconds(self, call: Callable[[], Any], calls: int) -> float:
        """Of one call; one before them wakes, compiles and chooses."""
        call()
        start, end = (self._cuda.Event(**self._options) for _ in range(2))
        start.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        return self._elapsed(start, end) / 1e3 / calls


class OnCupy(Events):
    """arrconv on an array library with CuPy's words."""

    name, is_convolution = "arrconv", True

    def __init__(self, cupy: Any) -> None:
        super().__init__(cupy.cuda, cupy.cuda.get_elapsed_time, {})
        self._cupy = cupy

    def prepare(self, task: Task) -> Callable[[], Any]:
        cupy = self._cupy
        return own.call_of(task, *repeated(task, cupy.asarray, cupy.concatenate))

    def operations(self, task: Task) -> int:
        return task.operations

    def result(self, call: Callable[[], Any]) -> Array:
        found: Array = self._cupy.asnumpy(call())
        return found


class Product(OnCupy):
    """A square matrix product in the dtype of the task."""

    name, is_convolution = "matmul", False

    def prepare(self, task: Task) -> Callable[[], Any]:
        size = PRODUCT_SIZE[task.dtype]
        a = self._cupy.random.standard_normal((size, size)).astype(task.dtype)
        return lambda: self._cupy.matmul(a, a)

    def operations(self, task: Task) -> int:
        return 2 * PRODUCT_SIZE[task.dtype] ** 3


class Copy(Product):
    """A copy of memory; its operations are the bytes that are read and written."""

    name = "copy"

    def prepare(self, task: Task) -> Callable[[], Any]:
        source, target = (self._cupy.zeros(COPIED // 8) for _ in range(2))
        return lambda: self._cupy.copyto(target, source)

    def operations(self, task: Task) -> int:
        return 2 * COPIED


class OnTorch(Events):
    """PyTorch with cuDNN, which tries its algorithms and takes the fastest; float32 as it is, or by way of TF32."""

    is_convolution = True

    def __init__(self, torch: Any, *, tf32: bool = False) -> None:
        super().__init__(torch.cuda, lambda start, end: start.elapsed_time(end), {"enable_timing": True})
        self.name, self._torch, self._tf32 = "torch-tf32" if tf32 else "torch", torch, tf32
        torch.backends.cudnn.benchmark = True

    def prepare(self, task: Task) -> Callable[[], Any]:
        from benchmarks.peers.libraries import torch as peer

        if self._tf32 and task.dtype != "float32":
            raise NotImplementedError("TF32 is a way to compute with float32")
        torch = self._torch
        call = peer.call_of(task, *repeated(task, lambda a: torch.from_numpy(a).cuda(), torch.cat))

        def in_mode() -> Any:
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = self._tf32
            return call()

        return in_mode

    def operations(self, task: Task) -> int:
        return task.operations

    def result(self, call: Callable[[], Any]) -> Array:
        found: Array = call().detach().cpu().numpy()
        return found


def available() -> tuple[list[Library], dict[str, str]]:
    """What can be measured here, and the versions; PyTorch may be missing, a device may not.

    Raises:
        RuntimeError, ImportError: there is no CuPy, or no device.
    """
    cupy = import_module("cupy")
    if not cupy.is_available():
        raise RuntimeError("there is no CUDA device")
    versions = own.versions() | {"cupy": cupy.__version__}
    libraries: list[Library] = [Product(cupy), Copy(cupy)]
    try:
        torch = import_module("torch")
    except ImportError:
        return [*libraries, OnCupy(cupy)], versions
    if torch.cuda.is_available():
        libraries += [OnTorch(torch), OnTorch(torch, tf32=True)]
        versions |= {"torch": torch.__version__, "cudnn": str(torch.backends.cudnn.version())}
    return [*libraries, OnCupy(cupy)], versions
