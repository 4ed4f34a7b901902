"""How pictures come about: each boundary against a loop over indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest

from arrconv.deblur.scene import Boundary, blurred, extended, shown, tapered, view
from arrconv.errors import ShapeError, SpecError
from arrconv.linop import dot_test

if TYPE_CHECKING:
    from collections.abc import Sequence

RNG = np.random.default_rng(3)
KERNELS = [RNG.standard_normal(shape) for shape in ((3, 5), (4, 3), (2, 6))]
SIZE = (7, 9)
BEYOND = {"circular": "wrap", "zeros": "constant", "reflect": "reflect", "replicate": "edge"}  # NumPy's names


def literal(scene: np.ndarray, kernel: np.ndarray, size: Sequence[int], start: Sequence[int]) -> np.ndarray:
    """y[i] = Σ_t k[t]·scene[start + i − t + kernel//2]."""
    found = np.zeros(size)
    for place in np.ndindex(*size):
        for t in np.ndindex(*kernel.shape):
            at = [s + i - u + k // 2 for s, i, u, k in zip(start, place, t, kernel.shape, strict=True)]
            found[place] += kernel[t] * scene[at[0] % scene.shape[0], at[1] % scene.shape[1]]
    return found


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("boundary", sorted(BEYOND))
def test_a_known_boundary_continues_the_scene(boundary: Any, kernel: np.ndarray) -> None:
    scene = RNG.standard_normal(SIZE)
    around = np.pad(scene, 6, mode=BEYOND[boundary])  # type: ignore[call-overload]
    expected = literal(around, kernel, SIZE, (6, 6))
    seen = view(kernel, SIZE, boundary)
    assert np.allclose(seen.blur @ scene, expected, atol=1e-12)
    assert np.array_equal(seen.crop @ scene, scene)
    assert np.allclose(blurred(scene, kernel, boundary), expected, atol=1e-12)
    assert np.array_equal(shown(scene, kernel, boundary), scene)


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_unknown_boundary_shows_a_part_of_a_larger_scene(kernel: np.ndarray) -> None:
    seen = view(kernel, SIZE)
    scene = RNG.standard_normal(seen.blur.shape_in)
    assert np.allclose(seen.blur @ scene, literal(scene, kernel, SIZE, (0, 0)), atol=1e-12)
    assert np.array_equal(seen.crop @ scene, scene[:7, :9])
    reached = np.abs(seen.blur.to_matrix()).max(axis=0) > 1e-12
    assert reached.sum() == (7 + kernel.shape[0] - 1) * (9 + kernel.shape[1] - 1)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_sharp_picture_becomes_what_lies_within_it(kernel: np.ndarray) -> None:
    sharp = RNG.standard_normal(SIZE)
    size = tuple(n - k + 1 for n, k in zip(SIZE, kernel.shape, strict=True))
    start = [k - 1 - k // 2 for k in kernel.shape]
    assert np.allclose(blurred(sharp, kernel), literal(sharp, kernel, size, start), atol=1e-12)
    assert np.array_equal(shown(sharp, kernel), sharp[start[0] :, start[1] :][: size[0], : size[1]])


@pytest.mark.parametrize("boundary", get_args(Boundary))
def test_adjoints_are_adjoints(boundary: Any) -> None:
    assert dot_test(view(KERNELS[1], SIZE, boundary).blur)


def test_pictures_are_continued_by_both_mirror_images() -> None:
    near = (1 + np.cos(np.pi * np.asarray([1, 2, 3]) / 4)) / 2
    added = near * [8, 4, 2] + (1 - near) * [4, 2, 1]
    assert np.allclose(extended(np.asarray([[1.0, 2.0, 4.0, 8.0]]), (1, 7)), [[1, 2, 4, 8, *added]])
    picture = RNG.standard_normal((2, 5, 6))
    found = extended(picture, (8, 9))
    assert np.array_equal(found[:, :5, :6], picture)
    turned = extended(np.swapaxes(picture, 1, 2), (9, 8))
    assert np.allclose(np.swapaxes(turned, 1, 2), found)
    assert np.array_equal(extended(picture, (5, 6)), picture)


def test_a_taper_changes_the_border_alone() -> None:
    picture, kernel = RNG.random((2, 13, 15)), np.full((3, 4), 1 / 12)
    found = tapered(picture, kernel, (15, 18))
    assert np.array_equal(found[:, 2:11, 3:12], picture[:, 2:11, 3:12])
    again = np.pad(extended(picture, (15, 18)), ((0, 0), (3, 3), (3, 3)), mode="wrap")
    expected = [literal(one, kernel, (15, 18), (3, 3)) for one in again]
    assert np.allclose(found[:, 13:], np.asarray(expected)[:, 13:])
    share = 1 / 3  # of a row at the border, as far from it as it has pixels there
    assert np.allclose(found[:, 0, 3:12], share * picture[:, 0, 3:12] + (1 - share) * np.asarray(expected)[:, 0, 3:12])
    assert np.array_equal(tapered(picture, kernel, (13, 15)), picture)


def test_what_has_no_meaning_is_said() -> None:
    with pytest.raises(ShapeError, match="the kernel has 3×8 pixels, more than the picture's 9×7"):
        view(np.ones((8, 3)), SIZE)
    wrong: Any = "mirror"
    with pytest.raises(SpecError, match="boundary='mirror' is unknown; there are unknown, circular"):
        view(KERNELS[0], SIZE, wrong)
