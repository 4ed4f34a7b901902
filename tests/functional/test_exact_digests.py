"""Exact results have the same bits everywhere: frozen as digests, for any library, machine, BLAS, order and limits.

Run as a program it computes the digests in its own process, so that a test can give that one another BLAS; with the
name of a library and a file it compares those of that library.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import array_api_strict
import hard_sums
import numpy as np
import pytest
import rational
from rational import DTYPES, FORMATS, PARTS, Case, bits, dtype_of, format_of
from threadpoolctl import threadpool_info

import arrconv
from arrconv import Geometry

# No slack, so that the taps can be reversed.
GEOMETRIES = {
    "matrix": "n=5 c=96 o=6 g=2 x=- k=-",
    "plane": "n=2 c=4 o=6 g=2 x=7,5 k=3,2 s=2,1 p=1:1,0:2 d=1,2 mode=circular",
    "space": "n=2 c=2 o=3 x=4,3,5 k=2,3,1 s=1,2,1 p=1:0,-1:3,0",
}
KINDS = {"far": 0.45, "cancelling": 0.02}  # the share of the exponents that is used
RETURNS = {  # what each member returns: the like of x, w, gy, a bias b of y, a bias a of x
    "conv": "y",
    "conv_transpose": "x",
    "conv_grad_input": "x",
    "conv_grad_weight": "w",
    "conv_grad_bias": "b",
    "conv_backward": "xwb",
    "conv_transpose_backward": "ywa",
}
DIGESTS: dict[str, str] = {
    "conv float16": "bac717b898f44def91f3e8aa15e1a1843adba87f54f8aa8f5c0e222884dd6a91",
    "conv bfloat16": "020fbdaa1be255a8f1ed8cd915a595965297d7d431eb144c2af27f2fe3babf9b",
    "conv float32": "e19249df0aeb89847a4cb356cf5910392ac2bbe21922fc5a8f83de94a532db84",
    "conv float64": "35ad0cc9b381d72d82d919bff5d64e3811743d703ec9f1c22025cb53044bdefc",
    "conv complex64": "544f021448bd86b23aec285f81a72020459c16dfb8802a6f3a2bf84797da9be4",
    "conv complex128": "a57199deaa1be298d561f5c2c4d7422591a907b037b6dfeae09d590c1ae864db",
    "conv_transpose float16": "976ff8d6405890827678298527de9253c7cf58eac909a49dc353df6bec72d5a5",
    "conv_transpose bfloat16": "a0071257ca2246848e6768b849f835fe5aec1efb1e174853aab320271e5dffdc",
    "conv_transpose float32": "61ad8605273d28347966e9f7e6c0df127aad8970a6b17b0657d72d883b584dab",
    "conv_transpose float64": "ec81e42f5894e2abfa6c31cee6f6198e847dcea1e485935675022f1871e12ff7",
    "conv_transpose complex64": "0b8d2e1636bfbfdc7e52d5fab6ed20b36c7de534e5b7247d0afee6e317252fea",
    "conv_transpose complex128": "e5914d44628db5c22172c3f829deb9178d86f2fb93ce801c911d52ef48ec9f66",
    "conv_grad_input float16": "a5c969392348ef394b9478fa23a4a8a68fca87967b27343098c3d0cf293f512f",
    "conv_grad_input bfloat16": "b5b627bed8f702ae5f32417023ee4ad648a37b1024b80ee59ab0e1aae1d74ea4",
    "conv_grad_input float32": "807cb1b3511fead31f1ce5d1cfff763e8064766a39662b7fde98c8445b44b0bd",
    "conv_grad_input float64": "69a728aac925d0c9ce71d6307f3b18113d0873743f05f6d70c0e8d1f824ada44",
    "conv_grad_input complex64": "a62cee6e69dbcacb0426e31ca1de0a01cbdf98e45f766dcbbf9a264f61e0ea81",
    "conv_grad_input complex128": "d048d5feb577907a041b6228bf9c7d6f209abc12a7b6c67aa4ce278020c532ef",
    "conv_grad_weight float16": "47923129cf71748636ba6b2209fcba978352b1a4b8e286ce4e58a8cf555eafc4",
    "conv_grad_weight bfloat16": "c31973e8a1bde3a8c76958d241470178cc480af34efcbc648b5db62aa67444ae",
    "conv_grad_weight float32": "5fedc829528edb2f56c2e53d1bb2c21407cb2d829ba3fb0bd2f2382a724b3d32",
    "conv_grad_weight float64": "60073afc5304a780c62e9cbab61c39c6f568eafb744f29655398f58342fa38ba",
    "conv_grad_weight complex64": "5a41004dedc4faebc376cffa2f20d15a4ed1171bc2807d97a85361772483210a",
    "conv_grad_weight complex128": "dd186c17391c12a4da61ab2bcd15883491bd5b3c5f162d83f14811df6ea3f544",
    "conv_grad_bias float16": "f654805aaf27350cc3bf48a938c4fbc25962429de059d8a51f1966c91de1f4a8",
    "conv_grad_bias bfloat16": "82ae77ec1d5912436096a47a92f080186521f979ae0a2af529bd55f4564e67e8",
    "conv_grad_bias float32": "c8574e3e75d41496ca0711e08c2ebef2d27ac0779a33ec4418aabaa21ed7a458",
    "conv_grad_bias float64": "24f00cb0fd34120524d1d41322c3e407904d88619e2289905ce2c5dac2b3efed",
    "conv_grad_bias complex64": "d13d3ca9216e94b6a80d8a7ad2d87ba1744fb8f97b221612904f9c20dae865a7",
    "conv_grad_bias complex128": "d0f3f26585cd482eeb486cf280798b8e81b34c4a255e3a063ef93b903ac65fa1",
    "conv_backward float16": "c0cdac0153bf4480947ae07aa2c41e108e9f0a35b6d9e67e848af76448e37bbb",
    "conv_backward bfloat16": "a424c1157c2441f994cb02ff3afc7b28046e3602a56e2d61b90e9e5276a9738d",
    "conv_backward float32": "b67f846cc14730700d9ea1fb5961258dec004f0c1c2c324d6ee72fdb541af8f4",
    "conv_backward float64": "7376f78069310816ca74f8e90a007a977e9531861094af2d2bdb3ab97abafa3e",
    "conv_backward complex64": "2989e5165a5c1b14691288c11491e6c367b8314b75f0ea93b28dcfda718b1374",
    "conv_backward complex128": "9e894cef99d7a7edf02380a8f4c26b1dd17f05e6985b0705491a0db44afe8804",
    "conv_transpose_backward float16": "879edd2f8f64326058959b1c4ea8fc75f1f9a838e4c374311b5eb5f790d0c346",
    "conv_transpose_backward bfloat16": "13e4d10622053cc6bd6f6a8271d8501ed94ecc8e8a794a669da3fc683cf42868",
    "conv_transpose_backward float32": "f5a577419579fd2b02f8506c74f28ae76d96db936ec0de568931819040e6af68",
    "conv_transpose_backward float64": "8ea29545054b34f5b1e520ad6b4c2fda63c00fb0f0a73d585a243c964e12182d",
    "conv_transpose_backward complex64": "7a86c1ea05e2c661a7e51cb80c67a05a04c3a4bfec0f7b28a891e50e0a54d19e",
    "conv_transpose_backward complex128": "966463b1749c83d95dca3bd3078d96c13b2f21a74b07a0f1bcc883e64c16425e",
}


# Arrays


def numbers(shape: tuple[int, ...], dtype: str, kind: str, seed: list[int]) -> np.ndarray:
    """Numbers made of the integers of a generator whose stream is fixed, by nothing that a platform might round."""
    form, count = FORMATS[dtype], int(np.prod(shape))
    raw = np.random.PCG64(seed).random_raw(3 * count).reshape(3, count) >> np.uint64(8)
    whole = (raw[0] % np.uint64(2 ** (3 if kind == "cancelling" else form.precision - 1))).astype(np.float64)
    span = int(KINDS[kind] * (form.top - form.least)) + 3
    exponents = (raw[1] % np.uint64(span)).astype(np.int32) - span // 2 - form.precision
    signs = 1 - 2 * (raw[2] % np.uint64(2)).astype(np.float64)
    values = np.ldexp(signs * (whole + 2.0 ** (form.precision - 1)), exponents)
    return values.reshape(shape).astype(dtype_of(dtype))


@cache
def problem(name: str, kind: str, dtype: str) -> tuple[Geometry, list[np.ndarray]]:
    """A geometry, and x, w, gy and both biases."""
    g, made = Geometry.parse(GEOMETRIES[name]), []
    for at, shape in enumerate(rational.shapes(g)):
        seed = [list(GEOMETRIES).index(name), list(KINDS).index(kind), at]
        parts = [numbers(shape, PARTS.get(dtype, dtype), kind, [*seed, part]) for part in range(1 + (dtype in PARTS))]
        made.append(hard_sums.joined(*parts) if dtype in PARTS else parts[0])
    return g, made


def problems(dtype: str) -> list[tuple[Geometry, list[np.ndarray]]]:
    return [problem(name, kind, dtype) for name, kind in product(GEOMETRIES, KINDS)]


class Order:
    """Another order of the same terms: batch items, channels within their groups, taps from the other end."""

    def __init__(self, g: Geometry, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.batch = rng.permutation(g.batch or 1)
        self.shared = rng.permutation(g.in_channels // g.groups)  # w holds these once for all groups
        own = rng.permutation(g.out_channels // g.groups)
        starts = np.arange(g.groups)[:, None]
        self.inward = (starts * len(self.shared) + self.shared).reshape(-1)
        self.outward = (starts * len(own) + own).reshape(-1)
        axes = tuple(replace(axis, begin=axis.end, end=axis.begin) for axis in g.axes)
        self.geometry = replace(g, axes=axes)
        self.leading = {
            "x": (self.batch, self.inward), "w": (self.outward, self.shared), "y": (self.batch, self.outward),
            "b": (self.outward,), "a": (self.inward,),
        }  # fmt: skip

    def put(self, letter: str, array: np.ndarray) -> np.ndarray:
        lead = self.leading[letter]
        return np.flip(array[np.ix_(*lead)], tuple(range(len(lead), array.ndim)))

    def back(self, letter: str, array: np.ndarray) -> np.ndarray:
        lead = self.leading[letter]
        return np.flip(array, tuple(range(len(lead), array.ndim)))[np.ix_(*map(np.argsort, lead))]


# Digests


Run = Callable[[Case], list[np.ndarray]]


def exactly(case: Case) -> list[np.ndarray]:
    return case.run(algorithm="exact")


def digests(dtypes: list[str], run: Run = exactly, order: int | None = None) -> dict[str, str]:
    """The SHA-256 of all results of each member and dtype, computed in another order where there is a seed of one."""
    found = {f"{member} {dtype}": hashlib.sha256() for member in RETURNS for dtype in dtypes}
    for dtype in dtypes:
        for g, arrays in problems(dtype):
            other = None if order is None else Order(g, order)
            if other is not None:
                g, arrays = other.geometry, list(map(other.put, "xwyba", arrays))
            for case in rational.calls(g, arrays):
                for letter, array in zip(RETURNS[case.member], run(case), strict=True):
                    array = array if other is None else other.back(letter, array)
                    little = np.asarray(bits(array), f"<u{format_of(dtype).width // 8}")
                    found[f"{case.member} {dtype}"].update(little.tobytes())
    return {name: digest.hexdigest() for name, digest in found.items()}


def frozen(dtypes: list[str]) -> dict[str, str]:
    return {name: digest for name, digest in DIGESTS.items() if name.split()[1] in dtypes}


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_frozen_is_correctly_rounded(dtype: str) -> None:
    """Every number of it."""
    for g, arrays in problems(dtype):
        for case in rational.cases(g, arrays):
            assert rational.case_faults(case, exactly(case)) == [], (case.member, str(g))


def test_one_bit_changes_the_digest() -> None:
    def wrong(case: Case) -> list[np.ndarray]:
        first, *others = exactly(case)
        first = first.copy()
        first.reshape(-1).view(np.uint8)[-1] ^= 1
        return [first, *others]

    assert not set(digests(["bfloat16", "complex64"], wrong).items()) & set(DIGESTS.items())


@pytest.mark.parametrize(("threads", "workspace"), [(1, 2**26), (1, 2**14), (2, 2**18), (2, 2**26)])
def test_limits_change_no_bit(threads: int, workspace: int) -> None:
    dtypes = DTYPES if workspace > 2**14 else ["bfloat16", "float64"]  # the others take long in so little
    with arrconv.limits(threads=threads, workspace=workspace):
        assert digests(dtypes) == frozen(dtypes)


def test_every_member_and_dtype_is_frozen() -> None:
    assert set(DIGESTS) == {f"{member} {dtype}" for member in RETURNS for dtype in DTYPES}
    assert len(set(DIGESTS.values())) == len(DIGESTS)


def test_the_order_of_the_terms_changes_no_bit() -> None:
    assert digests(DTYPES, order=1) == DIGESTS
    assert digests(["float32"], lambda case: case.run(), order=1) != digests(["float32"], lambda case: case.run())


# Array libraries


# Where every operation takes long, each library shows some of the dtypes; the standard has no 16-bit ones.
SHARES = {"torch": ["bfloat16"], "CPU_DEVICE": ["complex64"], "device1": ["float64"]}


class Library:
    """How arrays come to a library and back, and which dtypes it has."""

    def __init__(self, name: str) -> None:
        self.dtypes = SHARES.get(name, [dtype for dtype in DTYPES if dtype != "bfloat16"])
        if name == "torch":
            torch = pytest.importorskip("torch", reason="PyTorch is not installed")
            self.put: Any = lambda a: (
                torch.asarray(a.view(np.int16)).view(torch.bfloat16)
                if a.dtype == dtype_of("bfloat16")
                else torch.asarray(a)
            )
            self.get: Any = lambda a: (
                a.view(torch.int16).numpy().view(dtype_of("bfloat16")) if a.dtype == torch.bfloat16 else a.numpy()
            )
        elif name == "numpy":
            self.put = self.get = np.asarray
        elif name == "cupy":
            cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
            if not cupy.is_available():
                pytest.skip("there is no CUDA device")
            self.put, self.get = cupy.asarray, cupy.asnumpy
        else:
            device, cpu = (array_api_strict.Device(place) for place in (name, "CPU_DEVICE"))
            self.put = lambda a: array_api_strict.asarray(a.copy(), device=device)
            self.get = lambda a: np.asarray(array_api_strict.asarray(a, device=cpu))

    def run(self, case: Case) -> list[np.ndarray]:
        there = case._replace(arrays=tuple(map(self.put, case.arrays)))
        return [self._back(array, there) for array in there.run(algorithm="exact")]

    def parts(self, case: Case) -> list[list[int]]:
        """The bits of the parts of a result."""
        there = case._replace(arrays=tuple(map(self.put, case.arrays)))
        return [bits(self._back(part, there)) for parts in there.parts() for part in parts]

    def _back(self, array: Any, case: Case) -> np.ndarray:
        assert type(array) is type(case.arrays[0])
        assert array.device == case.arrays[0].device
        return self.get(array)


@pytest.mark.parametrize("name", ["torch", "CPU_DEVICE", "device1", pytest.param("cupy", marks=pytest.mark.gpu)])
def test_array_libraries_give_the_same_bits(name: str) -> None:
    library = Library(name)
    assert digests(library.dtypes, library.run) == frozen(library.dtypes)
    for dtype in library.dtypes:
        for case in rational.calls(*problem("space", "cancelling", dtype)):
            assert library.parts(case) == [bits(part) for parts in case.parts() for part in parts], case.member


# The BLAS


def plain() -> str:
    """The digest of ordinary results that show how a BLAS adds up."""
    shapes = [(7, 150), (9, 150)]
    found = hashlib.sha256()
    for dtype in ("float32", "float64"):
        x, w = (numbers(shape, dtype, "cancelling", [99, at]) for at, shape in enumerate(shapes))
        found.update(arrconv.conv(x, w).tobytes())
    return found.hexdigest()


@cache
def under(core: str) -> dict[str, Any]:
    """What another process computes whose OpenBLAS was told to take the kernels for a certain processor."""
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | {"OPENBLAS_CORETYPE": core, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=False)
    if done.returncode == -signal.SIGILL:
        pytest.skip(f"this processor lacks instructions that OpenBLAS's kernels for {core} use")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    if answer["blas"] != [["openblas", core]]:
        pytest.skip(f"the BLAS did not take the kernels for {core}, but {answer['blas']}")
    return answer


CORES = ["Haswell", "SkylakeX", "Sandybridge"]


@pytest.mark.parametrize("core", CORES)
def test_the_kernels_of_the_blas_change_no_bit(core: str) -> None:
    assert under(core)["exact"] == DIGESTS


def test_plain_results_do_depend_on_the_kernels_of_the_blas() -> None:
    """Or the tests above would show nothing."""
    taken = set()
    for core in CORES:
        try:
            taken.add((core, under(core)["plain"]))
        except pytest.skip.Exception:
            continue
    if len(taken) < 2:
        pytest.skip("the BLAS took the kernels for fewer than two of the processors")
    assert len({digest for _, digest in taken}) > 1


def compared(name: str, file: str) -> int:
    """Write the digests of a library beside those that are frozen, say whether they are the same, and return it."""
    library = Library(name)
    found, expected = digests(library.dtypes, library.run), frozen(library.dtypes)
    differing = sorted(key for key in expected if found.get(key) != expected[key])
    record = {"library": name, "digests": found, "differing": differing}
    Path(file).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found)} digests on {name}, {f'not as frozen: {differing}' if differing else 'each as it is frozen'}")
    return int(bool(differing) or found.keys() != expected.keys())


@pytest.mark.parametrize("key", ["", "conv float64"])
def test_a_difference_is_said(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Of digests that are as they are frozen, but for one."""
    file, changed = tmp_path / "digests.json", {key: "0"} if key else {}
    monkeypatch.setattr(sys.modules[__name__], "digests", lambda dtypes, _: frozen(dtypes) | changed)
    assert compared("device1", str(file)) == len(changed)
    ending = f"not as frozen: {list(changed)}" if key else "each as it is frozen"
    assert capsys.readouterr().out == f"7 digests on device1, {ending}\n"
    assert json.loads(file.read_text(encoding="utf-8"))["differing"] == list(changed)


if __name__ == "__main__" and len(sys.argv) > 1:
    sys.exit(compared(*sys.argv[1:]))
if __name__ == "__main__":
    libraries = [
        [info["internal_api"], info.get("architecture")] for info in threadpool_info() if info["user_api"] == "blas"
    ]
    print(json.dumps({"blas": libraries, "exact": digests(DTYPES), "plain": plain()}))
