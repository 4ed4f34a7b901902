"""Iterative solvers, one to a file: of systems, of least squares, damped, sparse or constrained; singular vectors."""

from arrconv.linop.solve.cg import ConjugateOptions, cg
from arrconv.linop.solve.cgls import cgls
from arrconv.linop.solve.fista import fista
from arrconv.linop.solve.landweber import landweber
from arrconv.linop.solve.least_squares import LeastSquaresOptions
from arrconv.linop.solve.lsmr import lsmr
from arrconv.linop.solve.lsqr import lsqr
from arrconv.linop.solve.power import SingularTriplet, power
from arrconv.linop.solve.prox import L1, Box, NonNegative, TotalVariation
from arrconv.linop.solve.proximal_gradient import Penalty, Proximal, ProximalOptions, objective
from arrconv.linop.solve.solution import Solution, SolverOptions, Step

__all__ = [
    "L1",
    "Box",
    "ConjugateOptions",
    "LeastSquaresOptions",
    "NonNegative",
    "Penalty",
    "Proximal",
    "ProximalOptions",
    "SingularTriplet",
    "Solution",
    "SolverOptions",
    "Step",
    "TotalVariation",
    "cg",
    "cgls",
    "fista",
    "landweber",
    "lsmr",
    "lsqr",
    "objective",
    "power",
]
