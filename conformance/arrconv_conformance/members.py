"""The members of the family: what each takes and yields, and which function of an adapter it is asked of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["x", "w", "y", "bias"]

NEEDS = ("input", "weight", "bias")


@dataclass(frozen=True, slots=True)
class Member:
    """One member, in the roles x, w and y of the trilinear form; `bias` is outside of it.

    Args:
        name: as it stands in case strings.
        function: the function of an adapter, and of arrconv, that computes it.
        takes: the roles of its operands, in their order. The last operand of a gradient is what it transposes, and
            the one that is not conjugated.
        needs: the gradients that are requested; none for a member that is no gradient.
    """

    name: str
    function: str
    takes: tuple[Role, ...]
    needs: tuple[str, ...] = ()

    @property
    def is_transposed(self) -> bool:
        """Whether it belongs to the transposed convolution, which has no padding modes."""
        return self.function.startswith("conv_transpose")

    @property
    def yields(self) -> dict[str, Role]:
        """The role of each result, by the name of the gradient, or `result` where there is one result alone."""
        if not self.needs:
            return {"result": "x" if self.is_transposed else "y"}
        roles: dict[str, Role] = {"input": self.takes[0], "weight": "w", "bias": "bias"}
        return {need: roles[need] for need in self.needs}

    @property
    def bias_role(self) -> Role:
        """The role in whose channels a bias is added."""
        return "x" if self.is_transposed else "y"

    def factors(self, result: Role) -> tuple[Role, ...]:
        """The roles whose products a result adds up; one of them for the gradient of the bias, a plain sum."""
        if result == "bias":
            return self.takes[2:]
        form: tuple[Role, ...] = ("x", "w", "y")
        return tuple(role for role in form if role != result)


def _family() -> list[Member]:
    members = [
        Member("conv", "conv", ("x", "w", "bias")),
        Member("conv_transpose", "conv_transpose", ("y", "w", "bias")),
    ]
    takes: dict[str, tuple[Role, ...]] = {"conv": ("x", "w", "y"), "conv_transpose": ("y", "w", "x")}
    for forward, roles in takes.items():
        function = f"{forward}_backward"
        members += [Member(f"{forward}_grad_{need}", function, roles, (need,)) for need in NEEDS]
        members.append(Member(function, function, roles, NEEDS))
    return members


MEMBERS = {member.name: member for member in _family()}
"""All of them by name; `conv_backward` and `conv_transpose_backward` request several gradients together."""
