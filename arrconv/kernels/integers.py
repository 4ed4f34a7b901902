"""Integers multiplied in float64, where BLAS has matrix products and NumPy's integers have none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.kernels.base import Contract, Problem

_LARGEST = 2**53  # up to which float64 has every integer, so that sums of products are exact in any order
_AT_ONCE = 2**18  # numbers turned back into integers


def alike(first: Array, second: Array, dtype: Any) -> tuple[Array, Array]:
    """Two arrays as they are, or, where they are integers that differ in dtype, in another one."""
    return (first, second) if first.dtype == second.dtype else (first.astype(dtype), second.astype(dtype))


def in_float64(contract: Contract) -> Contract:
    """A contraction that takes integers in float64 where no sum of products can exceed what float64 holds exactly."""

    def exact(problem: Problem, first: Array, second: Array) -> Array:
        if not problem.backend.is_integer or not _fits(problem, first, second):
            return contract(problem, first, second)
        wide = replace(problem, backend=problem.backend.in_float64())
        return _as_integers(contract(wide, first, second))

    return exact


def _fits(problem: Problem, first: Array, second: Array) -> bool:
    """Whether K·max|first|·max|second| is small enough, by the dtypes, or else by the values if they are at hand."""
    terms = problem.geometry.products(problem.direction)
    if terms * _range(first.dtype) * _range(second.dtype) <= _LARGEST:
        return True
    # To look at the values would make a GPU wait.
    return problem.backend.library == "numpy" and terms * _most(first) * _most(second) <= _LARGEST


def _range(dtype: Any) -> int:
    info = np.iinfo(dtype)
    return max(-int(info.min), int(info.max))


def _most(array: Array) -> int:
    return max(-int(array.min()), int(array.max())) if array.size else 0


def _as_integers(array: Array) -> Array:
    """Whole float64 numbers as int64, in the same memory, a part at a time."""
    flat = array.reshape(-1)
    whole = flat.view(np.int64)
    for start in range(0, len(flat), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        whole[part] = flat[part].astype(np.int64)
    return whole.reshape(array.shape)
