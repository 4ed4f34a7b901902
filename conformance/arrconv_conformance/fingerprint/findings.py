"""Findings: what probes found, in words, and what of it is not as claimed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrconv.bounds import FORMATS
from arrconv_conformance.data import PARTS

if TYPE_CHECKING:
    from arrconv_conformance.claims import Claim


ASPECTS = ("inputs", "products", "sums", "results", "subnormals", "transform", "bias", "parts")
"""What there is to be said of a shape, in this order."""


@dataclass(frozen=True, slots=True)
class Operand:
    """What is kept of the numbers of one operand.

    Args:
        role: `x`, `w` or `y`.
        bits: the fraction bits.
        reach: the largest power of two that was tried and kept.
        at_least: whether they may be more: sums that keep no more hide them.
        rounding: how numbers of more bits are rounded, where they are.
    """

    role: str
    bits: int
    reach: int
    at_least: bool = False
    rounding: str = ""

    @property
    def format(self) -> str:
        """The name of the format, or nothing where it has none."""
        return _format(self.bits, self.reach)

    @property
    def words(self) -> str:
        """In words."""
        notes = [self.format, self.rounding and f"rounded {self.rounding}"]
        known = ", ".join(note for note in notes if note)
        return f"{self.bits} bits{' or more' * self.at_least}" + (f" ({known})" if known and not self.at_least else "")


@dataclass(frozen=True, slots=True)
class Sums:
    """What is kept in sums.

    Args:
        smallest: the fraction bits at that place of the sums where they are fewest.
        largest: and where they are most.
        most: the largest number that was tried.
        rounding: how sums of more bits are rounded.
    """

    smallest: int
    largest: int
    most: int
    rounding: str = ""

    @property
    def words(self) -> str:
        """In words."""
        if self.smallest == self.most:
            return f"{self.most} bits or more"
        name = _format(self.smallest, 0)
        if self.largest == self.smallest:
            bits = f"{self.smallest} bits" + (f" ({name})" if name else "")
        else:
            bits = f"{self.smallest} to {self.largest} bits{' or more' * (self.largest == self.most)}"
        return bits if self.rounding == "to nearest" else f"{bits}, rounded {self.rounding}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found on one shape. Where a transform was seen, nothing is said of bits.

    Args:
        shape: the name of the shape.
        kernel: whether the kernel is larger than one tap, so that a transform could be seen.
        refused: why nothing was found; empty where something was.
        transform: the transform that was seen.
        operands: what is kept of them.
        products: the bits kept of products, where they are fewer than operands and sums have.
        sums: what is kept in sums.
        results: the fraction bits of results.
        rounding: how sums are rounded to results, where these are shorter.
        flushed: which subnormal numbers are replaced by zero; None where numbers so small have no place anyway.
        twice: whether a result is rounded before the bias is added.
        mixed: whether the parts of complex products disturb each other.
        varies: what the bits depend on.
    """

    shape: str
    kernel: bool
    refused: str = ""
    transform: str = ""
    operands: tuple[Operand, ...] = ()
    products: int | None = None
    sums: Sums | None = None
    results: int | None = None
    rounding: str = ""
    flushed: tuple[str, ...] | None = None
    twice: bool = False
    mixed: bool = False
    varies: tuple[str, ...] = ()

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Finding:
        """The finding that was written as JSON."""
        operands = tuple(Operand(**operand) for operand in found["operands"])
        sums = None if found["sums"] is None else Sums(**found["sums"])
        texts = {name: tuple(found[name]) for name in ("flushed", "varies") if found[name] is not None}
        return cls(**(found | texts | {"operands": operands, "sums": sums}))

    def aspects(self, dtype: str) -> dict[str, str]:
        """What is to be said of it, aspect by aspect; an aspect that was not looked at is missing."""
        said = {"transform": self.transform or "no Winograd or FFT seen"} if self.kernel else {}
        if self.operands:
            said["inputs"] = self._inputs()
        if self.flushed is not None:
            flushed = f"subnormal {', '.join(self.flushed)} flushed"
            said["subnormals"] = flushed if self.flushed else "subnormals kept"
        if self.products is not None:
            said["products"] = f"products {self.products} bits"
        if self.sums is not None:
            said["sums"] = f"sums {self.sums.words}"
        if self.results is not None:
            said["results"] = self._results(dtype)
        said["bias"] = "the bias is added after rounding" if self.twice else ""
        said["parts"] = "real and imaginary parts are mixed" if self.mixed else ""
        return said

    def differences(self, claim: Claim) -> list[str]:
        """What is not as claimed."""
        if claim.arithmetic is None:
            return []
        arithmetic = claim.arithmetic
        found = [f"{self.transform}, not sums of products"] if self.transform else []
        given = FORMATS[arithmetic.input]
        for operand in self.operands:
            if operand.bits < given.fraction_bits and not operand.at_least:
                found.append(f"{operand.role} keeps {operand.bits} of {given.fraction_bits} bits")
            elif operand.reach < _reach_of(arithmetic.input):
                found.append(f"{operand.role} has not the range of {arithmetic.input}")
        if self.products is not None:
            found.append("products lose bits that operands and sums have")
        found += self._differences_of_sums(claim)
        if self.flushed and not arithmetic.flushes_subnormals:
            found.append("subnormal numbers are flushed")
        if self.twice:
            found.append("results are rounded twice")
        if self.mixed:
            found.append("complex products are not sums of four real ones")
        return found

    def _differences_of_sums(self, claim: Claim) -> list[str]:
        assert claim.arithmetic is not None
        accumulate, output = FORMATS[claim.arithmetic.accumulate], FORMATS[claim.arithmetic.output]
        found = []
        if self.sums is not None and self.sums.smallest < accumulate.fraction_bits:
            found.append(f"sums keep {self.sums.smallest} of {accumulate.fraction_bits} bits")
        if self.sums is not None and self.sums.rounding not in ("", "to nearest"):
            found.append(f"sums are rounded {self.sums.rounding}")
        if self.results is not None and self.results < min(output.fraction_bits, self._kept_in_sums):
            found.append(f"results keep {self.results} of {output.fraction_bits} bits")
        if self.rounding not in ("", "to nearest, ties to even"):
            found.append(f"results are rounded {self.rounding}")
        return found

    @property
    def _kept_in_sums(self) -> int:
        return self.sums.smallest if self.sums is not None else 0

    def _inputs(self) -> str:
        first, second = (operand.words for operand in self.operands)
        if first == second:
            return f"inputs {first}"
        return ", ".join(f"{operand.role} {operand.words}" for operand in self.operands)

    def _results(self, dtype: str) -> str:
        full = FORMATS[PARTS.get(dtype, dtype)].fraction_bits
        rounded = "" if self.rounding in ("", "to nearest, ties to even") else f"results rounded {self.rounding}"
        if self.results == full or self.results == self._kept_in_sums:
            return rounded
        name = _format(self.results or 0, 0)
        return f"results {self.results} bits" + (f" ({name})" if name else "") + (f", {rounded}" if rounded else "")


def _format(bits: int, reach: int) -> str:
    """The format of the smallest range with these fraction bits that reaches so far."""
    fitting = [
        (-given.smallest_exponent, name)
        for name, given in FORMATS.items()
        if given.fraction_bits == bits and -given.smallest_exponent >= reach
    ]
    return min(fitting)[1] if fitting else ""


def _reach_of(name: str) -> int:
    return max(reach for reach in (14, 120, 1000) if reach <= -FORMATS[name].smallest_exponent)
