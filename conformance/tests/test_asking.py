"""Asking: what a framework may do with its arrays, and what its exceptions and its answers mean."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from arrconv_conformance import Case, Unsupported, load_adapter
from arrconv_conformance import asking as module
from arrconv_conformance.asking import Asker, others_of_the_same_shapes
from arrconv_conformance.claims import Claim
from arrconv_conformance.layouts import buffer_of
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.question import Question

import arrconv

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv_conformance.judge import Verdict

Array = Any
GEOMETRY = "n=2 c=4 o=6 g=2 x=7,5 k=3,2 s=2,1 p=1,1"
OWN = load_adapter("numpy")


@dataclass
class Spied:
    """arrconv's own adapter, with something done around each call."""

    around: Callable[[Callable[[], Any], list[Array], dict[str, Any]], Any]
    name: str = "spied"
    version: str = "0"
    calls: list[tuple[str, list[Array], dict[str, Any]]] = field(default_factory=list)

    def _call(self, function: str, arrays: tuple[Array, ...], options: dict[str, Any]) -> Any:
        self.calls.append((function, [None if a is None else a.copy() for a in arrays], options))
        return self.around(lambda: getattr(OWN, function)(*arrays, **options), list(arrays), options)

    def __getattr__(self, function: str) -> Any:
        if function not in {member.function for member in MEMBERS.values()}:
            raise AttributeError(function)
        return lambda *arrays, **options: self._call(function, arrays, options)


def right(call: Callable[[], Any], *_: Any) -> Any:
    return call()


def question(text: str, geometry: str = GEOMETRY) -> Question:
    words = f"{geometry} {text}"
    words += " dtype=float32" * ("dtype=" not in words) + " data=integers" * ("data=" not in words)
    case = Case.parse(words)
    return Question(case, Claim.of(OWN, str(case.dtype)))


def ask(around: Any, text: str, **options: Any) -> Verdict:
    return Asker(Spied(around), **options).ask(question(text))


@pytest.mark.parametrize("member", MEMBERS)
def test_a_right_framework_agrees(member: str) -> None:
    verdict = ask(right, f"member={member} data=normal")
    assert (verdict.outcome, verdict.message, verdict.varies) == ("agrees", "", None)
    assert 0 < verdict.ratio < 1


# What it may not do to its operands


@pytest.mark.parametrize("layout", ["plain", "last", "strided", "offset", "reversed", "fortran"])
@pytest.mark.parametrize(
    ("member", "position", "role"), [("conv", 0, "x"), ("conv", 1, "w"), ("conv_backward", 2, "y")]
)
def test_an_operand_that_is_written_to_is_seen(member: str, position: int, role: str, layout: str) -> None:
    def spoil(call: Any, arrays: list[Array], _: Any) -> Any:
        result = call()
        arrays[position][(-1,) * arrays[position].ndim] += 1
        return result

    verdict = ask(spoil, f"member={member} layout={role}:{layout}")
    assert (verdict.outcome, verdict.kind) == ("deviates", "behaviour")
    assert verdict.message == f"the operand {role} was written to"


def test_the_bias_counts_as_an_operand() -> None:
    def spoil(call: Any, arrays: list[Array], _: Any) -> Any:
        result = call()
        arrays[2][0] += 1
        return result

    assert ask(spoil, "member=conv").message == "the operand bias was written to"


@pytest.mark.parametrize("layout", ["strided", "offset"])
def test_what_lies_between_the_elements_may_not_be_written_to_either(layout: str) -> None:
    def spoil(call: Any, arrays: list[Array], _: Any) -> Any:
        buffer_of(arrays[0]).reshape(-1)[0] = 7
        return call()

    assert ask(spoil, f"member=conv layout=x:{layout}").message == "the operand x was written to"


def test_an_operand_that_is_written_to_and_restored_is_as_it_was() -> None:
    def spoil(call: Any, arrays: list[Array], _: Any) -> Any:
        arrays[0] += 1
        arrays[0] -= 1
        return call()

    assert ask(spoil, "member=conv").outcome == "agrees"


def test_a_result_in_the_memory_of_an_operand_is_seen() -> None:
    """A 1×1 kernel of ones on one channel returns its input, so that nothing else is wrong."""

    def same(_: Any, arrays: list[Array], __: Any) -> Any:
        return arrays[0]

    verdict = Asker(Spied(same)).ask(question("member=conv data=ones bias=none", "n=2 c=1 o=1 x=5,3 k=1,1"))
    assert (verdict.outcome, verdict.kind) == ("deviates", "behaviour")
    assert verdict.message == "the result shares memory with the operand x"


# What it may not do to its results


def into(buffer: Array) -> Any:
    """Every result is put into the one buffer."""

    def around(call: Any, *_: Any) -> Any:
        result = call()
        view = buffer[: result.size].reshape(result.shape)
        view[...] = result
        return view

    return around


