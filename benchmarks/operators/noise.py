"""What noise does to solutions: x found from A x + noise by the pseudo-inverse, and with damping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from arrconv.linop import Conv, norm_bounds, pinv, tikhonov
from benchmarks.operators.problems import kernels, normal, relative

LEVELS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # ‖noise‖ / ‖A x‖
FACTORS = (0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
RECOMMENDED = (0.3, 1.0)
NEAR = 1.1  # times the least error
LARGEST = 8, 32
"""Channels and size at most."""


def noise(
    channels: int, size: int, levels: tuple[float, ...] = LEVELS, factors: tuple[float, ...] = FACTORS
) -> dict[str, Any]:
    """For each kernel and level the relative errors of x: normal numbers, as the noise is."""
    return {
        name: {f"{level:g}": errors(Conv(w, (size, size), padding=1), level, factors) for level in levels}
        for name, w in kernels(channels, size).items()
    }


def errors(operator: Conv, level: float, factors: tuple[float, ...]) -> dict[str, Any]:
    """The damping is factor · level · σ_max."""
    x = normal(*operator.shape_in)
    y = operator @ x
    e = np.random.default_rng(2).standard_normal(operator.shape_out)
    noisy = y + level * np.linalg.norm(y) / np.linalg.norm(e) * e
    unit = level * norm_bounds(operator).low
    damped = {f"{factor:g}": relative(tikhonov(operator, factor * unit) @ noisy, x) for factor in factors}
    least = min(damped.values())
    near = [float(factor) for factor, error in damped.items() if error <= NEAR * least]
    return {
        "pinv": relative(pinv(operator) @ noisy, x),
        "tikhonov": damped,
        "best_factor": float(min(damped, key=damped.__getitem__)),
        "near_the_best": [near[0], near[-1]],
    }


def draw_noise(record: dict[str, Any], file: Path) -> None:
    """The error over the factor, a line for each level, beside that of the pseudo-inverse."""
    from matplotlib import colormaps  # only here, since nothing else needs it
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure = Figure(figsize=(11, 5.6), layout="constrained")
    panels = figure.subplots(1, len(record), squeeze=False, sharey=True)[0]
    for axes, (name, levels) in zip(panels, record.items(), strict=True):
        colours = colormaps["viridis"](np.linspace(0, 0.9, len(levels)))
        axes.axvspan(*RECOMMENDED, color="0.9", zorder=0)
        for colour, (level, found) in zip(colours, levels.items(), strict=True):
            factors = [float(factor) for factor in found["tikhonov"]]
            label = f"noise $10^{{{np.log10(float(level)):.0f}}}$"
            axes.plot(factors, found["tikhonov"].values(), "o-", color=colour, markersize=3, label=label)
            axes.axhline(found["pinv"], color=colour, linestyle="--", linewidth=1)
        axes.set(xscale="log", yscale="log", title=f"a kernel that is {name}", xlabel="damp / (relative noise · σ_max)")
        axes.set_xlim(factors[0], factors[-1])
    lines, labels = axes.get_legend_handles_labels()
    others = {
        "pinv, colours as above": Line2D([], [], color="0.3", linestyle="--", linewidth=1),
        f"factors {RECOMMENDED[0]:g} … {RECOMMENDED[1]:g}": Patch(color="0.9"),
    }
    panels[0].set_ylabel("relative error of x, which is normal numbers")
    figure.legend([*lines, *others.values()], [*labels, *others], loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(file, dpi=160)
