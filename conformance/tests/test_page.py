"""The page: what stands on it, that every link leads somewhere, and that a browser shows it as it is meant."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import browser as chromium
import numpy as np
import pytest
from arrconv_conformance import Case, Unsupported, run
from arrconv_conformance.adapters.own import OwnAdapter
from arrconv_conformance.expectations import Expectation
from arrconv_conformance.features import FEATURES, features_of
from arrconv_conformance.grouping import Groups, grouped, unreduced
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.record import Run
from arrconv_conformance.sessions import InProcess
from html_tree import parsed
from typer.testing import CliRunner

from arrconv.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from xml.etree.ElementTree import Element

pytest.importorskip("jinja2", reason="the page is made by Jinja2")
from arrconv_conformance.page import page

HOSTILE = "<script>alert('no')</script> & \"so on\""
NAME = "broken & <co>"
REASON, LINK = "padding is <i>known</i> to raise", "https://example.org/issues/7?a=1&b=2"
SUSPECT = "a whole axis of padding is worse"
FOUND = [
    Expectation("refuses", "known to raise", REASON, link=LINK),
    Expectation("refuses", "much worse", SUSPECT, link="javascript:alert(1)"),
    Expectation("hangs", ".", "it hangs on Sundays"),
]
CASES = [
    "n=2 c=3 o=4 x=7 k=2 dtype=float32 data=normal",
    "n=2 c=4 o=6 x=7,5 k=3,2 s=2,1 g=2 dtype=float32 data=integers",
    "n=1 c=3 o=2 x=8 k=3 d=2 dtype=float32 data=integers",
    "n=2 c=3 o=5 x=6 k=2 p=1 dtype=float64 data=integers",
    "n=3 c=2 o=1 x=4 k=2 p=3 dtype=float64 data=integers",
]


class Broken(OwnAdapter):
    """Wrong with a stride, refuses dilation and some padding, and has no transposed convolution of one sort."""

    def conv(self, x: Any, w: Any, bias: Any, **options: Any) -> Any:
        if max(options["stride"]) > 1:
            return -super().conv(x, w, bias, **options)
        if max(options["dilation"]) > 1:
            raise ValueError(HOSTILE)
        if options["padding"][0][0] == 1:
            raise RuntimeError("known to raise")
        if options["padding"][0][0] == 3:
            raise RuntimeError("much worse")
        return super().conv(x, w, bias, **options)

    def conv_transpose(self, y: Any, w: Any, bias: Any, **options: Any) -> Any:
        raise Unsupported("not yet")

    conv_transpose_backward = None  # type: ignore[assignment]


@dataclass
class Made:
    """A page of two frameworks, and how their checks ended, counted one by one."""

    runs: list[Run]
    groups: dict[str, Groups]
    ends: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)

    @property
    def text(self) -> str:
        return page(self.runs, self.groups, "quick")


@pytest.fixture(scope="module")
def made() -> Made:
    adapters = {
        "broken.py": Broken(NAME, "1.0", np.asarray, np.asarray),
        "right": OwnAdapter("right", "2.0", np.asarray, np.asarray),
    }
    result = Made([], {})

    def on_check(run: Run, case: Case, verdict: Any) -> None:
        known = any(word in verdict.message for word in ("known to raise", "much worse"))
        end = {"agrees": "passed", "unsupported": "not offered"}.get(
            verdict.outcome, "explained" if known else "failed"
        )
        for feature in features_of(case):
            result.ends[run.asked, str(case.member), feature, end] += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arrconv_conformance.runner.expectations_for", lambda name: {NAME: FOUND}.get(name, []))
        result.runs = run(map(Case.parse, CASES), adapters, on_check)
    result.groups = {one.asked: grouped(one.failures, InProcess(adapters[one.asked]), one.asked) for one in result.runs}
    return result


def words(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def by_id(root: Element, place: str) -> Element:
    [found] = [element for element in root.iter() if element.get("id") == place]
    return found


def has_class(element: Element, name: str) -> bool:
    return name in element.get("class", "").split()


def matrix(root: Element, slug: str, kind: str = "features") -> dict[tuple[str, str], Element]:
    """The cells of a table by row and column."""
    [table] = [table for table in by_id(root, slug).iter("table") if has_class(table, kind)]
    head, *rows = table.iter("tr")
    columns = [words(cell) for cell in head][1:]
    return {(words(row[0]), column): cell for row in rows for column, cell in zip(columns, list(row)[1:], strict=True)}


def counts(cell: Element) -> dict[str, int]:
    found = [words(element).rpartition(" ") for element in cell if has_class(element, "n")]
    return {end: int(number.replace(",", "")) for end, _, number in found if number.replace(",", "").isdigit()}


def links(element: Element, name: str = "n") -> list[str]:
    return [link.get("href", "") for link in element.iter("a") if has_class(link, name)]


@pytest.mark.parametrize("text", ["<p><b>a</p></b>", "<p>a", "a</p>", "<p/>"])
def test_the_parser_of_these_tests_sees_what_is_not_closed(text: str) -> None:
    with pytest.raises(AssertionError, match="close"):
        parsed(f"<html>{text}</html>" if text != "<p>a" else text)


def test_ids_are_unique_and_every_internal_link_has_its_target(made: Made) -> None:
    root = parsed(made.text)
    ids = Counter(element.get("id") for element in root.iter() if element.get("id"))
    assert [place for place, number in ids.items() if number > 1] == []
    targets = {link.get("href", "")[1:] for link in root.iter("a") if link.get("href", "").startswith("#")}
    assert len(targets) > 5
    assert targets <= set(ids)


def test_frameworks_of_one_name_have_places_of_their_own() -> None:
    runs = [Run(asked, name, "1", []) for asked, name in (("a", "My lib"), ("b", "my-lib"), ("c", "Overview"))]
    root = parsed(page(runs, {one.asked: Groups([]) for one in runs}, "quick"))
    places = [element.get("id") for element in root.iter("section")]
    assert places[0] == "overview"
    assert len(places) == len(set(places)) == 4


def test_nothing_is_loaded_from_anywhere(made: Made) -> None:
    text = made.text
    root = parsed(text)
    assert [e.tag for e in root.iter() if {"src", "srcset", "data", "action"} & set(e.keys()) or e.tag == "link"] == []
    assert "url(" not in text
    assert "@import" not in text
    [policy] = [meta for meta in root.iter("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy.get("content", "")


def test_what_frameworks_say_is_text_and_no_markup(made: Made) -> None:
    root = parsed(made.text)
    assert len(list(root.iter("script"))) == 1
    shown = words(root)
    for text in (HOSTILE, NAME, REASON):
        assert text in shown
    assert [link.get("href") for link in root.iter("a") if "javascript" in link.get("href", "")] == []


def test_the_matrix_has_every_member_and_feature_with_the_counts_of_its_checks(made: Made) -> None:
    root = parsed(made.text)
    for asked, slug in (("broken.py", "broken-co"), ("right", "right")):
        cells = matrix(root, slug)
        assert list(cells) == [(member, feature) for member in MEMBERS for feature in FEATURES]
        for (member, feature), cell in cells.items():
            ends = ("passed", "explained", "failed", "not offered")
            wanted = {end: number for end in ends if (number := made.ends[asked, member, feature, end])}
            assert counts(cell) == wanted
            state = next((e for e in ("failed", "explained", "passed", "not offered") if e in wanted), "empty")
            assert has_class(cell, state.replace(" ", "-"))
    for end in ("passed", "explained", "failed", "not offered"):
        assert any(key[0] == "broken.py" and key[3] == end for key in made.ends)


def test_the_table_of_dtypes_has_the_largest_error_as_a_share_of_its_bound(made: Made) -> None:
    cells = matrix(parsed(made.text), "right", "dtypes")
    assert {column for _, column in cells} == {"float32", "float64"}
    largest = made.runs[1].members["conv", "float32"].ratio
    assert 0.001 < largest < 1
    assert words(cells["conv", "float32"]).endswith(f" max {largest:.3f}")
    assert "max" not in words(cells["conv", "float64"])  # integers are exact


def test_a_failing_cell_leads_to_its_case_with_string_message_script_and_command(made: Made) -> None:
    root = parsed(made.text)
    [deviating] = [one for one in made.groups["broken.py"].groups if one.smallest.case.geometry.axes[0].stride > 1]
    for table, column in (("features", "stride"), ("dtypes", "float32")):
        cell = matrix(root, "broken-co", table)["conv", column]
        bodies = [by_id(root, href[1:]) for href in {link.get("href", "") for link in cell.iter("a")}]
        [body] = [body for body in bodies if str(deviating.smallest.case) in words(body)]
        assert deviating.smallest.verdict.message in words(body)
        assert f"arrconv conform broken.py --case '{deviating.smallest.case}'" in words(body)
        assert "".join(body.itertext()).count(deviating.script) == 1
        assert deviating.script
    assert any(body is inner for details in root.iter("details") for inner in details.iter())


def test_a_cell_with_several_failing_cases_leads_to_each(made: Made) -> None:
    root = parsed(made.text)
    cell = matrix(root, "broken-co", "dtypes")["conv", "float32"]
    found = {words(by_id(root, link.get("href", "")[1:])) for link in cell.iter("a")}
    assert any("elements are wrong" in text for text in found)
    assert any(HOSTILE in text for text in found)
    assert any(has_class(e, "index") for e in by_id(root, "broken-co").iter("details"))


def test_an_explained_cell_leads_to_the_reason_and_its_source(made: Made) -> None:
    root = parsed(made.text)
    [href] = links(matrix(root, "broken-co", "dtypes")["conv", "float64"], "explained")
    entry = by_id(root, href[1:])  # two reasons: a list of both
    reasons = [by_id(root, link.get("href", "")[1:]) for link in entry.iter("a")]
    assert [any(text in words(one) for one in reasons) for text in (REASON, SUSPECT)] == [True, True]
    assert LINK in [link.get("href") for one in reasons for link in one.iter("a")]
    assert "it hangs on Sundays" in words(by_id(root, "broken-co"))


def test_several_frameworks_have_an_overview_and_one_has_none(made: Made) -> None:
    cells = matrix(parsed(made.text), "overview", "overview")
    assert {member for _, member in cells} == set(MEMBERS)
    [broken] = [cell for (framework, member), cell in cells.items() if NAME in framework and member == "conv"]
    wanted = sum(tally.failed for (member, _), tally in made.runs[0].members.items() if member == "conv")
    assert counts(broken)["failed"] == wanted > 1
    assert links(broken, "failed") == ["#broken-co--failing"]
    alone = parsed(page(made.runs[1:], made.groups, "quick"))
    assert "overview" not in [element.get("id") for element in alone.iter("section")]


def test_failures_that_were_not_reduced_are_listed(made: Made) -> None:
    failures = made.runs[0].failures
    for groups, left in ((unreduced(failures, 1), failures[1:]), (Groups([], len(failures)), failures)):
        root = parsed(page(made.runs[:1], {"broken.py": groups}, "quick"))
        rest = by_id(root, "broken-co--rest")
        assert all(f"--case '{one.case}'" in words(rest) for one in left)
        assert len(left) == words(rest).count("arrconv conform")
        member, feature = str(left[-1].case.member), features_of(left[-1].case)[0]
        assert "#broken-co--rest" in [link.get("href") for link in matrix(root, "broken-co")[member, feature].iter("a")]


def test_the_page_draws_every_mark_with_its_words() -> None:
    ratios = {("float32", "normal", 4): 0.1, ("float32", "wide", 32): 1e-30, ("float16", "wide", 1): 1.0}
    run = Run("a", "a", "1", [], ratios=ratios)
    root = parsed(page([run], {"a": Groups([])}, "some of full"))
    assert "cases: some of full" in words(root)
    figures = list(root.iter("figure"))
    assert [len([e for e in figure.iter("path") if has_class(e, "mark")]) for figure in figures] == [2, 1]
    assert "normal, sums of 3 to 4: 0.1 of the bound" in [words(title) for title in figures[0].iter("title")]


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    result = CliRunner().invoke(app, ["conform", "numpy", "--case", CASES[0], "--html", str(file)])
    assert result.exit_code == 0, result.output
    cells = matrix(parsed(file.read_text(encoding="utf-8")), "numpy")
    assert counts(cells["conv", "1-D"]) == {"passed": 1}


def test_without_jinja_the_command_says_what_to_install_and_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "arrconv_conformance.page")
    file = tmp_path / "report.html"
    result = CliRunner().invoke(app, ["conform", "numpy", "--case", CASES[0], "--html", str(file)])
    assert result.exit_code == 2
    assert result.output == "conform: --html needs Jinja2: pip install 'arrconv[report]', or jinja2 alone\n"
    assert not file.exists()


needs_browser = pytest.mark.skipif(chromium.PROGRAM is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def file(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(made.text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def started() -> Iterator[chromium.Browser]:
    with chromium.browser() as browser:
        yield browser


@pytest.fixture
def shown(started: chromium.Browser) -> chromium.Browser:
    """The browser as it is for every test, whichever came before in its process."""
    started.call("Emulation.setScriptExecutionDisabled", value=False)
    started.resize(1280, 800)
    return started


CELL = "document.querySelector('#broken-co .features td.failed a.failed').closest('td')"
CASE = "document.querySelector(':target')"
BUTTON = f"{CASE}.querySelector('button')"
WIDTH = "document.documentElement.scrollWidth"


@needs_browser
@pytest.mark.parametrize("scripts", [False, True])
def test_a_click_on_a_failing_cell_opens_its_case(
    made: Made, shown: chromium.Browser, file: Path, scripts: bool
) -> None:
    shown.resize(1280, 800)
    shown.call("Emulation.setScriptExecutionDisabled", value=not scripts)
    shown.open(file)
    assert shown.evaluate("document.querySelectorAll('#broken-co .features tbody tr').length") == len(MEMBERS)
    assert shown.evaluate("document.querySelectorAll('details[open]').length") == 0
    shown.click(CELL)
    shown.wait_for("Page.navigatedWithinDocument")
    assert shown.evaluate(f"{CELL}.querySelector('a').hash") == shown.evaluate("location.hash")
    shown.until(f"{CASE}.closest('details').open")
    smallest = [str(group.smallest.case) for group in made.groups["broken.py"].groups]
    assert shown.evaluate(f"{CASE}.querySelector('pre').innerText") in smallest
    top, bottom = shown.evaluate(f"(b => [b.top, b.bottom])({CASE}.getBoundingClientRect())")
    assert 0 <= top < 800
    assert bottom > top
    assert shown.evaluate(f"{BUTTON}.hidden") is not scripts
    assert shown.complaints == []


@needs_browser
def test_a_button_copies_what_stands_beside_it(shown: chromium.Browser, file: Path) -> None:
    shown.call("Emulation.setFocusEmulationEnabled", enabled=True)
    shown.open(file)
    shown.click(CELL)
    shown.wait_for("Page.navigatedWithinDocument")
    shown.until(f"{CASE}.closest('details').open")  # nothing moves any more
    shown.evaluate("navigator.clipboard.writeText = async text => { window.got = text }")
    # A look that comes late must not miss what the button says for a second and a half only.
    shown.evaluate("window.setTimeout = (undo, milliseconds) => { window.undo = undo }")
    shown.click_until(BUTTON, f"{BUTTON}.innerText === 'copied'")
    shown.evaluate("window.undo()")
    assert shown.evaluate(f"{BUTTON}.innerText") == "copy"
    assert shown.evaluate("window.got") == shown.evaluate(f"{CASE}.querySelector('pre').innerText")
    assert shown.complaints == []
    shown.evaluate("console.error('no')")
    assert len(shown.complaints) == 1  # so that they would have been seen


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone_but_the_tables_in_their_own_frames(
    shown: chromium.Browser, file: Path, scheme: str
) -> None:
    shown.resize(390, 844)
    shown.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    shown.open(file)
    shown.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert shown.evaluate(WIDTH) == 390
    frame = "document.querySelector('#broken-co .scroll')"
    assert shown.evaluate(f"{frame}.scrollWidth > {frame}.clientWidth")
    first = f"{frame}.querySelector('tbody th').getBoundingClientRect().left"
    before = shown.evaluate(first)
    shown.evaluate(f"void ({frame}.scrollLeft = 300)")
    assert shown.evaluate(f"{frame}.scrollLeft") == 300
    assert shown.evaluate(first) == before  # the members stay where they are
    ink, ground = shown.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    assert (luminance(ink) > luminance(ground)) is (scheme == "dark")
    shown.evaluate("document.body.style.width = '500px'")
    assert shown.evaluate(WIDTH) > 390  # so that it would have been seen


def luminance(colour: str) -> float:
    return sum(float(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
