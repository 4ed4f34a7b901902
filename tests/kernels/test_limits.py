"""Threads and workspace: how limits nest, and that neither they nor forks, errors or other threads change a result."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import arrconv
from arrconv import Geometry, conv, conv_grad_input, conv_grad_weight, limits
from arrconv.kernels import blas, tiles
from arrconv.kernels import threads as pool
from arrconv.kernels.limits import Limits, current_limits

if TYPE_CHECKING:
    from collections.abc import Callable

MEBIBYTE = 2**20
PROBLEMS = {
    "images": "n=64 c=5 o=7 x=13,11 k=3,2",
    "channels": "n=2 c=64 o=48 x=23,19 k=3,2 p=1:2,0",
    "one-image": "n=1 c=24 o=20 x=67,53 k=5,3",
    "strided": "n=3 c=64 o=40 x=37,29 k=3,4 s=2,3 p=1,2",
    "dilated": "n=3 c=40 o=64 x=37,29 k=3,4 d=3,2",
    "grouped": "n=5 c=64 o=96 g=8 x=31,17 k=3,2",
    "depthwise": "n=5 c=64 o=128 g=64 x=47,31 k=5,3 p=2,1",
    "pointwise": "n=3 c=64 o=80 x=31,23 k=1,1",
    "many-small-images": "n=50 c=24 o=72 x=7,6 k=3,2 p=1",
    "strips": "n=3 c=20 o=13 x=61,47 k=5,3 d=2,1",
    "strips-of-volumes": "n=2 c=12 o=10 x=17,13,11 k=3,2,2 p=1",
    "few-channels": "n=3 c=3 o=40 x=57,49 k=5,4 s=2,3 p=2",
    "apart": "n=9 c=20 o=40 x=36,30 k=2,3 s=2,3",
}


@pytest.fixture(autouse=True)
def _small_work_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads from a quarter of a million products on, so that tests need not wait for as many as are worth them."""
    monkeypatch.setattr(pool, "_ENOUGH", 2**18)
    if (
        not tiles._lacks_compiler()
    ):  # when it compiles Numba loads SciPy, where there is one, and SciPy a BLAS of its own
        conv(np.ones((1, 1, 3)), np.ones((1, 1, 2)), algorithm="tiles")


def arrays_of(geometry: Geometry, dtype: str, *, whole: bool = False) -> tuple[np.ndarray, ...]:
    """x, w and gy for a geometry: normal numbers, or integers so small that every sum of products is exact."""
    rng = np.random.default_rng(17)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        real, imaginary = (rng.integers(-4, 5, shape) if whole else rng.standard_normal(shape) for _ in range(2))
        return (real + 1j * imaginary if dtype.startswith("complex") else real).astype(dtype)

    return draw(geometry.input_shape), draw(geometry.weight_shape), draw(geometry.output_shape)


def options_of(geometry: Geometry) -> dict[str, Any]:
    axes = geometry.axes
    return {
        "stride": [axis.stride for axis in axes],
        "dilation": [axis.dilation for axis in axes],
        "padding": [(axis.begin, axis.end) for axis in axes],
        "groups": geometry.groups,
    }


def contractions(geometry: Geometry, arrays: tuple[np.ndarray, ...], algorithm: str = "gemm") -> list[np.ndarray]:
    x, w, gy = arrays
    options = options_of(geometry) | {"algorithm": algorithm}
    return [
        conv(x, w, **options),
        conv_grad_input(w, gy, input_size=geometry.input_size, **options),
        conv_grad_weight(x, gy, kernel_size=geometry.kernel_size, **options),
    ]


