"""Iterative solvers, one to a file: of systems, of least squares, and damped ones."""

from arrconv.linop.solve.cg import cg
from arrconv.linop.solve.cgls import cgls
from arrconv.linop.solve.lsmr import lsmr
from arrconv.linop.solve.solution import Solution, Step

__all__ = ["Solution", "Step", "cg", "cgls", "lsmr"]
