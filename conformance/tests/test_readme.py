"""The adapter in the suite's README is complete: nothing that it answers is wrong."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import pytest
from arrconv_conformance import load_adapter, quick
from arrconv_conformance.sessions import InProcess

README = Path(__file__).parent.parent / "README.md"


def test_the_adapter_of_the_readme_is_judged_right_where_it_answers(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="scipy is not installed")
    [block] = [
        text for text in re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL) if "def " in text
    ]
    (tmp_path / "my_scipy.py").write_text(block, encoding="utf-8")
    session = InProcess(load_adapter(str(tmp_path / "my_scipy.py")))
    cases = [case for case in quick() if case.member == "conv"]
    verdicts = [session.ask(case) for case in islice(cases, 0, None, 3)]
    outcomes = {outcome: sum(verdict.outcome == outcome for verdict in verdicts) for outcome in ("agrees", "deviates")}
    assert outcomes["agrees"] > 80
    assert outcomes["deviates"] == 0
