"""What programs that speak the line protocol are told, and what is read from them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from arrconv_conformance import Unavailable, Unsupported, Verdict, scratch
from arrconv_conformance.claims import Claim
from arrconv_conformance.data import DTYPES, is_available
from arrconv_conformance.layouts import LAYOUTS
from arrconv_conformance.line_protocol import Refused
from engines import HELLO, OPTIONS, TRANSPOSED, arrays, looping, starting, verdict

from arrconv import Arithmetic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines import Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts engines, and ends them after the test."""
    with starting(tmp_path) as start:
        yield start


def test_a_request_says_everything(start: Start) -> None:
    tells = start(looping("say('error', request['line'].replace(request['folder'], 'FOLDER'))"))
    bias = np.ones(6, np.float32)
    expected = {
        "conv": "call function=conv dtype=float32 folder=FOLDER x=x.npy w=w.npy bias=bias.npy stride=1,2 "
        "padding=1:0,-1:2 dilation=3,1 groups=2 padding_mode=reflect",
        "conv_backward": "call function=conv_backward dtype=float32 folder=FOLDER x=x.npy w=w.npy gy=gy.npy stride=1,2 "
        "padding=1:0,-1:2 dilation=3,1 groups=2 padding_mode=zeros needs=input,bias",
        "conv_transpose": "call function=conv_transpose dtype=float32 folder=FOLDER y=y.npy w=w.npy stride=- "
        "padding=- dilation=- groups=1 output_padding=-",
        "conv_transpose_backward": "call function=conv_transpose_backward dtype=float32 folder=FOLDER y=y.npy w=w.npy "
        "gx=gx.npy stride=2 padding=same_lower dilation=1 groups=1 output_padding=0 needs=weight",
    }
    x, w = arrays()["x"], arrays()["w"]
    none = {"stride": (), "padding": (), "dilation": (), "groups": 1, "output_padding": ()}
    named = {"stride": (2,), "padding": "same_lower", "dilation": (1,), "groups": 1, "output_padding": (0,)}
    calls = {
        "conv": ((x, w, bias), {**OPTIONS, "padding_mode": "reflect"}),
        "conv_backward": ((x, w, x), {**OPTIONS, "padding_mode": "zeros", "needs": ("input", "bias")}),
        "conv_transpose": ((x, w, None), none),
        "conv_transpose_backward": ((x, w, x), {**named, "needs": ("weight",)}),
    }
    for function, (operands, options) in calls.items():
        with pytest.raises(Refused) as refusal:
            getattr(tells, function)(*operands, **options)
        assert str(refusal.value) == expected[function]


ECHO = looping("""
import shutil
shutil.copy(request["folder"] + "/x.npy", sys.argv[1])
say("done result=x.npy")
""")
FORMS = {
    "float32": "<f4",
    "float64": "<f8",
    "float16": "<f2",
    "bfloat16": "<u2",
    "complex64": "<c8",
    "complex128": "<c16",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "|i1",
    "uint8": "|u1",
}


def test_every_dtype_travels_bit_by_bit(start: Start, tmp_path: Path) -> None:
    echo = start(ECHO, str(tmp_path / "x.npy"))
    assert set(FORMS) == set(DTYPES)
    for dtype in filter(is_available, DTYPES):
        given = arrays(dtype)
        got = echo.conv(given["x"], given["w"], None, **OPTIONS, padding_mode="zeros")
        assert (got.dtype, got.shape) == (given["x"].dtype, given["x"].shape)
        assert got.tobytes() == given["x"].tobytes()
        written = np.load(tmp_path / "x.npy", allow_pickle=False)
        assert written.dtype.str == FORMS[dtype]
        assert written.tobytes() == given["x"].tobytes()


@pytest.mark.parametrize("layout", [*LAYOUTS, "big-endian", "empty"])
def test_every_layout_travels_in_c_order(layout: str, start: Start, tmp_path: Path) -> None:
    echo = start(ECHO, str(tmp_path / "x.npy"))
    x = arrays()["x"]
    match layout:
        case "big-endian":
            laid = x.astype(">f4")
        case "empty":
            laid = x[:, :, :0]
        case _:
            laid = LAYOUTS[layout](x)
    got = echo.conv(laid, arrays()["w"], None, **OPTIONS, padding_mode="zeros")
    assert np.array_equal(got, laid)
    written = np.load(tmp_path / "x.npy", allow_pickle=False)
    assert (written.dtype.str, written.shape) == ("<f4", laid.shape)
    assert written.flags.c_contiguous
    assert b"'fortran_order': False" in (tmp_path / "x.npy").read_bytes()


