"""The `arrconv vectors` commands, without the parsing of their options."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from arrconv import ArrconvError
from arrconv_conformance import generate
from arrconv_conformance.answers import Answers, Judged, VectorsError, read_manifest
from arrconv_conformance.answers import check as judged
from arrconv_conformance.cases import Case
from arrconv_conformance.command import AGREES, DEVIATES, NOT_RUN
from arrconv_conformance.data import DTYPES, INTEGERS, is_available
from arrconv_conformance.exact import shape_of
from arrconv_conformance.vectors import (
    CLAIMS,
    MANIFEST,
    VECTOR_MEMBERS,
    Disagreement,
    Vector,
    has_oracle,
    write,
    write_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from arrconv_conformance.answers import Status
    from arrconv_conformance.selection import Selection

Thing = TypeVar("Thing")

INSTALL = "pip install 'arrconv[vectors]'"

HEADINGS: dict[Status, str] = {
    "exact": "exact",
    "within": "within bound",
    "wrong": "WRONG",
    "form": "shape or dtype",
    "missing": "missing",
    "altered": "altered",
}
"""The columns of the table; an unknown answer belongs to no member, and so to no row."""
MOST_LINES = 20

_EVERY = {"": 1, "input": 3, "weight": 3, "bias": 6}
"""Of how many geometries one has the gradient by each operand in `quick`: the results alone have no name."""
_LARGE = 2200
"""The number of elements of x, w and y together beyond which a geometry is large."""


def questions_of(selection: Selection) -> list[Case]:
    """The cases of which vectors are made, each once.

    Of a single case all that it stands for; in `full` every member of every geometry, in exact integers and for a
    sample of the rest; else the members in turn, each with that dtype and data set which it had least often, large
    geometries in exact integers, which take the least space.
    """
    if selection.only is not None:
        return [case for case in selection if case.member in VECTOR_MEMBERS]
    had: Counter[tuple[str | None, ...]] = Counter()
    chosen: list[Case] = []
    for number, geometry in enumerate(filter(has_oracle, selection.geometries())):
        for member, checks in _checks_by_member(geometry).items():
            if selection.cases == "full":
                chosen += checks
            elif _is_turn(number, member):
                some = checks[:1] if _is_large(geometry) else checks
                chosen.append(min(some, key=lambda check: [had[part] for part in _parts(check)]))
                had.update(_parts(chosen[-1]))
    return list(dict.fromkeys(chosen))


def _checks_by_member(geometry: Case) -> dict[str, list[Case]]:
    """The checks of a geometry that one result answers, without what concerns memory and sequences of calls."""
    found: dict[str, dict[Case, None]] = {}
    for check in generate.checks_of(geometry, extra=2):
        if check.member in VECTOR_MEMBERS and check.wrong is None:
            found.setdefault(check.member, {})[replace(check, layout=(), before=None)] = None
    return {member: list(checks) for member, checks in found.items()}


def _parts(check: Case) -> list[tuple[str | None, ...]]:
    """What the vectors of a member should have equally often."""
    return [(check.member, check.dtype, check.data), (check.member, check.dtype), (check.member, check.data)]


def _is_large(case: Case) -> bool:
    shapes = (shape_of(case.geometry, role) for role in ("x", "w", "y"))
    return sum(math.prod(shape) for shape in shapes) > _LARGE


def _is_turn(number: int, member: str) -> bool:
    need = "".join(VECTOR_MEMBERS[member].needs)
    return (number + (need == "weight")) % _EVERY[need] == 0


def _console() -> Console:
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console.width = max(console.width, 140)  # a file or a pipe is as wide as it needs to be
    return console


def export(folder: Path, selection: Selection, *, onnx: bool | None = None) -> int:
    """Write test vectors into a new folder, say what was written, and return the exit status: 0, or 2 for failure.

    Args:
        folder: where to write them.
        selection: what to export.
        onnx: whether to write directories for ONNX; None where the `onnx` package is there.
    """
    console = _console()
    try:
        if onnx and find_spec("onnx") is None:
            raise ValueError(f"the directories for ONNX need the onnx package: {INSTALL}")
        vectors = _vectors(folder, selection)
        # All or nothing: what is not complete never gets the folder's name.
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as place:
            made = Path(place) / folder.name
            made.mkdir()
            lines = _write_all(made, vectors, selection, onnx, console)
            if folder.exists():
                folder.rmdir()  # it is empty
            made.replace(folder)
    except (ArrconvError, Disagreement, OSError, ValueError) as error:
        return _not_run(error, console)
    console.print(f"{folder}: {lines[0]}", markup=False, highlight=False)
    console.print("\n".join(lines[1:]), markup=False, highlight=False)
    return AGREES


def _vectors(folder: Path, selection: Selection) -> list[Vector]:
    """The vectors that are asked for, once it is certain that they can be written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already, and is not an empty folder")
    questions = [case for case in questions_of(selection) if is_available(str(case.dtype))]
    if not questions:
        raise ValueError(f"no vector can be made of {str(selection)!r}; the members are {', '.join(VECTOR_MEMBERS)}")
    return [
        Vector(f"{number:05d}-{case.member}-{case.dtype}-{case.data}", case) for number, case in enumerate(questions)
    ]


