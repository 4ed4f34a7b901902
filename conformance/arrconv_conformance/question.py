"""A question: one member, dtype and data set of a case with its arrays, its exact answer and the error allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import arrconv
from arrconv_conformance.adapters import Unsupported
from arrconv_conformance.data import Array, Operand, operand
from arrconv_conformance.exact import Exact, Products, exact_result

if TYPE_CHECKING:
    from arrconv import Geometry
    from arrconv_conformance.cases import Case


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the family: what it takes, what it yields, and how adapters call it."""

    takes: tuple[str, ...]
    yields: str
    function: str
    need: str | None = None


MEMBERS = {
    "conv": Member(("x", "w", "bias"), "y", "conv"),
    "conv_grad_input": Member(("x", "w", "y"), "x", "conv_backward", "input"),
    "conv_grad_weight": Member(("x", "w", "y"), "w", "conv_backward", "weight"),
    "conv_grad_bias": Member(("x", "w", "y"), "bias", "conv_backward", "bias"),
    "conv_transpose": Member(("y", "w", "bias"), "x", "conv_transpose"),
}


def is_applicable(case: Case) -> bool:
    """Whether the member exists for the geometry.

    A transposed convolution has no padding modes, and ends less than a stride or a dilation late; the others yield
    all the positions that the sizes imply.
    """
    axes = case.geometry.axes
    if case.member == "conv_transpose":
        slack_fits = all(0 <= axis.slack < max(axis.stride, axis.dilation) for axis in axes)
        return slack_fits and case.geometry.padding_mode == "zeros"
    return all(axis.output_size == axis.full_output_size for axis in axes)


@dataclass(frozen=True, slots=True)
class Question:
    """A check that can be put to any framework; a bound of None allows no error at all."""

    geometry: Geometry
    member: Member
    dtype: str
    operands: dict[str, Operand]
    exact: Exact
    bound: Array | None

    @classmethod
    def of(cls, case: Case, products: Products) -> Question:
        """The question of a case that names one member, dtype and data set; integers come with a bias alone."""
        geometry = case.geometry
        if case.member is None or case.dtype is None or case.data is None:
            raise ValueError(f"case '{case}' must name one member, dtype and data set")
        member = MEMBERS[case.member]
        channels = geometry.in_channels if member.yields == "x" else geometry.out_channels
        shapes = {
            "x": geometry.input_shape,
            "w": geometry.weight_shape,
            "y": geometry.output_shape,
            "bias": (channels,),
        }
        operands = {
            role: operand(str(geometry), role, shapes[role], case.data, case.dtype)
            for role in member.takes
            if role != "bias" or case.data == "integers"
        }
        exact = exact_result(geometry, products, case.member, operands, shapes[member.yields])
        bound = None if case.data == "integers" else _bound(geometry, case.member, operands, case.dtype)
        return cls(geometry, member, case.dtype, operands, exact, bound)

    def put_to(self, adapter: Any) -> Any:
        """What a framework makes of it.

        Raises:
            Unsupported: the adapter lacks the function, or says that its framework has no such operation.
            Exception: whatever the framework raises.
        """
        function = getattr(adapter, self.member.function, None)
        if function is None:
            raise Unsupported(f"{adapter.name} has no {self.member.function}")
        arrays = [
            self.operands[role].array(self.dtype) if role in self.operands else None for role in self.member.takes
        ]
        options: dict[str, Any] = dict(self.geometry.options)
        if self.member.need is not None:
            return function(*arrays, needs=(self.member.need,), **options)[self.member.need]
        if self.member.function == "conv_transpose":
            del options["padding_mode"]
            options["output_padding"] = self.geometry.slack
        return function(*arrays, **options)


def _bound(geometry: Geometry, member: str, operands: dict[str, Operand], dtype: str) -> Array:
    """The error that the member may make with the dtype's own arithmetic."""
    arrays = {role: numbers.array(dtype) for role, numbers in operands.items()}
    bias = [arrays["bias"]] if "bias" in arrays else []
    options: dict[str, Any] = dict(geometry.options)
    bound: Any
    if member == "conv":
        bound = arrconv.error_bound(member, arrays["x"], arrays["w"], *bias, **options)
    elif member == "conv_transpose":
        del options["padding_mode"]
        bound = arrconv.error_bound(member, arrays["y"], arrays["w"], *bias, output_padding=geometry.slack, **options)
    else:
        need = MEMBERS[member].need
        bounds = arrconv.error_bound("conv_backward", arrays["x"], arrays["w"], arrays["y"], needs=(need,), **options)
        bound = getattr(bounds, need or "")
    array: Array = bound
    return array
