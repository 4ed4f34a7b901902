"""A call, a training step and a solver's iteration neither wait for the device nor copy from it or to it.

On the CPU a stand-in for CuPy notes each look at its arrays; on a GPU calls must come back while it is busy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import array_api_strict
import numpy as np
import pytest
from stand_in import LOOKS, RAW, STANDARD, Array, LookError, get, put, stand_in

import arrconv
from arrconv import Geometry, linop, nn
from arrconv.linop import solve
from arrconv.train import SGD, Adam, Gaussian, Pairs, fit
from arrconv.train.networks import seed_network, unet
from arrconv.train.optimiser import clip_gradients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GEOMETRY = Geometry.parse("n=3 c=4 o=6 g=2 x=9,13 k=5,2 s=2,1 p=2:1,0:3")
SOLVED = "arrconv.linop.solve.solution.Sides.goes_on"
CURVATURE = "arrconv.linop.solve.cg.cg"
CARRIED, LOSSES = "arrconv.train.pictures.carried", "arrconv.train.pictures.host"
LOOKING: dict[str, str] = {
    SOLVED: "whether all are done; every `check` iterations",
    CURVATURE: "whether the operator is positive definite; where `check` is 1",
    "arrconv.linop.solve.power.power": "whether vectors still move; every iteration",
    "arrconv.kernels.fft.contract": "whether a sum was not finite; only where fft is asked for by name",
    CARRIED: "the data, once; of each batch the places of its pairs",
    LOSSES: "the losses since the last report",
}
"""The places that look, and what for, and when. Nothing else does outside of `exact`, checks and set-up."""


@pytest.fixture
def device() -> Iterator[None]:
    with stand_in():
        yield


def whole(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.integers(-3, 4, shape)
    return (values + 1j * rng.integers(-3, 4, shape) if dtype.startswith("complex") else values).astype(dtype)


def members(dtype: str, mode: str, algorithm: str, there: Callable[[Any], Any]) -> list[Any]:
    """What all members make of arrays that are put somewhere."""
    g, options = GEOMETRY, dict(GEOMETRY.options) | {"algorithm": algorithm}
    shapes = (g.input_shape, g.weight_shape, g.output_shape, (g.out_channels,), (g.in_channels,))
    x, w, y, b, a = (there(whole(shape, dtype, seed)) for seed, shape in enumerate(shapes))
    modes = options | {"padding_mode": mode}
    del options["padding_mode"]
    transposed = options | {"output_padding": g.slack}
    grads = arrconv.conv_backward(x, w, y, **modes)
    back = arrconv.conv_transpose_backward(y, w, x, **transposed)
    return [
        arrconv.conv(x, w, b, **modes),
        arrconv.conv_transpose(y, w, a, **transposed),
        arrconv.conv_grad_input(w, y, input_size=g.input_size, **modes),
        arrconv.conv_grad_weight(x, y, kernel_size=g.kernel_size, **modes),
        arrconv.conv_grad_bias(y),
        *(grads.input, grads.weight, grads.bias, back.input, back.weight, back.bias),
    ]


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("algorithm", ["auto", "taps"])
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128", "uint8", "int64"])
def test_no_member_looks_and_each_is_what_it_is_on_numpy(dtype: str, mode: str, algorithm: str) -> None:
    for found, expected in zip(
        members(dtype, mode, algorithm, put), members(dtype, mode, algorithm, np.asarray), strict=True
    ):
        assert type(found) is Array
        assert found.dtype == expected.dtype
        assert np.array_equal(get(found), expected)


@pytest.mark.usefixtures("device")
def test_the_stand_in_takes_the_kernels_that_cupy_takes() -> None:
    x, w, y = (put(whole(shape, "float32", 0)) for shape in ((3, 4, 9, 13), (6, 2, 5, 2), (3, 6, 4, 15)))
    options = dict(GEOMETRY.options)
    assert arrconv.explain("conv", x, w, **options).kernel == "gemm"
    assert arrconv.explain("conv_grad_weight", x, y, kernel_size=(5, 2), **options).kernel == "gemm"
    chosen = arrconv.explain("conv_grad_input", w, y, input_size=(9, 13), **options)
    assert (chosen.kernel, "on CuPy it would have to wait" in chosen.passed_over["gemm"]) == ("taps", True)


LAYERS: dict[str, Callable[[], nn.Layer]] = {
    "seed": lambda: seed_network(width=4),
    "unet": lambda: unet(width=4),
    "the others": lambda: nn.Sequential(
        nn.BatchNorm2d(3), nn.Tanh(), nn.MaxPool2d(2), nn.Dropout(0.5), nn.GroupNorm(1, 3), nn.Softplus(),
        nn.AvgPool2d(2), nn.Upsample(4), nn.ConvTranspose2d(3, 3, 3, padding=1),
    ),
}  # fmt: skip


def trained(net: nn.Layer, optimiser: SGD | Adam, x: Any, t: Any) -> Any:
    """The loss of a step."""
    optimiser.zero_grad()
    y = net.forward(x)
    net.backward(arrconv.mse_loss_backward(y, t), needs_input=False)
    clip_gradients(net, 1.0)
    optimiser.step()
    return arrconv.mse_loss(y, t)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("make", [lambda net: SGD(net, lr=0.1, momentum=0.9), lambda net: Adam(net, lr=1e-3)])
@pytest.mark.parametrize("name", LAYERS)
def test_no_training_step_looks(name: str, make: Callable[[nn.Layer], SGD | Adam]) -> None:
    net = LAYERS[name]().initialise(STANDARD, seed=0)
    x, t = (put(np.random.default_rng(seed).random((5, 3, 8, 12), np.float32)) for seed in (0, 1))
    optimiser = make(net)
    losses = [trained(net, optimiser, x, t) for _ in range(3)]
    assert all(np.isfinite(get(loss)) for loss in losses)


def test_training_carries_the_data_once_and_looks_at_losses_where_it_reports() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (15, 3, 8, 4), dtype=np.uint8)
    pairs, lost = Pairs.noisy(pictures, Gaussian(0.1), seed=0), list[int]()
    with stand_in(*LOOKING) as looks:
        net = seed_network(width=4).initialise(STANDARD, seed=0)
        fit(
            net,
            SGD(net, lr=0.1),
            pairs,
            epochs=2,
            batch=4,
            every=3,
            on_report=lambda _: lost.append(looks.seen[LOSSES]),
        )
    steps = 8
    assert looks.seen == {CARRIED: 2 + steps, LOSSES: steps}
    assert lost == [3, 4, 7, 8]  # after three steps, and at the end of each epoch of four


def problem() -> tuple[linop.Operator, Any]:
    operator = linop.Conv(put(whole((5, 3, 3, 2), "float64", 0)), (6, 7), padding=((1, 1), (1, 0)))
    return operator, put(whole((2, *operator.shape_out), "float64", 1))


SOLVERS: dict[str, Callable[[linop.Operator, Any, dict[str, Any]], Any]] = {
    "cg": lambda a, b, o: solve.cg(a.gram() + linop.Identity(a.shape_in, a.example), a.H @ b, **o),
    "cgls": lambda a, b, o: solve.cgls(a, b, **o),
    "lsqr": lambda a, b, o: solve.lsqr(a, b, **o),
    "lsmr": lambda a, b, o: solve.lsmr(a, b, damp=0.1, **o),
    "fista": lambda a, b, o: solve.fista(a, b, proximal=solve.L1(0.1), step=1e-3, **o),
    "landweber": lambda a, b, o: solve.landweber(a, b, proximal=solve.NonNegative(), step=1e-3, **o),
}


@pytest.mark.parametrize("check", [1, 3, 100])
@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_looks_every_so_many_iterations(name: str, check: int) -> None:
    """At whether all are done, and whether all norms are finite; and at its curvature, if it looks each time."""
    with stand_in(*LOOKING) as looks:
        SOLVERS[name](*problem(), {"iterations": 7, "check": check, "rtol": 0.0})
    curvature = {CURVATURE: 7} if name == "cg" and check == 1 else {}
    assert looks.seen == {SOLVED: 2 * (7 // check + 1)} | curvature


def test_every_place_that_may_look_does() -> None:
    """Those that the tests above have not seen."""
    with stand_in(*LOOKING) as looks:
        solve.power(problem()[0], iterations=2)
        x = put(whole((2, 3, 9, 8), "float64", 0))
        arrconv.conv(x, put(whole((4, 3, 5, 3), "float64", 1)), algorithm="fft")
    tested = {SOLVED, CURVATURE, CARRIED, LOSSES}
    assert looks.seen.keys() | tested == LOOKING.keys()


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(
    "look",
    [
        bool, float, int, complex, [1, 2, 3].__getitem__, lambda a: a.item(), lambda a: a.tolist(), lambda a: a.get(),
        lambda a: RAW.ones(3)[RAW.ones(3) > a], STANDARD.nonzero, lambda a: STANDARD.asarray([1.0, 2.0], dtype=a.dtype),
        lambda a: STANDARD.asarray(1.0, dtype=a.dtype), lambda a: STANDARD.asarray(np.ones(2), dtype=a.dtype),
        lambda a: max(RAW.ones(2)) + a,
    ],
)  # fmt: skip
def test_the_stand_in_finds_every_look(look: Callable[[Any], Any]) -> None:
    with pytest.raises(LookError, match=f" in {__name__}"):
        look(STANDARD.sum(RAW.ones(3)))


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("mix", [np.asarray, lambda a: a + np.ones(2), lambda a: RAW.add(a, np.ones(2))])
def test_the_stand_in_does_not_mix_with_numpy(mix: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"conversion to a NumPy array|Unsupported type"):
        mix(RAW.ones(2))


def test_the_stand_in_counts_what_is_allowed() -> None:
    with stand_in(f"{__name__}.test_the_stand_in_counts_what_is_allowed") as looks:
        assert float(STANDARD.sum(RAW.ones(3))) == 3.0
        assert RAW.ones(3)[0]
    assert list(looks.seen.values()) == [2]
    assert LOOKS.allowed == ()


@pytest.mark.parametrize("name", ["cg", "lsmr", "fista"])
def test_solvers_stay_on_another_device(name: str) -> None:
    there = array_api_strict.Device("device1")
    w = array_api_strict.asarray(whole((5, 3, 3, 2), "float64", 0), device=there)
    operator = linop.Conv(w, (6, 7), padding=((1, 1), (1, 0)))
    b = array_api_strict.asarray(whole((2, *operator.shape_out), "float64", 1), device=there)
    assert SOLVERS[name](operator, b, {"iterations": 3}).x.device == there


SPIN = 'extern "C" __global__ void spin(long long n) { for (long long start = clock64(); clock64() - start < n;); }'
BUSY = 2**31  # cycles: about a second


def work(library: Any) -> dict[str, Callable[[Callable[[], None]], Any]]:
    """What must not wait for a device that is kept busy from some point on.

    Each launches fewer kernels than the thousand that a queue holds.
    """
    net = seed_network(width=8).initialise(library, seed=0)
    x, t = (library.asarray(np.random.default_rng(seed).random((4, 3, 16, 16), np.float32)) for seed in (0, 1))
    w, optimiser = library.asarray(whole((5, 3, 3, 2), "float32", 0)), SGD(net, lr=0.1)
    options: dict[str, Any] = {"padding": ((1, 1), (1, 0)), "padding_mode": "reflect"}
    gy = arrconv.conv(x, w, **options)
    operator = linop.Conv(w, (16, 16), **options)
    normal = operator.gram() + linop.Identity(operator.shape_in, operator.example)
    back = operator.H @ gy

    def iterate(spin: Callable[[], None]) -> None:
        """Iterations after the first look."""
        solve.cg(
            normal, back, iterations=3, check=100, rtol=0.0, callback=lambda s: spin() if s.iteration == 1 else None
        )

    def after(call: Callable[[], Any]) -> Callable[[Callable[[], None]], Any]:
        return lambda spin: (spin(), call())

    return {
        "conv": after(lambda: arrconv.conv(x, w, **options)),
        "conv_transpose": after(lambda: arrconv.conv_transpose(gy, w, stride=2)),
        "conv_backward": after(lambda: arrconv.conv_backward(x, w, gy, **options)),
        "training": after(lambda: trained(net, optimiser, x, t)),
        "cg": iterate,
    }


WORK = ("conv", "conv_transpose", "conv_backward", "training", "cg")


def test_the_work_for_a_gpu_is_done_elsewhere_too() -> None:
    spins = list[None]()
    found = work(np)
    assert tuple(found) == WORK
    for call in found.values():
        call(lambda: spins.append(None))
    assert len(spins) == len(WORK)


@pytest.mark.gpu
@pytest.mark.parametrize("name", WORK)
def test_a_gpu_is_not_waited_for(name: str) -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not cupy.is_available():
        pytest.skip("there is no CUDA device")
    kernel, call, stream = cupy.RawKernel(SPIN, "spin"), work(cupy)[name], cupy.cuda.get_current_stream()
    call(lambda: None)  # compiles, and fills the pool of memory
    stream.synchronize()
    call(lambda: kernel((1,), (1,), (BUSY,)))
    assert not stream.done
    stream.synchronize()
