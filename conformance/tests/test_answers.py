"""The check of answers to test vectors accepts right answers in every form, and finds the smallest fault in others."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from arrconv_conformance import question
from typer.testing import CliRunner

import arrconv
from arrconv.cli import app

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = "n=2 c=3 o=4 x=5,6 k=2,3 p=1"


def run(*arguments: object) -> tuple[int, str]:
    """The exit status and the output of `arrconv vectors`; what escapes as an exception is raised here."""
    result = CliRunner().invoke(app, ["vectors", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def entries(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))["vectors"]
    return found


class Folder:
    """A folder of vectors in which every one is answered by the stored result."""

    def __init__(self, path: Path, case: str) -> None:
        self.path = path / "vectors"
        status, output = run("export", self.path, "--case", case, "--no-onnx")
        assert status == 0, output
        (self.path / "answers").mkdir()
        self.entries = entries(self.path)
        for entry in self.entries:
            np.save(self.answer(entry["dtype"]), self.arrays(entry["dtype"])["expected"])

    def entry(self, dtype: str) -> dict[str, Any]:
        """The vector of a dtype: each has one here."""
        [found] = [entry for entry in self.entries if entry["dtype"] == dtype]
        return found

    def answer(self, dtype: str) -> Path:
        return self.path / "answers" / f"{self.entry(dtype)['name']}.npy"

    def arrays(self, dtype: str) -> dict[str, np.ndarray]:
        with np.load(self.path / self.entry(dtype)["file"]) as archive:
            return dict(archive)

    def put(self, dtype: str, array: Any) -> None:
        np.save(self.answer(dtype), array)

    def verdicts(self, *options: str, status: int) -> dict[str, str]:
        """The status of each vector by its dtype, and of what else is there by its name."""
        file = self.path.parent / "verdicts.json"
        found, output = run("check", self.path, "--json", file, *options)
        assert found == status, output
        return {one["dtype"] or one["name"]: one["status"] for one in json.loads(file.read_text())}


@pytest.fixture
def integers(tmp_path: Path) -> Folder:
    pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    return Folder(tmp_path, f"{SMALL} member=conv data=integers")


@pytest.fixture
def normal(tmp_path: Path) -> Folder:
    return Folder(tmp_path, f"{SMALL} member=conv data=normal dtype=float32")


def test_right_answers_agree(integers: Folder) -> None:
    status, output = run("check", integers.path)
    assert status == 0
    assert output.splitlines()[-1] == "11 vectors: 11 exact: agreement"
    assert integers.verdicts(status=0) == {entry["dtype"]: "exact" for entry in integers.entries}


def test_they_agree_from_any_place_and_in_any_order_of_bytes(integers: Folder, tmp_path: Path) -> None:
    expected = integers.arrays("float32")["expected"]
    integers.put("float32", expected.astype(">f4"))
    integers.put("int8", np.asfortranarray(integers.arrays("int8")["expected"]))
    integers.put("bfloat16", integers.arrays("bfloat16")["expected"].view("V2"))  # as NumPy saves ml_dtypes' bfloat16
    assert set(integers.verdicts(status=0).values()) == {"exact"}
    arrays = {path.stem: np.load(path) for path in (integers.path / "answers").iterdir()}
    shutil.rmtree(integers.path / "answers")
    np.savez(tmp_path / "mine.npz", **arrays)
    assert run("check", integers.path)[0] == 2
    assert run("check", integers.path, tmp_path / "mine.npz")[0] == 0
    np.savez_compressed(integers.path / "answers.npz", **arrays)
    assert set(integers.verdicts(status=0).values()) == {"exact"}


def one_ulp(array: np.ndarray) -> np.ndarray:
    array.flat[7] = np.nextafter(array.flat[7], np.float32(np.inf))
    return array


def one_more(array: np.ndarray) -> np.ndarray:
    array.flat[7] += 1
    return array


def made_nan(array: np.ndarray) -> np.ndarray:
    array.flat[7] = np.nan
    return array


@pytest.mark.parametrize(
    ("dtype", "fault", "status", "message"),
    [
        ("float32", one_ulp, "wrong", r"1 of 168 elements are wrong; (0, 0, 1, 1) is"),
        ("float64", made_nan, "wrong", r"1 of 168 elements are wrong; (0, 0, 1, 1) is nan, exactly"),
        ("complex64", lambda array: array.conj(), "wrong", "of 168 elements are wrong"),
        ("int8", one_more, "wrong", "1 of 168 elements are wrong; (0, 0, 1, 1) is"),
        ("bfloat16", one_more, "wrong", "1 of 168 elements are wrong; (0, 0, 1, 1) is"),  # one ulp, in bit patterns
        ("float32", lambda array: array.astype(np.float64), "form", "has dtype float64, not float32"),
        ("int8", lambda array: array.astype(np.int8), "form", "has dtype int8, not int64"),
        ("float16", lambda array: array.view(np.uint16), "form", "has dtype uint16, not float16"),
        ("float64", lambda array: array[:, :, 1:], "form", "has shape (2, 4, 5, 6), not (2, 4, 6, 6)"),
        ("float64", lambda array: array.swapaxes(0, 1), "form", "has shape (4, 2, 6, 6), not (2, 4, 6, 6)"),
        ("float64", lambda array: array.astype(object), "form", "the answer cannot be read"),
    ],
)
def test_the_smallest_fault_is_found(
    integers: Folder, dtype: str, fault: Callable[[np.ndarray], np.ndarray], status: str, message: str
) -> None:
    integers.put(dtype, fault(integers.arrays(dtype)["expected"]))
    right = {entry["dtype"]: "exact" for entry in integers.entries}
    assert integers.verdicts(status=1) == right | {dtype: status}
    output = run("check", integers.path)[1]
    [line] = [line for line in output.splitlines() if line.startswith(integers.entry(dtype)["name"])]
    assert f": {status}: " in line
    assert message.replace("168", str(integers.arrays(dtype)["expected"].size)) in line
    assert f"case '{integers.entry(dtype)['case']}'" in line
    assert output.splitlines()[-1] == f"11 vectors: 10 exact, 1 {status}: deviations"


def test_what_is_missing_counts_unless_answers_may_be_missing(integers: Folder) -> None:
    integers.answer("complex128").unlink()
    assert integers.verdicts(status=1)["complex128"] == "missing"
    assert integers.verdicts("--partial", status=0)["complex128"] == "missing"
    integers.put("float32", one_ulp(integers.arrays("float32")["expected"]))
    assert integers.verdicts("--partial", status=1)["float32"] == "wrong"


def test_an_answer_to_nothing_counts(integers: Folder) -> None:
    np.save(integers.path / "answers" / "nothing.npy", np.zeros(3))
    assert integers.verdicts("--partial", status=1)["nothing"] == "unknown"
    assert "nothing: unknown: there is no such vector" in run("check", integers.path)[1]


def alter(folder: Folder, name: str) -> None:
    arrays = folder.arrays("float32")
    arrays[name].flat[3] += 1
    np.savez(folder.path / folder.entry("float32")["file"], **arrays)


@pytest.mark.parametrize("name", ["expected", "x", "bias"])
def test_an_altered_vector_judges_nothing(integers: Folder, name: str) -> None:
    alter(integers, name)
    assert integers.verdicts(status=2)["float32"] == "altered"
    assert f"{name} in " in run("check", integers.path)[1]
    integers.put("float32", integers.arrays("float32")["expected"])
    assert integers.verdicts(status=2)["float32"] == "altered"


def test_a_bound_that_was_widened_judges_nothing(normal: Folder) -> None:
    arrays = normal.arrays("float32")
    arrays["bound"] *= 1e6
    np.savez(normal.path / normal.entry("float32")["file"], **arrays)
    normal.put("float32", arrays["expected"] + np.float32(1e-3))
    assert normal.verdicts(status=2) == {"float32": "altered"}


def test_a_vector_that_is_gone_or_broken_judges_nothing(integers: Folder) -> None:
    file = integers.path / integers.entry("int32")["file"]
    file.write_bytes(file.read_bytes()[:100])
    assert integers.verdicts(status=2)["int32"] == "altered"
    file.unlink()
    assert integers.verdicts(status=2)["int32"] == "altered"


def beyond(arrays: dict[str, np.ndarray], share: float, bound: str = "bound") -> np.ndarray:
    """The stored result, with one element so many bounds from the exact one."""
    moved = arrays["expected"].copy()
    moved.flat[11] = arrays["high"].flat[11] + share * arrays[bound].flat[11]
    return moved


def test_rounding_errors_are_held_to_the_bound_of_the_claim(normal: Folder) -> None:
    arrays = normal.arrays("float32")
    assert np.all(arrays["bound"].flat[11] > 2 * np.spacing(np.abs(arrays["expected"].flat[11])))
    normal.put("float32", beyond(arrays, 0.8))
    assert normal.verdicts(status=0) == {"float32": "within"}
    normal.put("float32", beyond(arrays, -1.2))
    assert normal.verdicts(status=1) == {"float32": "wrong"}
    assert normal.verdicts("--claim", "narrow-sums", status=1) == {"float32": "wrong"}
    assert normal.verdicts("--claim", "tf32", status=0) == {"float32": "within"}
    normal.put("float32", beyond(arrays, 1.01, "bound_tf32"))
    assert normal.verdicts("--claim", "tf32", status=1) == {"float32": "wrong"}


def test_integers_of_the_dtype_itself_may_be_claimed(integers: Folder) -> None:
    for dtype in ("int8", "uint8"):
        wrapped = integers.arrays(dtype)["expected"].astype(dtype)
        assert np.any(wrapped != integers.arrays(dtype)["expected"])
        integers.put(dtype, wrapped)
        assert integers.verdicts(status=1)[dtype] == "form"
        integers.put(dtype, one_more(wrapped.copy()))
        claimed = ("--claim", "wraps", "--partial")
        assert integers.verdicts(*claimed, status=1)[dtype] == "wrong"
        integers.put(dtype, wrapped)
        verdicts = integers.verdicts(*claimed, status=1)  # the other integers are int64 here
        assert (verdicts[dtype], verdicts["int16"], verdicts["int64"]) == ("exact", "form", "exact")


@pytest.fixture
def infinite(tmp_path: Path) -> Folder:
    """A forward convolution with an infinite weight, which meets zeros of the padding."""
    return Folder(tmp_path, "n=2 c=2 o=3 x=11 k=3 p=2 member=conv data=inf dtype=float32")


def test_infinities_and_nan_must_be_where_they_are(infinite: Folder) -> None:
    arrays = infinite.arrays("float32")
    finite, must_not = arrays["special"] == 0, arrays["special"] != 0
    assert must_not.any()
    assert infinite.verdicts(status=0) == {"float32": "exact"}
    for where, value in ((must_not, 1.0), (finite & ~arrays["padded"], np.nan)):
        answer = arrays["expected"].copy()
        answer.flat[np.flatnonzero(where)[0]] = value
        infinite.put("float32", answer)
        assert infinite.verdicts(status=1) == {"float32": "wrong"}


def test_an_infinite_weight_over_padding_may_or_may_not_spread(infinite: Folder) -> None:
    arrays = infinite.arrays("float32")
    padded = arrays["padded"] & (arrays["special"] == 0)
    assert padded.any()
    for filling in (arrays["high"], np.full(padded.shape, np.nan)):
        infinite.put("float32", np.where(padded, filling, arrays["expected"]).astype(np.float32))
        assert infinite.verdicts(status=0)["float32"] in ("exact", "within")
    infinite.put("float32", np.where(padded, arrays["high"] + 1, arrays["expected"]).astype(np.float32))
    assert infinite.verdicts(status=1) == {"float32": "wrong"}


def test_errors_of_a_lower_precision_are_found_together(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "n=3 c=40 o=9 x=90 k=3 member=conv data=normal dtype=float32 bias=none")
    arrays = folder.arrays("float32")
    answer = (arrays["high"] + 0.3 * arrays["bound"] * np.where(np.arange(88) % 2, 1, -1)).astype(np.float32)
    assert answer.size > 1000
    folder.put("float32", answer)
    assert folder.verdicts(status=1) == {"float32": "wrong"}
    assert "the errors of 2376 elements together" in run("check", folder.path)[1]


def test_checking_convolves_nothing(normal: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("this is computed, not read")

    functions = ("conv", "conv_transpose", "conv_backward", "conv_transpose_backward", "error_bound", "exact_parts")
    for name in functions:
        monkeypatch.setattr(arrconv, name, forbidden)
    monkeypatch.setattr(question, "exact_result", forbidden)
    assert normal.verdicts(status=0) == {"float32": "exact"}
    with pytest.raises(AssertionError, match="this is computed, not read"):
        run("export", normal.path.parent / "other", "--case", SMALL + " member=conv", "--no-onnx")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no vectors.json; `arrconv vectors export"),
        ("{", "cannot be read"),
        ("[]", "is of format None version None, not 'arrconv vectors' version 1"),
        ('{"format": "arrconv vectors", "version": 2}', "is of format 'arrconv vectors' version 2, not"),
    ],
)
def test_a_folder_without_vectors_ends_with_status_two(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "vectors.json").write_text(text)
    status, output = run("check", tmp_path)
    assert status == 2
    assert message in output
    assert len(output.splitlines()) == 1


def test_a_check_without_answers_or_with_an_unknown_claim_ends_with_status_two(normal: Folder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4 and no more")
    for answers, message in (
        ("empty", "holds no answers"),
        ("one.npy", "is neither a folder of .npy files nor an .npz file"),
        ("broken.npz", "is neither a folder of .npy files nor an .npz file"),
        ("none.npz", "is neither a folder of .npy files nor an .npz file"),
    ):
        status, output = run("check", normal.path, tmp_path / answers)
        assert (status, message in output) == (2, True), output
    status, output = run("check", normal.path, "--claim", "float8")
    assert (status, "--claim is one of tf32, narrow-sums, wraps, but got 'float8'" in output) == (2, True)
    shutil.rmtree(normal.path / "answers")
    status, output = run("check", normal.path)
    assert (status, "there are no answers in" in output) == (2, True)
