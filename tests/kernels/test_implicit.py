"""The implicit matrix product in CUDA, run by a device where there is one, and block after block by the host."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from captures import captures
from cuda_cases import (
    DEGENERATE,
    NARROW,
    VIEWS,
    WIDE,
    assert_right,
    assert_right_in_any_order,
    assert_spreads_as_it_should,
    dtype_of,
    results,
    solved,
)
from cuda_on_host import Host
from geometries import random_geometries
from stand_in import STANDARD, WORK, get, put, stand_in
from test_laws import Library, check, check_transposed, example, has_transpose, transposed_example

import arrconv
from arrconv import Geometry, explain
from arrconv._namespace import backend_of
from arrconv.kernels import KERNELS, choose, implicit, nvrtc, select
from arrconv.kernels.base import Problem, never
from arrconv.train import SGD
from arrconv.train.graph import CapturedStep
from arrconv.train.networks import seed_network, unet
from tests import oracle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from arrconv.nn import Layer

pytestmark = pytest.mark.xdist_group("implicit")

LARGE = [  # several tiles of rows, of columns and of terms, none of them full
    "n=3 c=42 o=70 x=9,8 k=3,2 p=1",
    "n=2 c=40 o=38 g=2 x=13,6 k=3,3 s=2,1 p=1:0,1",
]
TENSOR = {"float16": "Tensor<Half>", "bfloat16": "Tensor<Bfloat>", "float64": "Tensor<double>", "tf32": "Tensor<float>"}
PLAIN = {
    "float16": "Plain<Half, float>",
    "bfloat16": "Plain<Bfloat, float>",
    "float32": "Plain<float, float>",
    "float64": "Plain<double, double>",
}

OTHERS = {
    "complex64": "Plain<Complex<float>, Complex<float>>",
    "complex128": "Plain<Complex<double>, Complex<double>>",
    "int64": "Plain<long long, unsigned long long>",
    "uint8": "Plain<unsigned char, double>",
    "int8": "Plain<signed char, double>",
    "small int64": "Plain<long long, double>",
}


def names(ndim: int, *ways: str, heights: tuple[int, ...] = (16, 32, 64), index: str = "int") -> list[str]:
    return [
        f"implicit<{ndim}, {height}, {way}, {target}, {index}>"
        for way in ways
        for target in targets(way)
        for height in heights
    ]


def targets(way: str) -> tuple[str, ...]:
    """What its sums may be stored as."""
    source, _, total = way.partition("<")[2][:-1].partition(", ")
    return {"Half": ("float", "Half"), "Bfloat": ("float", "Bfloat")}.get(source, (total or source,))


ON_HOST = [
    *names(2, *TENSOR.values()),
    *names(2, *PLAIN.values()),
    *names(2, *OTHERS.values(), heights=(16, 32)),
    *names(2, TENSOR["float16"], TENSOR["bfloat16"], heights=(128,)),
    *names(1, TENSOR["float16"], PLAIN["float32"]),
    *names(3, PLAIN["float32"], TENSOR["float64"], heights=(16,)),
    *names(4, PLAIN["float32"], heights=(16,)),
    *(name for ndim in (1, 3) for name in names(ndim, OTHERS["small int64"], heights=(16,))),
    *names(2, PLAIN["float32"], TENSOR["float16"], index="long long"),
]
REPAIRED = [(ndim, "float, float") for ndim in (1, 3, 4)]
REPAIRED += [(2, way[6:-1]) for way in (*PLAIN.values(), OTHERS["complex64"], OTHERS["complex128"])]
DIRECT = [
    f"direct<{ndim}, {rows}, {types}, {target}, int>"
    for (ndim, types), rows in product(REPAIRED, (1, 2, 3, 4))
    for target in targets(f"Plain<{types}>")
]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return Host(tmp_path_factory.mktemp("implicit"), ON_HOST + DIRECT)


@pytest.fixture
def on_host(host: Host, monkeypatch: pytest.MonkeyPatch) -> Library:
    """NumPy's arrays for CuPy's, the host for the device; all else is as it would be there."""
    monkeypatch.setattr(nvrtc, "launch", host.launch)
    monkeypatch.setattr(nvrtc, "has_tensor_cores", lambda: True)
    monkeypatch.setitem(KERNELS, "implicit", replace(implicit.KERNEL, refuses=never))
    host.launched.clear()
    return Library("numpy-implicit")


@pytest.fixture(params=["host", pytest.param("device", marks=pytest.mark.gpu)])
def library(request: pytest.FixtureRequest) -> Library:
    return request.getfixturevalue("on_host") if request.param == "host" else Library("cupy-implicit")


def assert_like_taps(library: Library, case: str, dtype: str = "float32") -> None:
    """Whole numbers for which the index loop would take long: as another kernel has them, in float64."""
    g, rng = Geometry.parse(case), np.random.default_rng(1)
    arrays = [rng.integers(-1, 2, shape) for shape in (g.input_shape, g.weight_shape, g.output_shape)]
    expected = results(g, *(array.astype(float) for array in arrays), algorithm="taps")
    given = [library.put(array.astype(dtype_of(dtype))) for array in arrays]
    found = results(g, *given, algorithm=library.algorithm)
    assert all(np.array_equal(library.get(got), right) for got, right in zip(found, expected, strict=True))


@pytest.mark.parametrize("case", NARROW + WIDE + DEGENERATE)
def test_integers_are_right(case: str, library: Library) -> None:
    assert_right(library, case)


def test_every_member_equals_the_index_loop(on_host: Library) -> None:
    """The laws of `test_laws`, in integers that are added in float64."""
    rng = np.random.default_rng(7)
    for g in random_geometries(24, seed=7):
        e = example(g, rng)
        check(on_host, e)
        if has_transpose(g):
            check_transposed(on_host, e, transposed_example(e, rng))


@pytest.mark.parametrize("dtype", PLAIN)
@pytest.mark.parametrize("has_tensor_cores", [True, False])
def test_every_way_to_multiply_is_right(
    dtype: str, has_tensor_cores: bool, on_host: Library, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensor cores where there are any, but not for a few products of 16-bit floats, nor float32."""
    monkeypatch.setattr(nvrtc, "has_tensor_cores", lambda: has_tensor_cores)
    for case in LARGE:
        assert_like_taps(on_host, case, dtype)
    assert ways(host) == {TENSOR[dtype] if has_tensor_cores and dtype != "float32" else PLAIN[dtype]}
    host.launched.clear()
    assert_right(on_host, "n=2 c=3 o=5 x=4,3 k=2,2 s=1,2", dtype)
    assert ways(host) == {TENSOR[dtype] if has_tensor_cores and dtype == "float64" else PLAIN[dtype]}


