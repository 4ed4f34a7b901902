"""The denoiser and its commands: from nothing to pictures, of any size, and what is said where something is wrong."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from arrconv import ShapeError, SpecError, nn
from arrconv.cli import app
from arrconv.train import denoise, psnr
from arrconv.train.denoise import Recipe, denoised, load_denoiser, prepare, train, usual
from arrconv.train.leaves import dead_leaves
from arrconv.train.networks import seed_network, unet
from arrconv.train.pairs import FreshPairs, Pairs, Poisson
from arrconv.train.sources import read_pictures, write_picture
from arrconv.viz import draw_curves, side_by_side

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("PIL", reason="Pillow is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

pytestmark = pytest.mark.xdist_group("denoiser")  # which one process has trained

SMALL = ("--net", "seed", "--pairs", "160", "--size", "16", "--epochs", "2", "--sigma", "0.1")


@pytest.fixture(autouse=True)
def _few_pictures_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoise, "_CANVASES", 8)
    monkeypatch.setattr(denoise, "_CANVAS", 64)


def command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a denoiser."""
    folder = tmp_path_factory.mktemp("denoiser")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denoise, "_CANVASES", 8)
        patch.setattr(denoise, "_CANVAS", 64)
        train(Recipe(batch=32, pairs=400, size=16, epochs=3, sigma=0.1, lr=3e-3), folder)
    return folder


def test_training_leaves_a_denoiser_and_pictures(tmp_path: Path) -> None:
    status, text = command("train", "denoise", *SMALL, "--out", str(tmp_path))
    assert status == 0, text
    assert "seed: 132,995 parameters, 160 pairs, 2 epochs" in text
    assert "epoch 2: loss 0." in text
    for name in ("curves.png", "examples.png"):
        (picture,) = read_pictures(tmp_path / name).pictures
        assert min(picture.shape[1:]) > 100
        assert picture.std() > 5
    assert (tmp_path / "log.csv").read_text(encoding="utf-8").startswith("epoch,loss,lr,psnr\n1.0,")
    status, text = command("train", "denoise", *SMALL, "--epochs", "3", "--out", str(tmp_path), "--resume")
    assert status == 0, text
    assert "epoch 3: loss 0." in text
    status, text = command(
        "train", "denoise", *SMALL, "--sigma", "0.2", "--peak", "9", "--out", str(tmp_path), "--resume"
    )
    assert status == 2
    assert "cannot go on like this: sigma was 0.1, but is 0.2, peak was None, but is 9.0" in text


def test_graphs_are_for_cupy(tmp_path: Path) -> None:
    status, text = command("train", "denoise", *SMALL, "--graph", "--out", str(tmp_path))
    assert status == 2
    assert "CUDA graphs need a network of CuPy arrays, but its arrays are of numpy" in text


def test_a_trained_denoiser_denoises_images_of_any_size(trained: Path, tmp_path: Path) -> None:
    clean = dead_leaves(3, (37, 50), seed=77)
    for number, picture in enumerate(clean):
        write_picture(tmp_path / f"{number}.png", picture)
    status, text = command("evaluate", str(tmp_path), "--weights", str(trained), "--sigma", "0.1")
    assert status == 0, text
    before, after = (float(text.rpartition("mean of 3: ")[2].split()[place]) for place in (0, 2))
    assert before == pytest.approx(20, abs=0.1)  # of noise that is not clipped
    assert after > before + 0.5  # of three epochs of 400 pairs
    status, text = command("evaluate", str(tmp_path), "--weights", str(trained), "--sigma", "0.1", "--rounded")
    assert float(text.rpartition("mean of 3: ")[2].split()[0]) > before + 0.02
    status, text = command("evaluate", str(tmp_path), "--weights", str(trained), "--peak", "1e6")
    assert float(text.rpartition("mean of 3: ")[2].split()[0]) > 50
    write_picture(tmp_path / "odd.png", clean[0][:, :1, :7])
    (tmp_path / "broken.png").write_bytes(b"nothing")
    out = tmp_path / "answers"
    status, text = command("denoise", str(tmp_path / "1.png"), str(tmp_path), "-o", str(out), "--weights", str(trained))
    assert status == 0, text
    assert "skipped broken.png: " in text
    sizes = {file.name: read_pictures(file).pictures[0].shape for file in out.iterdir()}
    assert sizes == {"0.png": (3, 37, 50), "1.png": (3, 37, 50), "2.png": (3, 37, 50), "odd.png": (3, 1, 7)}


