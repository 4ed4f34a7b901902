"""A question: one member, dtype and data set of a case with its arrays, its exact answer and the error allowed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import arrconv
from arrconv_conformance.adapters import Unsupported
from arrconv_conformance.data import Array, Operand, operand
from arrconv_conformance.exact import Exact, Products, exact_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv import Geometry
    from arrconv_conformance.cases import Case


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the family: what it takes and yields, and which function of an adapter it is asked of."""

    takes: tuple[str, ...]
    yields: str
    function: str
    need: str | None = None

    def call(self, function: Callable[..., Any], geometry: Geometry, arrays: dict[str, Array]) -> Any:
        """What a function with the adapters' arguments makes of the arrays, one of which may be missing: the bias."""
        operands = [arrays.get(role) for role in self.takes]
        options: dict[str, Any] = dict(geometry.options)
        if self.need is not None:
            return function(*operands, needs=(self.need,), **options)[self.need]
        if self.function == "conv_transpose":
            del options["padding_mode"]
            options["output_padding"] = geometry.slack
        return function(*operands, **options)


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
        bound = None if case.data == "integers" else _bound(geometry, member, operands, case.dtype)
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
        arrays = {role: numbers.array(self.dtype) for role, numbers in self.operands.items()}
        return self.member.call(function, self.geometry, arrays)


def _bound(geometry: Geometry, member: Member, operands: dict[str, Operand], dtype: str) -> Array:
    """The error that the member may make with the dtype's own arithmetic."""

    def bound(*arrays: Array, **options: Any) -> Any:
        bounds = arrconv.error_bound(member.function, *arrays, **options)
        return asdict(bounds) if isinstance(bounds, arrconv.ConvGrads) else bounds

    array: Array = member.call(bound, geometry, {role: numbers.array(dtype) for role, numbers in operands.items()})
    return array
