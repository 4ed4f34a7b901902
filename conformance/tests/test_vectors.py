"""Test vectors: what is exported is right, readable without the code that wrote it, and the same every time."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import pytest
from arrconv_conformance import vectors
from arrconv_conformance.cases import Case
from arrconv_conformance.data import DTYPES
from arrconv_conformance.vectors import VECTOR_MEMBERS, Disagreement, Vector, rounded_once
from typer.testing import CliRunner

import arrconv
from arrconv.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = "n=2 c=4 o=6 g=2 x=9,7 k=2,3 s=2,3 p=1:2,0:1 d=2,1"
DOCS = Path(__file__).parents[2] / "docs" / "vectors.md"


def run(*arguments: object) -> tuple[int, str]:
    """The exit status and the output of `arrconv vectors`; what escapes as an exception is raised here."""
    result = CliRunner().invoke(app, ["vectors", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def export(folder: Path, case: str, *options: str) -> Path:
    status, output = run("export", folder, "--case", case, "--no-onnx", *options)
    assert status == 0, output
    return folder


def entries(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))["vectors"]
    return found


@pytest.fixture(scope="module")
def integers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    return export(tmp_path_factory.mktemp("integers") / "vectors", f"{SMALL} data=integers")


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("normal") / "vectors", f"{SMALL} data=normal dtype=float32")


def test_every_member_and_dtype_is_there(integers: Path) -> None:
    found = Counter((entry["member"], entry["dtype"]) for entry in entries(integers))
    assert found == Counter({(member, dtype): 1 for member in VECTOR_MEMBERS for dtype in DTYPES})
    assert len(VECTOR_MEMBERS) == 8


def test_the_files_are_what_the_manifest_says(integers: Path, normal: Path) -> None:
    for folder in (integers, normal):
        for entry in entries(folder):
            with np.load(folder / entry["file"]) as archive:
                assert set(archive.files) == set(entry["arrays"])
                for name, about in entry["arrays"].items():
                    array = archive[name]
                    assert list(array.shape) == about["shape"]
                    assert str(array.dtype) == ("uint16" if about["dtype"] == "bfloat16" else about["dtype"])
                    assert hashlib.sha256(array.tobytes(order="C")).hexdigest() == about["sha256"]
                    assert array.dtype.byteorder in "<=|"
                    assert array.flags.c_contiguous
        assert {path.stem for path in (folder / "arrays").iterdir()} == {entry["name"] for entry in entries(folder)}


def test_options_and_shapes_are_in_plain_words(integers: Path) -> None:
    for entry in entries(integers):
        transposed = entry["member"].startswith("conv_transpose")
        rest = {"output_padding": [1, 2]} if transposed else {"mode": "zeros"}
        assert entry["options"] == {
            "stride": [2, 3],
            "padding": [[1, 2], [0, 1]],
            "dilation": [2, 1],
            "groups": 2,
            **rest,
        }
        assert entry["shapes"] == {"x": [2, 4, 9, 7], "w": [6, 2, 2, 3], "y": [2, 6, 5, 2]}


def stored(folder: Path, entry: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a vector as Python's numbers or NumPy's, bfloat16 as the float32 that its bits stand for."""
    with np.load(folder / entry["file"]) as archive:
        return {
            name: (archive[name].astype(np.uint32) << 16).view(np.float32)
            if about["dtype"] == "bfloat16"
            else archive[name]
            for name, about in entry["arrays"].items()
        }


