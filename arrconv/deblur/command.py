"""What `arrconv deblur` does and prints."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from arrconv.deblur.curves import Curve, draw_residuals
from arrconv.deblur.kernels import read_kernel
from arrconv.deblur.recovery import METHODS, recover
from arrconv.deblur.scene import blurred, shown
from arrconv.errors import SpecError
from arrconv.train.command import guarded
from arrconv.train.leaves import dead_leaves
from arrconv.train.measure import psnr
from arrconv.train.pictures import pixels
from arrconv.train.sources import read_pictures, write_picture
from arrconv.viz import side_by_side

if TYPE_CHECKING:
    from pathlib import Path

    from arrconv.deblur.recovery import OnStep, Recovery
    from arrconv.deblur.scene import Boundary

_ROUNDING = 1 / 255 / math.sqrt(12)  # the standard deviation of what rounding to bytes adds
_ADDED = 0.01  # the noise that --blur adds unless it is said
_SIZE = (320, 480)  # of the generated picture
_OCTAVES = 4  # dampings are tried so far below and above the chosen one


@dataclass(frozen=True, slots=True)
class Options:
    """What `arrconv deblur` is told besides the image and the kernel.

    Attributes:
        method, boundary, damp, iterations: as for `recover`.
        noise: that of the picture, or that is added, besides the rounding to bytes.
        is_sharp: whether the image is sharp, and to be blurred first.
        seed: decides the noise that is added, and the generated picture.
    """

    method: str
    boundary: str
    noise: float | None
    damp: float | None
    iterations: int
    is_sharp: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Given:
    """The pictures, uint8 (C, H, W): the blurred one, and the sharp one, if it is known."""

    before: np.ndarray
    sharp: np.ndarray | None

    def ratio(self, picture: np.ndarray) -> float:
        """The PSNR of a picture, in dB."""
        assert self.sharp is not None
        return float(psnr(picture[None] / 255, self.sharp[None] / 255)[0])


def deblur_file(image: Path | None, kernel_text: str, options: Options, folder: Path) -> int:
    """Undo the blur of an image, and leave pictures, the curve of residuals and a report in a folder."""
    console = Console()

    def run() -> None:
        began, kernel = time.monotonic(), read_kernel(kernel_text)
        given = _given(image, kernel, options)
        noise = _known_noise(options)
        _say(console, f"kernel {kernel_text}: {_pixels(kernel)} pixels, sum {kernel.sum():.6g}")
        with _bar(console) as bar:
            task = bar.add_task(options.method, total=None, residual="")

            def show(number: int, residual: float) -> None:
                bar.update(task, total=options.iterations, completed=number, residual=f"residual {residual:.5f}")

            found = _recovered(given, kernel, options, noise=noise, damp=options.damp, on_step=show)
            after = pixels(found.picture)
            curve = _curve(found, given, kernel, options)
        folder.mkdir(parents=True, exist_ok=True)
        known = [] if given.sharp is None else [given.sharp]
        write_picture(folder / "before.png", given.before)
        write_picture(folder / "after.png", after)
        write_picture(folder / "comparison.png", side_by_side([[given.before, after, *known]]))
        draw_residuals(curve, found.noise, folder / "residuals.png")
        report = _report(found, curve, kernel_text, kernel, options)
        if given.sharp is not None:
            report["psnr"] = {"before": given.ratio(given.before), "after": given.ratio(after)}
        report["seconds"] = round(time.monotonic() - began, 3)
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        _tell(console, report, found)
        _say(console, f"{report['seconds']:.1f} s; before, after, comparison and residuals (.png) are in {folder}")

    return guarded(console, "deblur", run)


def _given(image: Path | None, kernel: np.ndarray, options: Options) -> Given:
    if image is None:
        if not options.is_sharp:
            raise SpecError("there is no image; give one, or --blur for a generated picture that is blurred first")
        picture = dead_leaves(1, _SIZE, seed=options.seed)[0]
    else:
        pictures = read_pictures(image).pictures
        if len(pictures) > 1:
            raise SpecError(f"there are {len(pictures)} pictures in {image}; give one")
        (picture,) = pictures
    if not options.is_sharp:
        return Given(picture, None)
    boundary = cast("Boundary", options.boundary)
    exact = blurred(picture / 255, kernel, boundary)
    added = _ADDED if options.noise is None else options.noise
    noise = added * np.random.default_rng((options.seed, 20)).standard_normal(exact.shape)
    return Given(pixels(exact + noise), shown(picture, kernel, boundary).astype(np.uint8))


def _known_noise(options: Options) -> float | None:
    """The noise of the blurred picture, with that of rounding; None where it is to be found."""
    added = _ADDED if options.is_sharp and options.noise is None else options.noise
    return None if added is None else math.hypot(added, _ROUNDING)


def _recovered(
    given: Given, kernel: np.ndarray, options: Options, *, noise: float | None, damp: float | None,
    on_step: OnStep | None = None,
) -> Recovery:  # fmt: skip
    return recover(
        given.before / 255, kernel, method=options.method, boundary=cast("Boundary", options.boundary), noise=noise,
        damp=damp, iterations=options.iterations, on_step=on_step,
    )  # fmt: skip


def _curve(found: Recovery, given: Given, kernel: np.ndarray, options: Options) -> Curve:
    """The residuals of the iterations; of a method without, those of other dampings."""
    if not METHODS[options.method].is_direct or found.damp is None:
        return Curve("iteration", tuple(range(len(found.residuals))), found.residuals)
    damps = tuple(found.damp * 2.0**octave for octave in range(-_OCTAVES, _OCTAVES + 1))
    others = [_recovered(given, kernel, options, noise=found.noise, damp=damp) for damp in damps]
    ratios = () if given.sharp is None else tuple(given.ratio(pixels(other.picture)) for other in others)
    return Curve("damping", damps, tuple(other.residuals[-1] for other in others), ratios, found.damp)


def _report(found: Recovery, curve: Curve, kernel_text: str, kernel: np.ndarray, options: Options) -> dict[str, Any]:
    return {
        "kernel": kernel_text,
        "kernel_size": list(kernel.shape),
        "kernel_sum": float(kernel.sum()),
        "method": options.method,
        "boundary": options.boundary,
        "noise": found.noise,
        "is_noise_estimated": _known_noise(options) is None,
        "power_law": {"scale": found.law.scale, "exponent": found.law.exponent},
        "damp": found.damp,
        "residual": found.residuals[-1],
        "curve": {curve.label: list(curve.places), "residual": list(curve.residuals), "psnr": list(curve.ratios)},
        "message": found.message,
        "explanation": found.explanation,
        "versions": {"arrconv": version("arrconv"), "numpy": np.__version__},
    }


def _tell(console: Console, report: dict[str, Any], found: Recovery) -> None:
    _say(console, f"{report['method']}: {found.explanation}")
    _say(console, found.message)
    noise = f"noise {found.noise:.4f} ({'found in the picture' if report['is_noise_estimated'] else 'given'})"
    damp = "" if found.damp is None else f", damping {found.damp:.4f}"
    _say(
        console, f"{noise}, power of the scene ~ 1/f^{found.law.exponent:.2f}{damp}, residual {report['residual']:.4f}"
    )
    if "psnr" in report:
        _say(console, f"PSNR {report['psnr']['before']:.2f} -> {report['psnr']['after']:.2f} dB")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _pixels(kernel: np.ndarray) -> str:
    return "×".join(str(n) for n in kernel.shape[::-1])


def _bar(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[residual]}")
    return Progress(*columns, console=console, transient=True)
