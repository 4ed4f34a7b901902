"""The rows of products of single elements against the index loop's list of products; and which input a position reads.

Every number of an array is its own label, so that equal products are equal pairs of indices.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import array_api_strict
import numpy as np
import oracle
import pytest
from geometries import random_geometries, transposable_geometries

from arrconv import Geometry
from arrconv.axis import Axis
from arrconv.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERANDS = {"y": "xw", "x": "wy", "w": "xy"}
MODES = ["zeros", "circular", "reflect", "replicate"]
BY_HAND = [
    "c=6 o=4 g=2 x=5 k=3 s=2 p=7:4 d=2 mode=circular",  # no batch, amounts larger than the axis
    "n=3 c=2 o=1 x=2 k=3 p=9:5 mode=reflect",
    "n=2 c=3 o=6 g=3 x=1 k=2 s=3 p=5:4 mode=reflect",
    "n=2 c=1 o=3 x=3,4 k=2,3 s=1,3 p=4:6,5:0 d=3,1 mode=replicate",
    "n=2 c=4 o=6 g=2 x=9,7 k=2,3 s=3,2 p=-2:-1,-1:3",  # cropped
    "n=2 c=1 o=2 x=4 k=2 s=3 p=6:5",  # some windows see nothing
    "n=2 c=3 o=5 x=8 k=2 s=5",  # inputs that nothing reads
    "n=3 c=4 o=2 g=2 x=- k=- s=- p=- d=-",
]
EMPTY = [
    "n=0 c=2 o=3 x=5 k=2",
    "n=2 c=0 o=3 x=5 k=2",
    "n=2 c=2 o=0 x=5 k=2",
    "n=2 c=2 o=3 x=3 k=5",  # no output
    "n=2 c=2 o=3 x=0 k=2 p=2:1",  # outputs of nothing but padding
    "c=2 o=3 x=0 k=1",
]


def shapes(g: Geometry) -> dict[str, tuple[int, ...]]:
    return {"x": g.input_shape, "w": g.weight_shape, "y": g.output_shape}


def labels(shape: tuple[int, ...]) -> np.ndarray:
    """1, 2, 3, …"""
    return np.arange(1.0, math.prod(shape) + 1).reshape(shape)


def expected(g: Geometry) -> dict[str, dict[int, Counter[tuple[int, int]]]]:
    """For each direction the pairs of labels that are multiplied in each element, by its flat index."""
    found: dict[str, dict[int, Counter[tuple[int, int]]]] = {name: defaultdict(Counter) for name in OPERANDS}
    sizes = shapes(g)
    strides = {name: np.cumprod([1, *shape[:0:-1]])[::-1].tolist() for name, shape in sizes.items()}
    for indices in oracle.products(sizes["x"], sizes["w"], sizes["y"], **g.options):
        if indices[0] is not None:
            flat = {
                name: sum(i * step for i, step in zip(index, strides[name], strict=True))
                for name, index in zip("xwy", indices, strict=True)
            }
            for direction, (first, second) in OPERANDS.items():
                found[direction][flat[direction]][flat[first] + 1, flat[second] + 1] += 1
    return found


def rows(xp: Any, g: Geometry, direction: Any, elements: np.ndarray, width: int | None = None) -> tuple[Rows, Any, Any]:
    """The rows of some elements, and their factors, put together from pieces of a width."""
    made = Rows.of(xp, g, direction, xp.asarray(elements))
    first, second = (xp.asarray(labels(shapes(g)[name])) for name in OPERANDS[direction])
    step = max(1, made.length if width is None else width)
    pieces = [
        made.factors(first, second, start, min(start + step, made.length)) for start in range(0, made.length, step)
    ]
    pieces = pieces or [made.factors(first, second, 0, 0)]
    a, b = (np.concatenate([np.asarray(getattr(p, side)) for p in pieces], 1) for side in ("first", "second"))
    return made, a, b


def check_rows(g: Geometry) -> int:
    """Fail unless every element's row has the oracle's products and nothing else but zeros; how many there are."""
    wanted, count = expected(g), 0
    for direction in OPERANDS:
        size = math.prod(shapes(g)[direction])
        made, a, b = rows(np, g, direction, np.arange(size))
        assert a.shape == b.shape == (size, made.length)
        assert made.length <= g.products(direction)  # as many bits are kept free for
        for element, pairs in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
            got = Counter((p, q) for p, q in zip(*pairs, strict=True) if p and q)
            assert got == wanted[direction][element], (str(g), direction, element)
            count += got.total()
    return count


def test_every_row_holds_the_products_of_its_element() -> None:
    geometries = [g.batched() for g in random_geometries(36, seed=1)]
    assert {g.padding_mode for g in geometries} == set(MODES)
    assert sum(map(check_rows, geometries)) > 50_000


def test_rows_of_what_can_be_transposed() -> None:
    assert sum(check_rows(g.batched()) for g in transposable_geometries(15, seed=2)) > 15_000


@pytest.mark.parametrize("text", BY_HAND)
def test_rows_of_geometries_with_something_special(text: str) -> None:
    assert check_rows(Geometry.parse(text).batched()) > 0


def test_rows_of_fewer_outputs_than_the_sizes_imply() -> None:
    g = Geometry.parse("n=2 c=2 o=3 x=11 k=3 s=2 p=2:1 d=2")
    (axis,) = g.axes
    assert check_rows(replace(g, axes=(replace(axis, output_size=axis.output_size - 2),))) > 0


@pytest.mark.parametrize("direction", OPERANDS)
@pytest.mark.parametrize("text", EMPTY)
def test_rows_of_nothing(text: str, direction: str) -> None:
    g = Geometry.parse(text).batched()
    if size := math.prod(shapes(g)[direction]):  # or there is no element that could have a row
        made, a, b = rows(np, g, direction, np.arange(size))
        assert a.shape == b.shape == (size, made.length)
        assert not (a * b).any()


@pytest.mark.parametrize("direction", OPERANDS)
def test_some_elements_in_any_order_have_the_rows_that_they_have_among_all(direction: str) -> None:
    rng = np.random.default_rng(3)
    for g in (g.batched() for g in random_geometries(12, seed=4)):
        size = math.prod(shapes(g)[direction])
        _, a, b = rows(np, g, direction, np.arange(size))
        for some in (rng.permutation(size)[: size // 2], rng.integers(0, size, 5), np.arange(0)):
            _, p, q = rows(np, g, direction, some)
            assert np.array_equal(p * q, (a * b)[some])
            assert np.array_equal(p, a[some])


@pytest.mark.parametrize("direction", OPERANDS)
def test_pieces_of_any_width_agree_with_the_whole(direction: str) -> None:
    for g in (g.batched() for g in random_geometries(8, seed=5)):
        elements = np.random.default_rng(6).integers(0, math.prod(shapes(g)[direction]), 7)
        made, a, b = rows(np, g, direction, elements)
        for width in {1, 2, 3, 7, max(1, made.length - 1), made.length + 5}:
            _, p, q = rows(np, g, direction, elements, width)
            assert np.array_equal(p, a)
            assert np.array_equal(q, b)


@pytest.mark.parametrize("direction", OPERANDS)
@pytest.mark.parametrize("text", BY_HAND)
def test_another_library_has_the_same_rows(text: str, direction: str) -> None:
    g = Geometry.parse(text).batched()
    elements = np.arange(math.prod(shapes(g)[direction]))[::-2]
    _, *ours = rows(np, g, direction, elements)
    _, *theirs = rows(array_api_strict, g, direction, elements, 4)
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_judge_counts_what_is_missing_and_what_is_twice() -> None:
    """By hand: y_l = Σ w_k · x_(l + k − 1) over two inputs of a circle reads each input more than once."""
    found = expected(Geometry.parse("n=1 c=1 o=1 x=2 k=3 p=1:1 mode=circular"))
    assert found["y"] == {0: {(2, 1): 1, (1, 2): 1, (2, 3): 1}, 1: {(1, 1): 1, (2, 2): 1, (1, 3): 1}}
    assert found["x"] == {1: {(1, 1): 1, (3, 1): 1, (2, 2): 1}, 0: {(2, 1): 1, (1, 2): 1, (3, 2): 1}}
    assert found["w"] == {0: {(2, 1): 1, (1, 2): 1}, 1: {(1, 1): 1, (2, 2): 1}, 2: {(2, 1): 1, (1, 2): 1}}


# Which input each padded position reads


def source(i: int, n: int, mode: str) -> int | None:
    """m(i), literally."""
    if mode == "circular":
        return i % n
    if mode == "replicate":
        return min(max(i, 0), n - 1)
    if mode == "reflect":
        there_and_back = [*range(n), *range(n - 2, 0, -1)]
        return there_and_back[i % len(there_and_back)]
    return i if 0 <= i < n else None


def axes(mode: str) -> Iterator[Axis]:
    """Sizes with all amounts up to several times the size; with zeros, below nothing, too."""
    lowest = -7 if mode == "zeros" else 0
    for size in range(0 if mode == "zeros" else 1, 7):
        for begin, end in product(range(lowest, 20), repeat=2):
            yield Axis(size, 2, 3, 1, begin, end, output_size=1)


@pytest.mark.parametrize("mode", MODES)
def test_sources_are_the_map_of_the_mode_position_by_position(mode: str) -> None:
    seen: set[int] = set()
    for axis in axes(mode):
        wanted = [source(i, axis.input_size, mode) for i in range(-axis.begin, axis.input_size + axis.end)]
        assert list(axis.sources(mode)) == wanted, axis
        assert len(wanted) == axis.padded_size
        seen.add(len(wanted))
    assert {0, 1, 44} <= seen | ({0} if mode != "zeros" else set())


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_axis_without_padding_has_no_sources(mode: str) -> None:
    assert list(Axis(0, 1, 1, 1, 0, 0, output_size=0).sources(mode)) == []


def test_sources_by_hand() -> None:
    axis = Axis(3, 1, 1, 1, 5, 4, output_size=12)
    assert list(axis.sources("zeros")) == [None] * 5 + [0, 1, 2] + [None] * 4
    assert list(axis.sources("circular")) == [1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert list(axis.sources("reflect")) == [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]
    assert list(axis.sources("replicate")) == [0, 0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2]
    assert list(replace(axis, begin=-2, end=1).sources("zeros")) == [2, None]
