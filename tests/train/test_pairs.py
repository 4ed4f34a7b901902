"""Noise, pairs and crops: of the strength that was asked for, the same for a seed, and nothing that is no picture."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest

import arrconv
from arrconv import DTypeError, ShapeError, SpecError, nn
from arrconv.train import FreshPairs, Gaussian, Pairs, Poisson, crops, dead_leaves, evaluate, psnr
from arrconv.train.pairs import batches
from arrconv.train.pictures import host

GREY = np.full((40, 3, 20, 24), 120, np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (7, 3, 9, 10)).astype(np.uint8)


def test_gaussian_noise_has_its_strength() -> None:
    pairs = Pairs.noisy(GREY, Gaussian(0.1), seed=1)
    noise = pairs.inputs.astype(float) - GREY
    n = noise.size
    assert abs(noise.mean()) < 4 * 25.5 / np.sqrt(n)
    assert noise.std() == pytest.approx(np.hypot(25.5, np.sqrt(1 / 12)), rel=4 / np.sqrt(2 * n))
    other = pairs.targets.astype(float) - GREY
    assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(n)  # noise of its own


def test_poisson_noise_grows_with_brightness() -> None:
    for value in (40, 100, 150):
        pairs = Pairs.noisy(np.full_like(GREY, value), Poisson(100), seed=2, target="clean")
        noise = pairs.inputs.astype(float) - value
        assert abs(noise.mean()) < 0.5
        assert noise.std() == pytest.approx(255 * np.sqrt(value / 255 / 100), rel=0.03)
        assert (pairs.targets == value).all()


def test_a_seed_decides_the_noise() -> None:
    pairs = [Pairs.noisy(COLOURS, Gaussian(0.2), seed=seed) for seed in (1, 1, 2)]
    assert np.array_equal(pairs[0].inputs, pairs[1].inputs)
    assert np.array_equal(pairs[0].targets, pairs[1].targets)
    assert not np.array_equal(pairs[0].inputs, pairs[2].inputs)
    assert not np.array_equal(pairs[0].inputs, pairs[0].targets)


@pytest.mark.parametrize("noise", [Gaussian(0.3), Poisson(20)])
def test_fresh_noise_is_drawn_anew_in_each_step_and_has_no_bias(noise: Any) -> None:
    """The mean of many copies is the picture, also where clipping would have made it darker or lighter."""
    pictures = np.broadcast_to(np.asarray([0, 7, 250, 255], np.uint8)[:, None, None, None], (4, 1, 40, 50))
    draw = FreshPairs(pictures, noise, seed=5).placed(np.empty(0, np.float32))
    clean = pictures / 255
    numbers = np.asarray([3, 0, 1, 2])
    drawn = [array for step in range(10) for array in draw(numbers, step)]
    errors = np.stack(drawn) - clean[numbers]
    strength = 0.3 if isinstance(noise, Gaussian) else np.sqrt(clean[numbers, 0, 0, 0] / 20)
    deviations = errors.std(axis=(0, 2, 3, 4))
    assert deviations == pytest.approx(np.broadcast_to(strength, 4), rel=4 / np.sqrt(2 * 40_000))
    assert (np.abs(errors.mean(axis=(0, 2, 3, 4))) <= 4 * strength / np.sqrt(40_000)).all()
    assert len({array.tobytes() for array in drawn}) == 20
    for again, array in zip(draw(numbers, 3), drawn[6:8], strict=True):
        assert np.array_equal(again, array)
    x, t = FreshPairs(pictures, noise, seed=5, target="clean").placed(np.empty(0))(numbers, 3)
    assert (x.dtype, np.abs(x - drawn[6]).max()) == (np.float64, 0)
    assert np.array_equal(t, clean[numbers])


def test_fresh_noise_is_drawn_where_the_network_is() -> None:
    device = array_api_strict.Device("device1")
    like = array_api_strict.zeros(0, dtype=array_api_strict.float32, device=device)
    pairs = FreshPairs(COLOURS, Gaussian(0.1), seed=2)
    found = pairs.placed(like)(np.asarray([4, 1]), 6)
    assert all(array.device == device and array.dtype == like.dtype for array in found)
    for array, expected in zip(found, pairs.placed(np.empty(0, np.float32))(np.asarray([4, 1]), 6), strict=True):
        assert np.array_equal(host(array), expected)
    assert (pairs.shape, len(pairs)) == (COLOURS.shape, 7)


def test_an_epoch_sees_each_pair_once_in_an_order_of_its_own() -> None:
    orders = [list(np.concatenate(list(batches(7, epoch, 3, seed=4)))) for epoch in range(3)]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert orders[0] != orders[1]
    assert [len(numbers) for numbers in batches(7, 0, 3, seed=4)] == [3, 3, 1]
    rest = list(np.concatenate(list(batches(7, 1, 3, seed=4, first=1))))
    assert rest == orders[1][3:]
    assert list(batches(7, 1, 3, seed=4, first=3)) == []


def test_crops_are_parts_of_pictures_turned_over() -> None:
    pictures = [
        np.arange(3 * 6 * 8, dtype=np.uint8).reshape(3, 6, 8),
        np.arange(3 * 5 * 5, dtype=np.uint8).reshape(3, 5, 5),
    ]
    found = crops(pictures, 60, 4, seed=3)
    parts = {
        np.rot90(picture[:, y : y + 4, x : x + 4], turns, (1, 2))[:, :, ::mirror].tobytes()
        for picture in pictures
        for y in range(picture.shape[1] - 3)
        for x in range(picture.shape[2] - 3)
        for turns in range(4)
        for mirror in (1, -1)
    }
    assert {part.tobytes() for part in found} <= parts
    assert len({part.tobytes() for part in found}) > 40
    assert np.array_equal(crops(pictures, 20, 4, seed=3), found[:20])


def test_crops_are_averaged() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (3, 8, 8)).astype(np.uint8)
    found = crops([picture], 1, 2, seed=0, shrink=4)[0]
    means = np.rint(picture.reshape(3, 2, 4, 2, 4).mean(axis=(2, 4)))
    assert sorted(found.ravel()) == sorted(means.ravel())


def test_psnr_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.uniform(size=(2, 4, 3, 5, 6))
    expected = [10 * np.log10(1 / ((x - y) ** 2).mean()) for x, y in zip(a, b, strict=True)]
    assert psnr(a, b) == pytest.approx(expected, rel=1e-13)
    assert psnr(a, a).tolist() == [np.inf] * 4


def test_a_network_is_measured_as_it_is_in_evaluation_mode() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(3, 3, 1)).initialise(np, seed=0)
    net.load_state_dict({"1.weight": np.eye(3, dtype=np.float32)[:, :, None, None], "1.bias": np.zeros(3, np.float32)})
    pairs = Pairs.noisy(dead_leaves(5, 16, seed=1), Gaussian(0.1), seed=1, target="clean")
    whole = [array.astype(np.float32) / 255 for array in (pairs.inputs, pairs.targets)]
    expected = float(psnr(*whole).mean())
    for batch in (1, 2, 100):
        assert evaluate(net, pairs, batch=batch) == pytest.approx(expected, rel=1e-6)
    assert net.is_training
    assert np.isnan(evaluate(net, Pairs(pairs.inputs[:0], pairs.targets[:0])))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Gaussian(-1), SpecError, "sigma must not be negative"),
        (lambda: Poisson(0), SpecError, "peak must be above 0"),
        (lambda: Pairs(COLOURS / 255, COLOURS), DTypeError, "inputs must be a NumPy array of uint8, but is of float64"),
        (
            lambda: Pairs(COLOURS, COLOURS.tolist()),
            DTypeError,
            "targets must be a NumPy array of uint8, but is of list",
        ),
        (lambda: Pairs(COLOURS[0], COLOURS[0]), ShapeError, r"must have the axes \(N, C, H, W\)"),
        (lambda: Pairs(COLOURS, COLOURS[:2]), ShapeError, "targets has shape"),
        (lambda: Pairs.noisy(COLOURS, Gaussian(), seed=0, target="dirty"), SpecError, "target='dirty' is unknown"),
        (lambda: FreshPairs(COLOURS, Gaussian(), seed=0, target="dirty"), SpecError, "target='dirty' is unknown"),
        (lambda: FreshPairs(COLOURS, Gaussian(), seed=-1), SpecError, "seed must be at least 0"),
        (lambda: FreshPairs(COLOURS / 255, Gaussian(), seed=0), DTypeError, "pictures must be a NumPy array of uint8"),
        (lambda: crops([], 3, 4, seed=0), ShapeError, "there is no picture to cut from"),
        (lambda: crops([COLOURS[0]], 3, 10, seed=0), ShapeError, "picture 0 has shape .* at least 10 pixels a side"),
        (
            lambda: crops([COLOURS[0], COLOURS[0][:1]], 3, 4, seed=0),
            ShapeError,
            "picture 1 has shape .* needs 3 channels",
        ),
        (lambda: psnr(np.ones((1, 2)), np.ones((1, 3))), ShapeError, "targets has shape"),
        (lambda: arrconv.train.crops([COLOURS[0]], -1, 4, seed=0), SpecError, "count must be at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
