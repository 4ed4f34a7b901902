"""Cases: a geometry, and on request one member, dtype and data set alone; each is one line of text."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from arrconv import ConvSpec, Geometry, SpecError
from arrconv_conformance.data import DATA_SETS, DTYPES
from arrconv_conformance.layouts import LAYOUTS
from arrconv_conformance.members import MEMBERS, NEEDS
from arrconv_conformance.wrong import WRONG, can_be_wrong

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMED_PADDINGS = ("valid", "same_upper", "same_lower")
BEFORE = ("data", "options")
_ROLES = ("x", "w", "y", "bias")


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked of a framework. None stands for every member, dtype or data set.

    Args:
        geometry: the geometry, always with a batch.
        padding: the name under which the padding is passed; None passes its amounts.
        member: a key of `MEMBERS`.
        dtype: one of `DTYPES`.
        data: a key of `DATA_SETS`.
        needs: the gradients that a `…_backward` member is asked for together; empty stands for all three.
        layout: (role, layout) of the operands that are not plain.
        bias: `none` for no bias where the member takes one.
        before: what is called before it: the same with other `data`, or with other `options` on the same shapes.
        wrong: what is wrong with the call, which must then raise; see `WRONG`.

    >>> case = Case.parse("n=2 c=4 o=6 x=9 k=3 member=conv dtype=float32 layout=x:last")
    >>> case.member, case.dtype, case.data
    ('conv', 'float32', None)
    >>> print(case)
    n=2 c=4 o=6 x=9 k=3 member=conv dtype=float32 layout=x:last
    """

    geometry: Geometry
    padding: str | None = None
    member: str | None = None
    dtype: str | None = None
    data: str | None = None
    needs: tuple[str, ...] = ()
    layout: tuple[tuple[str, str], ...] = ()
    bias: str | None = None
    before: str | None = None
    wrong: str | None = None

    @classmethod
    def parse(cls, text: str) -> Case:
        """The case that a line describes: the tokens of a geometry, and those of the other fields.

        Raises:
            SpecError: a token is unknown.
            ShapeError: the sizes do not fit each other.
        """
        chosen: dict[str, Any] = {}
        rest = []
        for word in text.split():
            name, _, value = word.partition("=")
            if name not in _CHOICES and word not in _PADDING_WORDS:
                rest.append(word)
                continue
            name = "padding" if name == "p" else name
            if name in chosen:
                raise SpecError(f"case {text!r}: {word.partition('=')[0]}= is given twice")
            chosen[name] = value if name == "padding" else _choice(name, value, f"case {text!r}: {word!r} is unknown; ")
        geometry = _geometry(" ".join(rest))
        if geometry.batch is None:
            raise SpecError(f"case {text!r}: arrays have a batch here; give n=")
        if "padding" in chosen:
            geometry = _named(geometry, chosen["padding"], any(word.startswith("p=") for word in rest), text)
        if chosen.get("needs") and not str(chosen.get("member")).endswith("_backward"):
            raise SpecError(f"case {text!r}: needs= is for member=conv_backward and member=conv_transpose_backward")
        return cls(geometry, **chosen)

    def __str__(self) -> str:
        words = _geometry_text(self.geometry).split()
        if self.padding is not None:
            at = next((i for i, word in enumerate(words) if word.startswith("p=")), None)
            words[len(words) if at is None else at : len(words) if at is None else at + 1] = [f"p={self.padding}"]
        for name in _CHOICES:
            if value := getattr(self, name):
                words.append(f"{name}={_text(value)}")
        return " ".join(words)

    @property
    def is_single(self) -> bool:
        """Whether it names one member, dtype and data set."""
        return None not in (self.member, self.dtype, self.data)

    @property
    def is_applicable(self) -> bool:
        """Whether the member exists for the geometry, the data set for the dtype, and the padding by name for both.

        A transposed convolution has no padding modes, and ends less than a stride or a dilation late; the others
        yield all the positions that the sizes imply.
        """
        member, axes = MEMBERS[str(self.member)], self.geometry.axes
        if self.dtype not in DATA_SETS[str(self.data)].dtypes:
            return False
        if self.wrong is not None and not can_be_wrong(self.wrong, member, self.geometry):
            return False
        if self.wrong == "bias" and self.bias == "none":
            return False
        if not member.is_transposed:
            return all(axis.output_size == axis.full_output_size for axis in axes)
        if self.geometry.padding_mode != "zeros":
            return False
        if self.padding not in (None, "valid"):  # names the problem of a given size, and takes no output padding
            return all(axis.slack == 0 and axis.input_size == axis.output_size * axis.stride for axis in axes)
        return all(0 <= axis.slack < max(axis.stride, axis.dilation) for axis in axes)

    def singles(self) -> Iterator[Case]:
        """The applicable cases of one member, dtype and data set each that this one stands for, cheapest first.

        The data sets are then those with a verdict of their own, without `count` and `ones`.
        """
        for data in [data for data in DATA_SETS if data not in ("count", "ones")] if self.data is None else [self.data]:
            for member in MEMBERS if self.member is None else [self.member]:
                for dtype in DTYPES if self.dtype is None else [self.dtype]:
                    case = replace(self, member=member, dtype=dtype, data=data)
                    if case.is_applicable:
                        yield case


# The cases of one geometry follow each other.
_geometry = lru_cache(maxsize=256)(Geometry.parse)
_geometry_text = lru_cache(maxsize=256)(Geometry.__str__)


def _choice(name: str, value: str, complaint: str) -> Any:
    def one_of(text: str, known: Any) -> str:
        if text not in known:
            raise SpecError(f"{complaint}{name}= is one of {', '.join(known)}")
        return text

    match name:
        case "needs":
            asked = {one_of(need, NEEDS) for need in value.split(",")}
            return tuple(need for need in NEEDS if need in asked)
        case "layout":
            pairs = [entry.partition(":")[::2] for entry in value.split(",")]
            return tuple((one_of(role, _ROLES), one_of(layout, LAYOUTS)) for role, layout in pairs)
        case _:
            return one_of(value, _CHOICES[name])


_CHOICES: dict[str, Any] = {
    "member": MEMBERS,
    "dtype": DTYPES,
    "data": DATA_SETS,
    "needs": NEEDS,
    "layout": LAYOUTS,
    "bias": ("none",),
    "before": BEFORE,
    "wrong": WRONG,
}
_PADDING_WORDS = tuple(f"p={name}" for name in NAMED_PADDINGS)
assert set(_CHOICES) | {"geometry", "padding"} == {field.name for field in fields(Case)}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return ",".join(entry if isinstance(entry, str) else ":".join(entry) for entry in value)


def _named(geometry: Geometry, padding: str, has_amounts: bool, text: str) -> Geometry:
    """The geometry with the amounts that the name stands for."""
    if has_amounts:
        raise SpecError(f"case {text!r}: p= is given twice")
    options = geometry.options
    spec = ConvSpec.of(
        geometry.ndim,
        stride=options["stride"],
        padding=padding,  # type: ignore[arg-type]
        dilation=options["dilation"],
        groups=geometry.groups,
        padding_mode=geometry.padding_mode,
    )
    return Geometry.forward(spec, geometry.input_shape, geometry.weight_shape)


def catalogue(*, full: bool = False) -> list[Case]:
    """The cases of the text files beside this module, in their order; `full.txt` only where it is asked for."""
    cases = []
    for file in sorted(files(__package__).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".txt") and (full or file.name != "full.txt"):
            lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
            cases += [Case.parse(line) for line in lines if line]
    return cases
