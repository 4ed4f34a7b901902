"""The program of the README prints what the README says it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


PROGRAMS = re.findall(r"```python\n(.*?)```.*?```\n(.*?)```", README, re.DOTALL)


def test_the_programs_print_what_it_says() -> None:
    (program, printed), (demonstration, also_printed) = PROGRAMS
    assert len(program.splitlines()) == 12
    assert len(demonstration.splitlines()) == 6
    text = program + demonstration
    result = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert result.stdout == printed + also_printed
