"""Where memory runs out: less workspace, and then an error that says what was needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from arrconv.errors import OutOfMemoryError
from arrconv.kernels.limits import current_limits, limits

if TYPE_CHECKING:
    from arrconv._namespace import Array
    from arrconv.kernels.base import Kernel, Problem

_LEAST = 2**20  # bytes of workspace, below which it is not what memory lacks


def contract(kernel: Kernel, problem: Problem, first: Array, second: Array) -> Array:
    """What a kernel makes of its operands; where memory does not suffice, with half the workspace, and half of that.

    Raises:
        OutOfMemoryError: it does not suffice with as little workspace as the kernel can do with.
    """
    try:
        return kernel.contract(problem, first, second)
    except MemoryError as error:
        reason = str(error)  # the error itself would keep alive what its frames have allocated
    tried = current_limits().workspace
    while tried >= 2 * _LEAST:
        with limits(workspace=tried // 2):
            if kernel.refuses(problem) is not None:
                break
            tried //= 2
            try:
                return kernel.contract(problem, first, second)
            except MemoryError as error:
                reason = str(error)
    shape, dtype = problem.geometry.shape_of(problem.direction), problem.backend.accumulator_name
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raise OutOfMemoryError(
        f"{problem.backend.library} lacks memory for a result {shape} of {dtype}, which takes {size} bytes, and "
        f"{kernel.name}'s workspace of {tried} bytes, the least that was tried: {reason}"
    )
