"""Fingerprints of arithmetics that are known: each must be recognised, and the right ones found to be as claimed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from arrconv_conformance.adapters import Lost, Unsupported
from arrconv_conformance.fingerprint import FUNCTIONS, SHAPES, Finding, Fingerprint, Part, Shape, fingerprint
from arrconv_conformance.fingerprint.arithmetic import bits_kept
from arrconv_conformance.fingerprint.subject import Subject
from emulations import (
    Adding,
    ByBatchSize,
    ByLayout,
    ByPlace,
    ByPosition,
    ByRun,
    ByThreads,
    Emulation,
    Fourier,
    Winograd,
    flushed,
    four_products,
    in_blocks,
    in_two_parts,
    pairwise,
    rounded,
    three_products,
)

import arrconv

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = (
    Shape("point", "n=2 c=5 o=7 x=5,4 k=1"),
    Shape("line", "n=3 c=4 o=6 x=23 k=3 p=1"),
    Shape("square", "n=4 c=5 o=9 x=21,13 k=3 p=1"),
)
EVEN, AWAY, TRUNCATED = "to nearest, ties to even", "to nearest, ties away from zero", "towards zero"
BY_IMAGE = ("forward", "input gradient", "transposed")
NARROW = {"input": "tf32", "accumulate": "float32", "output": "float32"}


@dataclass(frozen=True)
class Own:
    """arrconv by one of its algorithms."""

    algorithm: str
    name: str = "own"
    version: str = "1"

    def conv(self, *arrays: Any, **options: Any) -> Any:
        return arrconv.conv(*arrays, **options, algorithm=self.algorithm)

    def conv_transpose(self, *arrays: Any, **options: Any) -> Any:
        return arrconv.conv_transpose(*arrays, **options, algorithm=self.algorithm)

    def conv_backward(self, *arrays: Any, needs: tuple[str, ...], **options: Any) -> dict[str, Any]:
        grads = arrconv.conv_backward(*arrays, **options, needs=needs, algorithm=self.algorithm)
        return {need: getattr(grads, need) for need in needs}


def from_half(numbers: Any) -> Any:
    return np.copysign(np.floor(np.abs(numbers) + 0.5), numbers)


def taken(adapter: Any, dtype: str, *functions: str) -> Fingerprint:
    """With what the process would do to it: written as JSON, and read again."""
    found = fingerprint(adapter, [dtype], functions or tuple(FUNCTIONS), SMALL)
    parts = tuple(Part.parse(drop(json.loads(json.dumps(part.as_json())))) for part in found.parts)
    assert parts == found.parts
    return found


def drop(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in ("line", "depends", "verdict")}


def findings(found: Fingerprint) -> list[Finding]:
    several = [finding for part in found.parts for finding in part.findings]
    assert len(several) == len(found.parts) * len(SMALL)
    assert not any(finding.refused for finding in several)
    return several


RIGHT = {
    "tap loop": Own("taps"),
    "blocked matrix product": Own("gemm"),
    "sums from the end": Emulation(Adding(backwards=True)),
    "pairwise sums": Emulation(pairwise),
    "exact": Own("exact"),
}


@pytest.mark.parametrize("adapter", RIGHT.values(), ids=RIGHT)
def test_right_sums_of_float32_are_as_claimed_whatever_their_order(adapter: Any) -> None:
    found = taken(adapter, "float32")
    assert [part.verdict for part in found.parts] == ["as claimed"] * 4
    assert found.is_as_claimed
    for finding in findings(found):
        assert [(operand.bits, operand.format, operand.rounding) for operand in finding.operands] == [
            (23, "float32", "")
        ] * 2
        assert finding.sums is not None
        assert finding.sums.smallest >= 23
        assert (finding.transform, finding.flushed, finding.products, finding.results) == ("", (), None, 23)
    line = found.part("float32", "forward").line
    assert line.startswith("inputs 23 bits (float32); sums ")
    assert line.endswith("; subnormals kept; no Winograd or FFT seen")


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "complex64", "complex128"])
def test_other_dtypes_are_as_claimed_too(dtype: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    found = taken(Own("gemm"), dtype)
    assert [part.verdict for part in found.parts] == ["as claimed"] * 4
    expected = {"float64": 52, "complex128": 52}.get(dtype, 23)
    assert {finding.sums and finding.sums.smallest for finding in findings(found)} == {expected}


def test_only_the_exact_sums_keep_every_bit_that_is_tried() -> None:
    lines = {name: taken(adapter, "float32", "forward").parts[0].line for name, adapter in RIGHT.items()}
    assert [name for name, line in lines.items() if "sums 60 bits or more" in line] == ["exact"]


@pytest.mark.parametrize(
    ("given", "dtype", "bits", "format_", "rounding"),
    [
        (rounded(10), "float32", 10, "tf32", EVEN),
        (rounded(10, np.trunc), "float32", 10, "tf32", TRUNCATED),
        (rounded(10, from_half), "float32", 10, "tf32", AWAY),
        (rounded(7), "float32", 7, "bfloat16", EVEN),
        (rounded(7, np.trunc), "float32", 7, "bfloat16", TRUNCATED),
        (lambda x: x.astype(np.float16).astype(x.dtype), "float32", 10, "float16", EVEN),
        (lambda x: x.astype(np.float32), "float64", 23, "float32", EVEN),
        (rounded(19), "float32", 19, "", EVEN),
    ],
)  # fmt: skip
def test_rounded_inputs(given: Callable[[Any], Any], dtype: str, bits: int, format_: str, rounding: str) -> None:
    found = taken(Emulation(given=given), dtype)
    for finding in findings(found):
        for operand in finding.operands:
            assert (operand.bits, operand.format, operand.rounding, operand.at_least) == (
                bits,
                format_,
                rounding,
                False,
            )
    assert found.part(dtype, "weight gradient").verdict.startswith(f"x keeps {bits} of ")
    assert not found.is_as_claimed


def test_one_rounded_operand_is_not_the_other() -> None:
    class OnlyWeights(Emulation):
        def conv(self, x: Any, w: Any, bias: Any, **options: Any) -> Any:
            return super().conv(x, rounded(10)(w), bias, **options)

    [part] = taken(OnlyWeights(), "float32", "forward").parts
    assert part.line.startswith(f"x 23 bits (float32), w 10 bits (tf32, rounded {EVEN}); sums 23 bits")
    assert part.verdict == "w keeps 10 of 23 bits"


def test_what_is_claimed_is_no_difference() -> None:
    assert taken(Emulation(given=rounded(10), claims={"float32": NARROW}), "float32").is_as_claimed
    assert not taken(Emulation(given=rounded(7), claims={"float32": NARROW}), "float32").is_as_claimed
    flushing = {"float32": {"flushes_subnormals": True}}
    assert taken(Emulation(stored=flushed, claims=flushing), "float32").is_as_claimed


@pytest.mark.parametrize(
    ("product", "dtype", "bits"),
    [
        (Adding(dtype=np.float16), "float16", 10),
        (Adding(rounded(10)), "float32", 10),
        (Adding(rounded(7)), "bfloat16", 7),
        (Adding(rounded(13)), "float32", 13),
        (Adding(dtype=np.float64), "float32", 52),
    ],
)
def test_the_bits_of_sums(product: Adding, dtype: str, bits: int) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    found = taken(Emulation(product), dtype, "forward", "weight gradient")
    for finding in findings(found):
        assert finding.sums is not None
        assert (finding.sums.smallest, finding.sums.largest, finding.sums.rounding) == (bits, bits, "to nearest")
    assert found.is_as_claimed == (bits >= 23)
    if bits < 23:
        assert {part.verdict for part in found.parts} == {f"sums keep {bits} of 23 bits"}


def test_inputs_that_narrow_sums_hide_are_not_blamed() -> None:
    [part] = taken(Emulation(Adding(rounded(10))), "float32", "forward").parts
    assert part.line.startswith("inputs 10 bits or more; sums 10 bits (float16)")


def test_blocks_that_are_added_in_less_precision() -> None:
    found = taken(Emulation(in_blocks), "float16", "forward", "weight gradient")
    for finding in findings(found):
        assert finding.sums is not None
        assert finding.sums.smallest == 10
    sums = {finding.shape: finding.sums for finding in found.part("float16", "weight gradient").findings}
    assert {name: one and one.largest for name, one in sums.items()} == {"point": 23, "line": 23, "square": 23}
    assert "sums 10 to 23 bits" in found.part("float16", "weight gradient").line


def test_taps_that_are_added_in_less_precision() -> None:
    """Each tap's channels in float32, and the taps in float16: seen where products of one triple lie at three taps."""

    class TapByTap(Emulation):
        def correlate(self, x: Any, w: Any, padding: Any) -> Any:
            result = np.float16(0)
            for tap in np.ndindex(*w.shape[2:]):
                alone = np.zeros_like(w)
                alone[(..., *tap)] = w[(..., *tap)]
                result = result + super().correlate(x, alone, padding).astype(np.float16)
            return result

    sums = {finding.shape: finding.sums for finding in findings(taken(TapByTap(), "float16", "forward"))}
    bits = {name: (one.smallest, one.largest) for name, one in sums.items() if one}
    assert bits == {"point": (23, 23), "line": (10, 23), "square": (10, 23)}


