"""Matrices that one can look at, and operators that are given by one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from arrconv.errors import DTypeError, ShapeError, UnsupportedError
from arrconv.linop.operator import Operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrconv._namespace import Array

BUDGET = 2**30
"""Bytes that a matrix may take unless it is said otherwise."""


def itemsize(operator: Operator) -> int:
    """The bytes of one of an operator's numbers."""
    size: int = operator.xp.finfo(operator.dtype).bits // 8 * (2 if operator.is_complex else 1)
    return size


def check_precision(operator: Operator) -> None:
    """Raise a DTypeError where libraries have no decompositions."""
    if operator.xp.finfo(operator.dtype).bits < 32:
        raise DTypeError(f"matrices are decomposed in float32 or float64, but {operator} has dtype {operator.dtype}")


def over_budget(needed: int, budget: int) -> str:
    """What is to be said where so many bytes are needed."""
    return f"would take {needed / 2**20:,.0f} MiB, but the budget is {budget / 2**20:,.0f} MiB"


def matrix_within(operator: Operator, budget: int) -> Array:
    """The matrix of an operator, unless it takes more than so many bytes."""
    needed = operator.size_in * operator.size_out * itemsize(operator)
    if needed > budget:
        raise UnsupportedError(f"the matrix of {operator} {over_budget(needed, budget)}")
    return operator.to_matrix()


class Matrix(Operator):
    """The operator of a matrix.

    Args:
        matrix: (size_out, size_in).
        shape_in, shape_out: what it takes and gives, in the order of `reshape`; lists of numbers where not given.

    Raises:
        ShapeError: the matrix has not two axes, or not these sizes.

    >>> import numpy as np
    >>> Matrix(np.asarray([[1.0, 2.0], [0.0, 3.0], [4.0, 0.0]])) @ np.asarray([1.0, 1.0])
    array([3., 3., 4.])
    """

    def __init__(
        self, matrix: Array, shape_in: Sequence[int] | None = None, shape_out: Sequence[int] | None = None
    ) -> None:
        if matrix.ndim != 2:
            raise ShapeError(f"a matrix has two axes, but this has shape {tuple(matrix.shape)}")
        rows, columns = matrix.shape
        super().__init__(
            (columns,) if shape_in is None else shape_in, (rows,) if shape_out is None else shape_out, matrix
        )
        if (self.size_out, self.size_in) != (rows, columns):
            raise ShapeError(
                f"a matrix of shape {(rows, columns)} does not map {self.size_in} numbers, {self.shape_in}, to "
                f"{self.size_out}, {self.shape_out}"
            )
        self.matrix = matrix

    def _map(self, x: Array) -> Array:
        return self._product(self.xp.matrix_transpose(self.matrix), x, self.shape_out)

    def _map_back(self, y: Array) -> Array:
        return self._product(self.xp.conj(self.matrix) if self.is_complex else self.matrix, y, self.shape_in)

    def _product(self, matrix: Array, x: Array, shape: tuple[int, ...]) -> Array:
        xp, batch = self.xp, x.shape[0]
        return xp.reshape(xp.matmul(xp.reshape(x, (batch, math.prod(x.shape[1:]))), matrix), (batch, *shape))
