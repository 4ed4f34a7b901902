"""Wrong calls: each breaks one rule of the call that it is made of, and a framework that answers it is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arrconv_conformance import Case
from arrconv_conformance.asking import Asker
from arrconv_conformance.claims import Claim
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.question import Question
from arrconv_conformance.wrong import WRONG, can_be_wrong

import arrconv

GEOMETRY = "n=2 c=6 o=4 g=2 x=7,5 k=3,2 s=2,1 p=1,0"


def question(member: str, wrong: str) -> Question:
    case = Case.parse(f"{GEOMETRY} member={member} dtype=float64 data=integers wrong={wrong}")
    return Question(case, Claim(arrconv.Arithmetic.of("float64"), ("float64",)))


POSSIBLE = [
    (member, wrong)
    for member in MEMBERS
    for wrong in WRONG
    if can_be_wrong(wrong, MEMBERS[member], Case.parse(GEOMETRY).geometry)
]


def answering(raises: bool) -> Any:
    """A framework that answers every call, or raises on every call."""

    class Framework:
        name, version = "f", "1"

        def conv(self, *arrays: Any, needs: Any = ("result",), **_: Any) -> Any:
            if raises:
                raise ValueError("no")
            return {need: np.zeros(3) for need in needs}

        conv_transpose = conv_backward = conv_transpose_backward = conv

    return Framework()


@pytest.mark.parametrize(("member", "wrong"), POSSIBLE)
def test_one_thing_is_wrong(member: str, wrong: str) -> None:
    """arrconv, whose errors are tested by themselves, raises; and it does not without the one thing."""
    asked = question(member, wrong)
    function = getattr(arrconv, MEMBERS[member].function)
    with pytest.raises(arrconv.ArrconvError):
        function(*asked.arrays, **asked.options)
    operands, options = asked.call
    changed = [role for role in asked.operands if operands[role] is not asked.operands[role]]
    right = Question(Case.parse(str(asked.case).replace(f" wrong={wrong}", "")), asked.claim)
    function(*right.arrays, **right.options)
    differences = [name for name in options if options[name] != right.options[name]]
    assert len(changed) + len(differences) == 1


@pytest.mark.parametrize(("member", "wrong"), POSSIBLE)
def test_an_answer_deviates_and_an_error_agrees(member: str, wrong: str) -> None:
    verdict = Asker(answering(raises=False)).ask(question(member, wrong))
    assert (verdict.outcome, verdict.kind) == ("deviates", "behaviour")
    assert wrong in verdict.message
    assert Asker(answering(raises=True)).ask(question(member, wrong)).outcome == "agrees"


def test_what_a_framework_does_not_offer_is_no_error() -> None:
    class Nothing:
        name, version = "n", "1"

        def conv(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError("nothing")

    assert Asker(Nothing()).ask(question("conv", "stride")).outcome == "unsupported"


@pytest.mark.parametrize(
    "text",
    [
        "n=2 c=3 o=4 x=- k=- member=conv wrong=stride",  # no axis to have a stride
        "n=0 c=3 o=4 x=5 k=2 member=conv wrong=channels",  # no entry that could be repeated
        "n=2 c=3 o=4 x=5 k=2 member=conv_grad_input wrong=bias",
        "n=2 c=3 o=4 x=5 k=2 member=conv wrong=cotangent-size",
        "n=2 c=3 o=4 x=5 k=2 member=conv wrong=bias bias=none",
    ],
)
def test_what_cannot_be_wrong_is_not_asked(text: str) -> None:
    assert not list(Case.parse(f"{text} dtype=float32 data=integers").singles())
