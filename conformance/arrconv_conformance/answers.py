"""The verdict on answers to test vectors, from what is stored with the vectors alone: nothing is convolved here."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from arrconv import Arithmetic
from arrconv_conformance.cases import Case
from arrconv_conformance.claims import Claim
from arrconv_conformance.data import INTEGERS, numpy_dtype
from arrconv_conformance.exact import Exact
from arrconv_conformance.judge import judge
from arrconv_conformance.question import Expected
from arrconv_conformance.vectors import FORMAT, MANIFEST, VERSION, digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from arrconv_conformance.data import Array

Status = Literal["exact", "within", "wrong", "form", "missing", "altered", "unknown"]

_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile)


class VectorsError(ValueError):
    """There are no vectors, or no answers, that could be judged."""


class _AlteredError(Exception):
    """A vector is not what was exported."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on the answer to one vector.

    Args:
        name: of the vector.
        status: `exact` where every element is the stored result; `within` where each is within its bound; `wrong`;
            `form` where it is no array of the shape and dtype; `missing`; `altered` where the vector is not what was
            exported, so that it can judge nothing; `unknown` where there is an answer but no vector.
        message: what there is to say about it.
        case: the case string of the vector.
        member: its member.
        dtype: its dtype.
        ratio: the largest error as a share of its bound.
    """

    name: str
    status: Status
    message: str = ""
    case: str = ""
    member: str = ""
    dtype: str = ""
    ratio: float = 0.0


def read_manifest(folder: Path) -> dict[str, Any]:
    """What `vectors.json` in a folder says.

    Raises:
        VectorsError: it is not there, or not of this version of the format.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VectorsError(f"{folder} holds no {MANIFEST}; `arrconv vectors export {folder}` writes one") from None
    except (OSError, ValueError) as error:
        raise VectorsError(f"{path} cannot be read: {error}") from error
    found = (manifest.get("format"), manifest.get("version")) if isinstance(manifest, dict) else (None, None)
    if found != (FORMAT, VERSION):
        raise VectorsError(f"{path} is of format {found[0]!r} version {found[1]!r}, not {FORMAT!r} version {VERSION}")
    result: dict[str, Any] = manifest
    return result


