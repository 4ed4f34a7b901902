"""The tests of the repository that are marked `gpu`, counted."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from arrconv_conformance.gpu_check.place import Findings, finish

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDERS = ("tests", "conformance/tests")


class _Reports:
    """A plugin of pytest that counts outcomes, and keeps what failed and why something was skipped.

    A file that cannot be read, such as one that needs what is not installed, has failed as a test has.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter(passed=0, failed=0, skipped=0)
        self.failed: list[str] = []
        self.reasons: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        self.counts[report.outcome] += 1
        if report.outcome == "failed":
            self.failed.append(report.nodeid)
        elif report.outcome == "skipped":
            self.reasons[str(report.longrepr[2]).removeprefix("Skipped: ")] += 1

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.counts["failed"] += 1
            self.failed.append(report.nodeid)


def files(root: Path) -> list[str]:
    """The test files that mark a test: others may need what is not installed on a machine with a GPU."""
    paths = [path for folder in FOLDERS for path in sorted((root / folder).rglob("test_*.py"))]
    return [str(path) for path in paths if "pytest.mark.gpu" in path.read_text(encoding="utf-8")]


def run_marked(paths: Sequence[str], junit: str) -> Findings:
    """Run the marked tests of some files; where all are skipped, the step is."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none of what happens to be installed is needed
    reports = _Reports()
    options = ["-m", "gpu", "-v", "-p", "no:cacheprovider", "--continue-on-collection-errors", f"--junitxml={junit}"]
    status = pytest.main([*options, *paths], plugins=[reports])
    counts = reports.counts
    record = {
        **counts,
        "exit_status": int(status),
        "failures": reports.failed,
        "skipped_because": dict(reports.reasons),
    }
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) or counts["failed"]:
        return Findings(
            f"{counts['failed']} failed, {counts['passed']} passed, exit status {int(status)}", record, False
        )
    if not counts["passed"]:
        return Findings("; ".join(reports.reasons) or "there is no marked test", record, None)
    return Findings(f"{counts['passed']} passed, {counts['skipped']} skipped", record, True)


if __name__ == "__main__":
    finish(run_marked(sys.argv[2:] or files(Path.cwd()), str(Path(sys.argv[1]).with_suffix(".xml"))), sys.argv[1])
