"""How far arrconv is off, beside what bounds it: `python -m benchmarks.accuracy`.

Random cases of every algorithm, dtype, member and kind of data are compared with the exact values, as unevaluated sums
of two float64 numbers, and with the bound of the error: `arrconv.error_bound`; for the algorithm `exact`, the largest
error of rounding once, u·|exact| + η/2. Every case can be drawn again from its name alone. `--picture FILE` draws the
errors of long sums beside their bounds instead.
"""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import ml_dtypes
import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

import arrconv
from arrconv import Arithmetic, ConvSpec, Geometry
from arrconv.bounds import FORMATS
from benchmarks.engine import processor

ALGORITHMS = ("table", "tiles", "gemm", "taps", "fft", "exact")
DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
PARTS = {"complex64": "float32", "complex128": "float64"}
DATA = ("normal", "wide", "cancelling", "one-signed", "subnormal")
MEMBERS = ("conv", "conv_transpose", "conv_grad_input", "conv_grad_weight", "conv_grad_bias")
DIRECTIONS = dict(zip(MEMBERS, "yxxww", strict=True))
MODES = ("zeros", "zeros", "zeros", "circular", "reflect", "replicate")
LONGEST = 4096  # products in one sum, about
MOST_WORK = 6_000  # products in all

Array = np.ndarray[Any, Any]


# Cases


