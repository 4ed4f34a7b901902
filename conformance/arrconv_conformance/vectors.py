"""Test vectors: questions with their exact answers as files, for systems that no adapter reaches.

A folder of them holds `vectors.json`, which describes each vector, and `arrays/NAME.npz` with its operands, the exact
result rounded once, and what an answer is judged by. docs/vectors.md is the description of the format.

Every result is worked out twice before it is written: by arrconv's exact algorithm, and by the suite's own list of all
products, which share no code.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

import arrconv
from arrconv.bounds import FORMATS
from arrconv_conformance.claims import Claim
from arrconv_conformance.data import INTEGERS, PARTS, numpy_dtype
from arrconv_conformance.exact import LARGEST_LIST, Products, shape_of
from arrconv_conformance.judge import judge
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.question import Question

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from arrconv import Geometry
    from arrconv_conformance.cases import Case
    from arrconv_conformance.data import Array
    from arrconv_conformance.members import Member
    from arrconv_conformance.question import Expected

FORMAT, VERSION = "arrconv vectors", 1
MANIFEST, ARRAYS = "vectors.json", "arrays"

VECTOR_MEMBERS = {name: member for name, member in MEMBERS.items() if len(member.yields) == 1}
"""The members that vectors are made of: those with one result."""

_TRANSPOSE = "is linear in {0}; this is its transpose, with {1} conjugated, applied to {2}"
FORMULAS = {
    "conv": "y[n, o, l] = bias[o] + sum over c, k of w[o, c, k] * x[n, g*C + c, stride*l + dilation*k - begin], "
    "with C = w.shape[1] and g = o // (channels of y / groups)",
    "conv_transpose": "x[n, g*C + c, i] = bias[g*C + c] + the sum of w[o, c, k] * y[n, o, l] over all o of group g and "
    "all l, k with stride*l + dilation*k - begin = i",
    "conv_grad_input": f"gx: conv without a bias {_TRANSPOSE.format('x', 'w', 'gy')}",
    "conv_grad_weight": f"gw: conv without a bias {_TRANSPOSE.format('w', 'x', 'gy')}",
    "conv_grad_bias": "gbias[o] = sum over n, l of gy[n, o, l]",
    "conv_transpose_grad_input": f"gy: conv_transpose without a bias {_TRANSPOSE.format('y', 'w', 'gx')}",
    "conv_transpose_grad_weight": f"gw: conv_transpose without a bias {_TRANSPOSE.format('w', 'y', 'gx')}",
    "conv_transpose_grad_bias": "gbias[c] = sum over n, i of gx[n, c, i]",
}
TOLERANCE = (
    "An answer agrees if |answer - (high + low)| <= the bound of the claim, element by element; an element whose bound "
    "is 0 must equal `expected`; an infinite bound allows anything, since the format may overflow there. A claim "
    "without a bound has the bound 0 everywhere, and integers are exact modulo 2^bits. Where `high` and `low` are "
    "missing, the finite elements of `expected` are exact. Where `special` is not 0 the answer must be that infinity "
    "or NaN (a complex one any number that is not finite), and elsewhere finite; but where `padded` holds it need not "
    "be finite either. The sign of a zero does not matter."
)
DIGEST = (
    "SHA-256 of the elements in C order, each little-endian; bfloat16 is stored as uint16, the upper half of a float32"
)


class Disagreement(Exception):  # noqa: N818 - of two computations, neither of which need be the one in error
    """Two independent computations of an exact result differ, so that no vector can be made of it."""


def claims_of(dtype: str) -> dict[str, Claim]:
    """The claims for which vectors of a dtype hold a bound: its own precision, and those that systems often have.

    >>> {name: claim.outputs for name, claim in claims_of("int8").items()}
    {'own': ('int64',), 'wraps': ('int8',)}
    """
    own = Claim.of(None, dtype)
    if own.arithmetic is None:
        return {"own": own, "wraps": Claim(None, (dtype,))}
    if own.arithmetic.input == "float32":
        return {"own": own, "tf32": Claim(replace(own.arithmetic, input="tf32"), own.outputs)}
    if dtype in ("float16", "bfloat16"):
        return {"own": own, "narrow-sums": Claim(replace(own.arithmetic, accumulate=dtype), own.outputs)}
    return {"own": own}


CLAIMS = {
    "tf32": "float32 and complex64: inputs rounded to TF32, sums in float32",
    "narrow-sums": "float16 and bfloat16: sums in the dtype itself, not in float32",
    "wraps": "integers: results have the dtype of the operands, modulo 2^bits, not int64",
}
"""The claims beside a dtype's own precision, for people."""


