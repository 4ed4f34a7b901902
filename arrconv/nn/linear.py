"""The linear layer: a matrix for the last axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from arrconv._namespace import namespace_of
from arrconv.errors import ShapeError
from arrconv.nn.layer import Layer, Parameter
from arrconv.products import matmul
from arrconv.spec import as_int

if TYPE_CHECKING:
    from arrconv._namespace import Array


class Linear(Layer):
    """x·weightᵀ + bias along the last axis, with weight (out_features, in_features).

    >>> import numpy as np
    >>> Linear(4, 2).initialise(np, seed=0)(np.zeros((3, 4), np.float32)).shape
    (3, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features = as_int(in_features, "in_features", 1)
        self.out_features = as_int(out_features, "out_features", 1)
        bound = 1 / math.sqrt(self.in_features)
        self.parameters["weight"] = Parameter((self.out_features, self.in_features), -bound, bound)
        if bias:
            self.parameters["bias"] = Parameter((self.out_features,), -bound, bound)

    def forward(self, x: Array) -> Array:
        """The product x·Wᵀ, and b."""
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ShapeError(
                f"x has shape {tuple(x.shape)}, but Linear needs {self.in_features} features on its last axis"
            )
        xp = namespace_of(x)
        self.keep(x)
        rows = xp.reshape(x, (-1, self.in_features)) if x.ndim != 2 else x
        y = matmul(xp, rows, xp.matrix_transpose(self.value("weight")))
        if "bias" in self.parameters:
            y = y + self.value("bias")
        return xp.reshape(y, (*x.shape[:-1], self.out_features)) if x.ndim != 2 else y

    def backward(self, gy: Array, *, needs_input: bool = True) -> Array | None:
        """GW = gyᵀ·x, gb = Σ gy, gx = gy·W."""
        x = self.kept()
        xp, w = namespace_of(gy), self.value("weight")
        rows, outputs = xp.reshape(x, (-1, self.in_features)), xp.reshape(gy, (-1, self.out_features))
        self.parameters["weight"].add(matmul(xp, xp.matrix_transpose(outputs), rows))
        if "bias" in self.parameters:
            self.parameters["bias"].add(xp.sum(outputs, axis=0, dtype=gy.dtype))
        return xp.reshape(matmul(xp, outputs, w), tuple(x.shape)) if needs_input else None
