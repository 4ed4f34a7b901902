"""NVIDIA's cuDNN, for CuPy, by the graphs of its frontend (`nvidia-cudnn-frontend`, 1.14 or newer): only if asked for.

Of cuDNN's engines those are left out that round inputs, add up in less than float32, use transforms (FFT, Winograd) or
an order that changes from run to run, and, for float32 and float64, tensor cores (which compute float32 in TF32). What
remains multiplies float32 or float64 and adds up the products in the same, in an order of cuDNN's choosing, so that
`error_bound` holds.

Of float16 and bfloat16 graphs say that products are added up in float32, and tensor cores are welcome. How those round
as they add cuDNN does not say: here `error_bound` is not proven, and only `arrconv conform cupy:cudnn` can tell. No
engine of cuDNN 9.24 gives float32 from 16-bit numbers. So where the result is not final, since a bias or what padding
modes have copied is added to it, and where cuDNN has no engine (bfloat16 before Ampere), they are copied to float32, in
which their products are exact, and `error_bound` holds.

Which zeros engines multiply is not documented. Where it shows, since what meets them is not finite, the direct kernel
of `arrconv.kernels.cuda` replaces the result, as the device itself finds out.

No device has run this so far. cuDNN has chosen engines for graphs as they are made here, for devices of which it had
a description only; what goes into a graph and comes out of it was tried with a stand-in for the package.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING, Any

from arrconv.errors import OutOfMemoryError, UnsupportedError
from arrconv.kernels import cuda
from arrconv.kernels.base import Kernel, Problem
from arrconv.kernels.limits import current_limits

if TYPE_CHECKING:
    import numpy as np

    from arrconv._namespace import Array
    from arrconv.geometry import Direction, Geometry

_TYPES = {
    "float16": ("HALF", "FLOAT"),
    "bfloat16": ("BFLOAT16", "FLOAT"),
    "float32": ("FLOAT", "FLOAT"),
    "float64": ("DOUBLE", "DOUBLE"),
}
"""cuDNN's names of the dtype of arrays, and of that in which their products are added up."""
_OPERATIONS: dict[Direction, tuple[str, dict[str, Direction]]] = {
    "y": ("conv_fprop", {"image": "x", "weight": "w"}),
    "x": ("conv_dgrad", {"filter": "w", "loss": "y"}),
    "w": ("conv_wgrad", {"image": "x", "loss": "y"}),
}
"""cuDNN's name of each contraction, and those of its operands, in the order of the form."""
DESELECTED = (
    "DOWN_CONVERT_INPUTS",
    "REDUCED_PRECISION_REDUCTION",
    "FFT",
    "WINOGRAD",
    "WINOGRAD_TILE_4x4",
    "WINOGRAD_TILE_6x6",
    "WINOGRAD_TILE_13x13",
    "NONDETERMINISTIC",
)
"""The numerical notes of engines that are left out for any dtype; see `deselected`."""

_ALIGNMENT = 16  # bytes, which the frontend says all tensors have
_KEPT = 256  # plans, of whatever device
_ALONE = threading.Lock()  # no two threads may use a handle at once


def refuses(problem: Problem) -> str | None:
    """Why cudnn cannot serve a problem, or None."""
    backend, geometry = problem.backend, problem.geometry
    if backend.library != "cupy":
        return f"it works on CuPy arrays, not on those of {backend.library}"
    if backend.dtype not in _TYPES:
        return f"it computes in float32 and float64, not in {backend.accumulator_name}"
    if not 1 <= geometry.ndim <= 3:
        return f"it has 1 to 3 spatial axes, not {geometry.ndim}"
    for number, axis in enumerate(geometry.axes):
        if min(axis.begin, axis.end) < 0:
            return f"padding {(axis.begin, axis.end)} on spatial axis {number} crops, which its padding cannot"
        if axis.input_size == 0:
            return f"spatial axis {number} of x has the size 0, which none of its tensors may have"
        if axis.output_size != axis.full_output_size:
            return (
                f"spatial axis {number} of y has the size {axis.output_size}, less than the {axis.full_output_size} "
                "that fit, and it computes no fewer"
            )
    if find_spec("cudnn") is None:
        return "the package nvidia-cudnn-frontend is not installed; it is in the extras cudnn12 and cudnn13"
    return None


def contract(problem: Problem, first: Array, second: Array) -> Array:
    """The contraction by a plan of cuDNN's on CuPy's current stream, in `problem.returned` or the accumulator's dtype.

    Raises:
        UnsupportedError: cuDNN cannot be used here, or has no engine for the problem.
        OutOfMemoryError: all that it has for the problem need more workspace than there may be.
    """
    geometry, lib = problem.geometry, problem.library
    if geometry.is_empty:
        return lib.zeros(geometry.shape_of(problem.direction), problem.returned)
    room, device = current_limits().workspace, lib.cuda.Device().id
    with _ALONE:
        handle = _handle(device)
        plan = _plan(problem.direction, geometry, problem.returned, problem.dtype, device, room)
        first, second = _laid_out(lib, first, plan.dtype), _laid_out(lib, second, plan.dtype)
        result = lib.empty(geometry.shape_of(problem.direction), plan.dtype)
        workspace = lib.empty(plan.workspace, "uint8")
        plan.run(handle, lib.cuda.get_current_stream().ptr, [first, second, result], workspace)
    cuda.amend(problem, first, second, result)
    return result


