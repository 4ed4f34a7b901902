"""Wrong calls: the class of the error, a message that repeats the values, and nothing computed or changed before it."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import array_api_strict
import numpy as np
import pytest

import arrconv
from arrconv import (
    ConvSpec,
    DeviceError,
    DTypeError,
    Geometry,
    ShapeError,
    SpecError,
    UnsupportedError,
    conv,
    conv_backward,
    conv_grad_bias,
    conv_grad_input,
    conv_grad_weight,
    conv_transpose,
    conv_transpose_backward,
    error_bound,
    explain,
)
from arrconv.functional import contraction
from arrconv.kernels import KERNELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

X, W, BIAS, GY = np.ones((2, 6, 11, 17)), np.ones((10, 3, 4, 5)), np.ones(10), np.ones((2, 10, 8, 13))  # groups=2
x1, w1, g1 = np.ones((2, 3, 12)), np.ones((4, 3, 5)), np.ones((2, 4, 8))
ONE, TWO = ConvSpec.of(1), ConvSpec.of(2)


def cases(error: type[Exception], rows: Iterable[tuple[Callable[[], object], str]]) -> list[Any]:
    """A wrong call and what its message must contain, which is the case's name as well."""
    return [pytest.param(call, error, re.escape(message), id=message) for call, message in rows]


def strict(array: np.ndarray, device: str = "CPU_DEVICE") -> Any:
    return array_api_strict.asarray(array, device=array_api_strict.Device(device))


def enter_limits(**options: Any) -> None:
    with arrconv.limits(**options):
        pass


def letters(*words: str) -> Iterator[str]:
    yield from words


