"""Checkpoints: everything that the next step depends on, in one npz file, written so that it is whole or not there.

Weights alone are also read from and written to safetensors files, as others use them. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.errors import SpecError, UnsupportedError
from arrconv.train.pictures import host
from arrconv.train.sources import read_npz

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from arrconv.nn.layer import Layer
    from arrconv.train.optimiser import Optimiser

_FORMAT = "arrconv checkpoint 1"


@dataclass
class Progress:
    """Where training stands.

    Attributes:
        epoch: how many epochs are done.
        batch: how many batches of the next one are.
        history: a row of what was measured for each epoch.
        running: the sums of the epoch so far.
    """

    epoch: int = 0
    batch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    running: dict[str, float] = field(default_factory=dict)


def save(file: Path, net: Layer, optimiser: Optimiser, progress: Progress, settings: dict[str, Any]) -> None:
    """Write a checkpoint; what was there before stays until the new one is whole.

    Args:
        file: its name, which should end in .npz.
        net, optimiser, progress: what is kept.
        settings: what training was asked for, to be compared when it goes on.
    """
    state = optimiser.state_dict()
    about = {
        "format": _FORMAT,
        "steps": state.pop("steps"),
        "progress": progress.__dict__,
        "settings": settings,
        "passes": _passes(net),
    }
    arrays = {f"net/{name}": host(value) for name, value in net.state_dict().items()}
    arrays |= {f"optimiser/{name}": host(value) for name, value in state.items()}
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    _write_whole(file, lambda partial: _savez(partial, arrays))


def load(file: Path, net: Layer, optimiser: Optimiser | None = None) -> tuple[Progress, dict[str, Any]]:
    """Take over a checkpoint: the network, and the optimiser if one is given.

    Returns:
        The progress, and the settings that were kept.

    Raises:
        FileNotFoundError: there is no such file.
        SpecError: it is no checkpoint, or of another network or optimiser.
        ShapeError: an array has another shape.
    """
    arrays, about = _read(file)
    parts: dict[str, dict[str, Any]] = {"net": {}, "optimiser": {}}
    for key, array in arrays.items():
        part, _, name = key.partition("/")
        parts[part][name] = array
    net.load_state_dict(parts["net"])
    for layer, passes in zip(random_layers(net), about["passes"], strict=True):
        layer.calls = passes
    if optimiser is not None:
        optimiser.load_state_dict({"steps": about["steps"], **parts["optimiser"]})
    return Progress(**about["progress"]), about["settings"]


def save_weights(file: Path, net: Layer) -> None:
    """Write the arrays of a network, by the names that PyTorch gives them; what was there stays until they are whole.

    Args:
        file: its name, which ends in .npz or .safetensors.
        net: what they are of.

    Raises:
        SpecError: the name ends in something else.
        UnsupportedError: the safetensors package is not installed.

    Source: Hugging Face, "Safetensors", the format's description, 2023.
    """
    arrays = {name: np.ascontiguousarray(host(value)) for name, value in net.state_dict().items()}
    if file.suffix == ".safetensors":
        write = _safetensors().save_file
        _write_whole(file, lambda partial: write(arrays, partial))
    elif file.suffix == ".npz":
        _write_whole(file, lambda partial: _savez(partial, arrays))
    else:
        raise SpecError(f"{file} must end in .npz or .safetensors")


def load_weights(file: Path, net: Layer) -> None:
    """Take over the arrays of a network, from a checkpoint, or from an npz or a safetensors file of them.

    Raises:
        FileNotFoundError, SpecError, ShapeError: as for `load`.
        UnsupportedError: it is a safetensors file, and the package is not installed.
    """
    arrays, about = (_read_safetensors(file), {}) if file.suffix == ".safetensors" else _read(file)
    of_net = {key.removeprefix("net/"): array for key, array in arrays.items() if not about or key.startswith("net/")}
    net.load_state_dict(of_net)


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays of an npz file, and what a checkpoint says of itself; never anything that is pickled."""
    arrays = read_npz(file)
    if "about" not in arrays:
        return arrays, {}
    about = json.loads(bytes(arrays.pop("about")))
    if about.get("format") != _FORMAT:
        raise SpecError(f"{file} has the format {about.get('format')!r}, but {_FORMAT!r} is known here")
    return arrays, about


def _read_safetensors(file: Path) -> dict[str, Any]:
    read = _safetensors().load_file
    from safetensors import SafetensorError

    try:
        arrays: dict[str, Any] = read(file)
    except SafetensorError as reason:
        raise SpecError(f"{file} is no safetensors file: {reason}") from None
    return arrays


def _safetensors() -> Any:
    try:
        from safetensors import numpy
    except ImportError:
        raise UnsupportedError("safetensors files need safetensors: pip install 'arrconv[safetensors]'") from None
    return numpy


def _savez(file: Path, arrays: dict[str, Any]) -> None:
    with file.open("wb") as stream:
        np.savez(stream, **arrays)


def _write_whole(file: Path, write: Callable[[Path], Any]) -> None:
    """Write a file under another name, and give it its own when all of it is on the disk."""
    partial = file.with_name(file.name + ".part")
    write(partial)
    with partial.open("rb+") as stream:
        os.fsync(stream.fileno())
    partial.replace(file)


def random_layers(net: Layer) -> list[Any]:
    """Layers whose results depend on how often they were called."""
    found = [net] if hasattr(net, "calls") else []
    for layer in net.layers.values():
        found += random_layers(layer)
    return found


def _passes(net: Layer) -> list[int]:
    return [layer.calls for layer in random_layers(net)]