@dataclass(frozen=True, slots=True)
class Case:
    """A call of one member. Its dtype and number say everything: what is random is drawn from them."""

    dtype: str
    number: int

    @classmethod
    def parse(cls, text: str) -> Case:
        dtype, _, number = text.partition(":")
        if dtype not in DTYPES or not number.isdecimal():
            raise typer.BadParameter(f"{text!r} is no case; a case is like float32:1234, with one of {DTYPES}")
        return cls(dtype, int(number))

    def __str__(self) -> str:
        return f"{self.dtype}:{self.number}"

    @property
    def data(self) -> str:
        return DATA[self.number % len(DATA)]

    @property
    def member(self) -> str:
        return MEMBERS[self.number // len(DATA) % len(MEMBERS)]

    def call(self) -> Call:
        rng = np.random.default_rng([DTYPES.index(self.dtype), self.number])
        g = geometry(rng, self.member)
        shapes = [g.input_shape, g.weight_shape, g.output_shape, (g.out_channels,), (g.in_channels,)]
        x, w, gy, b, back = (operand(rng, shape, self.dtype, self.data, at) for at, shape in enumerate(shapes))
        has_bias, options = rng.random() < 0.5, dict(g.options)
        match self.member:
            case "conv":
                return Call(self, g, (x, w, b) if has_bias else (x, w), options)
            case "conv_transpose":
                del options["padding_mode"]
                arrays = (gy, w, back) if has_bias else (gy, w)
                return Call(self, g, arrays, options | {"output_padding": g.slack})
            case "conv_grad_input":
                return Call(self, g, (w, gy), options | {"input_size": g.input_size})
            case "conv_grad_weight":
                return Call(self, g, (x, gy), options | {"kernel_size": g.kernel_size})
            case _:
                return Call(self, g, (gy,), {})


@dataclass(frozen=True, slots=True)
class Call:
    """A member's arrays and options."""

    case: Case
    geometry: Geometry
    arrays: tuple[Array, ...]
    options: dict[str, Any]

    def __str__(self) -> str:
        return f"--case {self.case} ({self.case.member} {self.geometry}, {self.case.data})"

    def result(self, algorithm: str) -> Array:
        return getattr(arrconv, self.case.member)(*self.arrays, algorithm=algorithm, **self.options)

    @property
    def products(self) -> int:
        return self.geometry.products(DIRECTIONS[self.case.member])


def geometry(rng: np.random.Generator, member: str) -> Geometry:
    """Batched sizes of 1 to 3 dimensions, mostly with a long sum in the member's direction."""
    ndim, length = int(rng.integers(1, 4)), int(2 ** rng.uniform(0, math.log2(LONGEST)))
    longs = ("input channels", "output channels", "positions")
    long = longs["yxw".index(DIRECTIONS[member])] if rng.random() < 0.8 else str(rng.choice(longs))
    while True:
        g = candidate(rng, ndim, long, length)
        if g is None or not 0 < g.products("y") * math.prod(g.output_shape) <= MOST_WORK:
            length -= length // 50  # or it might take for ever
            continue
        if member != "conv_transpose" or (
            g.padding_mode == "zeros" and all(0 <= a.slack < max(a.stride, a.dilation) for a in g.axes)
        ):
            return g


def candidate(rng: np.random.Generator, ndim: int, long: str, length: int) -> Geometry | None:
    kernel = rng.integers(1, 5 if ndim < 3 else 4, ndim)
    stride, dilation, slack = rng.integers(1, 4, ndim), rng.integers(1, 4, ndim), rng.integers(0, 3, ndim)
    groups, batch, c, o = (int(n) for n in (rng.choice([1, 1, 2, 3]), *rng.integers(1, 4, 3)))
    positions = rng.integers(1, 4, ndim)
    mode = str(rng.choice(MODES))
    padding = rng.integers(-1 if mode == "zeros" else 0, 5, (ndim, 2))
    if long == "input channels":
        c = max(1, length // math.prod(kernel))
    elif long == "output channels":
        o = max(1, length // math.prod(kernel))
    else:
        positions[0] = max(1, length // (batch * math.prod(positions[1:])))
    size = (positions - 1) * stride + (kernel - 1) * dilation + 1 - padding.sum(axis=1) + np.minimum(slack, stride - 1)
    if size.min() < 1:
        return None
    spec = ConvSpec.of(
        ndim,
        stride=stride.tolist(),
        padding=padding.tolist(),
        dilation=dilation.tolist(),
        groups=groups,
        padding_mode=mode,  # type: ignore[arg-type]
    )
    return Geometry.forward(spec, (batch, groups * c, *size.tolist()), (groups * o, c, *kernel.tolist()))


def operand(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, data: str, at: int) -> Array:
    """Numbers of a kind; `at` says which operand: x, w, gy and two biases."""
    if dtype in PARTS:
        real, imaginary = (operand(rng, shape, PARTS[dtype], data, at) for _ in range(2))
        return (real + 1j * imaginary).astype(dtype)
    bits, smallest = FORMATS[dtype].fraction_bits, FORMATS[dtype].smallest_exponent
    values = rng.standard_normal(shape)
    if data == "wide":
        # Sums of products must not overflow.
        values = np.sign(values) * 10 ** rng.uniform(*((-4, 0.5) if dtype == "float16" else (-6, 6)), shape)
    elif data == "cancelling":
        values = np.sign(values) * (1 + at + values * 2.0 ** (-bits // 2))
    elif data == "one-signed":
        values = np.abs(values)
    elif data == "subnormal":  # products around the smallest normal number
        tiny = 2.0 ** (smallest // 2) if at % 2 else 2.0 ** (smallest - smallest // 2)
        values = values * tiny * 2.0 ** rng.integers(-bits // 2, 3, shape)
    return values.astype(getattr(ml_dtypes, dtype, dtype))


# Judging


@dataclass(slots=True)
class Tally:
    """What was found in one class of cases."""

    algorithm: str
    dtype: str
    data: str
    cases: int = 0
    elements: int = 0
    most_products: int = 0
    ratio: float = 0.0
    worst: str = ""

    def count(self, call: Call, share: float, elements: int) -> None:
        self.cases += 1
        self.elements += elements
        self.most_products = max(self.most_products, call.products)
        if share > self.ratio or not self.worst:
            self.ratio = share
            self.worst = str(call)


def judge(call: Call) -> tuple[dict[str, float], int]:
    """For each algorithm that can, the largest error as a share of its bound; and the number of elements."""
    member, arrays, options = call.case.member, call.arrays, call.options
    high, low = (np.asarray(part) for part in arrconv.exact_parts(member, *arrays, **options))
    kinds = ("auto", "fft")
    bounds = {kind: np.asarray(arrconv.error_bound(member, *arrays, algorithm=kind, **options)) for kind in kinds}
    once = FORMATS[PARTS.get(call.case.dtype, call.case.dtype)]
    found = {}
    for algorithm in ALGORITHMS:
        with suppress(arrconv.UnsupportedError):  # table, tiles and fft do not serve all; the record counts cases
            got = call.result(algorithm)
            wide = got.astype(np.complex128 if high.dtype.kind == "c" else np.float64)
            errors, limit = np.abs((wide - high) - low), bounds["fft" if algorithm == "fft" else "auto"]
            if algorithm == "exact":  # real and imaginary part are rounded each for itself
                wide, top, rest = (parts(array) for array in (wide, high, low))
                errors, limit = np.abs((wide - top) - rest), once.roundoff * np.abs(top) + once.smallest_subnormal / 2
            found[algorithm] = largest_share(errors, limit)
    return found, high.size


def parts(array: Array) -> Array:
    return np.stack([array.real, array.imag]) if array.dtype.kind == "c" else array


def largest_share(errors: Array, limit: Array) -> float:
    """Infinite where an error is no number, or where there must be none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(errors == 0, 0.0, errors / limit)
    return float(np.max(np.where(np.isnan(share), math.inf, share), initial=0.0))


def survey(cases: int) -> tuple[list[Tally], list[str]]:
    """The first so many cases of each dtype by every algorithm, and a line for each that went wrong."""
    tallies = {(a, t, d): Tally(a, t, d) for a in ALGORITHMS for t in DTYPES for d in DATA}
    everything = [Case(dtype, number) for dtype in DTYPES for number in range(cases)]
    wrong = []
    for case in track(everything, "cases", console=Console(stderr=True)):
        call = case.call()
        try:
            shares, elements = judge(call)
        except Exception as error:  # the other cases are to be seen all the same
            wrong.append(f"{call}: {type(error).__name__}: {error}")
            continue
        for algorithm, share in shares.items():
            tallies[algorithm, case.dtype, case.data].count(call, share, elements)
            if share > 1:
                wrong.append(f"{call}: {algorithm} errs by {share:.6g} of its bound")
    return list(tallies.values()), wrong


def table(tallies: list[Tally], cases: int) -> Table:
    result = Table(title=f"largest error as a share of its bound (thousands of elements), {cases} cases a row")
    for column in ("algorithm", "dtype", "products", *DATA):
        result.add_column(column, no_wrap=True)
    for algorithm in ALGORITHMS:
        for dtype in DTYPES:
            row = [tally for tally in tallies if (tally.algorithm, tally.dtype) == (algorithm, dtype)]
            products = f"1–{max(tally.most_products for tally in row)}"
            cells = (f"{tally.ratio:.3f} ({tally.elements / 1000:.0f})" for tally in row)
            result.add_row(algorithm, dtype, products, *cells)
    return result


# The picture

SUMS = [2**exponent for exponent in range(21)]  # products in one sum
SHORT_SUMS = SUMS[:15]  # float16's largest number ends the rest
OUTPUTS = 8, 8  # channels and positions of a result
DRAWS = 4


@dataclass(frozen=True, slots=True)
class Curve:
    """For sums of each length the largest error, and the bound, both as a share of B."""

    errors: list[float]
    bounds: list[float]


def long_sums(products: int, data: str, dtype: str, draw: int) -> tuple[Array, Array]:
    """x and w of a one-dimensional convolution with a kernel of up to 4 taps."""
    rng = np.random.default_rng([products, DATA.index(data), draw])
    taps = min(products, 4)
    o, positions = OUTPUTS
    shapes = ((1, products // taps, positions + taps - 1), (o, products // taps, taps))
    x, w = (operand(rng, shape, dtype, data, at) for at, shape in enumerate(shapes))
    return x, w


def curve(lengths: list[int], data: str, claimed: Arithmetic, dtype: str, compute: Callable[..., Array]) -> Curve:
    errors, bounds = [], []
    for products in lengths:
        found = []
        for draw in range(DRAWS):
            x, w = long_sums(products, data, dtype, draw)
            high, low = arrconv.exact_parts("conv", x, w)
            magnitude = arrconv.conv(np.abs(x).astype(np.float64), np.abs(w).astype(np.float64))
            error = np.abs((compute(x, w).astype(np.float64) - high) - low)
            bound = arrconv.error_bound("conv", x, w, arithmetic=claimed)
            found.append((np.max(error / magnitude), np.max(bound / magnitude)))
        largest, bound = np.max(found, axis=0)
        errors.append(float(largest))
        bounds.append(float(bound))
    return Curve(errors, bounds)


def with_tf32_inputs(x: Array, w: Array) -> Array:
    """Float32 throughout, but for operands that are rounded to 10 bits first."""
    return arrconv.conv(*(rounded(array, FORMATS["tf32"].fraction_bits) for array in (x, w)))


def rounded(array: Array, bits: int) -> Array:
    fraction, exponent = np.frexp(array)
    return np.ldexp(np.rint(np.ldexp(fraction, bits + 1)), exponent - bits - 1)


def in_float16(x: Array, w: Array) -> Array:
    """One product after the other, every operation rounded to float16."""
    positions = x.shape[2] - w.shape[2] + 1
    y = np.zeros((1, w.shape[0], positions), np.float16)
    for c, k in np.ndindex(w.shape[1:]):
        y = y + w[None, :, c, k, None] * x[:, c, None, k : k + positions]
    return y


def draw_picture(file: Path) -> None:
    """Errors of long sums beside their bounds, in float32 and in float16."""
    from matplotlib.figure import Figure  # only here, since nothing else needs it

    figure = Figure(figsize=(11, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    tf32 = curve(SUMS, "normal", Arithmetic("tf32", "float32", "float32"), "float32", with_tf32_inputs)
    left.plot(SUMS, tf32.bounds, color="#cc79a7", linewidth=1, label="bound with TF32 inputs")
    left.plot(SUMS, tf32.errors, "s", color="#cc79a7", markersize=5, label="error, normal numbers, TF32 inputs")
    for axes, lengths, claimed, dtype, compute in (
        (left, SUMS, Arithmetic.of("float32"), "float32", arrconv.conv),
        (right, SHORT_SUMS, Arithmetic("float16", "float16", "float16"), "float16", in_float16),
    ):
        normal = curve(lengths, "normal", claimed, dtype, compute)
        one_signed = curve(lengths, "one-signed", claimed, dtype, compute)
        smooth = np.geomspace(1, min(lengths[-1], 0.99 * 2 ** (FORMATS[dtype].fraction_bits + 1)), 200)
        rounding = smooth * FORMATS[dtype].roundoff
        axes.plot(lengths, normal.bounds, color="black", label="bound, K·u")
        axes.plot(smooth, rounding / (1 - rounding), "--", color="0.55", linewidth=2, label="γ = K·u / (1 − K·u)")
        axes.plot(lengths, one_signed.errors, "^", color="#d55e00", markersize=6, label="error, numbers of one sign")
        axes.plot(lengths, normal.errors, "o", color="#0072b2", markersize=5, label="error, normal numbers")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel(f"number of products K in a sum ({DRAWS * math.prod(OUTPUTS)} sums each)")
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
    left.set_title("float32, arrconv.conv")
    right.set_title("float16, one product after the other")
    right.text(2**10.6, 40, "γ ends where K·u = 1", color="0.4", horizontalalignment="right")
    left.set_ylabel("largest |result − exact| as a share of B = Σ |x| |w|")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(file, dpi=160)


def report(cases: int) -> dict[str, Any]:
    start = time.perf_counter()
    tallies, wrong = survey(cases)
    return {
        "cases_of_each_algorithm_and_dtype": cases,
        "classes": [asdict(tally) for tally in tallies],
        "wrong": wrong,
        "seconds": round(time.perf_counter() - start),
        "versions": {"arrconv": arrconv.__version__, "numpy": np.__version__, "python": platform.python_version()},
        "processor": processor(),
    }


def main(
    cases: Annotated[int, typer.Option(min=1, help="How many for each algorithm and dtype.")] = 1000,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Keep the record here.")] = None,
    case: Annotated[str | None, typer.Option(metavar="DTYPE:NUMBER", help="Run this case alone.")] = None,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the errors of long sums instead.")] = None,
) -> None:
    """Compare errors with their bounds."""
    console = Console(width=max(Console().width, 118))  # less would cut figures off
    if picture is not None:
        draw_picture(picture)
    elif case is not None:
        call = Case.parse(case).call()
        console.print(f"{call}: {judge(call)[0]}", markup=False, highlight=False, soft_wrap=True)
    else:
        record = report(cases)
        console.print(table([Tally(**found) for found in record["classes"]], cases))
        if json_file is not None:
            json_file.parent.mkdir(parents=True, exist_ok=True)
            json_file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        for line in record["wrong"]:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(bool(record["wrong"]))


if __name__ == "__main__":
    typer.run(main)
