"""What `arrconv train`, `denoise` and `evaluate` do and print."""

from __future__ import annotations

import time
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from arrconv.errors import ArrconvError, SpecError
from arrconv.train.denoise import denoised, load_denoiser, train, usual
from arrconv.train.measure import psnr
from arrconv.train.pictures import brightness, host, pixels
from arrconv.train.sources import read_pictures, write_picture
from arrconv.viz import draw_curves, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from arrconv.train.denoise import Recipe
    from arrconv.train.loop import Report

LIBRARIES = {"cpu": "numpy", "cuda": "cupy"}


def guarded(console: Console, what: str, run: Callable[[], None]) -> int:
    """The exit status of a command: 0, or 2 where it could not be done, 130 where it was interrupted."""
    try:
        run()
    except (ArrconvError, OSError) as error:
        console.print(f"{what}: {error}", markup=False, highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print(f"{what}: interrupted", markup=False)
        return 130
    return 0


def train_denoiser(
    net_name: str, changes: dict[str, Any], folder: Path, device: str, *, resume: bool, graph: bool
) -> int:
    """Train by the usual recipe of a network, with changes, write the pictures, say how long it took."""
    console = Console()

    def run() -> None:
        began, recipe = time.monotonic(), usual(net_name, **changes)
        with _bar(console) as bar:
            task = bar.add_task("", total=None, loss="")

            def show(report: Report) -> None:
                done = report.epoch * report.batches + report.batch
                measured = f"loss {report.loss:.5f}, PSNR {report.psnr:.2f} dB, "
                text = measured + f"{report.pictures_a_second:,.0f} pictures/s"
                name = f"epoch {report.epoch + 1} of {report.epochs}"
                bar.update(task, total=report.epochs * report.batches, completed=done, description=name, loss=text)
                if not report.batch:
                    left = timedelta(seconds=round(report.seconds_left))
                    bar.console.print(f"epoch {report.epoch}: {text}, {left} left", highlight=False)

            net, progress, measured = train(
                recipe, folder, _library(device), resume=resume, graph=graph, on_report=show,
                say=lambda text: bar.console.print(text, markup=False, highlight=False),
            )  # fmt: skip
        draw_curves(progress.history, folder / "curves.png")
        some = np.arange(min(6, len(measured)))
        given, clean = (host(array) for array in measured.placed(net.example)(some, 0))
        answers = [denoised(net.eval(), picture) for picture in given]
        rows = [list(row) for row in zip(pixels(given), answers, pixels(clean), strict=True)]
        write_picture(folder / "examples.png", side_by_side(rows))
        console.print(
            f"{time.monotonic() - began:.0f} s; the denoiser, curves.png and examples.png (noisy, denoised, clean) are "
            f"in {folder}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip

    status = guarded(console, "train", run)
    if status == 130:
        console.print("go on with --resume", markup=False)
    return status


def denoise_files(paths: list[Path], out: Path, weights: Path, device: str) -> int:
    """Denoise images, or folders of them."""
    console = Console()

    def run() -> None:
        net = load_denoiser(weights, _library(device))
        out.mkdir(parents=True, exist_ok=True)
        for path in paths:
            album = read_pictures(path, apart=out)
            for name, reason in album.skipped:
                console.print(f"skipped {name}: {reason}", markup=False, highlight=False)
            for name, picture in zip(album.names, album.pictures, strict=True):
                file = out / (name.replace("\\", "/").replace("/", "_").rpartition(".")[0] + ".png")
                write_picture(file, denoised(net, picture))
                console.print(f"{name} -> {file}", markup=False, highlight=False, soft_wrap=True)

    return guarded(console, "denoise", run)


def evaluate_files(path: Path, weights: Path, recipe: Recipe, is_rounded: bool, device: str) -> int:
    """Add the noise of a recipe to clean pictures, denoise them, and print how near they come, before and after."""
    console = Console()

    def run() -> None:
        net = load_denoiser(weights, _library(device))
        album = read_pictures(path)
        for name, reason in album.skipped:
            console.print(f"skipped {name}: {reason}", markup=False, highlight=False)
        found = []
        for number, (name, picture) in enumerate(zip(album.names, album.pictures, strict=True)):
            clean = picture.astype(np.float32) / np.float32(255)
            noisy = recipe.noise(np.random.default_rng((recipe.seed, number)), clean)
            noisy = pixels(noisy) if is_rounded else noisy
            before, after = (_ratio(array, picture) for array in (noisy, denoised(net, noisy)))
            found.append((before, after))
            console.print(f"{name}: {before:.2f} -> {after:.2f} dB", markup=False, highlight=False)
        before, after = np.mean(found, axis=0)
        console.print(f"mean of {len(found)}: {before:.2f} -> {after:.2f} dB", markup=False, highlight=False)

    return guarded(console, "evaluate", run)


def _ratio(picture: np.ndarray, clean: np.ndarray) -> float:
    like = np.empty(0)  # float64
    return float(psnr(brightness(picture[None], like), brightness(clean[None], like))[0])


def _library(device: str) -> Any:
    if device not in LIBRARIES:
        raise SpecError(f"device={device!r} is unknown; there are {', '.join(LIBRARIES)}")
    try:
        return import_module(LIBRARIES[device])
    except ImportError:
        raise SpecError("device 'cuda' needs CuPy: pip install 'arrconv[cuda13]'") from None


def _bar(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[loss]}"), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True)