def test_a_result_that_a_later_call_overwrites_is_seen() -> None:
    asker = Asker(Spied(into(np.zeros(999, np.float32))))
    assert asker.ask(question("member=conv")).outcome == "agrees"
    verdict = asker.ask(question("member=conv data=normal"))
    assert (verdict.outcome, verdict.kind) == ("deviates", "behaviour")
    assert verdict.message == "the result of an earlier call was overwritten"
    assert asker.ask(question("member=conv data=normal")).outcome == "agrees"  # the one before is not to blame


def test_a_result_in_the_memory_of_an_earlier_one_is_seen_even_if_the_values_are_the_same() -> None:
    asker = Asker(Spied(into(np.zeros(999, np.float32))))
    assert asker.ask(question("member=conv")).outcome == "agrees"
    verdict = asker.ask(question("member=conv"))
    assert verdict.message == "the result shares memory with that of an earlier call"


def test_results_are_remembered_over_other_calls_in_between() -> None:
    kept: list[Array] = []

    def spoil(call: Any, *_: Any) -> Any:
        result = call()
        kept.append(result)
        if len(kept) == 3:
            kept[0][...] = 0
        return result

    asker = Asker(Spied(spoil))
    outcomes = [asker.ask(question(f"member=conv data={data}")) for data in ("integers", "normal", "uniform", "wide")]
    assert [verdict.outcome for verdict in outcomes] == ["agrees", "agrees", "deviates", "agrees"]
    assert outcomes[2].message == "the result of an earlier call was overwritten"


def test_a_wrong_value_is_said_before_any_behaviour() -> None:
    def spoil(call: Any, arrays: list[Array], _: Any) -> Any:
        result = call() + 1
        arrays[0][...] = 0
        return result

    verdict = ask(spoil, "member=conv")
    assert verdict.kind == "exact"
    assert "elements are wrong" in verdict.message


# What it may answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([1], "the gradients are a list, not a dictionary"),
        (None, "the gradients are a NoneType, not a dictionary"),
        (np.zeros(3), "the gradients are a ndarray, not a dictionary"),
        ({}, "the gradients lack input, bias"),
        ({"input": np.zeros(3), "weight": np.zeros(3)}, "the gradients lack bias"),
        ({"input": None, "bias": np.zeros(6, np.float32)}, "input: the result is a NoneType, not an array"),
    ],
)
def test_gradients_are_a_dictionary_with_all_that_was_asked_for(answer: Any, message: str) -> None:
    verdict = ask(lambda *_: answer, "member=conv_backward needs=input,bias")
    assert (verdict.outcome, verdict.kind, verdict.message) == ("deviates", "form", message)


def test_gradients_that_nobody_asked_for_do_no_harm() -> None:
    def more(call: Any, *_: Any) -> Any:
        return call() | {"weight": "never mind", "other": None}

    assert ask(more, "member=conv_backward needs=input,bias").outcome == "agrees"


def test_a_wrong_gradient_is_named() -> None:
    def wrong(call: Any, *_: Any) -> Any:
        grads = call()
        grads["weight"] = grads["weight"] + 1
        return grads

    verdict = ask(wrong, "member=conv_backward")
    assert verdict.outcome == "deviates"
    assert verdict.message.startswith("weight: 72 of 72 elements are wrong")


@pytest.mark.parametrize(
    "error", [NotImplementedError("not here"), Unsupported("not here"), arrconv.UnsupportedError("not here")]
)
def test_what_is_not_offered_is_no_failure(error: Exception) -> None:
    def refuse(*_: Any) -> Any:
        raise error

    verdict = ask(refuse, "member=conv")
    assert (verdict.outcome, verdict.message) == ("unsupported", "not here")


def test_a_function_that_is_not_there_is_not_offered() -> None:
    class Nothing:
        name, version = "nothing", "0"

    verdict = Asker(Nothing()).ask(question("member=conv_transpose_backward"))
    assert (verdict.outcome, verdict.message) == ("unsupported", "nothing has no conv_transpose_backward")


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("no"), KeyError("no"), ZeroDivisionError("no")])
def test_any_other_exception_is_a_refusal(error: Exception) -> None:
    def refuse(*_: Any) -> Any:
        raise error

    verdict = ask(refuse, "member=conv")
    assert (verdict.outcome, verdict.message) == ("refuses", f"{type(error).__name__}: {error}")


def test_an_interrupt_is_no_refusal() -> None:
    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(interrupt, "member=conv")


def test_a_defect_of_the_suite_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("a defect of the suite")

    monkeypatch.setattr(module, "judge", broken)
    with pytest.raises(ValueError, match="a defect of the suite"):
        ask(right, "member=conv")
    monkeypatch.undo()
    for name in ("arrays", "options", "expected"):
        with monkeypatch.context() as patch:
            patch.setattr(Question, name, property(broken))
            with pytest.raises(ValueError, match="a defect of the suite"):
                ask(right, "member=conv")


# What is called before


