"""Where numbers that are not finite must appear in exact results, and where they may, by a loop in floating point."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import pytest
from arrconv_conformance import Case
from arrconv_conformance.exact import Exact, Products, exact_result
from arrconv_conformance.members import MEMBERS
from arrconv_conformance.question import operands_of
from family import RESULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrconv import Geometry

MODES = ("zeros", "circular", "reflect", "replicate")
SUMS = [
    (name, mode)
    for name, result in RESULTS.items()
    for mode in MODES
    if result != "bias" and (mode == "zeros" or not name.startswith("conv_transpose"))
]


def exact(geometry: Geometry, name: str, operands: dict[str, Any]) -> Exact:
    result: Any = RESULTS[name]
    return exact_result(geometry, Products.of(geometry), MEMBERS[name], result, operands)  # type: ignore[arg-type]


def operands(geometry: Geometry, name: str, dtype: str, data: str) -> dict[str, Any]:
    return dict(operands_of(Case(geometry, member=name, dtype=dtype, data=data)))


def terms(geometry: Geometry, name: str, given: dict[str, Any]) -> Iterator[tuple[Any, float, bool]]:
    """Each product of a member as (its place in the result, its value in floating point, whether it is of padding)."""
    shapes = (geometry.input_shape, geometry.weight_shape, geometry.output_shape)
    for indices in oracle.products(*shapes, **geometry.options):  # type: ignore[misc]
        at = dict(zip(("x", "w", "y"), indices, strict=True))
        first, second = (role for role in ("x", "w", "y") if role != RESULTS[name])
        if at[RESULTS[name]] is None:
            continue
        value = 1.0
        for role in (first, second):
            value *= 0.0 if at[role] is None else given[role][at[role]].item()
        yield at[RESULTS[name]], value, None in at.values()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("name", "mode"), SUMS)
def test_what_is_not_finite_goes_where_floating_point_takes_it(name: str, mode: str, value: float) -> None:
    geometry = Case.parse(f"n=2 c=2 o=4 g=2 x=4,3 k=2,3 s=2,1 p=2:1,1 mode={mode}").geometry
    rng = np.random.default_rng(len(name))
    counts: dict[str, int] = defaultdict(int)
    for role in MEMBERS[name].factors(RESULTS[name]) * 4:  # type: ignore[arg-type]
        made = operands(geometry, name, "float64", "integers")
        made[role].flat[rng.integers(made[role].size)] = value
        found = exact(geometry, name, made)
        assert found.special is not None
        assert found.padded is not None
        inside, padded = np.full(found.high.shape, 0.0, object), np.zeros(found.high.shape, bool)
        for place, term, of_padding in terms(geometry, name, made):
            if of_padding:
                padded[place] |= math.isnan(term)
            else:
                inside[place] += term
        wanted = inside.astype(float)
        assert np.array_equal(found.special, np.where(np.isfinite(wanted), 0.0, wanted), equal_nan=True)
        assert np.array_equal(found.padded, padded)
        finite = {role: np.where(np.isfinite(array), array, 0) for role, array in made.items()}
        without = exact(geometry, name, finite)
        assert np.array_equal(found.high, without.high)
        counts["special"] += np.count_nonzero(found.special)
        counts["finite"] += np.count_nonzero((found.special == 0) & ~found.padded)
        counts["padded"] += np.count_nonzero(found.padded)
    assert counts["special"]
    assert counts["finite"]
    assert bool(counts["padded"]) == (mode == "zeros" and RESULTS[name] != "x")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_goes_into_the_gradient_of_its_channel(value: float) -> None:
    geometry = Case.parse("n=2 c=3 o=4 x=5 k=2").geometry
    for name, role in (("conv_grad_bias", "y"), ("conv_transpose_grad_bias", "x")):
        made = operands(geometry, name, "float32", "ones")
        made[role][1, 2, 3] = value
        found = exact(geometry, name, made)
        wanted = np.zeros(made[role].shape[1])
        wanted[2] = value
        assert found.special is not None
        assert np.array_equal(found.special, wanted, equal_nan=True)
        assert found.padded is not None
        assert not found.padded.any()


def test_infinities_of_both_signs_and_zeros_make_nan() -> None:
    geometry = Case.parse("n=1 c=3 o=3 x=- k=-").geometry
    x = np.array([[math.inf, math.inf, 1.0]])
    w = np.array([[1.0, -1.0, 2.0], [2.0, 3.0, 0.0], [0.0, -5.0, 4.0]])
    found = exact(geometry, "conv", {"x": x, "w": w})
    assert found.special is not None
    assert repr(found.special.tolist()) == "[[nan, inf, nan]]"


def test_finite_products_are_finite_however_large_their_sum_becomes_on_the_way() -> None:
    """Beside a NaN elsewhere, what floating point makes of finite numbers does not count."""
    geometry = Case.parse("n=2 c=3 o=1 x=- k=-").geometry
    top = 2.0**1023
    found = exact(geometry, "conv", {"x": np.array([[math.nan, 0, 0], [top, top, -top]]), "w": np.ones((1, 3))})
    assert found.special is not None
    assert repr(found.special.tolist()) == "[[nan], [0.0]]"
    assert found.high[1, 0] == top


@pytest.mark.parametrize("part", [complex(math.nan, 0), complex(0, math.inf), complex(math.inf, math.nan)])
def test_a_complex_result_is_not_finite_where_either_part_of_a_factor_is_not(part: complex) -> None:
    geometry = Case.parse("n=2 c=2 o=3 x=5 k=2 p=1").geometry
    made = operands(geometry, "conv", "complex64", "ones")
    made["w"][2, 1, 0] = part
    found = exact(geometry, "conv", made)
    assert found.special is not None
    assert found.padded is not None
    assert np.isnan(found.special[:, 2, 1:]).all()
    assert not found.special[:, 2, 0].any()  # its only product with this weight is one of the padding
    assert found.padded[:, 2].tolist() == [[True] + [False] * 5] * 2
    assert not found.special[:, :2].any()
    assert not found.padded[:, :2].any()
