"""arrconv on CuPy."""

from typing import Any

import cupy

import arrconv
from arrconv_conformance.adapters import Unavailable
from arrconv_conformance.adapters.own import OwnAdapter


def adapter() -> OwnAdapter:
    """The adapter.

    Raises:
        Unavailable: there is no CUDA device.
    """
    try:
        device = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise Unavailable(f"cupy: no CUDA device here ({error})") from error
    return OwnAdapter(
        "cupy", f"arrconv {arrconv.__version__}, CuPy {cupy.__version__} on {device}", cupy.asarray, cupy.asnumpy
    )


def device() -> dict[str, Any]:
    """What there is to know about the device at hand, its driver and CUDA."""
    runtime, at = cupy.cuda.runtime, cupy.cuda.Device()
    free, memory = runtime.memGetInfo()
    return {
        "name": runtime.getDeviceProperties(at.id)["name"].decode(),
        "compute_capability": at.compute_capability,
        "devices": runtime.getDeviceCount(),
        "memory": memory,
        "free_memory": free,
        "driver": runtime.driverGetVersion(),
        "cuda": runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
    }
