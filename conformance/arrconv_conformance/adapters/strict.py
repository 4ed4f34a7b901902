"""arrconv on array-api-strict, which offers the Array API standard and nothing more."""

import array_api_strict
import numpy as np

import arrconv
from arrconv_conformance.adapters.own import OwnAdapter


def adapter() -> OwnAdapter:
    """The adapter."""
    version = f"arrconv {arrconv.__version__}, array-api-strict {array_api_strict.__version__}"
    return OwnAdapter("array-api-strict", version, array_api_strict.asarray, np.asarray)
