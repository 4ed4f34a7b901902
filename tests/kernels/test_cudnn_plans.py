"""The plans of cuDNN itself, where it is installed, for devices that are only described."""

from __future__ import annotations

import sys
from contextlib import suppress
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING, Any

import pytest
from cuda_cases import dtype_of
from cudnn_cases import CASES, DIRECTIONS, DTYPES, HALVES, served

from arrconv import Geometry, UnsupportedError
from arrconv.kernels import cudnn

if TYPE_CHECKING:
    from arrconv.geometry import Direction

# What cuDNN asks of a device, by which it chooses engines where there is none: an A100, an H100, and one of a T4's age.
A100 = """{"cudaDeviceId": 0, "deviceName": "A100", "deviceVer": 800, "driverVer": 13000, "isTccDriver": 0,
"l2CacheSize": 41943040, "maxCtasPerSM": 32, "maxRegistersPerSM": 65536, "maxSharedMemoryPerBlock": 49152,
"maxSharedMemoryPerBlockOptin": 166912, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "memClockRateKHz": 1593000,
"multiProcessorCount": 108, "pciDeviceId": 8370, "regsPerBlock": 65536, "reservedSharedMemoryPerBlock": 1024,
"smClockRateKHz": 1410000, "smCountOrigin": 0, "supportCoopLaunch": 1, "totalGlobalMem": 85899345920, "warpSize": 32,
"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64]}"""
H100 = A100.replace('"deviceVer": 800', '"deviceVer": 900').replace(
    '"multiProcessorCount": 108', '"multiProcessorCount": 132'
)
T4 = A100.replace('"deviceVer": 800', '"deviceVer": 750')


def device(description: str) -> Any:
    """A device that is only described, of the package itself."""
    package = pytest.importorskip("cudnn", reason="nvidia-cudnn-frontend is not installed")
    try:
        return package.create_device_properties(description)
    except RuntimeError as error:
        pytest.skip(f"cuDNN itself is not installed ({error})")


@pytest.fixture(params=[A100, H100], ids=["A100", "H100"])
def described(request: pytest.FixtureRequest) -> Any:
    return device(request.param)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cudnn_itself_has_a_plan_for_every_geometry(dtype: str, described: Any) -> None:
    for g in map(Geometry.batched, [*map(Geometry.parse, CASES), *served(40, seed=7)]):
        for direction in DIRECTIONS:
            plan = cudnn.plan(direction, g, dtype_of(dtype), 2**26, device_property=described)
            lead, channels, *sizes = g.shape_of(direction)
            assert list(plan.tensors[2].get_dim()) == [lead, channels, *(1,) * (g.ndim == 1), *sizes]


@pytest.mark.parametrize("dtype", [*HALVES, "float32"])
@pytest.mark.parametrize(
    "case", ["n=4 c=32 o=48 x=29,28 k=3,3 p=1", "n=4 c=32 o=48 x=290 k=5", "n=2 c=8 o=16 x=9,8,7 k=3"]
)
def test_cudnn_itself_leaves_engines_out(
    case: str, dtype: str, described: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those with tensor cores, but not for 16 bits, where all members have some, for arrays in C order."""
    g = Geometry.parse(case)

    def buildable(direction: Direction, *left_out: str) -> set[str]:
        monkeypatch.setattr(cudnn, "deselected", lambda _: left_out)
        graph, found = cudnn.plan(direction, g, dtype_of(dtype), 2**26, device_property=described).graph, set()
        for number in range(graph.get_execution_plan_count()):
            with suppress(sys.modules["cudnn"].cudnnGraphNotSupportedError):
                graph.build_plan_at_index(number)
                found.add(graph.get_plan_name_at_index(number))
        return found

    meant = cudnn.deselected(dtype_of(dtype))
    for direction in DIRECTIONS:
        left, without = buildable(direction, *meant), buildable(direction, *meant, "TENSOR_CORE")
        assert without < left if dtype in HALVES else without == left < buildable(direction)


def test_cudnn_itself_has_no_bfloat16_before_ampere() -> None:
    """So that it is computed in float32 there."""
    g = Geometry.parse(CASES[0])
    for direction in DIRECTIONS:
        cudnn.plan(direction, g, dtype_of("float16"), 2**26, device_property=device(T4))
        with pytest.raises(UnsupportedError, match=r"cuDNN has no conv_\w+ in bfloat16 for n=2 c=3 o=5"):
            cudnn.plan(direction, g, dtype_of("bfloat16"), 2**26, device_property=device(T4))


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