def test_sums_that_are_truncated() -> None:
    found = taken(Emulation(Adding(rounded(23, np.trunc), dtype=np.float64)), "float32", "forward", "weight gradient")
    assert {part.verdict for part in found.parts} == {"sums are rounded towards zero"}


def test_products_that_are_rounded_before_they_are_added() -> None:
    found = taken(Emulation(Adding(each=rounded(10))), "float32", "forward", "weight gradient")
    assert {finding.products for finding in findings(found)} == {10}
    assert all(finding.operands[0].at_least for finding in findings(found))
    assert {part.verdict for part in found.parts} == {"products lose bits that operands and sums have"}


def test_operands_in_two_parts_without_the_product_of_the_small_ones() -> None:
    for finding in findings(taken(Emulation(in_two_parts), "float32", "forward", "weight gradient")):
        assert 15 <= finding.operands[0].bits < 18  # two times eight bits, and the sign of the second part
        assert finding.products == 14  # 2^-16 is the first square that is a product of two small parts


@pytest.mark.parametrize(
    ("emulation", "which"),
    [
        (Emulation(given=flushed), ("x", "w")),
        (Emulation(stored=flushed), ("results",)),
        (Emulation(Adding(each=flushed)), ("products", "results")),
    ],
)
def test_subnormal_numbers_that_are_flushed(emulation: Emulation, which: tuple[str, ...]) -> None:
    [part] = taken(emulation, "float32", "forward").parts
    assert {finding.flushed for finding in part.findings} == {which}
    assert f"subnormal {', '.join(which)} flushed" in part.line
    assert part.verdict == "subnormal numbers are flushed"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tile", [2, 4])