def _laid_out(lib: Any, array: Array, dtype: Any) -> Array:
    """An array in C order and of a dtype that begins where cuDNN expects one to; itself where it is so already."""
    found = lib.ascontiguousarray(array, dtype)
    return found.copy() if found.data.ptr % _ALIGNMENT else found  # memory of its own is aligned by CuPy


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph that is ready to run; its tensors, both operands and the result, of one dtype; its bytes of workspace."""

    graph: Any
    tensors: list[Any]
    dtype: np.dtype[Any]
    workspace: int

    def run(self, handle: Any, stream: int, arrays: list[Array], workspace: Array) -> None:
        """Start it on a stream."""
        import cudnn

        cudnn.set_stream(handle, stream)
        addresses = {tensor: array.data.ptr for tensor, array in zip(self.tensors, arrays, strict=True)}
        self.graph.execute(addresses, workspace.data.ptr, handle=handle)


@cache
def _handle(device: int) -> Any:  # noqa: ARG001 - of the current device, which it is kept for
    """cuDNN's handle of the current device."""
    try:
        import cudnn

        return cudnn.create_handle()
    except (ImportError, RuntimeError) as error:
        raise UnsupportedError(f"cuDNN cannot be used here: {error}") from error


@lru_cache(maxsize=_KEPT)
def _plan(
    direction: Direction, geometry: Geometry, dtype: np.dtype[Any], wide: np.dtype[Any], device: int, room: int
) -> Plan:
    """The plan for a dtype; where there is none, that for a wider one."""
    try:
        return plan(direction, geometry, dtype, room, handle=_handle(device))
    except (UnsupportedError, OutOfMemoryError):
        if dtype == wide:
            raise
    return plan(direction, geometry, wide, room, handle=_handle(device))


def deselected(dtype: np.dtype[Any]) -> tuple[str, ...]:
    """The numerical notes of engines that are left out for a dtype: tensor cores, where products are not exact."""
    arrays, sums = _TYPES[dtype.name]
    return (*DESELECTED, "TENSOR_CORE") if arrays == sums else DESELECTED


def plan(direction: Direction, geometry: Geometry, dtype: np.dtype[Any], room: int, **where: Any) -> Plan:
    """The plan for arrays in C order that cuDNN thinks fastest, of all that are exact enough and fit in the room.

    Args:
        direction: which contraction.
        geometry: its sizes.
        dtype: that of all arrays, float16, bfloat16, float32 or float64.
        room: bytes that its workspace may take.
        where: the `handle` of a device, or a `device_property` that describes one.

    Raises:
        UnsupportedError: cuDNN has no such plan.
        OutOfMemoryError: all that it has take more.
    """
    import cudnn

    operation, _ = _OPERATIONS[direction]
    try:
        graph, tensors = _graph(cudnn, direction, geometry, dtype, where)
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    except cudnn.cudnnGraphNotSupportedError as error:
        raise UnsupportedError(f"cuDNN has no {operation} in {dtype.name} for {geometry}: {error}") from error
    graph.deselect_numeric_notes([getattr(cudnn.numerical_note, note) for note in deselected(dtype)])
    needed = []
    for number in range(graph.get_execution_plan_count()):
        try:
            graph.build_plan_at_index(number)
        except cudnn.cudnnGraphNotSupportedError:  # or deselected
            continue
        needed.append(graph.get_workspace_size_plan_at_index(number))
        if needed[-1] <= room:
            return Plan(graph, tensors, dtype, needed[-1])
    if needed:
        raise OutOfMemoryError(
            f"{operation} of cuDNN takes {min(needed)} bytes of workspace at least, more than the {room} that there are"
        )
    raise UnsupportedError(f"cuDNN has no {operation} in {dtype.name} for {geometry} whose sums are exact enough")


def _graph(
    cudnn: Any, direction: Direction, geometry: Geometry, dtype: np.dtype[Any], where: Any
) -> tuple[Any, list[Any]]:
    """A graph of one contraction, and its tensors: both operands and the result."""
    number, total = (getattr(cudnn.data_type, name) for name in _TYPES[dtype.name])
    graph = cudnn.pygraph(io_data_type=number, intermediate_data_type=total, compute_data_type=total, **where)
    lone = (1,) if geometry.ndim == 1 else ()  # an axis of one element, since cuDNN has two at least
    none = (0,) * len(lone)

    def layout(name: Direction) -> tuple[list[int], list[int]]:
        lead, channels, *sizes = geometry.shape_of(name)
        shape = [lead, channels, *lone, *sizes]
        return shape, [*accumulate(shape[:0:-1], mul, initial=1)][::-1]

    def tensor(name: Direction) -> Any:
        shape, strides = layout(name)
        return graph.tensor(name=name, dim=shape, stride=strides, data_type=number)

    operation, roles = _OPERATIONS[direction]
    given = {role: tensor(name) for role, name in roles.items()}
    result = getattr(graph, operation)(
        **given,
        pre_padding=[*none, *(axis.begin for axis in geometry.axes)],
        post_padding=[*none, *(axis.end for axis in geometry.axes)],
        stride=[*lone, *(axis.stride for axis in geometry.axes)],
        dilation=[*lone, *(axis.dilation for axis in geometry.axes)],
        compute_data_type=total,
    )
    shape, strides = layout(direction)
    result.set_output(True).set_data_type(number).set_dim(shape).set_stride(strides)
    return graph, [*given.values(), result]


KERNEL = Kernel("cudnn", refuses, contract, cuda.yields)
