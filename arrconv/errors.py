"""The errors arrconv raises, each also the built-in error a caller would expect.

Each message says what was given, which rule it breaks and the values concerned.
"""


class ArrconvError(Exception):
    """Base class of every error that arrconv raises on purpose."""


class SpecError(ArrconvError, ValueError):
    """An option (stride, padding, dilation, groups, a mode, a name, …) has no meaning."""


class ShapeError(ArrconvError, ValueError):
    """The shapes of the arrays do not fit each other or the options."""


class DTypeError(ArrconvError, TypeError):
    """An argument is no array, has an unsupported dtype, or differs in dtype or library from its companions."""


class DeviceError(ArrconvError, ValueError):
    """The arrays of one call lie on different devices."""


class OutOfMemoryError(ArrconvError, MemoryError):
    """Memory does not suffice for a call, even with as little workspace as it can do with."""


class UnsupportedError(ArrconvError, ValueError):
    """The request is meaningful, but this algorithm, array library or dtype cannot serve it."""