SHAPES = [
    (lambda: conv(X, W), "x has 6 channels, but w (10, 3, 4, 5) with groups=1 expects 3"),
    (lambda: conv(X[:, :4], W, groups=2), "x has 4 channels, but w (10, 3, 4, 5) with groups=2 expects 6"),
    (lambda: conv(X, W[:, :2], groups=3), "has 10 output channels, which groups=3 does not divide"),
    (lambda: conv_transpose(X, W), "y has 6 channels, but w (10, 3, 4, 5) expects 10"),
    (lambda: conv_transpose(GY, W, groups=3), "has 10 output channels, which groups=3 does not divide"),
    (lambda: conv_grad_input(W, GY, input_size=(11, 17), groups=4), "has 10 output channels, which groups=4"),
    (lambda: conv_grad_weight(X, GY, kernel_size=(4, 5), groups=5), "x has 6 channels, which groups=5 does not divide"),
    (lambda: conv_grad_weight(X, GY, kernel_size=(4, 5), groups=3), "gy has 10 channels"),
    (lambda: conv_backward(X, W, GY), "x has 6 channels, but w (10, 3, 4, 5) with groups=1 expects 3"),
    (lambda: conv_transpose_backward(GY[:, :9], W, X), "y has 9 channels, but w (10, 3, 4, 5) expects 10"),
    (lambda: error_bound("conv", X, W), "x has 6 channels, but w (10, 3, 4, 5) with groups=1 expects 3"),
    (lambda: explain("conv_transpose", X, W), "y has 6 channels, but w (10, 3, 4, 5) expects 10"),
    (lambda: conv(X[..., :0], W, padding=1, padding_mode="reflect", groups=2), "axis 1 of x is empty"),
    (lambda: conv(x1[..., :0], w1, padding=1, padding_mode="circular"), "='circular' has nothing to fill (1, 1) with"),
    (lambda: conv(X, W[..., :0], groups=2), "w has shape (10, 3, 4, 0), but every kernel axis must be at least 1"),
    (lambda: conv(X[0, 0], W), "x has 2 axes, shape (11, 17), but w (10, 3, 4, 5) has 2 spatial axes"),
    (lambda: conv(X[None], W), "x has 5 axes, shape (1, 2, 6, 11, 17), but w (10, 3, 4, 5) has 2 spatial axes"),
    (lambda: conv(X, BIAS), "w has shape (10,), but needs (C_out, C_in/groups, *kernel)"),
    (lambda: conv_transpose(GY[None], W), "y has 5 axes, shape (1, 2, 10, 8, 13), but w (10, 3, 4, 5)"),
    (lambda: conv_grad_input(W, GY[0, 0], input_size=(11, 17)), "gy has 2 axes, shape (8, 13), but 2 spatial axes"),
    (lambda: conv_grad_bias(BIAS), "gy has shape (10,), but needs (N, C_out, *output); or give spatial_ndim"),
    (lambda: conv_grad_bias(GY, spatial_ndim=4), "gy has 4 axes, shape (2, 10, 8, 13), but 4 spatial axes"),
    (lambda: conv(X, W, BIAS[:6], groups=2), "bias has shape (6,), but the result has 10 channels: (10,)"),
    (lambda: conv(X, W, BIAS[:, None], groups=2), "bias has shape (10, 1), but the result has 10 channels: (10,)"),
    (lambda: conv(X, W, np.float64(3), groups=2), "bias has shape (), but the result has 10 channels: (10,)"),
    (lambda: conv_transpose(GY, W, BIAS, groups=2), "bias has shape (10,), but the result has 6 channels: (6,)"),
    (lambda: conv_backward(x1, w1, g1[1:]), "gy has shape (1, 4, 8), but the output for these sizes has (2, 4, 8)"),
    (lambda: conv_grad_input(W, GY[:, :6], input_size=(11, 17), groups=2), "gy has shape (2, 6, 8, 13), but the"),
    (lambda: conv_grad_weight(X, GY[..., 1:], kernel_size=(4, 5), groups=2), "gy has shape (2, 10, 8, 12), but"),
    (lambda: conv_backward(X, W, GY[0], groups=2), "gy has shape (10, 8, 13), but the output for these sizes has (2,"),
    (lambda: conv_transpose_backward(g1, w1, x1[1:]), "(1, 3, 12), but the result for these sizes has (2, 3, 12)"),
    (lambda: conv_grad_weight(X, GY, kernel_size=(4,)), "x has 4 axes, shape (2, 6, 11, 17), but 1 spatial axes"),
    (lambda: conv_transpose(g1, w1, stride=2, output_size=(21,)), "size 21 on spatial axis 0 cannot come from 8"),
    (lambda: conv_transpose(g1, w1, padding=((7, 9),)), "(8 − 1)·1 + 5 − 7 − 9 + 0 = -4, which is negative"),
    (lambda: Geometry.forward(ONE, (2, 7, 12), (4, 3, 5)), "x has 7 channels, but w (4, 3, 5) with groups=1 expects 3"),
    (lambda: Geometry.forward(TWO, (2, 3, 12), (4, 3, 5)), "2 spatial axes"),
    (lambda: Geometry.transposed(ONE, (2, 4, 8, 9), (4, 3, 5, 6)), "2 spatial axes"),
    (lambda: Geometry.transposed(ONE, (2, 7, 8), (4, 3, 5)), "y has 7 channels, but w (4, 3, 5) expects 4"),
    (lambda: Geometry.parse("c=3 o=4 x=12 k=5 g=2"), "groups=2 does not divide c=3"),
    (lambda: Geometry.parse("c=3 o=4 x=12 k=5 l=9"), "l=9 exceeds the (8,) positions of the sizes"),
]
SPECS = [
    (lambda: conv_transpose(g1, w1, stride=(1, 2)), "stride=(1, 2) has 2 entries for 1 spatial axes"),
    (lambda: conv_transpose_backward(g1, w1, x1, dilation=0), "dilation must be at least 1, but got 0"),
    (lambda: conv_transpose(g1, w1, padding="full"), "padding='full' is unknown"),
    (lambda: error_bound("conv", x1, w1, stride=0), "stride must be at least 1, but got 0"),
    (lambda: explain("conv_grad_weight", x1, g1, kernel_size=(5,), stride=0), "stride must be at least 1, but got 0"),
    (lambda: ConvSpec.of(-1), "ndim must be at least 0, but got -1"),
    (lambda: ConvSpec.of(1.5), "ndim must be an integer, but got 1.5"),
    (lambda: conv_grad_bias(g1, spatial_ndim=1.0), "spatial_ndim must be an integer, but got 1.0"),
    (lambda: conv_grad_bias(g1, spatial_ndim=-1), "spatial_ndim must be at least 0, but got -1"),
    (lambda: conv_grad_weight(x1, g1, kernel_size=(0,)), "kernel_size"),
    (lambda: conv_grad_weight(x1, g1, kernel_size=5), "kernel_size must be a tuple of the spatial sizes, but got 5"),
    (lambda: conv_grad_weight(X, GY, kernel_size=(4, -5)), "kernel_size[1] must be at least"),
    (lambda: conv_grad_weight(X, GY, kernel_size=(4.0, 5)), "kernel_size[0] must be an integer, but got 4.0"),
    (lambda: conv_grad_input(w1, g1, input_size=12), "input_size must be a tuple of the spatial sizes, but got 12"),
    (lambda: conv_grad_input(w1, g1, input_size="12"), "input_size must be a tuple of the spatial sizes, but got '12'"),
    (lambda: conv_grad_input(w1, g1, input_size=(2, 3, 12)), "input_size=(2, 3, 12) has 3 entries for 1 spatial axes"),
    (lambda: conv_grad_input(w1, g1, input_size=(-12,)), "input_size[0] must be at least 0, but got -12"),
    (lambda: conv_transpose(g1, w1, stride=3, output_padding=3), "output_padding=3 on spatial axis 0 must be below"),
    (lambda: conv_transpose(g1, w1, stride=2, output_padding=-1), "output_padding must be at least 0, but got -1"),
    (lambda: conv_transpose(g1, w1, output_padding=1, output_size=(20,)), "output_padding=1 and output_size=(20,)"),
    (lambda: conv_transpose(g1, w1, output_padding=1, padding="same"), "output_padding=1 and padding='same_upper'"),
    (lambda: conv_transpose(g1, w1, output_size=12), "output_size must be a tuple of the spatial sizes, but got 12"),
    (lambda: conv_backward(x1, w1, g1, needs="input"), "needs='input' must be a collection of 'input', 'weight'"),
    (lambda: conv_transpose_backward(g1, w1, x1, needs=("input", "w")), "needs=('input', 'w') must be a collection"),
    (lambda: conv_backward(x1, w1, g1, needs=5), "needs=5 must be a collection"),
    (lambda: conv_backward(x1, w1, g1, needs=[["input"]]), "needs=[['input']] must be"),
    (lambda: conv(x1, w1, algorithm="winograd"), "algorithm='winograd' is unknown; the algorithms are auto, "),
    (lambda: conv(x1, w1, algorithm=["gemm"]), "algorithm=['gemm'] is unknown"),
    (lambda: conv_backward(x1, w1, g1, needs=("bias",), algorithm="fft9"), "algorithm='fft9' is"),
    (lambda: error_bound("conv2d", x1, w1), "member='conv2d' is unknown; the members are conv, conv_transpose,"),
    (lambda: explain(conv, x1, w1), "is unknown; the members are conv, conv_transpose,"),
    (lambda: explain(["conv"], x1, w1), "member=['conv'] is unknown"),
    (lambda: explain("conv", x1, w1, algorithm="nope"), "algorithm='nope' is unknown"),
    (lambda: error_bound("conv", x1, w1, arithmetic="float8"), "'float8' is no known format; the formats are float16,"),
    (lambda: error_bound("conv", x1, w1, arithmetic=3), "arithmetic=3"),
    (lambda: enter_limits(threads=0), "threads must be at least 1, but got 0"),
    (lambda: enter_limits(threads=True), "threads must be an integer, but got True"),
    (lambda: enter_limits(workspace=1.5), "workspace must be an integer, but got 1.5"),
    (lambda: enter_limits(workspace=-4), "workspace must be at least 1, but got -4"),
    (lambda: Geometry.parse(""), "case '' lacks c=, o=, x=, k="),
    (lambda: Geometry.parse("c=3 o=4 x=12"), "case 'c=3 o=4 x=12' lacks k="),
    (lambda: Geometry.parse("c=3 o=4 x=12 k=5 q=7"), "case 'c=3 o=4 x=12 k=5 q=7': 'q=7' is not one of n= c="),
    (lambda: Geometry.parse("c=3 o=4 x=12 k=5 c=7"), "'c=7' is not one of n= c= o= g= x= k= s= p= d="),
    (lambda: Geometry.parse("c=3 o=4 x=12 k=five"), "case 'c=3 o=4 x=12 k=five': 'five' is not an integer"),
    (lambda: Geometry.parse("c=3 o=4 x=12 k=5 p=1:2:3"), "case 'c=3 o=4 x=12 k=5 p=1:2:3': '2:3' is not an integer"),
    (lambda: Geometry.parse("c=3 o=4 x=12 k=5 p=1:"), "p=1:"),
    (lambda: Geometry.parse("c=3 o=4 x=12 k=5,6"), "'5,6' has 2 entries for 1 spatial axes"),
    (lambda: Geometry.parse("c=3 o=4 x=12 k=5 mode=wrap"), "padding_mode='wrap' is unknown"),
    (lambda: Geometry.parse(None), "None"),
]
SIZES = [
    (lambda: Geometry.forward(ONE, (2, 3, -12), (4, 3, 5)), "-12"),
    (lambda: Geometry.forward(ONE, (2, 3, 12.5), (4, 3, 5)), "12.5"),
    *(
        (lambda t=text: Geometry.parse(t), value)
        for text, value in (
            ("n=-2 c=3 o=4 x=12 k=5", "-2"),
            ("c=-3 o=4 x=12 k=5", "-3"),
            ("c=3 o=-4 x=12 k=5", "-4"),
            ("c=3 o=4 x=-13 k=5", "-13"),
            ("c=3 o=4 x=12 k=-5", "-5"),
            ("c=3 o=4 x=12 k=5 l=-8", "-8"),
        )
    ),
]
DTYPES = [
    (lambda: conv_grad_bias(g1.astype(np.longdouble)), f"gy has dtype {np.dtype(np.longdouble).name}"),
    (lambda: conv(x1, w1.astype(np.int64)), "x has dtype float64, but w has int64"),
    (lambda: conv(x1.astype(np.int8), w1 > 0), "x has dtype int8, but w has bool"),
    (lambda: conv(x1, w1 + 0j), "x has dtype float64, but w has complex128"),
    (lambda: conv(x1[:, :, 0].view(np.matrix), w1[:, :, 0]), "x is a matrix, whose own rules would be lost"),
    (lambda: conv(x1, strict(w1)), "x is an array of numpy, but w of array_api_strict"),
    *(
        (lambda d=dtype: conv(x1.astype(d), w1.astype(d)), f"x has dtype {dtype}, which arrconv does not")
        for dtype in ("bool", "object", "datetime64[s]", "timedelta64[s]")
    ),
]
DEVICES = [
    (lambda: conv(strict(x1), strict(w1, "device1")), "Device('CPU_DEVICE'), but w on array_api_strict.Device("),
    (lambda: conv_backward(strict(x1), strict(w1), strict(g1, "device1")), "Device('CPU_DEVICE'), but gy"),
]
UNKNOWN_KEYWORDS = [
    (lambda: explain("conv_transpose", g1, w1, padding_mode="circular"), "padding_mode"),
    (lambda: error_bound("conv_transpose", g1, w1, padding_mode="circular"), "padding_mode"),
    (lambda: enter_limits(thread=3), "unexpected keyword argument 'thread'"),
    *(
        (lambda call=call, a=a, o=o: call(*a, **o, strides=2), f"{call.__name__}() got an unexpected keyword")
        for call, a, o in (
            (conv, (x1, w1), {}),
            (conv_transpose, (g1, w1), {}),
            (conv_grad_input, (w1, g1), {"input_size": (12,)}),
            (conv_grad_weight, (x1, g1), {"kernel_size": (5,)}),
            (conv_backward, (x1, w1, g1), {}),
            (conv_transpose_backward, (g1, w1, x1), {}),
        )
    ),
]