class Answers(Mapping[str, "Array"]):
    """Arrays by the names of vectors: the `.npy` files of a folder, or the arrays of an `.npz` file.

    Raises:
        VectorsError: there is neither, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._folder = path
        self._archive: Any = None
        if path.is_dir():
            self._names = sorted(file.stem for file in path.glob("*.npy"))
        else:
            try:
                self._archive = _load(path)
                self._names = sorted(self._archive.files)
            except (*_UNREADABLE, AttributeError) as error:  # a single array has no files
                raise VectorsError(f"{path} is neither a folder of .npy files nor an .npz file: {error}") from error
        if not self._names:
            raise VectorsError(f"{path} holds no answers")

    @classmethod
    def beside(cls, folder: Path) -> Answers:
        """Those in a folder of vectors: its subfolder `answers`, or its file `answers.npz`."""
        places = (folder / "answers", folder / "answers.npz")
        found = next((place for place in places if place.exists()), None)
        if found is None:
            raise VectorsError(f"there are no answers in {places[0]} or {places[1]}; give the place where they are")
        return cls(found)

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        array: Array = _load(self._folder / f"{name}.npy") if self._archive is None else self._archive[name]
        return array

    def __contains__(self, name: object) -> bool:
        return name in self._names  # without reading it, which may fail

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def check(folder: Path, answers: Answers, claims: Sequence[str] = ()) -> Iterator[Judged]:
    """The verdict on each vector of a folder, and on each answer that belongs to none.

    Args:
        folder: the vectors.
        answers: the answers.
        claims: those beside the dtypes' own precision that the answers are held to, where a vector has them.

    Raises:
        VectorsError: the folder holds no vectors.
        ImportError: there are vectors in bfloat16, and ml_dtypes is not installed.
    """
    entries = read_manifest(folder)["vectors"]
    for entry in entries:
        with np.errstate(all="ignore"):  # an answer may hold anything
            yield _judged(folder, entry, answers, claims)
    for name in sorted(answers.keys() - {entry["name"] for entry in entries}):
        yield Judged(name, "unknown", "there is no such vector")


def _judged(folder: Path, entry: dict[str, Any], answers: Answers, claims: Sequence[str]) -> Judged:
    name = entry["name"]
    about = Judged(name, "missing", "there is no answer", entry["case"], entry["member"], entry["dtype"])
    try:
        arrays = _stored(folder, entry)
    except _AlteredError as error:
        return replace(about, status="altered", message=str(error))
    if name not in answers:
        return about
    try:
        answer = answers[name]
    except _UNREADABLE as error:
        return replace(about, status="form", message=f"the answer cannot be read: {error}")
    claimed = entry["claims"][next((claim for claim in claims if claim in entry["claims"]), "own")]
    return _verdict(about, _of_dtype(answer, entry["dtype"]), arrays, entry, claimed)


def _stored(folder: Path, entry: dict[str, Any]) -> dict[str, Array]:
    """The arrays of a vector, which are those that were exported."""
    path = folder / entry["file"]
    arrays = {}
    try:
        with _load(path) as archive:
            for name, about in entry["arrays"].items():
                array = archive[name]
                if list(array.shape) != about["shape"] or digest(array) != about["sha256"]:
                    raise _AlteredError(f"{name} in {path} is not what was exported: its shape or digest is another")
                arrays[name] = _of_dtype(array, about["dtype"])
    except (*_UNREADABLE, KeyError) as error:
        raise _AlteredError(f"{path} cannot be read: {error}") from error
    return arrays


def _load(path: Path) -> Any:
    """What NumPy reads from a file, which is closed again even where it is broken."""
    return np.load(BytesIO(path.read_bytes()), allow_pickle=False)


def _of_dtype(array: Array, dtype: str) -> Array:
    """An array in this machine's byte order; bit patterns that stand for bfloat16 become that."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if dtype == "bfloat16" and array.dtype.str in (np.dtype(np.uint16).str, "|V2"):
        return np.ascontiguousarray(array).view(numpy_dtype(dtype)).reshape(array.shape)
    return array


def _verdict(
    about: Judged, answer: Array, arrays: dict[str, Array], entry: dict[str, Any], claimed: dict[str, Any]
) -> Judged:
    arithmetic = Arithmetic(**claimed["arithmetic"]) if "arithmetic" in claimed else None
    claim = Claim(arithmetic, tuple(claimed["outputs"]))
    expected = _expected(arrays, claimed, entry)
    verdict = judge(answer, expected, claim, str(Case.parse(entry["case"]).data), bias="bias" in arrays)
    if verdict.outcome != "agrees":
        status: Status = "form" if verdict.kind == "form" else "wrong"
        return replace(about, status=status, message=verdict.message, ratio=verdict.ratio)
    same = np.array_equal(_wide(answer), _wide(arrays["expected"].astype(answer.dtype)), equal_nan=True)
    return replace(about, status="exact" if same else "within", message="", ratio=verdict.ratio)


def _expected(arrays: dict[str, Array], claimed: dict[str, Any], entry: dict[str, Any]) -> Expected:
    """What the stored arrays say; those that were left out follow from the rest, as the format says."""
    result = arrays["expected"]
    if entry["dtype"] in INTEGERS:
        return Expected(Exact(result, np.zeros_like(result)), None, None, entry["terms"])
    high = arrays.get("high", _wide(result))
    exact = Exact(high, arrays.get("low", np.zeros_like(high)), arrays.get("special"), arrays.get("padded"))
    nowhere = np.zeros(result.shape)
    allowed = nowhere if claimed["bound"] is None else arrays[claimed["bound"]]
    return Expected(exact, allowed, arrays.get("magnitude", nowhere), entry["terms"])


def _wide(array: Array) -> Array:
    """In a format that holds every number of a floating-point or complex array, and that NumPy knows."""
    if array.dtype.kind in "iu":
        return array
    wide: Array = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    return wide
