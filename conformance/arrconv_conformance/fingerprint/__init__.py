"""Fingerprints: which arithmetic a framework really uses, found through its convolutions alone.

Probes are operands whose exact result leaves few explanations for what a framework makes of them; docs/fingerprint.md
says which, and why. Frameworks choose their code by shape, so they are put on several shapes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from arrconv import Geometry
from arrconv_conformance.adapters import Lost
from arrconv_conformance.asking import NOT_OFFERED
from arrconv_conformance.claims import Claim
from arrconv_conformance.data import COMPLEX, FLOATS, PARTS, is_available
from arrconv_conformance.fingerprint import arithmetic
from arrconv_conformance.fingerprint.findings import ASPECTS, Finding, Operand, Sums
from arrconv_conformance.fingerprint.sameness import dependences
from arrconv_conformance.fingerprint.subject import FUNCTIONS, SHAPES, Shape, Subject
from arrconv_conformance.fingerprint.transforms import transform

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["DTYPES", "FUNCTIONS", "SHAPES", "Finding", "Fingerprint", "Operand", "Part", "Shape", "Sums", "fingerprint"]

DTYPES = tuple(dtype for dtype in FLOATS + COMPLEX if is_available(dtype))
"""The dtypes of a fingerprint."""


@dataclass(frozen=True, slots=True)
class Part:
    """The fingerprint of one function in one dtype.

    Args:
        dtype: the dtype.
        function: a key of `FUNCTIONS`.
        findings: what was found, shape by shape.
        differences: what of it is not as claimed.
        lost: how the framework ended, or that it did not answer; nothing was found then.
    """

    dtype: str
    function: str
    findings: tuple[Finding, ...] = ()
    differences: tuple[str, ...] = ()
    lost: str = ""

    @classmethod
    def of(cls, adapter: Any, dtype: str, function: str, shapes: Iterable[Shape] = SHAPES) -> Part:
        """Put the probes to a framework.

        Args:
            adapter: the adapter.
            dtype: one of `DTYPES`.
            function: a key of `FUNCTIONS`.
            shapes: those to ask for.
        """
        claim = Claim.of(adapter, dtype)
        findings = tuple(
            _found(Subject(adapter, dtype, FUNCTIONS[function], Geometry.parse(shape.text)), shape.name)
            for shape in shapes
            if not shape.dtypes or dtype in shape.dtypes
        )
        differing = {found.shape: found.differences(claim) for found in findings if not found.refused}
        return cls(dtype, function, findings, tuple(_listed(differing)))

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Part:
        """The part that `as_json` wrote."""
        findings = tuple(Finding.parse(finding) for finding in found["findings"])
        return cls(found["dtype"], found["function"], findings, tuple(found["differences"]), found["lost"])

    def as_json(self) -> dict[str, Any]:
        """As data."""
        return asdict(self) | {"line": self.line, "depends": self.depends, "verdict": self.verdict}

    @property
    def was_asked(self) -> bool:
        """Whether the framework offers it, or was lost over it."""
        return bool(self.lost) or any(not finding.refused for finding in self.findings)

    @property
    def line(self) -> str:
        """The arithmetic that was found, in a line."""
        if self.lost:
            return self.lost
        refused = {finding.shape: finding.refused for finding in self.findings if finding.refused}
        if not self.was_asked:
            return "not offered: " + "; ".join(dict.fromkeys(refused.values()))
        found = [finding for finding in self.findings if not finding.refused]
        said = _together({finding.shape: finding.aspects(self.dtype) for finding in found}, ASPECTS)
        return "; ".join(said + [f"not offered: {', '.join(refused)}"] * bool(refused))

    @property
    def depends(self) -> str:
        """What the bits of results depend on beside the numbers."""
        return ", ".join(_listed({finding.shape: finding.varies for finding in self.findings if not finding.refused}))

    @property
    def verdict(self) -> str:
        """Whether that is what is claimed."""
        if self.lost or not self.was_asked:
            return ""
        return "; ".join(self.differences) or "as claimed"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What was found of a framework."""

    name: str
    version: str
    parts: tuple[Part, ...]

    def part(self, dtype: str, function: str) -> Part:
        """That of a function and a dtype."""
        return next(part for part in self.parts if (part.dtype, part.function) == (dtype, function))

    @property
    def is_as_claimed(self) -> bool:
        """Whether nothing that was found differs from the claims, and nothing was lost."""
        return not any(part.differences or part.lost for part in self.parts)

    def as_json(self) -> dict[str, Any]:
        """As data."""
        return {"name": self.name, "version": self.version, "parts": [part.as_json() for part in self.parts]}


