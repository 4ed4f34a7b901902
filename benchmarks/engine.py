"""What the NumPy engine reaches: measured here, printed as JSON on standard output."""

from __future__ import annotations

import json
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import arrconv

ROUNDS = 9
CALLS = 5  # of which the median counts, in each round
PAUSE = 0.2  # seconds; OpenBLAS's idle threads keep a core busy for some time after a matrix product
MATMUL_SIZE = 1024


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def undisturbed_seconds(function: Callable[[], Any]) -> float:
    time.sleep(PAUSE)
    return statistics.median(seconds(function) for _ in range(CALLS))


def spread(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4)
    return {"median": median, "lower_quartile": low, "upper_quartile": high}


def rates(dtype: str) -> dict[str, Any]:
    """64→64 channels, 3×3, 56×56, batch 8: each contraction in turn with a matrix product, as shares of its rate."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((8, 64, 56, 56)).astype(dtype), rng.standard_normal((64, 64, 3, 3)).astype(dtype)
    y = arrconv.conv(x, w, padding=1)
    square = rng.standard_normal((MATMUL_SIZE, MATMUL_SIZE)).astype(dtype)
    work = {
        "forward": lambda: arrconv.conv(x, w, padding=1),
        "input gradient": lambda: arrconv.conv_grad_input(w, y, input_size=(56, 56), padding=1),
        "weight gradient": lambda: arrconv.conv_grad_weight(x, y, kernel_size=(3, 3), padding=1),
    }
    operations, matmul_operations = 2 * y.size * 64 * 9, 2 * MATMUL_SIZE**3
    found: dict[str, Any] = {}
    for name, function in work.items():
        function()
        shares, gigaflops, matmul = [], [], []
        for _ in range(ROUNDS):
            matmul.append(matmul_operations / undisturbed_seconds(lambda: square @ square) / 1e9)
            gigaflops.append(operations / undisturbed_seconds(function) / 1e9)
            shares.append(gigaflops[-1] / matmul[-1])
        found[name] = {"share": spread(shares), "gflops": spread(gigaflops), "matmul_gflops": spread(matmul)}
    return found


def smallest_call() -> dict[str, float]:
    """Batch 1, 3→8 channels, 8×8, float64: microseconds a call."""
    x, w = np.ones((1, 3, 8, 8)), np.ones((8, 3, 3, 3))
    arrconv.conv(x, w)
    calls = 500
    time.sleep(PAUSE)
    return spread([seconds(lambda: [arrconv.conv(x, w) for _ in range(calls)]) / calls * 1e6 for _ in range(ROUNDS)])


def memory() -> dict[str, float]:
    """(1, 64, 512, 512) float32, 64 outputs, 3×3: megabytes of the process's peak beyond what it had with x and w."""
    x, w = np.ones((1, 64, 512, 512), np.float32), np.ones((64, 64, 3, 3), np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    y = arrconv.conv(x, w, padding=1)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if platform.system() == "Darwin" else 1024  # bytes there, kibibytes elsewhere
    megabytes = (after - before) * unit / 1e6
    return {"output_MB": y.nbytes / 1e6, "peak_beyond_inputs_MB": megabytes, "extra_MB": megabytes - y.nbytes / 1e6}


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def environment() -> dict[str, Any]:
    """What measured: processor, threads, BLAS, versions."""
    blas = [
        {key: library.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]
    with arrconv.limits() as limits:
        threads = limits.threads
    return {
        "versions": {"arrconv": arrconv.__version__, "numpy": np.__version__, "python": platform.python_version()},
        "processor": processor(),
        "threads": threads,
        "blas": blas,
    }


def main() -> None:
    # Memory first: the peak of a process never falls again.
    record = {
        "memory": memory(),
        "smallest_call_us": smallest_call(),
        "rates": {dtype: rates(dtype) for dtype in ("float64", "float32")},
    }
    print(json.dumps(record | environment()))


if __name__ == "__main__":
    main()
