"""Arrays of real floating-point numbers and plain numbers: how functions of them check what they are given."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from arrconv._namespace import backend_of, device_of
from arrconv.errors import DTypeError, SpecError
from arrconv.geometry import check_shape

if TYPE_CHECKING:
    from arrconv._namespace import Array


def real_namespace(**arrays: Array) -> Any:
    """The namespace of arrays of real floating-point numbers of one dtype and shape."""
    xp = mixed_namespace(**arrays)
    (first, array), *others = arrays.items()
    for name, other in others:
        check_shape(name, other.shape, tuple(array.shape), first)
    return xp


def mixed_namespace(**arrays: Array) -> Any:
    """The namespace of arrays of real floating-point numbers of one dtype, whatever their shapes."""
    backend = backend_of(**arrays)
    if backend.is_integer or backend.is_complex:
        first = next(iter(arrays))
        raise DTypeError(f"{first} has dtype {backend.dtype}, but must hold real floating-point numbers")
    return backend.xp


def zero(xp: Any, like: Array) -> Array:
    """0 as an array of no axes, made where `like` is: a constant from here would have to be carried there."""
    return xp.zeros((), dtype=like.dtype, device=device_of(like))


def one(xp: Any, like: Array) -> Array:
    """1 as an array of no axes."""
    return xp.ones((), dtype=like.dtype, device=device_of(like))


def as_number(value: Any, name: str, *, above: float | None = None) -> float:
    """`value` as a finite float, above a limit if there is one."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SpecError(f"{name} must be a number, but got {value!r}") from None
    if not math.isfinite(number):
        raise SpecError(f"{name} must be finite, but got {value!r}")
    if above is not None and number <= above:
        raise SpecError(f"{name} must be above {above}, but got {value!r}")
    return number