@dataclass(frozen=True)
class Vector:
    """One question with its answer.

    Args:
        name: of its files.
        case: a case of one member with one result, one dtype and one data set.

    Raises:
        ValueError: the case is none of these, or has more products than the oracle lists.
    """

    name: str
    case: Case

    def __post_init__(self) -> None:
        if self.case.member not in VECTOR_MEMBERS or self.case.wrong is not None:
            raise ValueError(f"case '{self.case}' asks for no single result, so no vector is made of it")
        if not has_oracle(self.case):
            count = Products.count(self.case.geometry)
            raise ValueError(f"case '{self.case}' has {count} products; vectors have {LARGEST_LIST} at most")

    @property
    def _dtype(self) -> str:
        return str(self.case.dtype)

    @property
    def _member(self) -> Member:
        return VECTOR_MEMBERS[str(self.case.member)]

    @cached_property
    def question(self) -> Question:
        """The question, held to the dtype's own precision."""
        return Question(self.case, claims_of(self._dtype)["own"], _products(self.case.geometry))

    @property
    def operands(self) -> dict[str, Array]:
        """The operands that the result depends on, by the names of docs/vectors.md."""
        names = operand_names(self._member)
        [result] = self._member.yields.values()
        factors = (*self._member.factors(result), "bias")
        return {names[role]: array for role, array in self.question.operands.items() if role in factors}

    @cached_property
    def expected(self) -> Array:
        """The exact result, rounded once.

        Raises:
            Disagreement: the two computations of it differ.
        """
        [need] = self._member.yields
        options = {**self.question.options, "algorithm": "exact"}
        with np.errstate(all="ignore"):  # some operands hold NaN, infinity, or numbers whose products overflow
            found: Any = getattr(arrconv, self._member.function)(*self.question.arrays, **options)
        answer = np.asarray(found if need == "result" else getattr(found, need))
        self._check(answer, self.question.expected[need])
        return answer

    def _check(self, answer: Array, expected: Expected) -> None:
        """Hold arrconv's exact answer to the suite's oracle."""
        exact = expected.exact
        verdict = judge(answer, expected, self.question.claim, str(self.case.data))
        if verdict.outcome != "agrees":
            raise Disagreement(f"case '{self.case}': arrconv's exact result and the oracle's differ: {verdict.message}")
        if self._dtype in INTEGERS:
            return
        same = answer == rounded_once(exact.high, exact.low, self._dtype)
        if exact.special is not None:  # on which there is the verdict
            same |= ~np.isfinite(answer)
        if not same.all():
            index = tuple(np.argwhere(~same)[0].tolist())
            raise Disagreement(
                f"case '{self.case}': arrconv's exact result and the oracle's differ at {index}: {answer[index]}, "
                f"and {exact.high[index]} + {exact.low[index]}"
            )

    @cached_property
    def judged_by(self) -> dict[str, Array]:
        """What an answer is judged by beside `expected`; what follows from it is left out."""
        [need] = self._member.yields
        found: dict[str, Array] = {}
        own = self.question.expected[need]
        for name, claim in claims_of(self._dtype).items():
            if claim.arithmetic is None:  # integers have no bound, whatever is claimed
                continue
            allowed = (own if name == "own" else replace(self.question, claim=claim).expected[need]).allowed
            if allowed is not None and allowed.any():
                found[bound_name(name)] = allowed
        if found and own.magnitude is not None:
            found["magnitude"] = own.magnitude
        if own.exact.special is not None:
            found["special"] = own.exact.special
        if own.exact.padded is not None and own.exact.padded.any():
            found["padded"] = own.exact.padded
        if found.keys() & {"magnitude", "padded"}:  # elsewhere the finite elements of `expected` say the same
            found |= {"high": own.exact.high, "low": own.exact.low}
        return found

    @property
    def arrays(self) -> dict[str, Array]:
        """All arrays of the vector, as they are stored."""
        arrays = {**self.operands, "expected": self.expected, **self.judged_by}
        return {name: as_stored(array) for name, array in arrays.items()}

    def entry(self) -> dict[str, Any]:
        """The description of the vector, as in `vectors.json`."""
        geometry, [need] = self.case.geometry, self._member.yields
        arrays = {**self.operands, "expected": self.expected, **self.judged_by}
        return {
            "name": self.name,
            "case": str(self.case),
            "member": self.case.member,
            "dtype": self.case.dtype,
            "file": f"{ARRAYS}/{self.name}.npz",
            "options": _plain_options(self.case, self._member),
            "shapes": {role: list(shape_of(geometry, role)) for role in ("x", "w", "y")},
            "operands": list(self.operands),
            "result": result_name(self._member),
            "terms": self.question.expected[need].terms,
            "claims": {name: _claim_entry(name, claim, arrays) for name, claim in claims_of(self._dtype).items()},
            "arrays": {
                name: {"dtype": str(array.dtype), "shape": list(array.shape), "sha256": digest(as_stored(array))}
                for name, array in arrays.items()
            },
        }


def has_oracle(case: Case) -> bool:
    """Whether the suite's list of all products gives a second exact result for a case's geometry."""
    return Products.count(case.geometry) <= LARGEST_LIST


