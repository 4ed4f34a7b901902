"""Claims: what an adapter is held to for each dtype, said or unsaid."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from arrconv_conformance.claims import Claim, ClaimsError

from arrconv import Arithmetic


def claim(dtype: str, claims: Any = None) -> Claim:
    adapter = SimpleNamespace(name="mine", version="1")
    if claims is not None:
        adapter.claims = claims
    return Claim.of(adapter, dtype)


@pytest.mark.parametrize(
    ("dtype", "arithmetic"),
    [
        ("float64", ("float64", "float64", "float64")),
        ("float32", ("float32", "float32", "float32")),
        ("float16", ("float16", "float32", "float16")),
        ("bfloat16", ("bfloat16", "float32", "bfloat16")),
        ("complex64", ("float32", "float32", "float32")),
        ("complex128", ("float64", "float64", "float64")),
    ],
)
@pytest.mark.parametrize("others", [None, {}, {"int8": "wraps"}])
def test_what_is_claimed_by_saying_nothing(dtype: str, arithmetic: tuple[str, str, str], others: Any) -> None:
    assert claim(dtype, others) == Claim(Arithmetic(*arithmetic), (dtype,))


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8"])
def test_integers_are_exact_in_64_bits_or_in_their_own(dtype: str) -> None:
    assert claim(dtype) == claim(dtype, {}) == claim(dtype, {dtype: "int64"}) == Claim(None, ("int64",))
    assert claim(dtype, {dtype: "wraps"}) == Claim(None, (dtype,))
    for nothing in ("float32", 64, {"accumulate": "float32"}):
        with pytest.raises(ClaimsError, match=rf"mine: claims\['{dtype}'\] must be 'int64' or 'wraps', but is"):
            claim(dtype, {dtype: nothing})


@pytest.mark.parametrize(
    ("dtype", "given", "arithmetic", "outputs"),
    [
        ("float32", {"input": "tf32"}, Arithmetic("tf32", "float32", "float32"), ("float32",)),
        ("float32", {"input": "bfloat16"}, Arithmetic("bfloat16", "float32", "float32"), ("float32",)),
        ("float16", {"accumulate": "float16"}, Arithmetic("float16", "float16", "float16"), ("float16",)),
        ("bfloat16", {"output": "float32"}, Arithmetic("bfloat16", "float32", "float32"), ("bfloat16", "float32")),
        ("float64", {"accumulate": "float32"}, Arithmetic("float64", "float32", "float64"), ("float64",)),
        ("complex64", {"accumulate": "float64"}, Arithmetic("float32", "float64", "float32"), ("complex64",)),
        (
            "float32",
            {"flushes_subnormals": True},
            Arithmetic("float32", "float32", "float32", flushes_subnormals=True),
            ("float32",),
        ),
        ("float32", {}, Arithmetic("float32", "float32", "float32"), ("float32",)),
    ],
)
def test_what_is_claimed_replaces_part_of_it(
    dtype: str, given: dict[str, Any], arithmetic: Arithmetic, outputs: tuple[str, ...]
) -> None:
    assert claim(dtype, {dtype: given}) == Claim(arithmetic, outputs)
    assert claim("float32" if dtype != "float32" else "float64", {dtype: given}).arithmetic != arithmetic


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ("tf32", "mine: claims must be a dictionary by dtype, but is 'tf32'"),
        (["float32"], "mine: claims must be a dictionary by dtype, but is"),
        ({"float32": {"input": "float8"}}, r"mine: claims\['float32'\] = {'input': 'float8'}: 'float8' is no known"),
        ({"float32": {"inputs": "tf32"}}, r"mine: claims\['float32'\] = {'inputs': 'tf32'}: .*inputs"),
        ({"float32": {"input": None}}, r"mine: claims\['float32'\] = .*None is no known format"),
        ({"float32": {"output": "tf32"}}, r"mine: claims\['float32'\] = .*there are no arrays of tf32"),
        ({"float32": "tf32"}, r"mine: claims\['float32'\] = 'tf32': "),
        ({"float32": 3}, r"mine: claims\['float32'\] = 3: "),
    ],
)
def test_claims_that_mean_nothing_are_refused(claims: Any, message: str) -> None:
    with pytest.raises(ClaimsError, match=message):
        claim("float32", claims)
