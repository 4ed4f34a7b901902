"""Expectations: what the files may say, what an entry explains, and that the files are sound."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from arrconv_conformance import Case, expectations
from arrconv_conformance.adapters import NAMES
from arrconv_conformance.expectations import Expectation, ExpectationsError, expectations_for, parse
from arrconv_conformance.judge import Verdict

FOLDER = Path(expectations.__file__).resolve().parents[1] / "expectations"
FILES = sorted(FOLDER.glob("*.toml"))

CASE = Case.parse("n=2 c=3 o=4 x=9 k=3 s=2 p=1 mode=circular member=conv dtype=float64 data=uniform layout=x:last")

ENTRY = """
[[refuses]]
message = '^RuntimeError: no'
members = ["conv", "conv_transpose"]
case = 'mode=circular s=\\d x=[89]'
features = ["stride", "1-D"]
versions = '^3\\.'
cases = "full"
processor = "some"
reason = "no strides round a circle"
link = "https://example.org/1"
"""


def test_a_file_is_read_as_written() -> None:
    [entry] = parse(ENTRY, "some.toml")
    assert entry == Expectation(
        outcome="refuses",
        message="^RuntimeError: no",
        reason="no strides round a circle",
        members=("conv", "conv_transpose"),
        case=("mode=circular", r"s=\d", "x=[89]"),
        features=("stride", "1-D"),
        versions=r"^3\.",
        needs_full=True,
        depends_on_processor=True,
        link="https://example.org/1",
    )
    assert parse("", "empty.toml") == []


def test_an_entry_needs_no_more_than_a_message_and_a_reason() -> None:
    text = "\n".join(f"[[{outcome}]]\nmessage = 'a'\nreason = '{outcome}'" for outcome in sorted(expectations.OUTCOMES))
    assert parse(text, "some.toml") == [
        Expectation(outcome, "a", outcome) for outcome in ("crashes", "deviates", "hangs", "refuses")
    ]
    assert not parse(text, "some.toml")[0].needs_full
    assert not parse(text, "some.toml")[0].depends_on_processor


MINIMAL = "[[refuses]]\nmessage = 'a'\nreason = 'b'\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[agrees]]\nmessage = 'a'\nreason = 'b'", r"some\.toml: \[\[agrees\]\] is none of \[\[refuses\]\], "),
        ("[refuses]\nmessage = 'a'\nreason = 'b'", r"\[\[refuses\]\] is none of"),
        ("message = 'a'", r"some\.toml: \[\[message\]\] is none of"),
        (f"{MINIMAL}why = 'c'", "unknown key why"),
        ("[[refuses]]\nmessage = 'a'", "needs a message and a reason"),
        ("[[refuses]]\nmessage = 'a'\nreason = ''", "needs a message and a reason"),
        ("[[refuses]]\nreason = 'b'", "needs a message and a reason"),
        ("[[refuses]]\nmessage = ''\nreason = 'b'", "needs a message and a reason"),
        ("[[refuses]]\nmessage = '('\nreason = 'b'", r"'\(' is no regular expression"),
        (f"{MINIMAL}versions = '['", r"'\[' is no regular expression"),
        (f"{MINIMAL}case = 'k=1 x=*('", r"'x=\*\(' is no regular expression"),
        (f"{MINIMAL}members = 'conv'", "members must be a list"),
        (f"{MINIMAL}members = ['pool']", r"but got \['pool'\]"),
        (f"{MINIMAL}members = []", "members must be a list"),
        (f"{MINIMAL}features = ['big']", r"features must be a list of some of plain, stride, .*but got \['big'\]"),
        (f"{MINIMAL}features = []", "features must be a list"),
        (f"{MINIMAL}processor = 'x86'", "processor must be 'some', but got 'x86'"),
        (f"{MINIMAL}cases = 'all'", "cases must be 'quick' or 'full', but got 'all'"),
        (f"{MINIMAL}message = 7", "some.toml: "),
        (f"{MINIMAL}members = [['conv']]", "members must be a list of some of conv"),
        (f"{MINIMAL}reason = 7", "some.toml: "),
        (f"{MINIMAL}link = 7", "link must be a text, but got 7"),
        ("refuses = [1]", r"an entry of \[\[refuses\]\] is 1, and must be a table"),
        ("[[refuses]]\nmessage = 7\nreason = 'b'", "message must be a text, but got 7"),
        (f"{MINIMAL}case = ['k=1']", r"case must be a text, but got \['k=1'\]"),
        (f"{MINIMAL}versions = 2.1", "versions must be a text, but got 2.1"),
        (ENTRY + ENTRY, "two entries have the reason 'no strides round a circle'"),
        ("[[refuses]", r"some\.toml: "),
    ],
)
def test_files_that_mean_nothing_are_refused(text: str, message: str) -> None:
    with pytest.raises(ExpectationsError, match=message):
        parse(text, "some.toml")


@pytest.mark.parametrize(
    ("changes", "explains"),
    [
        ({}, True),
        ({"outcome": "deviates"}, False),
        ({"outcome": "crashes"}, False),
        ({"message": "no$"}, True),
        ({"message": "^no"}, False),
        ({"message": r"Error: n\w"}, True),
        ({"members": ("conv",)}, True),
        ({"members": ("conv_grad_input", "conv_transpose")}, False),
        ({"case": ("mode=circular", "k=3")}, True),
        ({"case": ("mode=circular", "k=2")}, False),
        ({"case": ("mode=circ",)}, False),  # the whole of a token
        ({"case": ("mode=circ.*",)}, True),
        ({"case": (r"k=\d", r"x=\d+", "s=[23]")}, True),
        ({"case": (r"k=\d\d",)}, False),
        ({"case": (r"(dtype=float64|dtype=float32)",)}, True),
        ({"case": (r"layout=.*\bx:last\b.*",)}, True),
        ({"case": ("dtype=float32",)}, False),
        ({"case": ("data=integers",)}, False),
        ({"features": ("stride",)}, True),
        ({"features": ("stride", "circular", "layouts")}, True),
        ({"features": ("stride", "dilation")}, False),
        ({"features": ("plain",)}, False),
    ],
)
def test_an_entry_explains_what_matches_it_in_every_respect(changes: dict[str, Any], explains: bool) -> None:
    entry = Expectation(**{"outcome": "refuses", "message": "no", "reason": "why", **changes})
    assert entry.explains(Verdict("refuses", "RuntimeError: no"), CASE) is explains


@pytest.mark.parametrize("outcome", expectations.OUTCOMES)
def test_every_kind_of_failure_may_be_known(outcome: Any) -> None:
    entry = Expectation(outcome, "signal", "why")
    for other in ("agrees", "unsupported", *expectations.OUTCOMES):
        verdict = Verdict(other, "the process ended of signal SIGSEGV")  # type: ignore[arg-type]
        assert entry.explains(verdict, CASE) == (other == outcome)


# Files


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(expectations, "_FOLDERS", (tmp_path / "nothing", tmp_path))
    return tmp_path


def test_entries_are_for_the_versions_that_they_name(files: Path) -> None:
    texts = [("all", ""), ("two", r"versions = '\b2\.'"), ("four", r"versions = ' 2\.(4|5)\b'")]
    entries = [f"[[refuses]]\nmessage = 'a'\nreason = '{reason}'\n{versions}" for reason, versions in texts]
    (files / "some.toml").write_text("\n".join(entries), encoding="utf-8")

    def known(version: str) -> list[str]:
        return [entry.reason for entry in expectations_for("some", version)]

    assert known("Some 2.4.1") == ["all", "two", "four"]
    assert known("Some 2.41") == ["all", "two"]
    assert known("Some 3.2") == known("") == ["all"]
    assert expectations_for("other", "Some 2.4.1") == []


def test_what_is_wrong_with_a_file_names_it(files: Path) -> None:
    (files / "some.toml").write_text("[[refuses]]\n", encoding="utf-8")
    with pytest.raises(ExpectationsError, match=re.escape(f"{files / 'some.toml'}: every entry needs")):
        expectations_for("some")


def test_a_framework_without_a_file_is_expected_to_be_right() -> None:
    assert expectations_for("numpy") == []


def test_every_file_is_of_a_framework_that_is_known() -> None:
    assert FILES
    assert {file.stem for file in FILES} <= set(NAMES.values()) | set(NAMES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_entry_says_why_and_where_that_can_be_read(file: Path) -> None:
    entries = parse(file.read_text(encoding="utf-8"), file.name)
    assert len(entries) == sum(len(some) for some in tomllib.loads(file.read_text(encoding="utf-8")).values())
    for entry in entries:
        assert len(entry.reason) > 15
        assert entry.link is None or re.match(r"https://\S+$", entry.link)
        assert not entry.explains(Verdict(entry.outcome, "what nobody has ever said"), CASE)  # type: ignore[arg-type]
        if entry.outcome == "deviates":
            assert (entry.members, entry.case, entry.features) != (None, (), ()), entry.reason  # not of every result


def test_entries_for_pytorch_name_their_source() -> None:
    entries = expectations_for("torch", "PyTorch 2.13.0")
    assert len(entries) >= 5
    for entry in entries:
        if entry.outcome == "refuses":
            assert entry.message.startswith("^")  # the whole of a message from its begin, not any word in it
