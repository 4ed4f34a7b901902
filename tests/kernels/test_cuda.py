"""The engine in CUDA, run by a device where there is one, and thread after thread by the host everywhere."""

from __future__ import annotations

import shutil
import subprocess
import tracemalloc
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from cuda_cases import (
    DEGENERATE,
    NARROW,
    VIEWS,
    WIDE,
    assert_right,
    assert_right_in_any_order,
    assert_spreads_as_it_should,
    calls,
    results,
    solved,
)
from cuda_on_host import Host
from geometries import random_geometries
from test_laws import Library, check, check_transposed, example, has_transpose, transposed_example

import arrconv
from arrconv import Geometry, UnsupportedError, explain
from arrconv._namespace import backend_of
from arrconv.axis import Windows
from arrconv.kernels import KERNELS, choose, cuda, nvrtc, select
from arrconv.kernels.base import Problem, never
from arrconv.kernels.walks import windows_of

if TYPE_CHECKING:
    from pathlib import Path

DTYPES = ["float32", "float64", "float16", "bfloat16", "complex64", "complex128", "int64", "uint8"]
PAIRS = {  # the types of elements and of sums that they come to
    "float32": ("float", "float"),
    "float64": ("double", "double"),
    "float16": ("Half", "float"),
    "bfloat16": ("Bfloat", "float"),
    "complex64": ("Complex<float>", "Complex<float>"),
    "complex128": ("Complex<double>", "Complex<double>"),
    "int64": ("long long", "unsigned long long"),
    "uint8": ("unsigned char", "double"),
    "small int64": ("long long", "double"),
}


def names(ndim: int, dtype: str, index: str = "int") -> list[str]:
    """The kernels for a dtype, as they are called."""
    source, total = PAIRS[dtype]
    targets = (total, source) if dtype in ("float16", "bfloat16") else (total,)
    return [
        f"gather<{ndim}, {source}, {total}, {index}>",
        *(f"direct<{ndim}, {rows}, {source}, {total}, {to}, {index}>" for to in targets for rows in (1, 2, 3, 4)),
    ]


pytestmark = pytest.mark.xdist_group("cuda")  # so that one process alone compiles the kernels
ON_HOST = [
    *(name for dtype in PAIRS for name in names(2, dtype)),
    *(name for dtype, ndim in product(("float32", "small int64"), (1, 3)) for name in names(ndim, dtype)),
    *names(4, "float32"),
    *names(2, "float32", "long long"),
]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return Host(tmp_path_factory.mktemp("cuda"), ON_HOST)


@pytest.fixture
def on_host(host: Host, monkeypatch: pytest.MonkeyPatch) -> Library:
    """NumPy's arrays for CuPy's, the host for the device; all else is as it would be there."""
    monkeypatch.setattr(nvrtc, "launch", host.launch)
    monkeypatch.setitem(KERNELS, "cuda", replace(cuda.KERNEL, refuses=never))
    host.launched.clear()
    return Library("numpy-cuda")


@pytest.fixture(params=["host", pytest.param("device", marks=pytest.mark.gpu)])
def library(request: pytest.FixtureRequest) -> Library:
    return request.getfixturevalue("on_host") if request.param == "host" else Library("cupy-cuda")


