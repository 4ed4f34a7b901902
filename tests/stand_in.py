"""A stand-in for CuPy on machines without a GPU: arrays that cannot be looked at without being noticed.

Numbers lie in NumPy's memory, but arrays are no NumPy arrays: they do not mix with them, results of no axes stay
arrays, and whatever would make the host wait for a device, or copy from it or to it, is a look. A look is noted with
the function of arrconv that takes it, or refused where no place for it is named. All that is done to arrays
goes through `WORK`, so that a test can have it done otherwise.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import array_api_compat.numpy as standard
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

DEVICE = "the stand-in's device"
BY_VALUE = ("argwhere", "flatnonzero", "nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values")
"""Functions whose results have shapes that depend on values."""


class LookError(AssertionError):
    """The host would have to wait for the device."""


class Looks:
    """Which functions may look, and how often each has.

    Attributes:
        allowed: names such as `arrconv.linop.solve.solution.Sides.goes_on`.
        seen: the number of looks by name.
        is_capturing: whether none may be taken, since the current stream captures.
    """

    def __init__(self) -> None:
        self.allowed: Collection[str] = ()
        self.seen: Counter[str] = Counter()
        self.is_capturing = False

    def look(self, what: str) -> None:
        if self.is_capturing:
            raise RuntimeError(f"the current stream is capturing, so {what} is disallowed")
        frame = sys._getframe(1)
        while frame.f_globals["__name__"] in (__name__, "array_api_compat.common._helpers"):
            assert frame.f_back is not None
            frame = frame.f_back
        name = f"{frame.f_globals['__name__']}.{frame.f_code.co_qualname}"
        if name not in self.allowed:
            raise LookError(f"{what} in {name}, line {frame.f_lineno}")
        self.seen[name] += 1


LOOKS = Looks()


class Work:
    """Does what a device does, with functions and arrays of NumPy's.

    Attributes:
        by: what does it.
    """

    def __init__(self) -> None:
        self.by: Callable[[Any, Any, Any], Any] = lambda function, args, options: function(*args, **options)

    def __call__(self, function: Any, *args: Any, **options: Any) -> Any:
        return self.by(function, args, options)


WORK = Work()


class Array:
    """An array on the device; its methods are those of NumPy's, which CuPy has, too."""

    __slots__ = ("_own",)

    def __init__(self, own: np.ndarray) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # NumPy would find the memory by those
            raise AttributeError(f"{name} is not for the host")
        return there(getattr(self._own, name))

    def get(self) -> np.ndarray:
        LOOKS.look("get()")
        return self._own

    @property
    def device(self) -> str:
        return DEVICE

    @property
    def data(self) -> SimpleNamespace:
        return SimpleNamespace(ptr=self._own.ctypes.data)

    @property
    def real(self) -> Array:
        return there(self._own.real)

    @real.setter
    def real(self, value: Any) -> None:
        WORK(self._own.real.__setitem__, ..., here(value))

    @property
    def imag(self) -> Array:
        return there(self._own.imag)

    @imag.setter
    def imag(self, value: Any) -> None:
        WORK(self._own.imag.__setitem__, ..., here(value))

    def __array_namespace__(self, api_version: str | None = None) -> ModuleType:
        return STANDARD

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __len__(self) -> int:
        return len(self._own)

    def __iter__(self) -> Iterator[Array]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        if any(isinstance(part, Array) and part.dtype == bool for part in (key if isinstance(key, tuple) else (key,))):
            LOOKS.look("a choice by a mask, whose size depends on values,")
        return there(WORK(self._own.__getitem__, here(key)))

    def __setitem__(self, key: Any, value: Any) -> None:
        WORK(self._own.__setitem__, here(key), here(value))


def _looking(name: str) -> Any:
    def method(self: Array) -> Any:
        LOOKS.look(f"{name}()")
        return getattr(self._own, name)()

    return method


def _operator(name: str) -> Any:
    def method(self: Array, *others: Any) -> Any:
        found = WORK(getattr(self._own, name), *map(here, others))
        if found is NotImplemented:
            return found
        return self if found is self._own else there(found)

    return method


for _name in ("__bool__", "__float__", "__int__", "__complex__", "__index__", "item", "tolist", "tobytes"):
    setattr(Array, _name, _looking(_name))
for _name in (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
):
    for _kind in ("", "r", "i"):
        setattr(Array, f"__{_kind}{_name}__", _operator(f"__{_kind}{_name}__"))
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert"):
    setattr(Array, f"__{_name}__", _operator(f"__{_name}__"))


def here(value: Any) -> Any:
    """NumPy's own of an argument; an array of NumPy's among them was on the host."""
    if isinstance(value, Array):
        return value._own
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple | list):
        return type(value)(map(here, value))
    return value


def there(value: Any) -> Any:
    """The device's of what NumPy gives: arrays, numbers, and functions and modules of them."""
    if isinstance(value, np.ndarray | np.generic):
        return Array(np.asarray(value))
    if isinstance(value, tuple | list):
        return type(value)(map(there, value)) if not hasattr(value, "_fields") else type(value)(*map(there, value))
    if isinstance(value, ModuleType):
        return Library(value.__name__, value)
    if callable(value) and not isinstance(value, type):
        return lambda *args, **options: there(WORK(value, *here(args), **{k: here(one) for k, one in options.items()}))
    return value


class Library(ModuleType):
    """A module of functions of the device's arrays, from one of NumPy's."""

    def __init__(self, name: str, own: ModuleType) -> None:
        super().__init__(name)
        self._own = own
        self.ndarray = type("ndarray", (), {})  # array-api-compat asks whether arrays are of the real one

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        function = getattr(self._own, name)
        if isinstance(function, ModuleType) or not callable(function) or isinstance(function, type):
            return there(function)

        def called(*args: Any, **options: Any) -> Any:
            if name in BY_VALUE:
                LOOKS.look(f"{name}, the size of whose result depends on values,")
            if (place := options.pop("device", None)) not in (None, DEVICE):
                raise ValueError(f"the device {place!r} is not {DEVICE!r}")
            if name == "asarray" and not isinstance(args[0], Array):
                LOOKS.look("a copy from the host")
                return there(function(args[0], **options))
            return there(function)(*args, **options)

        return called


STREAM = SimpleNamespace(ptr=0x5712EA)
RAW = Library("cupy", np)  # which kernels use
RAW.cuda = SimpleNamespace(Device=lambda: SimpleNamespace(id=0), get_current_stream=lambda: STREAM)
STANDARD = Library("array_api_compat.cupy", standard)


@contextmanager
def stand_in(*allowed: str) -> Iterator[Looks]:
    """Within the block the stand-in is `sys.modules["cupy"]`, and looks only where it is allowed."""
    before, sys.modules["cupy"] = sys.modules.get("cupy"), RAW
    LOOKS.allowed, LOOKS.seen = allowed, Counter()
    try:
        yield LOOKS
    finally:
        LOOKS.allowed = ()
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before


def put(array: Any) -> Array:
    """An array of NumPy's on the device."""
    return Array(np.array(array))


def get(array: Array) -> np.ndarray:
    """And back, as a test does."""
    return array._own
