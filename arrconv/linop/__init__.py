"""Convolutions as linear operators: their adjoints, matrices, spectra and inverses, and the laws they fulfil."""

from arrconv.linop.bridge import to_scipy, to_sparse
from arrconv.linop.circular import Circulant, CircularConv
from arrconv.linop.convolution import Conv, Convolve, Correlate
from arrconv.linop.differences import Differences
from arrconv.linop.inverse import Inverse, inverse, pinv, tikhonov, wiener
from arrconv.linop.iterated import ConvergenceWarning
from arrconv.linop.laws import DotTest, adjoint_gap, dot_test, linearity_gap
from arrconv.linop.matrices import Matrix
from arrconv.linop.norm import norm_bounds
from arrconv.linop.operator import Operator, block, stack
from arrconv.linop.simple import FFT, Crop, Diagonal, Downsample, Identity, Pad, Phases, Reshape, Upsample
from arrconv.linop.spectrum import condition, rank, singular_values
from arrconv.linop.stacked import NormBounds, gram_iteration

__all__ = [
    "FFT",
    "Circulant",
    "CircularConv",
    "Conv",
    "ConvergenceWarning",
    "Convolve",
    "Correlate",
    "Crop",
    "Diagonal",
    "Differences",
    "DotTest",
    "Downsample",
    "Identity",
    "Inverse",
    "Matrix",
    "NormBounds",
    "Operator",
    "Pad",
    "Phases",
    "Reshape",
    "Upsample",
    "adjoint_gap",
    "block",
    "condition",
    "dot_test",
    "gram_iteration",
    "inverse",
    "linearity_gap",
    "norm_bounds",
    "pinv",
    "rank",
    "singular_values",
    "stack",
    "tikhonov",
    "to_scipy",
    "to_sparse",
    "wiener",
]
