"""Faults of biases, of gradients that are requested together, and of complex conjugation."""

# ruff: noqa: E501 - each fault is one row of a table

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from arrconv_conformance.faults.call import (
    BIAS,
    FORWARD,
    INPUT,
    TRANSPOSED,
    TRANSPOSED_BIAS,
    TRANSPOSED_INPUT,
    TRANSPOSED_WEIGHT,
    WEIGHT,
)
from arrconv_conformance.faults.fault import COMPUTED, Fault

if TYPE_CHECKING:
    from arrconv_conformance.data import Array
    from arrconv_conformance.faults.call import Call
    from arrconv_conformance.members import Role

FROM_W = (FORWARD, TRANSPOSED)


def _bias_times(call: Call, times: int) -> Array:
    if "bias" not in call.operands:
        return call.right()
    bias = call["bias"]
    with np.errstate(over="ignore"):
        return call.with_operands(bias=(bias * bias.dtype.type(times)).astype(bias.dtype)).right()


def _added(call: Call, bias: Array) -> Array:
    """The result with something else added in the place of the bias, in the dtype in which sums are added up."""
    wide = call.widened()
    with np.errstate(all="ignore"):
        result = wide.with_operands(bias=None).right()
        return call.rounded(result + bias.astype(result.dtype))


def _bias_along_last(call: Call) -> Array:
    """NumPy's broadcasting: along the last axis, not along the channels."""
    if "bias" not in call.operands or not len(call["bias"]) or call.is_empty or not call.ndim:
        return call.right()
    columns = call.right().shape[-1]
    return _added(call, call.widened()["bias"][np.arange(columns) % len(call["bias"])])


def _bias_of_first_image(call: Call) -> Array:
    if "bias" not in call.operands or call.is_empty:
        return call.right()
    result = call.right()
    result[1:] = call.with_operands(bias=None).right()[1:]
    return result


def _bias_reversed(call: Call) -> Array:
    if "bias" not in call.operands:
        return call.right()
    return call.with_operands(bias=np.ascontiguousarray(call["bias"][::-1])).right()


def _divided(call: Call, by_positions: bool) -> Array:
    """A mean over the images, or over the positions, for a sum."""
    role = call.factors[-1]
    shape = call[role].shape
    count = int(np.prod(shape[2:])) if by_positions else shape[0]
    result = call.right()
    if result.dtype.kind in "iu":
        result //= max(1, count)
    else:
        result /= result.dtype.type(max(1, count))
    return result


def _unless_with(call: Call, need: str, wrong: Array) -> Array:
    """Wrong unless another gradient is requested, too, and this one is requested with others at all."""
    return call.right() if need in call.requested or len(call.requested) > 2 else wrong


def _first_images(call: Call, role: Role) -> Array:
    """The right result of the first image alone."""
    if call.is_empty:
        return call.right()
    array = call[role].copy()
    array[1:] = 0
    return call.with_operands(**{role: array}).right()


def _without_bias_request(call: Call) -> Array:
    return _unless_with(call, "bias", _first_images(call, "y"))


def _without_weight_request(call: Call) -> Array:
    return _unless_with(call, "weight", np.zeros_like(call.right()))


def _updated_weight(call: Call) -> Array:
    """The input gradient by a weight from which its own gradient has been subtracted already."""
    if not {"input", "weight"} <= set(call.requested) or call["w"].dtype.kind in "iu":
        return call.right()
    gradient = _gradient(call, WEIGHT)
    with np.errstate(all="ignore"):
        return call.with_operands(w=(call["w"] - gradient).astype(call["w"].dtype)).right()


def _gradient(call: Call, member: str) -> Array:
    """The right result of another gradient of the same call."""
    return replace(call, member=member, answer=None).right()


def _all_three(call: Call) -> Array:
    """Right alone, wrong where all are requested at once: a temporary that two of them share."""
    if len(call.requested) < 3 or call.is_empty:
        return call.right()
    result = call.right()
    result.flat[0] = 0
    return result


def _first_of_two(call: Call) -> Array:
    """Of several gradients the first one is left at zero."""
    if len(call.requested) < 2 or not call.member.endswith(call.requested[0]):
        return call.right()
    return np.zeros_like(call.right())


def _in_complex(call: Call, result: Array) -> Array:
    return result if np.iscomplexobj(call["w"]) else call.right()


def _conjugated_operand(call: Call, *roles: Role) -> Array:
    """With some operands conjugated once more."""
    if not np.iscomplexobj(call["w"]):
        return call.right()
    return call.with_operands(**{role: call[role].conj() for role in roles}).right()


def _saved(call: Call) -> Role:
    """The factor that a gradient saves, and conjugates."""
    return next(role for role in call.factors if role != ("x" if call.member.startswith("conv_transpose") else "y"))


def _not_conjugated(call: Call) -> Array:
    return _conjugated_operand(call, _saved(call))


