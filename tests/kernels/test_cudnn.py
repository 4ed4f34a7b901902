"""cuDNN by its frontend: with a stand-in for the package everywhere, with the package itself where it is installed."""

from __future__ import annotations

import sys
from contextlib import suppress
from itertools import accumulate, product
from operator import mul
from typing import TYPE_CHECKING, Any

import cudnn_on_host
import ml_dtypes
import numpy as np
import pytest
from cuda_on_host import Host
from cudnn_on_host import ENGINES, Engine, Graph
from geometries import random_geometries
from stand_in import STREAM, get, put, stand_in
from test_laws import Library, check, check_transposed, example, has_transpose, transposed_example

import arrconv
from arrconv import Geometry, OutOfMemoryError, UnsupportedError, explain
from arrconv._namespace import backend_of
from arrconv.kernels import cudnn, nvrtc, select
from arrconv.kernels.base import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrconv.geometry import Direction

pytestmark = pytest.mark.xdist_group("cudnn")  # so that one process alone compiles the kernels
ON_HOST = [
    f"direct<{ndim}, {rows}, {kind}, {kind}, {kind}, int>"
    for ndim, rows, kind in product((1, 2, 3), (1, 2, 3, 4), ("float", "double"))
]

CASES = [
    "n=2 c=3 o=5 x=9,8 k=3,2 p=1:2,0 s=2,1 d=1,2",
    "n=2 c=6 o=9 g=3 x=7,5 k=2,3 p=1,0:2 s=2,3",
    "n=3 c=4 o=10 g=2 x=23 k=4 s=3 d=2 p=2:5",
    "n=2 c=1 o=3 x=5,4,6 k=2,3,2 s=1,2,1 p=1:0,2,0:1",
    "n=1 c=2 o=3 x=6,7 k=2,2 s=4,3",  # inputs that no tap reaches
    "n=4 c=5 o=7 x=3,6 k=1,1",
]
DIRECTIONS: tuple[Direction, ...] = ("y", "x", "w")
EMPTY = ["n=0 c=2 o=3 x=5,4 k=2,2", "n=2 c=0 o=3 x=6,5 k=2,2", "n=2 c=5 o=6 x=3,2 k=2,4"]
DTYPES = ["float16", "bfloat16", "float32", "float64"]


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
    most = 1 if dtype in ("float16", "bfloat16") else 9
    shapes = (g.input_shape, g.weight_shape, g.output_shape)
    return [rng.integers(-most, most + 1, shape).astype(getattr(ml_dtypes, dtype, dtype)) for shape in shapes]


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


def served(count: int, seed: int) -> Iterator[Geometry]:
    """Random geometries that cuDNN has."""
    for g in random_geometries(count, seed=seed):
        if g.ndim and all(min(a.begin, a.end) >= 0 and a.output_size == a.full_output_size for a in g.axes):
            yield g


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
@pytest.mark.parametrize("case", CASES)
def test_what_is_not_finite_spreads_no_further_than_it_should(case: str, value: float, library: Library) -> None:
    """Whatever zeros engines multiply or leave out: the stand-in's spoil everything that they may reach."""
    g = Geometry.parse(case)
    for number in range(3):
        arrays = arrays_of(g, "float32")
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
    first = next(number for number, engine in enumerate(ENGINES) if engine.is_supported and not engine.notes)
    assert ran() == [(first, STREAM.ptr)] * 3


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


# What cuDNN asks of a device, by which it chooses engines where there is none: an A100 and an H100.
A100 = """{"cudaDeviceId": 0, "deviceName": "A100", "deviceVer": 800, "driverVer": 13000, "isTccDriver": 0,
"l2CacheSize": 41943040, "maxCtasPerSM": 32, "maxRegistersPerSM": 65536, "maxSharedMemoryPerBlock": 49152,
"maxSharedMemoryPerBlockOptin": 166912, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "memClockRateKHz": 1593000,
"multiProcessorCount": 108, "pciDeviceId": 8370, "regsPerBlock": 65536, "reservedSharedMemoryPerBlock": 1024,
"smClockRateKHz": 1410000, "smCountOrigin": 0, "supportCoopLaunch": 1, "totalGlobalMem": 85899345920, "warpSize": 32,
"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64]}"""
H100 = A100.replace('"deviceVer": 800', '"deviceVer": 900').replace(
    '"multiProcessorCount": 108', '"multiProcessorCount": 132'
)


@pytest.fixture(params=[A100, H100], ids=["A100", "H100"])
def described(request: pytest.FixtureRequest) -> Any:
    """A device that is only described, of the package itself."""
    package = pytest.importorskip("cudnn", reason="nvidia-cudnn-frontend is not installed")
    try:
        return package.create_device_properties(request.param)
    except RuntimeError as error:
        pytest.skip(f"cuDNN itself is not installed ({error})")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cudnn_itself_has_a_plan_for_every_geometry(dtype: str, described: Any) -> None:
    for g in map(Geometry.batched, [*map(Geometry.parse, CASES), *served(40, seed=7)]):
        for direction in DIRECTIONS:
            plan = cudnn.plan(direction, g, dtype, 2**26, device_property=described)
            lead, channels, *sizes = g.shape_of(direction)
            assert list(plan.tensors[2].get_dim()) == [lead, channels, *(1,) * (g.ndim == 1), *sizes]


def test_cudnn_itself_leaves_engines_out(described: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def buildable() -> set[str]:
        g = Geometry.parse("n=4 c=32 o=48 x=29,28 k=3,3 p=1")
        graph, found = cudnn.plan("y", g, "float32", 2**26, device_property=described).graph, set()
        for number in range(graph.get_execution_plan_count()):
            with suppress(sys.modules["cudnn"].cudnnGraphNotSupportedError):
                graph.build_plan_at_index(number)
                found.add(graph.get_plan_name_at_index(number))
        return found

    left = buildable()
    monkeypatch.setattr(cudnn, "DESELECTED", ())
    assert left < buildable()


def test_cudnn_itself_infers_the_sizes_of_a_geometry(described: Any) -> None:
    """The one formula for the output size, against cuDNN's own."""
    import cudnn as package

    number = package.data_type.FLOAT
    for g in map(Geometry.batched, served(60, seed=8)):
        if g.ndim == 1:
            continue
        graph = package.pygraph(io_data_type=number, compute_data_type=number, device_property=described)
        x, w = (
            graph.tensor(name=name, dim=list(shape), stride=[*accumulate(shape[:0:-1], mul, initial=1)][::-1])
            for name, shape in (("x", g.input_shape), ("w", g.weight_shape))
        )
        y = graph.conv_fprop(
            image=x,
            weight=w,
            pre_padding=[axis.begin for axis in g.axes],
            post_padding=[axis.end for axis in g.axes],
            stride=[axis.stride for axis in g.axes],
            dilation=[axis.dilation for axis in g.axes],
        )
        y.set_output(True)
        graph.validate()
        assert tuple(y.get_dim()) == g.output_shape