def fingerprint(
    adapter: Any,
    dtypes: Sequence[str] = DTYPES,
    functions: Sequence[str] = tuple(FUNCTIONS),
    shapes: Sequence[Shape] = SHAPES,
) -> Fingerprint:
    """The fingerprint of a framework, in this process, which ends with it where the framework crashes.

    Args:
        adapter: its adapter. Where it has `set_threads(count)`, the number of threads is that of the processors after.
        dtypes: those to ask for.
        functions: keys of `FUNCTIONS`.
        shapes: those to ask for.
    """
    parts = tuple(Part.of(adapter, dtype, function, shapes) for dtype in dtypes for function in functions)
    return Fingerprint(adapter.name, adapter.version, parts)


def _found(subject: Subject, name: str) -> Finding:
    """What the probes find on one shape; a framework that refuses it has none."""
    kernel = subject.taps > 1
    if not hasattr(subject.adapter, subject.member.function):
        return Finding(name, kernel, refused=f"no {subject.member.function}")
    try:
        return _probed(subject, name)
    except Lost:
        raise
    except NOT_OFFERED as reason:
        return Finding(name, kernel, refused=str(reason))
    except Exception as error:  # whatever a framework raises
        return Finding(name, kernel, refused=f"{type(error).__name__}: {error}".splitlines()[0])


def _probed(subject: Subject, name: str) -> Finding:
    seen, varies = transform(subject), dependences(subject)
    if seen:
        return Finding(name, subject.taps > 1, transform=seen, varies=varies)
    operands = (arithmetic.operand(subject, 0), arithmetic.operand(subject, 1))
    sums = arithmetic.sums(subject)
    results = arithmetic.results(subject)
    rounding = arithmetic.results_rounding(subject, results) if results < sums.smallest else ""
    has_range = all(operand.reach >= arithmetic.farthest(subject) for operand in operands)
    rounds_and_adds = "bias" in subject.member.takes and rounding.startswith("to nearest")
    return Finding(
        name,
        subject.taps > 1,
        operands=operands,
        products=arithmetic.products(subject, operands, sums.smallest),
        sums=sums,
        results=results,
        rounding=rounding,
        flushed=arithmetic.flushed(subject) if has_range else None,
        twice=rounds_and_adds and arithmetic.rounds_before_bias(subject, results),
        mixed=subject.dtype in PARTS and arithmetic.mixes_parts(subject),
        varies=varies,
    )


def _together(said: dict[str, dict[str, str]], aspects: Sequence[str]) -> list[str]:
    """What is said of several shapes, aspect by aspect; what is not said of most of them goes with their names."""
    texts = []
    for aspect in aspects:
        groups: dict[str, list[str]] = {}
        for shape, some in said.items():
            if aspect in some:
                groups.setdefault(some[aspect], []).append(shape)
        usual = max(groups, key=lambda text: len(groups[text]), default="")
        rare = [f"{text} ({', '.join(shapes)})" for text, shapes in groups.items() if text and text != usual]
        if rare and usual:
            texts.append(f"{', '.join(rare)}, elsewhere {usual}")
        else:
            texts += rare or [usual] * bool(usual)
    return texts


def _listed(said: Mapping[str, Sequence[str]]) -> list[str]:
    """The texts of several shapes, with the shapes' names where they are not those of all of them."""
    shapes: dict[str, list[str]] = {}
    for shape, texts in said.items():
        for text in texts:
            shapes.setdefault(text, []).append(shape)
    return [text if len(where) == len(said) else f"{text} ({', '.join(where)})" for text, where in shapes.items()]
