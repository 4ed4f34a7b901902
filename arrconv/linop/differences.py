"""Differences of neighbours, of which total variation is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrconv.errors import SpecError
from arrconv.linop.operator import Operator
from arrconv.slicing import extend, restrict
from arrconv.spec import as_int

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arrconv._namespace import Array


class Differences(Operator):
    """x ↦ x[i + 1] − x[i] along each of the last axes, and 0 where there is no i + 1: a discrete gradient.

    Its norm is below 2·√ndim.

    Args:
        shape: of x, (..., *size).
        ndim: how many axes are differentiated. It gives (ndim, *shape).
        like: an array of the library and dtype, on the device.

    Raises:
        SpecError: ndim is not from 1 to the number of axes.

    Source: A. Chambolle, "An algorithm for total variation minimization and applications", 2004, section 2.

    >>> import numpy as np
    >>> Differences((2, 3), 2, np.zeros(0)) @ np.asarray([[1.0, 2.0, 4.0], [0.0, 0.0, 5.0]])
    array([[[-1., -2.,  1.],
            [ 0.,  0.,  0.]],
           [[ 1.,  2.,  0.],
            [ 0.,  5.,  0.]]])
    """

    def __init__(self, shape: Sequence[int], ndim: int, like: Array) -> None:
        if not 1 <= as_int(ndim, "ndim") <= len(shape):
            raise SpecError(f"ndim must be from 1 to {len(shape)}, but got {ndim}")
        super().__init__(shape, (ndim, *shape), like)
        self._ndim = ndim

    def _map(self, x: Array) -> Array:
        xp, found = self.xp, []
        for axis, size, inner in self._axes():
            steps = restrict(x, axis, size - inner, inner) - restrict(x, axis, 0, inner)
            found.append(extend(xp, steps, axis, 0, size))
        return xp.stack(found, axis=1)  # (N, ndim, *shape)

    def _map_back(self, y: Array) -> Array:
        xp = self.xp
        total = xp.zeros((y.shape[0], *self.shape_in), dtype=self.dtype, device=self.device)
        for number, (axis, size, inner) in enumerate(self._axes()):
            steps = restrict(y[:, number, ...], axis, 0, inner)
            total = total + extend(xp, steps, axis, size - inner, size) - extend(xp, steps, axis, 0, size)
        return total

    def _axes(self) -> Iterator[tuple[int, int, int]]:
        """For each axis of (N, *shape): its number, its length, and how many neighbours it has."""
        lead = len(self.shape_in) - self._ndim
        for number, size in enumerate(self.shape_in[lead:], start=lead + 1):
            yield number, size, max(size - 1, 0)
