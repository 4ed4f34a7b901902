"""What it is that is checked: device, driver and versions."""

from __future__ import annotations

import platform
import sys
from importlib import import_module
from typing import Any

import numpy as np

import arrconv
from arrconv_conformance.adapters import NAMES
from arrconv_conformance.gpu_check.place import Findings, Place, finish


def look(place: Place) -> Findings:
    """What there is to know about a library, its device, and PyTorch beside it."""
    adapters = import_module(f"arrconv_conformance.adapters.{NAMES[place.name]}")
    device = adapters.device() if hasattr(adapters, "device") else {}
    record = {
        "library": place.version,
        "device": device,
        "python": platform.python_version(),
        "system": platform.platform(),
        "arrconv": arrconv.__version__,
        "numpy": np.__version__,
        "torch": _torch(),
    }
    return Findings("; ".join([place.version, *(f"{key} {value}" for key, value in device.items())]), record, True)


def _torch() -> dict[str, Any] | str:
    try:
        torch = import_module("torch")
    except ImportError as error:
        return f"not installed ({error})"
    return {"version": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}


if __name__ == "__main__":
    finish(look(Place.of(sys.argv[1])), sys.argv[2])
