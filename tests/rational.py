"""Exact results of every member, and their correct rounding, in plain integers.

Nothing here rounds by a cast, and nothing is shared with the library under test: numbers are read from their bits and
made as bits. The products are those of the index loop in `oracle`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import oracle

import arrconv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrconv import Geometry


class Format(NamedTuple):
    """A binary format: the bits of a number, and those of its significand with the leading one."""

    width: int
    precision: int

    @property
    def least(self) -> int:
        """The exponent of the smallest subnormal number."""
        return 3 - 2 ** (self.width - self.precision - 1) - self.precision

    @property
    def infinity(self) -> int:
        """The bits of +∞, which are also the first beyond those of the largest number."""
        return (1 << self.width - 1) - (1 << self.precision - 1)

    @property
    def top(self) -> int:
        """The exponent of the largest power of two."""
        return 2 ** (self.width - self.precision - 1) - 1


FORMATS = {"float16": Format(16, 11), "bfloat16": Format(16, 8), "float32": Format(32, 24), "float64": Format(64, 53)}
PARTS = {"complex64": "float32", "complex128": "float64"}
DTYPES = [*FORMATS, *PARTS]


def format_of(dtype: Any) -> Format:
    """The format of a dtype's numbers, or of their parts."""
    name = str(np.dtype(dtype))
    return FORMATS[PARTS.get(name, name)]


