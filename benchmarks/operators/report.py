"""Tables of what was found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.table import Table

from benchmarks.operators.noise import LARGEST, NEAR, RECOMMENDED

if TYPE_CHECKING:
    from rich.console import RenderableType


def of_operators(record: dict[str, Any]) -> list[RenderableType]:
    sizes = f"{record['channels']} channels, {record['size']}×{record['size']}, 3×3, float64"
    tables: dict[str, Any] = {
        "inverse": lambda found: [of_inverses(found, sizes)],
        "peers": lambda found: of_race(found, sizes),
        "norm": lambda found: [of_norm(found, sizes)],
        "fft": lambda found: [of_transforms(found, record["image"])],
        "noise": lambda found: [of_noise(found, *map(min, LARGEST, (record["channels"], record["size"])))],
    }
    shown = [table for part, make in tables.items() if part in record for table in make(record[part])]
    return [*shown, f"not installed: {', '.join(record['not_installed']) or 'none'}"]


def grid(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column)
    return table


def quartiles(found: dict[str, float], digits: int = 3) -> str:
    low, median, high = (f"{found[key]:.{digits}g}" for key in ("lower_quartile", "median", "upper_quartile"))
    return f"{median} ({low} to {high})"


def of_inverses(record: dict[str, Any], sizes: str) -> Table:
    table = grid(
        f"inverses: {sizes}, random kernel, medians (quartiles)",
        "inverse", "method", "set-up s", "a solution ms", "‖gradient‖ / ‖A.H y‖", "‖A x − y‖ / ‖y‖", "error of x",
    )  # fmt: skip
    for name, found in record.items():
        errors = (f"{found[key]:.1e}" for key in ("gradient", "residual", "error_of_x"))
        table.add_row(name, found["method"], quartiles(found["set_up_s"]), quartiles(found["solution_ms"]), *errors)
    return table


def of_race(record: dict[str, Any], sizes: str) -> Iterator[RenderableType]:
    for kernel, found in record.items():
        first, *_ = found["methods"].values()
        reached, after = (list(first[key]) for key in ("reached", "after"))
        table = grid(
            f"zeros around, {kernel} kernel: {sizes}; a dash: not in its time",
            "method", *(f"s to {goal}" for goal in reached), *(f"residual at {moment} s" for moment in after), "x told",
        )  # fmt: skip
        for name, one in found["methods"].items():
            times = ("–" if one["reached"][goal] is None else f"{one['reached'][goal]:.3g}" for goal in reached)
            table.add_row(name, *times, *(f"{one['after'][m]:.1e}" for m in after), str(one["told"]))
        yield table
        direct = found["methods"]["arrconv pinv"]
        yield f"pinv: set-up {direct['set_up_s']:.3g} s, each further solution {quartiles(direct['further_s'])} s"
        yield "; ".join(
            f"{library}: forward {quartiles(one['forward_ms'])} ms, adjoint {quartiles(one['adjoint_ms'])} ms"
            for library, one in found["applications"].items()
        )


def of_norm(record: dict[str, Any], sizes: str) -> str:
    return (
        f"norm, zeros around, {sizes}, random kernel: {record['low']:.6g} to {record['high']:.6g} "
        f"({record['relative_width']:.1e} apart), {record['iterations']} iterations, {quartiles(record['seconds'])} s; "
        f"first call {record['first_call_s']:.3g} s"
    )


def of_transforms(record: dict[str, Any], image: int) -> Table:
    table = grid(
        f"one channel, {image}×{image}, forward and adjoint ms, medians (quartiles), taking turns", "kernel", "by",
        "forward", "adjoint",
    )  # fmt: skip
    for kernel, members in record.items():
        for name, found in members.items():
            table.add_row(kernel, name, *(quartiles(found[key]) for key in ("forward_ms", "adjoint_ms")))
    return table


def of_noise(record: dict[str, Any], channels: int, size: int) -> Table:
    low, high = (f"{factor:g}" for factor in RECOMMENDED)
    table = grid(
        f"{channels} channels, {size}×{size}: errors of x from A x + noise; damp = factor · (relative noise) · σ_max",
        "kernel", "noise", "pinv", "tikhonov at its best", "factor", f"within {NEAR:g}× of that",
        f"at {low}", f"at {high}",
    )  # fmt: skip
    for kernel, levels in record.items():
        for level, found in levels.items():
            damped, near = found["tikhonov"], found["near_the_best"]
            best = found["best_factor"]
            errors = (found["pinv"], damped[f"{best:g}"])
            table.add_row(
                kernel, level, *(f"{error:.2e}" for error in errors), f"{best:g}", f"{near[0]:g} … {near[1]:g}",
                *(f"{damped[factor]:.2e}" for factor in (low, high)),
            )  # fmt: skip
    return table
