"""Losses, each beside its backward pass: the gradient by the prediction.

`reduction` says what becomes of the terms, one for each element (for each position in `softmax_cross_entropy`):

* `"mean"`: their sum divided by their number;
* `"pixel_mean"`: their sum divided by batch times positions, N·∏size, for arrays (N, C, *size); not by the channels;
* `"sum"`: their sum;
* `"none"`: the terms themselves.

A loss is an array, of no axes unless the reduction is "none"; nothing is carried to the host. A backward pass takes
`gl`, the gradient by the loss, of the same shape; without it, 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

from arrconv._namespace import backend_of, device_of, dtype_name, library_name
from arrconv.errors import DTypeError, ShapeError, SpecError
from arrconv.functional.activation import relu, sigmoid
from arrconv.functional.reals import as_number, mixed_namespace, real_namespace
from arrconv.geometry import check_shape

if TYPE_CHECKING:
    from arrconv._namespace import Array

Reduction = Literal["mean", "pixel_mean", "sum", "none"]

_LEAST_LOG = -100.0  # what a logarithm of 0 is taken for, so that a certain, wrong prediction has a finite loss


def mse_loss(prediction: Array, target: Array, /, *, reduction: Reduction = "mean") -> Array:
    """The mean squared error: (prediction − target)², reduced.

    Args:
        prediction, target: real floating-point numbers of one shape.
        reduction: as above.

    Returns:
        The loss, an array of no axes; of the shape of the prediction if nothing is reduced.

    Raises:
        DTypeError: the arrays are not real floating-point numbers of one dtype.
        ShapeError: their shapes differ, or are not (N, C, *size) for "pixel_mean".
        SpecError: there is no such reduction.

    >>> import numpy as np
    >>> a, b = np.zeros((1, 3, 2)), np.ones((1, 3, 2))
    >>> float(mse_loss(a, b)), float(mse_loss(a, b, reduction="pixel_mean"))
    (1.0, 3.0)
    """
    xp = real_namespace(prediction=prediction, target=target)
    return _reduced(xp, (prediction - target) ** 2, reduction)


def mse_loss_backward(
    prediction: Array, target: Array, /, *, reduction: Reduction = "mean", gl: Array | None = None
) -> Array:
    """2·(prediction − target)·gl, divided by what the reduction divides by.

    Args:
        prediction, target, reduction: what `mse_loss` was given.
        gl: the gradient by the loss, of its shape; without it, 1.

    Returns:
        The gradient by the prediction.

    Raises:
        DTypeError, ShapeError, SpecError: as for `mse_loss`.

    >>> import numpy as np
    >>> mse_loss_backward(np.asarray([1.0, 4.0]), np.asarray([0.0, 0.0]))
    array([1., 4.])
    """
    real_namespace(prediction=prediction, target=target)
    return _spread((prediction - target) * 2, reduction, gl)


def l1_loss(prediction: Array, target: Array, /, *, reduction: Reduction = "mean") -> Array:
    """The absolute error: |prediction − target|, reduced.

    Args:
        prediction, target: real floating-point numbers of one shape.
        reduction: as above.

    Returns:
        The loss.

    Raises:
        DTypeError, ShapeError, SpecError: as for `mse_loss`.

    >>> import numpy as np
    >>> l1_loss(np.asarray([1.0, -3.0]), np.asarray([0.0, 0.0]), reduction="none")
    array([1., 3.])
    """
    xp = real_namespace(prediction=prediction, target=target)
    return _reduced(xp, xp.abs(prediction - target), reduction)


def l1_loss_backward(
    prediction: Array, target: Array, /, *, reduction: Reduction = "mean", gl: Array | None = None
) -> Array:
    """sign(prediction − target)·gl, divided by what the reduction divides by; 0 where they are equal.

    Args:
        prediction, target, reduction: what `l1_loss` was given.
        gl: the gradient by the loss, of its shape; without it, 1.

    Returns:
        The gradient by the prediction.

    Raises:
        DTypeError, ShapeError, SpecError: as for `mse_loss`.

    >>> import numpy as np
    >>> l1_loss_backward(np.asarray([1.0, -3.0]), np.asarray([0.0, 0.0]))
    array([ 0.5, -0.5])
    """
    xp = real_namespace(prediction=prediction, target=target)
    return _spread(xp.sign(prediction - target), reduction, gl)


def huber_loss(prediction: Array, target: Array, /, *, delta: float = 1.0, reduction: Reduction = "mean") -> Array:
    """d²/2 where |d| ≤ delta, else delta·(|d| − delta/2), with d = prediction − target, reduced.

    Args:
        prediction, target: real floating-point numbers of one shape.
        delta: where the square becomes a line; above 0.
        reduction: as above.

    Returns:
        The loss.

    Raises:
        DTypeError, ShapeError: as for `mse_loss`.
        SpecError: there is no such reduction, or delta is not a number above 0.

    Source: P. J. Huber, "Robust estimation of a location parameter", 1964.

    >>> import numpy as np
    >>> huber_loss(np.asarray([1.0, -3.0]), np.asarray([0.0, 0.0]), reduction="none")
    array([0.5, 2.5])
    """
    xp, delta = real_namespace(prediction=prediction, target=target), as_number(delta, "delta", above=0)
    distance = xp.abs(prediction - target)
    terms = xp.where(distance <= delta, distance**2 / 2, (distance - delta / 2) * delta)
    return _reduced(xp, terms, reduction)


def huber_loss_backward(
    prediction: Array,
    target: Array,
    /,
    *,
    delta: float = 1.0,
    reduction: Reduction = "mean",
    gl: Array | None = None,
) -> Array:
    """d, but no farther from 0 than delta, times gl, divided by what the reduction divides by.

    Args:
        prediction, target, delta, reduction: what `huber_loss` was given.
        gl: the gradient by the loss, of its shape; without it, 1.

    Returns:
        The gradient by the prediction.

    Raises:
        DTypeError, ShapeError, SpecError: as for `huber_loss`.

    >>> import numpy as np
    >>> huber_loss_backward(np.asarray([0.5, -3.0]), np.asarray([0.0, 0.0]), reduction="sum")
    array([ 0.5, -1. ])
    """
    xp, delta = real_namespace(prediction=prediction, target=target), as_number(delta, "delta", above=0)
    difference = prediction - target
    return _spread(xp.where(xp.abs(difference) <= delta, difference, xp.sign(difference) * delta), reduction, gl)


def binary_cross_entropy(prediction: Array, target: Array, /, *, reduction: Reduction = "mean") -> Array:
    """−target·log(prediction) − (1 − target)·log(1 − prediction), reduced; logarithms are at least −100.

    Args:
        prediction: probabilities, from 0 to 1.
        target: the same, 0 or 1 as a rule.
        reduction: as above.

    Returns:
        The loss.

    Raises:
        DTypeError, ShapeError, SpecError: as for `mse_loss`.

    >>> import numpy as np
    >>> binary_cross_entropy(np.asarray([0.5, 0.0]), np.asarray([1.0, 1.0]), reduction="none")
    array([  0.69314718, 100.        ])
    """
    xp = real_namespace(prediction=prediction, target=target)
    ones, zeros = target * _log(xp, prediction), (1 - target) * _log(xp, 1 - prediction)
    return _reduced(xp, -(ones + zeros), reduction)


def binary_cross_entropy_backward(
    prediction: Array, target: Array, /, *, reduction: Reduction = "mean", gl: Array | None = None
) -> Array:
    """(prediction − target) / (prediction·(1 − prediction))·gl, divided by what the reduction divides by.

    The denominator is at least 1e-12, as in PyTorch.

    Args:
        prediction, target, reduction: what `binary_cross_entropy` was given.
        gl: the gradient by the loss, of its shape; without it, 1.

    Returns:
        The gradient by the prediction.

    Raises:
        DTypeError, ShapeError, SpecError: as for `mse_loss`.

    >>> import numpy as np
    >>> binary_cross_entropy_backward(np.asarray([0.5]), np.asarray([1.0]))
    array([-2.])
    """
    xp = real_namespace(prediction=prediction, target=target)
    width = prediction * (1 - prediction)
    least = xp.full_like(width, 1e-12)
    return _spread((prediction - target) / xp.maximum(width, least), reduction, gl)


def binary_cross_entropy_with_logits(prediction: Array, target: Array, /, *, reduction: Reduction = "mean") -> Array:
    """`binary_cross_entropy` of sigmoid(prediction), without a logarithm of 0: max(z, 0) − z·t + log(1 + e^−|z|).

    Args:
        prediction: z, logarithms of odds: any real numbers.
        target: t, probabilities from 0 to 1.
        reduction: as above.

    Returns:
        The loss.

    Raises:
        DTypeError, ShapeError, SpecError: as for `mse_loss`.

    >>> import numpy as np
    >>> binary_cross_entropy_with_logits(np.asarray([0.0, -1000.0]), np.asarray([1.0, 1.0]), reduction="none")
    array([6.93147181e-01, 1.00000000e+03])
    """
    xp = real_namespace(prediction=prediction, target=target)
    terms = relu(prediction) - prediction * target + xp.log1p(xp.exp(-xp.abs(prediction)))
    return _reduced(xp, terms, reduction)


def binary_cross_entropy_with_logits_backward(
    prediction: Array, target: Array, /, *, reduction: Reduction = "mean", gl: Array | None = None
) -> Array:
    """(sigmoid(prediction) − target)·gl, divided by what the reduction divides by.

    Args:
        prediction, target, reduction: what `binary_cross_entropy_with_logits` was given.
        gl: the gradient by the loss, of its shape; without it, 1.

    Returns:
        The gradient by the prediction.

    Raises:
        DTypeError, ShapeError, SpecError: as for `mse_loss`.

    >>> import numpy as np
    >>> binary_cross_entropy_with_logits_backward(np.asarray([0.0]), np.asarray([1.0]))
    array([-0.5])
    """
    real_namespace(prediction=prediction, target=target)
    return _spread(sigmoid(prediction) - target, reduction, gl)


def softmax_cross_entropy(prediction: Array, target: Array, /, *, reduction: Reduction = "mean") -> Array:
    """−log softmax(prediction)[target] along the channels, one term for each position, reduced.

    Args:
        prediction: logits (N, C, *size), any real numbers.
        target: the classes, integers (N, *size) from 0 to C − 1; or probabilities of them, like the prediction. What
            is in an array of integers is not looked at, which would make a GPU wait: another number has no class.
        reduction: as above; "mean" and "pixel_mean" both divide by N·∏size.

    Returns:
        The loss, an array of no axes; (N, *size) if nothing is reduced.

    Raises:
        DTypeError: the prediction does not hold real floating-point numbers, or the target neither these nor integers.
        ShapeError: the shapes do not fit, or the prediction has less than two axes.
        SpecError: there is no such reduction.

    >>> import numpy as np
    >>> softmax_cross_entropy(np.asarray([[0.0, 0.0], [1000.0, 0.0]]), np.asarray([0, 1]), reduction="none")
    array([6.93147181e-01, 1.00000000e+03])
    """
    xp = mixed_namespace(prediction=prediction)
    probabilities = _probabilities(xp, prediction, target)
    shifted = prediction - xp.max(prediction, axis=1, keepdims=True)
    log_of_sum = xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True, dtype=prediction.dtype))
    terms = xp.sum(probabilities * (log_of_sum - shifted), axis=1, dtype=prediction.dtype)
    return _reduced(xp, terms, "mean" if reduction == "pixel_mean" else reduction)


def softmax_cross_entropy_backward(
    prediction: Array, target: Array, /, *, reduction: Reduction = "mean", gl: Array | None = None
) -> Array:
    """(softmax(prediction)·Σ target − target)·gl, divided by what the reduction divides by; Σ target is 1 as a rule.

    Args:
        prediction, target, reduction: what `softmax_cross_entropy` was given.
        gl: the gradient by the loss, of its shape; without it, 1.

    Returns:
        The gradient by the prediction, (N, C, *size).

    Raises:
        DTypeError, ShapeError, SpecError: as for `softmax_cross_entropy`.

    >>> import numpy as np
    >>> softmax_cross_entropy_backward(np.asarray([[0.0, 0.0]]), np.asarray([1]))
    array([[ 0.5, -0.5]])
    """
    xp = mixed_namespace(prediction=prediction)
    probabilities = _probabilities(xp, prediction, target)
    e = xp.exp(prediction - xp.max(prediction, axis=1, keepdims=True))
    softmax = e / xp.sum(e, axis=1, keepdims=True, dtype=e.dtype)
    total = xp.sum(probabilities, axis=1, keepdims=True, dtype=e.dtype)
    if gl is not None and reduction == "none":
        shape = (prediction.shape[0], *prediction.shape[2:])
        check_shape("gl", gl.shape, tuple(shape), "the loss")
        return (softmax * total - probabilities) * xp.expand_dims(gl, axis=1)
    return _spread(softmax * total - probabilities, "pixel_mean" if reduction == "mean" else reduction, gl)


def _probabilities(xp: Any, prediction: Array, target: Array) -> Array:
    """The target as probabilities of classes, (N, C, *size)."""
    if prediction.ndim < 2:
        raise ShapeError(f"prediction has shape {tuple(prediction.shape)}, but needs (N, C, *size)")
    given = backend_of(target=target)
    if given.xp is not xp:
        raise DTypeError(f"prediction and target are arrays of two libraries, {library_name(xp)} and {given.library}")
    if given.is_integer:
        n, channels, *size = prediction.shape
        check_shape("target", target.shape, (n, *size), "the prediction without its channels")
        classes = xp.arange(channels, dtype=target.dtype, device=device_of(prediction))
        is_class = xp.expand_dims(target, axis=1) == xp.reshape(classes, (channels, *(1 for _ in size)))
        return xp.astype(is_class, prediction.dtype)
    if target.dtype != prediction.dtype:
        raise DTypeError(
            f"target has dtype {given.dtype}, but must hold integers, the classes, or probabilities in the "
            f"prediction's dtype, {dtype_name(prediction.dtype)}"
        )
    check_shape("target", target.shape, tuple(prediction.shape), "the prediction")
    return target


def _log(xp: Any, probability: Array) -> Array:
    """The logarithm, at least −100; of 0 it is not asked, since that would be complained of."""
    is_zero = probability == 0
    logarithm = xp.log(xp.where(is_zero, xp.ones_like(probability), probability))
    least = xp.full_like(logarithm, _LEAST_LOG)
    return xp.where(is_zero, least, xp.maximum(logarithm, least))


def _reduced(xp: Any, terms: Array, reduction: str) -> Array:
    if reduction == "none":
        return terms
    divisor = _divisor(tuple(terms.shape), reduction)
    return xp.sum(terms, dtype=terms.dtype) / divisor


def _spread(derivatives: Array, reduction: str, gl: Array | None) -> Array:
    """The derivatives of the terms times the gradient by each."""
    shape = tuple(derivatives.shape)
    divisor = _divisor(shape, reduction)
    scaled = derivatives if divisor == 1 else derivatives / divisor
    if gl is None:
        return scaled
    check_shape("gl", gl.shape, shape if reduction == "none" else (), "the loss")
    return scaled * gl


def _divisor(shape: tuple[int, ...], reduction: str) -> int:
    """What a sum of terms of this shape is divided by."""
    if reduction not in get_args(Reduction):
        raise SpecError(f"reduction={reduction!r} is unknown; there are {', '.join(get_args(Reduction))}")
    if reduction == "pixel_mean" and len(shape) < 2:
        raise ShapeError(f"prediction has shape {shape}, but reduction='pixel_mean' needs (N, C, *size)")
    size = {"mean": shape, "pixel_mean": (*shape[:1], *shape[2:])}.get(reduction, ())
    return math.prod(size)
