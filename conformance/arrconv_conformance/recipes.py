"""Recipes: how the users of a framework write a call, as lines of a program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv_conformance.question import Question


@dataclass(frozen=True, slots=True)
class Call:
    """A call as a recipe writes it: operands are NumPy arrays named `a`, `w` and, of gradients, `g`; and `bias`.

    Args:
        function: the adapters' function.
        ndim: the number of spatial axes.
        dtype: the dtype of the arrays.
        options: its options.
        has_bias: whether a bias is added; else `bias` is None.
        channels: those of the bias, for gradients, which have a bias of zeros.
        result_size: the spatial sizes of the result of the forward or transposed convolution.
    """

    function: str
    ndim: int
    dtype: str
    options: dict[str, Any]
    has_bias: bool
    channels: int
    result_size: tuple[int, ...]

    @classmethod
    def of(cls, question: Question) -> Call:
        """The call that a question makes."""
        geometry, member = question.case.geometry, question.member
        is_x = member.bias_role == "x"
        return cls(
            member.function,
            geometry.ndim,
            str(question.case.dtype),
            question.options,
            "bias" in question.operands,
            geometry.in_channels if is_x else geometry.out_channels,
            geometry.input_size if is_x else geometry.output_size,
        )

    @property
    def needs(self) -> tuple[str, ...]:
        """The gradients that are requested."""
        needs: tuple[str, ...] = self.options.get("needs", ())
        return needs

    @property
    def is_transposed(self) -> bool:
        """Whether it is of the transposed convolution."""
        return self.function.startswith("conv_transpose")

    @property
    def is_symmetric(self) -> bool:
        """Whether all axes are padded alike at both ends, by zeros."""
        pairs, mode = self.options["padding"], self.options.get("padding_mode", "zeros")
        return not isinstance(pairs, str) and mode == "zeros" and all(begin == end >= 0 for begin, end in pairs)

    @property
    def begins(self) -> tuple[int, ...]:
        """The amounts of padding at the begin."""
        return tuple(begin for begin, _ in self.options["padding"])

    @property
    def flat_padding(self) -> list[int]:
        """All amounts, the last axis first, as PyTorch and tinygrad want them."""
        return [amount for pair in reversed(self.options["padding"]) for amount in pair]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The padding as pairs; of the names only "valid" stands for the same amounts everywhere."""
        padding = self.options["padding"]
        return [(0, 0)] * self.ndim if padding == "valid" else list(padding)

    @property
    def mode(self) -> str:
        """The padding mode."""
        return str(self.options.get("padding_mode", "zeros"))

    @property
    def names(self) -> list[str]:
        """The names of the arrays whose gradients are requested."""
        return [{"input": "a", "weight": "w", "bias": "bias"}[need] for need in self.needs]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a program imports, and the lines that take the operands and print `got`."""

    imports: tuple[str, ...]
    lines: Callable[[Call], list[str]]


def through_adapter(asked: str) -> Recipe:
    """The functions of an adapter; those of a file are imported from where it lies."""
    path, _, attribute = asked.partition(".py:")
    if attribute or asked.endswith(".py"):
        file = Path(f"{path}.py" if attribute else asked).resolve()
        target = attribute or file.stem
        import_line = f"from {file.stem} import {attribute}" if attribute else f"import {file.stem}"
        return Recipe(
            ("import sys", f"sys.path.insert(0, {str(file.parent)!r})", import_line), lambda call: _asking(target, call)
        )
    target = f"load_adapter({asked!r})"
    return Recipe(("from arrconv_conformance import load_adapter",), lambda call: _asking(target, call))


def _asking(target: str, call: Call) -> list[str]:
    options = ", ".join(f"{name}={value!r}" for name, value in call.options.items())
    third = "g" if call.needs else "bias"
    got = "*(np.ravel(gradient) for gradient in got.values())" if call.needs else "np.ravel(got)"
    return [f"got = {target}.{call.function}(a, w, {third}, {options})", f'print("got", {got})']


def _padded(call: Call, pad: str, modes: dict[str, str]) -> str:
    """The data, padded by another function of the framework where the convolution itself cannot."""
    return f"{pad}, mode={modes.get(call.mode, call.mode)!r})"


def _torch(call: Call) -> list[str]:
    o = call.options
    data, padding = "a", "same" if o["padding"] == "same_upper" else o["padding"]
    if not isinstance(padding, str):
        padding = call.begins
        if not call.is_symmetric and not call.is_transposed:
            data = _padded(call, f"torch.nn.functional.pad(a, {call.flat_padding}", {"zeros": "constant"})
            padding = 0
    extra = f", output_padding={o['output_padding']}" if call.is_transposed else ""
    kind = "conv_transpose" if call.is_transposed else "conv"
    y = (
        f"torch.nn.functional.{kind}{call.ndim}d({data}, w, bias, stride={o['stride']}, padding={padding!r}{extra}, "
        f"groups={o['groups']}, dilation={o['dilation']})"
    )
    tensor, back = "torch.from_numpy({})", ".numpy().ravel()"
    if call.dtype == "bfloat16":  # PyTorch and NumPy know it, but not each other's
        tensor, back = "torch.from_numpy({}.astype(np.float32)).bfloat16()", ".float().numpy().ravel()"
    lines = [f"a, w = {tensor.format('a')}, {tensor.format('w')}"]
    if not call.needs:
        lines += [f"bias = {tensor.format('bias')}"] if call.has_bias else []
        return [*lines, f'print("got", {y}{back})']
    lines.append(f"bias, g = torch.zeros({call.channels}, dtype=w.dtype), {tensor.format('g')}")
    lines.append(f"needed = [v.requires_grad_() for v in ({', '.join(call.names)},)]")
    lines.append(f"grads = torch.autograd.grad({y}, needed, g)")
    return [*lines, f'print("got", *(grad{back} for grad in grads))']


def _exchanged(call: Call) -> str:
    """The weight as that of a forward convolution from y to x, without the flip."""
    groups = call.options["groups"]
    if groups == 1:
        return "w.swapaxes(0, 1)"
    return f"w.reshape({groups}, -1, *w.shape[1:]).swapaxes(1, 2).reshape(-1, len(w) // {groups}, *w.shape[2:])"


def _rests(call: Call) -> str:
    """What a transposed convolution pads y with, as a forward convolution of it."""
    o = call.options
    terms = f"zip({o['dilation']}, w.shape[2:], {call.pairs}, {o['output_padding']})"
    return f"[(d * (k - 1) - b, d * (k - 1) - e + m) for d, k, (b, e), m in {terms}]"


def _jax(call: Call) -> list[str]:
    o, data = call.options, "a"
    names = {"same_upper": "SAME", "same_lower": "SAME_LOWER", "valid": "VALID"}
    by_name = isinstance(o["padding"], str)
    tail = f"rhs_dilation={o['dilation']}, feature_group_count={o['groups']})"
    if call.is_transposed and by_name:
        axes = tuple(range(call.ndim + 2))
        numbers = f"jax.lax.ConvDimensionNumbers({axes}, {axes}, {axes})"
        y = (
            f"jax.lax.conv_transpose(a, w, {o['stride']}, {names[o['padding']]!r}, rhs_dilation={o['dilation']}, "
            f"dimension_numbers={numbers}, transpose_kernel=True, use_consistent_padding=True)"
        )
    elif call.is_transposed:
        flipped = f"jax.numpy.flip({_exchanged(call)}, {tuple(range(2, call.ndim + 2))})"
        ones = (1,) * call.ndim
        y = f"jax.lax.conv_general_dilated(a, {flipped}, {ones}, {_rests(call)}, lhs_dilation={o['stride']}, {tail}"
    else:
        amounts: Any = names[o["padding"]] if by_name else call.pairs
        if call.mode != "zeros":
            modes = {"circular": "wrap", "replicate": "edge"}
            data = _padded(call, f"jax.numpy.pad(a, {[(0, 0), (0, 0), *call.pairs]}", modes)
            amounts = [(0, 0)] * call.ndim
        y = f"jax.lax.conv_general_dilated({data}, w, {o['stride']}, {amounts!r}, {tail}"
    lines = ['jax.config.update("jax_enable_x64", True)']
    shape = (-1, *(1,) * call.ndim)
    if not call.needs:
        return [*lines, f"got = {y}" + f" + bias.reshape{shape}" * call.has_bias, 'print("got", np.ravel(got))']
    lines += [
        f"bias = np.zeros({call.channels}, w.dtype)",
        f"f = lambda {', '.join(call.names)}: {y} + bias.reshape{shape}",
    ]
    lines.append(f"grads = jax.vjp(f, {', '.join(call.names)})[1](np.conj(g))")
    return [*lines, 'print("got", *(np.conj(grad).ravel() for grad in grads))']


def _tensorflow(call: Call) -> list[str]:
    o = call.options
    lines = ["a, w = tf.constant(np.moveaxis(a, 1, -1)), tf.constant(np.moveaxis(w, (0, 1), (-1, -2)))"]
    amounts: Any = {"valid": "VALID", "same_upper": "SAME"}.get(o["padding"]) if isinstance(o["padding"], str) else None
    data = "a"
    if call.is_transposed:
        explicit = [(0, 0), *call.pairs, (0, 0)] if amounts is None else amounts
        padding = explicit if any(map(any, explicit)) or amounts else "VALID"
        shape = f"({_BATCH}, *{call.result_size}, {call.channels})"
        y = (
            f"tf.nn.conv{call.ndim}d_transpose(a, w, {shape}, {(1, *o['stride'], 1)}, {padding!r}, "
            f"dilations={(1, *o['dilation'], 1)})"
        )
    else:
        if amounts is None:
            modes = {"zeros": "CONSTANT", "reflect": "REFLECT"}
            data = _padded(call, f"tf.pad(a, {[(0, 0), *call.pairs, (0, 0)]}", modes)
            amounts = "VALID"
        strides, dilations = (1, *o["stride"], 1), (1, *o["dilation"], 1)
        call_name = f"conv{call.ndim}d"
        if max(o["dilation"]) > 1 == max(o["stride"]) and (call.needs or call.ndim == 3):
            call_name, strides, dilations = "convolution", o["stride"], o["dilation"]
        y = f"tf.nn.{call_name}({data}, w, {strides}, {amounts!r}, dilations={dilations})"
    if not call.needs:
        return [
            *lines,
            f"got = ({y}{' + bias' * call.has_bias}).numpy()",
            'print("got", np.moveaxis(got, -1, 1).ravel())',
        ]
    lines.append(f"bias, g = tf.zeros({call.channels}, w.dtype), tf.constant(np.moveaxis(g, 1, -1))")
    lines += ["with tf.GradientTape() as tape:", f"    tape.watch([{', '.join(call.names)}]); y = {y} + bias"]
    lines.append(f"grads = tape.gradient(y, [{', '.join(call.names)}], g)")
    back = {
        "input": "np.moveaxis(grads[{}].numpy(), -1, 1)",
        "weight": "np.moveaxis(grads[{}].numpy(), (-1, -2), (0, 1))",
        "bias": "grads[{}].numpy()",
    }
    shown = ", ".join(f"{back[need].format(number)}.ravel()" for number, need in enumerate(call.needs))
    return [*lines, f'print("got", {shown})']


_BATCH = "len(a)"


def _mlx(call: Call) -> list[str]:
    o, data = call.options, "a"
    lines = ["mx.set_default_device(mx.cpu)", "a, w = mx.array(np.moveaxis(a, 1, -1)), mx.array(w)"]
    pairs = call.pairs
    weight = "mx.moveaxis(w, 1, -1)"
    if call.is_transposed:
        weight = f"mx.moveaxis({_exchanged(call)}, 1, -1)"
    if call.is_transposed and call.is_symmetric:
        values = [o["stride"], call.begins, o["dilation"], o["output_padding"]]
        arguments = ", ".join(repr(value[0] if call.ndim == 1 else value) for value in values)
        y = f"mx.conv_transpose{call.ndim}d(a, {weight}, {arguments}, {o['groups']})"
    elif call.is_transposed:
        lines.append(f"p = {_rests(call)}")
        y = (
            f"mx.conv_general(a, {weight}, 1, ([b for b, _ in p], [e for _, e in p]), {o['dilation']}, {o['stride']}, "
            f"{o['groups']}, flip=True)"
        )
    else:
        if call.mode != "zeros":
            data = _padded(call, f"mx.pad(a, {[(0, 0), *pairs, (0, 0)]}", {"replicate": "edge"})
            pairs = [(0, 0)] * call.ndim
        amounts = ([begin for begin, _ in pairs], [end for _, end in pairs])
        y = f"mx.conv_general({data}, {weight}, {o['stride']}, {amounts}, {o['dilation']}, groups={o['groups']})"
    if not call.needs:
        add = " + mx.array(bias)" if call.has_bias else ""
        return [*lines, f"got = np.array({y}{add})", 'print("got", np.moveaxis(got, -1, 1).ravel())']
    lines.append(f"bias, g = mx.zeros({call.channels}, w.dtype), mx.array(np.moveaxis(g, 1, -1))")
    names = ", ".join(call.names)
    lines.append(f"_, grads = mx.vjp(lambda {names}: {y} + bias, [{names}], [g])")
    back = {
        "input": "np.moveaxis(np.array(grads[{}]), -1, 1)",
        "weight": "np.array(grads[{}])",
        "bias": "np.array(grads[{}])",
    }
    shown = ", ".join(f"{back[need].format(number)}.ravel()" for number, need in enumerate(call.needs))
    return [*lines, f'print("got", {shown})']


def _onnx(run: str) -> Callable[[Call], list[str]]:
    """A model of one node, run by an expression in which `m` is the model."""

    def lines(call: Call) -> list[str]:
        o = call.options
        operator = "ConvTranspose" if call.is_transposed else "Conv"
        attributes = f"strides={o['stride']}, dilations={o['dilation']}, group={o['groups']}"
        names = {"valid": "VALID", "same_upper": "SAME_UPPER", "same_lower": "SAME_LOWER"}
        before = []
        if isinstance(o["padding"], str):
            attributes += f", auto_pad={names[o['padding']]!r}"
        else:
            pads = [begin for begin, _ in call.pairs] + [end for _, end in call.pairs]
            if call.mode != "zeros" or min(pads, default=0) < 0:
                modes = {"zeros": "constant", "circular": "wrap", "replicate": "edge"}
                zeros, ndim = [0, 0], call.ndim
                before = [f"pads = np.array({zeros + pads[:ndim] + zeros + pads[ndim:]})"]
                before.append(
                    f'nodes = [h.make_node("Pad", ["a", "pads"], ["p"], mode={modes.get(call.mode, call.mode)!r})]'
                )
            else:
                attributes += f", pads={pads}"
        if call.is_transposed:
            attributes += f", output_padding={o['output_padding']}"
        inputs = ["p" if before else "a", "w", *(["bias"] if call.has_bias else [])]
        constants = ", ".join(f"{name}={name}" for name in [*inputs[1:], *(["pads"] if before else [])])
        more = "nodes + " if before else ""
        return [
            *before,
            f"nodes = {more}[h.make_node({operator!r}, {inputs}, ['y'], {attributes})]",
            "info = lambda n, shape: h.make_tensor_value_info(n, h.np_dtype_to_tensor_dtype(a.dtype), shape)",
            f"constants = [numpy_helper.from_array(v, k) for k, v in dict({constants}).items()]",
            "graph = h.make_graph(nodes, 'g', [info('a', a.shape)], [info('y', None)], constants)",
            "m = h.make_model(graph, ir_version=10, opset_imports=[h.make_opsetid('', 22)]); "
            f'print("got", {run}.ravel())',
        ]

    return lines


def _tinygrad(call: Call) -> list[str]:
    o, data = call.options, "a"
    lines = ["a, w = Tensor(a), Tensor(w)"]
    amounts: Any = 0 if isinstance(o["padding"], str) else call.begins
    if not isinstance(o["padding"], str) and (call.mode != "zeros" or any(begin != end for begin, end in call.pairs)):
        amounts = tuple(call.flat_padding)
    if call.mode != "zeros":
        data, amounts = f"a.pad({tuple(call.flat_padding)}, mode={call.mode!r})", 0
    rest = f"w, bias, {o['groups']}, {o['stride']}, {o['dilation']}, {amounts}"
    y = f"a.conv_transpose2d({rest}, {o['output_padding']})" if call.is_transposed else f"{data}.conv2d({rest})"
    if not call.needs:
        lines += ["bias = Tensor(bias)"] if call.has_bias else []
        return [*lines, f'print("got", {y}.numpy().ravel())']
    lines.append(f"bias, g = Tensor(np.zeros({call.channels}, w.numpy().dtype)), Tensor(g)")
    lines.append(f"grads = {y}.gradient({', '.join(call.names)}, gradient=g)")
    return [*lines, 'print("got", *(grad.numpy().ravel() for grad in grads))']


_ONNX = ("from onnx import helper as h, numpy_helper",)

RECIPES = {
    "torch": Recipe(("import torch",), _torch),
    "torch_channels_last": Recipe(("import torch",), _torch),
    "jax": Recipe(("import jax",), _jax),
    "tensorflow": Recipe(("import tensorflow as tf",), _tensorflow),
    "mlx": Recipe(("import mlx.core as mx",), _mlx),
    "onnx_reference": Recipe(
        (*_ONNX, "from onnx.reference import ReferenceEvaluator"),
        _onnx("ReferenceEvaluator(m).run(None, dict(a=a))[0]"),
    ),
    "onnxruntime": Recipe(
        (*_ONNX, "import onnxruntime"),
        _onnx("onnxruntime.InferenceSession(m.SerializeToString()).run(None, dict(a=a))[0]"),
    ),
    "openvino": Recipe(
        (*_ONNX, "import openvino"),
        _onnx(
            "openvino.compile_model(openvino.Core().read_model(m.SerializeToString()), 'CPU', "
            "dict(EXECUTION_MODE_HINT='ACCURACY'))(np.ascontiguousarray(a))[0]"
        ),
    ),
    "tinygrad": Recipe(("from tinygrad import Tensor",), _tinygrad),
}
"""The recipes by the name of the framework; what has none is called through its adapter."""