def test_winograd_is_seen_on_its_shape_alone_with_the_size_of_its_tiles(tile: int, dtype: str) -> None:
    found = taken(Winograd(Adding(dtype=dtype), tile=tile), dtype)
    for part in found.parts:
        name = "Winograd" if part.function == "weight gradient" else f"Winograd, tiles of {tile}×{tile}"
        assert [finding.transform for finding in part.findings] == ["", "", name]
        assert part.verdict == f"{name}, not sums of products (square)"
        assert f"{name} (square), elsewhere no Winograd or FFT seen" in part.line


def test_winograd_in_float32_is_seen_under_float16() -> None:
    class Wide(Winograd):
        def correlate(self, x: Any, w: Any, padding: Any) -> Any:
            return super().correlate(x.astype(np.float32), w.astype(np.float32), padding)

    [part] = taken(Wide(), "float16", "forward").parts
    assert [finding.transform for finding in part.findings] == ["", "", "Winograd, tiles of 2×2"]


def test_fourier_transforms_are_seen_in_all_dimensions() -> None:
    for part in taken(Fourier(), "float32").parts:
        assert [finding.transform for finding in part.findings] == ["", "FFT", "FFT"]
        assert part.findings[1].sums is None  # nothing is said of bits where a transform was seen


@pytest.mark.parametrize(
    ("emulation", "what"),
    [
        (ByPlace(), "the position in the batch"),
        (ByBatchSize(), "the batch size"),
        (ByPosition(), "the position in space"),
        (ByThreads(), "the number of threads"),
    ],
)
def test_what_bits_depend_on(emulation: Emulation, what: str) -> None:
    found = taken(emulation, "float32", *BY_IMAGE)
    assert [part.depends for part in found.parts] == [what] * 3
    assert found.is_as_claimed  # a fact, and no difference


def test_bits_that_depend_on_the_layout_or_on_the_run() -> None:
    [part] = taken(ByLayout(), "float32", "forward").parts
    assert part.depends == "the memory layout (last, fortran, strided)"
    [part] = taken(ByRun(), "float32", "forward").parts
    assert part.depends.startswith("the run")


def test_bits_of_plain_sums_depend_on_nothing() -> None:
    assert [part.depends for part in taken(Emulation(), "float32").parts] == [""] * 4


