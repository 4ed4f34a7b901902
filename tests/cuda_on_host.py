"""CUDA kernels run on the host, thread after thread: the kernels' own source, compiled by g++ behind a short header.

Threads wait for each other in the kernels of `TOGETHER` only. There each runs as far as it can, the warps in order
or in reverse, so that one that should have waited shows. What tensor cores do is written out from the PTX ISA's "Matrix
Fragments" of each `mma`, with addends cut off to 24 bits at the exponent of the largest, and the sum cut off again.
Arrays are NumPy's; an array of one structure is passed by value, as CuPy does. Reads beyond an array that change
nothing show where `-fsanitize=address` is added and its library loaded before Python.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from arrconv.kernels import nvrtc

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

HEADER = """
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <ucontext.h>
#include <utility>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)
#define ON_HOST
#define HALF_TO_FLOAT(value, bits) value = float_of_half(bits)
#define FLOAT_TO_HALF(bits, value) bits = half_of_float(value)

static float float_of_half(unsigned bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                       : exponent     ? std::ldexp(1024.0f + fraction, exponent - 25)
                                      : std::ldexp(1.0f * fraction, -24);
    return bits >> 15 ? -size : size;
}

static unsigned short half_of_float(float value) {
    const unsigned sign = std::signbit(value) ? 0x8000 : 0;
    if (std::isnan(value)) return 0x7fff;
    if (std::abs(value) >= 65520) return sign | 0x7c00;
    const int exponent = value == 0 ? -14 : std::max(std::ilogb(value), -14);
    const int steps = int(std::nearbyint(std::ldexp(std::abs(double(value)), 10 - exponent)));
    return sign | (steps + ((exponent + 14) << 10));
}

struct Number { unsigned int x; };
static thread_local Number blockIdx, blockDim, threadIdx;

enum State { ready, at_warp, at_block, done };
static const unsigned MOST = 256;
static const size_t STACK = 1 << 17;
static ucontext_t host, threads_of[MOST];
static State states[MOST];
static char* const stacks = static_cast<char*>(std::malloc(MOST * STACK));
static std::function<void()> body;

static void wait(State state) {
    const unsigned own = threadIdx.x;
    states[own] = state;
    swapcontext(&threads_of[own], &host);
}
static void __syncthreads() { wait(at_block); }
static void start() { body(); wait(done); }

static void resume_warp(unsigned first, unsigned threads) {
    bool is_waiting = true;
    while (is_waiting) {
        is_waiting = false;
        for (unsigned thread = first; thread < std::min(first + 32, threads); ++thread) {
            if (states[thread] == at_block || states[thread] == done) continue;
            threadIdx.x = thread;
            swapcontext(&host, &threads_of[thread]);
            is_waiting |= states[thread] == at_warp;
        }
    }
}

static void run_block(unsigned threads, bool is_reversed) {
    for (unsigned thread = 0; thread < threads; ++thread) {
        getcontext(&threads_of[thread]);
        threads_of[thread].uc_stack = {stacks + thread * STACK, 0, STACK};
        threads_of[thread].uc_link = nullptr;
        makecontext(&threads_of[thread], start, 0);
        states[thread] = ready;
    }
    const unsigned warps = (threads + 31) / 32;
    while (std::any_of(states, states + threads, [](State state) { return state != done; })) {
        for (unsigned warp = 0; warp < warps; ++warp)
            resume_warp(32 * (is_reversed ? warps - 1 - warp : warp), threads);
        for (unsigned thread = 0; thread < threads; ++thread)
            if (states[thread] == at_block) states[thread] = ready;
    }
}

// What the lanes of a warp give, there for all of them when all have given it.
template <class Given>
static const Given* together(const Given& given) {
    static Given all[2][MOST];
    static int turns[MOST];
    const unsigned own = threadIdx.x;
    const int turn = turns[own] ^= 1;
    all[turn][own] = given;
    wait(at_warp);
    return &all[turn][own / 32 * 32];
}

static double cut_off(double value, int exponent) {
    return std::ldexp(std::trunc(std::ldexp(value, 23 - exponent)), exponent - 23);
}

