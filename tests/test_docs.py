"""The Python blocks of the documentation run, and where two calls are said to be the same they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import arrconv

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize(
    "block",
    [*blocks("theory.md"), *blocks("numerics.md"), *blocks("training.md"), *blocks("operators.md"), *blocks("gpu.md")],
)
def test_derivations_run(block: str) -> None:
    exec(compile(block, "documentation", "exec"), {})
    assert "assert" in block or "def " in block


def torch_arrays() -> dict[str, Any]:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    generator = torch.Generator().manual_seed(0)

    def integers(*shape: int) -> Any:
        return torch.randint(-9, 10, shape, generator=generator).to(torch.float64)

    names = {"torch": torch, "arrconv": arrconv, "F": torch.nn.functional, "pairs": ((1, 2), (0, 3))}
    arrays = {"x": integers(2, 6, 9, 11), "w": integers(4, 3, 3, 2), "y": integers(2, 4, 5, 4)}
    return names | arrays | {"s": (2, 3), "d": (1, 2), "p": (1, 0), "q": (1, 2), "g": 2}


@pytest.mark.parametrize("name", ["y", "x"])
def test_pytorch_and_arrconv_take_the_same_arrays(name: str) -> None:
    calls = f"\n{name} = torch.nn.functional.conv"
    block = next(block for block in blocks("conventions.md") if calls in "\n" + block)
    first, second = block.strip().splitlines()
    scope = torch_arrays() | {
        "bias": torch_arrays()["x"][0, :4, 0, 0] if name == "y" else torch_arrays()["x"][0, :, 0, 0]
    }
    theirs, ours = dict(scope), dict(scope)
    exec(first, theirs)
    exec(second, ours)
    assert theirs["torch"].equal(theirs[name], ours[name])


def test_pytorch_pads_unequal_ends_like_arrconv() -> None:
    block = next(block for block in blocks("conventions.md") if "reversed(pairs)" in block)
    scope = torch_arrays() | {"bias": torch_arrays()["x"][0, :4, 0, 0]}
    exec(block, scope)
    ours = arrconv.conv(
        scope["x"], scope["w"], scope["bias"], stride=(2, 3), padding=scope["pairs"], dilation=(1, 2), groups=2
    )
    assert scope["torch"].equal(scope["y"], ours)