@lru_cache(maxsize=1)  # vectors of one geometry follow each other
def _products(geometry: Geometry) -> Products:
    return Products.of(geometry)


def operand_names(member: Member) -> dict[str, str]:
    """The names of a member's operands by role: that of a gradient, the last one, begins with g."""
    return {role: f"g{role}" if member.needs and role == member.takes[2] else role for role in member.takes}


def result_name(member: Member) -> str:
    """The name of a member's result."""
    [role] = member.yields.values()
    return f"g{role}" if member.needs else role


def bound_name(claim: str) -> str:
    """The name of the array with the bound of a claim."""
    return "bound" if claim == "own" else f"bound_{claim.replace('-', '_')}"


def as_stored(array: Array) -> Array:
    """An array as it is written: in C order, little-endian, bfloat16 as its bit patterns."""
    if array.dtype.name == "bfloat16":
        array = array.view(np.uint16)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)


def digest(array: Array) -> str:
    """SHA-256 of an array's elements in C order, each little-endian.

    >>> digest(np.asarray([[1, 2]], ">i2"))[:8], digest(np.asarray([1, 2], "<i2"))[:8]
    ('7b11c113', '7b11c113')
    """
    return hashlib.sha256(as_stored(array).tobytes()).hexdigest()


def rounded_once(high: Array, low: Array, dtype: str) -> Array:
    """The sums high + low of two float64 numbers each, `high` the nearest to the sum, rounded once to a dtype.

    Rounding `high` alone would round twice. So it is made odd first: of the two float64 numbers about the sum, the one
    whose last bit is set, which no narrower rounding can mistake for a tie. (S. Boldo, G. Melquiond, "Emulation of FMA
    and correctly rounded sums: proved algorithms using rounding to odd", IEEE Trans. Comput. 57, 2008.)

    >>> rounded_once(np.asarray([1 + 2.0**-11]), np.asarray([2.0**-70]), "float16").item() == 1 + 2.0**-10
    True
    """
    if dtype in PARTS:
        result = np.empty(high.shape, dtype)
        result.real, result.imag = (
            rounded_once(high.real, low.real, PARTS[dtype]),
            rounded_once(high.imag, low.imag, PARTS[dtype]),
        )
        return result
    if dtype == "float64":
        return high
    is_even = high.view(np.int64) % 2 == 0
    odd = np.where((low != 0) & is_even, np.nextafter(high, np.copysign(np.inf, low)), high)
    form = FORMATS[dtype]
    last = np.maximum(np.frexp(odd)[1] - 1 - form.fraction_bits, form.lowest_exponent)
    with np.errstate(over="ignore"):  # it overflows to the infinity that rounding yields
        rounded: Array = np.ldexp(np.rint(np.ldexp(odd, -last)), last).astype(numpy_dtype(dtype))
    return rounded


def _plain_options(case: Case, member: Member) -> dict[str, Any]:
    geometry = case.geometry
    options: dict[str, Any] = dict(geometry.options)
    mode = options.pop("padding_mode")
    if case.padding is not None:
        options["padding_name"] = case.padding
    return options | ({"output_padding": geometry.slack} if member.is_transposed else {"mode": mode})


def _claim_entry(name: str, claim: Claim, arrays: Iterable[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"outputs": claim.outputs}
    if claim.arithmetic is not None:
        entry["arithmetic"] = asdict(claim.arithmetic)
        entry["bound"] = bound_name(name) if bound_name(name) in arrays else None
    return entry


def write(vector: Vector, folder: Path) -> dict[str, Any]:
    """Write the arrays of a vector into a folder of vectors, and return its description.

    Raises:
        Disagreement: the two computations of its result differ.
    """
    entry = vector.entry()
    path = folder / entry["file"]
    path.parent.mkdir(parents=True, exist_ok=True)
    # Stored and not compressed, and with the same time in every member: the same bytes from every machine.
    np.savez(path, allow_pickle=False, **vector.arrays)
    return entry


def write_manifest(folder: Path, asked: str, entries: list[dict[str, Any]]) -> str:
    """Write `vectors.json`, a line for each vector, and return its SHA-256.

    Args:
        folder: where to.
        asked: which cases were asked for, in words.
        entries: the descriptions of the vectors.
    """
    head = {
        "format": FORMAT,
        "version": VERSION,
        "arrconv": arrconv.__version__,
        "cases": asked,
        "tolerance": TOLERANCE,
        "digest": DIGEST,
        "claims": {"own": "the dtype's own precision, float16 and bfloat16 added up in float32; int64", **CLAIMS},
        "members": FORMULAS,
    }
    lines = ",\n".join("  " + json.dumps(entry) for entry in entries)
    text = json.dumps(head, indent=1).removesuffix("\n}") + f',\n "vectors": [\n{lines}\n ]\n}}\n'
    (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")
    return hashlib.sha256(text.encode()).hexdigest()
