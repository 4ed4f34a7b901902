"""Claims: the arithmetic that an adapter says its framework uses, which is what its results are held to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from arrconv import Arithmetic, ArrconvError
from arrconv_conformance.data import INTEGERS, PARTS


class ClaimsError(ValueError):
    """An adapter claims something that means nothing."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What is claimed of one dtype.

    Args:
        arithmetic: of floating-point and complex arrays; None for integers.
        outputs: the dtypes that a result may have.
    """

    arithmetic: Arithmetic | None
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, adapter: Any, dtype: str) -> Claim:
        """The claim of an adapter for a dtype, or what is claimed by saying nothing.

        That is the dtype's own precision throughout, with sums in float32 for the 16-bit dtypes; and int64 modulo 2^64
        for integers, where `"wraps"` claims the dtype of the arrays modulo 2^bits.

        Raises:
            ClaimsError: the adapter's `claims` are not of this form.
        """
        claims = getattr(adapter, "claims", {})
        if not isinstance(claims, dict):
            raise ClaimsError(f"{adapter.name}: claims must be a dictionary by dtype, but is {claims!r}")
        given = claims.get(dtype)
        if dtype in INTEGERS:
            if given not in (None, "int64", "wraps"):
                raise ClaimsError(f"{adapter.name}: claims[{dtype!r}] must be 'int64' or 'wraps', but is {given!r}")
            return cls(None, (dtype,) if given == "wraps" else ("int64",))
        default = Arithmetic.of(dtype)
        if given is None:
            return cls(default, (dtype,))
        try:
            fields = {"input": default.input, "accumulate": default.accumulate, "output": default.output}
            arithmetic = Arithmetic(**(fields | given))
        except (TypeError, ArrconvError) as error:
            raise ClaimsError(f"{adapter.name}: claims[{dtype!r}] = {given!r}: {error}") from error
        if arithmetic.output == "tf32":
            raise ClaimsError(f"{adapter.name}: claims[{dtype!r}] = {given!r}: there are no arrays of tf32")
        return cls(arithmetic, (dtype,) if dtype in PARTS else tuple(dict.fromkeys((dtype, arithmetic.output))))
