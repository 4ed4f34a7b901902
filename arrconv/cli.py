"""The command line: parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import arrconv

if TYPE_CHECKING:
    from arrconv_conformance.selection import Selection

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


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


def _selection(command: str, cases: str, seed: int | None, case: str | None) -> Selection:
    """The checks that options ask for; what is mistyped is said before anything is started."""
    from arrconv_conformance.selection import Selection

    try:
        return Selection(cases, seed, case)
    except (arrconv.ArrconvError, ValueError) as error:
        typer.echo(f"{command}: {error}")
        raise typer.Exit(2) from None


@app.command()
def conform(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]…",
            help="Frameworks known by name, or path/to/adapter.py[:object]; numpy:fft for arrconv's own algorithms.",
        ),
    ] = None,
    adapter: Annotated[list[str] | None, typer.Option(metavar="FILE[:OBJECT]", help="The same as a name.")] = None,
    program: Annotated[
        list[str] | None, typer.Option("--exec", metavar="CMD", help="A program that speaks the line protocol.")
    ] = None,
    if_present: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Judge this one too, where it can be run.")
    ] = None,
    cases: Annotated[str, typer.Option(metavar="quick|full|N", help="Which cases; N random geometries.")] = "quick",
    seed: Annotated[int | None, typer.Option(help="The seed of N random geometries.")] = None,
    case: Annotated[
        str | None, typer.Option(metavar="TEXT", help="One case alone, such as 'n=2 c=4 o=6 x=9 k=3 member=conv'.")
    ] = None,
    stop_first: Annotated[bool, typer.Option("--stop-first", help="Stop at the first unexplained deviation.")] = False,
    repeats: Annotated[bool, typer.Option("--repeats", help="Make each call twice; count where bits differ.")] = False,
    limit: Annotated[float | None, typer.Option(metavar="SECONDS", help="How long one case may take.")] = None,
    jobs: Annotated[int | None, typer.Option(help="How many processes of a framework work at a time.")] = None,
    dask: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Spread the work over this Dask cluster.")] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a summary to this file.")] = None,
    jsonl: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every check to this file, a line each.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page to this file.")] = None,
) -> None:
    """Judge the convolutions of frameworks.

    Exit status: 0 when nothing deviates, 1 when something does, 2 when the run could not be made or not be finished,
    130 when it was interrupted.
    """
    from arrconv_conformance.command import Options
    from arrconv_conformance.command import conform as judge

    given = {"limit": limit, "jobs": jobs}
    options = Options(
        selection=_selection("conform", cases, seed, case),
        stop_first=stop_first,
        repeats=repeats,
        dask=dask,
        json=json,
        jsonl=jsonl,
        html=html,
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
    )
    asked = [*(names or ()), *(adapter or ()), *(f"exec:{command}" for command in program or ())]
    raise typer.Exit(judge(asked, options, if_present=if_present or ()))


vectors = typer.Typer(no_args_is_help=True, help="Exact results as files, for systems that no adapter reaches.")
app.add_typer(vectors, name="vectors")


@vectors.command("export")
def export_vectors(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.")],
    cases: Annotated[str, typer.Option(metavar="quick|full|N", help="Which cases; N random geometries.")] = "quick",
    seed: Annotated[int | None, typer.Option(help="The seed of N random geometries.")] = None,
    case: Annotated[
        str | None, typer.Option(metavar="TEXT", help="One case alone, such as 'n=2 c=4 o=6 x=9 k=3 member=conv'.")
    ] = None,
    onnx: Annotated[
        bool | None, typer.Option("--onnx/--no-onnx", help="Also the directories of ONNX's test runners.")
    ] = None,
) -> None:
    """Write operands and exact results into a folder, to be answered by any system.

    Exit status: 0 when they are written, 2 when they are not.
    """
    from arrconv_conformance.vectors_command import export

    raise typer.Exit(export(folder, _selection("vectors", cases, seed, case), onnx=onnx))


@vectors.command("check")
def check_vectors(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that was exported.")],
    answers: Annotated[
        Path | None,
        typer.Argument(metavar="ANSWERS", help="A folder of NAME.npy, or an .npz file; else DIR/answers[.npz]."),
    ] = None,
    claim: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Arithmetic claimed: tf32, narrow-sums, wraps.")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Answers may be missing.")] = False,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every verdict to this file.")] = None,
) -> None:
    """Judge answers to test vectors by what is stored with them.

    Exit status: 0 when all agree, 1 when one does not, 2 when they could not be judged.
    """
    from arrconv_conformance.vectors_command import check

    raise typer.Exit(check(folder, answers, claims=claim or (), partial=partial, json_file=json))


@app.command()
def fingerprint(
    name: Annotated[str, typer.Argument(help="A framework known by name, path/to/adapter.py, or exec:CMD.")],
    dtype: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this dtype; may be given several times.")
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the findings to this file.")] = None,
    limit: Annotated[float, typer.Option(metavar="SECONDS", help="How long a function in a dtype may take.")] = 120.0,
) -> None:
    """Find which arithmetic a framework really uses, through its convolutions alone.

    Exit status: 0 when it is the one claimed, 1 when it differs, 2 when it could not be found.
    """
    from arrconv_conformance.fingerprint.command import take

    raise typer.Exit(take(name, dtype or (), json, limit))


training = typer.Typer(no_args_is_help=True, help="Train small networks.")
app.add_typer(training, name="train")

_DEVICE = typer.Option(metavar="cpu|cuda", help="Where: NumPy on the processor, or CuPy on a GPU.")
_SIGMA = typer.Option(min=0, metavar="SIGMA", help="The strength of normal noise; white is 1.")
_PEAK = typer.Option(metavar="PHOTONS", help="For white: noise of counted light instead of normal noise.")
_WEIGHTS = typer.Option("--weights", metavar="DIR", help="The folder that `arrconv train denoise` left.")


@training.command("denoise")
def train_denoise(
    data: Annotated[
        str | None, typer.Option(metavar="PATH", help="Images, .npy, .npz, or .pkl of pairs; else generated pictures.")
    ] = None,
    validation: Annotated[str | None, typer.Option(metavar="PATH", help="The same, to measure by.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where everything is kept.")] = Path("denoiser"),
    net: Annotated[
        str, typer.Option(metavar="unet|seed", help="A U-Net, or two strided convolutions and their way back.")
    ] = "unet",
    width: Annotated[
        int | None, typer.Option(min=1, help="Channels of the first layer; unet has 16, seed 64, unless it is given.")
    ] = None,
    target: Annotated[
        str, typer.Option(metavar="noisy|clean", help="Learn from other noisy copies, or from clean pictures.")
    ] = "noisy",
    device: Annotated[str, _DEVICE] = "cpu",
    epochs: Annotated[int | None, typer.Option(min=1, help="How often each pair is seen.")] = None,
    pairs: Annotated[int | None, typer.Option(min=1, help="How many squares are cut from pictures.")] = None,
    held_out: Annotated[int, typer.Option(min=1, help="How many others are cut to measure by.")] = 500,
    size: Annotated[int, typer.Option(min=4, help="Of their sides, in pixels.")] = 32,
    shrink: Annotated[int, typer.Option(min=1, help="Cut them so many times as large, and average.")] = 1,
    sigma: Annotated[float, _SIGMA] = 25 / 255,
    peak: Annotated[float | None, _PEAK] = None,
    fresh: Annotated[
        bool | None,
        typer.Option(
            "--fresh/--fixed",
            help="Draw noise anew in each step and leave it unclipped, or once for each pair, as bytes; unet: anew.",
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Pairs in a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="The learning rate; each network has its own.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides every random number.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from where training in DIR stopped.")] = False,
    graph: Annotated[
        bool, typer.Option("--graph", help="Repeat steps as CUDA graphs, on cuda: fewer calls, the same bits; untried.")
    ] = False,
) -> None:
    """Train a denoiser; Ctrl-C stops it after a step, and --resume goes on as if it had not been stopped.

    Without options a small U-Net learns from generated pictures for two or three minutes. What is not given is what is
    usual for the network: 7,000 pairs, 2 epochs, batches of 16 for unet; 12,000, 8 and 32 for seed.

    Exit status: 0 when it is trained, 2 when it cannot be, 130 when it was interrupted.
    """
    from arrconv.train.command import train_denoiser

    given = {
        "width": width, "data": data, "validation": validation, "target": target, "sigma": sigma, "peak": peak,
        "fresh": fresh, "pairs": pairs, "held_out": held_out, "size": size, "shrink": shrink, "epochs": epochs,
        "batch": batch, "lr": lr, "seed": seed,
    }  # fmt: skip
    raise typer.Exit(train_denoiser(net, given, out, device, resume=resume, graph=graph))


@app.command()
def denoise(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Image files, or folders of them.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the answers go, as PNG.")],
    weights: Annotated[Path, _WEIGHTS] = Path("denoiser"),
    device: Annotated[str, _DEVICE] = "cpu",
) -> None:
    """Denoise images of any size.

    Exit status: 0 when all are written, 2 when they could not be.
    """
    from arrconv.train.command import denoise_files

    raise typer.Exit(denoise_files(images, out, weights, device))


@app.command()
def evaluate(
    images: Annotated[Path, typer.Argument(metavar="PATH", help="Clean images: a folder, a file, .npy or .npz.")],
    weights: Annotated[Path, _WEIGHTS] = Path("denoiser"),
    sigma: Annotated[float, _SIGMA] = 25 / 255,
    peak: Annotated[float | None, _PEAK] = None,
    rounded: Annotated[
        bool, typer.Option("--rounded", help="Noisy images are bytes, clipped at black and white.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Decides the noise.")] = 0,
    device: Annotated[str, _DEVICE] = "cpu",
) -> None:
    """Add noise to clean images, denoise them, and print the PSNR before and after.

    Answers are rounded to bytes; noisy images are neither rounded nor clipped, unless --rounded asks for it.

    Exit status: 0 when it is measured, 2 when it could not be.
    """
    from arrconv.train.command import evaluate_files
    from arrconv.train.denoise import Recipe

    recipe = Recipe(sigma=sigma, peak=peak, seed=seed)
    raise typer.Exit(evaluate_files(images, weights, recipe, rounded, device))


@app.command()
def deblur(
    kernel: Annotated[
        str, typer.Option(metavar="FILE.npy|gaussian:SIGMA|motion:LENGTH,ANGLE", help="What blurred it.")
    ],
    image: Annotated[
        Path | None, typer.Argument(metavar="[IMAGE]", help="An image; with --blur it may be left out.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where everything goes.")] = Path("deblurred"),
    method: Annotated[str, typer.Option(metavar="cg|wiener|tikhonov|cgls", help="The way back.")] = "cg",
    boundary: Annotated[
        str,
        typer.Option(metavar="unknown|circular|zeros|reflect|replicate", help="What was beyond the picture's border."),
    ] = "unknown",
    noise: Annotated[
        float | None, typer.Option(min=0, metavar="SIGMA", help="The strength of noise; white is 1; else it is found.")
    ] = None,
    damp: Annotated[
        float | None, typer.Option(metavar="RATIO", help="The noise by the scene's variation; else it is found.")
    ] = None,
    iterations: Annotated[int, typer.Option(min=1, help="The most that are taken.")] = 100,
    blur: Annotated[
        bool, typer.Option("--blur", help="IMAGE is sharp: blur it, add noise (0.01), undo it, and measure.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Decides the noise of --blur, and a generated picture.")] = 0,
) -> None:
    """Undo a known blur; leaves pictures before and after, residuals and a report in DIR.

    `arrconv deblur --blur --kernel motion:15,30` shows it on a generated picture. wiener and tikhonov filter once; cg
    damps as wiener does and knows nothing of what is beyond the border; cgls stops before noise comes back.

    Exit status: 0 when it is done, 2 when it cannot be, 130 when it was interrupted.
    """
    from arrconv.deblur.command import Options, deblur_file

    options = Options(method, boundary, noise, damp, iterations, is_sharp=blur, seed=seed)
    raise typer.Exit(deblur_file(image, kernel, options, out))


def main() -> None:
    """The entry point of the `arrconv` command."""
    app()
