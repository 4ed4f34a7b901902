"""The benchmark of training steps: both libraries train the same network, and a difference stops it."""

from __future__ import annotations

from io import StringIO
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from benchmarks import training
from benchmarks.__main__ import TABLES
from benchmarks.peers.session import Session

pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.parametrize("name", ["seed", "unet"])
def test_the_networks_of_both_libraries_are_the_same(name: str) -> None:
    own, other = (make(name, 8, 2, 16) for make in (training.arrconv_step, training.torch_step))
    losses = [own() for _ in range(3)]
    assert losses[2] < losses[0]
    assert [other() for _ in range(3)] == pytest.approx(losses, rel=1e-5)


def test_steps_are_measured_in_turns_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "ROUNDS", 2)
    sessions = {name: Session(name, 1, module="benchmarks.training") for name in ("arrconv", "torch")}
    try:
        found = training.measured("seed", 8, 2, 8, sessions)
    finally:
        for session in sessions.values():
            session.close()
    low, high = sorted(
        (found["torch_ms"]["median"] / found["arrconv_ms"]["median"], found["torch / arrconv"]["median"])
    )
    assert low > 0.1 * high
    shown = StringIO()
    Console(file=shown, width=120).print(*TABLES["training"]({"steps": {"seed, 2 of 8×8": found}}))
    for key, digits in (("arrconv_ms", 1), ("torch_ms", 1), ("torch / arrconv", 2)):
        assert f"{found[key]['median']:.{digits}f} (" in shown.getvalue()


def test_another_result_is_no_measurement() -> None:
    class Wrong:
        def __init__(self, losses: list[float]) -> None:
            self.losses = losses

        def ask(self, do: str, **_: Any) -> dict[str, Any]:
            assert do == "prepare"
            return {"losses": self.losses}

    sessions: Any = {"arrconv": Wrong([0.1, 0.2]), "torch": Wrong([0.1, np.nan])}
    with pytest.raises(RuntimeError, match=r"torch has the losses \[0.1, nan\], but arrconv \[0.1, 0.2\]"):
        training.measured("seed", 8, 2, 8, sessions)
