"""Cases: a geometry, and on request one member, dtype and data set alone; each is one line of text."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING

from arrconv import ConvSpec, Geometry, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBERS = ("conv", "conv_grad_input", "conv_grad_weight", "conv_grad_bias", "conv_transpose")
DTYPES = ("float32", "float64")
DATA_SETS = ("integers", "uniform")
_CHOICES = {"member": MEMBERS, "dtype": DTYPES, "data": DATA_SETS}


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked of a framework. None stands for every member, dtype or data set.

    >>> case = Case.parse("n=2 c=4 o=6 x=9 k=3 member=conv dtype=float32")
    >>> case.member, case.dtype, case.data
    ('conv', 'float32', None)
    >>> print(case)
    n=2 c=4 o=6 x=9 k=3 member=conv dtype=float32
    """

    geometry: Geometry
    member: str | None = None
    dtype: str | None = None
    data: str | None = None

    @classmethod
    def parse(cls, text: str) -> Case:
        """The case that a line describes: the tokens of a geometry, and `member=`, `dtype=`, `data=`.

        Raises:
            SpecError: a token is unknown.
            ShapeError: the sizes do not fit each other.
        """
        chosen, rest = {}, []
        for word in text.split():
            name, _, value = word.partition("=")
            if name not in _CHOICES:
                rest.append(word)
            elif name in chosen:
                raise SpecError(f"case {text!r}: {name}= is given twice")
            elif value not in _CHOICES[name]:
                raise SpecError(f"case {text!r}: {word!r} is unknown; {name}= is one of {', '.join(_CHOICES[name])}")
            else:
                chosen[name] = value
        return cls(Geometry.parse(" ".join(rest)), **chosen)

    def __str__(self) -> str:
        words = [str(self.geometry)]
        words += [f"{name}={value}" for name in _CHOICES if (value := getattr(self, name)) is not None]
        return " ".join(words)

    def single(self) -> Iterator[Case]:
        """The cases of one member, dtype and data set each that this one stands for, cheapest verdict first."""
        for data in DATA_SETS if self.data is None else (self.data,):
            for member in MEMBERS if self.member is None else (self.member,):
                for dtype in DTYPES if self.dtype is None else (self.dtype,):
                    yield replace(self, member=member, dtype=dtype, data=data)


def catalogue() -> list[Case]:
    """The cases of the text files beside this module, in their order."""
    cases = []
    for file in sorted(files(__package__).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".txt"):
            lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
            cases += [Case.parse(line) for line in lines if line]
    return cases


def generated(count: int, seed: int) -> list[Case]:
    """`count` random cases of 0 to 3 spatial dimensions; the same for the same seed."""
    rng = random.Random(seed)
    cases: list[Case] = []
    while len(cases) < count:
        geometry = _random_geometry(rng, len(cases) % 4)
        if 0 not in geometry.output_size and geometry.products("y") * math.prod(geometry.output_shape) < 40_000:
            cases.append(Case(geometry))
    return cases


def _random_geometry(rng: random.Random, ndim: int) -> Geometry:
    groups, channels, multiplier = rng.choice([1, 1, 2, 3, 5]), rng.choice([1, 2, 3, 4]), rng.choice([1, 2, 3])
    mode = rng.choice(["zeros", "zeros", "circular", "reflect", "replicate"])
    # Half of the cases pad alike at both ends, as many frameworks can; the others do not.
    pairs = [(rng.randint(0, 4), rng.randint(0, 4)) for _ in range(ndim)]
    if rng.random() < 0.5:
        pairs = [(begin, begin) for begin, _ in pairs]
    spec = ConvSpec.of(
        ndim,
        stride=tuple(rng.randint(1, 4) for _ in range(ndim)),
        padding=tuple(pairs),
        dilation=tuple(rng.randint(1, 3) for _ in range(ndim)),
        groups=groups,
        padding_mode=mode,  # type: ignore[arg-type]
    )
    sizes = rng.sample(range(2, {0: 2, 1: 60, 2: 16, 3: 9}[ndim]), ndim)
    kernel = [rng.randint(1, 5 if ndim < 3 else 3) for _ in range(ndim)]
    return Geometry.forward(
        spec, (rng.randint(1, 3), groups * channels, *sizes), (groups * multiplier, channels, *kernel)
    )