def ways(host: Host) -> set[str]:
    return {way_of(name) for name in host.launched if name.startswith("implicit")}


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "int64", "uint8"])
def test_other_dtypes_are_right(dtype: str, library: Library) -> None:
    for case in (NARROW[0], WIDE[4]):
        assert_right(library, case, dtype)
    assert_like_taps(library, LARGE[1], dtype if dtype != "uint8" else "int8")


def test_integers_may_differ_in_dtype(library: Library) -> None:
    (x, w, _), (expected, *_) = solved(NARROW[0], "uint8")
    options: Any = Geometry.parse(NARROW[0]).options
    found = arrconv.conv(library.put(x), library.put(w.astype(np.int64)), algorithm=library.algorithm, **options)
    assert (library.get(found) == expected).all()


@pytest.mark.parametrize("dtype", PLAIN)
@pytest.mark.gpu
def test_every_dtype_is_right_on_a_device(dtype: str) -> None:
    for case in LARGE:
        assert_like_taps(Library("cupy-implicit"), case, dtype)


def test_tf32_is_for_those_who_say_that_they_want_it(
    on_host: Library, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, w = (np.full(shape, 1 + 2.0**-13, np.float32) for shape in ((1, 1, 1, 1), (1, 1, 1, 1)))
    for value, way, right in (("0", PLAIN["float32"], x[0, 0, 0, 0] ** 2), ("1", TENSOR["tf32"], 1)):
        monkeypatch.setenv("CUPY_TF32", value)
        host.launched.clear()
        assert_like_taps(on_host, LARGE[0])
        assert arrconv.conv(x, w, algorithm="implicit") == right
        assert ways(host) == {way}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("case", [NARROW[0], WIDE[1], WIDE[3]])
def test_arrays_in_any_order_of_memory_are_right(case: str, view: str, library: Library) -> None:
    assert_right_in_any_order(library, case, view)


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("case", [NARROW[2], *WIDE[:4], WIDE[5]])
def test_what_is_not_finite_spreads_no_further_than_it_should(case: str, value: float, library: Library) -> None:
    assert_spreads_as_it_should(library, case, value)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.usefixtures("on_host")
def test_offsets_beyond_an_int_are_right(dtype: str, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "INT_REACH", 0)
    g = Geometry.parse("n=3 c=20 o=7 x=9,8 k=3,2")
    rng = np.random.default_rng(2)
    x, w = (rng.integers(-1, 2, shape).astype(dtype) for shape in (g.input_shape, g.weight_shape))
    assert (arrconv.conv(x, w, algorithm="implicit") == oracle.conv(x, w, None, **g.options)).all()
    assert host.launched
    assert all("long long" in name for name in host.launched)


def test_an_int_counts_to_no_offset_that_it_does_not_hold() -> None:
    """Here to that of the last element of a target."""
    term = implicit.Side(1, 0, 0, ((1, 0, 1, 0),))
    for size, index in ((2**30 - 2**10, "int"), (2**31, "long long")):
        column = implicit.Side(size // 2, 0, 2, ((1, 0, 1, 0),))
        found = implicit.Product("Plain<float, float>", 1, 1, term, column, ((1, 1),), (0, 0, 0), (0, 0), 1)
        assert found._index_type() == index


@pytest.mark.parametrize("workspace", [2**26, 2 * 38 * 20 * 9 * 4, 1])
def test_a_long_sum_is_split_as_far_as_the_workspace_allows(
    workspace: int, on_host: Library, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(implicit, "_LEAST_SPLIT", 8)
    monkeypatch.setattr(implicit, "_TILE", 32)
    parts = {2**26: 3, 1: 1}.get(workspace, 2)
    shapes: list[Any] = []
    monkeypatch.setattr(nvrtc, "launch", lambda *given: (shapes.append(given[3][2].shape), host.launch(*given)))
    with arrconv.limits(workspace=workspace):
        assert_like_taps(on_host, LARGE[1])
    assert shapes[-1] == (parts, 20, 2, 19, 3, 3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.usefixtures("on_host")
def test_tensor_cores_err_less_than_direct_summation_may(dtype: str, host: Host) -> None:
    """Even if they cut off whatever they can; some of the sums err more than one rounding, so that they do."""
    rng, worst = np.random.default_rng(0), 0.0
    for g in (Geometry.parse("n=1 c=64 o=16 x=5,9 k=3,3"), Geometry.parse("n=1 c=20 o=16 x=9,7 k=2,1")):
        x, w = (rng.random(shape).astype(dtype_of(dtype)) for shape in (g.input_shape, g.weight_shape))
        found = implicit.contract(Problem("y", g, backend_of(x=x, w=w)), x, w)
        assert found.dtype == np.float32
        right = arrconv.conv(x.astype(float), w.astype(float))
        terms = g.products("y")
        error = np.abs(found - right) / right / 2.0**-24  # all addends are positive
        assert error.max() <= min(34 + terms / 16, terms)
        worst = max(worst, error.max())
    assert worst > 2
    assert ways(host) == {TENSOR[dtype]}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.usefixtures("on_host")
def test_a_final_result_is_rounded_once_as_it_is_stored(dtype: str) -> None:
    """To what the rounded sum is, infinite and NaN included; where a bias is added, only after that."""
    kind = dtype_of(dtype)
    g, rng = Geometry.parse("n=1 c=5 o=3 x=9,8 k=2,3"), np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(kind) for shape in (g.input_shape, g.weight_shape))
    x[0, 0, 0, :3] = np.inf, np.nan, np.finfo(np.float16).max
    x[0, :, 5:] *= kind.type(1e-4)  # subnormal, as float16 has them
    w[0, 0, :, :2] *= kind.type(1e-3)
    for direction, first, second in (("y", x, w), ("x", w, np.ones(g.output_shape, kind)), ("w", x, x[:, :3, 1:, 2:])):
        problem = Problem(cast("Any", direction), g, backend_of(x=x, w=w))
        sums = implicit.contract(problem, first, second)
        found = implicit.contract(replace(problem, is_final=True), first, second)
        assert (sums.dtype, found.dtype) == (np.float32, kind)
        with np.errstate(over="ignore"):
            assert np.array_equal(found, sums.astype(kind), equal_nan=True)
    assert np.isnan(found).any() or np.isinf(found).any()
    bias = np.full(3, 0.3, kind)
    with np.errstate(over="ignore", invalid="ignore"):
        once = implicit.contract(Problem("y", g, backend_of(x=x, w=w)), x, w) + bias.astype(np.float32).reshape(3, 1, 1)
        assert np.array_equal(arrconv.conv(x, w, bias, algorithm="implicit"), once.astype(kind), equal_nan=True)


@pytest.mark.parametrize("make", [partial(seed_network, width=4), partial(unet, width=3, depth=1)])
def test_a_training_step_without_cublas_is_one_graph(
    make: Callable[[], Layer], host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bits of eager steps; a tape of the stand-in for CuPy keeps launches, too."""
    monkeypatch.setattr(nvrtc, "launch", lambda *given: WORK(host.launch, *given))
    monkeypatch.setattr(nvrtc, "has_tensor_cores", lambda: True)
    rng, found = np.random.default_rng(0), []
    batches = [[rng.random((2, 3, 8, 12), np.float32) for _ in range(2)] for _ in range(4)]
    for is_captured in (False, True):
        with stand_in("arrconv.nn.layer.copied_like"), captures():
            net = make().initialise(STANDARD, seed=3).convolve_by("implicit")
            optimiser = SGD(net, lr=0.5)

            def gradients(x: Any, t: Any, net: Any = net) -> Any:
                net.zero_grad()
                y = net.forward(x)
                net.backward(arrconv.mse_loss_backward(y, t), needs_input=False)
                return arrconv.mse_loss(y, t)

            step = CapturedStep(gradients, optimiser, batch=2)
            losses = []
            for x, t in batches:
                if is_captured:
                    losses.append(step(put(x), put(t)))
                else:
                    losses.append(gradients(put(x), put(t)))
                    optimiser.step()
            found.append([get(array).tobytes() for array in (*losses, *net.state_dict().values())])
    assert found[0] == found[1]
    assert step.recording is not None
    assert len(step.recording._pieces) == 1
    assert any(name.startswith("implicit") for name in host.launched)


def on_cupy(case: str, dtype: Any, direction: str = "y") -> Problem:
    """A problem of CuPy's arrays, of which there need be none."""
    backend = replace(backend_of(x=np.ones(1, dtype)), library="cupy")
    return Problem(cast("Any", direction), Geometry.parse(case), backend)


def test_it_runs_when_it_is_asked_for_only_and_says_what_it_cannot() -> None:
    for case, direction in product((NARROW[0], WIDE[0]), "yxw"):
        problem = on_cupy(case, "float32", direction)
        passed_over = choose(problem, "auto").passed_over["implicit"]
        assert passed_over == "its speed has not been measured yet; it runs only when asked for"
        with arrconv.limits(workspace=2):
            assert select(problem, "implicit") is KERNELS["implicit"]
    arrays = np.ones((1, 1, 3)), np.ones((1, 1, 2))
    assert explain("conv", *arrays).passed_over["implicit"] == "it works on CuPy arrays, not on those of numpy"


def test_a_compiler_for_devices_accepts_the_kernel(tmp_path: Path) -> None:
    """To the end, machine code, with all sums in registers."""
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed, which compiles CUDA")
    chosen = [
        *names(2, TENSOR["float16"], TENSOR["bfloat16"], heights=(128,)),
        *names(2, TENSOR["tf32"], TENSOR["float64"], PLAIN["float32"], heights=(64,)),
        *names(3, PLAIN["float64"], heights=(64,)),
    ]
    entries = "".join(COMPILED.format(name, name[9], way_of(name), name.split(", ")[-2]) for name in chosen)
    (tmp_path / "kernels.cu").write_text(nvrtc.source_code() + entries, encoding="utf-8")
    command = ["nvcc", *nvrtc.OPTIONS, "-arch=sm_90", "-cubin", "-keep", "-Xptxas=-v", "-Werror", "all-warnings"]
    said = subprocess.run([*command, "kernels.cu"], cwd=tmp_path, check=True, capture_output=True, text=True).stderr
    assert said.count("0 bytes spill stores") == len(chosen)
    code = (tmp_path / "kernels.ptx").read_text(encoding="utf-8")
    for instruction in ("f32.f16.f16.f32", "f32.bf16.bf16.f32", "f32.tf32.tf32.f32", "f64.f64.f64.f64"):
        assert f".row.col.{instruction}" in code


def way_of(name: str) -> str:
    return name.split(", ", 2)[2].rsplit(", ", 2)[0]


COMPILED = """
template __global__ void {0}(const {2}::Source*, const {2}::Source*, {3}*, Product<{1}>);
"""
