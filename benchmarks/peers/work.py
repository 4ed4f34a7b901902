"""What is measured: rows of a table, and tasks, which are one contraction of a row in one dtype."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from arrconv_conformance.data import numpy_dtype

from arrconv import Geometry

Array = np.ndarray[Any, Any]

DIRECTIONS = ("forward", "input gradient", "weight gradient")
DTYPES = ("float64", "float32", "complex128", "float16")


@dataclass(frozen=True)
class Row:
    """A convolution, or a transposed one.

    Attributes:
        name: what it is called.
        group: the kind of network or signal it is from.
        case: the geometry of the convolution; a transposed one goes from its y to its x.
        is_transposed: whether it is a transposed one.
    """

    name: str
    group: str
    case: str
    is_transposed: bool = False

    @cached_property
    def geometry(self) -> Geometry:
        return Geometry.parse(self.case)

    @property
    def operations(self) -> int:
        """Multiplications and additions of each contraction, those with the zeros of the padding among them."""
        return 2 * self.geometry.products("y") * math.prod(self.geometry.output_shape)

    @property
    def given_shape(self) -> tuple[int, ...]:
        return self.geometry.output_shape if self.is_transposed else self.geometry.input_shape

    @property
    def result_shape(self) -> tuple[int, ...]:
        return self.geometry.input_shape if self.is_transposed else self.geometry.output_shape

    @property
    def output_padding(self) -> tuple[int, ...]:
        return self.geometry.slack


ROWS = {
    row.name: row
    for row in (
        Row("denoiser 1", "denoiser", "n=32 c=3 o=64 x=32,32 k=2,2 s=2,2"),
        Row("denoiser 2", "denoiser", "n=32 c=64 o=256 x=16,16 k=2,2 s=2,2"),
        Row("denoiser 2 transposed", "denoiser", "n=32 c=64 o=256 x=16,16 k=2,2 s=2,2", is_transposed=True),
        Row("denoiser 1 transposed", "denoiser", "n=32 c=3 o=64 x=32,32 k=2,2 s=2,2", is_transposed=True),
        Row("stem 7×7 s2", "ResNet", "n=8 c=3 o=64 x=224,224 k=7,7 s=2,2 p=3,3"),
        Row("3×3 at 56", "ResNet", "n=8 c=64 o=64 x=56,56 k=3,3 p=1,1"),
        Row("3×3 at 28", "ResNet", "n=8 c=128 o=128 x=28,28 k=3,3 p=1,1"),
        Row("3×3 at 14", "ResNet", "n=8 c=256 o=256 x=14,14 k=3,3 p=1,1"),
        Row("3×3 at 7", "ResNet", "n=8 c=512 o=512 x=7,7 k=3,3 p=1,1"),
        Row("1×1 at 56", "ResNet", "n=8 c=256 o=64 x=56,56 k=1,1"),
        Row("U-Net 3×3 at 128", "U-Net", "n=4 c=64 o=64 x=128,128 k=3,3 p=1,1"),
        Row("depthwise 3×3", "groups", "n=8 c=128 o=128 g=128 x=56,56 k=3,3 p=1,1"),
        Row("grouped 3×3", "groups", "n=8 c=128 o=128 g=4 x=28,28 k=3,3 p=1,1"),
        Row("dilated 3×3", "groups", "n=4 c=64 o=64 x=64,64 k=3,3 p=2,2 d=2,2"),
        Row("DCGAN 4×4 s2", "DCGAN", "n=32 c=128 o=256 x=16,16 k=4,4 s=2,2 p=1,1", is_transposed=True),
        Row("1-D, 31 taps", "dimensions", "n=4 c=16 o=16 x=16384 k=31 p=15"),
        Row("3-D, 3×3×3", "dimensions", "n=1 c=32 o=32 x=32,32,32 k=3,3,3 p=1,1,1"),
        Row("smallest", "smallest", "n=1 c=3 o=8 x=8,8 k=3,3"),
    )
}


@dataclass(frozen=True)
class Task:
    """One contraction of a row in one dtype.

    Attributes:
        row: the row.
        direction: one of `DIRECTIONS`.
        dtype: one of `DTYPES`.
    """

    row: Row
    direction: str
    dtype: str

    @classmethod
    def of(cls, data: dict[str, str]) -> Task:
        row = ROWS[data["row"]]
        return cls(replace(row, case=data.get("case", row.case)), data["direction"], data["dtype"])

    @property
    def data(self) -> dict[str, str]:
        return {"row": self.row.name, "direction": self.direction, "dtype": self.dtype, "case": self.row.case}

    def __str__(self) -> str:
        return f"{self.row.name}, {self.direction}, {self.dtype}"

    @property
    def operations(self) -> int:
        """Of real numbers: a complex product and sum are four of them."""
        return self.row.operations * (4 if self.dtype.startswith("complex") else 1)

    @property
    def traffic(self) -> int:
        """The bytes that have to be read or written once: the operands and the result."""
        geometry = self.row.geometry
        shapes = (geometry.input_shape, geometry.weight_shape, geometry.output_shape)
        return sum(math.prod(shape) for shape in shapes) * numpy_dtype(self.dtype).itemsize

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result."""
        shapes = (self.row.result_shape, self.row.given_shape, self.row.geometry.weight_shape)
        return dict(zip(DIRECTIONS, shapes, strict=True))[self.direction]

    @cached_property
    def operands(self) -> tuple[Array, Array, Array]:
        """What is given, the weight and the cotangent: normal numbers, the same for every library."""
        shapes = (self.row.given_shape, self.row.geometry.weight_shape, self.row.result_shape)
        x, w, g = (self._normal(shape, number) for number, shape in enumerate(shapes))
        return x, w, g

    def _normal(self, shape: tuple[int, ...], number: int) -> Array:
        rng = np.random.default_rng([zlib.crc32(self.row.name.encode()), number])
        values: Array = rng.standard_normal(shape)
        if self.dtype.startswith("complex"):
            values = values + 1j * rng.standard_normal(shape)
        return values.astype(numpy_dtype(self.dtype))
