"""From a pair to the network's inputs and back: by strips, by tiles, in every configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.diffusion.conditioning import (
    calibrate,
    hsi_correction,
)
from emrdiff_cli.core.sensor.observation import Observation, Strip, observe_msi
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.raster_info import Window
from tests.support.fitted_pairs import BANDS, Fitted, config
from tests.support.pair_arrays import local_pair, resampling, texture

Image = NDArray[np.float32]
WINDOW = Window(20, 33, 32, 40)


EVERY: list[dict[str, Any]] = [
    {},
    {"residual": "unimodal"},
    {"residual": "none"},
    {"noise": "gaussian"},
    {"subspace": 0},
    {"subspace": 0, "units": "range", "end_point": "bicubic", "guidance_extras": ()},
    {"units": "range", "residual": "none"},
    {"end_point": "glp", "guidance_extras": ("unexplained",)},
    {"pseudo_msi": "last"},
    {"pseudo_msi": "even"},
    {"pseudo_msi": "srf"},
    {"calibration": "scene"},
]


@pytest.fixture(scope="module", params=EVERY, ids=str)
def scene(request: pytest.FixtureRequest) -> Fitted:
    return Fitted(config(**request.param))


def observed(height: int, size: int) -> Observation:
    msi, valid = texture(3, height, 48, 2), np.ones((height, 48), bool)
    valid[10:13, 20] = False

    def strips() -> Iterator[Strip]:
        for top in range(0, height, size):
            yield Strip(top, msi[:, top : top + size], valid[top : top + size])

    return observe_msi(strips, resampling(height, 48).down)


@pytest.mark.parametrize("size", [1, 2, 7, 32, 64])
def test_the_msi_seen_in_strips_is_the_msi_seen_whole(size: int) -> None:
    whole, parts = observed(64, 64), observed(64, size)
    np.testing.assert_allclose(parts.msi_at_lr, whole.msi_at_lr, atol=1e-5)
    np.testing.assert_array_equal(parts.covered, whole.covered)
    assert parts.edge_range == pytest.approx(whole.edge_range, abs=1e-6)


def test_what_is_seen_is_the_degraded_msi_and_the_scenes_edge_range() -> None:
    seen, msi = observed(64, 20), texture(3, 64, 48, 2)
    expected = apply_taps(msi, *resampling(64, 48).down)
    whole = seen.covered
    # A covered pixel may leave out up to a thousandth of its PSF, which lay on the hole.
    np.testing.assert_allclose(seen.msi_at_lr[:, whole], expected[:, whole], atol=1e-3)
    far = np.s_[:, 8:]
    np.testing.assert_allclose(seen.msi_at_lr[far], expected[far], atol=1e-5)
    p = msi.mean(axis=0, dtype=np.float64)
    magnitude = np.hypot(ndimage.sobel(p, 0, mode="nearest"), ndimage.sobel(p, 1, mode="nearest"))
    assert seen.edge_range == pytest.approx((magnitude.min(), magnitude.max()), abs=1e-5)


def test_lr_pixels_whose_psf_touches_a_hole_are_not_covered() -> None:
    covered = observed(64, 64).covered
    assert not covered[2:4, 4:6].any()
    assert covered[:, 8:].all()
    assert covered[6:].all()


def test_a_tile_is_the_part_of_the_whole(scene: Fitted) -> None:
    tile = scene.tile(WINDOW)
    for name in ("a_0", "guidance", "edges"):
        whole = getattr(scene.whole, name)[:, WINDOW.rows, WINDOW.cols]
        np.testing.assert_allclose(getattr(tile, name), whole, atol=1e-4, err_msg=name)


def test_channels_are_as_many_as_the_configuration_says(scene: Fitted) -> None:
    assert len(scene.whole.a_0) == scene.config.channels
    assert len(scene.whole.guidance) == scene.config.guidance_channels
    assert len(scene.target()[1]) == scene.config.channels
    assert scene.whole.edges.shape == (1, 96, 96)


def test_an_estimate_that_is_the_target_restores_the_truth(scene: Fitted) -> None:
    known, target = scene.target()
    channels = scene.calibration.channels
    correction = hsi_correction(scene.config, channels, target, scene.whole.end_point)
    np.testing.assert_allclose(scene.whole.end_point.values + correction, known, atol=1e-4)


def test_a_zero_residual_corrects_nothing(scene: Fitted) -> None:
    if scene.config.residual != "none":
        zero = np.zeros_like(scene.whole.a_0)
        correction = hsi_correction(scene.config, scene.calibration.channels, zero, scene.whole.end_point)
        assert np.abs(correction).max() == 0


def test_guidance_sees_lr_hsi_channels_first_then_the_msi() -> None:
    scene = Fitted(config(subspace=0, units="range", guidance_extras=(), end_point="bicubic"))
    lr = scene.pair.lr
    tops = np.abs(lr.hsi[:, lr.valid]).max(), np.abs(lr.msi[:, lr.valid]).max()
    upsampled = apply_taps(lr.hsi, *scene.pair.maps.up)
    np.testing.assert_allclose(scene.whole.guidance[:BANDS], upsampled / tops[0], rtol=1e-4)
    np.testing.assert_allclose(scene.whole.guidance[BANDS:], scene.pair.msi / tops[1], rtol=1e-4)


@pytest.mark.parametrize(("which", "bands"), [("first", [0, 1]), ("last", [4, 5]), ("even", [0, 5])])
def test_pseudo_msi_is_bands_of_the_hsi(which: str, bands: list[int]) -> None:
    """In the MSI's place stand bands of the HR-HSI, up to a shift and a scale."""
    scene = Fitted(config(subspace=0, pseudo_msi=which, units="range"))
    target = scene.target()[1]
    x_0 = target[BANDS:] + scene.whole.a_0[BANDS:]
    for channel, band in zip(x_0, bands, strict=True):
        correlation = np.corrcoef(channel.ravel(), scene.pair.truth[band].ravel())[0, 1]
        assert correlation == pytest.approx(1, abs=1e-4)


