"""Asking: one question put to one framework, with an eye on how it behaves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv import ArrconvError, ConvSpec, Geometry, UnsupportedError
from arrconv_conformance.adapters import Lost, Unsupported
from arrconv_conformance.judge import Verdict, judge
from arrconv_conformance.layouts import buffer_of, laid_out
from arrconv_conformance.question import Question, operands_of, options_of
from arrconv_conformance.weaker import explained_by_weaker, is_weaker

if TYPE_CHECKING:
    from arrconv_conformance.cases import Case
    from arrconv_conformance.data import Array

NOT_OFFERED = (NotImplementedError, UnsupportedError, Unsupported)


@dataclass(slots=True)
class Asker:
    """Puts questions to one adapter, one after the other, and remembers the last results to see what becomes of them.

    Args:
        adapter: the adapter.
        repeats: whether to make each call a second time, to compare the bits.
    """

    adapter: Any
    repeats: bool = False
    _earlier: list[tuple[Array, bytes]] = field(default_factory=list)

    def ask(self, question: Question) -> Verdict:
        """The verdict on what the framework makes of a question."""
        try:
            return self._ask(question)
        except Lost as loss:
            return Verdict(loss.outcome, str(loss), "form" if loss.outcome == "deviates" else "")

    def _ask(self, question: Question) -> Verdict:
        function = getattr(self.adapter, question.member.function, None)
        if function is None:
            return Verdict("unsupported", f"{self.adapter.name} has no {question.member.function}")
        self._call_before(function, question)
        arrays = question.arrays
        buffers = [buffer_of(array) for array in arrays if array is not None]
        before = [buffer.tobytes("A") for buffer in buffers]
        results = self._called(function, question, arrays)
        if isinstance(results, Verdict):
            return results
        verdicts = [_judged(got, question, need) for need, got in results.items()]
        complaint = self._behaviour(results, buffers, before, question)
        if wrong := [verdict for verdict in verdicts if verdict.outcome != "agrees"]:
            return min(wrong, key=is_weaker)  # the one for which there is no excuse
        if complaint is not None:
            return Verdict("deviates", complaint, "behaviour")
        return Verdict(
            "agrees",
            ratio=max((verdict.ratio for verdict in verdicts), default=0.0),
            share=max((verdict.share for verdict in verdicts), default=0.0),
            varies=self._varies(function, question, results) if self.repeats else None,
        )

    def results(self, question: Question) -> dict[str, Any] | Verdict:
        """What the framework answers, by need and unjudged; the verdict where it does not."""
        function = getattr(self.adapter, question.member.function, None)
        if function is None:
            return Verdict("unsupported", f"{self.adapter.name} has no {question.member.function}")
        try:
            self._call_before(function, question)
            return self._called(function, question, question.arrays)
        except Lost as loss:
            return Verdict(loss.outcome, str(loss))

    def _called(self, function: Any, question: Question, arrays: list[Array | None]) -> dict[str, Any] | Verdict:
        options = question.options
        try:
            answer = function(*arrays, **options)
        except NOT_OFFERED as reason:
            return Verdict("unsupported", str(reason))
        except Lost:
            raise
        except Exception as error:  # whatever a framework raises is a refusal, to be explained or reported
            if question.case.wrong is not None:
                return Verdict("agrees")
            return Verdict("refuses", f"{type(error).__name__}: {error}")
        if question.case.wrong is not None:
            return Verdict("deviates", f"a result for a wrong call ({question.case.wrong})", "behaviour")
        return self._results(answer, question)

    def _results(self, answer: Any, question: Question) -> dict[str, Any] | Verdict:
        """What was asked for, by name; more gradients than that are no error."""
        if not question.needs:
            return {"result": answer}
        if not isinstance(answer, dict):
            return Verdict("deviates", f"the gradients are a {type(answer).__name__}, not a dictionary", "form")
        if missing := [need for need in question.needs if need not in answer]:
            return Verdict("deviates", f"the gradients lack {', '.join(missing)}", "form")
        return {need: answer[need] for need in question.needs}

    def _behaviour(
        self, results: dict[str, Any], buffers: list[Array], before: list[bytes], question: Question
    ) -> str | None:
        """What the call did that no call may do, and what it did to earlier results."""
        arrays = [result for result in results.values() if isinstance(result, np.ndarray)]
        earlier, self._earlier = self._earlier, [*self._earlier, *((array, array.tobytes()) for array in arrays)][-4:]
        roles = [role for role in question.member.takes if role in question.operands]
        for role, buffer, bytes_before in zip(roles, buffers, before, strict=True):
            if buffer.tobytes("A") != bytes_before:
                return f"the operand {role} was written to"
            if _share_memory(arrays, buffer):
                return f"the result shares memory with the operand {role}"
        if any(array.tobytes() != bytes_before for array, bytes_before in earlier):
            self._earlier = []  # the later ones are not to blame
            return "the result of an earlier call was overwritten"
        if any(_share_memory(arrays, old) for old, _ in earlier):
            return "the result shares memory with that of an earlier call"
        return None

    def _varies(self, function: Any, question: Question, results: dict[str, Any]) -> bool:
        arrays, options = question.arrays, question.options
        try:
            again = self._results(function(*arrays, **options), question)
        except Lost:
            raise
        except Exception:  # an answer once, and none a second time
            return True
        return isinstance(again, Verdict) or any(
            not isinstance(again[need], np.ndarray) or again[need].tobytes() != result.tobytes()
            for need, result in results.items()
        )

    def _call_before(self, function: Any, question: Question) -> None:
        """What the case wants to be called first; what comes of that is of no interest, only what it leaves behind."""
        if question.case.before == "data":
            calls = [(question.case, operands_of(question.case, " before"))]
        elif question.case.before == "options":
            calls = [(other, question.operands) for other in others_of_the_same_shapes(question.case)]
        else:
            return
        for case, operands in calls:
            arrays = [
                None if role not in operands else laid_out(operands[role], "plain") for role in question.member.takes
            ]
            options = options_of(case, question.member, question.needs)
            try:
                function(*arrays, **options)
            except Lost:
                raise
            except Exception:  # it may well refuse these options
                continue


def others_of_the_same_shapes(case: Case) -> list[Case]:
    """Cases with other options that take and yield arrays of the same shapes."""
    options: dict[str, Any] = dict(case.geometry.options)
    shifted = tuple((begin + 1, end - 1) if end > 0 else (begin - 1, end + 1) for begin, end in options["padding"])
    mode = "zeros" if options["padding_mode"] != "zeros" else "replicate"
    found = []
    for change in ({"padding": shifted}, {"padding_mode": mode}):
        geometry = case.geometry
        try:
            spec = ConvSpec.of(geometry.ndim, **(options | change))
            other = Geometry.forward(spec, geometry.input_shape, geometry.weight_shape)
        except ArrconvError:
            continue
        if other.output_shape == geometry.output_shape and other != geometry:
            found.append(replace(case, geometry=other, padding=None))
    return found


def _share_memory(arrays: list[Array], other: Array) -> bool:
    return any(np.may_share_memory(array, other) for array in arrays if array.size and other.size)


def _judged(got: Any, question: Question, need: str) -> Verdict:
    bias = "bias" in question.operands
    verdict = judge(got, question.expected[need], question.claim, str(question.case.data), bias=bias)
    return _named(explained_by_weaker(verdict, got, question, need), need)


def _named(verdict: Verdict, need: str) -> Verdict:
    return (
        verdict if need == "result" or not verdict.message else replace(verdict, message=f"{need}: {verdict.message}")
    )
