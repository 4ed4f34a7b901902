"""The array library that is checked, how arrays come to it and back, and how a step says what it has found."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arrconv_conformance.adapters import load_adapter
from arrconv_conformance.gpu_check.running import SKIPPED

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Place:
    """An array library: its module, `put` and `get`; the adapters know how to reach them.

    >>> place = Place.of("numpy")
    >>> place.get(place.put(place.module.ones(2)))
    array([1., 1.])
    """

    name: str
    version: str
    module: Any
    put: Callable[[Any], Any]
    get: Callable[[Any], Any]

    @classmethod
    def of(cls, name: str) -> Place:
        """The library of an adapter of arrconv's own: cupy, numpy or array-api-strict.

        Raises:
            Unavailable: it is not installed, or there is no device for it.
        """
        adapter = load_adapter(name)
        return cls(name, adapter.version, import_module(name.replace("-", "_")), adapter.put, adapter.get)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a step has found.

    Attributes:
        line: what is said about it.
        record: what is written as JSON.
        is_right: whether it is as it has to be; None where there was nothing to do.
    """

    line: str
    record: dict[str, Any]
    is_right: bool | None


def finish(findings: Findings, file: str) -> None:
    """Write findings, say their line, and end the process with their status."""
    Path(file).write_text(json.dumps(findings.record, indent=1) + "\n", encoding="utf-8")
    print(findings.line)
    sys.exit(SKIPPED if findings.is_right is None else int(not findings.is_right))
