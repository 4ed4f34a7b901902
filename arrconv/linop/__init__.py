"""Convolutions as linear operators: their adjoints, matrices, spectra and inverses, and the laws they fulfil."""

from arrconv.linop.circular import Circulant, CircularConv
from arrconv.linop.convolution import Conv, Convolve, Correlate
from arrconv.linop.laws import DotTest, adjoint_gap, dot_test, linearity_gap
from arrconv.linop.operator import Operator, block, stack
from arrconv.linop.simple import FFT, Crop, Diagonal, Downsample, Identity, Pad, Upsample

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
    "Operator",
    "Pad",
    "Upsample",
    "adjoint_gap",
    "block",
    "dot_test",
    "linearity_gap",
    "stack",
]
