"""Convolutions as linear operators: their adjoints, matrices, spectra and inverses, and the laws they fulfil."""

from arrconv.linop.bridge import to_scipy
from arrconv.linop.circular import Circulant, CircularConv
from arrconv.linop.convolution import Conv, Convolve, Correlate
from arrconv.linop.inverse import Inverse, pinv, tikhonov, wiener
from arrconv.linop.laws import DotTest, adjoint_gap, dot_test, linearity_gap
from arrconv.linop.matrices import Matrix
from arrconv.linop.norm import NormBounds, norm_bounds
from arrconv.linop.operator import Operator, block, stack
from arrconv.linop.simple import FFT, Crop, Diagonal, Downsample, Identity, Pad, Phases, Reshape, Upsample
from arrconv.linop.spectrum import condition, rank, singular_values

__all__ = [
    "FFT",
    "Circulant",
    "CircularConv",
    "Conv",
    "Convolve",
    "Correlate",
    "Crop",
    "Diagonal",
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
    "linearity_gap",
    "norm_bounds",
    "pinv",
    "rank",
    "singular_values",
    "stack",
    "tikhonov",
    "to_scipy",
    "wiener",
]