def by_hand(entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The result of a vector from the literal loop, as Python's numbers."""
    names, shapes = entry["operands"], entry["shapes"]
    options = {name: entry["options"][name] for name in ("stride", "padding", "dilation", "groups")}
    form: Any = {**options, "padding_mode": entry["options"].get("mode", "zeros")}
    # `.item()` of a complex64 is a Python complex, which holds every product of small integers exactly.
    first, second = (np.conj(arrays[names[0]]), arrays[names[-1]])
    match entry["member"]:
        case "conv":
            return oracle.conv(arrays["x"], arrays["w"], arrays.get("bias"), **form)
        case "conv_transpose":
            padding: Any = {**options, "output_padding": entry["options"]["output_padding"]}
            return oracle.conv_transpose(arrays["y"], arrays["w"], arrays.get("bias"), **padding)
        case "conv_grad_input":
            return oracle.transpose_input(first, second, tuple(shapes["x"][2:]), **form)
        case "conv_grad_weight":
            return oracle.transpose_weight(first, second, tuple(shapes["w"][2:]), **form)
        case "conv_transpose_grad_input":
            return oracle.conv(second, first, None, **form)
        case "conv_transpose_grad_weight":
            return oracle.transpose_weight(second, first, tuple(shapes["w"][2:]), **form)
        case _:
            return oracle.grad_bias(second)


BITS = {"float16": 11, "bfloat16": 8}


def nearest(number: complex, bits: int) -> complex:
    """An integer rounded to so many bits, ties to even."""
    integer = int(number.real)
    unit = Fraction(2) ** max(0, abs(integer).bit_length() - bits)
    return int(round(integer / unit) * unit)  # Python rounds halves of a Fraction to even


def test_the_results_on_integers_are_those_of_the_literal_loop(integers: Path) -> None:
    rounded = 0
    for entry in entries(integers):
        arrays = stored(integers, entry)
        right = by_hand(entry, arrays)
        if entry["dtype"] in BITS:
            exact = right
            right = np.vectorize(lambda number, bits=BITS[entry["dtype"]]: nearest(number, bits), otypes="O")(exact)
            rounded += int((right != exact).sum())
        assert arrays["expected"].dtype == ("int64" if "int" in entry["dtype"] else arrays["expected"].dtype)
        assert np.array_equal(arrays["expected"].astype(object), right), entry["case"]
    assert rounded > 0


def test_what_an_answer_is_judged_by_is_there_where_it_is_needed(integers: Path, normal: Path) -> None:
    for entry in entries(integers):  # all sums are exact, in float32 as well as in any wider format
        if entry["dtype"] not in BITS:
            assert not entry["arrays"].keys() & {"high", "low", "bound", "magnitude", "special"}
    for entry in entries(normal):
        with np.load(normal / entry["file"]) as arrays:
            error = np.abs(arrays["expected"] - arrays["high"] - arrays["low"])
            assert np.all(error <= np.spacing(np.abs(arrays["expected"])) / 2)
            assert np.all((arrays["bound"] < arrays["bound_tf32"]) == (arrays["magnitude"] > 0))
            assert np.all(np.abs(arrays["high"]) <= arrays["magnitude"] * (1 + 2.0**-50))
            assert entry["claims"]["own"]["bound"] == "bound"
            assert entry["claims"]["tf32"]["bound"] == "bound_tf32"


def test_high_and_low_are_the_exact_sum_to_twice_the_precision() -> None:
    vector = Vector("name", Case.parse("n=2 c=3 o=2 x=5,4 k=2,3 p=1,0 member=conv dtype=float64 data=wide"))
    fractions = {name: np.vectorize(Fraction, otypes="O")(array) for name, array in vector.operands.items()}
    form: Any = {
        "stride": (1, 1),
        "padding": ((1, 1), (0, 0)),
        "dilation": (1, 1),
        "groups": 1,
        "padding_mode": "zeros",
    }
    exact = oracle.conv(fractions["x"], fractions["w"], fractions["bias"], **form)
    found = vector.arrays
    assert found["expected"].ravel().tolist() == [float(number) for number in exact.ravel()]
    assert np.count_nonzero(found["low"]) > found["low"].size / 2
    for high, low, number in zip(found["high"].ravel(), found["low"].ravel(), exact.ravel(), strict=True):
        assert abs(Fraction(high) + Fraction(low) - number) <= abs(number) * Fraction(2) ** -105


def random_sums(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers high + low, many of them at ties of the dtype, at the ends of its range, and just beside them."""
    rng = np.random.default_rng(5)
    bits, lowest = {"float16": (11, -24), "bfloat16": (8, -133), "float32": (24, -149)}[dtype]
    integers = rng.integers(2**bits, 2 ** (bits + 1), 400).astype(float)  # every other one is a tie
    exponents = rng.choice([lowest - 2, lowest - bits - 1, lowest + 5, -9, 3], 400)
    high = np.ldexp(integers, exponents) * rng.choice([-1, 1], 400)
    high[:50] = rng.standard_normal(50)
    low = np.spacing(np.abs(high)) * rng.choice([-0.5, -0.25, -(2.0**-60), 0, 2.0**-60, 0.25, 0.5], 400)
    low[np.abs(high + low) != np.abs(high)] = 0  # `high` is the nearest number to the sum
    return high, low


def in_format(number: Fraction, bits: int, lowest: int) -> float:
    """A number rounded to a format without overflow, by the definition of rounding to nearest, ties to even."""
    if not number:
        return 0.0
    exponent = abs(number.numerator).bit_length() - number.denominator.bit_length()
    exponent += abs(number) >= Fraction(2) ** (exponent + 1)
    exponent -= abs(number) < Fraction(2) ** exponent
    unit = Fraction(2) ** max(exponent - bits + 1, lowest)
    return float(round(number / unit) * unit)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_results_are_rounded_once(dtype: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    bits, lowest = {"float16": (11, -24), "bfloat16": (8, -133), "float32": (24, -149)}[dtype]
    high, low = random_sums(dtype)
    right = [in_format(Fraction(a) + Fraction(b), bits, lowest) for a, b in zip(high, low, strict=True)]
    twice = [in_format(Fraction(a), bits, lowest) for a in high]
    assert rounded_once(high, low, dtype).astype(float).tolist() == right
    assert sum(a != b for a, b in zip(right, twice, strict=True)) > 20


def test_numbers_beyond_the_range_become_infinite() -> None:
    largest = np.asarray([65520.0, 65519.0, -1e30])
    assert rounded_once(largest, np.zeros(3), "float16").tolist() == [np.inf, 65504.0, -np.inf]
    below = rounded_once(np.asarray([65520.0]), np.asarray([-1e-30]), "float16")
    assert below.tolist() == [65504.0]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_exporting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert run("export", tmp_path / name, "--cases", 6, "--seed", 4)[0] == 0
    first = contents(tmp_path / "first")
    assert first == contents(tmp_path / "second")
    files = [name for name in first if name.endswith(".npz")]
    assert len(files) > 10
    for name in files:
        with zipfile.ZipFile(tmp_path / "first" / name) as archive:
            assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
    assert run("export", tmp_path / "third", "--cases", 6, "--seed", 5)[0] == 0
    assert contents(tmp_path / "third") != first


def test_the_digest_of_the_manifest_is_printed(tmp_path: Path) -> None:
    status, output = run("export", tmp_path / "new", "--case", f"{SMALL} data=integers dtype=float64", "--no-onnx")
    assert status == 0
    assert (
        f"SHA-256 of vectors.json: {hashlib.sha256((tmp_path / 'new/vectors.json').read_bytes()).hexdigest()}" in output
    )
    size = sum(len(data) for data in contents(tmp_path / "new").values())
    assert f"8 vectors, 0 directories for ONNX, {size / 1e6:.1f} MB" in output


def test_bits_that_the_oracle_does_not_confirm_are_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = arrconv.conv

    def wrong(*arrays: Any, **options: Any) -> Any:
        found = right(*arrays, **options)
        found.flat[5] = np.nextafter(found.flat[5], np.float32(np.inf))
        return found

    monkeypatch.setattr(arrconv, "conv", wrong)
    for data in ("integers", "normal"):
        vector = Vector("name", Case.parse(f"{SMALL} member=conv dtype=float32 data={data}"))
        with pytest.raises(Disagreement, match="arrconv's exact result and the oracle's differ"):
            vector.entry()
    status, output = run("export", tmp_path / "new", "--case", f"{SMALL} member=conv dtype=float32 data=normal")
    assert status == 2
    assert "the oracle's differ at (0, 0, 2, 1)" in output
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the programs of the documentation run: its vectors are called `vectors`."""
    folder = tmp_path_factory.mktemp("documented")
    assert run("export", folder / "vectors", "--cases", 60, "--seed", 8, "--no-onnx")[0] == 0
    yield folder
    shutil.rmtree(folder)


def test_the_programs_of_the_documentation_run_and_answer_right(documented: Path) -> None:
    programs = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(programs) == 3
    for program in programs:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=documented, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    names = {path.stem for path in (documented / "vectors/answers").iterdir()}
    answered = [entry for entry in entries(documented / "vectors") if entry["name"] in names]
    assert {entry["options"]["mode"] for entry in answered} == {"zeros", "circular", "reflect", "replicate"}
    assert any(entry["claims"]["own"]["bound"] for entry in answered)
    status, output = run("check", documented / "vectors", "--partial")
    assert status == 0, output
    assert f"{len(entries(documented / 'vectors')) - len(answered)} missing: agreement" in output
    assert run("check", documented / "vectors")[0] == 1


def test_the_documentation_names_what_there_is(integers: Path) -> None:
    text = DOCS.read_text(encoding="utf-8")
    manifest = json.loads((integers / "vectors.json").read_text(encoding="utf-8"))
    keys = {*manifest, *(key for entry in manifest["vectors"] for key in (*entry, *entry["options"]))}
    assert [key for key in keys if f"`{key}`" not in text] == []
    assert [claim for claim in vectors.CLAIMS if f"| `{claim}` |" not in text] == []
    assert set(vectors.FORMULAS) == set(VECTOR_MEMBERS)
