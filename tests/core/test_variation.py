"""Scenes under another light: still pairs, and other spectra."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emrdiff_cli.core.degradation import degradation_taps, simulate_pair
from emrdiff_cli.core.grid import AxisPlacement
from emrdiff_cli.core.observation import Resampling
from emrdiff_cli.core.resampling import cubic_upsampler
from emrdiff_cli.core.supervision import SupervisedPair
from emrdiff_cli.core.variation import random_gain, varied

BANDS, SIDE, RATIO = 6, 16, 4


def a_pair() -> SupervisedPair:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.1, 1, (BANDS, SIDE, SIDE)).astype(np.float32)
    place = AxisPlacement(float(RATIO), 0.0)
    up = cubic_upsampler(place, SIDE // RATIO, SIDE)
    down = degradation_taps("wald", place, SIDE // RATIO, SIDE)
    srf = rng.dirichlet(np.ones(BANDS), 3)
    valid = np.ones((SIDE, SIDE), bool)
    lr, msi = simulate_pair(truth, srf, (down, down))
    return SupervisedPair(truth, valid, lr, msi, Resampling((up, up), (down, down)), valid, srf=srf)


def test_a_variant_is_the_pair_that_its_truth_makes() -> None:
    pair = a_pair()
    variant = varied(pair, np.random.default_rng(1))
    assert pair.srf is not None
    lr, msi = simulate_pair(variant.hr_hsi, pair.srf, pair.resampling.down)
    np.testing.assert_allclose(variant.lr_hsi, lr, rtol=1e-5)
    np.testing.assert_allclose(variant.hr_msi, msi, rtol=1e-5)
    gains = variant.hr_hsi / pair.hr_hsi
    assert gains.std(axis=(1, 2)).max() < 1e-6
    assert gains[:, 0, 0].std() > 0.01


def test_gains_differ_from_draw_to_draw_are_positive_and_smooth() -> None:
    generator = np.random.default_rng(0)
    gains = np.stack([random_gain(100, generator) for _ in range(200)])
    assert gains.min() > 0
    assert 0.3 < np.log(gains).std() < 0.6
    assert np.abs(np.diff(np.log(gains), axis=1)).max() < 0.2
    assert np.corrcoef(gains)[0, 1:].max() < 0.999


def test_a_sensors_own_msi_cannot_be_varied() -> None:
    with pytest.raises(ValueError, match="a sensor's own"):
        varied(replace(a_pair(), srf=None), np.random.default_rng(0))
