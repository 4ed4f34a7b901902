"""The line protocol of docs/line-protocol.md: what is said to a program, and what its answers mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from arrconv_conformance.adapters import Unsupported
from arrconv_conformance.claims import Claim
from arrconv_conformance.data import DTYPES, is_available, numpy_dtype
from arrconv_conformance.members import MEMBERS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from arrconv_conformance.data import Array

VERSION = 1
"""The version of the protocol."""

HELLO = f"hello protocol={VERSION}"
"""What is said first."""

FUNCTIONS = tuple(dict.fromkeys(member.function for member in MEMBERS.values()))
"""The functions that a program may offer."""


class NonsenseError(ValueError):
    """What a program says or writes is not of the protocol."""


class Refused(Exception):  # noqa: N818 - named as what the program does
    """The program answered `error`."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What a program says of itself.

    Args:
        name: its name.
        version: its version.
        functions: those of FUNCTIONS that it offers.
        claims: its claims by dtype, as `Claim.of` reads them.
    """

    name: str
    version: str
    functions: tuple[str, ...]
    claims: dict[str, Any]

    @classmethod
    def parse(cls, line: str) -> Hello:
        """What a line says.

        Raises:
            NonsenseError: it is no hello of this version.
            ClaimsError: its claims mean nothing.
        """
        verb, *words = line.split() or [""]
        if verb != "hello":
            raise NonsenseError(f"it says {shown(line)} in place of hello")
        tokens = _tokens(words)
        if (spoken := tokens.get("protocol")) != str(VERSION):
            raise NonsenseError(f"it speaks version {spoken} of the line protocol, and this suite speaks {VERSION}")
        name = tokens.get("name", "")
        if re.fullmatch(r"[\w.+-]+", name) is None:
            raise NonsenseError(f"its name= must be of letters, digits and ._+-, but is {name!r}")
        offered = tokens.get("functions", ",".join(FUNCTIONS)).split(",")
        functions = tuple(function for function in FUNCTIONS if function in offered)
        hello = cls(name, tokens.get("version", "unknown"), functions, _claims(tokens))
        for dtype in hello.claims:
            Claim.of(hello, dtype)
        return hello


def _claims(tokens: dict[str, str]) -> dict[str, Any]:
    claims: dict[str, Any] = {}
    for key, value in tokens.items():
        claim, _, dtype = key.partition(".")
        if claim != "claim":
            continue
        if dtype not in DTYPES:
            raise NonsenseError(f"{key}= is of no dtype; the dtypes are {', '.join(DTYPES)}")
        claims[dtype] = _claim(value) if ":" in value else value
    return claims


def _claim(value: str) -> dict[str, Any]:
    fields: dict[str, Any] = dict(entry.partition(":")[::2] for entry in value.split(","))
    flushes = fields.get("flushes_subnormals", "false")
    if flushes not in ("true", "false"):
        raise NonsenseError(f"flushes_subnormals: is true or false, but is {flushes!r}")
    return fields | {"flushes_subnormals": flushes == "true"}


def request(function: str, operands: dict[str, Array | None], options: dict[str, Any], folder: Path) -> str:
    """The line that asks for a call; the operands are written to the folder."""
    given = {name: array for name, array in operands.items() if array is not None}
    dtype = next(iter(given.values())).dtype.name
    tokens = {"function": function, "dtype": dtype, "folder": str(folder)}
    for name, array in given.items():
        tokens[name] = f"{name}.npy"
        _write(folder / tokens[name], array)
    tokens |= {name: _text(value) for name, value in options.items()}
    return " ".join(["call", *(f"{name}={value}" for name, value in tokens.items())])


def _text(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    entries = (":".join(map(str, entry)) if isinstance(entry, tuple) else str(entry) for entry in value)
    return ",".join(entries) or "-"


def results(reply: str, needs: Iterable[str], folder: Path) -> dict[str, Array]:
    """What an answer to a call holds.

    Args:
        reply: the answer.
        needs: the names of the results that must be there.
        folder: where their files are.

    Raises:
        Unsupported: the program does not offer the call.
        Refused: it cannot make it.
        NonsenseError: the answer is none, or a file is missing or no array.
    """
    verb, _, rest = reply.strip().partition(" ")
    match verb:
        case "done":
            files = _tokens(rest.split())
        case "unsupported":
            raise Unsupported(rest)
        case "error":
            raise Refused(rest)
        case _:
            raise NonsenseError(f"it says {shown(reply)}, which is none of done, unsupported and error")
    if missing := [need for need in needs if need not in files]:
        raise NonsenseError(f"it says {shown(reply)}, which lacks {', '.join(f'{need}=' for need in missing)}")
    return {need: _read(folder, files[need]) for need in needs}


def _tokens(words: list[str]) -> dict[str, str]:
    tokens: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals) or key in tokens:
            raise NonsenseError(f"{shown(word)} is no key=value, or is given twice")
        tokens[key] = unquote(value)
    return tokens


def _write(path: Path, array: Array) -> None:
    if array.dtype.name == "bfloat16":  # the format has no such dtype; its bits travel
        array = np.asarray(array, order="C").view(np.uint16)
    with path.open("wb") as file:
        plain = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        np.lib.format.write_array(file, plain, version=(1, 0), allow_pickle=False)


def _read(folder: Path, name: str) -> Array:
    if "/" in name:
        raise NonsenseError(f"{shown(name)} is no name of a file in the folder of the call")
    try:
        with (folder / name).open("rb") as file:
            array: Array = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise NonsenseError(f"there is no file {shown(name)} in the folder of the call") from None
    except Exception as error:  # a file may hold anything, and NumPy makes errors of many kinds of it
        raise NonsenseError(f"{shown(name)} is no .npy file of an array: {error}") from None
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    is_bfloat16 = array.dtype == np.uint16 and is_available("bfloat16")
    return array.view(numpy_dtype("bfloat16")) if is_bfloat16 else array


def shown(text: str) -> str:
    """What a program said, as it stands in messages."""
    return repr(text if len(text) <= 80 else f"{text[:77]}…")