def test_in_units_of_the_residual_the_lr_pixels_leave_one_unit() -> None:
    scene = Fitted(config())
    channels = scene.calibration.channels
    rms = np.sqrt(np.square(scene.end.unexplained[:, scene.pair.lr.valid]).mean(axis=1))
    np.testing.assert_allclose(channels.unit[:3] * channels.hsi_scale, rms, rtol=1e-3)


def test_the_gain_found_in_training_multiplies_the_units() -> None:
    plain = Fitted(config()).calibration.channels.unit
    gained = Fitted(config(residual_gain=(2.0, 3.0, 4.0, 5.0, 6.0))).calibration.channels.unit
    np.testing.assert_allclose(gained, plain * [2, 3, 4, 5, 6], rtol=1e-6)


def test_gaussian_noise_is_the_same_everywhere() -> None:
    assert (Fitted(config(noise="gaussian")).whole.edges == 1).all()
    edges = Fitted(config()).whole.edges
    assert (edges.min(), edges.max()) == pytest.approx((0, 1), abs=1e-6)


def test_scenes_pooled_are_calibrated_as_one() -> None:
    scene = Fitted(config()).pair.lr
    halves = [replace(scene, valid=scene.valid & side) for side in (np.arange(24) < 12, np.arange(24) >= 12)]
    whole, pooled = calibrate(config(), [scene]), calibrate(config(), halves)
    np.testing.assert_allclose(pooled.basis.vectors, whole.basis.vectors, atol=1e-3)
    np.testing.assert_allclose(pooled.channels.hsi_scale, whole.channels.hsi_scale, rtol=1e-3)
    np.testing.assert_allclose(pooled.channels.unit, whole.channels.unit, rtol=1e-3)


def test_constant_channels_do_not_divide_by_zero() -> None:
    pair = local_pair()
    hsi = pair.lr.hsi.copy()
    hsi[1] = 0.25
    calibration = calibrate(
        ModelConfig(msi_bands=2, hsi_bands=4, ratio=4, subspace=0), [replace(pair.lr, hsi=hsi)]
    )
    held = {name: values for name, values in vars(calibration.channels).items() if values is not None}
    for name, values in held.items():
        assert np.isfinite(values).all(), name
