"""Scripts: programs that show a case with the framework and NumPy alone, so that they print what the framework says."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from arrconv_conformance import Case
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.recipes import RECIPES
from arrconv_conformance.scripts import MOST_LINES, script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIBRARIES = {
    "torch": "torch",
    "torch_channels_last": "torch",
    "jax": "jax",
    "tensorflow": "tensorflow",
    "mlx": "mlx.core",
    "onnx_reference": "onnx",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "tinygrad": "tinygrad",
}
FORWARD_ONLY = ("onnx_reference", "onnxruntime", "openvino")
CASES = [
    "n=2 c=3 o=5 x=7,6 k=3,2 s=2,1 p=1,0 member=conv dtype=float32 data=integers",
    "n=2 c=4 o=6 g=2 x=9 k=3 p=2 d=2 member=conv dtype=float32 data=integers bias=none layout=x:last",
    "n=1 c=3 o=2 x=6,5 k=2,3 p=2:1,0:2 member=conv dtype=float32 data=integers layout=w:fortran",
    "n=2 c=3 o=4 x=7 k=3 p=2:1 mode=reflect member=conv dtype=float32 data=count",
    "n=2 c=3 o=4 x=7,5 k=3,2 p=valid member=conv dtype=float32 data=integers",
    "n=2 c=6 o=4 x=9,7 k=3,2 s=2,1 p=1,1 member=conv_transpose dtype=float32 data=integers",
    "n=2 c=3 o=5 x=7,6 k=3,2 s=2,1 p=1,0 member=conv_grad_input dtype=float32 data=integers",
    "n=2 c=3 o=5 x=8 k=3 s=2 p=1 member=conv_grad_weight dtype=float32 data=integers",
    "n=2 c=3 o=5 x=7,6 k=3,2 member=conv_backward dtype=float32 data=integers needs=input,bias",
    "n=2 c=4 o=3 x=7,5 k=3,2 s=2,1 p=1,0 member=conv_transpose_backward dtype=float32 data=integers needs=input,weight",
]


def printed(text: str) -> tuple[list[float], list[float]]:
    """The numbers that a program prints after `got` and after `exactly`."""
    shown: list[tuple[Any, ...]] = []
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # what a framework has to say is not of interest here
        exec(compile(text, "script", "exec"), {"print": lambda *values: shown.append(values)})

    def numbers(label: str) -> list[float]:
        values = [value for line in shown if line[0] == label for value in line[1:] if not isinstance(value, str)]
        return [float(number) for value in values for number in np.ravel(value)]

    return numbers("got"), numbers("exactly")


@pytest.fixture(autouse=True)
def _jax_as_it_was() -> Iterator[None]:
    """A script for JAX asks for 64 bits, which is for the whole process."""
    yield
    if "jax" in sys.modules:
        import jax

        jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_script_prints_what_the_framework_makes_of_the_case(name: str, case: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(LIBRARIES[name], reason=f"{name} is not installed")
    asked = Case.parse(case)
    if name in FORWARD_ONLY and MEMBERS[str(asked.member)].needs:
        pytest.skip(f"{name} has no gradients")
    text = script(name, name.replace("_", "-"), asked)
    got, exactly = printed(text)
    assert got
    assert got == exactly
    assert len(text.splitlines()) <= MOST_LINES
    assert "arrconv" not in text


@pytest.mark.parametrize("member", ["conv", "conv_backward"])
def test_a_script_for_pytorch_speaks_bfloat16(member: str) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    case = Case.parse(f"n=2 c=3 o=4 x=7 k=3 p=1 member={member} dtype=bfloat16 data=sparse")
    got, exactly = printed(script("torch", "torch", case))
    assert got
    assert got == exactly


def test_every_recipe_is_tested() -> None:
    assert set(RECIPES) == set(LIBRARIES)


ADAPTER = """
import numpy as np
import arrconv
name, version = "mine", "1"
def conv(x, w, bias, **options):
    return -arrconv.conv(x, w, bias, **options)
class Other:
    name, version = "other", "2"
    def conv_backward(self, x, w, gy, *, needs, **options):
        grads = arrconv.conv_backward(x, w, gy, needs=needs, **options)
        return {need: getattr(grads, need) for need in needs}
other = Other()
"""


@pytest.mark.parametrize(
    ("target", "case", "sign"),
    [
        ("mine_for_a_script.py", "n=1 c=2 o=3 x=5 k=2 member=conv dtype=float64 data=integers", -1),
        (
            "mine_for_a_script.py:other",
            "n=1 c=2 o=3 x=5 k=2 member=conv_backward dtype=float64 data=integers needs=input,weight",
            1,
        ),
    ],
)
def test_what_has_no_recipe_is_called_through_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, case: str, sign: int
) -> None:
    (tmp_path / "mine_for_a_script.py").write_text(ADAPTER)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine_for_a_script", raising=False)
    got, exactly = printed(script("mine", str(tmp_path / target), Case.parse(case)))
    assert got
    assert got == [sign * number for number in exactly]


@pytest.mark.parametrize(
    ("dtype", "data"), [("float16", "wide"), ("bfloat16", "normal"), ("complex64", "uniform"), ("int8", "extremes")]
)
@pytest.mark.parametrize("layout", ["last", "fortran", "reversed", "strided", "offset", "readonly", "broadcast"])
@pytest.mark.parametrize("sizes", ["n=2 c=3 o=4 x=5 k=2", "n=1 c=2 o=1 x=1 k=2 p=1"])  # strides of size 1 count, too
def test_operands_are_written_out_bit_for_bit_in_their_layout(dtype: str, data: str, layout: str, sizes: str) -> None:
    case = Case.parse(f"{sizes} member=conv dtype={dtype} data={data} layout=x:{layout},w:{layout}")
    text = script("nobody", "numpy", case)
    lines = [line for line in text.splitlines() if line.startswith(("import", "a =", "w ="))]
    made: dict[str, Any] = {}
    exec("\n".join(lines), made)
    from arrconv_conformance.claims import Claim
    from arrconv_conformance.question import Question

    arrays = Question(case, Claim(None, (dtype,))).arrays
    for letter, array in zip("aw", arrays, strict=False):
        assert array is not None
        assert made[letter].dtype == array.dtype
        assert made[letter].tobytes() == array.tobytes()
        if layout in ("last", "fortran", "broadcast"):
            assert made[letter].strides == array.strides
        assert made[letter].flags.c_contiguous == array.flags.c_contiguous or layout == "readonly"
        assert made[letter].flags.writeable == array.flags.writeable


def test_a_number_that_is_not_finite_is_written_out() -> None:
    case = Case.parse("n=1 c=1 o=1 x=3 k=1 member=conv dtype=float64 data=inf bias=none")
    text = script("nobody", "numpy", case)
    assert "np.inf" in text
    got, exactly = printed(text)
    assert np.array_equal(got, exactly, equal_nan=True)


def test_a_wrong_call_says_so() -> None:
    case = Case.parse("n=1 c=1 o=1 x=3 k=1 member=conv dtype=float64 data=ones wrong=stride")
    text = script("torch", "torch", case)
    assert "stride=(0,)" in text
    assert text.splitlines()[-1] == 'print("but the call is wrong: stride")'
