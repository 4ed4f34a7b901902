"""Expectations: what the files may say, what an entry explains, and that PyTorch's entries are true."""

from __future__ import annotations

from typing import Any

import pytest
from arrconv_conformance import Case, catalogue, load_adapter, run
from arrconv_conformance.expectations import Expectation, expectations_for, parse
from arrconv_conformance.judge import Verdict
from arrconv_conformance.runner import Run

CASE = Case.parse("n=2 c=3 o=4 x=9 k=3 s=2 mode=circular member=conv dtype=float64 data=uniform")

ENTRY = """
[[refuses]]
message = '^RuntimeError: no'
members = ["conv", "conv_transpose"]
case = "mode=circular s=2"
reason = "no strides round a circle"
link = "https://example.org/1"
"""


def test_a_file_is_read_as_written() -> None:
    [entry] = parse(ENTRY, "some.toml")
    assert entry == Expectation(
        "refuses",
        "^RuntimeError: no",
        "no strides round a circle",
        ("conv", "conv_transpose"),
        ("mode=circular", "s=2"),
        "https://example.org/1",
    )
    assert parse("", "empty.toml") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[crashes]]\nmessage = 'a'\nreason = 'b'", r"some\.toml: \[\[crashes\]\] is neither"),
        ("[refuses]\nmessage = 'a'\nreason = 'b'", r"\[\[refuses\]\] is neither"),
        ("[[refuses]]\nmessage = 'a'\nreason = 'b'\nwhy = 'c'", "unknown key why"),
        ("[[refuses]]\nmessage = 'a'", "needs a message and a reason"),
        ("[[refuses]]\nmessage = 'a'\nreason = ''", "needs a message and a reason"),
        ("[[refuses]]\nreason = 'b'", "needs a message and a reason"),
        ("[[refuses]]\nmessage = ''\nreason = 'b'", "needs a message and a reason"),
        ("[[refuses]]\nmessage = '('\nreason = 'b'", r"'\(' is no regular expression"),
        ("[[refuses]]\nmessage = 'a'\nreason = 'b'\nmembers = 'conv'", "members must be a list"),
        ("[[refuses]]\nmessage = 'a'\nreason = 'b'\nmembers = ['pool']", r"but got \['pool'\]"),
        ("[[refuses]]\nmessage = 'a'\nreason = 'b'\nmembers = []", "members must be a list"),
        (ENTRY + ENTRY, "two entries have the reason 'no strides round a circle'"),
        ("[[refuses]", r"some\.toml: "),
    ],
)
def test_files_that_mean_nothing_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text, "some.toml")


@pytest.mark.parametrize(
    ("changes", "explains"),
    [
        ({}, True),
        ({"outcome": "deviates"}, False),
        ({"message": "no$"}, True),
        ({"message": "^no"}, False),
        ({"message": r"Error: n\w"}, True),
        ({"members": ("conv",)}, True),
        ({"members": ("conv_grad_input", "conv_transpose")}, False),
        ({"case": ("mode=circular", "k=3")}, True),
        ({"case": ("mode=circular", "k=2")}, False),
        ({"case": ("mode=circ",)}, False),
        ({"case": ("dtype=float64", "data=uniform")}, True),
        ({"case": ("dtype=float32",)}, False),
        ({"case": ("data=integers",)}, False),
    ],
)
def test_an_entry_explains_what_matches_it_in_every_respect(changes: dict[str, Any], explains: bool) -> None:
    entry = Expectation(**{"outcome": "refuses", "message": "no", "reason": "why", **changes})
    assert entry.explains("refuses", "RuntimeError: no", CASE) is explains


def test_explained_outcomes_are_counted_apart_and_unused_entries_are_named() -> None:
    used, unused = Expectation("refuses", "no", "first"), Expectation("deviates", "no", "second")
    one = Run("some", "1", [used, unused])
    one.record(CASE, Verdict("refuses", "RuntimeError: no"), "some")
    one.record(CASE, Verdict("refuses", "RuntimeError: other"), "some")
    one.record(CASE, Verdict("agrees", ratio=0.25), "some")
    one.record(CASE, Verdict("unsupported", "no such thing"), "some")
    assert one.unused == [unused]
    assert one.explained == {"first": 1}
    assert one.checks == 3
    [tally] = one.tallies.values()
    assert (tally.agrees, tally.explained, tally.failed, tally.unsupported, tally.ratio) == (1, 1, 1, 1, 0.25)
    [failure] = one.failures
    assert failure.message == "RuntimeError: other"
    assert failure.command == f"arrconv conform some --case '{CASE}'"


def test_a_framework_without_a_file_is_expected_to_be_right() -> None:
    assert expectations_for("numpy") == []


def test_entries_for_pytorch_name_their_source() -> None:
    entries = expectations_for("torch")
    assert len(entries) >= 9
    for entry in entries:
        assert entry.link is not None
        assert entry.link.startswith("https://github.com/pytorch/pytorch/")
        assert entry.message.startswith("^")  # the whole of a message from its not any word in it


def test_pytorch_is_explained_in_full_by_entries_that_are_all_used() -> None:
    """Over the cases that could need them: those with a padding mode, and those with something empty."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    geometries = [(case, case.geometry) for case in catalogue()]
    doubtful = [case for case, g in geometries if g.padding_mode != "zeros" or 0 in (*g.input_shape, *g.output_shape)]
    [found] = run(doubtful, {"torch": load_adapter("torch")})
    assert [failure.message for failure in found.failures] == []
    assert found.unused == []
