"""arrconv on CuPy by cuDNN, held to the same verdicts; what cuDNN has not is unsupported."""

from dataclasses import replace

import cudnn

from arrconv_conformance.adapters import cupy
from arrconv_conformance.adapters.own import OwnAdapter


def adapter() -> OwnAdapter:
    """The adapter.

    Raises:
        Unavailable: there is no CUDA device.
    """
    own = cupy.adapter()
    version = f"{own.version}, by cuDNN {cudnn.backend_version()}"
    return replace(own, name="cupy_cudnn", version=version, algorithm="cudnn")
