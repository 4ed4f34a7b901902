"""Adapters: a framework's convolutions as functions over NumPy arrays.

An adapter is a module, a Python file or any other object with a `name`, a `version` and any of the functions

    conv(x, w, bias, *, stride, padding, dilation, groups, padding_mode)                -> y
    conv_transpose(y, w, bias, *, stride, padding, output_padding, dilation, groups)    -> x
    conv_backward(x, w, gy, *, needs, stride, padding, dilation, groups, padding_mode)  -> {need: gradient}

with `padding` as (begin, end) pairs and everything else a tuple over the axes. What it lacks, or what raises
`Unsupported`, is reported as unsupported; any other exception is a refusal, which expectations may explain.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any, Protocol

NAMES = {
    "numpy": "arrconv_conformance.adapters.numpy",
    "array-api-strict": "arrconv_conformance.adapters.strict",
    "cupy": "arrconv_conformance.adapters.cupy",
    "torch": "arrconv_conformance.adapters.torch",
}


class Adapter(Protocol):
    """What every adapter has; its functions are optional."""

    name: str
    version: str


class Unsupported(Exception):  # noqa: N818 - it is no error: the framework does not offer this
    """Raised by an adapter where its framework has no such operation."""


class Unavailable(Exception):  # noqa: N818 - a state of the machine, said in one line
    """The framework cannot be run here: it is not installed, or there is no device for it."""


def load_adapter(name: str) -> Any:
    """The adapter of a framework known by name, or that of a Python file.

    Raises:
        Unavailable: there is no such adapter, or its framework cannot be run here.
    """
    try:
        adapter = _load_file(Path(name)) if name.endswith(".py") else _load_known(name)
    except Unavailable:
        raise
    except Exception as error:  # an adapter is anybody's code, and importing a framework may fail in any way
        raise Unavailable(f"{name}: cannot be imported here ({type(error).__name__}: {error})") from error
    for attribute in ("name", "version"):
        if not hasattr(adapter, attribute):
            raise Unavailable(f"{name}: the adapter has no `{attribute}`")
    return adapter


def _load_known(name: str) -> Any:
    if name not in NAMES:
        raise Unavailable(f"{name}: no such adapter; there are {', '.join(NAMES)}, or give a path ending in .py")
    module = importlib.import_module(NAMES[name])
    return module.adapter() if hasattr(module, "adapter") else module


def _load_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise Unavailable(f"{path}: no such file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
