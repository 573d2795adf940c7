"""The made-up scenes: repeatable, plausible, and hard enough for bicubic upsampling."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from tests.support.places import SAMPLE

RATIO = 8


Scene = NDArray[np.float32]


@pytest.fixture(scope="module")
def make_scene() -> Iterator[ModuleType]:
    sys.path.insert(0, str(SAMPLE))
    try:
        yield importlib.import_module("make_scene")
    finally:
        sys.path.remove(str(SAMPLE))


@pytest.fixture(scope="module")
def scene(make_scene: ModuleType) -> Scene:
    return np.asarray(make_scene.make_hr_hsi(3, 96, 96))


def band(make_scene: ModuleType, nm: float) -> int:
    return int(np.argmin(np.abs(np.asarray(make_scene.WAVELENGTHS_NM) - nm)))


def test_bands_are_those_of_the_sensor(make_scene: ModuleType) -> None:
    nm = np.asarray(make_scene.WAVELENGTHS_NM)
    assert len(nm) == 128
    assert nm[0] == 363.0
    assert nm[-1] == 1018.0
    np.testing.assert_allclose(np.diff(nm), 655 / 127, atol=0.02)


def test_same_seed_same_bytes_other_seed_other_place(make_scene: ModuleType) -> None:
    first, again, other = (make_scene.make_hr_hsi(seed, 32, 40) for seed in (3, 3, 4))
    assert first.shape == (128, 32, 40)
    assert first.dtype == np.int16
    assert first.tobytes() == again.tobytes()
    assert np.corrcoef(first[60].ravel(), other[60].ravel())[0, 1] < 0.5


def test_values_are_reflectance(scene: Scene) -> None:
    assert scene.min() >= 0
    assert scene.max() <= 12000
    assert 300 < scene.mean() < 4000
    assert (scene == 0).mean() < 1e-3


def test_every_scene_has_dense_plants_and_something_bare(make_scene: ModuleType, scene: Scene) -> None:
    near, red = (scene[band(make_scene, nm)].astype(float) for nm in (850, 670))
    ndvi = (near - red) / (near + red)
    assert (ndvi > 0.6).mean() > 0.05
    assert (ndvi < 0.3).mean() > 0.05


def test_plants_have_a_red_edge_and_water_is_dark_beyond_it(make_scene: ModuleType) -> None:
    bank = sys.modules["spectra"].spectral_bank()
    red, near = band(make_scene, 670), band(make_scene, 850)
    crops = bank.spectra[np.concatenate(bank.types["crop"])]
    assert (crops[:, near] > 4 * crops[:, red]).all()
    water = bank.spectra[np.concatenate(bank.types["water"])]
    assert (water[:, near] < 0.06).all()
    assert (water[:, near] < water[:, band(make_scene, 570)]).all()


def test_shadow_is_dark_and_bluish(make_scene: ModuleType) -> None:
    share = sys.modules["spectra"].skylight_share()
    assert (np.diff(share) < 0).all()
    assert share[0] < 0.5
    assert share[-1] > 0.03


def test_noise_is_slight_and_stronger_at_the_ends(make_scene: ModuleType) -> None:
    flat = np.full((128, 64, 64), 0.2, np.float32)
    noise = make_scene._with_noise(flat, np.random.default_rng(0)).std(axis=(1, 2))
    assert 0.0005 < noise[60] < 0.002
    assert noise[[0, -1]].min() > 2 * noise[60]


def test_bicubic_upsampling_is_clearly_bad(scene: Scene) -> None:
    """The sharpest cubic interpolation of the degraded scene stays under 30 dB (peak 1, mean over bands)."""
    truth = scene[::8].astype(np.float64) * 1e-4
    blurred = gaussian_filter(truth, (0, RATIO / 2.355, RATIO / 2.355), truncate=3)
    # The blurred image at each block's centre, between pixels, is the mean of the four around it.
    centre = slice(RATIO // 2 - 1, None, RATIO), slice(RATIO // 2, None, RATIO)
    low = sum(blurred[:, rows, cols] for rows in centre for cols in centre) / 4
    raised = zoom(low, (1, RATIO, RATIO), order=3, mode="reflect", grid_mode=True)
    psnr = -10 * np.log10(((raised - truth) ** 2).mean(axis=(1, 2)))
    assert psnr.mean() < 30
