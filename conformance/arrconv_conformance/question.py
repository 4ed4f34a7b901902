"""A question: one member, dtype and data set of a case with its arrays, the exact answer and the error allowed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

import arrconv
from arrconv.bounds import FORMATS
from arrconv_conformance.data import DATA_SETS, operand, special_value, stream
from arrconv_conformance.exact import LARGEST_LIST, Exact, Products, as_integers, exact_result, largest, shape_of
from arrconv_conformance.layouts import laid_out
from arrconv_conformance.members import MEMBERS, Member, Role
from arrconv_conformance.wrong import WRONG

if TYPE_CHECKING:
    from arrconv import Geometry
    from arrconv_conformance.cases import Case
    from arrconv_conformance.claims import Claim
    from arrconv_conformance.data import Array

Operands = dict[Role, "Array"]


@dataclass(frozen=True, slots=True)
class Expected:
    """What one result of a question must be.

    Args:
        exact: the exact result.
        allowed: the error that the claimed arithmetic may make, element by element; 0 where it must make none; None
            for integers.
        magnitude: Σ|x||w| + |b|.
        terms: the largest number of products in one sum.
    """

    exact: Exact
    allowed: Array | None
    magnitude: Array | None
    terms: int


@dataclass(frozen=True)
class Question:
    """A check that can be put to any framework.

    Args:
        case: a case that names one member, dtype and data set.
        claim: the arithmetic to which the answer is held.
        products: those of the geometry, where they have been listed already.
    """

    case: Case
    claim: Claim
    products: Products | None = None

    def __post_init__(self) -> None:
        if not self.case.is_single:
            raise ValueError(f"case '{self.case}' must name one member, dtype and data set")

    @property
    def member(self) -> Member:
        """The member."""
        return MEMBERS[str(self.case.member)]

    @property
    def needs(self) -> tuple[str, ...]:
        """The gradients that are requested."""
        return self.case.needs or self.member.needs

    @cached_property
    def operands(self) -> Operands:
        """The operands by role, in C order."""
        return operands_of(self.case)

    @cached_property
    def expected(self) -> dict[str, Expected]:
        """What each result must be; worked out when it is first asked for, which a refusal does not make necessary."""
        products = self.products
        if products is None and Products.count(self.case.geometry) <= LARGEST_LIST:
            products = Products.of(self.case.geometry)
        needs = self.needs
        yields = {need: role for need, role in self.member.yields.items() if not needs or need in needs}
        exact = _exact(self.case, self.member, needs, self.operands, products, yields)
        judge = _Allowance(self.case, self.member, self.operands, self.claim, products)
        return {need: judge.expected(need, role, exact[need]) for need, role in yields.items()}

    @property
    def arrays(self) -> list[Array | None]:
        """The operands in the layouts of the case and the order in which the member takes them, newly laid out."""
        layouts = dict(self.case.layout)
        operands, _ = self.call
        return [
            None if role not in operands else laid_out(operands[role], layouts.get(role, "plain"))
            for role in self.member.takes
        ]

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of the adapter's function."""
        _, options = self.call
        return options

    @property
    def call(self) -> tuple[Operands, dict[str, Any]]:
        """Operands and options, with what is wrong about them."""
        options = options_of(self.case, self.member, self.needs)
        if self.case.wrong is None:
            return self.operands, options
        return WRONG[self.case.wrong](self.member, self.operands, options)


def options_of(case: Case, member: Member, needs: tuple[str, ...]) -> dict[str, Any]:
    """The keyword arguments of an adapter's function, which arrconv's functions take as well."""
    options: dict[str, Any] = dict(case.geometry.options)
    if case.padding is not None:
        options["padding"] = case.padding
    if member.is_transposed:
        del options["padding_mode"]
        options["output_padding"] = case.geometry.slack
    if needs:
        options["needs"] = needs
    return options


def operands_of(case: Case, salt: str = "") -> Operands:
    """The operands of a case by role, in C order; another salt makes others."""
    member, dtype, data = MEMBERS[str(case.member)], str(case.dtype), str(case.data)
    layouts = dict(case.layout)
    text = f"{case.geometry} {data}"
    result: Operands = {}
    for position, role in enumerate(member.takes):
        if role == "bias" and case.bias == "none":
            continue
        # The two operands that a gradient saves are never multiplied with each other.
        factor = (0, 0, 1)[position] if member.needs else position
        shape = shape_of(case.geometry, role, member.bias_role)
        array = operand(f"{text} {role}{salt}", shape, data, dtype, factor)
        if layouts.get(role) == "broadcast":
            array = np.array(laid_out(array, "broadcast"))
        result[role] = array
    if DATA_SETS[data].special:
        _make_special(case, member, result, f"{text} special{salt}")
    return result


