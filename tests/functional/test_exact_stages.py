"""algorithm="exact" takes the stages it should: few contractions for nearly all elements, rows for what is left.

Whatever the way, every number is compared with the exact one; and the data here show when it is left too early.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import array_api_strict
import numpy as np
import pytest
import rational
from hard_sums import dot_products, draw, matrix_products, reals
from rational import FORMATS, Case, bits, rounded_bits

import arrconv
from arrconv import Geometry
from arrconv.bounds import FORMATS as BINARY
from arrconv.functional import exact, rowwise
from arrconv.functional.calls import call_of
from arrconv.functional.orders import RealSum
from arrconv.rows import Rows
from arrconv.settling import Nearest, Parts, Settled

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = [2.0**60, 1.0, 2.0**-53, 2.0**-110, -(2.0**60)]


class Stages:
    """What was done since the last `clear`."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.contractions = self.pieces = 0
        self.rows: list[int] = []
        self.integers: list[int] = []


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    """Counts contractions, pieces of rows, and which elements went to rows and to Python's integers."""
    seen = Stages()

    def before(owner: Any, name: str, note: Callable[..., None]) -> None:
        original = getattr(owner, name)

        def noted(*args: Any) -> Any:
            note(*args)
            return original(*args)

        monkeypatch.setattr(owner, name, noted)

    def count(name: str) -> Callable[..., None]:
        return lambda *_: setattr(seen, name, getattr(seen, name) + 1)

    before(RealSum, "contract", count("contractions"))
    before(Rows, "factors", count("pieces"))
    before(exact, "settle_rows", lambda *args: seen.rows.extend(np.asarray(args[2]).tolist()))
    before(rowwise, "_in_integers", lambda *args: seen.integers.extend(np.asarray(args[2]).tolist()))
    return seen


def check(case: Case) -> np.ndarray:
    """The result of a member that returns one array, once it is seen to be correctly rounded."""
    got = case.run(algorithm="exact")
    assert not rational.case_faults(case, got), (case.member, rational.case_faults(case, got)[:3])
    return got[0]


def row_sums(a: np.ndarray, b: np.ndarray) -> Case:
    """The sum of each row of a·b, in one call."""
    return next(dot_products(a, b))


