"""Kernels in CUDA: their source, compiled by NVRTC for the device that runs them, and launched on CuPy's stream."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from arrconv._namespace import Array

TYPES = {
    "float16": "Half",
    "bfloat16": "Bfloat",
    "float32": "float",
    "float64": "double",
    "complex64": "Complex<float>",
    "complex128": "Complex<double>",
    "int8": "signed char",
    "int16": "short",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned int",
    "uint64": "unsigned long long",
}
"""The type in C++ of the elements of each dtype."""
SUMS = TYPES | {"int64": "unsigned long long"}
"""That of their sums: of all integers it is one that may overflow, and which then has the bits of int64."""
SOURCES = ("cuda.cu", "implicit.cu")
"""The files of the kernels, each of which may use what is in those before it."""
OPTIONS = ("-std=c++17",)
"""Of the compiler, NVRTC or nvcc."""
INT_REACH = 2**31 - 2**10
"""What an int can count to, less a last block's threads that have nothing to do."""


def summed(dtype: Any) -> np.dtype[Any]:
    """The dtype in which what is stored in one is added up."""
    return np.dtype("float32" if dtype.name in ("float16", "bfloat16") else dtype)


def strides_of(array: Array) -> list[int]:
    """How many elements apart neighbours along each axis lie."""
    return [stride // array.itemsize for stride in array.strides]


def structure(numbers: list[int]) -> Any:
    """A structure of so many `long long` as an array of one element, which CuPy gives to kernels by value."""
    return np.asarray(numbers, np.int64).view(f"V{8 * len(numbers)}")


def launch(name: str, blocks: int, threads: int, arguments: list[Any]) -> None:
    """Start a kernel by its name in the source, so many blocks of so many threads, on CuPy's current stream."""
    _compiled(name)((blocks,), (threads,), tuple(arguments))


@cache
def _compiled(name: str) -> Any:
    """A kernel, which CuPy compiles for each device on which it is called, and keeps."""
    import cupy

    return cupy.RawModule(code=source_code(), options=OPTIONS, name_expressions=(name,)).get_function(name)


def source_code() -> str:
    """The text of all kernels."""
    return "".join(files("arrconv.kernels").joinpath(name).read_text("utf-8") for name in SOURCES)


def has_tensor_cores() -> bool:
    """Whether the current device has tensor cores for all that `implicit.cu` asks of them: since Ampere, 8.0."""
    import cupy

    return int(cupy.cuda.Device().compute_capability) >= 80