def _make_special(case: Case, member: Member, operands: Operands, text: str) -> None:
    """Give one element of one operand the special value; the stream of the text says which.

    Of the weight only in `conv`, and where it is not used: other members may well multiply it by zeros that their
    definition does not have.
    """
    results = [result for need, result in member.yields.items() if not case.needs or need in case.needs]
    is_used = any("w" in member.factors(result) for result in results)
    left_out = ("w", "bias") if is_used and member.name != "conv" else ("bias",)
    roles = tuple(role for role in member.takes if role not in left_out)
    which, where = stream(text, 2).tolist()
    array = operands[roles[which % len(roles)]]
    if array.size:
        array.flat[where % array.size] = special_value(str(case.data), str(case.dtype))
        if dict(case.layout).get(roles[which % len(roles)]) == "broadcast":
            array[...] = array[where % array.size // (array.size // len(array))]


def _exact(
    case: Case,
    member: Member,
    needs: tuple[str, ...],
    operands: Operands,
    products: Products | None,
    yields: dict[str, Role],
) -> dict[str, Exact]:
    if products is not None:
        return {need: exact_result(case.geometry, products, member, role, operands) for need, role in yields.items()}
    finite = [None if role not in operands else _finite(operands[role]) for role in member.takes]
    parts: Any = arrconv.exact_parts(member.function, *finite, **options_of(case, member, needs))
    exact = {need: Exact(*(parts if need == "result" else getattr(parts, need))) for need in yields}
    if all(np.isfinite(array).all() for array in operands.values()):
        return exact
    return _with_special(case, member, needs, operands, yields, exact)


def _with_special(
    case: Case,
    member: Member,
    needs: tuple[str, ...],
    operands: Operands,
    yields: dict[str, Role],
    exact: dict[str, Exact],
) -> dict[str, Exact]:
    """Exact results with what is not finite in them, without a list of products; see `Exact`.

    arrconv multiplies the zeros of the padding. Ones in place of x, which they are not, tell how many products of each
    sum are not of the padding.
    """
    options = options_of(case, member, needs)

    def computed(arrays: dict[Role, Array]) -> dict[str, Array]:
        with np.errstate(invalid="ignore"):
            found: Any = getattr(arrconv, member.function)(*(arrays.get(role) for role in member.takes), **options)
        return {need: found if need == "result" else getattr(found, need) for need in yields}

    is_complex = next(iter(operands.values())).dtype.kind == "c"
    totals = computed({role: array.astype(complex if is_complex else float) for role, array in operands.items()})
    marks: Operands = {role: (~np.isfinite(array)).astype(float) for role, array in operands.items() if role != "bias"}
    inside = computed(marks | {"x": np.ones(case.geometry.input_shape)})
    found = {}
    for need, role in yields.items():
        padded = np.zeros(exact[need].high.shape, bool)
        if role in ("y", "w"):
            outer = marks["w" if role == "y" else "y"]
            channel = 0 if role == "y" else 1
            counts = outer.sum(axis=tuple(axis for axis in range(outer.ndim) if axis != channel))
            padded = counts.reshape(-1, *(1,) * (padded.ndim - 2 + channel)) > inside[need]
        special = np.where(np.isfinite(totals[need]), 0.0, np.nan if is_complex else totals[need])
        special = np.where(padded, np.where(inside[need] > 0, np.nan, 0.0), special)
        found[need] = replace(exact[need], special=special, padded=padded)
    return found


@dataclass(slots=True)
class _Allowance:
    """How far off the results of a question may be."""

    case: Case
    member: Member
    operands: Operands
    claim: Claim
    products: Products | None
    _bounds: Any = None
    _multiples: dict[Role, tuple[int, int]] = field(default_factory=dict)

    def expected(self, need: str, role: Role, exact: Exact) -> Expected:
        """What the result in a role must be."""
        roles = self.member.factors(role)
        terms = self._terms(role)
        if self.claim.arithmetic is None:
            return Expected(exact, None, None, terms)
        magnitude = self._magnitude(role, roles)
        sums_are_exact = self._sums_are_exact(roles, magnitude)
        if sums_are_exact.all():
            return Expected(exact, np.zeros(magnitude.shape), magnitude, terms)
        bound = self._bound(need)
        accumulate, output = FORMATS[self.claim.arithmetic.accumulate], FORMATS[self.claim.arithmetic.output]
        with np.errstate(invalid="ignore"):
            # Nothing is asked where the result may overflow, or a partial sum in some order may.
            overflows = (np.abs(exact.high) + bound > output.largest) | (magnitude > accumulate.largest)
            bound = np.where(overflows, np.inf, bound)
        return Expected(exact, np.where(sums_are_exact, 0.0, bound), magnitude, terms)

    def _terms(self, role: Role) -> int:
        geometry = self.case.geometry
        if role == "bias":
            return channel_terms(geometry, self.member)
        if self.products is None:
            return geometry.products(role)
        return self.products.terms[role]

    def _magnitude(self, role: Role, roles: tuple[Role, ...]) -> Array:
        """Σ|first||second|, and |bias| with it; of complex numbers with the sum of the absolute values of the parts."""
        sizes = {other: _absolute(array) for other, array in self.operands.items()}
        shape = shape_of(self.case.geometry, role, self.member.bias_role)
        if role == "bias":
            y = sizes[roles[0]]
            sums: Array = y.sum(axis=tuple(axis for axis in range(y.ndim) if axis != 1))
            return sums
        if self.products is None:
            arrays = [sizes.get(other) for other in self.member.takes]
            need = next(name for name, other in self.member.yields.items() if other == role)
            needs = (need,) if self.member.needs else ()
            options = options_of(self.case, self.member, needs)
            found: Any = getattr(arrconv, self.member.function)(*arrays, **options)
            return np.asarray(getattr(found, need) if needs else found)
        first, second = (sizes[other].reshape(-1)[getattr(self.products.inside, other)] for other in roles)
        total = np.zeros(int(np.prod(shape)))
        np.add.at(total, getattr(self.products.inside, role), first * second)
        total = total.reshape(shape)
        return total + sizes["bias"].reshape(-1, *(1,) * self.case.geometry.ndim) if "bias" in sizes else total

    def _sums_are_exact(self, roles: tuple[Role, ...], magnitude: Array) -> Array:
        """Where every partial sum is exact in the accumulator, whatever the order: a multiple of a unit below 2^(p+1).

        The inputs must be numbers of the claimed input format, and the largest sum one of the output's.
        """
        arithmetic = self.claim.arithmetic
        assert arithmetic is not None
        accumulate, given = FORMATS[arithmetic.accumulate], FORMATS[arithmetic.input]
        output = FORMATS[arithmetic.output]
        exponent = 0
        for role in roles:
            most, unit = self._multiple(role)
            exponent += unit
            fits_input = unit >= given.lowest_exponent and math.ldexp(most, unit) <= given.largest
            if most > 2 ** (given.fraction_bits + 1) or not (fits_input or most == 0):
                return np.zeros(magnitude.shape, bool)
        if "bias" in self.operands:
            exponent = min(exponent, self._multiple("bias")[1])
        smallest = accumulate.lowest_exponent
        if arithmetic.flushes_subnormals:
            smallest = max(accumulate.smallest_exponent, output.smallest_exponent)
        if exponent < smallest:
            return np.zeros(magnitude.shape, bool)
        limit = min(2.0 ** min(exponent + accumulate.fraction_bits + 1, 1023), accumulate.largest, output.largest)
        fits: Array = magnitude < limit  # where it is less, float64 has added it up without error
        return fits

    def _multiple(self, role: Role) -> tuple[int, int]:
        """The largest |m| of an operand whose elements are m·2^e, and the largest such e."""
        if role not in self._multiples:
            integers, unit = as_integers(_real_parts(self.operands[role]))
            self._multiples[role] = largest(integers), unit
        return self._multiples[role]

    def _bound(self, need: str) -> Array:
        """The error that the claimed arithmetic may make in a result."""
        if self._bounds is None:
            arrays = [None if role not in self.operands else _finite(self.operands[role]) for role in self.member.takes]
            needs = self.case.needs or self.member.needs
            bounds = arrconv.error_bound(
                self.member.function,
                *arrays,
                arithmetic=self.claim.arithmetic,
                **options_of(self.case, self.member, needs),
            )
            self._bounds = asdict(bounds) if isinstance(bounds, arrconv.ConvGrads) else {"result": bounds}
        return np.asarray(self._bounds[need])


def channel_terms(geometry: Geometry, member: Member) -> int:
    """The number of elements that each element of a bias gradient adds up."""
    batch, _, *size = shape_of(geometry, member.bias_role)
    return math.prod((batch, *size))


def _finite(array: Array) -> Array:
    return np.where(np.isfinite(array), array, array.dtype.type(0))


def _real_parts(array: Array) -> Array:
    finite = _finite(array)
    parts = np.stack([finite.real, finite.imag]) if finite.dtype.kind == "c" else finite
    return parts.astype(np.float64)


def _absolute(array: Array) -> Array:
    finite = _finite(array)
    sizes = [
        np.abs(part.astype(np.float64))
        for part in ([finite.real, finite.imag] if finite.dtype.kind == "c" else [finite])
    ]
    total: Array = sum(sizes[1:], start=sizes[0])
    return total
