"""The report: every count stands where it belongs, at a terminal and as data."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import replace
from typing import Any

from arrconv_conformance import Case
from arrconv_conformance.expectations import Expectation
from arrconv_conformance.grouping import Group, Groups
from arrconv_conformance.judge import Verdict
from arrconv_conformance.record import Failure, Run
from arrconv_conformance.report import as_json, check_line, explanations, table
from arrconv_conformance.shrink import Shrunk
from rich.console import Console

import arrconv

GEOMETRY = "n=2 c=4 o=6 g=2 x=9,7 k=3,2 s=2,1"
WRONG = Verdict("deviates", "wrong", "bound", ratio=7.0)


def case(member: str, dtype: str, data: str = "ones") -> Case:
    return Case.parse(f"{GEOMETRY} member={member} dtype={dtype} data={data}")


def example() -> Run:
    run = Run("mine.py", "mine", "1.2", [Expectation("refuses", "known", "it is known")])
    for count, (member, dtype, verdict) in enumerate(
        [
            ("conv_transpose", "float64", Verdict("agrees", ratio=0.125)),
            ("conv", "float64", Verdict("agrees", ratio=0.25, share=0.5)),
            ("conv", "float16", Verdict("agrees", ratio=0.5)),
            ("conv", "float32", WRONG),
            ("conv", "int8", Verdict("refuses", "known")),
            ("conv_grad_bias", "float32", Verdict("unsupported")),
        ],
        start=1,
    ):
        for _ in range(count):
            run.record(case(member, dtype), verdict)
    return run


def rows(run: Run) -> list[list[str]]:
    """The cells of the table as they are printed, row by row."""
    console = Console(width=200, no_color=True, force_terminal=False)
    with console.capture() as captured:
        console.print(table(run))
    lines = captured.get().splitlines()
    return [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in lines]


def test_the_table_has_a_row_for_each_member_and_a_column_for_each_dtype_that_was_judged() -> None:
    title, _, head, _, *body, _, caption = rows(example())
    assert title == ["mine: 1.2"]
    assert head == ["member", "passed", "explained", "FAILED", "not offered", "float32", "float64", "float16"]
    assert body == [
        ["conv", "5", "5", "4", "", "0.00", "0.25", "0.50"],
        ["conv_transpose", "1", "", "", "", "", "0.12", ""],
        ["conv_grad_bias", "0", "", "", "6", "", "", ""],
    ]
    assert caption == ["for each dtype the largest rounding error as a share of its bound"]


def test_names_are_text_and_no_markup() -> None:
    run = Run("mine", "[bold]mine[/bold]", "[red]1", [])
    run.record(case("conv", "float32"), Verdict("agrees"))
    assert "[bold]mine[/bold]: [red]1" in rows(run)[0][0]


def test_each_reason_is_told_with_its_count() -> None:
    run = example()
    run.explained["another reason"] = 3
    assert explanations(run) == ["mine: 3 explained: another reason", "mine: 5 explained: it is known"]


def test_a_check_is_a_line_of_data() -> None:
    one = case("conv", "float32", "normal")
    found = check_line(example(), one, WRONG, "why")
    assert found == {
        "framework": "mine",
        "case": str(one),
        "outcome": "deviates",
        "message": "wrong",
        "kind": "bound",
        "ratio": 7.0,
        "share": 0.0,
        "varies": None,
        "explained": "why",
    }
    assert "\n" not in json.dumps(found)
    assert check_line(example(), one, replace(WRONG, ratio=math.nan), None)["ratio"] is None  # JSON has none


def test_the_summary_holds_versions_counts_groups_and_reasons() -> None:
    run, other = example(), Run("other", "Other", "3", [])
    group = Group(Shrunk(case("conv", "float32"), WRONG), Failure(case("conv", "float32"), WRONG), 4)
    found: dict[str, Any] = as_json([run, other], {"mine.py": Groups([group], 2), "other": Groups([])}, "quick")
    assert json.loads(json.dumps(found)) == found
    assert found["cases"] == "quick"
    assert found["arrconv"] == arrconv.__version__
    assert found["python"] == platform.python_version()
    assert (found["machine"], found["system"]) == (platform.machine(), platform.system())
    mine, empty = found["frameworks"]
    assert (mine["name"], mine["version"], mine["checks"]) == ("mine", "1.2", 15)
    assert (empty["name"], empty["checks"], empty["failures"], empty["not reduced"]) == ("Other", 0, [], 0)
    assert mine["failures"] == [group.as_json()]
    assert mine["not reduced"] == 2
    assert mine["explained"] == {"it is known": 5}
    [row] = [row for row in mine["results"] if (row["member"], row["dtype"]) == ("conv", "float64")]
    assert row == {
        "member": "conv",
        "dtype": "float64",
        "agrees": 2,
        "explained": 0,
        "failed": 0,
        "unsupported": 0,
        "varies": 0,
        "ratio": 0.25,
        "share": 0.5,
    }
    [row] = [row for row in mine["features"] if (row["member"], row["feature"]) == ("conv", "stride")]
    assert (row["agrees"], row["explained"], row["failed"]) == (5, 5, 4)