def dtype_of(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes  # which a machine with a GPU may lack

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


# Bits


def bits(array: Any) -> list[int]:
    """The numbers of an array as unsigned integers, a complex one as two."""
    array = np.ascontiguousarray(array).reshape(-1)
    return array.view(f"u{format_of(array.dtype).width // 8}").tolist()


def number(pattern: int, form: Format) -> tuple[int, int]:
    """A finite number of a format as (whole, exponent): whole · 2**exponent."""
    magnitude = pattern & (1 << form.width - 1) - 1
    assert magnitude < form.infinity, "not finite"
    field, whole = divmod(magnitude, 1 << form.precision - 1)
    if field:  # a normal number, whose leading one is not stored
        whole, field = whole | 1 << form.precision - 1, field - 1
    return (-whole if pattern >> form.width - 1 else whole), field + form.least


def rounded(whole: int, places: int, form: Format) -> int:
    """The bits of the number nearest to whole / 2**places, half to even; zero is +0 only where `whole` is 0."""
    if whole == 0:
        return 0
    size = abs(whole)
    dropped = max(size.bit_length() - form.precision, form.least + places)
    if dropped <= 0:
        significand = size << -dropped
    else:
        significand, rest = divmod(size, 1 << dropped)
        half = 1 << dropped - 1
        significand += rest > half or (rest == half and significand % 2 == 1)
    # A significand that has grown to the next power of two carries into the exponent, from the largest number into ∞.
    pattern = (dropped - places - form.least << form.precision - 1) + significand
    return min(pattern, form.infinity) | (whole < 0) << form.width - 1


# Exact results


class Scaled(NamedTuple):
    """Dyadic fractions: integers of any size, all of them to be divided by 2**places."""

    whole: np.ndarray
    places: int

    def plus(self, other: Scaled, sign: int = 1) -> Scaled:
        places = max(self.places, other.places)
        return Scaled(
            self.whole * 2 ** (places - self.places) + sign * other.whole * 2 ** (places - other.places), places
        )

    def reshape(self, shape: tuple[int, ...]) -> Scaled:
        return Scaled(self.whole.reshape(shape), self.places)


Exact = list[Scaled]  # the real part, and the imaginary one where there is one


def read(array: np.ndarray) -> Scaled:
    """The exact values of a real array."""
    form = format_of(array.dtype)
    numbers = [number(pattern, form) for pattern in bits(array)]
    lowest = min((exponent for whole, exponent in numbers if whole), default=0)
    whole = np.empty(array.shape, dtype=object)
    whole.reshape(-1)[:] = [w << e - lowest if w else 0 for w, e in numbers]
    return Scaled(whole, -lowest)


def read_finite(array: np.ndarray) -> Scaled:
    """The exact values, with 0 for those that have none."""
    return read(np.where(np.isfinite(array), array, np.zeros((), array.dtype)))


def read_classes(array: np.ndarray) -> Scaled:
    """Python floats that tell what becomes of NaN and infinities: these as they are, all others by their sign only."""
    wide = array.astype(np.float64)
    return Scaled(np.where(np.isfinite(wide), np.sign(wide), wide).astype(object), 0)


Reader = Callable[[np.ndarray], Scaled]


def linear(call: Callable[[np.ndarray], np.ndarray], a: np.ndarray, reader: Reader = read) -> Exact:
    parts = [reader(part) for part in ((a.real, a.imag) if a.dtype.kind == "c" else (a,))]
    return [Scaled(call(part.whole), part.places) for part in parts]


def bilinear(call: Callable[..., np.ndarray], a: np.ndarray, b: np.ndarray, reader: Reader = read) -> Exact:
    """A product of two arrays, of complex ones by four real products."""

    def product(a: np.ndarray, b: np.ndarray) -> Scaled:
        a, b = reader(a), reader(b)
        return Scaled(call(a.whole, b.whole), a.places + b.places)

    if a.dtype.kind != "c":
        return [product(a, b)]
    imaginary = product(a.real, b.imag).plus(product(a.imag, b.real))
    return [product(a.real, b.real).plus(product(a.imag, b.imag), -1), imaginary]


class Case(NamedTuple):
    """A call of a member by name, and the exact values of each array of its result."""

    member: str
    arrays: tuple[np.ndarray, ...]
    options: dict[str, Any]
    exact: list[Exact]

    def run(self, **options: Any) -> list[Any]:
        return results(getattr(arrconv, self.member)(*self.arrays, **self.options, **options))

    def parts(self) -> list[tuple[Any, Any]]:
        return results(arrconv.exact_parts(self.member, *self.arrays, **self.options))


def results(result: Any) -> list[Any]:
    """The arrays that a member returns."""
    return [result.input, result.weight, result.bias] if isinstance(result, arrconv.ConvGrads) else [result]


def shapes(g: Geometry) -> list[tuple[int, ...]]:
    """Those of x, w, gy, a bias and a bias of the transposed convolution."""
    return [g.input_shape, g.weight_shape, g.output_shape, (g.out_channels,), (g.in_channels,)]


def has_transpose(g: Geometry) -> bool:
    return g.padding_mode == "zeros" and all(0 <= a.slack < max(a.stride, a.dilation) for a in g.axes)


def calls(g: Geometry, arrays: list[np.ndarray]) -> list[Case]:
    """A call of every member, and of `conv` with a bias too, without exact values."""
    o = dict(g.options)
    x, w, gy, b, back = arrays
    made = [
        Case("conv", (x, w), o, []),
        Case("conv", (x, w, b), o, []),
        Case("conv_grad_input", (w, gy), o | {"input_size": g.input_size}, []),
        Case("conv_grad_weight", (x, gy), o | {"kernel_size": g.kernel_size}, []),
        Case("conv_grad_bias", (gy,), {"spatial_ndim": g.ndim}, []),
        Case("conv_backward", (x, w, gy), o, []),
    ]
    if has_transpose(g):
        t = {name: value for name, value in o.items() if name != "padding_mode"} | {"output_padding": g.slack}
        made += [Case("conv_transpose", (gy, w, back), t, []), Case("conv_transpose_backward", (gy, w, x), t, [])]
    return made


def cases(g: Geometry, arrays: list[np.ndarray], reader: Reader = read) -> Iterator[Case]:
    """The same with exact values; gradients conjugate their first array."""
    o = g.options
    x, w, gy, b, back = arrays
    X, W, Y = [x, w, gy] if g.batch is not None else [x[None], w, gy[None]]
    forward = bilinear(lambda x, w: oracle.conv(x, w, None, **o), X, W, reader)
    gx = like(x, bilinear(lambda w, y: oracle.transpose_input(w, y, g.input_size, **o), W.conj(), Y, reader))
    gw = bilinear(lambda x, y: oracle.transpose_weight(x, y, g.kernel_size, **o), X.conj(), Y, reader)
    gb = linear(oracle.grad_bias, Y, reader)
    exact = [[like(gy, forward)], [like(gy, biased(forward, b, reader))], [gx], [gw], [gb], [gx, gw, gb]]
    if has_transpose(g):
        t: Any = {name: value for name, value in o.items() if name != "padding_mode"} | {"output_padding": g.slack}
        laid = bilinear(lambda y, w: oracle.conv_transpose(y, w, None, **t), Y, W, reader)
        dy = bilinear(lambda x, w: oracle.conv(x, w, None, **o), X, W.conj(), reader)
        dw = [gw[0], *(Scaled(-part.whole, part.places) for part in gw[1:])]  # Σ x·conj(y) = conj(Σ conj(x)·y)
        exact += [[like(x, biased(laid, back, reader))], [like(gy, dy), dw, linear(oracle.grad_bias, X, reader)]]
    for call, values in zip(calls(g, arrays), exact, strict=True):
        yield call._replace(exact=values)


def like(array: np.ndarray, exact: Exact) -> Exact:
    """Exact values in an array's shape, which may have no batch."""
    return [part.reshape(array.shape) for part in exact]


def biased(exact: Exact, bias: np.ndarray, reader: Reader) -> Exact:
    column = (-1, *(1,) * (exact[0].whole.ndim - 2))
    return [part.plus(b.reshape(column)) for part, b in zip(exact, linear(np.copy, bias, reader), strict=True)]


# Comparison


def rounded_bits(exact: Exact, form: Format) -> list[int]:
    """The correctly rounded numbers, a complex one as two."""
    return interleaved([[rounded(whole, part.places, form) for whole in part.whole.flat] for part in exact])


def interleaved(columns: list[list[Any]]) -> list[Any]:
    return [entry for entries in zip(*columns, strict=True) for entry in entries]


def remainder_bits(exact: Exact) -> list[int]:
    """What is left of the exact values after their float64, in float64 itself; 0 where that is not finite."""
    form = FORMATS["float64"]

    def remainder(whole: int, places: int) -> int:
        pattern = rounded(whole, places, form)
        if pattern & form.infinity == form.infinity:
            return 0
        high, exponent = number(pattern, form)
        shift = min(exponent, -places)
        return rounded((whole << -places - shift) - (high << exponent - shift), -shift, form)

    return interleaved([[remainder(whole, part.places) for whole in part.whole.flat] for part in exact])


def faults(got: Any, expected: list[int], shape: tuple[int, ...], dtype: Any) -> list[str]:
    """What is wrong with an array that should have this shape, this dtype and these bits."""
    got = np.asarray(got)
    if (got.shape, got.dtype) != (shape, dtype):
        return [f"{got.dtype} {got.shape} instead of {dtype} {shape}"]
    pairs = enumerate(zip(bits(got), expected, strict=True))
    return [f"number {at}: {mine:x} instead of {right:x}" for at, (mine, right) in pairs if mine != right]


def case_faults(case: Case, got: list[Any]) -> list[str]:
    """What is wrong with the arrays of a member's result that should be correctly rounded."""
    dtype = case.arrays[0].dtype
    return [
        fault
        for exact, array in zip(case.exact, got, strict=True)
        for fault in faults(array, rounded_bits(exact, format_of(dtype)), exact[0].whole.shape, dtype)
    ]


def part_faults(case: Case, got: list[tuple[Any, Any]]) -> list[str]:
    """What is wrong with the parts that should be those of a member's exact result."""
    dtype = np.dtype("complex128" if case.arrays[0].dtype.kind == "c" else "float64")
    found = []
    for exact, (high, low) in zip(case.exact, got, strict=True):
        shape = exact[0].whole.shape
        found += [f"high: {f}" for f in faults(high, rounded_bits(exact, FORMATS["float64"]), shape, dtype)]
        found += [f"low: {f}" for f in faults(low, remainder_bits(exact), shape, dtype)]
    return found


def check(case: Case) -> int:
    """Fail unless a member's result is correctly rounded, and so are its parts; how many numbers were compared."""
    for faults in (
        case_faults(case, case.run(algorithm="exact")),
        part_faults(case, case.parts()),
    ):
        assert not faults, (case.member, str(case.arrays[0].dtype), case.options, faults[:5], len(faults))
    return sum(part.whole.size for exact in case.exact for part in exact)
