"""Checks as items of pytest: one for each case, its text the name; `pytest_plugin` says when they are collected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from arrconv import ArrconvError
from arrconv_conformance.adapters import Unavailable
from arrconv_conformance.expectations import ExpectationsError, expectations_for
from arrconv_conformance.grouping import command
from arrconv_conformance.record import Run
from arrconv_conformance.selection import Selection
from arrconv_conformance.sessions import CASE_LIMIT, Child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arrconv_conformance.cases import Case


@dataclass
class Framework:
    """A framework whose process is kept as long as pytest runs, or the worker of pytest-xdist.

    Args:
        name: what `load_adapter` takes.
        limit: the seconds that a case may take.
    """

    name: str
    limit: float
    _child: Child | None = field(default=None, init=False)
    _run: Run | None = field(default=None, init=False)
    _is_gone: str = field(default="", init=False)

    def load(self, *, keep: bool) -> None:
        """Start it, to see that it can be.

        Raises:
            pytest.UsageError: it cannot be run here.
        """
        try:
            self._start()
        except (Unavailable, ExpectationsError) as reason:
            raise pytest.UsageError(str(reason)) from None
        if not keep:
            self.close()

    def check(self, case: Case) -> None:
        """Ask it a case, and end the test as its verdict says."""
        if self._is_gone:
            pytest.fail(self._is_gone, pytrace=False)
        try:
            child, run = self._start()
            verdict = child.ask(case)
        except Unavailable as error:
            self._is_gone = f"it cannot be started any more: {error}"
            pytest.fail(self._is_gone, pytrace=False)
        reason = run.record(case, verdict)
        if verdict.outcome == "unsupported":
            pytest.skip(f"{run.name}: {verdict.message}")
        if reason is not None:
            pytest.xfail(reason)
        if verdict.outcome != "agrees":
            text = f"{run.name} {verdict.outcome}: {verdict.message}\n    {command(run, case)}"
            pytest.fail(text, pytrace=False)

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.close()

    def _start(self) -> tuple[Child, Run]:
        if self._child is None or self._run is None:
            child = Child(self.name, limit=self.limit)
            child.start()
            self._run = Run(self.name, child.name, child.version, expectations_for(child.name, child.version))
            self._child = child
        return self._child, self._run


@dataclass(frozen=True, slots=True)
class Suite:
    """What the options ask for: some checks, and the frameworks to which each is put."""

    selection: Selection
    frameworks: list[Framework]

    @classmethod
    def of(cls, config: pytest.Config) -> Suite:
        """That of a run of pytest, the same one each time.

        Raises:
            pytest.UsageError: there are no such cases.
        """
        if _SUITE not in config.stash:
            config.stash[_SUITE] = cls._of(config.getoption)
        return config.stash[_SUITE]

    @classmethod
    def _of(cls, option: Callable[[str], Any]) -> Suite:
        limit = option("conformance_limit")
        try:
            selection = Selection(option("conformance_cases"), option("conformance_seed"), option("conformance_case"))
        except (ArrconvError, ValueError) as error:
            raise pytest.UsageError(str(error)) from None
        names = dict.fromkeys(option("conformance_frameworks"))  # without those named twice
        return cls(selection, [Framework(name, CASE_LIMIT if limit is None else limit) for name in names])


_SUITE = pytest.StashKey[Suite]()


class Check(pytest.Item):
    """One case, put to one framework."""

    framework: Framework
    case: Case

    def runtest(self) -> None:
        """Put it."""
        self.framework.check(self.case)

    def reportinfo(self) -> tuple[str, None, str]:
        """What pytest says of the place of a test: these have none but their names."""
        return str(self.path), None, f"{self.framework.name}: {self.name}"


class Checks(pytest.Collector):
    """All cases of one framework."""

    framework: Framework
    cases: dict[str, Case]

    def collect(self) -> Iterator[Check]:
        """One item for each case."""
        for name, case in self.cases.items():
            check = Check.from_parent(self, name=name)
            check.framework, check.case = self.framework, case
            yield check


class Conformance(pytest.File):
    """All frameworks."""

    def collect(self) -> Iterator[Checks]:
        """The cases of each."""
        suite = Suite.of(self.config)
        cases = {str(case): case for case in suite.selection}
        for framework in suite.frameworks:
            checks = Checks.from_parent(self, name=framework.name)
            checks.framework, checks.cases = framework, cases
            yield checks
