"""The suite as ordinary tests: `pytest --pyargs arrconv_conformance --framework torch`.

pytest loads this module in every run wherever arrconv is installed. So it imports nothing that takes time before a
framework is named, collects nothing without one, and leaves `--framework` to a project that has such an option itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from arrconv_conformance.pytest_checks import Conformance

_CHECKS = Path(__file__).with_name("pytest_checks.py")
_GROUP = "arrconv-conformance"
_NAMED: dict[str, Any] = {
    "dest": "conformance_frameworks",
    "metavar": "NAME",
    "action": "append",
    "help": "With `--pyargs arrconv_conformance`, judge the convolutions of this framework, known by name or as "
    "path/to/adapter.py; may be given several times.",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all but the short name of one."""
    group = parser.getgroup(_GROUP, "conformance of convolutions (arrconv)")
    group.addoption("--conformance-framework", **_NAMED)
    group.addoption(
        "--conformance-cases",
        metavar="quick|full|N",
        default="quick",
        help="Which cases are asked: quick (the default), full, or N random geometries.",
    )
    group.addoption("--conformance-seed", metavar="SEED", type=int, help="The seed of N random geometries.")
    group.addoption(
        "--conformance-case",
        metavar="TEXT",
        help="One case alone, as `arrconv conform --case` takes it, such as 'n=2 c=4 o=6 x=9 k=3 member=conv'.",
    )
    group.addoption(
        "--conformance-limit",
        metavar="SECONDS",
        type=float,
        help="How long one case may take before it counts as hanging (60 by default).",
    )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(parser: pytest.Parser) -> Generator[None, Any, Any]:
    """Add the short name after all others had the chance to add an option of that name."""
    result = yield
    if _is_free(parser, "--framework"):
        parser.getgroup(_GROUP).addoption("--framework", **_NAMED)
    return result


def pytest_sessionstart(session: pytest.Session) -> None:
    """Load the frameworks, before anything is collected for them.

    Raises:
        pytest.UsageError: one of them cannot be run here, or there are no such cases.
    """
    config = session.config
    names = config.getoption("conformance_frameworks")
    if names and not hasattr(config, "workerinput"):  # workers of pytest-xdist start theirs when they have work
        from arrconv_conformance.pytest_checks import Suite

        distributes = getattr(config.option, "dist", "no") != "no"
        for framework in Suite.of(config).frameworks:
            framework.load(keep=not distributes)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Conformance | None:
    """The checks, in the place of one module of this package; none where no framework is named."""
    if file_path != _CHECKS or not parent.config.getoption("conformance_frameworks"):
        return None
    from arrconv_conformance.pytest_checks import Conformance

    found: Conformance = Conformance.from_parent(parent, path=file_path)
    return found


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the processes of the frameworks."""
    if session.config.getoption("conformance_frameworks"):
        from arrconv_conformance.pytest_checks import Suite

        for framework in Suite.of(session.config).frameworks:
            framework.close()


def _is_free(parser: pytest.Parser, name: str) -> bool:
    """Whether nobody has an option of this name."""
    try:
        return name in parser.parse_known_and_unknown_args([name])[1]
    except pytest.UsageError:  # it has a value
        return False
