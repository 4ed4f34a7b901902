"""The training loop: epochs of batches, what is measured and kept, and a clean stop at any step."""

from __future__ import annotations

import csv
import math
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrconv._namespace import library_name, namespace_of
from arrconv.errors import ArrconvError, SpecError
from arrconv.functional.loss import mse_loss, mse_loss_backward
from arrconv.nn.container import Sequential
from arrconv.spec import as_int
from arrconv.train.checkpoint import Progress, load, save
from arrconv.train.graph import CapturedStep
from arrconv.train.measure import evaluate
from arrconv.train.memory import kept_memory
from arrconv.train.optimiser import clip_gradients
from arrconv.train.pairs import batches
from arrconv.train.pictures import host
from arrconv.train.schedule import Constant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from arrconv._namespace import Array
    from arrconv.nn.layer import Layer
    from arrconv.train.optimiser import Optimiser
    from arrconv.train.pairs import Data
    from arrconv.train.schedule import Schedule

CHECKPOINT, LOG = "checkpoint.npz", "log.csv"


class NotFiniteError(ArrconvError, FloatingPointError):
    """A loss is NaN or infinite."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is known after a step, or after an epoch: then no batch of the next one is done.

    Attributes:
        epoch, epochs: how many epochs are done, and how many there will be.
        batch, batches: how many batches of the next one are done, and how many it has.
        loss: the mean of the epoch so far; of the last, where one has just ended.
        psnr: after the last epoch that was measured, in dB; NaN where none was.
        pictures_a_second: of this run.
        seconds_left: of the whole, at that rate.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    psnr: float
    pictures_a_second: float
    seconds_left: float


def fit(
    net: Layer,
    optimiser: Optimiser,
    pairs: Data,
    *,
    epochs: int,
    batch: int = 32,
    seed: int = 0,
    schedule: Schedule | None = None,
    clip: float | None = None,
    validation: Data | None = None,
    folder: Path | None = None,
    resume: bool = False,
    every: int = 50,
    graph: bool = False,
    on_report: Callable[[Report], None] = lambda _: None,
) -> Progress:
    """Train a network to answer the inputs of pairs with their targets, by the mean squared error.

    With a folder, a checkpoint is written after each epoch and when training is stopped, and a row of a CSV log after
    each epoch. A run that is resumed goes on as if it had never stopped: on a CPU with the same bits.

    Args:
        net: a network with parameters.
        optimiser: of this network.
        pairs: what it learns from: `Pairs`, or `FreshPairs`, whose noise is drawn anew in each step.
        epochs: how often it sees each pair.
        batch: how many at a time; the last batch of an epoch may be smaller.
        seed: what decides the order of the pairs.
        schedule: factors of the learning rate, step by step.
        clip: the largest norm of the gradients.
        validation: pairs whose targets are clean, to measure the PSNR of answers after each epoch.
        folder: where checkpoint and log are kept.
        resume: whether to go on from the checkpoint there.
        every: after so many steps there is a report, and after each epoch. On a GPU the loss is looked at only then,
            since that waits for it.
        graph: whether steps are captured as CUDA graphs and repeated, on CuPy: fewer calls, the same bits. No GPU has
            run this so far. Steps then write into the network's arrays, so that who keeps some must copy them. A layer
            or an optimiser that counts, as `Dropout` does, or looks at a number cannot be captured.
        on_report: is told how it goes.

    Returns:
        The progress, with a row for each epoch.

    Raises:
        NotFiniteError: the loss is not finite; the message names the step and the first layer whose result is not, and
            the last good checkpoint stays.
        KeyboardInterrupt: Ctrl-C was pressed; the step was finished and a checkpoint written.
        SpecError: an argument has no meaning, or the checkpoint is of other settings.
        UnsupportedError: steps cannot be captured.
    """
    epochs, every = as_int(epochs, "epochs", 0), as_int(every, "every", 1)
    if resume and folder is None:
        raise SpecError("resume needs the folder of the checkpoint")
    run = _Run(net, optimiser, pairs, as_int(batch, "batch", 1), seed, schedule or Constant(), clip, graph)
    if resume and folder is not None and (folder / CHECKPOINT).exists():
        run.resume(folder / CHECKPOINT)
    net.train()
    try:
        with kept_memory(), _Interruptions() as interruptions:
            run.go(epochs, validation, folder, every, on_report, interruptions)
    finally:
        optimiser.lr = run.rate  # which the schedule has changed
    return run.progress


class _Run:
    """A network in training, the data where it is, and where training stands."""

    def __init__(
        self,
        net: Layer,
        optimiser: Optimiser,
        pairs: Data,
        batch: int,
        seed: int,
        schedule: Schedule,
        clip: Any,
        graph: bool,
    ) -> None:
        if not len(pairs):
            raise SpecError("there is no pair to learn from")
        self.net, self.optimiser, self.schedule, self.clip = net, optimiser, schedule, clip
        self.batch, self.seed, self.count, self.batches = batch, seed, len(pairs), -(-len(pairs) // batch)
        self.rate, self.progress = optimiser.lr, Progress()
        self.settings = {
            "batch": batch,
            "seed": seed,
            "clip": clip,
            "pairs": len(pairs),
            "schedule": getattr(schedule, "__qualname__", repr(schedule)),
            "optimiser": repr(optimiser.settings),
        }
        self.captured = CapturedStep(self.gradients, optimiser, min(batch, len(pairs))) if graph else None
        self.is_here = library_name(namespace_of(net.example)) == "numpy"  # a number can be looked at without waiting
        self.draw = pairs.placed(net.example)
        self.losses: list[tuple[Array, int]] = []  # since they were looked at
        self.last: Array = None

    def resume(self, file: Path) -> None:
        """Go on from a checkpoint, which must be of the same settings."""
        self.progress, kept = load(file, self.net, self.optimiser)
        if kept != self.settings:
            changed = [key for key in self.settings if kept.get(key) != self.settings[key]]
            what = ", ".join(f"{key} was {kept.get(key)}, but is {self.settings[key]}" for key in changed)
            raise SpecError(f"{file} is of other settings: {what}")

    def go(
        self,
        epochs: int,
        validation: Data | None,
        folder: Path | None,
        every: int,
        on_report: Callable[[Report], None],
        interruptions: _Interruptions,
    ) -> None:
        """Go on until so many epochs are done, or somebody interrupts."""
        progress, began, seen = self.progress, time.monotonic(), 0
        while progress.epoch < epochs:
            for numbers in batches(self.count, progress.epoch, self.batch, seed=self.seed, first=progress.batch):
                self.step(numbers)
                seen += len(numbers)
                is_asked = interruptions.is_asked  # once, since it may change at any time
                if is_asked or progress.batch % every == 0:
                    self.look()
                    on_report(self.report(epochs, seen, time.monotonic() - began))
                if is_asked:
                    self.save(folder)
                    raise KeyboardInterrupt
            self.look()
            self.end_epoch(validation)
            self.save(folder)
            if folder is not None:
                _write_log(folder / LOG, progress.history)
            on_report(self.report(epochs, seen, time.monotonic() - began))

    def step(self, numbers: Any) -> None:
        """Learn from the pairs of these numbers; nothing is carried to the host from elsewhere."""
        x, t = self.draw(numbers, self.optimiser.steps)
        self.optimiser.lr = self.rate * self.schedule(self.optimiser.steps)
        self.last = x
        if self.captured is not None:
            self.note(self.captured(x, t), len(numbers))
            return
        self.gradients(x, t, lambda loss: self.note(loss, len(numbers)))
        self.optimiser.step()

    def gradients(self, x: Array, t: Array, note: Callable[[Array], None] = lambda _: None) -> Array:
        """Both passes; the loss, which is noted between them, and the gradients with the parameters."""
        self.optimiser.zero_grad()
        y = self.net.forward(x)
        loss = mse_loss(y, t)
        note(loss)
        self.net.backward(mse_loss_backward(y, t), needs_input=False)
        if self.clip is not None:
            clip_gradients(self.net, self.clip)
        return loss

    def note(self, loss: Array, count: int) -> None:
        """Keep the loss of a step on so many pairs; look at it where that does not wait."""
        self.losses.append((loss, count))
        self.progress.batch += 1
        if self.is_here:
            self.look()

    def look(self) -> None:
        """Add the losses of the last steps to those of the epoch; an error where one is not finite."""
        running = self.progress.running
        for number, (loss, count) in enumerate(self.losses):
            value = float(host(loss))
            if not math.isfinite(value):
                before = self.progress.epoch * self.batches + self.progress.batch - len(self.losses)
                raise NotFiniteError(f"the loss is {value} in step {before + number + 1}: {self._culprit()}")
            running["loss"] = running.get("loss", 0.0) + value * count
        self.losses.clear()

    def end_epoch(self, validation: Data | None) -> None:
        """Note what came of an epoch."""
        progress = self.progress
        loss = progress.running["loss"] / self.count
        row = {"epoch": progress.epoch + 1.0, "loss": loss, "lr": self.rate * self.schedule(self.optimiser.steps - 1)}
        if validation is not None:
            row["psnr"] = evaluate(self.net, validation)
        progress.history.append(row)
        progress.epoch, progress.batch, progress.running = progress.epoch + 1, 0, {}

    def save(self, folder: Path | None) -> None:
        """Write a checkpoint, if there is a folder."""
        if folder is not None:
            save(folder / CHECKPOINT, self.net, self.optimiser, self.progress, self.settings)

    def report(self, epochs: int, seen: int, seconds: float) -> Report:
        """How it goes, after so many pictures and seconds of this run."""
        progress = self.progress
        done = min(self.count, progress.batch * self.batch)
        rate = seen / max(seconds, 1e-9)
        left = ((epochs - progress.epoch) * self.count - done) / max(rate, 1e-9)
        last = progress.history[-1] if progress.history else {}
        loss, ratio = progress.running["loss"] / done if done else last["loss"], last.get("psnr", math.nan)
        return Report(progress.epoch, epochs, progress.batch, self.batches, loss, ratio, rate, left)

    def _culprit(self) -> str:
        """Which parameter, or else which layer's result, is the first that is not finite."""
        for name, parameter in self.net.named_parameters():
            if not _is_finite(parameter.value):
                return f"{name} is not finite any more; a smaller learning rate, or clipped gradients, may help"
        return f"the first that is not finite is {_first_not_finite(self.net, self.last, 'the result of the network')}"


def _first_not_finite(layer: Layer, x: Array, name: str) -> str:
    """What it is that is not finite: the result of the innermost layer, in order, whose input is."""
    if not _is_finite(x):
        return "the data"
    if isinstance(layer, Sequential):
        for number, inner in enumerate(layer):
            y = inner.forward(x)
            if not _is_finite(y):
                return _first_not_finite(inner, x, f"{name}, layer {number}")
            x = y
    return f"{name}, a {type(layer).__name__}"


def _is_finite(array: Array) -> bool:
    xp = namespace_of(array)
    return bool(xp.all(xp.isfinite(array)))


class _Interruptions:
    """Ctrl-C as a question that is answered between steps; in the main thread alone, where signals arrive."""

    def __init__(self) -> None:
        self.is_asked = False
        self._before: Any = None

    def __enter__(self) -> _Interruptions:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, *_: object) -> None:
        if self.is_asked:  # a second one does not wait
            raise KeyboardInterrupt
        self.is_asked = True


def _write_log(file: Path, history: list[dict[str, float]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
