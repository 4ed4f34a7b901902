"""The command line: parses, calls, prints."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated

import typer

import arrconv

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


class Cases(StrEnum):
    """Which cases to ask."""

    quick = "quick"
    full = "full"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"arrconv {arrconv.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The reference for convolution, and the suite that judges other convolutions."""


@app.command()
def conform(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME…", help="numpy, array-api-strict, cupy, torch, or an adapter's .py file."),
    ],
    if_present: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Judge this one too, where it can be run.")
    ] = None,
    cases: Annotated[Cases, typer.Option(help="The catalogue, or random cases as well.")] = Cases.quick,
    case: Annotated[
        str | None, typer.Option(metavar="TEXT", help="One case alone, such as 'n=2 c=4 o=6 x=9 k=3 member=conv'.")
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results to this file.")] = None,
) -> None:
    """Judge the convolutions of frameworks.

    Exit status: 0 when nothing deviates, 1 when something does, 2 when the run could not be made.
    """
    from arrconv_conformance.command import conform as judge

    raise typer.Exit(judge(names, if_present=if_present or (), cases=cases, only=case, json_file=json))


def main() -> None:
    """The entry point of the `arrconv` command."""
    app()
