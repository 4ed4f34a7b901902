"""Training steps as CUDA graphs: what a step launches is captured once, and then launched again in few calls.

A small step is hundreds of launches of microseconds each, for which the host takes longer than the device. A captured
launch is repeated with the addresses and the numbers that it was captured with. So whatever differs from step to step
lies in arrays of fixed place: the batch, the parameters, what the optimiser remembers, and the rates of the step.

CuPy refuses to capture cuBLAS (14.2: "calling cuBLAS API during stream capture is currently unsupported"). So a step
becomes several graphs, one between each matrix product and the next, and the products are called again on the arrays
that they had. No GPU has run this so far.

Source: NVIDIA, "CUDA C++ programming guide", on CUDA graphs and stream capture; CuPy 14, `Stream.begin_capture`.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from arrconv._namespace import library_name, namespace_of
from arrconv.errors import SpecError, UnsupportedError
from arrconv.products import products_by
from arrconv.train.checkpoint import random_layers
from arrconv.train.optimiser import Optimiser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arrconv._namespace import Array

_EAGER = 2  # steps that compile all kernels: in the first the optimiser remembers nothing yet, and does something else


class CapturedStep:
    """Training steps, which are captured after the first few and repeated from then on.

    The bits are those of steps that are not captured. A batch of another length is not.

    Args:
        gradients: from inputs and targets to the loss; it leaves the gradients with the parameters. It may depend on
            nothing else that changes but the parameters, nor look at a value.
        optimiser: what moves the parameters.
        batch: the length of the batches that are captured.

    Raises:
        UnsupportedError: the network's arrays are not CuPy's, one of its layers counts its passes, or the optimiser has
            a `step` of its own.
    """

    def __init__(self, gradients: Callable[[Array, Array], Array], optimiser: Optimiser, batch: int) -> None:
        library = library_name(namespace_of(optimiser.net.example))
        if library != "cupy":
            raise UnsupportedError(f"CUDA graphs need a network of CuPy arrays, but its arrays are of {library}")
        if random := random_layers(optimiser.net):
            name = type(random[0]).__name__
            raise UnsupportedError(f"{name} counts its passes, but a CUDA graph would drop the same elements each time")
        if type(optimiser).step is not Optimiser.step:
            raise UnsupportedError(
                f"{type(optimiser).__name__} has a step of its own; CUDA graphs need one made of rates() and move()"
            )
        self.gradients, self.optimiser, self.batch = gradients, optimiser, batch
        self.eager = _EAGER
        self.inputs: list[Array] = []  # x, t and the rates
        self.places: dict[str, Array] = {}
        self.loss: Array = None
        self.recording: Recording | None = None

    def __call__(self, x: Array, t: Array) -> Array:
        """Take a step.

        Returns:
            The loss, an array of no axes.

        Raises:
            UnsupportedError: the step cannot be captured. The network and the optimiser are then as they were before.
            SpecError: the optimiser remembers other things than in the first steps.
        """
        if x.shape[0] != self.batch:
            loss = self.gradients(x, t)
            self.optimiser.step()
            return loss
        self._settle()
        self.optimiser.steps += 1
        self._give(x, t, *self.optimiser.rates())
        if self.eager:
            self._step()
            self.eager -= 1
        elif self.recording is None:
            self._capture()
        else:
            self.recording.replay()
        return _copy(self.loss)  # the next step replaces it

    def _give(self, *inputs: Any) -> None:
        """Put what is new in a step where it looks for it."""
        if not self.inputs:
            x, t, *rates = inputs
            self.inputs = [_copy(x), _copy(t), *(namespace_of(x).zeros((), dtype=x.dtype) for _ in rates)]
        for place, new in zip(self.inputs, inputs, strict=True):
            place[...] = new

    def _step(self) -> None:
        x, t, *rates = self.inputs
        self.loss = self.gradients(x, t)
        self.optimiser.move(*rates)
        self._settle()

    def _state(self) -> Iterator[tuple[str, dict[str, Any], str]]:
        """All that a step moves: by name, the dictionary that holds an array, and its key there."""
        for name, parameter in self.optimiser.net.named_parameters():
            yield name, vars(parameter), "value"
        for name, memory in self.optimiser.memory.items():
            yield from ((f"{name}, {key}", memory, key) for key in memory)

    def _settle(self) -> None:
        """Carry what has been replaced back to its place; what has none gets one, since others may have the array."""
        state = list(self._state())
        if not self.eager and self.places.keys() != {name for name, _, _ in state}:
            raise SpecError("the optimiser remembers other things than in the steps before this one")
        for name, holder, key in state:
            if name not in self.places:
                self.places[name] = _copy(holder[key])
            elif holder[key] is not self.places[name]:
                self.places[name][...] = holder[key]
            holder[key] = self.places[name]

    def _capture(self) -> None:
        """Take a step while it is recorded."""
        changing = {name: getattr(self.optimiser, name) for name in ("lr", "steps")}
        vars(self.optimiser).update(dict.fromkeys(changing))  # a formula that took them now would keep them for ever
        try:
            self.recording = Recording(import_module("cupy").cuda, self._step)
        except (RuntimeError, TypeError) as reason:
            raise UnsupportedError(
                "the step cannot be captured as CUDA graphs, since it waits for the device, copies from the host, or "
                f"takes the learning rate or the number of the step from elsewhere than its rates: {reason}"
            ) from reason
        finally:
            if self.recording is None:  # nothing was done, and what there is instead of the state was never computed
                changing["steps"] -= 1
                for name, holder, key in list(self._state()):
                    if name in self.places:
                        holder[key] = self.places[name]
                    else:
                        del holder[key]
            vars(self.optimiser).update(changing)


class Recording:
    """What a function launches, to be launched again: graphs, and the matrix products between them.

    The function runs as it is recorded. Its memory comes from a pool of its own, which lives as long as the recording,
    so that nobody else is given what the graphs use; operands of products stay allocated.

    Args:
        cuda: the module of CuPy.
        function: what is recorded. It works on arrays that are there before, and on those that it makes.

    Raises:
        RuntimeError: CuPy refuses to capture something.
    """

    def __init__(self, cuda: Any, function: Callable[[], None]) -> None:
        self._pool, self._stream = cuda.MemoryPool(), cuda.Stream(non_blocking=True)
        self._pieces: list[Callable[[], Any]] = []
        cuda.get_current_stream().synchronize()  # what the function needs is there
        with self._stream, cuda.using_allocator(self._pool.malloc), products_by(self._product):
            self._stream.begin_capture()
            try:
                function()
                self._close()
            except BaseException:
                with suppress(RuntimeError):  # what has failed may have ended it
                    self._stream.end_capture()
                raise
            finally:
                self._stream.synchronize()  # what it has made is there, too

    def replay(self) -> None:
        """Launch all of it, on CuPy's current stream."""
        for piece in self._pieces:
            piece()

    def _product(self, product: Any, first: Array, second: Array, /, **out: Array) -> Array:
        """A matrix product, which ends a graph, and after which the next begins."""
        self._close()
        found = product(first, second, **out)
        self._pieces.append(partial(product, first, second, out=found))
        self._stream.begin_capture()
        return found

    def _close(self) -> None:
        graph = self._stream.end_capture()
        graph.launch()
        self._pieces.append(graph.launch)


def _copy(array: Array) -> Array:
    return namespace_of(array).asarray(array, copy=True)
