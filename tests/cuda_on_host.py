"""CUDA kernels run on the host, thread after thread: the kernels' own source, compiled by g++ behind a short header.

No thread may wait for another. Arrays are NumPy's; an array of one structure is passed by value, as CuPy does. Reads
beyond an array that change nothing show where `-fsanitize=address` is added and its library loaded before Python.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from arrconv.kernels import cuda

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

HEADER = """
#include <cmath>
#include <utility>

#define __global__
#define __device__
#define HALF_TO_FLOAT(value, bits) value = float_of_half(bits)

static float float_of_half(unsigned bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                       : exponent     ? std::ldexp(1024.0f + fraction, exponent - 25)
                                      : std::ldexp(1.0f * fraction, -24);
    return bits >> 15 ? -size : size;
}

struct Place { unsigned int x; };
static thread_local Place blockIdx, blockDim, threadIdx;

template <class... Arguments, std::size_t... I>
void run(void (*kernel)(Arguments...), unsigned blocks, unsigned threads, void** given, std::index_sequence<I...>) {
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x)
            kernel(*static_cast<std::remove_const_t<Arguments>*>(given[I])...);
}

template <class... Arguments>
void run_all(void (*kernel)(Arguments...), unsigned blocks, unsigned threads, void** given) {
    run(kernel, blocks, threads, given, std::index_sequence_for<Arguments...>());
}
"""
ENTRY = """
extern "C" void kernel_{number}(unsigned blocks, unsigned threads, void** given) {{
    run_all({name}, blocks, threads, given);
}}
"""


class Host:
    """A stand-in for the device: `launch` in place of that of `arrconv.kernels.cuda`, for kernels of these names."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        if shutil.which("g++") is None:
            pytest.skip("g++ is not installed, which compiles the kernels for the host")
        self._numbers = {name: number for number, name in enumerate(names)}
        entries = "".join(ENTRY.format(number=number, name=name) for name, number in self._numbers.items())
        text, library = folder / "kernels.cpp", folder / "kernels.so"
        text.write_text(HEADER + cuda.source_code() + entries, encoding="utf-8")
        options = [*cuda.OPTIONS, "-O1", "-Wall", "-Wno-unknown-pragmas", "-Werror", "-shared", "-fPIC"]
        subprocess.run(["g++", *options, str(text), "-o", str(library)], check=True)
        self._library = ctypes.CDLL(str(library))
        self.launched: list[str] = []

    def launch(self, name: str, blocks: int, threads: int, arguments: list[Any]) -> None:
        self.launched.append(name)
        given = [_pointer(argument) for argument in arguments]
        table = (ctypes.c_void_p * len(given))(*(ctypes.addressof(each) for each in given))
        self._library[f"kernel_{self._numbers[name]}"](ctypes.c_uint(blocks), ctypes.c_uint(threads), table)


def _pointer(argument: Any) -> Any:
    """What holds an argument: a structure itself, or the address of an array's first element."""
    if argument is None:
        return ctypes.c_void_p(None)
    if argument.dtype.type is np.void:
        return (ctypes.c_char * argument.nbytes).from_buffer(argument)
    return ctypes.c_void_p(argument.ctypes.data)
