"""Which array library, device and dtype a set of arrays belongs to. The only import of array_api_compat."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import device as _device

from arrconv.errors import DeviceError, DTypeError, UnsupportedError

Array = Any
"""An array of any library that array-api-compat knows; the standard has no type to name it by."""

FLOATS = ("float16", "bfloat16", "float32", "float64")
COMPLEXES = ("complex64", "complex128")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_UNLIKE = (np.ma.MaskedArray, np.matrix)  # subclasses of ndarray whose operators mean something else
_NAMESPACES: dict[type, Any] = {}  # of the array types met so far: finding a namespace takes longer than a look-up
_ACCUMULATORS = {name: name for name in FLOATS + COMPLEXES}
_ACCUMULATORS |= {"float16": "float32", "bfloat16": "float32"} | dict.fromkeys(INTEGERS, "int64")


@dataclass(frozen=True, slots=True)
class Backend:
    """The namespace, the device and the dtype that the arrays of one call share.

    `library` is the array library's own name, such as `numpy`, `cupy` or `torch`.
    `accumulator` is the dtype in which products are added: float32 for the 16-bit floats, int64 for integers, else
    the dtype itself. Results have the dtype `result`: that of the arrays, int64 for integers.
    """

    xp: Any
    library: str
    device: Any
    dtype: str
    result: Any
    accumulator: Any

    @property
    def is_integer(self) -> bool:
        """Whether the arrays hold integers."""
        return self.dtype in INTEGERS

    @property
    def is_complex(self) -> bool:
        """Whether the arrays hold complex numbers."""
        return self.dtype in COMPLEXES

    @property
    def accumulator_name(self) -> str:
        """The standard's name of the accumulator."""
        return _ACCUMULATORS[self.dtype]

    def accumulating(self, array: Array) -> Array:
        """The array in the dtype in which products are added; itself where it has that dtype."""
        return self.xp.astype(array, self.accumulator, copy=False)

    def rounded(self, array: Array) -> Array:
        """A sum, which is in the accumulator's dtype, in the result's."""
        if self.result is self.accumulator:  # results come in the accumulator's dtype
            return array
        return self.xp.astype(array, self.result, copy=False)

    def conjugate(self, array: Array) -> Array:
        """The complex conjugate of an array of this backend; the array itself where it is real."""
        return self.xp.conj(array) if self.is_complex else array

    def magnitude(self, array: Array) -> Array:
        """The absolute values in float64."""
        wide = self.xp.astype(array, self.xp.complex128 if self.is_complex else self.xp.float64, copy=False)
        return self.xp.abs(wide)

    def real_parts(self, array: Array) -> list[Array]:
        """The array in float64; the real and the imaginary part of a complex one."""
        parts = [self.xp.real(array), self.xp.imag(array)] if self.is_complex else [array]
        return [self.xp.astype(part, self.in_float64().result, copy=False) for part in parts]

    def of_parts(self, real: Array, imaginary: Array | None = None) -> Array:
        """The numbers of the result's dtype with these parts, which are of float64 and fit."""
        if imaginary is None:
            return self.xp.astype(real, self.result, copy=False)
        if self.library in ("numpy", "cupy"):
            result = self.xp.empty(real.shape, dtype=self.result)
            result.real, result.imag = real, imaginary
            return result
        if self.library == "torch":
            return self.xp.astype(self.xp.complex(real, imaginary), self.result, copy=False)
        return self.xp.astype(_complex(self.xp, self.device, real, imaginary), self.result, copy=False)

    def widest(self) -> Backend:
        """The same library and device with float64 arrays, or complex128 where these are complex."""
        return _backend(self.xp, self.device, "complex128" if self.is_complex else "float64", None)

    def in_float64(self) -> Backend:
        """The same library and device with float64 arrays.

        Raises:
            UnsupportedError: the library has no float64, or has it switched off.
        """
        return _backend(self.xp, self.device, "float64", None)


def _complex(xp: Any, device: Any, real: Array, imaginary: Array) -> Array:
    """The complex numbers with these parts, signs of zeros included, which the standard has no function for.

    1j·∞ has a real part, NaN, and adding +0 to −0 gives +0. So only finite imaginary parts are multiplied, and what is
    added to a real number has a real part of −0.
    """
    number = xp.astype(real, xp.complex128)
    size = xp.abs(imaginary)
    turned = xp.astype(xp.where(xp.isfinite(size), size, xp.zeros_like(size)), xp.complex128) * 1j  # (0, size)
    upright = xp.where(imaginary > 0, -xp.conj(turned), -turned)  # (−0, imaginary)
    for value in (math.inf, -math.inf, math.nan):
        constant = xp.asarray(complex(-0.0, value), dtype=xp.complex128, device=device)
        is_value = xp.isnan(imaginary) if math.isnan(value) else imaginary == value
        upright = xp.where(is_value, constant, upright)
    zero = xp.where(xp.signbit(imaginary), xp.conj(number), number)
    return xp.where(imaginary == 0, zero, number + upright)


