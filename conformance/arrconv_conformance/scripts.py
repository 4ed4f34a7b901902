"""Scripts: a failing case as a program of a few lines that needs only its framework and NumPy.

A framework known by name has a recipe here: how its users write such a call. Any other adapter is called itself.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv_conformance.claims import Claim
from arrconv_conformance.question import Question
from arrconv_conformance.recipes import RECIPES, Call, through_adapter

if TYPE_CHECKING:
    from arrconv_conformance.cases import Case
    from arrconv_conformance.data import Array

MOST_LINES = 15


def script(name: str, asked: str, case: Case) -> str:
    """The program for a case that a framework answers wrongly, or not at all, with the exact values.

    Args:
        name: the name of the framework.
        asked: the name under which its adapter is loaded.
        case: a case that names one member, dtype and data set.
    """
    question = Question(case, Claim.of(SimpleNamespace(name=name, claims={}), str(case.dtype)))
    member, call = question.member, Call.of(question)
    recipe = RECIPES.get(name) or through_adapter(asked)
    layouts = dict(case.layout)
    operands, _ = question.call
    bfloat16 = ["import ml_dtypes"] if case.dtype == "bfloat16" else []
    lines = [f"# {case}", "import numpy as np", *bfloat16, *recipe.imports]
    for letter, role in zip("awg", member.takes, strict=True):
        if role == "bias":
            lines += [_assignment("bias", operands["bias"], "")] if call.has_bias else ["bias = None"]
        else:
            lines.append(_assignment(letter, operands[role], layouts.get(role, "plain")))
    lines += recipe.lines(call)
    if case.wrong is not None:
        return "\n".join([*lines, f'print("but the call is wrong: {case.wrong}")'])
    lines += [f'print("exactly", {_exactly(question, need)})' for need in question.expected]
    return "\n".join(lines)


def _assignment(letter: str, array: Array, layout: str) -> str:
    return f"{letter} = {_LAYOUTS.get(layout, '{}').format(_literal(array))}"


def _literal(array: Array) -> str:
    dtype = f"np.{array.dtype.name}" if array.dtype.name != "bfloat16" else "ml_dtypes.bfloat16"
    if array.size and np.array_equal(array, np.ones_like(array)):
        return f"np.ones({array.shape}, {dtype})"
    wide = array.astype(complex if array.dtype.kind == "c" else int if array.dtype.kind in "iu" else float)
    numbers = ", ".join(_number(number) for number in wide.ravel().tolist())
    return f"np.array([{numbers}], {dtype}).reshape({array.shape})"


def _number(number: Any) -> str:
    if isinstance(number, complex):
        return repr(number).replace("nan", "np.nan").replace("inf", "np.inf")
    text = repr(number)
    text = text[:-2] if text.endswith(".0") and text != "-0.0" else text
    return text.replace("nan", "np.nan").replace("inf", "np.inf")


_LAYOUTS = {
    # Copies even of what is in that order already: frameworks look at the strides of axes of size 1, too.
    "last": "np.moveaxis(np.moveaxis({}, 1, -1).copy(), -1, 1)",
    "slice": "(lambda a: np.moveaxis(np.concatenate([a, a], -1)[..., : a.shape[-1]], -1, 1))(np.moveaxis({}, 1, -1))",
    "fortran": "{}.copy('F')",
    "reversed": "np.flip(np.flip({}).copy())",
    "strided": "np.repeat({}, 2, -1)[..., ::2]",
    "offset": "(lambda a: np.pad(a, 1)[(slice(1, -1),) * a.ndim])({})",
    "readonly": "(lambda a: (a.setflags(write=False), a)[1])({})",
    "broadcast": "(lambda a: np.broadcast_to(a[:1], a.shape))({})",
}


def _exactly(question: Question, need: str) -> str:
    exact = question.expected[need].exact
    result = exact.high
    if exact.special is not None:
        result = np.where(exact.special == 0, exact.high, exact.special)
    name = "" if need == "result" else f'"{need}", '
    return f"{name}np.array([{', '.join(_number(number) for number in result.ravel().tolist())}])"
