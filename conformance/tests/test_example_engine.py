"""The example engine in C++: it is right, and the transcript in the documentation is what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from arrconv_conformance import Case, Verdict, catalogue, load_adapter, run
from arrconv_conformance.features import FEATURES, features_of
from arrconv_conformance.generate import checks_of
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.program import Program
from arrconv_conformance.wrong import WRONG
from engines import AMPLE, conform, starting, verdict

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "conformance" / "examples" / "engine.cpp"
PAGE = ROOT / "docs" / "line-protocol.md"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of the compiled example."""
    compiler = next((name for name in ("g++", "c++", "clang++") if shutil.which(name)), None)
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    path = tmp_path_factory.mktemp("example") / "engine"
    subprocess.run([compiler, "-std=c++17", "-O2", "-Wall", "-Werror", str(SOURCE), "-o", str(path)], check=True)
    return str(path)


def sample() -> list[Case]:
    """Every tenth case of the catalogue, and the first of each feature."""
    found: dict[Case, None] = {}
    seen: set[str] = set()
    for number, case in enumerate(catalogue()):
        features = set(features_of(case))
        if number % 10 == 0 or features - seen:
            found[case] = None
            seen |= features
    return list(found)


def test_the_example_agrees_over_a_sample_of_the_catalogue(example: str) -> None:
    checks = [check for case in sample() for check in checks_of(case, extra=1)]
    one = load_adapter(f"exec:{shlex.quote(example)}", AMPLE)
    [found] = run(checks, {"example": one})
    one.close()
    assert [(str(failure.case), failure.verdict) for failure in found.failures] == []
    assert found.checks == sum(tally.agrees for tally in found.members.values()) > 600
    for member in MEMBERS:
        for dtype in ("float32", "float64"):
            assert found.members[member, dtype].agrees > 30
    judged = {feature for (_, feature), tally in found.features.items() if tally.agrees}
    assert set(FEATURES) - judged == {"padding by name"}


def test_the_example_refuses_wrong_calls(example: str) -> None:
    one = Program.of(shlex.quote(example), AMPLE)
    right = Case.parse("n=2 c=4 o=6 g=2 x=7,5 k=3,2 s=2,1 dtype=float32 data=integers")
    cases = [replace(right, member=member, wrong=wrong) for member in MEMBERS for wrong in WRONG]
    asked = [case for case in cases if case.is_applicable]
    assert len(asked) > 70
    assert [str(case) for case in asked if verdict(one, case) != Verdict("agrees")] == []
    one.close()


def test_the_example_is_short() -> None:
    lines = SOURCE.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 150
    assert max(len(line) for line in lines) <= 120


def test_the_command_judges_the_example(example: str) -> None:
    status, output = conform(
        "--exec", shlex.quote(example), "--case", "n=2 c=4 o=6 g=2 x=7,5 k=3,2 s=2,1 dtype=float32"
    )
    assert (status, output.splitlines()[-1]) == (0, "120 checks: nothing deviates without an explanation")
    assert output.splitlines()[1] == "example: 1.0"


# Hands lines on in both directions, and writes them down.
RELAY = """
import subprocess
engine = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
with open(sys.argv[2], "w") as transcript:
    for line in sys.stdin:
        print("> " + line, end="", file=transcript)
        engine.stdin.write(line)
        engine.stdin.flush()
        reply = engine.stdout.readline()
        print("< " + reply, end="", file=transcript, flush=True)
        print(reply, end="", flush=True)
"""
TALK = (
    "n=2 c=4 o=6 g=2 x=5,7 k=2,3 s=1,2 p=1:0,-1:2 member=conv dtype=float32 data=integers",
    "n=1 c=2 o=3 x=8 k=3 s=2 p=1 member=conv_transpose dtype=float64 data=normal bias=none",
    "n=1 c=2 o=3 x=8 k=3 p=2 mode=circular member=conv_backward dtype=float32 data=normal needs=input,bias",
    "n=3 c=2 o=5 x=- k=- member=conv_transpose_backward dtype=float64 data=wide",
    "n=1 c=2 o=3 x=8 k=3 p=same_upper member=conv dtype=float32 data=ones",
    "n=1 c=2 o=3 x=8 k=3 member=conv_grad_weight dtype=bfloat16 data=integers",
)


def test_the_transcript_in_the_documentation_is_what_both_say(example: str, tmp_path: Path) -> None:
    pytest.importorskip("ml_dtypes", reason="ml_dtypes, which has bfloat16, is not installed")
    with starting(tmp_path) as start:
        relay = start(RELAY, example, str(tmp_path / "transcript"))
        outcomes = [verdict(relay, Case.parse(case)).outcome for case in TALK]
    assert outcomes == ["agrees"] * 4 + ["unsupported"] * 2
    said = (tmp_path / "transcript").read_text(encoding="utf-8")
    folders = re.findall(r"(?<= folder=)\S+", said)
    assert len(set(folders)) == len(folders) == len(TALK)
    assert not any(os.path.exists(folder) for folder in folders)  # noqa: PTH110
    [written] = re.findall(r"```text\n(> hello.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert anonymous(said) == anonymous(written)


def anonymous(transcript: str) -> str:
    return re.sub(r"(?<= folder=)\S+(?= )", "FOLDER", transcript)
