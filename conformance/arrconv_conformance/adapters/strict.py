"""arrconv on array-api-strict, which offers the Array API standard and nothing more; that has no 16-bit floats."""

from typing import Any

import array_api_strict
import numpy as np

import arrconv
from arrconv_conformance.adapters import Unsupported
from arrconv_conformance.adapters.own import OwnAdapter


def adapter() -> OwnAdapter:
    """The adapter."""
    version = f"arrconv {arrconv.__version__}, array-api-strict {array_api_strict.__version__}"
    return OwnAdapter("array-api-strict", version, _put, np.asarray)


def _put(array: Any) -> Any:
    if array.dtype.name in ("float16", "bfloat16"):
        raise Unsupported("the Array API standard has no 16-bit floating-point numbers")
    return array_api_strict.asarray(array)