def test_every_member_equals_the_index_loop(on_host: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """The laws of `test_laws`, once with everything gathered and once with nothing that need not be."""
    rng = np.random.default_rng(3)
    for g in random_geometries(48, seed=3):
        e = example(g, rng)
        for few in (0, 10**6):
            monkeypatch.setattr(cuda, "_FEW", few)
            check(on_host, e)
            if has_transpose(g):
                check_transposed(on_host, e, transposed_example(e, rng))


@pytest.mark.parametrize("case", NARROW + WIDE + DEGENERATE)
def test_integers_are_right(case: str, library: Library) -> None:
    assert_right(library, case)


@pytest.mark.parametrize("dtype", DTYPES)
def test_integers_are_right_in_any_dtype(dtype: str, library: Library) -> None:
    for case in (NARROW[0], WIDE[4]):
        assert_right(library, case, dtype)


@pytest.mark.parametrize("case", [NARROW[0], NARROW[1], WIDE[0], WIDE[1]])
def test_offsets_beyond_an_int_are_right(case: str, on_host: Library, host: Host, monkeypatch: Any) -> None:
    monkeypatch.setattr(nvrtc, "INT_REACH", 0)
    assert_right(on_host, case)
    assert host.launched
    assert all("long long" in name for name in host.launched)


@pytest.mark.parametrize(("size", "index"), [(2**30 - 2**10, "int"), (2**30, "long long")])
def test_an_int_counts_to_no_offset_that_it_does_not_hold(size: int, index: str) -> None:
    """Here to that of the last element in a source, and of the last position in a target."""
    one, none = (1, 1, 1, 1), (0, 0, 0, 0)
    walk = cuda.Walk(one, none, none, none, (Windows(size, 1, size, 1, 1, 0),), ((1, 0, 1),))
    assert walk.index_type() == index


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("case", [NARROW[0], WIDE[0], WIDE[1], WIDE[3], WIDE[4]])
def test_arrays_in_any_order_of_memory_are_right(case: str, view: str, library: Library) -> None:
    assert_right_in_any_order(library, case, view)


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("case", [*NARROW, *WIDE])
def test_blocks_of_any_size_are_right(case: str, times: int, library: Library) -> None:
    """From the least workspace in which anything is gathered."""
    with arrconv.limits(workspace=times * 4 * 4 * most_gathered(case), threads=2):
        assert_right(library, case)


def most_gathered(case: str) -> int:
    """The elements that are gathered for one output, of whichever member."""
    g = Geometry.parse(case)
    return max(g.in_channels, g.out_channels) // g.groups * int(np.prod(g.kernel_size))


@pytest.mark.usefixtures("on_host")
def test_the_workspace_bounds_its_memory() -> None:
    g, room = Geometry.parse("n=2 c=8 o=6 x=90,70 k=3,2 p=1"), 2**19
    arrays = [np.ones(shape, np.float32) for shape in (g.input_shape, g.weight_shape, g.output_shape)]
    for call in calls(g, *arrays, algorithm="cuda"):
        with arrconv.limits(workspace=room, threads=1):
            tracemalloc.start()
            try:
                result = call()
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        assert peak - result.nbytes <= room


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("case", [*NARROW[:4], *WIDE])
def test_what_is_not_finite_spreads_no_further_than_it_should(case: str, value: float, library: Library) -> None:
    assert_spreads_as_it_should(library, case, value)


@pytest.mark.usefixtures("on_host")
def test_only_a_gathered_input_gradient_is_looked_after(host: Host) -> None:
    kernels = []
    for call in calls(Geometry.parse(WIDE[0]), *solved(WIDE[0], "float32")[0], algorithm="cuda"):
        host.launched.clear()
        call()
        kernels.append({name.partition("<")[0] for name in host.launched})
    assert kernels == [{"gather"}, {"gather", "direct"}, {"gather"}]


@pytest.mark.parametrize("is_told", [True, False])
def test_the_direct_kernel_writes_nothing_where_it_is_told_so(is_told: bool, library: Library) -> None:
    g = Geometry.parse("n=1 c=1 o=2 x=5,6 k=2,3")
    shapes = (1, 1, 1, 5, 6), (1, 2, 1, 2, 3), (1, 1, 2, 4, 4)
    source, matrix, out = (library.put(np.full(shape, 7, np.float32)) for shape in shapes)
    unless = library.put(np.asarray([is_told]))
    cuda._multiply_all(True, None, source, matrix, windows_of(g), out, unless=unless)
    assert (library.get(out) == (7 if is_told else 6 * 7 * 7)).all()


def on_cupy(case: str, direction: str) -> Problem:
    """A problem of CuPy's arrays, of which there need be none."""
    backend = replace(backend_of(x=np.ones(1, np.float32)), library="cupy")
    return Problem(cast("Any", direction), Geometry.parse(case), backend)


def test_it_runs_when_it_is_asked_for_only_and_says_what_it_cannot() -> None:
    for case, direction in product((NARROW[0], WIDE[0]), "yxw"):
        problem = on_cupy(case, direction)
        passed_over = choose(problem, "auto").passed_over["cuda"]
        assert passed_over == "its speed has not been measured yet; it runs only when asked for"
        assert select(problem, "cuda") is KERNELS["cuda"]
        with arrconv.limits(workspace=2):
            if case == NARROW[0] and direction != "w":
                assert select(problem, "cuda") is KERNELS["cuda"]
            else:
                with pytest.raises(UnsupportedError, match=r"of one output takes \d+ bytes, more than the 0 of"):
                    select(problem, "cuda")
    arrays = np.ones((1, 1, 3)), np.ones((1, 1, 2))
    assert explain("conv", *arrays).passed_over["cuda"] == "it works on CuPy arrays, not on those of numpy"
    with pytest.raises(UnsupportedError, match="not on those of numpy"):
        arrconv.conv(*arrays, algorithm="cuda")


def test_a_compiler_for_devices_accepts_the_kernels(tmp_path: Path) -> None:
    """To the end, machine code; and what nobody writes is read through the cache for that."""
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed, which compiles CUDA")
    chosen = [(2, dtype, "int") for dtype in PAIRS] + [(1, "float32", "int"), (3, "float64", "long long")]
    text = nvrtc.source_code() + "".join(COMPILED.format(*PAIRS[dtype], n, i) for n, dtype, i in chosen)
    (tmp_path / "kernels.cu").write_text(text, encoding="utf-8")
    command = ["nvcc", *nvrtc.OPTIONS, "-arch=sm_80", "-cubin", "-keep", "-Werror", "all-warnings", "kernels.cu"]
    subprocess.run(command, cwd=tmp_path, check=True)
    code = (tmp_path / "kernels.ptx").read_text(encoding="utf-8")
    assert code.count(".visible .entry") == 2 * len(chosen)
    assert "ld.global.nc" in code


COMPILED = """
template __global__ void gather<{2}, {0}, {1}, {3}>(const {0}*, {1}*, Walk<{2}>);
template __global__ void direct<{2}, 4, {0}, {1}, {1}, {3}>(const {0}*, const {0}*, {1}*, const bool*, Walk<{2}>);
"""


@pytest.mark.gpu
def test_work_goes_to_the_current_stream() -> None:
    library = Library("cupy-cuda")
    cupy = pytest.importorskip("cupy")
    arrays, expected = solved(WIDE[0], "float32")
    given = [library.put(array) for array in arrays]
    cupy.cuda.Device().synchronize()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        found = results(Geometry.parse(WIDE[0]), *given, algorithm="cuda")
        stream.synchronize()
    assert all((library.get(got) == right).all() for got, right in zip(found, expected, strict=True))
