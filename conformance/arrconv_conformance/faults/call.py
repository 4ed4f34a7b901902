"""A call, as a faulty library sees it: what is asked for, of which arrays, and the ways to compute it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

import arrconv
from arrconv import ConvSpec, Geometry
from arrconv_conformance.members import MEMBERS, NEEDS, Member, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv_conformance.data import Array

FORWARD, TRANSPOSED = "conv", "conv_transpose"
INPUT, WEIGHT, BIAS = (f"conv_grad_{need}" for need in NEEDS)
TRANSPOSED_INPUT, TRANSPOSED_WEIGHT, TRANSPOSED_BIAS = (f"conv_transpose_grad_{need}" for need in NEEDS)
SINGLES = tuple(name for name, member in MEMBERS.items() if len(member.needs) < len(NEEDS))
"""The members with one result, which a call names; several gradients together are several calls."""

_WIDER = {"float16": np.float32, "bfloat16": np.float32}


@dataclass(frozen=True)
class Call:
    """One result that is asked for.

    Args:
        member: one of `SINGLES`.
        operands: the arrays as they were given, by role; no bias where none is added.
        options: the options as they were given.
        requested: all the gradients that were requested together with this one.
        memory: what the library keeps from one call to the next.
        answer: the right result, where it is known already.
    """

    member: str
    operands: dict[Role, Array]
    options: dict[str, Any]
    requested: tuple[str, ...] = ()
    memory: dict[Any, Any] = field(default_factory=dict)
    answer: Array | None = None

    def __getitem__(self, role: Role) -> Array:
        return self.operands[role]

    @cached_property
    def geometry(self) -> Geometry:
        """The geometry."""
        options = dict(self.options)
        if not self._member.is_transposed:
            return Geometry.forward(ConvSpec.of(self.ndim, **options), self["x"].shape, self["w"].shape)
        extra = options.pop("output_padding")
        return Geometry.transposed(
            ConvSpec.of(self.ndim, **options), self["y"].shape, self["w"].shape, output_padding=extra
        )

    @property
    def ndim(self) -> int:
        """The number of spatial axes."""
        return int(self["w"].ndim) - 2

    @property
    def groups(self) -> int:
        """The number of groups."""
        return int(self.options["groups"])

    @property
    def mode(self) -> str:
        """The padding mode."""
        return str(self.options.get("padding_mode", "zeros"))

    @property
    def dtype(self) -> str:
        """The dtype of the operands."""
        return str(self["w"].dtype.name)

    @property
    def named(self) -> str | None:
        """The name under which the padding was given."""
        padding = self.options["padding"]
        return padding if isinstance(padding, str) else None

    @property
    def role(self) -> Role:
        """The role of the result."""
        return next(iter(self._member.yields.values()))

    @property
    def factors(self) -> tuple[Role, ...]:
        """The roles whose products are added up."""
        return self._member.factors(self.role)

    @property
    def fits(self) -> bool:
        """Whether the sizes of the operands fit each other, so that there is a right result."""
        shapes = {"x": self.geometry.input_shape, "y": self.geometry.output_shape}
        return all(self[role].shape == shapes[role] for role in self.operands if role in shapes)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to add up."""
        return self.geometry.is_empty or 0 in self.geometry.input_size

    def with_operands(self, **operands: Any) -> Call:
        """The same of other arrays; None takes a bias away."""
        changed: dict[Any, Any] = self.operands | operands
        given = {role: array for role, array in changed.items() if array is not None}
        return replace(self, operands=given, answer=None)

    def with_options(self, **options: Any) -> Call:
        """The same with other options."""
        return replace(self, options=self.options | options, answer=None)

    def mapped(self, change: Callable[[Array], Array]) -> Call:
        """The same of operands that are all changed alike."""
        return replace(self, operands={role: change(array) for role, array in self.operands.items()}, answer=None)

    def widened(self) -> Call:
        """The same of operands in the dtype in which they are added up; see `rounded`."""
        wider = _WIDER.get(self.dtype)
        return self if wider is None else self.mapped(lambda array: array.astype(wider))

    def rounded(self, result: Array) -> Array:
        """A result of `widened` operands in the dtype that is asked for."""
        return result if result.dtype.kind in "iu" else result.astype(self["w"].dtype)

    def right(self, algorithm: str = "auto") -> Array:
        """The right result."""
        if self.answer is not None:
            return self.answer.copy()
        arrays = [self.operands.get(role) for role in self._member.takes]
        options = self.options | {"algorithm": algorithm}
        function: Any = getattr(arrconv, self._member.function)
        if not self._member.needs:
            return np.asarray(function(*arrays, **options))
        grads = function(*arrays, needs=self._member.needs, **options)
        return np.asarray(getattr(grads, self._member.needs[0]))

    def factor(self, role: Role) -> Array:
        """An operand as it is multiplied: what a gradient saves is conjugated."""
        is_saved = bool(self._member.needs) and role != self._member.takes[2]
        return self[role].conj() if is_saved and np.iscomplexobj(self[role]) else self[role]

    @property
    def is_repeated(self) -> bool:
        """Whether the same call, with other data perhaps, has been made before; this one is counted."""
        key = (self.member, str(self.geometry), str(self.options), self.dtype)
        counts: Counter[Any] = self.memory.setdefault("calls", Counter())
        counts[key] += 1
        return counts[key] > 1

    @property
    def _member(self) -> Member:
        return MEMBERS[self.member]
