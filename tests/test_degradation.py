import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from gfr.degradation import PRESETS, Degradation, degrade, motion_kernel, sample_degradation
from gfr.images import load_image


@pytest.fixture(scope="session")
def face(crops):
    return load_image(crops[0][0])


def mse(a, b):
    return np.square(a.astype(np.float64) - b).mean()


def test_every_step_off_changes_nothing(face):
    assert Degradation().is_identity
    np.testing.assert_array_equal(degrade(face, Degradation()), face)


@pytest.mark.parametrize(
    ("mild", "strong"),
    [
        (Degradation(blur=1), Degradation(blur=3)),
        (Degradation(scale=2), Degradation(scale=8)),
        (Degradation(noise=3), Degradation(noise=20)),
        (Degradation(jpeg=70), Degradation(jpeg=10)),
        (Degradation(motion=4), Degradation(motion=20)),
    ],
)
def test_each_step_degrades_more_when_stronger(face, mild, strong):
    before = face.copy()
    weak, heavy = degrade(face, mild), degrade(face, strong)
    assert weak.shape == heavy.shape == face.shape and weak.dtype == np.uint8
    assert 0 < mse(weak, face) < mse(heavy, face)
    np.testing.assert_array_equal(face, before)


def test_noise_comes_after_downsampling(face):
    """At ×8 a noise of 20 levels shows as blotches of 8 pixels, not as grain."""
    grey = np.full_like(face, 128)
    noise = degrade(grey, Degradation(scale=8, noise=20)).astype(np.float64) - 128
    neighbours = np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]
    assert neighbours > 0.9
    assert 10 < noise.std() < 20


def test_the_seed_decides_the_noise(face):
    d = Degradation(noise=10, seed=4)
    np.testing.assert_array_equal(degrade(face, d), degrade(face, d))
    assert (degrade(face, d) != degrade(face, replace(d, seed=5))).any()


def test_noise_has_the_stated_strength():
    grey = np.full((256, 256, 3), 128, np.uint8)
    assert degrade(grey, Degradation(noise=12)).astype(float).std() == pytest.approx(12, rel=0.02)


def test_blur_has_the_stated_sigma():
    line = np.zeros((65, 65, 3), np.uint8)
    line[:, 32] = 255
    profile = degrade(line, Degradation(blur=3))[32, :, 0].astype(float)
    x = np.arange(65) - 32
    assert np.sqrt((profile * x**2).sum() / profile.sum()) == pytest.approx(3, rel=0.05)


def test_motion_blurs_along_its_angle():
    dot = np.zeros((65, 65, 3), np.uint8)
    dot[32, 32] = 255
    y, x = np.nonzero(degrade(dot, Degradation(motion=20, motion_angle=90))[..., 0])
    assert np.ptp(y) >= 18 and np.ptp(x) <= 2
    assert motion_kernel(9, 30).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"blur": -1}, "blur"),
        ({"scale": 0.5}, "scale"),
        ({"noise": 1000}, "noise"),
        ({"jpeg": 0}, "jpeg"),
        ({"jpeg": 10.5}, "jpeg"),
        ({"blur": float("nan")}, "blur"),
        ({"blur": "much"}, "blur"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(values, name):
    with pytest.raises(ValueError, match=name):
        Degradation(**values)


def test_the_image_must_be_rgb_bytes():
    with pytest.raises(ValueError, match="uint8"):
        degrade(np.zeros((8, 8), np.uint8), Degradation())


def test_odd_sizes_keep_their_size(face):
    odd = face[:101, :67]
    assert degrade(odd, Degradation(1, 7.3, 5, 30)).shape == odd.shape
    assert degrade(face[:3, :2], Degradation(scale=16, jpeg=5)).shape == (3, 2, 3)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_reproducible_and_hardly_ever_clean(preset):
    draws = [sample_degradation(np.random.default_rng(i), preset) for i in range(500)]
    assert draws == [sample_degradation(np.random.default_rng(i), preset) for i in range(500)]
    assert len(set(draws)) == 500
    mild = [d for d in draws if d.blur < 0.5 and d.scale < 1.5 and d.noise < 1 and not d.jpeg]
    assert len(mild) < 0.03 * len(draws)


def test_the_paper_preset_keeps_to_the_papers_ranges():
    draws = [sample_degradation(np.random.default_rng(i), "paper") for i in range(500)]
    assert all(d.blur == 0 or 1 <= d.blur <= 3 for d in draws)
    assert all(1 <= d.scale <= 8 and 0 <= d.noise <= 7 for d in draws)
    assert all(d.jpeg is None or 10 <= d.jpeg <= 40 for d in draws)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match="heavy"):
        sample_degradation(np.random.default_rng(0), "light")


def test_it_is_fast_enough_for_a_live_slider(face):
    """Against a yardstick of the same run, since machines differ: a few Gaussian blurs."""

    def fastest(action):
        times = []
        for _ in range(15):
            start = time.perf_counter()
            action()
            times.append(time.perf_counter() - start)
        return min(times)

    single = face.astype(np.float32)
    yardstick = fastest(lambda: cv2.GaussianBlur(single, (0, 0), 3))
    whole = fastest(lambda: degrade(face, Degradation(3, 4, 10, 40)))
    assert whole < 0.010 or whole < 6 * yardstick
