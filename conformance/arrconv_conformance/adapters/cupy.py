"""arrconv on CuPy."""

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
