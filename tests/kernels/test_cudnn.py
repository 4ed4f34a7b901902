"""cuDNN by its frontend, on a device where there is one, and with a stand-in for the package everywhere."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import cudnn_on_host
import numpy as np
import pytest
from cuda_cases import dtype_of
from cuda_on_host import Host
from cudnn_cases import CASES, DIRECTIONS, DTYPES, HALVES, served
from cudnn_on_host import ENGINES, Engine, Graph, numerical_note
from stand_in import STREAM, get, put, stand_in
from test_laws import Library, check, check_transposed, example, has_transpose, transposed_example

import arrconv
from arrconv import Geometry, OutOfMemoryError, UnsupportedError, explain
from arrconv._namespace import backend_of
from arrconv.kernels import cudnn, nvrtc, select
from arrconv.kernels.base import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("cudnn")  # so that one process alone compiles the kernels
ON_HOST = [
    f"direct<{ndim}, {rows}, {types}, int>"
    for ndims, kinds in (
        ((1, 2, 3), ("float, float, float", "double, double, double")),
        ((2,), ("Half, float, Half", "Bfloat, float, Bfloat")),
    )
    for ndim, rows, types in product(ndims, (1, 2, 3, 4), kinds)
]
EMPTY = ["n=0 c=2 o=3 x=5,4 k=2,2", "n=2 c=0 o=3 x=6,5 k=2,2", "n=2 c=5 o=6 x=3,2 k=2,4"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return Host(tmp_path_factory.mktemp("cuda"), ON_HOST)


@pytest.fixture
def on_host(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """Stand-ins for CuPy and for cuDNN, and the host for the device."""
    monkeypatch.setitem(sys.modules, "cudnn", cudnn_on_host.module())
    monkeypatch.setattr(nvrtc, "launch", host.launch)
    cudnn._plan.cache_clear()
    cudnn._handle.cache_clear()
    Graph.made.clear()
    library = Library("numpy-cudnn")
    library.put, library.get = put, get
    with stand_in():
        yield library
    cudnn._plan.cache_clear()
    cudnn._handle.cache_clear()


@pytest.fixture(params=["host", pytest.param("device", marks=pytest.mark.gpu)])
def library(request: pytest.FixtureRequest) -> Library:
    if request.param == "host":
        return request.getfixturevalue("on_host")
    pytest.importorskip("cudnn", reason="nvidia-cudnn-frontend is not installed")
    return Library("cupy-cudnn")


def arrays_of(g: Geometry, dtype: str) -> list[np.ndarray]:
    """x, w and y of whole numbers so small that no sum is rounded."""
    rng = np.random.default_rng(5)
    most = 1 if dtype in HALVES else 9
    shapes = (g.input_shape, g.weight_shape, g.output_shape)
    return [rng.integers(-most, most + 1, shape).astype(dtype_of(dtype)) for shape in shapes]


def results(g: Geometry, x: Any, w: Any, y: Any, algorithm: str = "cudnn") -> list[Any]:
    options: dict[str, Any] = {**g.options, "algorithm": algorithm}
    return [
        arrconv.conv(x, w, **options),
        arrconv.conv_grad_input(w, y, input_size=g.input_size, **options),
        arrconv.conv_grad_weight(x, y, kernel_size=g.kernel_size, **options),
    ]


def assert_right(library: Library, case: str, dtype: str = "float32") -> None:
    """What the literal loop makes of it, by way of the definition, which is held to it elsewhere."""
    g = Geometry.parse(case)
    arrays = arrays_of(g, dtype)
    found = results(g, *map(library.put, arrays))
    for got, right in zip(map(library.get, found), results(g, *arrays, algorithm="taps"), strict=True):
        assert (got.dtype, got.shape) == (right.dtype, right.shape)
        assert (got == right).all()


class InFloats(Library):
    """The numbers of `test_laws`, which are integers, in float64."""

    def __init__(self, library: Library) -> None:
        self.algorithm = library.algorithm
        self.put = lambda array: library.put(np.asarray(array, np.float64))
        self.get = lambda array: library.get(array).astype(np.int64)


def test_every_member_equals_the_index_loop(library: Library) -> None:
    rng = np.random.default_rng(3)
    geometries = list(served(40, seed=3))
    assert {g.ndim for g in geometries} == {1, 2, 3}
    for g in geometries:
        e = example(g, rng)
        check(InFloats(library), e)
        if has_transpose(g):
            check_transposed(InFloats(library), e, transposed_example(e, rng))


@pytest.mark.parametrize("case", [*CASES, *EMPTY])
def test_integers_are_right(case: str, library: Library) -> None:
    assert_right(library, case)


@pytest.mark.parametrize("dtype", DTYPES)
def test_integers_are_right_in_any_dtype(dtype: str, library: Library) -> None:
    assert_right(library, CASES[0], dtype)


LOOKS = {
    "every second": lambda a: a[:, ::2],
    "backwards": lambda a: a[..., ::-1],
    "exchanged": lambda a: a.swapaxes(-1, -2),
    "beginning anywhere": lambda a: a[1:],
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_arrays_in_any_order_of_memory_are_right(look: Any, library: Library) -> None:
    x = np.random.default_rng(5).integers(-9, 10, (3, 6, 9, 7)).astype(np.float32)
    w = np.random.default_rng(6).integers(-9, 10, (4, look(x).shape[1], 2, 3)).astype(np.float32)
    found = arrconv.conv(look(library.put(x)), library.put(w), algorithm="cudnn")
    assert (library.get(found) == arrconv.conv(look(x), w, algorithm="taps")).all()


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize(
    ("case", "dtype"), [*((case, "float32") for case in CASES), *product((CASES[0], CASES[1], CASES[4]), HALVES)]
)
def test_what_is_not_finite_spreads_no_further_than_it_should(
    case: str, dtype: str, value: float, library: Library
) -> None:
    """Whatever zeros engines multiply or leave out: the stand-in's spoil everything that they may reach."""
    g = Geometry.parse(case)
    for number in range(3):
        arrays = arrays_of(g, dtype)
        arrays[number][tuple(size // 2 for size in arrays[number].shape)] = value
        with np.errstate(invalid="ignore"):
            found = results(g, *map(library.put, arrays))
            expected = results(g, *arrays, algorithm="taps")
        for got, right in zip(map(library.get, found), expected, strict=True):
            assert np.array_equal(got, right, equal_nan=True)


def ran() -> list[tuple[int, int]]:
    return [run for graph in Graph.made for run in graph.ran]


def test_only_engines_that_are_exact_enough_run_and_on_the_current_stream(on_host: Library) -> None:
    assert_right(on_host, CASES[0])
    first = next(number for number, engine in enumerate(ENGINES) if engine.kinds and not engine.notes)
    assert ran() == [(first, STREAM.ptr)] * 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensor_cores_are_for_sixteen_bits_and_other_notes_for_nobody(
    dtype: str, on_host: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    welcome = {"STRICT_NAN_PROP"} | ({"TENSOR_CORE"} if dtype in HALVES else set())
    for note in numerical_note:
        cudnn._plan.cache_clear()
        Graph.made.clear()
        monkeypatch.setattr(cudnn_on_host, "ENGINES", [Engine((note.name,)), Engine()])
        assert_right(on_host, CASES[0], dtype)
        assert ran() == [(int(note.name not in welcome), STREAM.ptr)] * 3


def kinds() -> list[tuple[str, str]]:
    """The dtypes of arrays and of sums of each graph that was made since the last time."""
    found = [(graph.kind.name, graph.total.name) for graph in Graph.made]
    Graph.made.clear()
    return found


@pytest.mark.parametrize(("dtype", "kind"), HALVES.items())
def test_sixteen_bit_numbers_are_multiplied_where_they_lie(dtype: str, kind: str, on_host: Library) -> None:
    """Nothing is copied before and nothing rounded after, but cuDNN adds up in float32."""
    g = Geometry.parse(CASES[0])
    x, w, y = given = [*map(on_host.put, arrays_of(g, dtype))]
    found = results(g, *given)
    assert [array.dtype for array in found] == [x.dtype] * 3
    pairs = ((x, w), (w, y), (x, y))
    expected = [[array.data.ptr for array in (*pair, got)] for pair, got in zip(pairs, found, strict=True)]
    assert [graph.addresses for graph in Graph.made] == [[addresses] for addresses in expected]
    assert kinds() == [(kind, "FLOAT")] * 3


@pytest.mark.parametrize(("dtype", "kind"), HALVES.items())
def test_what_something_is_added_to_is_computed_in_float32(dtype: str, kind: str, on_host: Library) -> None:
    """A tie, rounded to 2048 at once, is not what it is with a bias: that would be lost."""
    unit = {"HALF": 2, "BFLOAT16": 16}[kind]  # from one number beyond 2048 to the next
    x, w, bias = (np.array(numbers, dtype_of(dtype)) for numbers in ([[[2048, unit / 2]]], [[[1, 1]]], [unit]))
    found = arrconv.conv(*map(on_host.put, (x, w, bias)), algorithm="cudnn")
    assert kinds() == [("FLOAT", "FLOAT")]
    assert found.dtype == x.dtype
    assert on_host.get(found) == 2048 + 2 * unit

    g = Geometry.parse(f"{CASES[1]} mode=circular")
    arrays = arrays_of(g, dtype)
    found = results(g, *map(on_host.put, arrays))
    assert kinds() == [(kind, "FLOAT"), ("FLOAT", "FLOAT"), (kind, "FLOAT")]
    for got, right in zip(map(on_host.get, found), results(g, *arrays, algorithm="taps"), strict=True):
        assert got.dtype == right.dtype == x.dtype
        assert (got == right).all()


@pytest.mark.parametrize("half", [[], [Engine(("FFT",))], [Engine(workspace=2**30)]], ids=["none", "inexact", "room"])
def test_where_there_is_no_plan_for_sixteen_bits_there_is_one_for_float32(
    half: list[Engine], on_host: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is looked for once."""
    narrow = [replace(engine, kinds=("BFLOAT16",)) for engine in half]
    monkeypatch.setattr(cudnn_on_host, "ENGINES", [*narrow, Engine(kinds=("FLOAT",))])
    for _ in range(2):
        assert_right(on_host, CASES[0], "bfloat16")
    assert [len(graph.ran) for graph in Graph.made] == [0, 2] * 3
    assert kinds() == [("BFLOAT16", "FLOAT"), ("FLOAT", "FLOAT")] * 3


def test_the_workspace_bounds_the_choice_and_an_error_says_what_is_needed(on_host: Library) -> None:
    for room in (2**30, 3 * 2**20, 3 * 2**20 - 1, 5 * 2**10):
        with arrconv.limits(workspace=room):
            assert_right(on_host, CASES[0])
        used = {ENGINES[number].workspace for number, _ in ran()}
        assert used == {3 * 2**20 if room >= 3 * 2**20 else 5 * 2**10}
        Graph.made.clear()
    message = "conv_fprop of cuDNN takes 5120 bytes of workspace at least, more than the 5119 that there are"
    with arrconv.limits(workspace=5119), pytest.raises(OutOfMemoryError, match=message):
        assert_right(on_host, CASES[0])


def test_where_memory_runs_out_a_plan_with_less_workspace_is_taken(on_host: Library, monkeypatch: Any) -> None:
    empty = np.empty

    def small(shape: Any, dtype: Any = float) -> np.ndarray:
        if np.dtype(dtype) == np.uint8 and shape > 2**20:
            raise MemoryError(f"no room for {shape} bytes")
        return empty(shape, dtype)

    monkeypatch.setattr(np, "empty", small)
    assert_right(on_host, CASES[0])
    assert {ENGINES[number].workspace for number, _ in ran()} == {5 * 2**10}


def test_a_plan_is_made_once(on_host: Library) -> None:
    for _ in range(3):
        assert_right(on_host, CASES[0])
    assert [len(graph.ran) for graph in Graph.made] == [3, 3, 3]
    assert len(sys.modules["cudnn"].handles) == 1
    assert_right(on_host, CASES[0], "float64")
    assert_right(on_host, CASES[1])
    assert len(Graph.made) == 9


@pytest.mark.parametrize(
    ("engines", "message"),
    [
        ([], "cuDNN has no conv_fprop in float32 for n=2 c=3 o=5 .*: no engine proposed a plan"),
        ([Engine(("TENSOR_CORE",))], "cuDNN has no conv_fprop in float32 for n=2 .* whose sums are exact enough"),
    ],
)
def test_what_has_no_engine_is_said_to_have_none(
    engines: list[Engine], message: str, on_host: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cudnn_on_host, "ENGINES", engines)
    with pytest.raises(UnsupportedError, match=message):
        assert_right(on_host, CASES[0])


def test_what_cannot_be_started_is_said_so(on_host: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("Unable to find symbol cudnnCreate")

    monkeypatch.setattr(sys.modules["cudnn"], "create_handle", fail)
    with pytest.raises(UnsupportedError, match="cuDNN cannot be used here: Unable to find symbol cudnnCreate"):
        assert_right(on_host, CASES[0])


@pytest.mark.parametrize(
    ("case", "dtype", "reason"),
    [
        ("n=2 c=3 o=5 x=9,8 k=3,2 p=1,-1:2", "float32", r"padding \(-1, 2\) on spatial axis 1 crops"),
        ("n=2 c=2 o=3 x=0,5 k=2,2 p=1", "float32", "spatial axis 0 of x has the size 0"),
        ("n=2 c=2 o=3 x=9 k=2 l=6", "float32", "axis 0 of y has the size 6, less than the 8 that fit"),
        ("n=2 c=2 o=3 x=- k=-", "float32", "it has 1 to 3 spatial axes, not 0"),
        ("n=2 c=2 o=3 x=3,4,5,6 k=1,2,3,4", "float32", "it has 1 to 3 spatial axes, not 4"),
        (CASES[0], "complex64", "it computes in float32 and float64, not in complex64"),
        (CASES[0], "int32", "it computes in float32 and float64, not in int64"),
    ],
)
@pytest.mark.usefixtures("on_host")
def test_what_it_cannot_do_is_refused_before_anything_runs(case: str, dtype: str, reason: str) -> None:
    backend = backend_of(x=put(np.ones(1, dtype)))
    for direction in DIRECTIONS:
        problem = Problem(direction, Geometry.parse(case), backend)
        with pytest.raises(UnsupportedError, match=f"algorithm='cudnn' cannot serve this call: .*{reason}"):
            select(problem, "cudnn")


def test_it_runs_when_it_is_asked_for_only(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = np.ones((1, 1, 3)), np.ones((1, 1, 2))
    monkeypatch.delitem(sys.modules, "cudnn", raising=False)
    assert explain("conv", *arrays).passed_over["cudnn"] == "it works on CuPy arrays, not on those of numpy"
    with stand_in():
        passed_over = explain("conv", *map(put, arrays)).passed_over
        assert passed_over["cudnn"] == "its speed has not been measured yet; it runs only when asked for"
        monkeypatch.setattr(cudnn, "find_spec", lambda _: None)
        with pytest.raises(UnsupportedError, match="nvidia-cudnn-frontend is not installed"):
            arrconv.conv(*map(put, arrays), algorithm="cudnn")
    assert "cudnn" not in sys.modules
