"""The members: which there are, in which roles they take and yield arrays, and what they are sums of."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from arrconv_conformance.adapters import Unavailable, load_adapter
from arrconv_conformance.members import MEMBERS, Member

import arrconv

# By hand: function, operands, the role of each result, the two factors of each result.
FAMILY = {
    "conv": ("conv", "x w bias", {"result": "y"}, {"y": "x w"}),
    "conv_transpose": ("conv_transpose", "y w bias", {"result": "x"}, {"x": "w y"}),
    "conv_grad_input": ("conv_backward", "x w y", {"input": "x"}, {"x": "w y"}),
    "conv_grad_weight": ("conv_backward", "x w y", {"weight": "w"}, {"w": "x y"}),
    "conv_grad_bias": ("conv_backward", "x w y", {"bias": "bias"}, {"bias": "y"}),
    "conv_backward": (
        "conv_backward",
        "x w y",
        {"input": "x", "weight": "w", "bias": "bias"},
        {"x": "w y", "w": "x y", "bias": "y"},
    ),
    "conv_transpose_grad_input": ("conv_transpose_backward", "y w x", {"input": "y"}, {"y": "x w"}),
    "conv_transpose_grad_weight": ("conv_transpose_backward", "y w x", {"weight": "w"}, {"w": "x y"}),
    "conv_transpose_grad_bias": ("conv_transpose_backward", "y w x", {"bias": "bias"}, {"bias": "x"}),
    "conv_transpose_backward": (
        "conv_transpose_backward",
        "y w x",
        {"input": "y", "weight": "w", "bias": "bias"},
        {"y": "x w", "w": "x y", "bias": "x"},
    ),
}


def test_the_family_is_complete() -> None:
    assert set(MEMBERS) == set(FAMILY)
    assert all(member.name == name for name, member in MEMBERS.items())


@pytest.mark.parametrize("name", FAMILY)
def test_each_member_is_what_it_is(name: str) -> None:
    function, takes, yields, factors = FAMILY[name]
    member = MEMBERS[name]
    assert member.function == function
    assert member.takes == tuple(takes.split())
    assert member.yields == yields
    assert member.needs == (() if "result" in yields else tuple(yields))
    assert member.is_transposed == name.startswith("conv_transpose")
    assert member.bias_role == ("x" if member.is_transposed else "y")
    for role in yields.values():
        assert member.factors(role) == tuple(factors[role].split())


def test_every_function_is_one_of_arrconv_and_of_its_own_adapter() -> None:
    adapter = load_adapter("numpy")
    for function in {member.function for member in MEMBERS.values()}:
        positional = [
            name
            for name, parameter in inspect.signature(getattr(arrconv, function)).parameters.items()
            if parameter.kind is parameter.POSITIONAL_ONLY or name == "bias"
        ]
        assert len(positional) == 3
        assert callable(getattr(adapter, function))


def test_its_own_adapter_asks_for_its_algorithm_throughout() -> None:
    arrays = [np.ones(shape) for shape in ((1, 1, 4), (1, 1, 2), (1, 1, 3))]  # x, w and y
    own = load_adapter("numpy:cudnn")
    assert own.name == "numpy:cudnn"
    for call in (
        lambda x, w, _: own.conv(x, w, None),
        lambda _, w, y: own.conv_transpose(y, w, None),
        lambda x, w, y: own.conv_backward(x, w, y, needs=("input",)),
        lambda x, w, y: own.conv_transpose_backward(y, w, x, needs=("input",)),
    ):
        with pytest.raises(arrconv.UnsupportedError, match="algorithm='cudnn' cannot serve this call"):
            call(*arrays)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("numpy:none", "numpy:none: no such algorithm; there are auto, "),
        ("scipy:fft", "scipy takes no algorithm; arrconv's own adapters do, such as numpy:fft"),
        ("none:fft", "none: no such adapter; there are numpy, "),
    ],
)
def test_an_algorithm_that_cannot_be_had_is_said_so(name: str, reason: str) -> None:
    with pytest.raises(Unavailable, match=reason):
        load_adapter(name)


def test_a_member_is_never_changed() -> None:
    with pytest.raises(AttributeError, match="cannot assign to field 'function'"):
        MEMBERS["conv"].function = "other"  # type: ignore[misc]
    assert Member("conv", "conv", ("x", "w", "bias")) == MEMBERS["conv"]
