"""The conformance suite of arrconv: it judges convolutions, arrconv's own and anybody else's."""

from arrconv_conformance.adapters import Adapter, Unsupported, load_adapter
from arrconv_conformance.cases import Case, catalogue, generated
from arrconv_conformance.runner import Run, run

__all__ = ["Adapter", "Case", "Run", "Unsupported", "catalogue", "generated", "load_adapter", "run"]
