"""The conformance suite of arrconv: it judges convolutions, arrconv's own and anybody else's."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arrconv_conformance.adapters import Adapter, Unavailable, Unsupported, load_adapter
    from arrconv_conformance.cases import Case, catalogue
    from arrconv_conformance.generate import full, quick, sweep
    from arrconv_conformance.judge import Verdict
    from arrconv_conformance.record import Run
    from arrconv_conformance.runner import run

__all__ = [
    "Adapter",
    "Case",
    "Run",
    "Unavailable",
    "Unsupported",
    "Verdict",
    "catalogue",
    "full",
    "load_adapter",
    "quick",
    "run",
    "sweep",
]

# Each is imported when it is asked for: pytest loads the plugin in this package in all of its runs.
_MODULES = {
    "adapters": ("Adapter", "Unavailable", "Unsupported", "load_adapter"),
    "cases": ("Case", "catalogue"),
    "generate": ("full", "quick", "sweep"),
    "judge": ("Verdict",),
    "record": ("Run",),
    "runner": ("run",),
}
_PLACES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