def backend_of(**arrays: Array) -> Backend:
    """What the named arrays share; a `bias` of None is one not given.

    Integer arrays may differ in dtype, since their result is int64 in any case.

    Raises:
        DTypeError: an argument is no array, or the arrays differ in library or dtype, or the dtype is not supported.
        DeviceError: the arrays lie on different devices.
        UnsupportedError: the library cannot hold the result's dtype.
    """
    given = [(name, array) for name, array in arrays.items() if array is not None or name != "bias"]
    first_name, first = given[0]
    xp = _namespace(first_name, first)
    dtype, device = dtype_name(first.dtype), device_of(first)
    for name, array in given[1:]:
        other = _namespace(name, array)
        if other is not xp:
            raise DTypeError(
                f"{first_name} is an array of {library_name(xp)}, but {name} of {library_name(other)}; "
                "all arrays of a call must be of one library"
            )
        if not (same := dtype_name(array.dtype)) == dtype and not {same, dtype} <= set(INTEGERS):
            raise DTypeError(f"{first_name} has dtype {dtype}, but {name} has {same}; all arrays must share one dtype")
        # Under jax.jit and jax.grad an array has no device yet, which is None and fits any.
        if (other := device_of(array)) != device and None not in (other, device):
            raise DeviceError(
                f"{first_name} is on device {device}, but {name} on {other}; all arrays must share one device"
            )
    if dtype not in _ACCUMULATORS:
        raise DTypeError(
            f"{first_name} has dtype {dtype}, which arrconv does not compute with; "
            f"it takes {', '.join(FLOATS + COMPLEXES)} and the integers of 8 to 64 bits"
        )
    return _backend(xp, device, dtype, first.dtype)


def namespace_of(what: Any) -> Any:
    """The namespace of an array library's module, or of one of its arrays.

    Raises:
        DTypeError: it is neither.
    """
    array = what.zeros(0) if callable(getattr(what, "zeros", None)) else what
    return _namespace("the argument", array)


def device_of(array: Array) -> Any:
    """The device on which an array lies."""
    return "cpu" if type(array) is np.ndarray else _device(array)  # at once, since this is on every call's path


def library_name(xp: Any) -> str:
    """The name of an array namespace's library, such as `numpy` or `array_api_strict`."""
    name: str = xp.__name__
    return name.removeprefix("array_api_compat.").partition(".")[0]


def dtype_name(dtype: Any) -> str:
    """The standard's name of a dtype of any library; byte order does not count."""
    return _dtype_name(dtype.__class__, dtype)


@lru_cache(maxsize=256)
def _dtype_name(kind: Any, dtype: Any) -> str:  # noqa: ARG001 - keeps the cache from comparing dtypes of two libraries
    return str(getattr(dtype, "name", None) or str(dtype).rpartition(".")[2])


def _namespace(name: str, array: Array) -> Any:
    if isinstance(array, _UNLIKE):
        raise DTypeError(f"{name} is a {type(array).__name__}, whose own rules would be lost; give a plain ndarray")
    try:
        return _NAMESPACES.get(type(array)) or _NAMESPACES.setdefault(type(array), array_namespace(array))
    except TypeError:
        raise DTypeError(
            f"{name} is a {type(array).__name__}, not an array of a library such as NumPy, CuPy or PyTorch"
        ) from None


@lru_cache(maxsize=256)
def _backend(xp: Any, device: Any, dtype: str, own: Any) -> Backend:
    accumulator = _dtype(xp, _ACCUMULATORS[dtype], own)
    result = accumulator if dtype in INTEGERS else _dtype(xp, dtype, own)
    return Backend(xp, library_name(xp), device, dtype, result, accumulator)


def _dtype(xp: Any, name: str, own: Any) -> Any:
    """The library's dtype of this name; `own`, an array's dtype, where only an extension has it (ml_dtypes)."""
    dtype = getattr(xp, name, own)
    if library_name(xp) == "jax" and dtype_name(xp.result_type(dtype)) != name:
        raise UnsupportedError(f"the result would be {name}, which JAX has only after jax_enable_x64 is set")
    return dtype
