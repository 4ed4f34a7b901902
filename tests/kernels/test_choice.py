"""Which kernel is chosen, what `explain` says of it, and that the choice changes no exact result."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import array_api_strict
import ml_dtypes
import numpy as np
import pytest

import arrconv
from arrconv import ConvGrads, Geometry, SpecError, UnsupportedError, explain
from arrconv._namespace import backend_of
from arrconv.kernels import KERNELS, Choice, choose, table
from arrconv.kernels.base import Kernel, Problem

CASES = [
    "n=2 c=4 o=6 g=2 x=9,7 k=3,2 s=2,1 p=1:0,2",
    "n=3 c=5 o=2 x=13 k=4 s=3 d=2 p=2:7 mode=circular",
    "c=6 o=9 g=3 x=5,4,6 k=2,3,1 p=1,0,2 mode=reflect",
    "n=2 c=3 o=6 g=3 x=11,8 k=1,3 d=1,3 p=0:4,5:1 mode=replicate",
    "n=4 c=3 o=5 x=- k=-",
]
MEMBERS = ["conv", "conv_transpose", "conv_grad_input", "conv_grad_weight"]
TOO_SMALL = 8  # bytes, in which no kernel that gathers has room for anything


def call(member: str, case: str, put: Any = np.asarray, dtype: str = "int64") -> tuple[list[Any], dict[str, Any]]:
    """The arrays and options of a call: whole numbers, so that every order of summation gives the same."""
    g, rng = Geometry.parse(case), np.random.default_rng(3)
    if member.startswith("conv_transpose"):
        g = replace(g, padding_mode="zeros")
    shapes = {"x": g.input_shape, "w": g.weight_shape, "y": g.output_shape}
    arrays = {name: put(rng.integers(-9, 10, shape).astype(dtype)) for name, shape in shapes.items()}
    options: dict[str, Any] = {
        "stride": tuple(a.stride for a in g.axes),
        "padding": tuple((a.begin, a.end) for a in g.axes),
        "dilation": tuple(a.dilation for a in g.axes),
        "groups": g.groups,
        "padding_mode": g.padding_mode,
    }
    if member.startswith("conv_transpose"):
        del options["padding_mode"]
        options["output_size"] = g.input_size
    if member == "conv_grad_input":
        options["input_size"] = g.input_size
    if member == "conv_grad_weight":
        options["kernel_size"] = g.kernel_size
    taken = {
        "conv": "xw", "conv_transpose": "yw", "conv_grad_input": "wy", "conv_grad_weight": "xy",
        "conv_backward": "xwy", "conv_transpose_backward": "ywx",
    }  # fmt: skip
    return [arrays[name] for name in taken[member]], options


def torch_asarray() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed").asarray


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that have computed something since."""
    names: list[str] = []

    def recording(kernel: Kernel) -> Kernel:
        def contract(problem: Problem, first: Any, second: Any) -> Any:
            names.append(kernel.name)
            return kernel.contract(problem, first, second)

        return replace(kernel, contract=contract)

    for name, kernel in list(KERNELS.items()):
        monkeypatch.setitem(KERNELS, name, recording(kernel))
    return names


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("member", MEMBERS)
def test_auto_takes_the_table_for_small_problems_on_numpy_and_gemm_for_others(
    member: str, case: str, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays, options = call(member, case)
    choice = explain(member, *arrays, **options)
    assert choice.kernel == "table"
    assert choice.passed_over["gemm"] == choice.passed_over["taps"] == "table serves this problem and comes first"
    getattr(arrconv, member)(*arrays, **options)
    monkeypatch.setattr(table, "_MOST", dict.fromkeys("yxw", 0))
    choice = explain(member, *arrays, **options)
    assert choice.kernel == "gemm"
    assert choice.passed_over["taps"] == "gemm serves this problem and comes first"
    assert re.fullmatch(r"it would gather \d+ numbers for an image, more than 0", choice.passed_over["table"])
    getattr(arrconv, member)(*arrays, **options)
    assert ran == ["table", "gemm"]


@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
@pytest.mark.parametrize("member", MEMBERS)
def test_auto_takes_the_definition_elsewhere(member: str, library: str, ran: list[str]) -> None:
    put = array_api_strict.asarray if library == "array_api_strict" else torch_asarray()
    arrays, options = call(member, CASES[0], put)
    choice = explain(member, *arrays, **options)
    assert choice.kernel == "taps"
    assert choice.passed_over["gemm"] == f"it works on NumPy and CuPy arrays, not on those of {library}"
    assert choice.passed_over["table"] == f"it works on NumPy arrays, not on those of {library}"
    getattr(arrconv, member)(*arrays, **options)
    assert ran == ["taps"]


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float16", "bfloat16", "float32", "complex64"])
@pytest.mark.parametrize("member", MEMBERS)
def test_the_values_play_no_part(member: str, dtype: str) -> None:
    for value in (0, 1):
        arrays, options = call(member, CASES[0])
        filled = [np.full_like(a, value, dtype=getattr(ml_dtypes, dtype, dtype)) for a in arrays]
        assert explain(member, *filled, **options) == explain(member, *arrays, **options)


def serving(member: str, case: str, dtype: str) -> list[str]:
    """The kernels that do not refuse a call."""
    arrays, options = call(member, case, dtype=dtype)
    names = []
    for name in KERNELS:
        try:
            explain(member, *arrays, algorithm=name, **options)
        except UnsupportedError:
            continue
        names.append(name)
    return names


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["int64", "float64", "float32", "complex128"])
@pytest.mark.parametrize("member", MEMBERS)
def test_exact_results_do_not_depend_on_the_choice(member: str, dtype: str, case: str) -> None:
    function = getattr(arrconv, member)
    arrays, options = call(member, case, dtype=dtype)
    names = serving(member, case, dtype)
    names = [name for name in names if name != "fft"]  # its transforms round, whatever they are of
    assert {"table", "gemm", "taps"} <= set(names)
    results = [function(*arrays, algorithm=name, **options) for name in ("auto", *names)]
    with arrconv.limits(workspace=TOO_SMALL):
        results.append(function(*arrays, **options))
    assert np.any(results[0])
    for other in results[1:]:
        assert other.dtype == results[0].dtype
        assert np.array_equal(results[0], other)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("member", MEMBERS)
