"""The command: what it leaves and prints, and what it says where something is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from arrconv.cli import app
from arrconv.deblur import METHODS, command
from arrconv.train.leaves import dead_leaves
from arrconv.train.sources import read_pictures, write_picture

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("PIL", reason="Pillow is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.fixture(autouse=True)
def _generated_pictures_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_SIZE", (60, 81))
    monkeypatch.setattr(command, "_OCTAVES", 1)


def deblur(*arguments: str) -> tuple[int, str]:
    kernel = () if "--kernel" in arguments else ("--kernel", "gaussian:2")
    result = CliRunner().invoke(app, ["deblur", *kernel, *arguments])
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("method", METHODS)
def test_a_generated_picture_is_blurred_and_comes_back(method: str, tmp_path: Path) -> None:
    status, text = deblur("--blur", "--kernel", "motion:7,30", "--method", method, "-o", str(tmp_path / "out"))
    assert status == 0, text
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    before, after = report["psnr"]["before"], report["psnr"]["after"]
    assert after > before + 1.5
    assert f"PSNR {before:.2f} -> {after:.2f} dB" in text
    assert (report["kernel"], report["method"], report["boundary"]) == ("motion:7,30", method, "unknown")
    assert report["noise"] == pytest.approx(0.01, rel=0.01)
    assert not report["is_noise_estimated"]
    pictures = {file.name: read_pictures(file).pictures[0] for file in (tmp_path / "out").glob("*.png")}
    height, width = 60 - report["kernel_size"][0] + 1, 81 - report["kernel_size"][1] + 1
    assert pictures["before.png"].shape == pictures["after.png"].shape == (3, height, width)
    assert pictures["comparison.png"].shape == (3, 2 * height, 6 * width + 8)  # enlarged, with gaps
    assert pictures["residuals.png"].std() > 5
    curve = report["curve"]
    places = curve["damping"] if METHODS[method].is_direct else curve["iteration"]
    assert len(places) == len(curve["residual"])
    assert len(curve["psnr"]) == (3 if METHODS[method].is_direct else 0)


def test_the_same_seed_gives_the_same_picture(tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert deblur("--blur", "--kernel", "gaussian:1", "--seed", seed, "-o", str(tmp_path / name))[0] == 0
    after = [(tmp_path / name / "after.png").read_bytes() for name in "abc"]
    assert after[0] == after[1] != after[2]


def test_a_blurred_image_is_deblurred_by_the_kernel_of_a_file(tmp_path: Path) -> None:
    picture = dead_leaves(1, (50, 64), seed=8)[0]
    write_picture(tmp_path / "blurred.png", picture)
    np.save(tmp_path / "kernel.npy", np.asarray([[0.25, 0.5], [0.25, 0.0]]))
    kernel = ("--kernel", str(tmp_path / "kernel.npy"))
    status, text = deblur(str(tmp_path / "blurred.png"), *kernel, "-o", str(tmp_path))
    assert status == 0, text
    assert "kernel.npy: 2×2 pixels, sum 1 " in text
    assert "(found in the picture)" in text
    assert "PSNR" not in text
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["is_noise_estimated"]
    assert "psnr" not in report
    assert np.array_equal(read_pictures(tmp_path / "before.png").pictures[0], picture)
    status, text = deblur(str(tmp_path / "blurred.png"), *kernel, "--noise", "0", "-o", str(tmp_path))
    assert "noise 0.0011 (given)" in text  # that of rounding


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.png",), "there is no file or folder nowhere.png"),
        (("notes.png",), "there is no picture in notes.png"),
        (("two",), "there are 2 pictures in two; give one"),
        ((), "there is no image; give one, or --blur for a generated picture"),
        (("--blur", "--kernel", "gauss:2"), "kernel 'gauss:2' is unknown"),
        (("--blur", "--kernel", "gaussian:-2"), "sigma must be above 0 and finite, but got -2.0"),
        (("--blur", "--kernel", "gaussian:20"), "the kernel has 161×161 pixels, more than the picture's 81×60"),
        (("--blur", "--kernel", "nowhere.npy"), "nowhere.npy"),
        (("--blur", "--kernel", "notes.npy"), "notes.npy is no npy file of an array"),
        (("--blur", "--method", "magic"), "method='magic' is unknown; there are wiener, tikhonov, cg, cgls"),
        (("--blur", "--noise", "-1"), "--noise"),
        (("--blur", "-o", "notes.png"), "notes.png"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("notes.png", "notes.npy"):
        (tmp_path / name).write_text("notes", encoding="utf-8")
    (tmp_path / "two").mkdir()
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / "two" / name, np.zeros((3, 30, 40), np.uint8))
    status, text = deblur(*arguments)
    assert status == 2, text
    assert message in text


def test_it_can_be_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt  # no signal: tests may run in the background, where those of the keyboard are ignored

    monkeypatch.setattr(command, "recover", interrupted)
    status, text = deblur("--blur", "-o", str(tmp_path / "out"))
    assert (status, text) == (130, "kernel gaussian:2: 17×17 pixels, sum 1 deblur: interrupted")
    assert not (tmp_path / "out").exists()