def hard_rows(
    rng: np.random.Generator, rows: int, terms: int, below: int, digits: int = 53
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that begin with a number and half of its last place, and have one more bit so far below the first."""
    a, b = np.zeros((2, rows, terms))
    a[:, 0] = rng.choice([1, 1 + 2.0 ** (1 - digits), 1.5], rows)
    a[:, 1], a[:, 2] = 2.0**-digits, rng.choice([-1, 1], rows) * 2.0 ** -(below // 2)
    b[:, :2], b[:, 2] = 1, 2.0 ** -(below - below // 2)
    return a, b


# What is usual


@pytest.mark.parametrize("dtype", [*FORMATS, "complex64", "complex128"])
def test_small_integers_take_one_contraction(dtype: str, stages: Stages) -> None:
    """Of each pair of real parts, whatever the dtype; some sums are zero, and these settle, too."""
    is_complex = dtype in rational.PARTS
    g = Geometry.parse("n=2 c=4 o=6 g=2 x=11,7 k=3,2 s=2,1 p=1:2,0:1 d=1,2")
    for case in rational.cases(g, draw(np.random.default_rng(1), g, dtype, "integers")):
        stages.clear()
        got = case.run(algorithm="exact")
        assert not rational.case_faults(case, got), case.member
        products = {"conv_grad_bias": 2 if is_complex else 1, "conv_backward": 10 if is_complex else 3}
        products["conv_transpose_backward"] = products["conv_backward"]
        assert stages.contractions == products.get(case.member, 4 if is_complex else 1), case.member
        assert stages.rows == [], case.member


@pytest.mark.parametrize(("dtype", "most"), [("float16", 3), ("bfloat16", 3), ("float32", 3), ("float64", 6)])
def test_normal_numbers_take_few_contractions(dtype: str, most: int, stages: Stages) -> None:
    rng = np.random.default_rng(2)
    a, b = (reals(rng, shape, dtype, "normal", 0) for shape in ((40, 64), (64, 50)))
    for case in matrix_products(a, b):
        stages.clear()
        check(case)
        assert 1 <= stages.contractions <= most, case.member
        assert len(stages.rows) <= 2


def test_many_elements_without_any_product_settle_without_rows(stages: Stages) -> None:
    """Zeros in the data, and outputs of a transposed convolution that no input reaches."""
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 300, 64))
    a[rng.permutation(300)[:150]] = 0
    case = next(matrix_products(a, b[:90].T))
    got = check(case)
    assert np.count_nonzero(got == 0) == 150 * 90
    assert stages.rows == []
    assert stages.contractions <= 7  # one of them tells where there are no products
    y, w = rng.standard_normal((1, 64, 900)), rng.standard_normal((64, 1, 2))
    stages.clear()
    got = arrconv.conv_transpose(y, w, stride=4, algorithm="exact")
    assert np.count_nonzero(got) == 1800
    assert got.size == 3598
    assert not np.signbit(got[got == 0]).any()
    assert stages.rows == []


# What is hard


@pytest.mark.parametrize(("dtype", "most", "others"), [("float32", 3, 0), ("float64", 6, 20)])
def test_a_few_unsettled_elements_go_to_rows_and_only_these(dtype: str, most: int, others: int, stages: Stages) -> None:
    """For float64 it may cost less to look early, and leave some more to the rows."""
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((2, 2000, 10))
    hard = np.sort(rng.choice(2000, 7, replace=False))
    a[hard], b[hard] = hard_rows(rng, 7, 10, 110, FORMATS[dtype].precision)
    check(row_sums(a.astype(dtype), b.astype(dtype)))
    assert set(hard.tolist()) <= set(stages.rows)
    assert len(stages.rows) <= 7 + others
    assert stages.contractions <= most
    assert stages.integers == []


def test_many_unsettled_elements_go_to_the_next_order(stages: Stages) -> None:
    """A look at more slices costs less than so many rows."""
    rng = np.random.default_rng(5)
    a, b = hard_rows(rng, 1500, 64, 110)
    check(row_sums(a, b))
    assert stages.rows == []
    assert stages.contractions > 6
    stages.clear()
    check(row_sums(a[:100], b[:100]))  # few of them, and no other elements
    assert len(stages.rows) == 100


def test_what_is_exactly_a_tie_is_settled_once_nothing_is_left(stages: Stages) -> None:
    rng = np.random.default_rng(6)
    a, b = hard_rows(rng, 1500, 64, 110)
    a[:, 2] = 0
    got = check(row_sums(a, b))
    assert set(got.reshape(-1).tolist()) == {1.0, 1 + 2.0**-51, 1.5}
    assert stages.rows == []


@pytest.mark.parametrize("rows", [20, 400])
def test_wide_data_go_to_rows(rows: int, stages: Stages) -> None:
    rng = np.random.default_rng([7, rows])
    a, b = rng.choice([-1, 1], (2, rows, 6)) * 10.0 ** rng.uniform(-300, 300, (2, rows, 6))
    case = row_sums(a, b)
    check(case)
    assert len(stages.rows) > rows / 2
    parts = case.parts()
    assert not rational.part_faults(case, parts)
    for way in matrix_products(a[:20], b[:8].T):
        stages.clear()
        check(way)
        assert len(stages.rows) > 80


@pytest.mark.parametrize("width", [1, 3, 20, 1000])
def test_rows_in_pieces_are_as_those_at_once(width: int, stages: Stages) -> None:
    """The workspace has room for so many products: parts of a row, one row, or some."""
    rng = np.random.default_rng(8)
    a, b = rng.choice([-1, 1], (2, 8, 5)) * 10.0 ** rng.uniform(-300, 300, (2, 8, 5))
    c, d = hard_rows(rng, 8, 5, 1500)
    g = Geometry.parse("n=1 c=2 o=2 x=3 k=2 s=2 p=3:2 mode=circular")
    dtypes = ["float64", "complex128"] if width == 3 else ["float64"]
    cases = [case for dtype in dtypes for case in rational.cases(g, draw(rng, g, dtype, "full-range"))]
    for case in [row_sums(np.concatenate([a, c]), np.concatenate([b, d])), *cases]:
        stages.clear()
        at_once, pieces = case.run(algorithm="exact"), stages.pieces
        stages.clear()
        with arrconv.limits(workspace=256 * width):
            got = case.run(algorithm="exact")
        assert not rational.case_faults(case, got)
        assert [array.tobytes() for array in got] == [array.tobytes() for array in at_once]
        assert stages.pieces > pieces > 0 or width > 3 or case.member == "conv_grad_bias"
    with arrconv.limits(workspace=256 * width):
        assert not rational.part_faults(cases[0], cases[0].parts())


@pytest.mark.parametrize("kind", ["normal", "half-range", "subnormal", "cancelling", "ties", "powers", "longest"])
def test_rows_alone_are_right(kind: str) -> None:
    """Nothing is left to them that they could not do; the longest numbers of one sign fill all bits of their sums."""
    rng, shapes = np.random.default_rng(14), [(7, 128), (128, 5)]
    a, b = (reals(rng, shape, "float64", kind, at) for at, shape in enumerate(shapes))
    if kind == "longest":
        a, b = (np.full(shape, 2 - 2.0**-20) - rng.integers(0, 2000, shape) * 2.0**-52 for shape in shapes)
    for case in matrix_products(a, b):
        call: Any = call_of(case.member, case.arrays, case.options)
        (total,) = call.real_sums()
        settled = rowwise.settle_rows(total, Nearest(BINARY["float64"]), total.elements)
        assert bool(settled.certain.all())
        assert not rational.case_faults(case, [settled.numbers[0].reshape(call.shape)])
        high, low = (part.reshape(call.shape) for part in rowwise.settle_rows(total, Parts(), total.elements).numbers)
        assert not rational.part_faults(case, [(high, low)])


def test_integers_only_where_bits_beyond_960_places_decide(stages: Stages) -> None:
    top, tiny = 2.0**500, 2.0**-500
    rows = {
        "a tie, decided 2000 places below": ([top, top * 2.0**-53, tiny], [top, top, tiny], True),
        "the same, the other way": ([top, top * 2.0**-53, -tiny], [top, top, tiny], True),
        "what is left when all else has cancelled": ([top, -top, tiny], [top, top, tiny], True),
        "no tie": ([top, top * 2.0**-54, tiny], [top, top, tiny], False),
        "a tie, decided 953 places below": ([top, top * 2.0**-53, 2.0**24], [top, top, 2.0**23], False),
        "a tie, and nothing else": ([top, top * 2.0**-53, 0.0], [top, top, tiny], False),
        "nothing large": ([tiny, tiny * 2.0**-53, tiny * 2.0**-400], [tiny, tiny, tiny], False),
    }
    a, b = (np.asarray([row[side] for row in rows.values()]) for side in (0, 1))
    expected = [2.0**1000 * (1 + 2.0**-52), 2.0**1000, 2.0**-1000, 2.0**1000, 2.0**1000 * (1 + 2.0**-52), 2.0**1000]
    for factor in (1.0, -1.0):
        stages.clear()
        got = check(row_sums(factor * a, b))
        assert got.reshape(-1).tolist()[:6] == [factor * value for value in expected]
        assert stages.integers == [number for number, row in enumerate(rows.values()) if row[2]]
    stages.clear()
    case = row_sums(a, b)
    assert not rational.part_faults(case, case.parts())
    assert set(stages.integers) >= {0, 1, 2}
    with arrconv.limits(workspace=256):  # products one at a time
        check(case)


def test_what_rounds_to_zero_has_the_sign_of_the_sum() -> None:
    """Also where all that the first look knows of the sum would round to zero, too."""
    large, small = 2.0**-90, 2.0**-120
    a = np.asarray([[large, large, small], [large, large, -small], [large * (1 + 2.0**-23)] * 3], "float32")
    got = check(row_sums(a, np.asarray([[large, -large, small]] * 2 + [[large] * 3], "float32")))
    assert not got.any()
    assert np.signbit(got).tolist() == [[False, True, False]]


def test_what_scaling_loses_is_not_lost(stages: Stages) -> None:
    """Next to a number so large the others become zero once all are scaled."""
    tiny = 3 * 2.0**-1074
    a = np.asarray([[2.0**1000, 0.0], [tiny, 0.0], [0.0, -tiny], [0.0, 0.0], [2.0**1000, tiny]])
    for case in dot_products(a, np.ones((5, 2))):
        stages.clear()
        check(case)
        assert {1, 2} <= set(stages.rows)


def test_a_bias_out_of_range_goes_to_rows_with_all_its_elements(stages: Stages) -> None:
    """Beyond 2^900, or below what is left of float64 once the operands are scaled."""
    rng = np.random.default_rng(9)
    g = Geometry.parse("n=2 c=2 o=3 x=5 k=2")
    x, w, gy, _, back = (rng.standard_normal(shape) for shape in rational.shapes(g))
    for scale, bias in ((1.0, [1e300, 1.0, -1e300]), (1e200, [5e-324, 1.0, 1e200]), (1e-150, [1.0, 1e308, 0.0])):
        stages.clear()
        made = list(rational.cases(g, [scale * x, w, gy, np.asarray(bias), back]))
        check(made[1])
        assert len(made[1].arrays) == 3
        assert stages.rows == list(range(math.prod(g.output_shape)))


Arrays = tuple[np.ndarray, np.ndarray]
EMPTY: dict[str, tuple[str, Arrays, dict[str, Any]]] = {
    "outputs of nothing but padding": ("conv", (np.zeros((1, 1, 0)), np.ones((1, 1, 2))), {"padding": 2}),
    "no batch": ("conv", (np.zeros((0, 1, 5)), np.ones((1, 1, 2))), {}),
    "no channels": ("conv", (np.zeros((1, 0, 5)), np.ones((1, 0, 2))), {}),
    "nothing to lay down": ("conv_transpose", (np.zeros((1, 1, 0)), np.ones((1, 1, 5))), {}),
    "nothing left": ("conv_transpose", (np.zeros((1, 1, 1)), np.ones((1, 1, 2))), {"padding": 1}),
}


@pytest.mark.parametrize("bias", [1.0, 1e300])
@pytest.mark.parametrize("name", EMPTY)
def test_a_bias_of_any_size_is_the_sum_of_nothing(name: str, bias: float) -> None:
    member, arrays, options = EMPTY[name]
    call = getattr(arrconv, member)
    got, ordinary = (call(*arrays, np.asarray([bias]), algorithm=way, **options) for way in ("exact", "taps"))
    assert got.shape == ordinary.shape
    assert np.array_equal(got, np.full(got.shape, bias))


@pytest.mark.parametrize("case", ["n=2 c=1 o=67 x=1 k=1 p=1:-1", "n=3 c=2 o=4 x=1,5 k=2,3 s=3,2 p=-1:4,1:0"])
@pytest.mark.parametrize("dtype", ["float16", "float64", "complex64"])
def test_inputs_that_are_cropped_away_get_nothing(case: str, dtype: str) -> None:
    """Where nothing meets, there are no products at all, not even those with a zero."""
    g = Geometry.parse(case)
    w, gy = np.ones(g.weight_shape, dtype), np.ones(g.output_shape, dtype)
    got = arrconv.conv_grad_input(w, gy, input_size=g.input_size, algorithm="exact", **g.options)
    assert got.dtype == dtype
    assert not got.view(np.uint8).any()
    high, low = arrconv.exact_parts("conv_grad_input", w, gy, input_size=g.input_size, **g.options)
    assert not high.any()
    assert not low.any()


# Libraries


@pytest.mark.parametrize("name", ["strict", "torch"])
def test_other_libraries_take_every_stage_too(name: str, monkeypatch: pytest.MonkeyPatch, stages: Stages) -> None:
    library = array_api_strict if name == "strict" else pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(10)
    easy, hard = rng.standard_normal((2, 200, 12)), np.asarray(hard_rows(rng, 5, 12, 110))
    wide = 10.0 ** rng.uniform(-300, 300, (2, 10, 4))
    deep = np.asarray([[[2.0**500, 2.0**447, 2.0**-500]], [[2.0**500, 2.0**500, 2.0**-500]]])
    for few_products in (exact._FEW_PRODUCTS, 0):  # so few that rows are left to more orders
        monkeypatch.setattr(exact, "_FEW_PRODUCTS", few_products)
        stages.clear()
        for a, b in (np.concatenate([easy, hard], 1), wide, deep):
            case = row_sums(a, b)
            got = arrconv.conv(*map(library.asarray, case.arrays), groups=len(a), algorithm="exact")
            assert not rational.case_faults(case, [np.asarray(got)])
        assert (len(stages.rows) >= 16) == (few_products > 0)
        assert len(stages.integers) == 1


# What would be wrong otherwise


def near_ties(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The example in any order, and rows in which bits at many depths decide."""
    a, b = np.ones((2, 400, 8))
    a[:, 5:] = 0
    a[:100, :5] = [rng.permutation(EXAMPLE) for _ in range(100)]
    for row in range(100, 400):
        c, d = hard_rows(rng, 1, 8, int(rng.choice([60, 80, 100, 104, 105, 106, 107, 110, 140])))
        a[row], b[row] = c[0], d[0]
    return a, b


def wrong(case: Case) -> list[int]:
    """Which numbers of a result are not those that they should be."""
    (got,) = case.run(algorithm="exact")
    pairs = zip(bits(got), rounded_bits(case.exact[0], FORMATS["float64"]), strict=True)
    return [at for at, (mine, right) in enumerate(pairs) if mine != right]


def surely(function: Callable[..., Settled]) -> Callable[..., Settled]:
    """The same, but that all is said to be certain."""

    def sure(*args: Any) -> Settled:
        found = function(*args)
        return Settled(found.numbers, np.ones_like(found.certain))

    return sure


def test_the_first_look_alone_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    case = row_sums(*near_ties(np.random.default_rng(11)))
    assert wrong(case) == []
    monkeypatch.setattr(exact, "_bracketed", surely(exact._bracketed))
    found = wrong(case)
    assert min(found) < 100  # the example itself
    assert sum(at >= 100 for at in found) > 50


def test_the_second_look_alone_would_be_wrong(monkeypatch: pytest.MonkeyPatch, stages: Stages) -> None:
    case = row_sums(*hard_rows(np.random.default_rng(12), 1500, 64, 110))
    assert wrong(case) == stages.rows == []
    monkeypatch.setattr(exact, "_looked_at", surely(exact._looked_at))
    assert len(wrong(case)) > 300


def test_the_first_levels_of_rows_alone_would_be_wrong(monkeypatch: pytest.MonkeyPatch, stages: Stages) -> None:
    case = row_sums(*hard_rows(np.random.default_rng(13), 100, 8, 400))
    assert wrong(case) == []
    assert len(stages.rows) == 100
    original = rowwise._cut
    monkeypatch.setattr(rowwise, "_cut", lambda *args: replace(original(*args), missing=np.zeros(len(args[1].high))))
    assert len(wrong(case)) > 20