def test_a_named_kernel_is_the_one_that_runs(member: str, name: str, ran: list[str]) -> None:
    arrays, options = call(member, CASES[1], dtype="float64")
    if name not in serving(member, CASES[1], "float64"):
        pytest.skip(f"{name} does not serve {member}, or not here")
    choice = explain(member, *arrays, algorithm=name, **options)
    assert choice.kernel == name
    others = [other for other in (*KERNELS, "exact") if other != name]
    assert choice.passed_over == dict.fromkeys(others, f"{name} was asked for")
    getattr(arrconv, member)(*arrays, algorithm=name, **options)
    assert ran == [name]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("member", MEMBERS)
def test_every_other_kernel_is_accounted_for(member: str, case: str) -> None:
    arrays, options = call(member, case)
    for workspace in (TOO_SMALL, 2**20):
        with arrconv.limits(workspace=workspace):
            choice = explain(member, *arrays, **options)
        assert choice.passed_over.keys() == {*KERNELS, "exact"} - {choice.kernel}
        lines = str(choice).splitlines()
        assert lines[0] == choice.kernel
        assert lines[1:] == [f"  not {other}: {reason}" for other, reason in choice.passed_over.items()]


@pytest.mark.parametrize("member", MEMBERS)
def test_too_small_a_workspace_is_the_reason_not_to_gather(member: str, ran: list[str]) -> None:
    arrays, options = call(member, CASES[0], dtype="float64")
    products = {"conv": 2 * 6, "conv_grad_weight": 2 * 6}.get(member, 3 * 6)  # channels of a group times taps
    with arrconv.limits(workspace=TOO_SMALL):
        choice = explain(member, *arrays, **options)
        assert choice.kernel == "taps"
        assert f"{8 * products} bytes, more than the 2 of the workspace" in choice.passed_over["gemm"]
        assert re.search(r"of an image takes \d+ bytes, more than the 2 of the workspace", choice.passed_over["table"])
        getattr(arrconv, member)(*arrays, **options)
        with pytest.raises(UnsupportedError, match=f"algorithm='gemm' cannot serve this call: .* {8 * products} bytes"):
            getattr(arrconv, member)(*arrays, algorithm="gemm", **options)
    assert ran == ["taps"]
    with arrconv.limits(workspace=4 * 8 * products):
        assert explain(member, *arrays, **options).kernel == "gemm"
    with arrconv.limits(workspace=4 * 8 * products - 1):
        assert explain(member, *arrays, **options).kernel == "taps"


@pytest.mark.parametrize("member", [*MEMBERS, "conv_backward", "conv_transpose_backward"])
def test_a_kernel_that_refuses_is_an_error_that_says_why(member: str, ran: list[str]) -> None:
    arrays, options = call(member, CASES[0], array_api_strict.asarray)
    why = (
        r"algorithm='gemm' cannot serve this call: it works on NumPy and CuPy arrays, not on those of array_api_strict"
    )
    with pytest.raises(UnsupportedError, match=why):
        getattr(arrconv, member)(*arrays, algorithm="gemm", **options)
    with pytest.raises(UnsupportedError, match=why):
        explain(member, *arrays, algorithm="gemm", **options)
    assert ran == []


