"""ConvSpec: the options of a convolution, normalised and checked once; no arrays and no sizes."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

from arrconv.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

PaddingMode = Literal["zeros", "circular", "reflect", "replicate"]
NamedPadding = Literal["valid", "same", "same_upper", "same_lower"]

PADDING_MODES: tuple[str, ...] = get_args(PaddingMode)
NAMED_PADDINGS: tuple[str, ...] = get_args(NamedPadding)


class ConvOptions(TypedDict, total=False):
    """The keyword options that every member of the family shares."""

    stride: int | Sequence[int]
    padding: int | Sequence[int | Sequence[int]] | NamedPadding
    dilation: int | Sequence[int]
    groups: int
    padding_mode: PaddingMode


class ConvTransposeOptions(TypedDict, total=False):
    """The keyword options of the transposed convolution."""

    stride: int | Sequence[int]
    padding: int | Sequence[int | Sequence[int]] | NamedPadding
    output_padding: int | Sequence[int]
    output_size: Sequence[int] | None
    dilation: int | Sequence[int]
    groups: int


def check_options(function: str, given: Any, allowed: type) -> None:
    """Raise a TypeError, as a call with a wrong keyword does, where an option is none of those allowed."""
    if unknown := given.keys() - allowed.__annotations__.keys():
        options = ", ".join(allowed.__annotations__)
        raise TypeError(
            f"{function}() got an unexpected keyword argument {min(unknown)!r}; the options it takes are {options}"
        )


def as_int(value: Any, name: str, minimum: int | None = None) -> int:
    """`value` as an int of at least `minimum`; a bool, a float or a smaller number is a SpecError."""
    if isinstance(value, bool):
        raise SpecError(f"{name} must be an integer, but got {value!r}")
    try:
        number: int = operator.index(value)
    except TypeError:  # an array has __index__, too, but it may not be an integer
        raise SpecError(f"{name} must be an integer, but got {value!r}") from None
    if minimum is not None and number < minimum:
        raise SpecError(f"{name} must be at least {minimum}, but got {number}")
    return number


def per_axis(value: Any, ndim: int, name: str, minimum: int) -> tuple[int, ...]:
    """One integer for all spatial axes, or one for each, as a tuple of `ndim` integers."""
    if type(value) is int and value >= minimum:  # by far the commonest spelling, and this is on every call's path
        return (value,) * ndim
    if _is_sequence(value):
        _check_length(value, ndim, name)
        return tuple(as_int(entry, f"{name}[{axis}]", minimum) for axis, entry in enumerate(value))
    return (as_int(value, name, minimum),) * ndim


def sizes(value: Any, name: str, ndim: int | None = None, minimum: int = 0) -> tuple[int, ...]:
    """A tuple of spatial sizes, of `ndim` entries where that is known."""
    if not _is_sequence(value):
        raise SpecError(f"{name} must be a tuple of the spatial sizes, but got {value!r}")
    if ndim is not None:
        _check_length(value, ndim, name, "one size for each")
    return tuple(as_int(entry, f"{name}[{axis}]", minimum) for axis, entry in enumerate(value))


def _is_sequence(value: Any) -> bool:
    if isinstance(value, str | bytes | dict) or getattr(value, "ndim", 1) == 0:  # an array of no axes has no length
        return False
    return hasattr(value, "__len__") and hasattr(value, "__getitem__")


def _check_length(value: Any, ndim: int, name: str, wanted: str = "one integer, or one entry for each") -> None:
    if len(value) != ndim:
        raise SpecError(f"{name}={value!r} has {len(value)} entries for {ndim} spatial axes; give {wanted}")


def _pairs(value: Any, ndim: int) -> tuple[tuple[int, int], ...]:
    if not _is_sequence(value):
        amount = as_int(value, "padding")
        return ((amount, amount),) * ndim
    _check_length(value, ndim, "padding")
    return tuple(_pair(entry, f"padding[{axis}]") for axis, entry in enumerate(value))


def _pair(value: Any, name: str) -> tuple[int, int]:
    if not _is_sequence(value):
        amount = as_int(value, name)
        return amount, amount
    if len(value) != 2:
        raise SpecError(f"{name}={value!r} must be one integer or a (begin, end) pair")
    return as_int(value[0], f"{name}[0]"), as_int(value[1], f"{name}[1]")


@dataclass(frozen=True, slots=True)
class ConvSpec:
    """Stride, padding, dilation, groups and padding mode of a convolution, in normal form.

    Make one with `ConvSpec.of`, which accepts every spelling that `arrconv.conv` accepts; the fields then hold one
    entry for each spatial axis. `padding` keeps the name `"same_upper"` or `"same_lower"` where that was asked for,
    because its amounts depend on the input size, which a `ConvSpec` does not know.

    >>> ConvSpec.of(2, stride=2, padding=((1, 0), 3))
    ConvSpec(stride=(2, 2), padding=((1, 0), (3, 3)), dilation=(1, 1), groups=1, padding_mode='zeros')
    >>> ConvSpec.of(1, padding="same").padding
    'same_upper'
    """

    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...] | Literal["same_upper", "same_lower"]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: PaddingMode

    @property
    def ndim(self) -> int:
        """The number of spatial axes."""
        return len(self.stride)

    @classmethod
    def of(
        cls,
        ndim: int,
        *,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int | Sequence[int]] | NamedPadding = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
    ) -> ConvSpec:
        """The normal form of these options for `ndim` spatial axes.

        Raises:
            SpecError: an option is not an integer, too small, of the wrong length, or an unknown name; or a negative
                padding (a crop) meets a padding mode other than zeros.
        """
        given = (ndim, stride, padding, dilation, groups, padding_mode)
        return (_remembered if _is_plain(given) else _spec)(*given)


def _is_plain(value: Any) -> bool:
    """Whether it is made of ints, strings and tuples alone: 2.0 equals 2, and True 1, but mean no such number."""
    return value.__class__ in _PLAIN or (value.__class__ is tuple and all(map(_is_plain, value)))


_PLAIN = (int, str)


def _spec(ndim: Any, stride: Any, padding: Any, dilation: Any, groups: Any, padding_mode: PaddingMode) -> ConvSpec:
    ndim = as_int(ndim, "ndim", 0)
    if not isinstance(padding_mode, str) or padding_mode not in PADDING_MODES:
        raise SpecError(f"padding_mode={padding_mode!r} is unknown; the modes are {', '.join(PADDING_MODES)}")
    return ConvSpec(
        stride=per_axis(stride, ndim, "stride", 1),
        padding=_normal_padding(padding, ndim, padding_mode),
        dilation=per_axis(dilation, ndim, "dilation", 1),
        groups=as_int(groups, "groups", 1),
        padding_mode=padding_mode,
    )


_remembered = lru_cache(maxsize=1024)(_spec)


def _normal_padding(
    padding: Any, ndim: int, mode: str
) -> tuple[tuple[int, int], ...] | Literal["same_upper", "same_lower"]:
    if isinstance(padding, str):
        if padding not in NAMED_PADDINGS:
            raise SpecError(f"padding={padding!r} is unknown; the names are {', '.join(NAMED_PADDINGS)}")
        if padding == "valid":
            return ((0, 0),) * ndim
        return "same_lower" if padding == "same_lower" else "same_upper"
    pairs = _pairs(padding, ndim)
    if mode != "zeros" and any(amount < 0 for pair in pairs for amount in pair):
        raise SpecError(f"padding={padding!r} crops, which only padding_mode='zeros' allows, not {mode!r}")
    return pairs
