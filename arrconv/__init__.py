"""arrconv: the reference for convolution.

Convolution, transposed convolution and their gradients, written once against the Array API standard, so that the same
lines give CPU reference results on NumPy and run on CuPy on CUDA.
"""

from importlib.metadata import version as _version

from arrconv.axis import Axis
from arrconv.bounds import Arithmetic
from arrconv.errors import (
    ArrconvError,
    DeviceError,
    DTypeError,
    OutOfMemoryError,
    ShapeError,
    SpecError,
    UnsupportedError,
)
from arrconv.functional.activation import (
    leaky_relu,
    leaky_relu_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softplus,
    softplus_backward,
    tanh,
    tanh_backward,
)
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
from arrconv.functional.gradient_check import GradientCheck, check_gradient
from arrconv.functional.loss import (
    binary_cross_entropy,
    binary_cross_entropy_backward,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_backward,
    huber_loss,
    huber_loss_backward,
    l1_loss,
    l1_loss_backward,
    mse_loss,
    mse_loss_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from arrconv.functional.pool import avg_pool, avg_pool_backward, max_pool, max_pool_backward
from arrconv.functional.resize import upsample, upsample_backward
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
    "GradientCheck",
    "OutOfMemoryError",
    "ShapeError",
    "SpecError",
    "UnsupportedError",
    "__version__",
    "avg_pool",
    "avg_pool_backward",
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "check_gradient",
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
    "huber_loss",
    "huber_loss_backward",
    "l1_loss",
    "l1_loss_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "limits",
    "max_pool",
    "max_pool_backward",
    "mse_loss",
    "mse_loss_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "softplus",
    "softplus_backward",
    "tanh",
    "tanh_backward",
    "upsample",
    "upsample_backward",
]
