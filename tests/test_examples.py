"""The examples run, are as short as they are said to be, and print what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def printed(name: str, text: str | None = None) -> str:
    source = text if text is not None else (EXAMPLES / name).read_text(encoding="utf-8")
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout


def lines(name: str) -> int:
    return len([line for line in (EXAMPLES / name).read_text(encoding="utf-8").splitlines() if line.strip()])


def test_the_denoiser_learns() -> None:
    assert lines("denoiser.py") <= 25
    source = (EXAMPLES / "denoiser.py").read_text(encoding="utf-8")
    short = source.replace("4000", "600").replace("(24, 128", "(6, 64").replace("epochs=4", "epochs=2")
    assert short.count("600") == short.count("epochs=2") == 1
    found = [float(number) for number in re.findall(r"([\d.]+) dB", printed("", short))]
    assert len(found) == 3
    assert found[0] > 15


def test_the_unet_keeps_the_size() -> None:
    assert lines("unet.py") <= 15
    assert printed("unet.py") == "117075 (1, 3, 64, 48)\n"


def test_the_blur_is_undone() -> None:
    assert lines("deblur.py") <= 25
    source = (EXAMPLES / "deblur.py").read_text(encoding="utf-8")
    short = source.replace("(155, 172)", "(70, 86)").replace("motion(15, 30)", "motion(7, 30)")
    assert short.count("(70, 86)") == short.count("motion(7, 30)") == 1
    found = dict(re.findall(r"(\w+): ([\d.]+) dB", printed("", short)))
    assert list(found) == ["before", "wiener", "tikhonov", "cg"]
    assert all(float(found[method]) > float(found["before"]) + 1 for method in ("wiener", "tikhonov", "cg"))
