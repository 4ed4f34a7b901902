"""Where pictures come from: what is read is what was written, what is broken is named, and nothing is run."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arrconv import DTypeError, ShapeError, SpecError, UnsupportedError
from arrconv.train import dead_leaves
from arrconv.train.sources import read_pairs, read_pictures, write_picture

PICTURES = dead_leaves(3, (20, 31), seed=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, one of them in a folder within; one that is small, one that is broken, and other files."""
    pytest.importorskip("PIL", reason="Pillow is not installed")
    (tmp_path / "more").mkdir()
    write_picture(tmp_path / "a.png", PICTURES[0])
    write_picture(tmp_path / "more" / "b.bmp", PICTURES[1])
    write_picture(tmp_path / "c.PNG", PICTURES[2][:1])  # grey
    write_picture(tmp_path / "small.png", PICTURES[0][:, :5, :9])
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (tmp_path / "truncated.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    (tmp_path / "notes.txt").write_text("not a picture", encoding="utf-8")
    return tmp_path


def test_a_folder_is_read_and_what_is_broken_or_small_is_named(folder: Path) -> None:
    album = read_pictures(folder, least=8)
    assert album.names == ["a.png", "c.PNG", str(Path("more") / "b.bmp")]
    expected = [PICTURES[0], np.repeat(PICTURES[2][:1], 3, axis=0), PICTURES[1]]
    assert all(np.array_equal(*pair) for pair in zip(album.pictures, expected, strict=True))
    skipped = dict(album.skipped)
    assert skipped.keys() == {"broken.jpg", "small.png", "truncated.png"}
    assert skipped["small.png"] == "9×5 pixels, less than 8 a side"
    assert "Truncated" in skipped["broken.jpg"]


def test_pictures_are_turned_as_their_camera_noted(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    exif = image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.fromarray(np.moveaxis(PICTURES[0], 0, -1)).save(tmp_path / "turned.png", exif=exif)
    (picture,) = read_pictures(tmp_path / "turned.png").pictures
    assert np.array_equal(picture, np.rot90(PICTURES[0], -1, axes=(1, 2)))


def test_pictures_of_16_bits_are_named_instead_of_clipped(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 160).save(tmp_path / "deep.png")
    with pytest.raises(SpecError, match=r"deep\.png: its brightness is of more than 8 bits \(Pillow's mode I;16\)"):
        read_pictures(tmp_path)


def test_grey_pictures_have_one_channel(folder: Path) -> None:
    album = read_pictures(folder / "c.PNG", is_grey=True)
    assert np.array_equal(album.pictures[0], PICTURES[2][:1])


def test_arrays_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", PICTURES)
    np.save(tmp_path / "one.npy", PICTURES[1])
    np.savez(tmp_path / "some.npz", a=PICTURES[:2], b=PICTURES[2])
    assert np.array_equal(read_pictures(tmp_path / "many.npy").pictures, PICTURES)
    assert np.array_equal(read_pictures(tmp_path / "one.npy").pictures, PICTURES[1:2])
    assert np.array_equal(read_pictures(tmp_path / "some.npz").pictures, PICTURES)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        read_pictures(tmp_path / "nothing")
    with pytest.raises(SpecError, match=r"there is no picture in .* \(no .png, .jpg"):
        read_pictures(tmp_path)
    np.save(tmp_path / "floats.npy", PICTURES / 255)
    np.save(tmp_path / "objects.npy", np.asarray([{}], dtype=object))
    (tmp_path / "text.npy").write_text("hello", encoding="utf-8")
    with pytest.raises(DTypeError, match=r"floats\.npy must be a NumPy array of uint8"):
        read_pictures(tmp_path / "floats.npy")
    for name in ("objects", "text"):
        with pytest.raises(SpecError, match=rf"{name}\.npy is no npy file of an array"):
            read_pictures(tmp_path / f"{name}.npy")


def test_a_format_that_nobody_knows_is_named(tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed")
    with pytest.raises(UnsupportedError, match=r"picture\.xyz cannot be written"):
        write_picture(tmp_path / "picture.xyz", PICTURES[0])


def test_pairs_that_pytorch_saved_are_read_without_it(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    first, second = torch.tensor(PICTURES), torch.tensor(PICTURES[::-1].copy())
    for saved in ((first, second), [first, second], (first.transpose(2, 3).contiguous().transpose(2, 3), second)):
        torch.save(saved, tmp_path / "pairs.pkl")
        pairs = read_pairs(tmp_path / "pairs.pkl")
        assert np.array_equal(pairs.inputs, PICTURES)
        assert np.array_equal(pairs.targets, PICTURES[::-1])
    base = torch.tensor(np.concatenate([PICTURES, PICTURES[::-1]]))
    torch.save((base[:3], base[3:]), tmp_path / "pairs.pkl")  # two parts of one storage
    assert np.array_equal(read_pairs(tmp_path / "pairs.pkl").targets, PICTURES[::-1])


def test_pairs_of_an_npz_file_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "pairs.npz", inputs=PICTURES, targets=PICTURES[::-1])
    assert np.array_equal(read_pairs(tmp_path / "pairs.npz").targets, PICTURES[::-1])
    np.savez(tmp_path / "other.npz", x=PICTURES)
    with pytest.raises(SpecError, match="has arrays x, but needs inputs and targets"):
        read_pairs(tmp_path / "other.npz")


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch evil-was-here",)


def archive(file: Path, content: bytes, **storages: bytes) -> Path:
    """An archive like those of PyTorch."""
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("archive/data.pkl", content)
        for key, storage in storages.items():
            made.writestr(f"archive/data/{key}", storage)
    return file


def test_nothing_is_run_by_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(_Evil()))
    with pytest.raises(SpecError, match=r"plain\.pkl is no archive of tensors of bytes"):
        read_pairs(tmp_path / "plain.pkl")
    with pytest.raises(SpecError, match=r"it names (posix|nt)\.system, which is not read"):
        read_pairs(archive(tmp_path / "evil.pkl", pickle.dumps(_Evil())))
    for code in (b"cbuiltins\neval\n.", b"cbuiltins\ngetattr\n.", b"cnumpy\nload\n.", b"carrconv\nconv\n."):
        with pytest.raises(SpecError, match="which is not read"):
            read_pairs(archive(tmp_path / "evil.pkl", code))
    assert not (tmp_path / "evil-was-here").exists()


def test_other_archives_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.save((torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)), tmp_path / "floats.pkl")
    with pytest.raises(SpecError, match=r"it names torch\.FloatStorage, which is not read"):
        read_pairs(tmp_path / "floats.pkl")
    one = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    torch.save(one, tmp_path / "one.pkl")
    with pytest.raises(SpecError, match="holds a ndarray, but needs two tensors"):
        read_pairs(tmp_path / "one.pkl")
    torch.save((one, one[:1]), tmp_path / "uneven.pkl")
    with pytest.raises(ShapeError, match="targets has shape"):
        read_pairs(tmp_path / "uneven.pkl")
    with zipfile.ZipFile(tmp_path / "empty.pkl", "w"):
        pass
    with pytest.raises(SpecError, match=r"is no archive of PyTorch: it has no data\.pkl"):
        read_pairs(tmp_path / "empty.pkl")
    torch.save((one, one.clone()), tmp_path / "whole.pkl")
    with zipfile.ZipFile(tmp_path / "whole.pkl") as whole:
        content = whole.read("whole/data.pkl")
    with pytest.raises(SpecError, match="storage 0 has 5 bytes, but should have 96"):
        read_pairs(archive(tmp_path / "short.pkl", content, **{"0": b"12345", "1": bytes(96)}))
    with pytest.raises(SpecError, match="is no archive of tensors"):
        read_pairs(archive(tmp_path / "lost.pkl", content))