def _other_conjugated(call: Call) -> Array:
    """The cotangent conjugated, not what is saved."""
    return _conjugated_operand(call, *call.factors)


def _result_conjugated(call: Call) -> Array:
    return _in_complex(call, call.right().conj())


def _real_part(call: Call) -> Array:
    """The imaginary part of the result dropped."""
    result = call.right()
    return _in_complex(call, result.real.astype(result.dtype))


def _real_operand(call: Call, role: Role) -> Array:
    if not np.iscomplexobj(call["w"]) or role not in call.operands:
        return call.right()
    array = call[role]
    with np.errstate(invalid="ignore"):
        return call.with_operands(**{role: array.real.astype(array.dtype)}).right()


def _without_product(call: Call) -> Array:
    """The real part without the product of the imaginary parts."""
    if not np.iscomplexobj(call["w"]) or call.role == "bias":
        return call.right()
    first, second = call.factors
    result = call.right().copy()
    with np.errstate(invalid="ignore"):
        real = call.with_operands(
            **{role: call[role].real.astype(call[role].dtype) for role in (first, second)}
        ).right()
    result.real = real.real
    return result


COMPLEX_LINK = "https://github.com/FluxML/NNlib.jl/pull/389"

# fmt: off
FAULTS = [
    Fault("bias twice", "in the kernel and after it", lambda call: _bias_times(call, 2), FROM_W),
    Fault("no bias", "a pass that lacks it", lambda call: _bias_times(call, 0), (TRANSPOSED,)),
    Fault("no bias in the forward pass", "an option that is accepted", lambda call: _bias_times(call, 0), (FORWARD,)),
    Fault("bias along the last axis", "NumPy's broadcasting", _bias_along_last, FROM_W),
    Fault("bias for the first image alone", "a loop that has it outside", _bias_of_first_image, FROM_W),
    Fault("bias backwards", "channels in the other order", _bias_reversed, FROM_W),
    Fault("bias gradient a mean over the images", "divided by the batch", lambda call: _divided(call, False), (BIAS,)),
    Fault("bias gradient a mean over the positions", "divided by the area", lambda call: _divided(call, True), (BIAS, TRANSPOSED_BIAS)),
    Fault("weight gradient a mean over the images", "divided by the batch", lambda call: _divided(call, False), (WEIGHT,)),
    Fault("weight gradient wrong without that of the bias", "a sum that only the bias asks for", _without_bias_request, (WEIGHT,)),
    Fault("bias gradient zero without that of the weight", "a kernel that writes both, not launched", _without_weight_request, (BIAS,), "https://github.com/apache/mxnet/issues/15464"),
    Fault("transposed bias gradient zero without that of the weight", "a kernel that writes both, not launched", _without_weight_request, (TRANSPOSED_BIAS,), "https://github.com/apache/mxnet/issues/15464"),
    Fault("input gradient of an updated weight", "an optimiser that is fused too early", _updated_weight, (INPUT,)),
    Fault("gradients wrong when all are requested", "a temporary that two of them share", _all_three, (WEIGHT,)),
    Fault("first of several gradients zero", "an index that starts at one", _first_of_two, (INPUT, WEIGHT)),
    Fault("input gradient not conjugated", "a transpose for an adjoint", _not_conjugated, (INPUT,), COMPLEX_LINK),
    Fault("weight gradient not conjugated", "a transpose for an adjoint", _not_conjugated, (WEIGHT,), COMPLEX_LINK),
    Fault("transposed gradients not conjugated", "a transpose for an adjoint", _not_conjugated, (TRANSPOSED_INPUT, TRANSPOSED_WEIGHT), COMPLEX_LINK),
    Fault("cotangent conjugated", "the conjugation of the wrong factor", _other_conjugated, (INPUT, WEIGHT)),
    Fault("gradients conjugated", "another convention", _result_conjugated, (INPUT, WEIGHT, TRANSPOSED_INPUT, TRANSPOSED_WEIGHT), "https://github.com/tensorflow/tensorflow/issues/3348"),
    Fault("bias gradient conjugated", "an adjoint of a plain sum", _result_conjugated, (BIAS, TRANSPOSED_BIAS)),
    Fault("weight conjugated in the forward pass", "a scalar product for a product", lambda call: _conjugated_operand(call, "w"), FROM_W),
    Fault("imaginary part of the result dropped", "a cast to real", _real_part, (*COMPUTED, BIAS)),
    Fault("imaginary part of the weight dropped", "a cast to real", lambda call: _real_operand(call, "w"), FROM_W),
    Fault("imaginary part of the bias dropped", "a cast to real", lambda call: _real_operand(call, "bias"), FROM_W),
    Fault("product of imaginary parts forgotten", "three of four products", _without_product),
]
# fmt: on
"""Faults of biases, of gradients requested together, and of conjugation."""
