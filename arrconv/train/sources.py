"""Where pictures come from: a folder of image files, arrays in npy and npz files, pairs of tensors saved by PyTorch.

Nothing is ever unpickled that could run code: of a PyTorch archive only tensors of bytes are read, by name.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv.errors import SpecError, UnsupportedError
from arrconv.spec import as_int
from arrconv.train.pairs import Pairs
from arrconv.train.pictures import check_pictures

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".gif")
"""Of files that are taken for images."""


@dataclass(frozen=True)
class Album:
    """Pictures that were read, and what was passed over.

    Attributes:
        pictures: uint8 (C, H, W), of any sizes.
        names: of the files that they are from.
        skipped: for each file that was passed over its name and why.
    """

    pictures: list[np.ndarray] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def read_pictures(path: Path, *, least: int = 1, is_grey: bool = False, apart: Path | None = None) -> Album:
    """Read all pictures of a folder (and of the folders in it), or one file: an image, or an npy or npz of arrays.

    Args:
        path: a folder or a file.
        least: the least number of pixels a side; smaller pictures are passed over.
        apart: a folder that is not looked into, such as that of answers.
        is_grey: whether to read brightness, one channel, instead of red, green and blue.

    Returns:
        An `Album`, in the order of the names; a file that cannot be read is named there, with the reason.

    Raises:
        FileNotFoundError: there is no such file or folder.
        SpecError: it is neither, or there is no picture in it.
        UnsupportedError: Pillow is not installed.
    """
    least = as_int(least, "least", 1)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    album = Album()
    images = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and apart not in file.parents)
    files = sorted(images) if path.is_dir() else [path]
    for file in files:
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        try:
            found = _read_arrays(file) if file.suffix in (".npy", ".npz") else [_read_image(file, is_grey)]
        except (SpecError, OSError, ValueError, SyntaxError) as reason:
            album.skipped.append((name, f"{reason}".partition("\n")[0]))
            continue
        for picture in found:
            if min(picture.shape[1:]) < least:
                size = "×".join(str(n) for n in picture.shape[:0:-1])
                album.skipped.append((name, f"{size} pixels, less than {least} a side"))
                continue
            album.pictures.append(picture)
            album.names.append(name)
    if not album.pictures:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in album.skipped[:3]) or f"no {', '.join(SUFFIXES)}"
        raise SpecError(f"there is no picture in {path} ({reasons})")
    return album


def read_pairs(path: Path) -> Pairs:
    """Read pairs of noisy pictures from a file: two tensors saved by `torch.save`, or an npz of `inputs` and `targets`.

    Raises:
        FileNotFoundError: there is no such file.
        SpecError: it is no such file, or holds something else.
        DTypeError, ShapeError: its arrays are no pictures.
    """
    if path.suffix == ".npz":
        arrays = read_npz(path)
        if not {"inputs", "targets"} <= arrays.keys():
            raise SpecError(f"{path} has arrays {', '.join(arrays) or '(none)'}, but needs inputs and targets")
        return Pairs(arrays["inputs"], arrays["targets"])
    found = _read_torch(path)
    if not isinstance(found, list | tuple) or len(found) != 2 or not all(isinstance(a, np.ndarray) for a in found):
        raise SpecError(
            f"{path} holds a {type(found).__name__}, but needs two tensors: noisy pictures, and others of them"
        )
    return Pairs(*found)


def write_picture(file: Path, picture: np.ndarray) -> None:
    """Write a picture, uint8 (C, H, W), as an image in the format that its name says.

    Raises:
        UnsupportedError: Pillow is not installed, or does not know the format.
    """
    pixels = picture[0] if len(picture) == 1 else np.moveaxis(picture, 0, -1)
    try:
        _pillow().fromarray(np.ascontiguousarray(pixels)).save(file)
    except ValueError as reason:
        raise UnsupportedError(f"{file} cannot be written: {reason}") from None


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise UnsupportedError("image files need Pillow: pip install 'arrconv[train]'") from None
    return Image


def _read_image(file: Path, is_grey: bool) -> np.ndarray:
    with _pillow().open(file) as opened:
        if opened.mode.startswith(("I", "F")):
            raise SpecError(f"its brightness is of more than 8 bits (Pillow's mode {opened.mode}), which is not read")
        image = import_module("PIL.ImageOps").exif_transpose(opened)  # cameras turn pictures by a note in the file
        pixels = np.asarray(image.convert("L" if is_grey else "RGB"), np.uint8)
    return pixels[None] if is_grey else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def _read_arrays(file: Path) -> list[np.ndarray]:
    """The pictures of an npy file, or of all arrays of an npz file: uint8 (C, H, W) or (N, C, H, W)."""
    arrays = read_npz(file) if file.suffix == ".npz" else {file.name: read_npy(file)}
    found: list[np.ndarray] = []
    for name, array in arrays.items():
        many = array[None] if array.ndim == 3 else array
        check_pictures(name, many)
        found += list(many)
    return found


def read_npy(file: Path) -> np.ndarray:
    """The array of an npy file; never anything that is pickled.

    Raises:
        FileNotFoundError: there is no such file.
        SpecError: it is no such file.
    """
    try:
        array: np.ndarray = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as reason:
        raise SpecError(f"{file} is no npy file of an array: {reason}") from None
    return array


def read_npz(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file; never anything that is pickled.

    Raises:
        FileNotFoundError: there is no such file.
        SpecError: it is no such file.
    """
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError) as reason:
        raise SpecError(f"{file} is no npz file of arrays: {reason}") from None


def _read_torch(file: Path) -> Any:
    """What `torch.save` wrote: tensors of bytes, in lists, tuples and dictionaries."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(names) != 1:
                raise SpecError(f"{file} is no archive of PyTorch: it has no data.pkl")
            prefix = names[0].removesuffix("data.pkl")
            return _TensorReader(archive, prefix).load()
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, KeyError, IndexError, AttributeError) as reason:
        raise SpecError(f"{file} is no archive of tensors of bytes that torch.save wrote: {reason}") from None


class _Bytes:
    """The type of a storage of bytes."""


class _TensorReader(pickle.Unpickler):
    """Reads tensors of bytes, and refuses to find anything that could do more."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str) -> None:
        super().__init__(io.BytesIO(archive.read(prefix + "data.pkl")))
        self._archive, self._prefix = archive, prefix

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for; only three are known."""
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch", "ByteStorage"): _Bytes,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not read")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """A storage: its bytes, which are in a file of their own."""
        kind, storage, key, _, count = pid
        if kind != "storage" or storage is not _Bytes:
            raise pickle.UnpicklingError(f"it has a storage of {storage!r}, not of bytes")
        content = np.frombuffer(self._archive.read(f"{self._prefix}data/{key}"), np.uint8)
        if len(content) != count:
            raise pickle.UnpicklingError(f"storage {key} has {len(content)} bytes, but should have {count}")
        return content


def _tensor(storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> np.ndarray:
    """A tensor, whose elements must all be within its storage."""
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) and (min((offset, *stride)) < 0 or last >= len(storage)):
        raise pickle.UnpicklingError(f"a tensor of size {size} reaches beyond its storage")
    if not math.prod(size):
        return np.zeros(size, np.uint8)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, stride).copy()
