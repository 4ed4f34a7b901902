"""Planted faults: libraries that are right but for one thing. The suite must find each, and accept the right ones."""

# ruff: noqa: E501 - each fault is one row of a table

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from arrconv_conformance import Case, catalogue
from arrconv_conformance.cases import MEMBERS
from arrconv_conformance.exact import Products
from arrconv_conformance.question import Question, is_applicable
from arrconv_conformance.runner import answer

import arrconv

if TYPE_CHECKING:
    from arrconv_conformance.judge import Verdict

Array = Any
FORWARD, INPUT, WEIGHT, BIAS, TRANSPOSE = MEMBERS


@dataclass(frozen=True)
class Call:
    """What an adapter was asked: a member, its operands by role, and the options."""

    member: str
    operands: Mapping[str, Array]
    options: Mapping[str, Any]

    def __getitem__(self, role: str) -> Array:
        return self.operands[role]

    def changed(self, operands: Mapping[str, Array] | None = None, **options: Any) -> Call:
        return replace(self, operands={**self.operands, **(operands or {})}, options={**self.options, **options})

    def right(self, **more: Any) -> Array:
        """The right result."""
        options = {**self.options, **more}
        if self.member == "conv":
            return arrconv.conv(self["x"], self["w"], self["bias"], **options)
        if self.member == "conv_transpose":
            return arrconv.conv_transpose(self["y"], self["w"], self["bias"], **options)
        need = self.member.removeprefix("conv_grad_")
        return getattr(arrconv.conv_backward(self["x"], self["w"], self["y"], needs=(need,), **options), need)

    @property
    def ndim(self) -> int:
        return len(self.options["stride"])

    @property
    def mode(self) -> str:
        return self.options.get("padding_mode", "zeros")

    @property
    def groups(self) -> int:
        return self.options["groups"]

    @property
    def pads(self) -> Array:
        return np.array(self.options["padding"], dtype=int).reshape(self.ndim, 2)


Broken = Callable[[Call], Array]


@dataclass(frozen=True)
class Planted:
    """An adapter that does everything as a fault has it."""

    fault: Broken
    name: str = "planted"
    version: str = "0"

    def conv(self, x: Array, w: Array, bias: Array, **options: Any) -> Array:
        return self.fault(Call("conv", {"x": x, "w": w, "bias": bias}, options))

    def conv_transpose(self, y: Array, w: Array, bias: Array, **options: Any) -> Array:
        return self.fault(Call("conv_transpose", {"y": y, "w": w, "bias": bias}, options))

    def conv_backward(self, x: Array, w: Array, gy: Array, *, needs: Any, **options: Any) -> dict[str, Array]:
        operands = {"x": x, "w": w, "y": gy}
        return {need: self.fault(Call(f"conv_grad_{need}", operands, options)) for need in needs}


def flip(array: Array, axes: tuple[int, ...]) -> Array:
    return np.ascontiguousarray(np.flip(array, axes))


def flip_kernel(call: Call) -> Array:
    return call.changed({"w": flip(call["w"], tuple(range(2, 2 + call.ndim)))}).right()


def fit(array: Array, like: Array) -> Array:
    """Cropped, or filled up with zeros, to the shape of another."""
    result = np.zeros_like(like)
    common = tuple(slice(min(a, b)) for a, b in zip(array.shape, like.shape, strict=True))
    result[common] = array[common]
    return result


