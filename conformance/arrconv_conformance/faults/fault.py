"""Faults, and adapters that have one: libraries that are right but for one thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from arrconv_conformance.data import Array
from arrconv_conformance.faults.call import SINGLES, Call
from arrconv_conformance.members import MEMBERS, Role

Broken = Callable[[Call], Array]
"""What a faulty library makes of a call."""

COMPUTED = tuple(name for name in SINGLES if not name.endswith("_bias"))
"""The members that multiply."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Args:
        name: what is wrong, in a few words.
        imitates: the mistake that leads to it.
        broken: what the library makes of a call of one of the members; right where the fault does not show.
        members: those that have it, of `SINGLES`.
        link: where a library has, or had, a fault of this kind.
        claims: what the adapter claims, where the fault is one under that claim alone.
        remembers: whether what it does is seen in its arrays, or in other calls, and not in the result alone.
    """

    name: str
    imitates: str
    broken: Broken
    members: tuple[str, ...] = COMPUTED
    link: str | None = None
    claims: dict[str, Any] = field(default_factory=dict)
    remembers: bool = False

    def result(self, call: Call) -> Array:
        """What the library makes of a call."""
        return self.broken(call) if call.member in self.members else call.right()

    def shows_in(self, member: str, needs: tuple[str, ...] = ()) -> bool:
        """Whether a member, asked for some gradients together, is one that has it."""
        if member in SINGLES:
            return member in self.members
        wanted = needs or MEMBERS[member].needs
        return any(member.replace("_backward", f"_grad_{need}") in self.members for need in wanted)


@dataclass(frozen=True)
class Planted:
    """An adapter of arrconv with a fault planted in it; with None it is right."""

    fault: Fault | None
    name: str = "planted"
    version: str = "0"
    memory: dict[Any, Any] = field(default_factory=dict)

    @property
    def claims(self) -> dict[str, Any]:
        """What it claims."""
        return self.fault.claims if self.fault else {}

    def conv(self, x: Array, w: Array, bias: Array | None, **options: Any) -> Array:
        """The forward convolution."""
        return self._result("conv", {"x": x, "w": w, "bias": bias}, options)

    def conv_transpose(self, y: Array, w: Array, bias: Array | None, **options: Any) -> Array:
        """The transposed convolution."""
        return self._result("conv_transpose", {"y": y, "w": w, "bias": bias}, options)

    def conv_backward(
        self, x: Array, w: Array, gy: Array, *, needs: tuple[str, ...], **options: Any
    ) -> dict[str, Array]:
        """The gradients of the forward convolution."""
        operands: dict[Role, Array | None] = {"x": x, "w": w, "y": gy}
        return {need: self._result(f"conv_grad_{need}", operands, options, needs) for need in needs}

    def conv_transpose_backward(
        self, y: Array, w: Array, gx: Array, *, needs: tuple[str, ...], **options: Any
    ) -> dict[str, Array]:
        """The gradients of the transposed convolution."""
        operands: dict[Role, Array | None] = {"y": y, "w": w, "x": gx}
        return {need: self._result(f"conv_transpose_grad_{need}", operands, options, needs) for need in needs}

    def _result(
        self, member: str, operands: dict[Role, Array | None], options: dict[str, Any], needs: tuple[str, ...] = ()
    ) -> Array:
        given = {role: array for role, array in operands.items() if array is not None}
        call = Call(member, given, options, needs, self.memory)
        return self.fault.result(call) if self.fault else call.right()