def test_a_bias_that_is_added_after_rounding() -> None:
    for part in taken(Emulation(bias_after=True), "float16").parts:
        takes_bias = part.function in ("forward", "transposed")
        assert {finding.twice for finding in part.findings} == {takes_bias}
        assert part.verdict == ("results are rounded twice" if takes_bias else "as claimed")
    assert taken(Emulation(), "float16", "forward").is_as_claimed


def test_results_that_are_truncated_or_shorter_than_claimed() -> None:
    [part] = taken(Emulation(lambda a, b: rounded(10, np.trunc)(Adding()(a, b))), "float16", "forward").parts
    assert part.verdict == "results are rounded towards zero"
    [part] = taken(Emulation(stored=rounded(7)), "float32", "forward").parts
    assert "results 7 bits (bfloat16)" in part.line
    assert part.verdict == "results keep 7 of 23 bits"


def test_complex_products_by_three_real_ones() -> None:
    found = taken(Emulation(three_products), "complex64", "forward", "weight gradient")
    assert {part.verdict for part in found.parts} == {"complex products are not sums of four real ones"}
    assert all("real and imaginary parts are mixed" in part.line for part in found.parts)
    assert taken(Emulation(four_products), "complex64", "forward", "weight gradient").is_as_claimed


def test_wrong_results_are_said_to_be_wrong_and_not_fast() -> None:
    class Flipped(Emulation):
        def correlate(self, x: Any, w: Any, padding: Any) -> Any:
            return super().correlate(x, np.flip(w, tuple(range(2, w.ndim))), padding)

    [part] = taken(Flipped(), "float32", "forward").parts
    assert [finding.transform for finding in part.findings] == ["", "wrong results", "wrong results"]


def test_what_is_not_offered_is_no_difference() -> None:
    class Partial(Emulation):
        conv_transpose = property()  # type: ignore[assignment]

        def conv(self, x: Any, w: Any, bias: Any, **options: Any) -> Any:
            if x.ndim == 3:
                raise Unsupported("one dimension is not enough")
            return super().conv(x, w, bias, **options)

        def conv_backward(self, *_: Any, **__: Any) -> Any:
            raise ValueError("never\nmind")

    found = fingerprint(Partial(), ["float32"], shapes=SMALL)
    assert [part.was_asked for part in found.parts] == [True, False, False, False]
    assert found.part("float32", "forward").line.endswith("; not offered: line")
    assert found.part("float32", "input gradient").line == "not offered: ValueError: never"
    assert found.part("float32", "transposed").line == "not offered: no conv_transpose"
    assert found.is_as_claimed


def test_a_lost_framework_is_not_taken_for_one_that_refuses() -> None:
    class Gone(Emulation):
        def conv(self, *_: Any, **__: Any) -> Any:
            raise Lost("crashes", "the program ended")

    with pytest.raises(Lost, match="the program ended"):
        fingerprint(Gone(), ["float32"], ["forward"], SMALL)


@pytest.mark.parametrize("most", [5, 23, 60])
@pytest.mark.parametrize("bits", [0, 1, 9, 23, 59])
def test_bits_are_found_between_the_likely_ones(bits: int, most: int) -> None:
    def kept(wanted: Any) -> Any:
        return np.array([[number <= bits, number <= 12] for number in wanted])

    assert bits_kept(kept, most).tolist() == [min(bits, most), min(12, most)]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_of_every_shape_contains_the_matrix_product(function: str) -> None:
    """Rows and columns of small integers, more than fit into one call, with weights at all taps, come out exactly."""
    for shape in (*SHAPES, *SMALL):
        geometry = arrconv.Geometry.parse(shape.text)
        subject = Subject(Own("gemm"), "float64", FUNCTIONS[function], geometry)
        high, wide = subject.capacity
        generator = np.random.default_rng(7)
        depth = min(subject.depth, 11)
        rows = generator.integers(-9, 10, (high + 3, depth)).astype(float)
        columns = generator.integers(-9, 10, (min(wide, 30) + 2, depth)).astype(float)
        taps = generator.integers(0, subject.taps, columns.shape)
        np.testing.assert_array_equal(subject.products(rows, columns, taps), rows @ columns.T)
        pairs = subject.pairs(rows[: len(columns)], columns[: len(rows)])
        np.testing.assert_array_equal(pairs, np.einsum("ik,ik->i", rows[: len(pairs)], columns[: len(pairs)]))
