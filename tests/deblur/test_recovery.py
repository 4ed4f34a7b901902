"""What is known of a picture, and the ways back: exact without noise, optimal with it, and better than nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from arrconv.deblur import METHODS, gaussian, motion, recover, recovery
from arrconv.deblur.scene import blurred, shown, view
from arrconv.deblur.statistics import PowerLaw, noise_of, power_law_of
from arrconv.errors import SpecError
from arrconv.train.leaves import dead_leaves

GENTLE = np.asarray([[0.02, 0.1, 0.0], [0.15, 0.7, -0.05]])  # its transform is nowhere below 0.3
BLURS = {"gaussian": gaussian(1.5), "motion": motion(9, 30)}


def psnr(picture: np.ndarray, sharp: np.ndarray) -> float:
    return -10 * math.log10(np.mean((np.clip(picture, 0, 1) - sharp) ** 2))


def noisy(picture: np.ndarray, noise: float) -> np.ndarray:
    found = picture + noise * np.random.default_rng(5).standard_normal(picture.shape)
    rounded: np.ndarray = np.clip(np.rint(found * 255), 0, 255) / 255
    return rounded


def field_of(exponent: float, scale: float, size: tuple[int, int]) -> np.ndarray:
    """A periodic random picture whose power is scale·f^−exponent."""
    white = np.random.default_rng(2).standard_normal((3, *size))
    distance = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1]))
    distance[0, 0] = 1
    found: np.ndarray = np.fft.ifft2(np.fft.fft2(white) * np.sqrt(scale * distance**-exponent)).real
    return found


@pytest.fixture(scope="module")
def sharp() -> np.ndarray:
    return dead_leaves(1, (90, 112), seed=4)[0] / 255


@pytest.mark.parametrize("blur", BLURS)
@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_noise_is_found_under_a_blur(blur: str, noise: float, sharp: np.ndarray) -> None:
    given = noisy(blurred(sharp, BLURS[blur]), noise)
    assert noise_of(given, BLURS[blur]) == pytest.approx(math.hypot(noise, 1 / 255 / math.sqrt(12)), rel=0.12)


@pytest.mark.parametrize("exponent", [1.5, 2.0, 2.7])
@pytest.mark.parametrize("blur", BLURS)
def test_the_power_law_is_found_under_a_blur(exponent: float, blur: str) -> None:
    field = field_of(exponent, 0.01, (160, 200))
    given = view(BLURS[blur], (160, 200), "circular").blur @ field
    given = given + 0.01 * np.random.default_rng(1).standard_normal(field.shape)
    law = power_law_of(given, BLURS[blur], 0.01)
    assert law.exponent == pytest.approx(exponent, abs=0.2)
    assert law.scale * 0.1**-law.exponent == pytest.approx(0.01 * 0.1**-exponent, rel=0.2)


def test_a_picture_without_detail_has_a_power_law_too() -> None:
    assert power_law_of(np.full((3, 20, 30), 0.4), gaussian(1), 0.01).exponent == 2.0
    assert PowerLaw(3.0, 2.0).spectrum((4, 6))[0].tolist() == pytest.approx([108, 108, 27, 12])


@pytest.mark.parametrize("method", METHODS)
def test_without_noise_a_periodic_picture_comes_back(method: str) -> None:
    scene = np.random.default_rng(0).random((3, 17, 22))
    given = view(GENTLE, (17, 22), "circular").blur @ scene
    found = recover(given, GENTLE, method=method, boundary="circular", noise=1e-10)
    assert np.max(np.abs(found.picture - scene)) < 1e-8


@pytest.mark.parametrize("boundary", ["unknown", "circular", "zeros", "reflect", "replicate"])
def test_cg_finds_what_equations_say(boundary: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_RTOL", 1e-12)
    kernel, size, damp = motion(4, 60), (8, 11), 0.2
    given = np.random.default_rng(1).random((2, *size))
    found = recover(given, kernel, boundary=boundary, noise=0.1, damp=damp)
    seen = view(kernel, size, boundary)
    blur, crop, around = seen.blur.to_matrix(), seen.crop.to_matrix(), seen.circulant.size
    power = found.law.spectrum(around)
    whole = np.fft.irfft2(1 / power, around) * np.mean(power)  # what 1/S convolves with
    penalty = np.asarray([np.roll(whole, place, (0, 1)).ravel() for place in np.ndindex(*around)])
    for picture, answer in zip(given, found.picture, strict=True):
        mean = picture.mean()
        centred = picture.ravel() - blur @ np.full(blur.shape[1], mean)
        scene = np.linalg.solve(blur.T @ blur + damp**2 * penalty, blur.T @ centred) + mean
        assert np.allclose(answer.ravel(), crop @ scene, atol=1e-9)


def test_tikhonov_leaves_a_residual_as_large_as_noise(sharp: np.ndarray) -> None:
    given = noisy(blurred(sharp, BLURS["motion"], "circular"), 0.02)
    found = recover(given, BLURS["motion"], method="tikhonov", boundary="circular", noise=0.02)
    assert found.residuals == pytest.approx((0.02,), rel=1e-4)
    assert found.damp is not None
    more = recover(given, BLURS["motion"], method="tikhonov", boundary="circular", damp=2 * found.damp)
    assert more.residuals[0] > 0.021


def test_cgls_stops_where_the_residual_is_noise(sharp: np.ndarray) -> None:
    given = noisy(blurred(sharp, BLURS["motion"]), 0.02)
    told: list[tuple[int, float]] = []
    found = recover(given, BLURS["motion"], method="cgls", noise=0.02, on_step=lambda *step: told.append(step))
    assert found.residuals[-1] <= 0.02 < found.residuals[-2]
    assert found.message == f"the residual is that of noise after {len(told)} iterations"
    assert told == list(enumerate(found.residuals))[1:]
    few = recover(given, BLURS["motion"], method="cgls", noise=0.02, iterations=2)
    assert few.message == "stopped after 2 iterations, the most that were allowed"


@pytest.mark.parametrize(
    ("method", "blur", "gain"),
    [
        ("wiener", "gaussian", 1.0),
        ("wiener", "motion", 2.0),
        ("tikhonov", "gaussian", 1.0),
        ("tikhonov", "motion", 2.0),
        ("cg", "gaussian", 1.0),
        ("cg", "motion", 3.5),
        ("cgls", "gaussian", 1.0),
        ("cgls", "motion", 2.0),
    ],
)
def test_pictures_become_better(method: str, blur: str, gain: float, sharp: np.ndarray) -> None:
    given, true = noisy(blurred(sharp, BLURS[blur]), 0.01), shown(sharp, BLURS[blur])
    assert psnr(recover(given, BLURS[blur], method=method).picture, true) > psnr(given, true) + gain


def test_nothing_assumed_beyond_the_border_is_better_than_something_wrong(sharp: np.ndarray) -> None:
    given, true = noisy(blurred(sharp, BLURS["motion"]), 0.01), shown(sharp, BLURS["motion"])
    ratios = {
        boundary: psnr(recover(given, BLURS["motion"], boundary=boundary).picture, true)  # type: ignore[arg-type]
        for boundary in ("unknown", "circular", "zeros", "replicate")
    }
    assert all(ratios["unknown"] > ratio + 0.5 for name, ratio in ratios.items() if name != "unknown")


def test_a_kernel_may_scale_or_hide_the_mean(sharp: np.ndarray) -> None:
    plain = recover(sharp, GENTLE, noise=0.01)
    scaled = recover(3 * sharp, 3 * GENTLE, noise=0.03)
    assert np.allclose(scaled.picture, plain.picture, atol=1e-9)
    edges = np.asarray([[1.0, -1.0]])
    differences = blurred(sharp, edges)
    found = recover(differences, edges, noise=0.001)
    assert np.allclose(found.picture.mean(axis=(1, 2)), differences.mean(axis=(1, 2)), atol=0.2)
    assert np.allclose(np.diff(found.picture), differences[..., :-1], atol=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "method='magic' is unknown; there are wiener, tikhonov, cg, cgls"),
        ({"method": "wiener", "boundary": "zeros"}, "its boundary can be unknown or circular, not 'zeros'"),
        ({"method": "cgls", "damp": 0.1}, "cgls does not damp, so that damp=0.1 has no meaning"),
        ({"noise": 0.0}, "noise must be above 0, but got 0.0"),
        ({"damp": -1.0}, "damp must be above 0, but got -1.0"),
    ],
)
def test_what_has_no_meaning_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        recover(np.zeros((3, 9, 8)), GENTLE, **options)