def test_the_call_before_has_other_data_and_the_same_options() -> None:
    spied = Spied(right)
    asked = question("member=conv_backward before=data data=normal layout=x:last")
    assert Asker(spied).ask(asked).outcome == "agrees"
    (function, before, options), (again, arrays, same) = spied.calls
    assert function == again == "conv_backward"
    assert options == same == asked.options
    for one, other in zip(before, arrays, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert not np.any(one == other)


def test_the_calls_before_have_other_options_and_the_same_data() -> None:
    spied = Spied(right)
    asked = question("member=conv before=options")
    assert Asker(spied).ask(asked).outcome == "agrees"
    *earlier, (_, arrays, options) = spied.calls
    assert options == asked.options
    assert [other | {"padding": options["padding"]} for _, _, other in earlier[:1]] == [options]
    assert [other | {"padding_mode": "zeros"} for _, _, other in earlier[1:]] == [options]
    assert all(other != options for _, _, other in earlier)
    for _, before, _ in earlier:
        assert all(np.array_equal(one, other) for one, other in zip(before, arrays, strict=True))


def test_a_framework_that_remembers_the_options_of_shapes_is_found() -> None:
    remembered: dict[Any, Any] = {}

    def forgetful(_: Any, arrays: list[Array], options: dict[str, Any]) -> Any:
        shapes = tuple(array.shape for array in arrays)
        return OWN.conv(*arrays, **remembered.setdefault(shapes, options))

    assert ask(forgetful, "member=conv").outcome == "agrees"
    remembered.clear()
    assert ask(forgetful, "member=conv before=options").outcome == "deviates"


def test_a_framework_that_remembers_the_result_of_shapes_is_found() -> None:
    remembered: dict[Any, Any] = {}

    def forgetful(call: Any, arrays: list[Array], _: Any) -> Any:
        return remembered.setdefault(tuple(array.shape for array in arrays), call()).copy()

    assert ask(forgetful, "member=conv").outcome == "agrees"
    remembered.clear()
    assert ask(forgetful, "member=conv before=data").outcome == "deviates"


@pytest.mark.parametrize("before", ["data", "options"])
def test_what_the_call_before_raises_is_of_no_interest(before: str) -> None:
    seen: list[Any] = []

    def refuse_first(call: Any, *_: Any) -> Any:
        seen.append(None)
        if len(seen) <= expected:
            raise RuntimeError("not now")
        return call()

    expected = {"data": 1, "options": 2}[before]
    assert ask(refuse_first, f"member=conv before={before}").outcome == "agrees"
    assert len(seen) == expected + 1


def test_nothing_is_called_before_where_nothing_is_to_be() -> None:
    spied = Spied(right)
    Asker(spied).ask(question("member=conv"))
    assert len(spied.calls) == 1


def test_other_options_take_and_yield_the_same_shapes() -> None:
    for text, changed in (
        (GEOMETRY, {"padding", "padding_mode"}),
        (f"{GEOMETRY} mode=circular", {"padding", "padding_mode"}),
        ("n=2 c=4 o=6 x=7,5 k=3,2", {"padding"}),  # there is nothing for a mode to fill
        ("n=2 c=4 o=6 x=- k=-", set()),
    ):
        case = Case.parse(f"{text} member=conv")
        found = set()
        for other in others_of_the_same_shapes(case):
            one, two = dict(case.geometry.options), dict(other.geometry.options)
            found |= {name for name in one if one[name] != two[name]}
            assert replace(other, geometry=case.geometry) == case
            for shape in ("input_shape", "weight_shape", "output_shape"):
                assert getattr(other.geometry, shape) == getattr(case.geometry, shape)
        assert found >= changed - {"padding_mode"}
        assert found <= {"padding", "padding_mode"}


# What is called again


@pytest.mark.parametrize(("step", "varies"), [(0, False), (1, True)])
@pytest.mark.parametrize("member", ["conv", "conv_backward"])
def test_bits_that_vary_are_counted_and_no_failure(member: str, step: int, varies: bool) -> None:
    ulps = iter(range(0, 99 * step + 1, step) if step else [0] * 99)

    def vary(call: Any, *_: Any) -> Any:
        result, more = call(), next(ulps)
        array = result if member == "conv" else result["bias"]
        for _ in range(more):
            np.nextafter(array, np.float32(1e9), out=array)
        return result

    verdict = ask(vary, f"member={member} data=normal", repeats=True)
    assert (verdict.outcome, verdict.varies) == ("agrees", varies)
    assert ask(right, f"member={member} data=normal").varies is None


@pytest.mark.parametrize("answer", [None, [], {"bias": None}, RuntimeError("not twice")])
def test_another_kind_of_answer_the_second_time_varies_too(answer: Any) -> None:
    seen: list[Any] = []

    def fickle(call: Any, *_: Any) -> Any:
        seen.append(None)
        if len(seen) == 1:
            return call()
        if isinstance(answer, Exception):
            raise answer
        return answer

    verdict = ask(fickle, "member=conv_grad_bias", repeats=True)
    assert (verdict.outcome, verdict.varies) == ("agrees", True)