@pytest.mark.parametrize("make", [seed_network, lambda: unet(width=4)])
def test_large_pictures_are_answered_part_by_part_all_the_same(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    net = make().initialise(np, seed=2, dtype="float64").eval()
    picture = np.random.default_rng(1).integers(0, 256, (3, 75, 130)).astype(np.uint8)
    whole = denoised(net, picture)
    monkeypatch.setattr(denoise, "_TILE", 32)
    assert np.array_equal(denoised(net, picture), whole)


def test_noisy_and_clean_targets_are_what_they_say() -> None:
    noisy, measured = prepare(usual("seed", pairs=20, held_out=5, size=16, sigma=0.1))
    clean, _ = prepare(usual("seed", pairs=20, held_out=5, size=16, sigma=0.1, target="clean"))
    assert np.array_equal(noisy.inputs, clean.inputs)
    assert not np.array_equal(noisy.targets, clean.targets)
    assert isinstance(noisy, Pairs)
    assert isinstance(clean, Pairs)
    assert isinstance(measured, Pairs)
    ratios = [
        psnr(a / 255, b / 255).mean() for a, b in ((noisy.inputs, clean.targets), (measured.inputs, measured.targets))
    ]
    assert ratios == pytest.approx([20.3, 20.3], abs=1.0)


def test_pictures_of_a_folder_are_learned_from_or_measured_by(tmp_path: Path) -> None:
    for number in range(11):
        picture = np.zeros((3, 20, 20), np.uint8)
        picture[...] = number * 20
        write_picture(tmp_path / f"{number:02}.png", picture)
    write_picture(tmp_path / "tiny.png", np.zeros((3, 5, 30), np.uint8))
    said: list[str] = []
    pairs, measured = prepare(usual("seed", data=str(tmp_path), pairs=200, held_out=80, size=8, sigma=0.0), said.append)
    assert isinstance(pairs, Pairs)
    assert isinstance(measured, Pairs)
    shades = [set(np.unique(found.inputs).tolist()) for found in (pairs, measured)]
    assert shades[1] == {0, 200}
    assert shades[0] == set(range(20, 200, 20))
    assert said[0] == "skipped tiny.png: 30×5 pixels, less than 8 a side"
    assert said[1:] == [f"11 pictures from {tmp_path}, 1 skipped"]
    _, other = prepare(
        usual("seed", data=str(tmp_path), validation=str(tmp_path), pairs=9, held_out=80, size=8, sigma=0.0)
    )
    assert isinstance(other, Pairs)
    assert set(np.unique(other.inputs).tolist()) == set(range(0, 220, 20))


def test_a_recipe_says_which_noise_there_is_and_when_it_is_drawn() -> None:
    few: dict[str, Any] = {"pairs": 4, "held_out": 2, "size": 8}
    assert all(isinstance(found, FreshPairs) for found in prepare(Recipe(**few)))
    assert all(isinstance(found, Pairs) for found in prepare(Recipe(fresh=False, **few)))
    pairs, measured = prepare(usual("seed", peak=30.0, fresh=True, target="clean", **few))
    assert isinstance(pairs, FreshPairs)
    assert isinstance(measured, FreshPairs)
    assert (pairs.noise, pairs.target, measured.target) == (Poisson(30.0), "clean", "clean")


def test_interrupted_training_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = nn.Sequential.backward
    passes = iter(range(10**6))

    def interrupting(self: Any, gy: Any, *, needs_input: bool = True) -> Any:
        if next(passes) == 3:
            signal.raise_signal(signal.SIGINT)
        return original(self, gy, needs_input=needs_input)

    monkeypatch.setattr(nn.Sequential, "backward", interrupting)
    status, text = command("train", "denoise", *SMALL, "--out", str(tmp_path))
    assert status == 130
    assert "train: interrupted go on with --resume" in text
    monkeypatch.undo()
    assert load_denoiser(tmp_path).is_training is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "denoise", "--net", "transformer"), "net='transformer' is unknown; there are unet, seed"),
        (("train", "denoise", "--device", "tpu"), "device='tpu' is unknown; there are cpu, cuda"),
        (("train", "denoise", "--target", "dirty"), "target='dirty' is unknown; there are noisy, clean"),
        (("train", "denoise", "--data", "nowhere"), "there is no file or folder nowhere"),
        (("train", "denoise", "--data", "notes.pkl"), "notes.pkl is no archive of tensors of bytes"),
        (("train", "denoise", "--data", "."), "there is no picture in ."),
        (("denoise", "nowhere.png", "-o", "out", "--weights", "empty"), "there is no denoiser in empty"),
        (("denoise", "nowhere.png", "-o", "out", "--weights", "odd"), "does not describe a denoiser"),
        (("evaluate", "nowhere.png", "--weights", "WEIGHTS"), "there is no file or folder nowhere.png"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: tuple[str, ...], message: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.pkl").write_text("notes", encoding="utf-8")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "denoiser.json").write_text("{}", encoding="utf-8")
    more = SMALL if arguments[0] == "train" else ()
    first, given = arguments[:2], [str(trained) if a == "WEIGHTS" else a for a in arguments[2:]]
    status, text = command(*first, *more, *given)
    assert status == 2, text
    assert message in text


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    status, text = command("train", "denoise", *SMALL, "--device", "cuda", "--out", str(tmp_path))
    assert (status, "device 'cuda' needs CuPy" in text) == (2, True)


def test_one_picture_is_too_few(tmp_path: Path) -> None:
    write_picture(tmp_path / "one.png", dead_leaves(1, 20)[0])
    with pytest.raises(SpecError, match="has one picture, and there is none left to measure by"):
        prepare(Recipe(data=str(tmp_path), size=8))


def test_pictures_side_by_side() -> None:
    a, b = np.zeros((3, 10, 14), np.uint8), np.full((3, 10, 14), 200, np.uint8)
    found = side_by_side([[a, b], [b, a]])
    assert found.shape == (3, 2 * 100 + 4, 2 * 140 + 4)  # ten times as large
    assert found[:, :100, :140].max() == 0
    assert found[:, :100, 144:].min() == 200
    assert found[:, 100:104].min() == 255
    with pytest.raises(ShapeError, match="rows of as many pictures of one size"):
        side_by_side([[a, b], [a]])


def test_curves_are_drawn(tmp_path: Path) -> None:
    history = [{"epoch": float(n), "loss": 1 / n, "psnr": 20.0 + n} for n in (1, 2, 3)]
    draw_curves(history, tmp_path / "curves.png")
    assert read_pictures(tmp_path / "curves.png").pictures[0].shape == (3, 384, 960)
    draw_curves([], tmp_path / "empty.png")
