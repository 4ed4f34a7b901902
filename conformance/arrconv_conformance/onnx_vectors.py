"""Test vectors as the directories that ONNX's own test runners read: a model, its inputs and its outputs.

`test_NAME/model.onnx` with `test_data_set_0/input_*.pb` and `output_0.pb` is the layout of the backend tests of the
ONNX project. Its runners compare with one tolerance for all elements, so a directory is made only where every correct
result passes: sums that are exact in any order, or that cancel nothing. `data.json` then narrows the tolerance to what
this very case allows, to zero where every sum is exact, for runners that read it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from arrconv_conformance.adapters._onnx_model import conv_model, conv_transpose_model
from arrconv_conformance.vectors import Vector, claims_of, has_oracle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from onnx import ModelProto

    from arrconv_conformance.cases import Case
    from arrconv_conformance.data import Array

FOLDER = "onnx"
RELATIVE_TOLERANCE = 1e-3
"""That of ONNX's runners, unless data.json says otherwise; they allow an absolute error of 1e-7 beside it."""

_DTYPES = ("float32", "float32", "float64", "float16")

AUTO_PAD = (
    "n=2 c=3 o=4 x=9,7 k=3,2 s=2,3 p=same_upper",
    "n=1 c=4 o=6 g=2 x=10,7 k=2,4 s=1,2 p=same_upper",
    "n=2 c=3 o=5 x=8,9 k=3,4 s=2,3 p=same_upper",
    "n=3 c=2 o=3 x=12 k=4 s=3 p=same_upper",
    "n=1 c=2 o=3 x=4,6,5 k=2,3,4 p=same_upper",
    "n=2 c=3 o=4 x=9,8 k=2,3 d=3,2 p=same_upper",
    "n=2 c=3 o=4 x=9,7 k=3,2 s=2,3 p=same_lower",
    "n=1 c=4 o=6 g=2 x=10,7 k=2,4 s=1,2 p=same_lower",
    "n=2 c=3 o=5 x=8,9 k=3,4 s=2,3 p=same_lower",
    "n=3 c=2 o=3 x=12 k=4 s=3 p=same_lower",
    "n=1 c=2 o=3 x=4,6,5 k=2,3,4 p=same_lower",
    "n=2 c=3 o=4 x=9,8 k=2,3 d=3,2 p=same_lower",
    "n=2 c=3 o=4 x=9,7 k=3,2 s=2,3 p=valid",
    "n=3 c=4 o=6 g=2 x=11,6 k=2,3 d=2,1 p=valid",
    "n=1 c=2 o=3 x=7,5,6 k=2,3,2 s=2,1,3 p=valid",
)
"""Geometries whose padding goes by name, which is ONNX's auto_pad; the catalogue gives amounts."""


@dataclass(frozen=True, slots=True)
class OnnxVector:
    """One directory.

    Args:
        name: its name.
        model: the model, with all operands as inputs.
        inputs: the operands, in the order of the model's inputs.
        output: the exact result, rounded once.
        tolerance: the relative error that a correct result may have.
    """

    name: str
    model: ModelProto
    inputs: dict[str, Array]
    output: Array
    tolerance: float

    def write(self, folder: Path) -> None:
        """Write the directory into a folder of them."""
        data = folder / self.name / "test_data_set_0"
        data.mkdir(parents=True)
        (folder / self.name / "model.onnx").write_bytes(self.model.SerializeToString(deterministic=True))
        (folder / self.name / "data.json").write_text(json.dumps({"rtol": self.tolerance, "atol": 0.0}) + "\n")
        for number, (name, array) in enumerate(self.inputs.items()):
            (data / f"input_{number}.pb").write_bytes(_tensor(array, name))
        (data / "output_0.pb").write_bytes(_tensor(self.output, self.model.graph.output[0].name))


