"""Stacks of small matrices, shared out among threads on NumPy: for each of them the BLAS gains nothing from threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv._namespace import library_name
from arrconv.kernels.blocks import cut
from arrconv.kernels.threads import for_each, threads_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array

_PIECES = 4  # for each thread


def each(lib: Any, function: Callable[..., Array], *stacks: Array) -> Array:
    """A function of stacks of matrices (*frequencies, rows, columns) with the same frequencies, matrix by matrix."""
    first = stacks[0]
    if library_name(lib) != "numpy" or first.ndim == 2 or not first.size:
        return function(*stacks)
    count = first.shape[0]
    threads = threads_for(np, 4 * first.size * max(stack.shape[-1] for stack in stacks))
    parts = cut(count, _PIECES * threads) if threads > 1 else [slice(0, count)]
    found: list[Array] = [first] * len(parts)

    def make_worker() -> Callable[[int], None]:
        def worker(number: int) -> None:
            found[number] = function(*(stack[parts[number]] for stack in stacks))

        return worker

    for_each(range(len(parts)), make_worker, threads)
    return found[0] if len(parts) == 1 else np.concatenate(found)