def grouped(array: Array, groups: int) -> Array:
    return array.reshape(groups, len(array) // groups, *array.shape[1:])


def without(call: Call, role: str, index: Any) -> Array:
    """With a part of one operand missing."""
    array = call[role].copy()
    array[index] = 0
    return call.changed({role: array}).right()


def without_images(call: Call, index: slice) -> Array:
    return without(call, "y", index) if call["y"].ndim == call["w"].ndim else call.right()


def without_column(call: Call, first: Callable[[int], int]) -> Array:
    result = call.right()
    if call.ndim:
        result[..., first(result.shape[-1]) :] = 0
    return result


def padded_by_numpy(call: Call, begin_only: bool, **modes: str) -> Array:
    """The forward result, with the padding filled by numpy.pad in some mode, in one that may be wrong."""
    if call.mode not in modes or not call.ndim:
        return call.right()
    lead = ((0, 0),) * (call["x"].ndim - call.ndim)
    taken = [(b, 0 if begin_only else e) for b, e in call.pads]
    rest = tuple((0, e if begin_only else 0) for _, e in call.pads.tolist())
    x = np.pad(call["x"], [*lead, *taken], mode=modes[call.mode])  # type: ignore[call-overload]
    return call.changed({"x": x}, padding=rest, padding_mode="zeros").right()


def repadded(call: Call, change: Callable[[Array], Array], *modes: str) -> Array:
    """With other amounts of padding, and the shape of the right result."""
    if modes and call.mode not in modes:
        return call.right()
    return fit(call.changed(padding=tuple(map(tuple, change(call.pads).tolist()))).right(), call.right())


def input_sizes(call: Call) -> Array:
    return np.array(call["x"].shape[call["x"].ndim - call.ndim :])[:, None]


def nan_in_padding(call: Call) -> Array:
    result = call.right()
    if call.ndim and call.mode == "zeros" and call.pads[-1, 0] >= call["w"].shape[-1] * call.options["dilation"][-1]:
        result[..., :1] = np.nan
    return result


def exchanged(call: Call, name: str) -> Array:
    return fit(call.changed(**{name: call.options[name][::-1]}).right(), call.right())


def rebuilt(call: Call, dilated: bool = False, exchange: bool = False) -> Array:
    """A gradient of the right shape from the positions at hand, with the strides exchanged or without the dilation."""
    if call.mode != "zeros" or 0 in call["x"].shape:
        return call.right()
    stride = call.options["stride"][::-1] if exchange else call.options["stride"]
    dilation = call.options["dilation"] if dilated else (1,) * call.ndim
    sizes = call["y"].shape[call["y"].ndim - call.ndim :]
    rows = zip(sizes, stride, dilation, call["w"].shape[2:], input_sizes(call)[:, 0], call.pads[:, 0], strict=True)
    padding = tuple((int(b), int((count - 1) * s + d * (k - 1) + 1 - n - b)) for count, s, d, k, n, b in rows)
    return call.changed(padding=padding, stride=stride, dilation=dilation).right()


def rounded_up(call: Call) -> Array:
    more = np.array([(0, s - 1) for s in call.options["stride"]], dtype=int).reshape(-1, 2)
    return call.changed(padding=tuple(map(tuple, (call.pads + more).tolist()))).right()


def without_slack(call: Call) -> Array:
    options = {name: value for name, value in call.options.items() if name != "padding_mode"}
    return arrconv.conv_transpose(call["y"], call["w"], **options) if call.mode == "zeros" else call.right()


def output_padding_first(call: Call) -> Array:
    extra = call.options["output_padding"]
    padding = tuple((b - o, e) for (b, e), o in zip(call.pads.tolist(), extra, strict=True))
    return call.changed(padding=padding, output_padding=(0,) * call.ndim).right()


def skipping_rows(call: Call) -> Array:
    beyond = any(s > k for s, k in zip(call.options["stride"], call["w"].shape[2:], strict=True))
    return np.zeros_like(call.right()) if beyond else call.right()


def exchange_groups(call: Call, how: Callable[[Array], Array]) -> Array:
    return call.changed({"w": how(grouped(call["w"], call.groups)).reshape(call["w"].shape)}).right()


def roles_exchanged(w: Array) -> Array:
    g, o, c, *kernel = w.shape
    return np.swapaxes(w.reshape(g, c, o, *kernel), 1, 2)


def interleaved(call: Call) -> Array:
    result = np.moveaxis(call.right(), -call.ndim - 1, 0)
    mixed = np.swapaxes(grouped(result, call.groups), 0, 1).reshape(result.shape)
    return np.ascontiguousarray(np.moveaxis(mixed, 0, -call.ndim - 1))


def images_permuted(call: Call) -> Array:
    result = call.right()
    return np.roll(result, 1, axis=0) if call.member != WEIGHT and result.ndim == call["w"].ndim else result


def with_bias(call: Call, times: int) -> Array:
    return call.right() if call["bias"] is None else call.changed({"bias": call["bias"] * times}).right()


def bias_along_the_last_axis(call: Call) -> Array:
    result = call.changed({"bias": None}).right()
    bias = call["bias"] if call["bias"] is not None else np.zeros(1, dtype=result.dtype)
    return result + bias[np.arange(result.shape[-1]) % len(bias)] if len(bias) else result


def on_operands(call: Call, change: Callable[[Array], Array]) -> Array:
    return call.changed({role: None if a is None else change(a) for role, a in call.operands.items()}).right()


def rounded_to(array: Array, bits: int) -> Array:
    """float32 numbers rounded to so many fraction bits, ties away from zero."""
    if array.dtype != np.float32:
        return array
    unit = 1 << (23 - bits)
    return ((array.view(np.uint32) + np.uint32(unit // 2)) & np.uint32(2**32 - unit)).view(np.float32)


def accumulated_in_float16(call: Call) -> Array:
    total = np.zeros(1, dtype=np.float16)
    for tap in product(*(range(k) for k in call["w"].shape[2:])):
        w = np.zeros_like(call["w"])
        w[(..., *tap)] = call["w"][(..., *tap)]
        bias = None if any(tap) else call["bias"]
        total = (total + call.changed({"w": w, "bias": bias}).right()).astype(np.float16)
    return total.astype(call["w"].dtype)


class Remembers:
    """Keeps the first weight of each shape."""

    def __init__(self) -> None:
        self.packed: dict[Any, Array] = {}

    def __call__(self, call: Call) -> Array:
        return call.changed({"w": self.packed.setdefault((call["w"].shape, call["w"].dtype), call["w"])}).right()


def overwriting(call: Call) -> Array:
    result = call.right()
    call["w"][...] = 0
    return result


@dataclass(frozen=True)
class Fault:
    """What is wrong, the real kind of bug that it imitates, and the members that have it."""

    name: str
    imitates: str
    broken: Broken
    members: tuple[str, ...] = MEMBERS

    def __call__(self, call: Call) -> Array:
        return self.broken(call) if call.member in self.members else call.right()


MODES = {"circular": "wrap", "reflect": "reflect", "replicate": "edge"}
BOTH = (FORWARD, TRANSPOSE)

# fmt: off
FAULTS = [
    Fault("kernel flipped", "convolution for correlation", flip_kernel, (FORWARD,)),
    Fault("transposed kernel flipped", "a flip on top of the transposition", flip_kernel, (TRANSPOSE,)),
    Fault("last tap dropped", "a loop that ends early", lambda c: without(c, "w", (..., *(slice(-1, None),) * c.ndim)), (FORWARD,)),
    Fault("channel tail dropped", "an unrolled loop without remainder", lambda c: without(c, "w", np.s_[:, c["w"].shape[1] // 4 * 4 or None :]), (FORWARD,)),
    Fault("pads swapped", "same_lower for same_upper", lambda c: repadded(c, lambda p: p[:, ::-1])),
    Fault("pads swapped in one pass", "a forgotten pass", lambda c: repadded(c, lambda p: p[:, ::-1]), (WEIGHT,)),
    Fault("end padded with zeros", "a mode ignored at one end", lambda c: padded_by_numpy(c, True, **MODES), (FORWARD,)),
    Fault("reflect repeats the edge", "symmetric for reflect", lambda c: padded_by_numpy(c, False, reflect="symmetric"), (FORWARD,)),
    Fault("circular as replicate", "clipped indices", lambda c: c.changed(padding_mode="replicate").right() if c.mode == "circular" else c.right()),
    Fault("padding's gradient cropped", "the adjoint of zeros for a mode's", lambda c: c.changed(padding_mode="zeros").right() if c.mode != "zeros" else c.right(), (INPUT,)),
    Fault("circular once round only", "no modulo", lambda c: repadded(c, lambda p: np.minimum(p, input_sizes(c)), "circular"), (FORWARD,)),
    Fault("negative padding as none", "an unsigned amount", lambda c: repadded(c, lambda p: np.maximum(p, 0), "zeros"), (FORWARD,)),
    Fault("padding below the kernel", "a clamped amount", lambda c: repadded(c, lambda p: np.minimum(p, np.array(c["w"].shape[2:])[:, None] - 1), "zeros"), (FORWARD,)),
    Fault("NaN from padding alone", "uninitialised memory", nan_in_padding, (FORWARD,)),
    Fault("strides exchanged", "(W, H) for (H, W)", lambda c: exchanged(c, "stride"), (FORWARD,)),
    Fault("dilations exchanged", "(W, H) for (H, W)", lambda c: exchanged(c, "dilation"), (FORWARD,)),
    Fault("strides exchanged in one pass", "a forgotten pass", lambda c: rebuilt(c, dilated=True, exchange=True), (INPUT,)),
    Fault("dilation not in the weight gradient", "a forgotten pass", rebuilt, (WEIGHT,)),
    Fault("dilation not in the input gradient", "a forgotten pass", rebuilt, (INPUT,)),
    Fault("size rounded up", "ceil for floor", rounded_up, (FORWARD,)),
    Fault("no slack", "an input gradient of the transposed size", without_slack, (INPUT,)),
    Fault("output padding at the begin", "the wrong end", output_padding_first, (TRANSPOSE,)),
    Fault("output padding as zeros", "padding what a kernel reaches", lambda c: fit(c.changed(output_padding=(0,) * c.ndim).right(), c.right()), (TRANSPOSE,)),
    Fault("last column unwritten", "tiles that end early", lambda c: without_column(c, lambda size: size - 1), (FORWARD,)),
    Fault("column tail unwritten", "a vector loop without remainder", lambda c: without_column(c, lambda size: size // 8 * 8 or size), (FORWARD,)),
    Fault("rows skipped", "nothing where stride > kernel", skipping_rows, (TRANSPOSE,)),
    Fault("groups' weights rotated", "a wrong group offset", lambda c: exchange_groups(c, lambda w: np.roll(w, 1, axis=0)), (FORWARD,)),
    Fault("first group for all", "groups ignored", lambda c: exchange_groups(c, lambda w: np.broadcast_to(w[:1], w.shape)), (TRANSPOSE,)),
    Fault("roles exchanged in a group", "(C/g, O/g) for (O/g, C/g)", lambda c: exchange_groups(c, roles_exchanged), (TRANSPOSE,)),
    Fault("outputs interleaved", "(O/g, g) for (g, O/g)", interleaved, (FORWARD,)),
    Fault("images permuted", "a stale image index", images_permuted, (FORWARD, INPUT, TRANSPOSE)),
    Fault("last image missing", "a loop that ends early", lambda c: without_images(c, np.s_[-1:]), (WEIGHT,)),
    Fault("last image alone", "written, not added", lambda c: without_images(c, np.s_[:-1]), (WEIGHT,)),
    Fault("bias twice", "in the kernel and after it", lambda c: with_bias(c, 2), BOTH),
    Fault("no bias", "a pass that lacks it", lambda c: with_bias(c, 0), (TRANSPOSE,)),
    Fault("bias along the last axis", "NumPy's broadcasting", bias_along_the_last_axis, (FORWARD,)),
    Fault("bias gradient a mean", "divided by the batch", lambda c: c.right() / c["w"].dtype.type(len(c["y"]) or 1), (BIAS,)),
    Fault("float32 for float64", "a default dtype", lambda c: c.right().astype(np.float32)),
    Fault("float64 by float32", "a narrow temporary", lambda c: on_operands(c, lambda a: a.astype(np.float32)).astype(c["w"].dtype)),
    Fault("TF32", "tensor cores under a float32 claim", lambda c: on_operands(c, lambda a: rounded_to(a, 10))),
    Fault("bfloat16", "a default precision under a float32 claim", lambda c: on_operands(c, lambda a: rounded_to(a, 7))),
    Fault("float16 sums", "a narrow accumulator", accumulated_in_float16, (FORWARD,)),
    Fault("weights remembered", "a cache with too small a key", Remembers()),
]

# What the data sets cannot show yet; the test of this table fails on the day they can.
UNSEEN = [
    Fault("strides of the memory ignored", "every operand is contiguous", lambda c: on_operands(c, lambda a: a.ravel("K").reshape(a.shape))),
    Fault("zeros skipped", "no operand holds NaN or infinity", lambda c: on_operands(c, np.nan_to_num)),
    Fault("subnormals flushed", "no number is subnormal", lambda c: c.right() * (np.abs(c.right()) >= np.finfo(c["w"].dtype).tiny)),
    Fault("operands overwritten", "operands are not looked at again", overwriting),
    Fault("TF32 in long sums", "the bound grows with K; only statistics can tell", lambda c: on_operands(c, lambda a: rounded_to(a, 10)) if c["w"][:1].size > 400 else c.right(), (FORWARD,)),
]
# fmt: on


@cache
def questions() -> list[tuple[Case, Question]]:
    """The first cases and every fifth of the others, each in full."""
    cases = catalogue()
    return [
        (single, Question.of(single, products))
        for case in cases[:4] + cases[6::5]
        for products in [Products.of(case.geometry)]
        for single in filter(is_applicable, case.single())
    ]


def first_found(broken: Broken) -> tuple[Case, Verdict] | None:
    adapter = Planted(broken)
    verdicts = ((case, answer(adapter, question)) for case, question in questions())
    return next(((case, verdict) for case, verdict in verdicts if verdict.outcome != "agrees"), None)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_planted_fault_is_found(fault: Fault) -> None:
    found = first_found(fault)
    assert found is not None
    assert found[0].member in fault.members
    assert found[1].outcome == "deviates", found  # a fault that raises would prove nothing


@pytest.mark.parametrize("fault", UNSEEN, ids=lambda fault: fault.name)
def test_no_data_set_shows_these_yet(fault: Fault) -> None:
    assert first_found(fault) is None, "the suite has learnt to see it: move it to FAULTS"


def reversed_sums(call: Call) -> Array:
    """The right result from the same products, added in the reverse order of channels or images."""
    if 0 in call["w"].shape:
        return call.right()

    def reverse(array: Array, axis: int) -> Array:
        moved = np.moveaxis(array, axis, 0)
        return np.ascontiguousarray(np.moveaxis(grouped(moved, call.groups)[:, ::-1].reshape(moved.shape), 0, axis))

    channels = -call.ndim - 1
    if call.member == FORWARD:
        return call.changed({"x": reverse(call["x"], channels), "w": flip(call["w"], (1,))}).right()
    if call.member in (INPUT, TRANSPOSE):
        return call.changed({"y": reverse(call["y"], channels), "w": reverse(call["w"], 0)}).right()
    images = (0,) if call["y"].ndim == call["w"].ndim else ()
    return call.changed({"x": flip(call["x"], images), "y": flip(call["y"], images)}).right()


def by_taps(call: Call) -> Array:
    return call.right(algorithm="taps")


@pytest.mark.parametrize("right", [Call.right, by_taps, reversed_sums])
def test_right_libraries_are_accepted(right: Broken) -> None:
    assert first_found(right) is None


def test_the_faults_are_many_and_distinct() -> None:
    assert len({fault.name for fault in FAULTS + UNSEEN}) == len(FAULTS) + len(UNSEEN) >= 45