OPTION_VALUES = [
    ("groups", 0, "groups must be at least 1, but got 0"),
    ("groups", -2, "groups must be at least 1, but got -2"),
    ("groups", 2.0, "groups must be an integer, but got 2.0"),
    ("groups", True, "groups must be an integer, but got True"),
    ("groups", (2,), "groups must be an integer, but got (2,)"),
    ("groups", np.array(1.5), "groups must be an integer, but got array(1.5)"),
    ("stride", np.array(2.5), "stride must be an integer, but got array(2.5)"),
    ("padding", -1, "padding=-1 crops, which only padding_mode='zeros' allows, not 'circular'"),
    ("padding", ((0, 1), (2, -3)), "padding=((0, 1), (2, -3)) crops, which only padding_mode='zeros' allows"),
    ("padding", (1, 2, 3), "padding=(1, 2, 3) has 3 entries for 2 spatial axes"),
    ("padding", ((1, 2, 3), 1), "padding[0]=(1, 2, 3) must be one integer or a (begin, end) pair"),
    ("padding", (1, (2,)), "padding[1]=(2,) must be one integer or a (begin, end) pair"),
    ("padding", (1, (2, (3,))), "padding[1][1] must be an integer, but got (3,)"),
    ("padding", 1.5, "padding must be an integer, but got 1.5"),
    ("padding", (1, 0.5), "padding[1] must be an integer, but got 0.5"),
    ("padding", None, "padding must be an integer, but got None"),
    ("padding", "SAME", "padding='SAME' is unknown; the names are valid, same, same_upper, same_lower"),
    ("padding", ("same", 1), "padding[0] must be an integer, but got 'same'"),
    ("padding_mode", "wrap", "padding_mode='wrap' is unknown; the modes are zeros, circular, reflect, replicate"),
    ("padding_mode", 3, "padding_mode=3 is unknown"),
    ("padding_mode", ["zeros"], "padding_mode=['zeros'] is unknown"),
]
PER_AXIS_VALUES = [
    (0, " must be at least 1, but got 0"),
    (-2, " must be at least 1, but got -2"),
    (1.5, " must be an integer, but got 1.5"),
    (True, " must be an integer, but got True"),
    ("2", " must be an integer, but got '2'"),
    (None, " must be an integer, but got None"),
    ((1, 0), "[1] must be at least 1, but got 0"),
    ((1.5, 1), "[0] must be an integer, but got 1.5"),
    ((1, False), "[1] must be an integer, but got False"),
    ((1, 2, 3), "=(1, 2, 3) has 3 entries for 2 spatial axes"),
    ((), "=() has 0 entries for 2 spatial axes"),
]
OPTION_VALUES += [(name, value, name + rest) for name in ("stride", "dilation") for value, rest in PER_AXIS_VALUES]


