"""Training a denoiser, and what it makes of pictures of any size."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.errors import SpecError
from arrconv.spec import as_int
from arrconv.train.checkpoint import Progress, load_weights
from arrconv.train.leaves import dead_leaves
from arrconv.train.loop import CHECKPOINT, Report, fit
from arrconv.train.measure import mean_psnr
from arrconv.train.networks import MULTIPLE, network
from arrconv.train.optimiser import SGD, Adam
from arrconv.train.pairs import FreshPairs, Gaussian, Pairs, Poisson
from arrconv.train.pictures import brightness, crops, host, pixels
from arrconv.train.schedule import Constant, Cosine
from arrconv.train.sources import read_pairs, read_pictures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from arrconv.nn.layer import Layer
    from arrconv.train.optimiser import Optimiser
    from arrconv.train.pairs import Data, Noise, Target
    from arrconv.train.pictures import Pictures
    from arrconv.train.schedule import Schedule

ABOUT = "denoiser.json"
_CANVASES, _CANVAS = 24, 256  # generated pictures to cut from, and their size
_TILE, _MARGIN = 512, 64  # of large pictures, answered part by part; what a part sees beyond what is kept of it


@dataclass(frozen=True)
class Recipe:
    """What a denoiser is trained from; with its seed it decides every bit of the result on a CPU.

    What is usual for a network `usual` gives; without arguments it is that for the U-Net.

    Attributes:
        net: "unet" or "seed".
        width: channels of its first layer.
        data: a folder of images, an npy or npz of pictures, or pairs in an npz or an archive of PyTorch; None for
            generated pictures.
        validation: the same, to measure by; None for some of the data that are held out.
        target: what is learned from: other noisy copies, or the clean pictures.
        sigma: the strength of normal noise, in units of white.
        peak: photons for white, for the noise of counted light instead of normal noise.
        fresh: whether noise is drawn anew in each step, neither rounded nor clipped, instead of once for each pair,
            as bytes.
        pairs: how many squares are cut from pictures.
        held_out: how many more are cut to measure by.
        size: of their sides.
        shrink: squares are cut so many times as large, and averaged.
        epochs, batch, lr, seed: of training: plain gradient descent with a constant rate for "seed", Adam with a rate
            that falls along a cosine for "unet".
    """

    net: str = "unet"
    width: int = 16
    data: str | None = None
    validation: str | None = None
    target: Target = "noisy"
    sigma: float = 25 / 255
    peak: float | None = None
    fresh: bool = True
    pairs: int = 7_000
    held_out: int = 500
    size: int = 32
    shrink: int = 1
    epochs: int = 2
    batch: int = 16
    lr: float = 1e-3
    seed: int = 0

    @property
    def noise(self) -> Noise:
        """The noise model."""
        return Gaussian(self.sigma) if self.peak is None else Poisson(self.peak)

    def noisy(self, pictures: Pictures, seed: int, target: Target) -> Data:
        """Pairs of pictures with noise."""
        if self.fresh:
            return FreshPairs(pictures, self.noise, seed, target)
        return Pairs.noisy(pictures, self.noise, seed=seed, target=target)


SEED = Recipe("seed", width=64, fresh=False, pairs=12_000, epochs=8, batch=32, lr=10.0)
"""For two strided convolutions and their way back: pairs of bytes, plain gradient descent."""


def usual(net: str, **changes: Any) -> Recipe:
    """What is usual for a network, with changes; None is none.

    Raises:
        SpecError: there is no such network.

    >>> usual("seed", epochs=20, sigma=None).epochs
    20
    """
    recipes = {"unet": Recipe(), "seed": SEED}
    if net not in recipes:
        raise SpecError(f"net={net!r} is unknown; there are {', '.join(recipes)}")
    return replace(recipes[net], **{name: value for name, value in changes.items() if value is not None})


def prepare(recipe: Recipe, say: Callable[[str], None] = lambda _: None) -> tuple[Data, Data]:
    """The pairs to learn from, and those to measure by, whose targets are clean where pictures are."""
    from pathlib import Path

    if recipe.data is not None and (file := Path(recipe.data)).suffix == ".pkl":
        if recipe.fresh:
            say(f"the noise of the pairs in {file} is not drawn anew")
        pairs = read_pairs(file)
        if recipe.validation is None:
            held = as_int(recipe.held_out, "held_out", 1)
            return Pairs(pairs.inputs[held:], pairs.targets[held:]), Pairs(pairs.inputs[:held], pairs.targets[:held])
        return pairs, read_pairs(Path(recipe.validation))
    least = recipe.size * recipe.shrink
    albums = []
    is_shared = recipe.data is not None and recipe.validation is None
    for number, source in enumerate((recipe.data,) if is_shared else (recipe.data, recipe.validation)):
        if source is None:
            count = _CANVASES if number == 0 else _CANVASES // 8
            say(f"drawing {count} pictures")
            albums.append(list(dead_leaves(count, max(_CANVAS, least), seed=recipe.seed + number)))
            continue
        album = read_pictures(Path(source), least=least)
        for name, reason in album.skipped:
            say(f"skipped {name}: {reason}")
        say(f"{len(album.pictures)} pictures from {source}, {len(album.skipped)} skipped")
        albums.append(album.pictures)
    if is_shared:
        if len(albums[0]) < 2:
            raise SpecError(f"{recipe.data} has one picture, and there is none left to measure by; give validation")
        tenth = min(10, len(albums[0]))
        albums = [[p for n, p in enumerate(albums[0]) if bool(n % tenth) == learns] for learns in (True, False)]
    cut: dict[str, Any] = {"size": recipe.size, "shrink": recipe.shrink}
    many = crops(albums[0], recipe.pairs, seed=recipe.seed, **cut)
    few = crops(albums[1], recipe.held_out, seed=recipe.seed + 1, **cut)
    return recipe.noisy(many, recipe.seed, recipe.target), recipe.noisy(few, recipe.seed + 1, "clean")


def train(
    recipe: Recipe,
    folder: Path,
    library: Any = np,
    *,
    resume: bool = False,
    graph: bool = False,
    on_report: Callable[[Report], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Layer, Progress, Data]:
    """Train a denoiser, and keep it in a folder.

    Returns:
        The network, the progress, and the pairs that it was measured by.

    Raises:
        SpecError: training that is to go on was of another recipe; only the number of epochs may differ.
        UnsupportedError: steps are to be captured as CUDA graphs (`graph`, as for `fit`), but cannot be.
    """
    if resume:
        _check_same(recipe, folder / ABOUT)
    pairs, measured = prepare(recipe, say)
    channels = pairs.shape[1]
    net = network(recipe.net, channels, recipe.width)
    net.initialise(library, seed=recipe.seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ABOUT).write_text(json.dumps({"recipe": asdict(recipe), "channels": channels}, indent=1))
    optimiser, schedule = _optimiser(recipe, net, len(pairs))
    say(f"{recipe.net}: {net.size:,} parameters, {len(pairs):,} pairs, {recipe.epochs} epochs")
    before = mean_psnr(lambda x: x, measured, net.example)
    say(f"{len(measured):,} pictures to measure by, PSNR {before:.2f} dB before they are denoised")
    progress = fit(
        net, optimiser, pairs, epochs=recipe.epochs, batch=recipe.batch, seed=recipe.seed, schedule=schedule,
        validation=measured, folder=folder, resume=resume, graph=graph, on_report=on_report,
    )  # fmt: skip
    return net, progress, measured


def _check_same(recipe: Recipe, file: Path) -> None:
    """Raise an error if a folder has a denoiser of another recipe."""
    if not file.exists():
        return
    kept, asked = _about(file)["recipe"], asdict(recipe)
    changed = [name for name in asked if name != "epochs" and kept.get(name) != asked[name]]
    if changed:
        what = ", ".join(f"{name} was {kept.get(name)}, but is {asked[name]}" for name in changed)
        raise SpecError(f"the training in {file.parent} cannot go on like this: {what}")


def _about(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise FileNotFoundError(f"there is no denoiser in {file.parent}; arrconv train denoise --out makes one")
    try:
        about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        about["recipe"]["net"], about["recipe"]["width"], about["channels"]
    except (ValueError, KeyError, TypeError) as reason:
        raise SpecError(f"{file} does not describe a denoiser: {reason}") from None
    return about


def _optimiser(recipe: Recipe, net: Layer, pairs: int) -> tuple[Optimiser, Schedule]:
    if recipe.net == "seed":  # a constant, large rate: the mean over all elements makes gradients small
        return SGD(net, recipe.lr), Constant()
    steps = recipe.epochs * -(-pairs // recipe.batch)
    return Adam(net, recipe.lr), Cosine(steps, warmup=min(100, steps // 10), final=0.01)


def load_denoiser(folder: Path, library: Any = np) -> Layer:
    """The network that a folder keeps, in evaluation mode.

    Raises:
        FileNotFoundError: there is none.
        SpecError: the files are broken.
    """
    about = _about(folder / ABOUT)
    net = network(about["recipe"]["net"], about["channels"], about["recipe"]["width"])
    net.initialise(library, seed=0)
    load_weights(folder / CHECKPOINT, net)
    return net.eval()


def denoised(net: Layer, picture: np.ndarray) -> np.ndarray:
    """What a network makes of a picture (C, H, W) of any size, uint8 or brightness: whole numbers from 0 to 255.

    The picture is continued like a mirror to a size that the network takes; a large one is answered part by part.
    """
    height, width = picture.shape[1:]
    pad = [(0, 0), *((_MARGIN, _MARGIN + -n % MULTIPLE) for n in (height, width))]
    mirrored = np.pad(picture, pad, mode="symmetric")
    answer = np.empty(picture.shape, np.uint8)
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            high, wide = (min(_TILE, n - at) for n, at in ((height, top), (width, left)))
            window = [slice(at, at + n + -n % MULTIPLE + 2 * _MARGIN) for at, n in ((top, high), (left, wide))]
            part = host(net.forward(brightness(mirrored[None, :, *window], net.example)))[0]
            kept = part[:, _MARGIN : _MARGIN + high, _MARGIN : _MARGIN + wide]
            answer[:, top : top + high, left : left + wide] = pixels(kept)
    return answer
