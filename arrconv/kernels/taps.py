"""The definition as a kernel: pads, contracts tap by tap, crops. It runs on every array library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrconv import trilinear
from arrconv.kernels.base import Kernel, Problem
from arrconv.padding import pad, pad_adjoint

if TYPE_CHECKING:
    from arrconv._namespace import Array


def contract(problem: Problem, first: Array, second: Array) -> Array:
    """The contraction by its definition, in memory of the order of the padded arrays."""
    geometry, xp = problem.geometry, problem.backend.xp
    first, second = problem.backend.accumulating(first), problem.backend.accumulating(second)
    match problem.direction:
        case "y":
            return trilinear.contract_y(xp, pad(xp, first, geometry), second, geometry)
        case "x":
            return pad_adjoint(xp, trilinear.contract_x(xp, first, second, geometry), geometry)
        case "w":
            return trilinear.contract_w(xp, pad(xp, first, geometry), second, geometry)


def refuses(problem: Problem) -> str | None:  # noqa: ARG001 - the signature that all kernels share
    """None: the definition serves every problem."""
    return None


KERNEL = Kernel("taps", refuses, contract)
