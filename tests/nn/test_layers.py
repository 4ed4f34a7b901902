"""Layers: their gradients against differences, by the input and by every parameter; their state and their errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import array_api_strict
import numpy as np
import pytest

from arrconv import DTypeError, ShapeError, SpecError, check_gradient
from arrconv.nn import (
    AvgPool,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Dropout,
    Flatten,
    GroupNorm,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    Skip,
    Softplus,
    Tanh,
    TransposeConv2d,
    Upsample,
    Upsampling,
)
from arrconv.nn import __all__ as public
from tests.nn.networks import denoiser, unet

if TYPE_CHECKING:
    from collections.abc import Callable

LAYERS: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "Conv1d": (lambda: Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 7)),
    "Conv2d": (lambda: Conv2d(3, 4, (3, 2), (2, 1), ((1, 0), 1), padding_mode="replicate"), (2, 3, 5, 4)),
    "Conv2d, no bias": (lambda: Conv2d(2, 3, 3, padding="same", dilation=2, bias=False), (1, 2, 5, 6)),
    "Conv3d": (lambda: Conv3d(2, 3, (1, 2, 3), padding=(0, 1, 1)), (2, 2, 2, 3, 4)),
    "Conv": (lambda: Conv(2, 3, (2, 1, 2, 1)), (1, 2, 3, 2, 3, 2)),
    "ConvTranspose1d": (lambda: ConvTranspose1d(4, 6, 3, 2, 1, output_padding=1, groups=2), (2, 4, 5)),
    "ConvTranspose2d": (lambda: ConvTranspose2d(3, 4, (3, 2), (2, 1), (1, 0), bias=False), (2, 3, 3, 4)),
    "ConvTranspose3d": (lambda: ConvTranspose3d(2, 3, 2, dilation=2), (1, 2, 2, 3, 2)),
    "Upsampling": (lambda: Upsampling(4, 3, (2, 3)), (2, 4, 3, 2)),
    "Linear": (lambda: Linear(5, 3), (4, 5)),
    "Linear of more axes": (lambda: Linear(5, 3, bias=False), (2, 3, 5)),
    "ReLU": (ReLU, (2, 3, 5)),
    "LeakyReLU": (lambda: LeakyReLU(0.2), (2, 3, 5)),
    "Sigmoid": (Sigmoid, (2, 3, 5)),
    "Tanh": (Tanh, (2, 3, 5)),
    "Softplus": (Softplus, (2, 3, 5)),
    "MaxPool": (lambda: MaxPool((2, 3), stride=1, padding=1), (2, 3, 5, 6)),
    "AvgPool": (lambda: AvgPool(2), (2, 3, 5, 6)),
    "Upsample": (lambda: Upsample((2, 3), mode="linear"), (2, 3, 2, 3)),
    "Flatten": (lambda: Flatten(2), (2, 3, 2, 3)),
    "BatchNorm1d": (lambda: BatchNorm1d(3), (7, 3)),
    "BatchNorm2d": (lambda: BatchNorm2d(3, affine=False), (2, 3, 4, 5)),
    "GroupNorm": (lambda: GroupNorm(2, 6), (2, 6, 3, 4)),
    "Skip": (lambda: Skip(Conv2d(3, 2, 3, padding=1)), (2, 3, 4, 5)),
    "Skip, added": (lambda: Skip(Conv2d(3, 3, 3, padding=1), "add"), (2, 3, 4, 5)),
    "Sequential": (lambda: Sequential(Conv2d(2, 3, 2), Tanh(), Upsampling(3, 2, 2)), (1, 2, 4, 3)),
}


def made(name: str) -> tuple[Layer, Any]:
    make, shape = LAYERS[name]
    layer = make().initialise(np, seed=3, dtype="float64")
    for number, (_, parameter) in enumerate(layer.named_parameters()):  # constants are no test
        parameter.value = parameter.value + 0.1 * np.cos(np.arange(parameter.value.size) + number).reshape(
            parameter.shape
        )
    x = np.random.default_rng(7).standard_normal(shape)
    return layer, x + np.sign(x) / 20  # away from where a ReLU has a kink


def of_all(layer: Layer) -> tuple[Callable[..., Any], Callable[..., Any], list[Any]]:
    """A layer as a function of its input and its learned parameters, its gradient, and the parameters."""
    values = [value for value, _ in layer.param()]
    state = {name: p.value for name, p in layer.named_parameters() if not p.is_learned}

    def function(x: Any, *parameters: Any) -> Any:
        layer.update_parameters(parameters)
        for name, parameter in layer.named_parameters():
            parameter.value = state.get(name, parameter.value)  # running means move with each pass
        return layer.forward(x)

    def gradient(x: Any, *rest: Any) -> Any:
        function(x, *rest[:-1])
        layer.zero_grad()
        gx = layer.backward(rest[-1])
        return (gx, *(g for _, g in layer.param()))

    return function, gradient, values


@pytest.mark.parametrize("name", LAYERS)
def test_the_backward_pass_is_the_gradient_by_input_and_parameters(name: str) -> None:
    layer, x = made(name)
    function, gradient, values = of_all(layer)
    check = check_gradient(function, gradient, x, *values)
    assert check, str(check)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_parameters_add_up(name: str) -> None:
    layer, x = made(name)
    gy = np.ones_like(layer.forward(x))
    layer.backward(gy)
    once = [g.copy() for _, g in layer.param()]
    layer.forward(x)
    layer.backward(gy)
    for (_, g), first in zip(layer.param(), once, strict=True):
        assert np.array_equal(g, 2 * first)
    layer.zero_grad()
    assert all(not g.any() for _, g in layer.param())


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_by_the_input_can_be_left_out(name: str) -> None:
    layer, x = made(name)
    gy = np.ones_like(layer.forward(x))
    layer.backward(gy)
    with_input = [g for _, g in layer.param()]
    layer.zero_grad()
    layer.forward(x)
    assert layer.backward(gy, needs_input=False) is None
    assert all(np.array_equal(*pair) for pair in zip(with_input, [g for _, g in layer.param()], strict=True))


@pytest.mark.parametrize("name", LAYERS)
def test_a_backward_pass_needs_a_forward_pass_in_training_mode(name: str) -> None:
    layer, x = made(name)
    gy = np.ones_like(layer.forward(x))
    layer.backward(gy)
    if name == "Upsample":
        return  # a linear map without parameters keeps nothing
    with pytest.raises(SpecError, match="backward needs a forward pass in training mode"):
        layer.backward(gy)
    layer.eval().forward(x)
    with pytest.raises(SpecError, match="backward needs a forward pass in training mode"):
        layer.backward(gy)


@pytest.mark.parametrize("name", LAYERS)
def test_every_library_and_device_gives_the_same(name: str) -> None:
    layer, x = made(name)
    device, home = array_api_strict.Device("device1"), array_api_strict.Device("CPU_DEVICE")
    other = LAYERS[name][0]().initialise(array_api_strict, seed=3, dtype="float64", device=device)
    put = lambda array: array_api_strict.asarray(array, device=device)  # noqa: E731
    other.load_state_dict({key: put(value) for key, value in layer.state_dict().items()})
    y, there = layer.forward(x), other.forward(put(x))
    gx, gx_there = layer.backward(y), other.backward(put(y))
    pairs = [
        (y, there),
        (gx, gx_there),
        *zip([g for _, g in layer.param()], [g for _, g in other.param()], strict=True),
    ]
    for ours, theirs in pairs:
        assert theirs.device == device
        assert np.asarray(array_api_strict.asarray(theirs, device=home)) == pytest.approx(ours, rel=1e-12, abs=1e-13)


def test_first_values_depend_on_the_seed_alone() -> None:
    nets = [denoiser((3, 4, 5)).initialise(library, seed=s) for library, s in ((np, 1), (array_api_strict, 1), (np, 2))]
    states = [{name: np.asarray(value) for name, value in net.state_dict().items()} for net in nets]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
    assert not any(np.array_equal(states[0][name], states[2][name]) for name in states[0])
    weights = states[0]["2.weight"]
    assert weights.dtype == np.float32
    assert abs(weights).max() <= 1 / 4  # 1/√(4·2·2)
    assert len(np.unique(weights)) == weights.size


def test_first_values_are_spread_evenly() -> None:
    values = Linear(400, 300).initialise(np, seed=5, dtype="float64").value("weight").reshape(-1) * 20 / 2 + 0.5
    counts, _ = np.histogram(values, bins=50, range=(0, 1))
    expected = values.size / 50
    assert ((counts - expected) ** 2 / expected).sum() < 49 + 5 * np.sqrt(2 * 49)  # χ² of 49 degrees of freedom
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 4 / np.sqrt(values.size)


def test_the_seeds_network_has_as_many_parameters_as_the_text_says() -> None:
    assert denoiser().size == 132_995
    assert [p.shape for _, p in denoiser().named_parameters()][::2] == [
        (64, 3, 2, 2), (256, 64, 2, 2), (256, 64, 2, 2), (64, 3, 2, 2)
    ]  # fmt: skip


def test_names_of_a_nesting_are_those_of_pytorch() -> None:
    names = [name for name, _ in unet().named_parameters()]
    assert names[:5] == ["0.0.weight", "0.0.bias", "0.1.weight", "0.1.bias", "0.1.running_mean"]
    assert "1.inner.2.inner.2.bias" in names


def test_batch_norm_forgets_the_batch_in_evaluation_mode() -> None:
    layer, x = made("BatchNorm1d")
    layer.parameters["running_mean"].value = np.zeros(3)
    layer.parameters["running_var"].value = np.ones(3)
    layer.forward(x)
    assert layer.value("running_mean") == pytest.approx(0.1 * x.mean(axis=0))
    assert layer.value("running_var") == pytest.approx(0.9 + 0.1 * x.var(axis=0, ddof=1))
    one = layer.eval().forward(x[:1])
    assert one == pytest.approx(layer.forward(x)[:1])
    with pytest.raises(ShapeError, match="has no variance to learn from"):
        layer.train().forward(x[:1])


def test_dropout_keeps_the_mean_and_is_off_in_evaluation_mode() -> None:
    layer, x = Dropout(0.25, seed=4), np.ones((50, 80))
    y = layer.forward(x)
    share = (y == 0).mean()
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / x.size)
    assert np.unique(y).tolist() == [0.0, 1 / 0.75]
    assert np.array_equal(layer.backward(x), y)
    assert not np.array_equal(layer.forward(x), y)
    layer.calls = 0
    assert np.array_equal(layer.forward(x), y)
    assert layer.eval().forward(x) is x
    with pytest.raises(SpecError, match="p must be at least 0 and below 1"):
        Dropout(1.0)


def test_a_state_goes_from_one_network_to_another() -> None:
    first, second = (unet().initialise(np, seed=seed, dtype="float64") for seed in (1, 2))
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 12))
    first.forward(x)
    second.load_state_dict(first.state_dict())
    assert np.array_equal(first.eval().forward(x), second.eval().forward(x))
    fresh = unet()
    fresh.load_state_dict(first.state_dict())
    assert np.array_equal(fresh.eval().forward(x), first.forward(x))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Conv2d(3, 4, 2)(np.ones((1, 3, 5, 5))), SpecError, "Conv2d has no weight yet; call initialise"),
        (lambda: Conv2d(3, 4, 2, groups=2), SpecError, "in_channels=3 is not divisible by groups=2"),
        (lambda: Conv2d(3, 4, 2, stride=0), SpecError, "stride must be at least 1"),
        (lambda: Conv2d(3, 4, (2, 2, 2)), SpecError, "kernel_size"),
        (lambda: Conv(3, 4, 2), SpecError, "as many axes as kernel_size has numbers"),
        (lambda: Conv2d(0, 4, 2), SpecError, "in_channels must be at least 1"),
        (lambda: ConvTranspose2d(3, 4, 2, padding_mode="circular"), SpecError, "padding_mode='zeros' only"),
        (lambda: made("Conv2d")[0](np.ones((3, 5, 4))), ShapeError, r"needs \(N, C, \*size\) with 4 axes"),
        (lambda: made("Conv2d")[0](np.ones((1, 3, 5, 4), np.float32)), DTypeError, "must share one dtype"),
        (lambda: MaxPool2d(2)(np.ones((1, 3, 5))), ShapeError, "MaxPool2d needs 4 axes"),
        (lambda: AvgPool2d(2)(np.ones((1, 3, 5))), ShapeError, "AvgPool2d needs 4 axes"),
        (lambda: made("Linear")[0](np.ones((2, 4))), ShapeError, "Linear needs 5 features"),
        (lambda: made("BatchNorm1d")[0](np.ones((2, 4))), ShapeError, r"needs \(N, 3, \*size\)"),
        (lambda: made("BatchNorm2d")[0](np.ones((2, 3, 4))), ShapeError, "BatchNorm2d needs 4 axes"),
        (lambda: GroupNorm(4, 6), SpecError, "num_channels=6 is not divisible by num_groups=4"),
        (lambda: Sequential(ReLU(), max), DTypeError, "argument 1 is a builtin_function_or_method, not a layer"),
        (lambda: Sequential(*[ReLU()] * 2), SpecError, "a layer is there twice"),
        (lambda: Skip(ReLU(), join="multiply"), SpecError, "join='multiply' is unknown"),
        (lambda: Skip(AvgPool(2))(np.ones((1, 3, 4))), ShapeError, "the inner result has shape"),
        (lambda: Skip(AvgPool(2), "add")(np.ones((1, 3, 4))), ShapeError, "the inner result has shape"),
        (lambda: made("Conv2d")[0].update_parameters([]), ShapeError, "0 arrays are given for 2 parameters"),
        (lambda: made("Linear")[0].load_state_dict({"weight": np.ones((3, 5))}), SpecError, r"lacks \['bias'\]"),
        (
            lambda: made("Linear")[0].load_state_dict({"weight": np.ones((3, 4)), "bias": np.ones(3)}),
            ShapeError,
            "weight has",
        ),
        (lambda: Linear(2, 3).initialise(np, seed=0, dtype="int8"), SpecError, "dtype='int8' is unknown"),
        (lambda: Linear(2, 3).initialise("numpy", seed=0), DTypeError, "not an array of a library"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_every_layer_is_tested() -> None:
    tested = {name.partition(",")[0].partition(" ")[0] for name in LAYERS} | {"Dropout", "Layer", "Parameter"}
    family = {"ConvTranspose", "MaxPool1d", "MaxPool2d", "MaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d"}
    assert set(public) <= tested | family | {"BatchNorm", "BatchNorm3d", "TransposeConv2d"}
    assert TransposeConv2d is ConvTranspose2d


@pytest.mark.parametrize("kind", [Conv1d, ConvTranspose1d])
def test_all_convolutions_of_a_network_use_the_algorithm_that_it_is_told(kind: Any) -> None:
    """In both passes: a sum of float32 that cancels, which only the exact algorithm has right."""
    x = np.asarray([[[2.0**30, 1, -(2.0**30)]]], np.float32)
    net = Sequential(Skip(kind(1, 1, 3, padding=1), join="add")).initialise(np, seed=0)
    net.load_state_dict({name: np.ones_like(array) for name, array in net.state_dict().items()})
    middle = {}
    for algorithm in ("taps", "exact"):
        y = net.convolve_by(algorithm).forward(x)
        middle[algorithm] = float(y[0, 0, 1]), float(net.backward(x)[0, 0, 1])
    assert middle == {"taps": (2, 1), "exact": (3, 2)}
    with pytest.raises(SpecError, match="algorithm='none' is unknown"):
        net.convolve_by("none")
