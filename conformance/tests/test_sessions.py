"""Sessions: what goes wrong in the suite is never said of the framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from arrconv_conformance import Case
from arrconv_conformance.runner import Target, work
from arrconv_conformance.sessions import Child, Defect

if TYPE_CHECKING:
    from pathlib import Path

CASE = Case.parse("n=1 c=2 o=3 x=4 k=2 member=conv dtype=float32 data=integers")

# The second result is an array of a kind that no judge expects.
ADAPTER = """
import numpy as np
import arrconv

name, version, results = "changing", "1", []

class Array(np.ndarray):
    def astype(self, *args, **kwargs):
        raise RuntimeError("nonsense")

def conv(x, w, bias, **options):
    results.append(arrconv.conv(x, w, bias, **options))
    return results[-1].view(Array) if len(results) > 1 else results[-1]
"""


@pytest.fixture
def target(tmp_path: Path) -> str:
    (tmp_path / "changing.py").write_text(ADAPTER)
    return f"{tmp_path / 'changing.py'}"


def test_a_failure_of_the_suite_in_a_child_is_raised_here_with_its_place(target: str) -> None:
    child = Child(target)
    try:
        assert child.ask(CASE).outcome == "agrees"
        with pytest.raises(Defect, match=r"(?s)the suite itself failed at n=1 c=2 .*Traceback .*nonsense"):
            child.ask(CASE)
    finally:
        child.close()


def test_a_failure_of_the_suite_ends_a_run_and_keeps_what_was_done(target: str) -> None:
    done = work(Target(target), [str(CASE)] * 3)
    assert [verdict.outcome for verdict in done.verdicts] == ["agrees"]
    assert "the suite itself failed" in done.reason