def with_option(call: Callable[..., object], name: str, value: object) -> Callable[[], object]:
    return lambda: call(**({"groups": 2, "padding_mode": "circular"} | {name: value}))


OPTIONS = [
    pytest.param(with_option(call, name, value), SpecError, re.escape(message), id=f"{member}-{message}")
    for member, call in (
        ("conv", lambda **options: conv(X, W, **options)),
        ("grad-input", lambda **options: conv_grad_input(W, GY, input_size=(11, 17), **options)),
        ("grad-weight", lambda **options: conv_grad_weight(X, GY, kernel_size=(4, 5), **options)),
        ("backward", lambda **options: conv_backward(X, W, GY, **options)),
        ("spec", lambda **options: ConvSpec.of(2, **options)),
    )
    for name, value, message in OPTION_VALUES
    if member in ("conv", "spec") or name in ("groups", "stride")
]

MEMBERS: dict[str, tuple[Callable[..., object], tuple[str, ...], dict[str, object]]] = {
    "conv": (conv, ("x", "w", "bias"), {}),
    "conv_transpose": (conv_transpose, ("y", "w"), {}),
    "conv_grad_input": (conv_grad_input, ("w", "gy"), {"input_size": (12,)}),
    "conv_grad_weight": (conv_grad_weight, ("x", "gy"), {"kernel_size": (5,)}),
    "conv_grad_bias": (conv_grad_bias, ("gy",), {}),
    "conv_backward": (conv_backward, ("x", "w", "gy"), {}),
    "conv_transpose_backward": (conv_transpose_backward, ("y", "w", "gx"), {}),
}
ARRAYS = {"x": x1, "w": w1, "bias": np.ones(4), "y": g1, "gy": g1, "gx": x1}


