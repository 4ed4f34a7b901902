"""What came of runs as one page of HTML that needs nothing else: counts, matrices, failing cases, explanations, errors.

The page is read without JavaScript; what little there is of it copies text, and opens what a link leads to where a
browser does not do so by itself.
"""

from __future__ import annotations

import platform
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import arrconv
from arrconv_conformance.data import DTYPES
from arrconv_conformance.features import FEATURES, features_of
from arrconv_conformance.grouping import command
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.plots import COLOURS, HEIGHT, WIDTH, Plot, Shape, legend, plots
from arrconv_conformance.record import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arrconv_conformance.cases import Case
    from arrconv_conformance.expectations import Expectation
    from arrconv_conformance.grouping import Group, Groups
    from arrconv_conformance.record import Failure, Run

MOST_LISTED = 100
"""How many of the failures that were not reduced are listed."""

ENDS = {"passed": "agrees", "explained": "explained", "failed": "failed", "not offered": "unsupported"}
"""How checks end, in the words of the page, and the counts of a tally."""


def page(runs: list[Run], groups: dict[str, Groups], asked: str) -> str:
    """The page, as text.

    Args:
        runs: the runs.
        groups: the failures of each, by the name under which it was asked for.
        asked: which cases were asked.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": _breakable, "number": "{:,}".format, "web": _web, "share": _share}
    slugs, shapes = _slugs(run.name for run in runs), legend(runs)
    sections = [_section(run, slug, groups[run.asked], shapes) for run, slug in zip(runs, slugs, strict=True)]
    return environment.get_template("page.html.j2").render(
        sections=sections,
        members=list(MEMBERS),
        shapes=shapes,
        drawing=(WIDTH, HEIGHT),
        colours=COLOURS,
        about=_about(asked),
        checks=sum(run.checks for run in runs),
        failed=[run.name for run in runs if run.failures],
    )


def _about(asked: str) -> list[str]:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    system = f"{platform.system()} {platform.machine()}"
    return [f"cases: {asked}", f"arrconv {arrconv.__version__}", f"Python {platform.python_version()}", system, today]


@dataclass(frozen=True, slots=True)
class Note:
    """A failing case or an explanation, as a cell or a list refers to it.

    Args:
        label: what it is called for short.
        target: the place on the page.
        text: what it says.
        count: how many checks it stands for there.
    """

    label: str
    target: str
    text: str
    count: int


@dataclass(frozen=True, slots=True)
class Cell:
    """How the checks of a row and a column ended, and why.

    Args:
        place: where the page lists everything about it.
        title: the row and the column.
        counts: how many checks ended how.
        failing: the failing cases, those that stand for most first.
        reasons: the explanations, in the same order.
        ratio: the largest error as a share of its bound.
    """

    place: str
    title: str
    counts: Counter[str]
    failing: list[Note]
    reasons: list[Note]
    ratio: float = 0.0

    @property
    def state(self) -> str:
        """The worst that happened, and `empty` where nothing was asked."""
        return next((end for end in ("failed", "explained", "passed", "not offered") if self.counts[end]), "empty")

    @property
    def is_listed(self) -> bool:
        """Whether there is more to say than one link can."""
        return len(self.failing) > 1 or len(self.reasons) > 1


@dataclass(frozen=True, slots=True)
class Row:
    """A member, and its cells."""

    member: str
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A table of cells."""

    columns: list[str]
    rows: list[Row]

    @property
    def listed(self) -> list[Cell]:
        """The cells that have more to say than one link can."""
        return [cell for row in self.rows for cell in row.cells if cell.is_listed]