def test_all_gradients_are_refused_before_any_is_computed(ran: list[str]) -> None:
    """Here the gradient by the weight, the second in turn, takes more workspace than that by the input."""
    arrays, options = call("conv_backward", "n=2 c=40 o=1 x=9 k=3")
    with arrconv.limits(workspace=3 * 40 * 3 * 8 - 1):
        assert explain("conv_backward", *arrays, **options).input.kernel == "table"
        assert explain("conv_backward", *arrays, **options).weight.kernel == "taps"
        with pytest.raises(UnsupportedError, match="960 bytes"):
            arrconv.conv_backward(*arrays, algorithm="gemm", needs=("weight", "input"), **options)
        assert ran == []
        arrconv.conv_backward(*arrays, algorithm="gemm", needs=("input", "bias"), **options)
    assert ran == ["gemm"]


@pytest.mark.parametrize("wrong", ["", "GEMM", "fastest", "sum", None, 3, ["gemm"]])
@pytest.mark.parametrize("member", [*MEMBERS, "conv_backward", "conv_transpose_backward"])
def test_an_unknown_algorithm_is_refused_with_the_names_that_are(member: str, wrong: Any) -> None:
    arrays, options = call(member, CASES[0])
    for function in (getattr(arrconv, member), lambda *a, **o: explain(member, *a, **o)):
        with pytest.raises(SpecError, match="is unknown; the algorithms are auto, ") as caught:
            function(*arrays, algorithm=wrong, **options)
        assert repr(wrong) in str(caught.value)
        assert all(name in str(caught.value) for name in KERNELS)


@pytest.mark.parametrize("member", ["conv_backward", "conv_transpose_backward"])
def test_the_gradients_together_are_explained_one_by_one(member: str) -> None:
    arrays, options = call(member, CASES[0])
    choices = explain(member, *arrays, **options)
    assert isinstance(choices, ConvGrads)
    assert (choices.input.kernel, choices.weight.kernel, choices.bias.kernel) == ("table", "table", "sum")
    alone = explain(member, *arrays, needs=("weight",), algorithm="taps", **options)
    assert (alone.input, alone.bias) == (None, None)
    assert alone.weight.kernel == "taps"


def test_the_gradient_of_a_bias_is_no_kernels_work(ran: list[str]) -> None:
    gy = np.ones((2, 3, 5))
    choice = explain("conv_grad_bias", gy)
    assert choice.kernel == "sum"
    assert choice.passed_over == dict.fromkeys(KERNELS, "the gradient of a bias is a plain sum")
    assert str(choice).startswith("sum\n  not table: the gradient of a bias is a plain sum")
    arrconv.conv_grad_bias(gy)
    assert ran == []


def test_explaining_computes_nothing_and_reads_nothing(ran: list[str]) -> None:
    huge = np.broadcast_to(np.float32(1), (64, 512, 4096, 4096))
    assert explain("conv", huge, np.ones((200, 512, 3, 3), np.float32), padding=1).kernel == "gemm"
    assert ran == []


def test_the_first_kernel_that_does_not_pass_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = replace(KERNELS["gemm"], refuses=lambda problem: f"not for {problem.direction}")
    monkeypatch.setitem(KERNELS, "gemm", refusing)
    monkeypatch.setattr(table, "_MOST", dict.fromkeys("yxw", 0))
    x, w = np.ones((1, 2, 5)), np.ones((3, 2, 2))
    assert explain("conv", x, w) == Choice("taps", explain("conv", x, w).passed_over)
    assert explain("conv", x, w).passed_over["gemm"] == "not for y"
    assert explain("conv_grad_weight", x, x, kernel_size=(1,)).passed_over["gemm"] == "not for w"
    assert explain("conv_grad_input", w, np.ones((1, 3, 4)), input_size=(5,)).passed_over["gemm"] == "not for x"
    with pytest.raises(UnsupportedError, match="not for x"):
        arrconv.conv_transpose(np.ones((1, 3, 4)), w, algorithm="gemm")


def test_choosing_is_deterministic() -> None:
    g = Geometry.parse(CASES[0])
    backend = backend_of(x=np.ones(1))
    for direction in ("y", "x", "w"):
        assert len({str(choose(Problem(direction, g, backend), "auto")) for _ in range(3)}) == 1