def replaced(member: str, name: str, value: object) -> Callable[[], object]:
    call, names, options = MEMBERS[member]
    return lambda: call(*(value if n == name else ARRAYS[n] for n in names), **options)


EVERY = [(member, name) for member, (_, names, _) in MEMBERS.items() for name in names]
NO_ARRAYS = [
    pytest.param(replaced(member, name, value), DTypeError, f"{name} is a {why}", id=f"{member}-{name}-{why}")
    for member, name in EVERY
    for value, why in (
        (ARRAYS[name].tolist(), "list, not an array of a library"),
        (3.5, "float, not an array of a library"),
        (None, "NoneType, not an array of a library"),
        (np.ma.asarray(ARRAYS[name]), "MaskedArray, whose own rules would be lost"),
    )
    if name != "bias" or value is not None
]
MIXED = [
    pytest.param(replaced(member, name, ARRAYS[name].astype(np.float32)), DTypeError, message, id=f"{member}-{name}")
    for member, name, message in (
        ("conv", "w", "x has dtype float64, but w has float32; all arrays must share one dtype"),
        ("conv", "bias", "x has dtype float64, but bias has float32"),
        ("conv_transpose", "y", "y has dtype float32, but w has float64"),
        ("conv_grad_input", "gy", "w has dtype float64, but gy has float32"),
        ("conv_grad_weight", "gy", "x has dtype float64, but gy has float32"),
        ("conv_backward", "gy", "x has dtype float64, but gy has float32"),
        ("conv_transpose_backward", "gx", "y has dtype float64, but gx has float32"),
    )
]