@dataclass(frozen=True, slots=True)
class FailingCase:
    """A group of failures with one cause, where the page tells it, and the command that shows it again."""

    label: str
    place: str
    group: Group
    command: str

    @property
    def cases(self) -> list[Case]:
        """The cases of its failures."""
        return [failure.case for failure in self.group.failures or (self.group.first,)]

    @property
    def seen(self) -> dict[str, list[tuple[str, int]]]:
        """How many of the failures are of which member, dtype, data set and feature."""
        found = {
            "members": Counter(str(case.member) for case in self.cases),
            "dtypes": Counter(str(case.dtype) for case in self.cases),
            "data": Counter(str(case.data) for case in self.cases),
            "features": Counter(feature for case in self.cases for feature in features_of(case)),
        }
        return {what: counts.most_common() for what, counts in found.items()}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A known failure, where the page tells it, and how many checks ended in it."""

    label: str
    place: str
    expectation: Expectation
    count: int


@dataclass(frozen=True, slots=True)
class Section:
    """What the page says about one framework.

    Args:
        run: what it did.
        slug: what the names of all places in the section begin with.
        total: how its checks ended.
        overview: for each member how its checks ended; links lead to the lists as a whole.
        features: the members by feature.
        dtypes: the members by dtype, of those dtypes that were asked for.
        cases: the failing cases, those that stand for most failures first.
        rest: the failures that were not reduced.
        explanations: what explained something, and what was expected in vain.
        plots: the errors.
    """

    run: Run
    slug: str
    total: Counter[str]
    overview: list[Cell]
    features: Matrix
    dtypes: Matrix
    cases: list[FailingCase]
    rest: list[Failure]
    explanations: list[Explanation]
    plots: list[Plot]

    @property
    def rest_listed(self) -> list[str]:
        """The commands that show the first of the failures that were not reduced, each with what comes of it."""
        return [f"{command(self.run, one.case)}\n    {one.verdict.message}" for one in self.rest[:MOST_LISTED]]


def _section(run: Run, slug: str, groups: Groups, shapes: dict[str, Shape]) -> Section:
    cases = [
        FailingCase(f"F{number}", f"{slug}--f{number}", group, command(run, group.smallest.case))
        for number, group in enumerate(sorted(groups.groups, key=lambda group: -group.count), start=1)
    ]
    reduced = {failure for group in groups.groups for failure in group.failures or (group.first,)}
    rest = [failure for failure in run.failures if failure not in reduced]
    explanations = [
        Explanation(f"E{number}", f"{slug}--e{number}", known, run.explained[known.reason])
        for number, known in enumerate(sorted(run.expectations, key=lambda one: -run.explained[one.reason]), start=1)
    ]
    notes = _Notes(_failing(slug, cases, rest), _reasons(run, explanations))
    asked = {dtype for _, dtype in run.members}
    dtypes = [dtype for dtype in DTYPES if dtype in asked]
    return Section(
        run,
        slug,
        _counts(run.members.values()),
        _overview(run, slug),
        _matrix(slug, list(FEATURES), run.features, notes),
        _matrix(slug, dtypes, run.members, notes),
        cases,
        rest,
        explanations,
        plots(run, shapes),
    )


@dataclass(frozen=True, slots=True)
class _Notes:
    """The failing cases and the explanations of each member and column."""

    failing: dict[tuple[str, str], list[Note]]
    reasons: dict[tuple[str, str], list[Note]]


def _failing(slug: str, cases: list[FailingCase], rest: list[Failure]) -> dict[tuple[str, str], list[Note]]:
    """The failing cases of each member and column, and behind them what was not reduced."""
    found: dict[tuple[str, str], list[Note]] = {}
    for one in cases:
        message = one.group.smallest.verdict.message
        for key, count in _places(one.cases).items():
            found.setdefault(key, []).append(Note(one.label, one.place, message, count))
    for notes in found.values():
        notes.sort(key=lambda note: -note.count)
    for key, count in _places(failure.case for failure in rest).items():
        found.setdefault(key, []).append(Note("rest", f"{slug}--rest", "failures that were not reduced", count))
    return found


def _reasons(run: Run, explanations: list[Explanation]) -> dict[tuple[str, str], list[Note]]:
    known = {one.expectation.reason: one for one in explanations}
    return {
        key: [Note(known[reason].label, known[reason].place, reason, count) for reason, count in some.most_common()]
        for key, some in run.reasons.items()
    }


def _places(cases: Iterable[Case]) -> Counter[tuple[str, str]]:
    """How many cases there are of each member and dtype, and of each member and feature."""
    return Counter((str(case.member), column) for case in cases for column in (str(case.dtype), *features_of(case)))


def _matrix(slug: str, columns: list[str], tallies: dict[tuple[str, str], Tally], notes: _Notes) -> Matrix:
    def cell(member: str, column: str) -> Cell:
        key = (member, column)
        tally = tallies.get(key, Tally())
        return Cell(
            f"{slug}--{_slug(member)}--{_slug(column)}",
            f"{member} × {column}",
            _counts([tally]),
            notes.failing.get(key, []),
            notes.reasons.get(key, []),
            tally.ratio,
        )

    return Matrix(columns, [Row(member, [cell(member, column) for column in columns]) for member in MEMBERS])


def _overview(run: Run, slug: str) -> list[Cell]:
    cells = []
    for member in MEMBERS:
        counts = _counts(tally for key, tally in run.members.items() if key[0] == member)
        failing = [Note("", f"{slug}--failing", "the failing cases", counts["failed"])]
        reasons = [Note("", f"{slug}--explained", "the explanations", counts["explained"])]
        cells.append(Cell("", f"{run.name} × {member}", counts, failing, reasons))
    return cells


def _counts(tallies: Iterable[Tally]) -> Counter[str]:
    some = list(tallies)
    return Counter({end: sum(getattr(tally, name) for tally in some) for end, name in ENDS.items()})


def _slugs(names: Iterable[str]) -> list[str]:
    """A place on the page for each framework, all of them different."""
    found: list[str] = []
    for name in names:
        slug = _slug(name) or "framework"
        while slug in ("overview", *found):
            slug += "-again"
        found.append(slug)
    return found


def _slug(text: str) -> str:
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")


def _breakable(text: str) -> Markup:
    """With places where a long name may be broken."""
    return escape(text).replace("_", Markup("_<wbr>"))


def _web(link: str | None) -> str | None:
    """A link that leads to a page of the web, and to nothing else."""
    return link if link is not None and link.startswith(("https://", "http://")) else None


def _share(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio >= 0.001 else "< 0.001"
