"""The directories for ONNX: what ONNX's loader reads, and what its reference evaluator and ONNX Runtime answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import pytest
from arrconv_conformance.cases import Case
from typer.testing import CliRunner

from arrconv.cli import app

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from arrconv_conformance.onnx_vectors import AUTO_PAD, onnx_vectors  # noqa: E402 - it needs onnx
from onnx.backend.test.loader import load_model_tests  # noqa: E402
from onnx.backend.test.runner import Runner  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx.backend.test.case.test_case import TestCase

AMOUNTS = (
    "n=2 c=3 o=4 x=9,7 k=3,2",
    "n=3 c=2 o=5 x=11 k=4 s=3 p=2:1",
    "n=2 c=3 o=4 x=10,8 k=3,2 s=2,3 p=1:2,0:1 d=2,1",
    "n=1 c=4 o=6 g=2 x=8,11 k=2,3 s=2,1 p=1,0:2",
    "n=2 c=6 o=9 g=3 x=10,7 k=3,2 s=3,2 p=2:1,0 d=1,2",
    "n=1 c=3 o=2 x=6,5,7 k=2,3,2 s=2,1,2 p=1,0:1,1:0",
    "n=2 c=3 o=4 x=12,9 k=3,2 s=2,3 p=1,0",
    "n=2 c=3 o=5 x=13 k=4 d=2 p=1",
)
NOT_IN_ONNX = (
    "n=2 c=3 o=4 x=- k=-",
    "n=2 c=3 o=4 x=9,7 k=3,2 p=-1:2,0",
    "n=2 c=3 o=4 x=9,7 k=3,2 p=1 mode=circular",
    "n=2 c=3 o=4 x=2,7 k=4,2",
    "n=0 c=3 o=4 x=9,7 k=3,2",
    "n=2 c=2 o=3 x=4,3,5,2 k=2,1,3,2",
    "n=2 c=3 o=4 x=9 k=3 dtype=complex64",
    "n=2 c=3 o=4 x=9 k=3 member=conv_grad_input",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors")
    for vector in onnx_vectors(Case.parse(text) for text in (*AMOUNTS, *NOT_IN_ONNX, *AUTO_PAD)):
        vector.write(path / "onnx")
    return path


def read(folder: Path) -> list[TestCase]:
    return sorted(load_model_tests(data_dir=str(folder), kind="onnx"), key=lambda test: test.name)


def tensors(test: TestCase, pattern: str) -> list[np.ndarray]:
    """The tensors of a directory in their order."""
    files = sorted(Path(test.model_dir).glob(f"test_data_set_0/{pattern}_*.pb"))
    return [onnx.numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes())) for file in files]


def node_of(model: Any) -> tuple[str, dict[str, Any]]:
    """The operator of a model, and its attributes."""
    [node] = model.graph.node
    return node.op_type, {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}


def test_there_is_what_onnx_defines_and_nothing_else(folder: Path) -> None:
    found = [onnx.load(Path(test.model_dir) / "model.onnx").doc_string for test in read(folder)]
    cases = [Case.parse(text) for text in found]
    geometries = {(case.geometry, case.padding) for case in cases if case.member == "conv"}
    assert geometries == {(one.geometry, one.padding) for one in map(Case.parse, (*AMOUNTS, *AUTO_PAD))}
    assert {case.dtype for case in cases} == {"float16", "float32", "float64"}
    assert {(case.member, case.bias) for case in cases} == {
        (member, bias) for member in ("conv", "conv_transpose") for bias in (None, "none")
    }
    assert {case.padding for case in cases if case.member == "conv_transpose"} == {
        None,
        "valid",
        "same_upper",
        "same_lower",
    }


def test_every_model_is_valid_and_has_its_operands_as_inputs(folder: Path) -> None:
    for test in read(folder):
        model = onnx.load(Path(test.model_dir) / "model.onnx")
        onnx.checker.check_model(model, full_check=True)
        assert not model.graph.initializer
        inputs, [output] = tensors(test, "input"), tensors(test, "output")
        for given, array in zip(model.graph.input, inputs, strict=True):
            assert shape_of(given) == array.shape
        assert shape_of(model.graph.output[0]) == output.shape
        assert {array.dtype for array in inputs} == {output.dtype}
        case = Case.parse(model.doc_string)
        assert test.name.startswith(f"test_{case.member}_0")
        assert test.name.endswith(f"_{case.dtype}" + (f"_{case.padding}" if case.padding else ""))


def shape_of(value: Any) -> tuple[int, ...]:
    return tuple(one.dim_value for one in value.type.tensor_type.shape.dim)


def test_attributes_say_what_the_case_says(folder: Path) -> None:
    for test in read(folder):
        model = onnx.load(Path(test.model_dir) / "model.onnx")
        case = Case.parse(model.doc_string)
        kind, attributes = node_of(model)
        axes = case.geometry.axes
        assert kind == {"conv": "Conv", "conv_transpose": "ConvTranspose"}[str(case.member)]
        assert attributes["strides"] == [axis.stride for axis in axes]
        assert attributes["dilations"] == [axis.dilation for axis in axes]
        assert attributes["group"] == case.geometry.groups
        assert attributes.get("auto_pad", b"").decode().lower() == (case.padding or "")
        if case.padding is None:
            assert attributes["pads"] == [axis.begin for axis in axes] + [axis.end for axis in axes]
        if kind == "ConvTranspose":
            assert attributes["output_padding"] == list(case.geometry.slack)


def loop(model: Any, arrays: list[np.ndarray]) -> np.ndarray:
    """The result of a model from the literal loop, by the amounts of padding that ONNX derives from a name."""
    kind, attributes = node_of(model)
    data, w, *bias = arrays
    options: dict[str, Any] = {
        "stride": tuple(attributes["strides"]),
        "dilation": tuple(attributes["dilations"]),
        "groups": attributes["group"],
    }
    ndim = len(attributes["strides"])
    extra = attributes.get("output_padding", [0] * ndim)
    amounts = attributes.get("pads", [0] * 2 * ndim)
    padding = list(zip(amounts[:ndim], amounts[ndim:], strict=True))
    name = attributes.get("auto_pad", b"NOTSET").decode()
    if name.startswith("SAME"):
        padding = []
        for n, k, s, d, q in zip(data.shape[2:], w.shape[2:], *list(options.values())[:2], extra, strict=True):
            extent = d * (k - 1) + 1
            total = (n - 1) * s + extent + q - n * s if kind == "ConvTranspose" else (-(-n // s) - 1) * s + extent - n
            half = max(total, 0) // 2
            padding.append((half, max(total, 0) - half) if name == "SAME_UPPER" else (max(total, 0) - half, half))
    options["padding"] = tuple(padding)
    if kind == "Conv":
        return oracle.conv(data, w, bias[0] if bias else None, **options, padding_mode="zeros")
    return oracle.conv_transpose(data, w, bias[0] if bias else None, **options, output_padding=tuple(extra))


def test_the_outputs_are_those_of_the_literal_loop(folder: Path) -> None:
    exact = 0
    for test in read(folder):
        model = onnx.load(Path(test.model_dir) / "model.onnx")
        right, [output] = loop(model, tensors(test, "input")), tensors(test, "output")
        assert right.shape == output.shape
        if Case.parse(model.doc_string).data == "integers":
            exact += 1
            assert np.array_equal(output.astype(object), right), model.doc_string
            assert (test.rtol, test.atol) == (0, 0)
        else:
            assert np.allclose(output.astype(float), right.astype(float), rtol=test.rtol, atol=0)
            assert 0 < test.rtol < 1e-3
    assert exact > 20


def test_data_json_is_the_tolerance(folder: Path) -> None:
    for test in read(folder):
        assert json.loads((Path(test.model_dir) / "data.json").read_text()) == {"rtol": test.rtol, "atol": test.atol}


def reference(model: Any, inputs: dict[str, np.ndarray]) -> list[Any]:
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(model).run(None, inputs))


def runtime(model: Any, inputs: dict[str, np.ndarray]) -> list[Any]:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def reference_has(case: Case) -> bool:
    """Not a transposed convolution with groups: up to ONNX 1.23 it raises, see conformance/expectations."""
    return case.member == "conv" or case.geometry.groups == 1


def runtime_has(case: Case) -> bool:
    """No float64, for which ONNX Runtime has no kernel on the CPU, nor dilation in Conv with auto_pad."""
    dilated = any(axis.dilation > 1 for axis in case.geometry.axes)
    same = case.padding in ("same_upper", "same_lower")
    return case.dtype != "float64" and not (case.member == "conv" and dilated and same)


@pytest.mark.parametrize(
    ("evaluate", "has", "least"), [(reference, reference_has, 35), (runtime, runtime_has, 25)], ids=["reference", "ort"]
)
def test_those_who_run_models_agree(
    folder: Path, evaluate: Callable[..., list[Any]], has: Callable[[Case], bool], least: int
) -> None:
    agreed = 0
    for test in read(folder):
        model = onnx.load(Path(test.model_dir) / "model.onnx")
        if has(Case.parse(model.doc_string)):
            names = [given.name for given in model.graph.input]
            found = evaluate(model, dict(zip(names, tensors(test, "input"), strict=True)))
            expected = tensors(test, "output")
            # By ONNX's own comparison: shape, dtype, and the tolerance of data.json.
            Runner.assert_similar_outputs(expected, found, rtol=test.rtol, atol=test.atol)
            agreed += 1
    assert agreed >= least


def test_a_wrong_output_is_found_by_onnx_itself(folder: Path) -> None:
    for test in read(folder):
        [right] = tensors(test, "output")
        wrong = right.copy()
        wrong.flat[3] *= np.asarray(1.01, right.dtype)
        wrong.flat[3] += wrong.flat[3] == 0
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            Runner.assert_similar_outputs([right], [wrong], rtol=1e-3, atol=1e-7)


def names_of(*cases: str) -> list[str]:
    return [vector.name for vector in onnx_vectors(map(Case.parse, cases))]


def test_sums_that_are_not_exact_in_float16_are_asked_in_float32() -> None:
    short, long = "n=1 c=2 o=3 x=9 k=3", "n=1 c=60 o=2 x=9 k=3"
    assert names_of(*[short] * 4)[-2:] == ["test_conv_0003_float16", "test_conv_transpose_0003_float16"]
    assert names_of(*[short] * 3, long)[-2:] == ["test_conv_0003_float32", "test_conv_transpose_0003_float16"]
    assert names_of(f"{long} dtype=float16") == ["test_conv_transpose_0000_float16"]
    assert names_of(f"{short} dtype=float16 data=positive") == []


def test_a_transposed_convolution_by_auto_pad_covers_its_stride() -> None:
    assert names_of("n=2 c=3 o=5 x=9 k=2 s=3 p=same_upper") == ["test_conv_0000_float32_same_upper"]
    assert len(names_of("n=2 c=3 o=5 x=9 k=3 s=3 p=same_upper")) == 2


def test_the_command_writes_them_where_they_are_wanted(tmp_path: Path) -> None:
    case = "n=2 c=3 o=4 x=6,8 k=3,4 s=2 p=same_upper dtype=float32 data=integers"
    for option, count in (("--onnx", 2), ("--no-onnx", 0)):
        path = tmp_path / option
        result = CliRunner().invoke(app, ["vectors", "export", str(path), "--case", case, option])
        assert result.exit_code == 0
        assert f"8 vectors, {count} directories for ONNX" in result.output
        found = sorted(str(one.relative_to(path)) for one in path.glob("onnx/*"))
        names = ["conv_0000_float32_same_upper", "conv_transpose_0000_float32_same_upper"]
        assert found == [f"onnx/test_{name}" for name in names][:count]
