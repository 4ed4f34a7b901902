"""arrconv on NumPy."""

import numpy as np

import arrconv
from arrconv_conformance.adapters.own import OwnAdapter


def adapter() -> OwnAdapter:
    """The adapter."""
    return OwnAdapter("numpy", f"arrconv {arrconv.__version__}, NumPy {np.__version__}", np.asarray, np.asarray)
