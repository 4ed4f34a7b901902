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
import re
from pathlib import Path
from typing import Any, Literal, Protocol

_MODULES = (
    "numpy",
    "cupy",
    "strict",
    "torch",
    "torch_channels_last",
    "torch_autocast",
    "torch_cuda",
    "jax",
    "tensorflow",
    "mlx",
    "onnxruntime",
    "onnx_reference",
    "openvino",
    "tinygrad",
    "scipy",
)
NAMES = {"array-api-strict" if name == "strict" else name.replace("_", "-"): name for name in _MODULES}
"""The modules of the adapters, by the names under which they are asked for."""

PROGRAM = "exec:"
"""What names of programs that speak the line protocol begin with."""

_FILE = re.compile(r"(?P<path>.+\.py)(:(?P<object>\w+))?")


class Adapter(Protocol):
    """What every adapter has; its functions are optional."""

    name: str
    version: str


class Unsupported(Exception):  # noqa: N818 - it is no error: the framework does not offer this
    """Raised by an adapter where its framework has no such operation."""


class Lost(Exception):  # noqa: N818 - an outcome of its own, and not a refusal
    """Raised by an adapter whose framework runs in another process, where that ends, hangs or answers nonsense.

    Args:
        outcome: the outcome of the call; `deviates` where the answer is none.
        message: what there is to say about it.
    """

    def __init__(self, outcome: Literal["crashes", "hangs", "deviates"], message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class Unavailable(Exception):  # noqa: N818 - a state of the machine, said in one line
    """The framework cannot be run here: it is not installed, or there is no device for it."""


def load_adapter(name: str, call_limit: float | None = None) -> Any:
    """The adapter of a framework known by name, that of a Python file, or a program that speaks the line protocol.

    Args:
        name: a name, arrconv's own perhaps with `:` and the algorithm that is asked for; a path that ends in .py, with
            `:` and the name of an object in it where the module is not the adapter itself, or of a class, which is
            called without arguments; or `exec:` and a command.
        call_limit: the seconds that a program may take for a call.

    Raises:
        Unavailable: there is no such adapter, or its framework cannot be run here.
    """
    if name.startswith(PROGRAM):
        from arrconv_conformance.program import Program  # it is made of what is here

        return Program.of(name.removeprefix(PROGRAM), call_limit)
    try:
        file = _FILE.fullmatch(name)
        adapter = _load_file(Path(file["path"]), file["object"]) if file else _load_known(name)
    except Unavailable:
        raise
    except Exception as error:  # an adapter is anybody's code, and importing a framework may fail in any way
        raise Unavailable(f"{name}: cannot be imported here ({type(error).__name__}: {error})") from error
    for attribute in ("name", "version"):
        if not hasattr(adapter, attribute):
            raise Unavailable(f"{name}: the adapter has no `{attribute}`")
    return adapter


def _load_known(name: str) -> Any:
    framework, _, algorithm = name.partition(":")
    if framework not in NAMES:
        raise Unavailable(f"{framework}: no such adapter; there are {', '.join(NAMES)}, or give a path ending in .py")
    module = importlib.import_module(f"{__name__}.{NAMES[framework]}")
    adapter = module.adapter() if hasattr(module, "adapter") else module
    if not algorithm:
        return adapter
    if not hasattr(adapter, "by"):
        raise Unavailable(f"{name}: {framework} takes no algorithm; arrconv's own adapters do, such as numpy:fft")
    return adapter.by(algorithm)


def _load_file(path: Path, name: str | None) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise Unavailable(f"{path}: no such file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if name is not None and not hasattr(module, name):
        raise Unavailable(f"{path}: there is no `{name}` in it")
    found = module if name is None else getattr(module, name)
    return found() if isinstance(found, type) else found
