"""A stand-in for the module `cudnn`: what graphs say is written down, checked as cuDNN does, computed by the loop.

Memory is the host's: a graph gets addresses, and reads and writes there what its tensors' dims and strides say. Zeros
of a border that meet what is not finite spoil the whole result: an engine may multiply some and leave some out.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from enum import Enum
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
from cuda_cases import dtype_of

from tests import oracle

SPOILED = 12345.0


class cudnnGraphNotSupportedError(Exception):  # noqa: N801 - cuDNN's name
    """What the frontend raises where cuDNN declines."""


class heur_mode(Enum):  # noqa: N801 - cuDNN's name
    A = 1
    FALLBACK = 2


class data_type(Enum):  # noqa: N801 - cuDNN's name
    HALF = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT = "float32"
    DOUBLE = "float64"


numerical_note = Enum(
    "numerical_note",
    "TENSOR_CORE DOWN_CONVERT_INPUTS REDUCED_PRECISION_REDUCTION FFT WINOGRAD WINOGRAD_TILE_4x4 WINOGRAD_TILE_6x6 "
    "WINOGRAD_TILE_13x13 NONDETERMINISTIC STRICT_NAN_PROP",
)


@dataclass
class Engine:
    """One entry of the plans: the notes that it has, its bytes of workspace, and what it can be built for."""

    notes: tuple[str, ...] = ()
    workspace: int = 0
    kinds: tuple[str, ...] = ("HALF", "BFLOAT16", "FLOAT", "DOUBLE")


ENGINES = [
    *(Engine((note.name,)) for note in numerical_note if note.name != "STRICT_NAN_PROP"),
    Engine(kinds=()),
    Engine(workspace=3 * 2**20),
    Engine(workspace=5 * 2**10),
    Engine(("STRICT_NAN_PROP",), workspace=7 * 2**10),
]


@dataclass(eq=False)
class Tensor:
    name: str = ""
    dim: list[int] = field(default_factory=list)
    stride: list[int] = field(default_factory=list)
    data_type: Any = None
    is_output: bool = False

    def set_output(self, is_output: bool) -> Tensor:
        self.is_output = is_output
        return self

    def set_data_type(self, kind: Any) -> Tensor:
        self.data_type = kind
        return self

    def set_dim(self, dim: list[int]) -> Tensor:
        self.dim = dim
        return self

    def set_stride(self, stride: list[int]) -> Tensor:
        self.stride = stride
        return self

    def at(self, address: int) -> np.ndarray:
        """The array of this description that begins at an address."""
        assert address % 16 == 0
        kind = dtype_of(self.data_type.value)
        span = 1 + sum((size - 1) * step for size, step in zip(self.dim, self.stride, strict=True))
        memory = (ctypes.c_char * (span * kind.itemsize)).from_address(address)
        steps = [step * kind.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(np.frombuffer(memory, kind), self.dim, steps)


@dataclass(eq=False)
class Handle:
    stream: int = 0


class Graph:
    """The `pygraph` of one convolution."""

    made: list[Graph] = []  # noqa: RUF012 - of all graphs

    def __init__(self, **options: Any) -> None:
        assert options["intermediate_data_type"] is options["compute_data_type"]
        assert isinstance(options["handle"], Handle)
        self.kind, self.total = options["io_data_type"], options["compute_data_type"]
        self.ran: list[tuple[int, int]] = []  # the engine and the stream of each run
        self.addresses: list[list[int]] = []  # of both operands and the result in each
        self._stage, self._barred, self._built = "made", set(), -1
        Graph.made.append(self)

    def tensor(self, *, name: str, dim: list[int], stride: list[int], data_type: Any) -> Tensor:
        return Tensor(name, dim, stride, data_type)

    def conv_fprop(self, *, image: Tensor, weight: Tensor, **options: Any) -> Tensor:
        return self._operation("y", image, weight, **options)

    def conv_dgrad(self, *, loss: Tensor, filter: Tensor, **options: Any) -> Tensor:  # noqa: A002 - cuDNN's name
        return self._operation("x", filter, loss, **options)

    def conv_wgrad(self, *, image: Tensor, loss: Tensor, **options: Any) -> Tensor:
        return self._operation("w", image, loss, **options)

    def _operation(self, direction: str, *operands: Tensor, compute_data_type: Any, **options: list[int]) -> Tensor:
        assert compute_data_type is self.total
        self._direction, self._operands, self._options, self._result = direction, operands, options, Tensor()
        return self._result

    def _described(self) -> dict[str, Tensor]:
        names = {"y": "xwy", "x": "wyx", "w": "xyw"}[self._direction]
        return dict(zip(names, (*self._operands, self._result), strict=True))

    def _padding(self) -> tuple[tuple[int, int], ...]:
        return tuple(zip(self._options["pre_padding"], self._options["post_padding"], strict=True))

    def validate(self) -> None:
        x, w, y = (self._described()[name] for name in "xwy")
        pads, steps, gaps = self._padding(), self._options["stride"], self._options["dilation"]
        assert self._result.is_output
        for tensor in (x, w, y):
            assert tensor.data_type is self.kind
            assert len(tensor.dim) == len(tensor.stride) == len(pads) + 2 in (4, 5)
            if min(tensor.dim) < 1:
                raise RuntimeError(f"dimensions must be positive, got {tensor.dim}")
        if min(map(min, pads)) < 0:
            raise RuntimeError("CUDNN_STATUS_BAD_PARAM: finalize_internal()")
        for n, k, l, s, d, pair in zip(x.dim[2:], w.dim[2:], y.dim[2:], steps, gaps, pads, strict=True):  # noqa: E741
            if l != oracle.output_size(n, k, s, d, *pair):
                raise RuntimeError("CUDNN_STATUS_BAD_PARAM: is_valid_spatial_dim")
        self._move("made", "validated")

    def build_operation_graph(self) -> None:
        self._move("validated", "lowered")

    def create_execution_plans(self, modes: list[heur_mode]) -> None:
        assert modes == [heur_mode.A, heur_mode.FALLBACK]
        if not any(self.kind.name in engine.kinds for engine in ENGINES):
            raise cudnnGraphNotSupportedError("no engine proposed a plan")
        self._move("lowered", "planned")

    def deselect_numeric_notes(self, notes: list[Any]) -> None:
        assert self._stage == "planned"
        names = {note.name for note in notes}
        self._barred |= {number for number, engine in enumerate(ENGINES) if names & set(engine.notes)}

    def get_execution_plan_count(self) -> int:
        return len(ENGINES)

    def build_plan_at_index(self, index: int) -> None:
        if index in self._barred:
            raise cudnnGraphNotSupportedError("Deselecting execution plan")
        if self.kind.name not in ENGINES[index].kinds:
            raise cudnnGraphNotSupportedError("CUDNN_STATUS_NOT_SUPPORTED")
        self._built = index

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        assert index == self._built
        return ENGINES[index].workspace

    def execute(self, addresses: dict[Tensor, int], workspace: int, *, handle: Handle) -> None:
        ctypes.memset(workspace, 0xFF, ENGINES[self._built].workspace)
        arrays = {name: tensor.at(addresses[tensor]) for name, tensor in self._described().items()}
        wide = {name: array.astype(dtype_of(self.total.value)) for name, array in arrays.items()}
        arrays[self._direction][...] = self._computed(wide)
        self.ran.append((self._built, handle.stream))
        self.addresses.append([addresses[tensor] for tensor in (*self._operands, self._result)])

    def _computed(self, arrays: dict[str, np.ndarray]) -> Any:
        x, w, y = (arrays[name] for name in "xwy")
        options: Any = {
            "stride": tuple(self._options["stride"]),
            "dilation": tuple(self._options["dilation"]),
            "padding": self._padding(),
            "groups": x.shape[1] // w.shape[1],
            "padding_mode": "zeros",
        }
        meets_zeros = w if self._direction in "yx" else y
        if (self._direction == "x" or any(map(any, self._padding()))) and not np.isfinite(meets_zeros).all():
            return SPOILED
        with np.errstate(invalid="ignore"):
            if self._direction == "y":
                return oracle.conv(x, w, None, **options)
            if self._direction == "x":
                return oracle.transpose_input(w, y, x.shape[2:], **options)
            return oracle.transpose_weight(x, y, w.shape[2:], **options)

    def _move(self, before: str, after: str) -> None:
        assert self._stage == before
        self._stage = after


def module() -> ModuleType:
    """It, as it is imported; `handles` are those that were made."""
    made = ModuleType("cudnn")
    made.__spec__ = ModuleSpec("cudnn", None)
    made.handles = []

    def create_handle() -> Handle:
        made.handles.append(Handle())
        return made.handles[-1]

    def set_stream(handle: Handle, stream: int) -> None:
        handle.stream = stream

    made.__dict__.update(
        cudnnGraphNotSupportedError=cudnnGraphNotSupportedError,
        heur_mode=heur_mode,
        data_type=data_type,
        numerical_note=numerical_note,
        pygraph=Graph,
        create_handle=create_handle,
        set_stream=set_stream,
    )
    return made
