"""arrconv itself, on any array library."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import arrconv
from arrconv.kernels import ALGORITHMS
from arrconv_conformance.adapters import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


@dataclass(frozen=True)
class OwnAdapter:
    """arrconv on one array library, by an algorithm; `put` makes arrays of it from NumPy's, `get` the reverse."""

    name: str
    version: str
    put: Callable[[Any], Any]
    get: Callable[[Any], Any]
    algorithm: str = "auto"

    def conv(self, x: Any, w: Any, bias: Any, **options: Any) -> Any:
        """The forward convolution."""
        return self.get(arrconv.conv(self.put(x), self.put(w), self._optional(bias), **self._with(options)))

    def conv_transpose(self, y: Any, w: Any, bias: Any, **options: Any) -> Any:
        """The transposed convolution."""
        return self.get(arrconv.conv_transpose(self.put(y), self.put(w), self._optional(bias), **self._with(options)))

    def conv_backward(self, x: Any, w: Any, gy: Any, *, needs: Collection[str], **options: Any) -> dict[str, Any]:
        """The gradients of the forward convolution."""
        grads = arrconv.conv_backward(self.put(x), self.put(w), self.put(gy), needs=needs, **self._with(options))
        return {need: self.get(getattr(grads, need)) for need in needs}

    def conv_transpose_backward(
        self, y: Any, w: Any, gx: Any, *, needs: Collection[str], **options: Any
    ) -> dict[str, Any]:
        """The gradients of the transposed convolution."""
        arrays = (self.put(array) for array in (y, w, gx))
        grads = arrconv.conv_transpose_backward(*arrays, needs=needs, **self._with(options))
        return {need: self.get(getattr(grads, need)) for need in needs}

    def by(self, algorithm: str) -> OwnAdapter:
        """The same by another algorithm; what that cannot serve is unsupported.

        Raises:
            Unavailable: there is none of that name.
        """
        if algorithm not in ALGORITHMS:
            raise Unavailable(f"{self.name}:{algorithm}: no such algorithm; there are {', '.join(ALGORITHMS)}")
        return replace(self, name=f"{self.name}:{algorithm}", algorithm=algorithm)

    def _with(self, options: dict[str, Any]) -> dict[str, Any]:
        return options | {"algorithm": self.algorithm}

    def _optional(self, array: Any) -> Any:
        return None if array is None else self.put(array)
