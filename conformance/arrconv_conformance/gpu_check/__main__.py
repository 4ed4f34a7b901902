"""`python -m arrconv_conformance.gpu_check DIR`: everything that can be checked on a GPU, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arrconv_conformance.adapters import Unavailable, load_adapter
from arrconv_conformance.gpu_check.plan import FULL, TINY, plan
from arrconv_conformance.gpu_check.running import run_all

ROOT = Path(__file__).resolve().parents[3]


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the results go, as JSON.")],
    budget: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="For all steps together.")] = 570.0,
    tiny: Annotated[bool, typer.Option("--tiny", help="A little of everything, to see whether it runs.")] = False,
    library: Annotated[
        str, typer.Option(metavar="cupy|numpy|array-api-strict", help="Try the steps with another library.")
    ] = "cupy",
    only: Annotated[list[str] | None, typer.Option(metavar="STEP", help="Only this step.")] = None,
) -> None:
    """Check arrconv on a GPU: tests, conformance, exact digests, training, operators, a benchmark.

    Each step leaves a line here, and in DIR what it printed, STEP.txt, and what it found, STEP.json; summary.json has
    the lines. One that fails or takes too long does not stop the others.

    Exit status: 0 when none failed, 1 when one did, 2 when there is no device or the steps could not be run.
    """
    folder = folder.absolute()
    try:
        if not (ROOT / "benchmarks").is_dir():
            raise Unavailable(f"the tests and the benchmark are not in {ROOT}; run it in a checkout of arrconv")
        version = load_adapter(library).version
        steps = plan(library, folder, TINY if tiny else FULL)
        if unknown := sorted(set(only or ()) - {step.name for step in steps}):
            raise ValueError(f"{unknown[0]!r} is no step; there are {', '.join(step.name for step in steps)}")
        folder.mkdir(parents=True, exist_ok=True)
    except (Unavailable, OSError, ValueError) as error:
        typer.echo(f"gpu_check: {error}")
        raise typer.Exit(2) from None
    typer.echo(version)
    chosen = [step for step in steps if only is None or step.name in only]
    outcomes = run_all(chosen, folder, ROOT, budget, typer.echo)
    raise typer.Exit(int(any(outcome.verdict == "failed" for outcome in outcomes)))


if __name__ == "__main__":
    typer.run(main)