def test_results_in_any_byte_order_are_read(start: Start) -> None:
    reads = start(
        looping("save(request, 'y.npy', (3,), struct.pack('>3d', 1, 2, -3), '>f8'); say('done result=%79.npy')")
    )
    got = reads.conv(**arrays(), bias=None, **OPTIONS)
    assert (got.dtype, got.tolist()) == (np.float64, [1, 2, -3])


def test_a_program_is_kept_and_its_folders_are_not(start: Start) -> None:
    tells = start(looping("say('error', os.getpid(), n, request['folder'], sorted(os.listdir(request['folder'])))"))
    said = []
    for _ in range(2):
        with pytest.raises(Refused) as refusal:
            tells.conv(**arrays(), bias=None, **OPTIONS)
        said.append(str(refusal.value).split(maxsplit=3))
    (pid, first, folder, names), (same, second, other, _) = said
    assert (pid, first, second) == (same, "0", "1")
    assert names == "['w.npy', 'x.npy']"
    assert folder != other
    assert not Path(folder).exists()
    assert Path(folder).parent.parent == (
        Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(tempfile.gettempdir())
    )


def test_files_lie_on_disk_where_memory_has_no_room(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(scratch, "_ROOM", 1 << 62)
    with pytest.raises(Refused, match=f"^{tmp_path / 'temporary'}/arrconv-calls-[^/]*/[^/]*$"):
        start(looping("say('error', request['folder'])")).conv(**arrays(), bias=None, **OPTIONS)
    (tmp_path / "two words").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "two words"))
    with pytest.raises(Unavailable, match="two words', and may have no spaces; set TMPDIR to another"):
        start(HELLO)


def test_what_a_program_says_of_itself(start: Start) -> None:
    words = (
        "functions=conv,pool claim.float32=input:tf32 claim.int32=wraps claim.float16=flushes_subnormals:true later=1"
    )
    one = start(f"\nask()\nsay('hello protocol=1 name=my-1.x version=1.2%20of%20{{}}% {words}')\nask()\nask()")
    assert (one.name, one.version) == ("my-1.x", "1.2 of {}%")
    assert Claim.of(one, "float32").arithmetic == Arithmetic("tf32", "float32", "float32")
    assert Claim.of(one, "float16").arithmetic == Arithmetic("float16", "float32", "float16", flushes_subnormals=True)
    assert Claim.of(one, "int32").outputs == ("int32",)
    assert Claim.of(one, "float64").arithmetic == Arithmetic.of("float64")
    with pytest.raises(Unsupported, match=r"^my-1\.x does not offer conv_backward$"):
        one.conv_backward(*arrays().values(), arrays()["x"], **OPTIONS, needs=("input",))
    assert verdict(one, TRANSPOSED) == Verdict("unsupported", "my-1.x does not offer conv_transpose")


def test_a_folder_goes_with_its_process_even_where_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import os, pathlib, sys\nfrom arrconv_conformance import scratch\n" + (
        "scratch._MEMORY = pathlib.Path(sys.argv[1])\none = scratch.Scratch()\n(one.path / 'x.npy').touch()\n"
        "print(one.path, flush=True)\nif len(sys.argv) > 2: os._exit(0)"
    )
    monkeypatch.setattr(scratch, "_MEMORY", tmp_path)
    (tmp_path / "arrconv-calls-of-somebody").mkdir()
    living = scratch.Scratch()

    def left_by(*arguments: str) -> Path:
        words = [sys.executable, "-c", text, str(tmp_path), *arguments]
        return Path(subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip())

    assert not left_by().exists()
    dead = left_by("dies")
    assert (dead / "x.npy").exists()
    scratch.Scratch().close()
    assert not dead.exists()
    assert sorted(tmp_path.iterdir()) == sorted([living.path, tmp_path / "arrconv-calls-of-somebody"])
    living.close()
    assert not living.path.exists()
