"""Right implementations that differ from one another: none of them may be rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from arrconv_conformance.faults.call import SINGLES
from arrconv_conformance.faults.fault import Fault
from arrconv_conformance.faults.sums import finished, terms_of

if TYPE_CHECKING:
    from arrconv_conformance.data import Array
    from arrconv_conformance.faults.call import Call

_ACCUMULATORS = {"float16": np.float32, "bfloat16": np.float32, "float32": np.float32}


def _narrow(call: Call, reverse: bool, pairwise: bool) -> Array:
    """The sum in the dtype's own accumulator, last product first, or by halves."""
    terms = terms_of(call)
    if terms is None:
        return call.right("taps")
    accumulator = _ACCUMULATORS.get(call.dtype, np.complex64 if call.dtype == "complex64" else terms.table.dtype)
    with np.errstate(all="ignore"):
        columns = [column.astype(accumulator) for column in terms.table.T]
        columns += [] if terms.bias is None else [terms.bias.astype(accumulator)]
        total = _halved(columns) if pairwise else _in_order(columns[::-1] if reverse else columns)
        return finished(call, total, terms)


def _in_order(columns: list[Array]) -> Array:
    total = columns[0]
    for column in columns[1:]:
        total = total + column
    return total


def _halved(columns: list[Array]) -> Array:
    while len(columns) > 1:
        odd = columns[len(columns) // 2 * 2 :]
        columns = [one + other for one, other in zip(columns[::2], columns[1::2], strict=False)] + odd
    return columns[0]


RIGHT = [
    Fault("tap by tap", "the definition", lambda call: call.right("taps"), SINGLES),
    Fault("blocked", "matrix products of blocks", lambda call: call.right("auto"), SINGLES),
    Fault("reversed", "the last product first", lambda call: _narrow(call, True, False), SINGLES),
    Fault("pairwise", "sums by halves", lambda call: _narrow(call, False, True), SINGLES),
    Fault("exact", "rounded once", lambda call: call.right("exact"), SINGLES),
]
"""Right implementations, as though they were faults."""