def onnx_vectors(cases: Iterable[Case]) -> Iterator[OnnxVector]:
    """A directory for the forward and one for the transposed convolution of each geometry for which ONNX has them.

    The dtype, and whether there is a bias, go round. The numbers are small integers, in every third pair positive ones
    that use all bits of the dtype; where a correct result might not pass, the numbers are in float32. ONNX does not
    say in what float16 is added up, so there every sum is exact in float16 itself.

    Raises:
        Disagreement: the two computations of a result differ.
    """
    for number, case in enumerate(filter(_is_suited, cases)):
        dtype = case.dtype or _DTYPES[number % len(_DTYPES)]
        data = "positive" if number % 3 == 2 and dtype != "float16" else "integers"
        bias = "none" if number % 5 in (1, 3) else None
        for member in ("conv", "conv_transpose") if case.member is None else (case.member,):
            asked = replace(case, member=member, dtype=dtype, data=case.data or data, bias=case.bias or bias)
            choices = [asked] if case.dtype else [asked, replace(asked, dtype="float32")]
            made = (_made(number, one) for one in choices if one.is_applicable)
            found = next((vector for vector in made if vector is not None), None)
            if found is not None:
                yield found


def _is_suited(case: Case) -> bool:
    """Whether ONNX has such a geometry, and runtimes have one of so many axes."""
    geometry = case.geometry
    amounts = [amount for axis in geometry.axes for amount in (axis.begin, axis.end)]
    sizes = (*geometry.input_shape, *geometry.output_shape)
    return (
        1 <= geometry.ndim <= 3
        and geometry.padding_mode == "zeros"
        and min(amounts) >= 0
        and min(sizes) > 0
        and has_oracle(case)
        and (case.layout, case.before, case.wrong) == ((), None, None)
        and case.member in (None, "conv", "conv_transpose")
        and case.dtype in (None, *_DTYPES)
        and case.data in (None, "integers", "positive")
    )


def _made(number: int, case: Case) -> OnnxVector | None:
    """The directory of a case, or None where a correct result might not pass."""
    name = f"test_{case.member}_{number:04d}_{case.dtype}" + (f"_{case.padding}" if case.padding else "")
    vector = Vector(name, case)
    tolerance = _tolerance(vector)
    if tolerance > RELATIVE_TOLERANCE:
        return None
    data, w, bias = vector.question.arrays
    build: Any = conv_model if case.member == "conv" else conv_transpose_model
    model = _with_inputs(build(data, w, bias, **vector.question.options), vector.expected.shape)
    model.doc_string = str(case)
    onnx.checker.check_model(model, full_check=True)
    arrays = [array for array in (data, w, bias) if array is not None]
    inputs = {given.name: array for given, array in zip(model.graph.input, arrays, strict=True)}
    return OnnxVector(name, model, inputs, vector.expected, tolerance)


def _tolerance(vector: Vector) -> float:
    """The largest difference from the stored result that a correct one may have, as a share of the stored one."""
    claims = claims_of(str(vector.case.dtype))
    claim = claims.get("narrow-sums", claims["own"])
    expected = replace(vector.question, claim=claim).expected["result"]
    assert expected.allowed is not None
    stored = vector.expected.astype(np.float64)
    away = expected.allowed + np.where(expected.allowed > 0, np.abs(stored - expected.exact.high), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(away > 0, away / np.abs(stored), 0.0)
    return float(np.max(shares, initial=0.0)) * (1 + 2.0**-40)


def _with_inputs(model: ModelProto, shape: tuple[int, ...]) -> ModelProto:
    """The model with its constants as inputs, as in ONNX's own tests, and with the shape of its result."""
    graph = model.graph
    for tensor in graph.initializer:
        graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    del graph.initializer[:]
    output = graph.output[0]
    output.CopyFrom(helper.make_tensor_value_info(output.name, output.type.tensor_type.elem_type, list(shape)))
    return model


def _tensor(array: Array, name: str) -> bytes:
    serialized: bytes = numpy_helper.from_array(np.ascontiguousarray(array), name).SerializeToString(deterministic=True)
    return serialized