def _write_all(
    folder: Path, vectors: Sequence[Vector], selection: Selection, onnx: bool | None, console: Console
) -> list[str]:
    """Write everything into a folder, and return what there is to say about it."""
    entries = [write(vector, folder) for vector in _watched(vectors, "vectors", console)]
    checksum = write_manifest(folder, str(selection), entries)
    left_out = []
    directories = 0
    if not is_available("bfloat16"):
        left_out.append(f"left out: vectors in bfloat16, which need ml_dtypes: {INSTALL}")
    if onnx is not False and find_spec("onnx") is None:
        left_out.append(f"left out: directories for ONNX, which need the onnx package: {INSTALL}")
    elif onnx is not False:
        directories = _write_onnx(folder, selection, console)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    counts = f"{len(entries)} vectors, {directories} directories for ONNX, {size / 1e6:.1f} MB"
    return [counts, *left_out, f"SHA-256 of {MANIFEST}: {checksum}"]


def _write_onnx(folder: Path, selection: Selection, console: Console) -> int:
    """Write the directories for ONNX, and return how many they are."""
    from arrconv_conformance.onnx_vectors import AUTO_PAD, FOLDER, onnx_vectors

    cases = selection.geometries()
    if selection.only is None and selection.cases == "quick":
        cases = cases[::3]
    if selection.only is None:
        cases += [Case.parse(text) for text in AUTO_PAD]
    count = 0
    for vector in _watched(onnx_vectors(cases), "for ONNX", console):
        vector.write(folder / FOLDER)
        count += 1
    return count


def _watched(things: Iterable[Thing], words: str, console: Console, total: int | None = None) -> Iterable[Thing]:
    """The same things, with a bar at a terminal that shows how many of them are done."""
    return track(things, words, total, console=console, transient=True, disable=not console.is_terminal)


def _not_run(error: Exception, console: Console) -> int:
    console.print(f"vectors: {error}", markup=False, highlight=False)
    return NOT_RUN


def check(
    folder: Path,
    answers: Path | None = None,
    *,
    claims: Sequence[str] = (),
    partial: bool = False,
    json_file: Path | None = None,
) -> int:
    """Judge the answers to the vectors of a folder, print the verdict, and return the exit status.

    Args:
        folder: the vectors.
        answers: a folder of .npy files or an .npz file; None for `answers` or `answers.npz` in the folder.
        claims: those beside the dtypes' own precision that the answers are held to.
        partial: whether answers may be missing.
        json_file: where to write every verdict as JSON.

    Returns:
        0 where every answer agrees, 1 where one does not, 2 where nothing could be judged or a vector was altered.
    """
    console = _console()
    try:
        if unknown := [claim for claim in claims if claim not in CLAIMS]:
            raise VectorsError(f"--claim is one of {', '.join(CLAIMS)}, but got {unknown[0]!r}")
        total = len(read_manifest(folder)["vectors"])
        given = Answers.beside(folder) if answers is None else Answers(answers)
        found = list(_watched(judged(folder, given, claims), "answers", console, total))
        if json_file is not None:
            json_file.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", encoding="utf-8")
    except (VectorsError, OSError, ImportError) as error:
        return _not_run(error, console)
    console.print(_table(found))
    for line in _lines(found, partial=partial):
        console.print(line, markup=False, highlight=False)
    counts = Counter(one.status for one in found)
    status = _status(counts, partial=partial)
    words = {AGREES: "agreement", DEVIATES: "deviations", NOT_RUN: "no verdict"}
    said = ", ".join(f"{counts[name]} {name}" for name in (*HEADINGS, "unknown") if counts[name])
    console.print(f"{total} vectors: {said}: {words[status]}", highlight=False)
    return status


def _status(counts: Counter[Status], *, partial: bool) -> int:
    if counts["altered"] or not sum(counts[name] for name in ("exact", "within", "wrong", "form")):
        return NOT_RUN
    failed = counts["wrong"] + counts["form"] + counts["unknown"] + (0 if partial else counts["missing"])
    return DEVIATES if failed else AGREES


def _table(found: Sequence[Judged]) -> Table:
    """A row for each member: how its answers were judged, and the largest error in each dtype."""
    seen = {one.status for one in found}
    shown = [name for name in HEADINGS if name in seen or name in ("exact", "within", "wrong")]
    answered = [one for one in found if one.status in ("exact", "within", "wrong")]
    dtypes = [dtype for dtype in DTYPES if dtype not in INTEGERS and any(one.dtype == dtype for one in answered)]
    result = Table()
    result.add_column("member", no_wrap=True)
    for heading in [*(HEADINGS[name] for name in shown), *dtypes]:
        result.add_column(heading, justify="right")
    for member in VECTOR_MEMBERS:
        counts = Counter(one.status for one in found if one.member == member)
        ratios = {
            dtype: [one.ratio for one in answered if (one.member, one.dtype) == (member, dtype)] for dtype in dtypes
        }
        if counts:
            result.add_row(
                member,
                *(Text(str(counts[name] or ""), style=_style(name)) for name in shown),
                *(f"{max(shares):.2f}" if shares else "" for shares in ratios.values()),
            )
    result.caption = "for each dtype the largest error as a share of its bound"
    result.caption_justify = "left"
    return result


def _style(status: Status) -> str:
    return {"exact": "green", "within": "green", "missing": "dim"}.get(status, "red")


def _lines(found: Sequence[Judged], *, partial: bool) -> Iterator[str]:
    """A line for each answer that does not agree, of each kind so many."""
    for status in (*HEADINGS, "unknown"):
        some = [one for one in found if one.status == status]
        if status in ("exact", "within") or (partial and status == "missing"):
            continue
        for one in some[:MOST_LINES]:
            yield f"{one.name}: {status}: {one.message}" + (f"; case '{one.case}'" if one.case else "")
        if len(some) > MOST_LINES:
            yield f"{len(some) - MOST_LINES} more are {status}; --json has all"
