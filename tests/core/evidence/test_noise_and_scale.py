"""Noise in a pair: that of the MSI is measured, that of the LR-HSI is not taken for texture of the ground."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from emrdiff_cli.core.evidence.interval_scale import find_interval_scale
from emrdiff_cli.core.evidence.msi_noise import msi_noise
from emrdiff_cli.core.evidence.scene_part import PartPlan
from emrdiff_cli.core.evidence.uncertainty import BandVariances, IntervalScale, edge_magnitude
from emrdiff_cli.core.methods.scene_end_point import find_end_point, own_basis
from emrdiff_cli.core.sensor.degradation import WALD_PSF
from emrdiff_cli.core.sensor.observation import LrScene
from tests.support.geometries import noisy
from tests.support.pair_arrays import RATIO, Image, Pair, texture

SIDE, BANDS = 64, 24


def ground(side: int = SIDE) -> Image:
    """Bands (24, side, side) that curve in what three of them see."""
    seen = gaussian_filter(texture(3, side, side, 3), (0, 1, 1))
    mixed = np.random.default_rng(1).uniform(0, 1, (2, BANDS, 3))
    return np.tensordot(mixed[0], seen, axes=1) + np.tensordot(mixed[1], seen**2, axes=1)


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_noise_of_the_msi_is_told_from_the_detail_that_bands_share(share: float) -> None:
    common = texture(1, SIDE, SIDE, 2)
    msi = noisy(np.array([[[1.0]], [[0.7]], [[0.4]]], np.float32) * common, share)
    holes = np.ones((SIDE, SIDE), bool)
    holes[10:20, 30:40] = False
    spoilt = np.where(holes, msi, 1e6)
    told = msi_noise(spoilt, holes)
    assert np.sqrt(told) / msi.std(axis=(1, 2)) == pytest.approx(share, rel=0.3, abs=1e-3)
    saturated = np.concatenate([spoilt[:1], np.full_like(spoilt[:1], 2.0), spoilt[1:]])
    assert msi_noise(saturated, holes).tolist() == [told[0], 0, *told[1:]]
    assert not msi_noise(msi[:, :20, :20], holes[:20, :20]).any()  # too few pixels


def told_scale(pair: Pair, lr: LrScene, variances: BandVariances) -> IntervalScale:
    """The scale of a pair whose LR-HSI is another, by all of it."""
    whole = (slice(0, lr.valid.shape[0]), slice(0, lr.valid.shape[1]))
    plan = PartPlan.of(replace(lr, hsi=lr.hsi[:1]), pair.maps, whole)
    part = plan.seen(pair.msi, np.ones(pair.msi.shape[1:], bool))
    return find_interval_scale(lr, part, WALD_PSF, (RATIO, RATIO), variances.posterior.field)


@pytest.mark.parametrize("share", [0.02, 0.05])
def test_deviations_are_as_wide_as_the_errors_of_a_noisy_pair(share: float) -> None:
    truth = ground()
    pair = Pair(truth, noisy(truth[[3, 9, 17]], share / 2))
    lr = replace(pair.lr, hsi=noisy(pair.lr.hsi, share, seed=1))
    basis = own_basis(lr)
    end = find_end_point(lr, pair.strips, pair.maps, "kriging", basis)
    wrong = end.bands(pair.msi, *pair.maps.up) - truth
    variances = BandVariances.of_scene(lr, pair.strips, pair.maps, basis)
    scale = told_scale(pair, lr, variances)
    around = np.pad(pair.msi, ((0, 0), (1, 1), (1, 1)), mode="edge")
    magnitude = edge_magnitude(around, lr.msi.std(axis=(1, 2)))
    channels = variances.posterior.scene_variances(pair.msi)
    told = variances.deviation(channels, scale, magnitude, np.zeros((SIDE, SIDE), np.float32))
    assert 0.75 < np.sqrt(np.square(told).mean() / np.square(wrong).mean()) < 1.15
    assert 0.72 < (np.abs(wrong) < 1.645 * told).mean() < 0.98


@pytest.mark.parametrize("seed", [2, 3])
def test_noise_that_36_pixels_show_at_reduced_resolution_widens_nothing(seed: int) -> None:
    """Degraded, the LR-HSI's noise is texture to be expected: the scale stays at that of expected errors, 1.6."""
    truth = ground(48)
    pair = Pair(truth, noisy(truth[[3, 9, 17]], 0.1))
    lr = replace(pair.lr, hsi=noisy(pair.lr.hsi, 0.2, seed))
    variances = BandVariances.of_scene(lr, pair.strips, pair.maps, own_basis(lr))
    assert np.median(told_scale(pair, lr, variances).bands) < 1.6