def blas_threads() -> dict[str, int]:
    return {
        library["filepath"]: library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    }


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the pools that have been used since."""
    used: list[int] = []
    original = pool._pool

    def recording(size: int) -> ThreadPoolExecutor:
        used.append(size)
        return original(size)

    recording.cache_clear = original.cache_clear  # type: ignore[attr-defined]
    monkeypatch.setattr(pool, "_pool", recording)
    return used


def test_the_defaults_are_all_cores_and_64_mebibytes() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert current_limits() == Limits(cores or 1, 64 * MEBIBYTE)


def test_limits_nest_and_give_back_what_was_before() -> None:
    before = current_limits()
    with limits(threads=3) as outer:
        assert outer == current_limits() == Limits(3, before.workspace)
        with limits(workspace=77):
            assert current_limits() == Limits(3, 77)
            with limits(threads=5, workspace=np.int64(99)) as inner:
                assert inner == current_limits() == Limits(5, 99)
                assert type(inner.workspace) is int
            assert current_limits() == Limits(3, 77)
        assert current_limits() == outer
    assert current_limits() == before


def test_limits_end_with_an_exception() -> None:
    before = current_limits()
    with pytest.raises(ZeroDivisionError, match="division"), limits(threads=2, workspace=5):
        _ = current_limits().threads // 0
    with pytest.raises(arrconv.SpecError, match="threads must be at least 1, but got 0"), limits(threads=0):
        pass
    assert current_limits() == before


def test_limits_in_one_thread_do_not_reach_another() -> None:
    before = current_limits()
    entered, leave = threading.Event(), threading.Event()

    def elsewhere() -> Limits:
        with limits(threads=11, workspace=13):
            entered.set()
            leave.wait(20)
            return current_limits()

    with ThreadPoolExecutor(1) as executor:
        there = executor.submit(elsewhere)
        assert entered.wait(20)
        here = current_limits()
        with limits(threads=7):
            leave.set()
            assert there.result(20) == Limits(11, 13)
    assert here == before == current_limits()


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex64", "float16"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_number_of_threads_changes_no_bit(name: str, dtype: str, pools: list[int]) -> None:
    geometry = Geometry.parse(PROBLEMS[name])
    arrays = arrays_of(geometry, dtype)
    with limits(threads=1):
        alone = contractions(geometry, arrays)
    assert pools == []
    for number in (2, 3, 8):
        with limits(threads=number):
            together = contractions(geometry, arrays)
        assert [result.tobytes() for result in together] == [result.tobytes() for result in alone], number
    assert set(pools) >= {1, 2}  # the caller works too


def test_every_task_is_done_once_by_as_many_threads_as_asked_for() -> None:
    meeting, done, names = threading.Barrier(3, timeout=20), [], set()

    def make_worker() -> Callable[[int], None]:
        names.add(threading.current_thread().name)
        meeting.wait()
        return done.append

    pool.for_each(range(41), make_worker, 3)
    assert sorted(done) == list(range(41))
    assert len(names) == 3


def test_every_thread_obeys_the_errstate_and_limits_of_the_caller() -> None:
    meeting, seen = threading.Barrier(3, timeout=20), []

    def make_worker() -> Callable[[int], None]:
        meeting.wait()
        seen.append((np.geterr()["over"], np.geterr()["invalid"], current_limits().workspace))
        return lambda _: None

    with np.errstate(over="raise", invalid="ignore"), limits(workspace=1234):
        pool.for_each(range(9), make_worker, 3)
    assert seen == [("raise", "ignore", 1234)] * 3


@pytest.mark.parametrize("image", [0, 5, 11])
@pytest.mark.parametrize("number", [1, 3])
def test_an_overflow_anywhere_is_raised_where_the_caller_asks_for_it(image: int, number: int) -> None:
    x, w = np.zeros((12, 16, 23, 29), np.float32), np.full((20, 16, 3, 5), 1e30, np.float32)
    x[image, 7, 11, 13] = 1e30
    before = blas_threads()
    with limits(threads=number):
        with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="overflow"):
            conv(x, w)
        assert blas_threads() == before
        with np.errstate(all="ignore"):
            y = conv(x, w)
    assert np.count_nonzero(np.isposinf(y)) == 20 * 3 * 5
    assert np.all(y[:image] == 0)


@pytest.mark.parametrize("failing", ["caller", "helper"])
def test_an_error_in_any_thread_reaches_the_caller_and_frees_the_blas(failing: str) -> None:
    meeting, failed, done = threading.Barrier(3, timeout=20), threading.Event(), []

    def make_worker() -> Callable[[int], None]:
        meeting.wait()
        here = "caller" if threading.current_thread() is threading.main_thread() else "helper"

        def worker(task: int) -> None:
            if here == failing:
                failed.set()
                raise LookupError(f"task {task} has no answer")
            assert failed.wait(20)
            time.sleep(0.001)
            done.append(task)

        return worker

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with pytest.raises(LookupError, match=r"task \d+ has no answer"):
            pool.for_each(range(5000 if failing == "caller" else 50), make_worker, 3)
        assert blas_threads() == before
    assert len(done) < 4000  # what is left is not begun once the caller has failed
    again: list[int] = []
    pool.for_each(range(7), lambda: again.append, 3)
    assert sorted(again) == [*range(7)]


def test_the_blas_has_one_thread_within_a_call_and_its_own_number_after() -> None:
    inside = []
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        pool.for_each([0], lambda: lambda _: inside.append(blas_threads()), 1)
        assert blas_threads() == before
    assert {count for path, count in inside[0].items() if "numpy" in path} == {1}


def test_the_blas_has_one_thread_also_when_another_thread_set_its_number() -> None:
    inside = []
    with threadpool_limits(2, user_api="blas"):  # from now on threadpoolctl ignores every thread but this one
        before = blas_threads()
        caller = threading.Thread(target=pool.for_each, args=([0], lambda: lambda _: inside.append(blas_threads()), 1))
        caller.start()
        caller.join()
        assert blas_threads() == before
    assert {count for path, count in inside[0].items() if "numpy" in path} == {1}


def test_a_blas_that_counts_threads_for_each_thread_is_left_to_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = []
    monkeypatch.setattr(blas, "_switch", lambda _: None)
    blas._libraries.cache_clear()
    try:
        with threadpool_limits(2, user_api="blas"):
            before = blas_threads()
            pool.for_each([0], lambda: lambda _: inside.append(blas_threads()), 1)
            assert blas_threads() == before
    finally:
        blas._libraries.cache_clear()
    assert {count for path, count in inside[0].items() if "numpy" in path} == {1}


def test_two_callers_at_once_leave_the_blas_as_it_was() -> None:
    geometry = Geometry.parse(PROBLEMS["strided"])
    arrays = arrays_of(geometry, "float64")
    expected = [result.tobytes() for result in contractions(geometry, arrays)]
    start = threading.Barrier(2, timeout=20)

    def caller(number: int) -> bool:
        start.wait()
        with limits(threads=number):
            runs = [contractions(geometry, arrays) for _ in range(4)]
        return all([result.tobytes() for result in run] == expected for run in runs)

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with ThreadPoolExecutor(2) as executor:
            assert list(executor.map(caller, (2, 3), timeout=60)) == [True, True]
        assert blas_threads() == before


@pytest.mark.parametrize("dtype", ["float32", "complex128", "int32", "float16"])
@pytest.mark.parametrize("text", [
    "n=3 c=4 o=6 g=2 x=19,23 k=3,2 s=2,1 p=2:1,3",
    "n=2 c=6 o=5 x=41 k=3 d=4 p=5:2",
    "n=2 c=6 o=12 g=6 x=9,11 k=3,2 s=3,2",
    "n=2 c=3 o=4 x=5,7,6 k=2,3,1",
    "c=7 o=5 x=13,8 k=1,1",
])  # fmt: skip
def test_a_tiny_workspace_gives_the_same_sums(text: str, dtype: str) -> None:
    geometry = Geometry.parse(text)
    arrays = arrays_of(geometry, dtype, whole=True)
    expected = contractions(geometry, arrays)
    for workspace in (1, 300, 700, 1500, 4000, 20_000, MEBIBYTE):
        for number in (1, 3):
            with limits(workspace=workspace, threads=number):
                results = contractions(geometry, arrays, "auto")
            for result, right in zip(results, expected, strict=True):
                assert np.array_equal(result, right), (workspace, number)


def test_a_workspace_of_a_few_thousand_bytes_still_serves_gemm() -> None:
    geometry = Geometry.parse("n=3 c=4 o=6 g=2 x=19,23 k=3,2")
    x, w, _ = arrays_of(geometry, "float32")
    with limits(workspace=2000):
        assert arrconv.explain("conv", x, w, groups=2).kernel == "gemm"
    with (
        limits(workspace=20),
        pytest.raises(arrconv.UnsupportedError, match=r"algorithm='gemm' cannot .* \d+ bytes, more than"),
    ):
        conv(x, w, groups=2, algorithm="gemm")


@pytest.mark.parametrize("member", ["conv", "conv_grad_input", "conv_grad_weight"])
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("mebibytes", [1, 4, 64])
def test_memory_stays_within_the_result_and_the_workspaces(member: str, number: int, mebibytes: int) -> None:
    geometry = Geometry.parse("n=1 c=64 o=48 x=256,256 k=3,3 p=1")
    x, w, gy = arrays_of(geometry, "float32")
    call = {
        "conv": lambda: conv(x, w, padding=1),
        "conv_grad_input": lambda: conv_grad_input(w, gy, input_size=(256, 256), padding=1),
        "conv_grad_weight": lambda: conv_grad_weight(x, gy, kernel_size=(3, 3), padding=1),
    }[member]
    call()  # what the first one finds out, compiles and keeps is no part of the next
    with limits(threads=number, workspace=mebibytes * MEBIBYTE):
        tracemalloc.start()
        try:
            result = call()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert result.nbytes <= peak  # NumPy does report its memory
    assert peak < result.nbytes + number * mebibytes * MEBIBYTE + 2_000_000


def _in_child(expected: bytes, arrays: tuple[np.ndarray, ...]) -> None:
    with limits(threads=3):
        same = conv(arrays[0], arrays[1]).tobytes() == expected
    os._exit(17 if same else 18)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
def test_a_forked_child_has_threads_of_its_own(pools: list[int]) -> None:
    arrays = arrays_of(Geometry.parse(PROBLEMS["images"]), "float64")
    with limits(threads=3):
        expected = conv(arrays[0], arrays[1]).tobytes()
    assert 2 in pools
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(expected, arrays))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of any fork beside threads
        child.start()
    child.join(30)
    if child.is_alive():
        child.kill()
    assert child.exitcode == 17
    with limits(threads=3):
        assert conv(arrays[0], arrays[1]).tobytes() == expected


LATE = """
import threading, numpy as np, arrconv
def late():
    threading.main_thread().join()
    with arrconv.limits(threads=2):
        print(arrconv.conv(np.ones((2, 32, 33, 35)), np.ones((48, 32, 3, 5))).sum())
threading.Thread(target=late).start()
"""


def test_a_thread_that_outlives_the_main_one_may_compute() -> None:
    run = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, timeout=60, check=False)
    assert run.stderr == ""
    assert float(run.stdout) == 2 * 48 * 31 * 31 * 32 * 15
