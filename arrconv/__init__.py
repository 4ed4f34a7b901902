"""arrconv: the reference for convolution.

Convolution, transposed convolution and their gradients, written once against the Array API standard, so that the same
lines give CPU reference results on NumPy and run on CuPy on CUDA.
"""

from importlib.metadata import version as _version

from arrconv.axis import Axis
from arrconv.bounds import Arithmetic
from arrconv.errors import ArrconvError, DeviceError, DTypeError, ShapeError, SpecError, UnsupportedError
from arrconv.functional.analysis import error_bound, exact_parts, explain
from arrconv.functional.calls import ConvGrads
from arrconv.functional.conv import (
    conv,
    conv_backward,
    conv_grad_bias,
    conv_grad_input,
    conv_grad_weight,
    conv_transpose,
    conv_transpose_backward,
)
from arrconv.geometry import Geometry
from arrconv.kernels.limits import limits
from arrconv.spec import ConvSpec

__version__ = _version("arrconv")

__all__ = [
    "Arithmetic",
    "ArrconvError",
    "Axis",
    "ConvGrads",
    "ConvSpec",
    "DTypeError",
    "DeviceError",
    "Geometry",
    "ShapeError",
    "SpecError",
    "UnsupportedError",
    "__version__",
    "conv",
    "conv_backward",
    "conv_grad_bias",
    "conv_grad_input",
    "conv_grad_weight",
    "conv_transpose",
    "conv_transpose_backward",
    "error_bound",
    "exact_parts",
    "explain",
    "limits",
]
