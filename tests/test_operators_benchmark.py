"""The benchmark of operators: what it compares and refuses, and that its figures are what they are called."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from arrconv.linop import Conv
from benchmarks import engine
from benchmarks.__main__ import TABLES
from benchmarks.operators import race as racing
from benchmarks.operators.inverses import inverses, norm
from benchmarks.operators.noise import draw_noise, noise
from benchmarks.operators.problems import DISTANCE, kernels
from benchmarks.operators.transforms import transforms

if TYPE_CHECKING:
    from pathlib import Path

CHANNELS, SIZE = 2, 6
OTHERS = [name for name in ("scipy",) if find_spec(name)]  # to import PyLops takes longer than all of this


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (engine, racing):
        monkeypatch.setattr(module, "PAUSE", 0.0)


def shown(part: str, found: Any) -> str:
    screen = StringIO()
    console = Console(file=screen, width=250)
    sizes = {"channels": CHANNELS, "size": SIZE, "image": 20, "not_installed": ["pylops"]}
    for one in TABLES["operators"](sizes | {part: found}):
        console.print(one, markup=False, highlight=False)
    assert "not installed: pylops" in screen.getvalue()
    return screen.getvalue()


def operator(kernel: str = "random") -> Conv:
    return Conv(kernels(CHANNELS, SIZE)[kernel], (SIZE, SIZE), padding=1)


def test_the_second_kernel_is_near_a_delta_and_the_first_is_not() -> None:
    for kernel, is_near in (("near a delta", True), ("random", False)):
        values = np.linalg.svd(operator(kernel).to_matrix(), compute_uv=False)
        assert (np.abs(values - 1).max() <= DISTANCE) == is_near


def test_inverses_undo_and_damping_does_not() -> None:
    found = inverses(CHANNELS, SIZE, 2)
    for name, one in found.items():
        assert one["gradient"] < 1e-13
        assert (one["residual"] < 1e-13) == (one["error_of_x"] < 1e-9) == (name != "circular, tikhonov")
        assert f"{one['error_of_x']:.1e}" in shown("inverse", found)
    assert [one["method"] for one in found.values()] == ["frequencies", "frequencies", "border"]


def test_the_norm_lies_within_its_bounds() -> None:
    found = norm(CHANNELS, SIZE, 2)
    exact = np.linalg.norm(operator().to_matrix(), 2)
    assert found["low"] <= exact * (1 + 1e-12)
    assert exact <= found["high"] * (1 + 1e-12)
    assert found["high"] == pytest.approx(found["low"] * (1 + found["relative_width"]))
    assert f"{found['iterations']} iterations" in shown("norm", found)


def test_each_method_reaches_the_goals_near_a_delta() -> None:
    found = racing.solved(operator("near a delta"), {n: racing.CONTENDERS[n] for n in ("arrconv", *OTHERS)}, 5.0, 2)
    assert set(found["applications"]) == {"arrconv", *OTHERS}
    methods = ["pinv", "lsqr", "lsmr", "cgls"]
    assert [name for name in found["methods"] if "arrconv" in name] == [f"arrconv {name}" for name in methods]
    text = shown("peers", {"near a delta": found})
    for name, one in found["methods"].items():
        times = [one["reached"][key] for key in ("0.001", "1e-06", "1e-10")]
        assert times == sorted(times)
        assert one["told"] == 1 if name == "arrconv pinv" else one["told"] > 5
        assert one["after"]["5"] <= 1e-10 < max(residual for _, residual in [(0, 1.0), *one["curve"]])
        assert name in text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that tests add to, in place of those that pass."""
    passed = [0.0]
    monkeypatch.setattr(racing.time, "perf_counter", lambda: sum(passed))
    return passed


def test_a_method_that_is_too_slow_is_ended_and_its_goals_are_not_reached(clock: list[float]) -> None:
    def slow(_: Conv, y: Any, watch: racing.Watch) -> None:
        while True:
            clock.append(2.0)
            watch(0.0 * y)

    made = replace(racing.of_arrconv(operator()), methods={"slow": slow})
    found = racing.solved(operator(), {"other": lambda _: made}, 5.0, 2)
    record = found["methods"]["other slow"]
    assert set(record["reached"].values()) == {None}
    assert record["curve"] == [(2.0, 1.0), (4.0, 1.0), (6.0, 1.0)]
    assert record["after"] == {"1": 1.0, "5": 1.0}
    assert "–" in shown("peers", {"random": found})


def test_the_clock_stands_still_while_the_residual_is_computed(clock: list[float]) -> None:
    class Slow(Conv):
        def _map(self, x: Any) -> Any:
            clock.append(10.0)
            return super()._map(x)

    a = operator()
    watch = racing.Watch(Slow(a.w, (SIZE, SIZE), padding=1), np.ones(a.shape_out), 100.0)
    for _ in range(3):
        clock.append(0.5)
        watch(np.zeros(a.shape_in))
    assert watch.curve == [(0.5, 1.0), (1.0, 1.0), (1.5, 1.0)]
    assert sum(clock) == 31.5


@pytest.mark.parametrize("direction", ["forward", "adjoint"])
def test_another_operator_is_no_contender(direction: str) -> None:
    def off(x: Any) -> Any:
        return (1 + 1e-9) * getattr(racing.of_arrconv(operator()), direction)(x)

    def wrong(a: Conv) -> racing.Contender:
        return replace(racing.of_arrconv(a), **{direction: off})

    with pytest.raises(RuntimeError, match=rf"other, {direction}, is another operator: .* 1\.0.*e-09 from"):
        racing.solved(operator(), {"other": wrong}, 0.1, 2)


def test_transforms_of_one_boundary_are_compared_and_take_turns() -> None:
    """Without SciPy, whose signal processing takes long to import."""
    found = transforms(20, (3,), 2, ())
    assert list(found) == ["3×3, float64", "3×3, complex128"]
    text = shown("fft", found)
    for members in found.values():
        assert len(members) == 4
        for name, one in members.items():
            assert one["forward_ms"]["median"] > 0
            assert name in text


def test_noise_is_amplified_by_the_inverse_and_less_with_damping(tmp_path: Path) -> None:
    found = noise(CHANNELS, SIZE, (1e-3, 1e-1), (0.3, 1.0, 100.0))
    for levels in found.values():
        assert levels["0.1"]["pinv"] == pytest.approx(100 * levels["0.001"]["pinv"], rel=1e-6)
    assert found["random"]["0.1"]["pinv"] > 2 * found["near a delta"]["0.1"]["pinv"]
    one = found["random"]["0.1"]
    best = one["tikhonov"][f"{one['best_factor']:g}"]
    assert best == min(one["tikhonov"].values()) < min(one["pinv"], one["tikhonov"]["100"])
    assert f"{best:.2e}" in shown("noise", found)
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    draw_noise(found, tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size > 10_000