CASES = [
    *cases(ShapeError, SHAPES),
    *cases(SpecError, SPECS),
    *cases(arrconv.ArrconvError, SIZES),
    *cases(DTypeError, DTYPES),
    *cases(DeviceError, DEVICES),
    *cases(TypeError, UNKNOWN_KEYWORDS),
    *OPTIONS,
    *NO_ARRAYS,
    *MIXED,
]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the steps that have been computed since."""
    steps: list[str] = []

    def recording(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: (steps.append(name), step(*arguments))[1]

    for name, kernel in KERNELS.items():
        monkeypatch.setitem(KERNELS, name, replace(kernel, contract=recording(name, kernel.contract)))
    monkeypatch.setattr(contraction, "pad", recording("pad", contraction.pad))
    return steps


@pytest.mark.parametrize(("call", "error", "message"), CASES)
def test_a_wrong_call_says_what_is_wrong_before_it_computes(
    call: Callable[[], object], error: type[Exception], message: str, computed: list[str]
) -> None:
    with pytest.raises(error, match=message):
        call()
    assert computed == []


def test_the_record_of_computed_steps_sees_a_right_call(computed: list[str]) -> None:
    conv(x1, w1, padding=1, padding_mode="circular")
    assert computed == ["pad", "table"]


def test_numpy_and_torch_do_not_mix() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.raises(DTypeError, match="x is an array of numpy, but gy of torch; all arrays of a call"):
        conv_backward(x1, w1, torch.asarray(g1))


@pytest.mark.parametrize("error", [SpecError, ShapeError, DTypeError, DeviceError, UnsupportedError])
def test_an_error_is_an_arrconv_error_and_a_builtin_one(error: type[Exception]) -> None:
    builtin, other = (TypeError, ValueError) if error is DTypeError else (ValueError, TypeError)
    assert issubclass(error, arrconv.ArrconvError)
    assert issubclass(error, builtin)
    assert not issubclass(error, other)


def test_a_refusing_algorithm_is_an_error_before_padding(computed: list[str]) -> None:
    with pytest.raises(UnsupportedError, match=r"algorithm='gemm' cannot serve .* array_api_strict"):
        conv(strict(x1), strict(w1), padding=1, padding_mode="reflect", algorithm="gemm")
    assert computed == []


def test_one_refused_gradient_stops_the_others(computed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(problem: Any) -> str | None:
        return "it has no weight gradient" if problem.direction == "w" else None

    monkeypatch.setitem(KERNELS, "taps", replace(KERNELS["taps"], refuses=refuses))
    with pytest.raises(UnsupportedError, match="'taps' cannot serve this call: it has no weight gradient"):
        conv_backward(x1, w1, g1, algorithm="taps")
    assert computed == []
    assert conv_backward(x1, w1, g1, needs=("input",), algorithm="taps").input.shape == x1.shape
    assert computed == ["taps"]


def test_needs_may_be_any_iterable_or_is_refused() -> None:
    try:
        grads = conv_backward(x1, w1, g1, needs=letters("input", "bias"))
    except SpecError:
        return
    assert grads.input is not None
    assert grads.bias is not None


@pytest.mark.parametrize("member", MEMBERS)
def test_an_error_leaves_the_arrays_untouched(member: str) -> None:
    call, names, options = MEMBERS[member]
    rng = np.random.default_rng(7)
    arrays = [rng.standard_normal(ARRAYS[name].shape) for name in names]
    before = [array.tobytes() for array in arrays]
    arrays[-1] = arrays[-1][None, None]
    with pytest.raises(ShapeError, match=r"\(1, 1, \d"):
        call(*arrays, **(options or ({"spatial_ndim": 1} if member == "conv_grad_bias" else {})))
    assert [array.tobytes() for array in arrays] == before


def test_float_sizes_do_not_linger_for_later_calls() -> None:
    shape = (2, 3, 29)  # used nowhere else: the geometry of equal numbers may be remembered
    with suppress(arrconv.ArrconvError):
        Geometry.forward(ONE, tuple(map(float, shape)), w1.shape)
    assert all(type(size) is int for size in Geometry.forward(ONE, shape, w1.shape).input_shape)