struct Instructions {
    template <class Source>
    static void multiply(float* d, const unsigned* a, const unsigned* b, Source) {
        constexpr int each = 4 / sizeof(Source), depth = 8 * each;
        struct Given { unsigned a[4], b[2]; } given;
        std::memcpy(given.a, a, sizeof given.a);
        std::memcpy(given.b, b, sizeof given.b);
        const Given* const lanes = together(given);
        const auto number = [](unsigned word, int part) {
            Source value;
            const unsigned bits = word >> 16 * part;
            std::memcpy(&value, &bits, sizeof value);
            return double(float(value));
        };
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
        for (int e = 0; e < 4; ++e) {
            const int row = g + e / 2 * 8, column = 2 * t + e % 2;
            double products[depth], sum = 0;
            int most = -2000;
            for (int k = 0; k < depth; ++k) {
                const int half = k / (depth / 2), lane = k % (depth / 2) / each, part = k % each;
                products[k] = number(lanes[row % 8 * 4 + lane].a[row / 8 + 2 * half], part) *
                              number(lanes[column * 4 + lane].b[half], part);
                if (products[k] != 0 && std::isfinite(products[k])) most = std::max(most, std::ilogb(products[k]));
            }
            for (double product : products) sum += std::isfinite(product) ? cut_off(product, most) : product;
            d[e] = sum != 0 && std::isfinite(sum) ? cut_off(sum, std::ilogb(sum)) : sum;
        }
    }

    static void add(double* c, double a, double b) {
        struct Given { double a, b; };
        const Given* const lanes = together(Given{a, b});
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
        for (int e = 0; e < 2; ++e)
            for (int k = 0; k < 4; ++k) c[e] = std::fma(lanes[4 * g + k].a, lanes[4 * (2 * t + e) + k].b, c[e]);
    }

    static unsigned to_tf32(float value) {
        unsigned bits;
        std::memcpy(&bits, &value, sizeof bits);
        return (bits + (1u << 12)) & ~((1u << 13) - 1);
    }
};

template <class... Arguments, std::size_t... I>
void run(void (*kernel)(Arguments...), unsigned blocks, unsigned threads, void** given, std::index_sequence<I...>) {
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x)
            kernel(*static_cast<std::remove_const_t<Arguments>*>(given[I])...);
}

template <class... Arguments, std::size_t... I>
void run_together(
    void (*kernel)(Arguments...), unsigned blocks, unsigned threads, void** given, std::index_sequence<I...>) {
    body = [=] { kernel(*static_cast<std::remove_const_t<Arguments>*>(given[I])...); };
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) run_block(threads, blockIdx.x % 2);
}

template <class... Arguments>
void run_all(void (*kernel)(Arguments...), bool is_waiting, unsigned blocks, unsigned threads, void** given) {
    const auto numbers = std::index_sequence_for<Arguments...>();
    is_waiting ? run_together(kernel, blocks, threads, given, numbers) : run(kernel, blocks, threads, given, numbers);
}
"""
ENTRY = """
extern "C" void kernel_{number}(unsigned blocks, unsigned threads, void** given) {{
    run_all({name}, {is_waiting}, blocks, threads, given);
}}
"""
TOGETHER = "implicit"


class Host:
    """A stand-in for the device: `launch` in place of that of `arrconv.kernels.nvrtc`, for kernels of these names."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        if shutil.which("g++") is None:
            pytest.skip("g++ is not installed, which compiles the kernels for the host")
        self._numbers = {name: number for number, name in enumerate(names)}
        entries = "".join(
            ENTRY.format(number=number, name=name, is_waiting=str(name.startswith(TOGETHER)).lower())
            for name, number in self._numbers.items()
        )
        text, library = folder / "kernels.cpp", folder / "kernels.so"
        text.write_text(HEADER + nvrtc.source_code() + entries, encoding="utf-8")
        options = [
            *nvrtc.OPTIONS,
            "-O1",
            "-fno-strict-aliasing",
            "-Wall",
            "-Wno-unknown-pragmas",
            "-Werror",
            "-shared",
            "-fPIC",
        ]
        subprocess.run(["g++", *options, "-shared", "-fPIC", str(text), "-o", str(library)], check=True)
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
