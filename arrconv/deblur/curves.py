"""Curves of residuals, as an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrconv.errors import UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Curve:
    """How the residual depends on how often was iterated, or on the damping.

    Attributes:
        label: of what is to the right: "iteration" or "damping".
        places: these numbers.
        residuals: one for each.
        ratios: the PSNR of the answers, in dB; none where it is not known.
        chosen: the damping that was taken; None for iterations.
    """

    label: str
    places: tuple[float, ...]
    residuals: tuple[float, ...]
    ratios: tuple[float, ...] = ()
    chosen: float | None = None


def draw_residuals(curve: Curve, noise: float, file: Path) -> None:
    """Draw the residual against the noise, on a logarithmic scale, and the PSNR where it is known, to an image file.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UnsupportedError("curves need matplotlib: pip install 'arrconv[train]'") from None
    figure: Any = Figure(figsize=(8 if curve.ratios else 5, 3.2), layout="constrained")
    drawn = [("residual (root mean square)", curve.residuals), ("PSNR in dB", curve.ratios)]
    shown = [(label, values) for label, values in drawn if values]
    for axes, (label, values) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        axes.plot(curve.places, values, marker="o", markersize=3)
        axes.set_xlabel(curve.label)
        axes.set_ylabel(label)
        axes.grid(which="both", alpha=0.3)
        if curve.chosen is None:
            axes.xaxis.get_major_locator().set_params(integer=True)
        else:
            axes.set_xscale("log")
            axes.axvline(curve.chosen, color="tab:green", linestyle="--", label="chosen")
        if values is curve.residuals:
            axes.set_yscale("log")
            axes.axhline(noise, color="tab:red", linestyle="--", label="noise")
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    figure.savefig(file, dpi=120)
