"""The relation of an MSI to an HSI: what it is, in spite of what, and what it is held against."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emrdiff_cli.core.diffusion.msi_scale import known_relations, msi_factor, scale_relations
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.offsets import nearest_bands
from tests.support.fitted_pairs import Fitted, config

HSI = np.random.default_rng(0).uniform(0.1, 0.6, (4, 9, 10)).astype(np.float32)


def scene(msi: Any, valid: Any = None) -> LrScene:
    return LrScene(HSI, np.asarray(msi, np.float32), np.ones(HSI.shape[1:], bool) if valid is None else valid)


def test_relations_are_the_factors_the_msi_was_made_with() -> None:
    made = np.stack([3 * HSI[1], 0.5 * HSI[3]])
    np.testing.assert_allclose(scale_relations(scene(made), (1, 3)), [3, 0.5], rtol=1e-6)


def test_outliers_and_invalid_pixels_have_no_say() -> None:
    made = 3 * HSI[[1]]
    made[0, :3] = 1e3
    valid = np.ones(HSI.shape[1:], bool)
    valid[8] = False
    made[0, 8] = np.nan
    np.testing.assert_allclose(scale_relations(scene(made, valid), (1,)), [3], rtol=1e-6)


def test_dark_pixels_have_less_of_a_say_than_bright_ones() -> None:
    bright = HSI.copy()
    bright[:, 3:] *= np.float32(0.02)
    made = np.where(bright[[1]] > 0.05, 3 * bright[[1]], 7 * bright[[1]])
    relations = scale_relations(LrScene(bright, made, np.ones(HSI.shape[1:], bool)), (1,))
    np.testing.assert_allclose(relations, [3], rtol=1e-6)


def test_a_dark_hsi_band_has_no_relation() -> None:
    dark = LrScene(0 * HSI, HSI[:1], np.ones(HSI.shape[1:], bool))
    relations = scale_relations(dark, (0,))
    assert np.isnan(relations).all()
    assert msi_factor(relations, np.ones(1)) == 1


@pytest.mark.parametrize("changes", [{}, {"subspace": 0}], ids=str)
def test_what_a_calibration_knows_is_what_its_own_scene_shows(changes: dict[str, Any]) -> None:
    fitted = Fitted(config(**changes))
    beside = (1, 3)
    known = known_relations(fitted.calibration, beside)
    assert known is not None
    np.testing.assert_allclose(scale_relations(fitted.pair.lr, beside), known, rtol=0.25)


def test_a_calibration_by_peaks_knows_none() -> None:
    assert known_relations(Fitted(config(subspace=0, units="range")).calibration, (0, 3)) is None


@pytest.mark.parametrize(
    ("found", "known", "factor"),
    [
        ([1, 1, 1], [1, 1.4, 1.2], 1),
        ([1, 1, 1], [1, 0.7, 0.7], 1),
        ([16, 16, 16], [1, 1, 1.5], 0.0625),
        ([1, 1, 1], [10000.4, 9000, 11000], 10000),
        ([-1, 0, np.nan], [1, 1, 1], 1),
        ([-1, 2, np.nan], [1, 1, 1], 0.5),
    ],
)
def test_the_factor_is_the_bands_median_beyond_one_and_a_half(found: Any, known: Any, factor: float) -> None:
    assert msi_factor(np.array(found, float), np.array(known, float)) == factor


def test_the_band_beside_is_usable_and_nearest_else_the_best_correlated() -> None:
    usable = np.array([True, True, False, True])
    made = scene(np.stack([HSI[3] + 0.1, 2 * HSI[0]]))
    assert nearest_bands(made, usable, [400, 500, 600, 700], [590, 640]) == (1, 3)
    assert nearest_bands(made, usable, None, [590, 640]) == (3, 0)
    assert nearest_bands(made, usable, [400, 500, 600, 700], None) == (3, 0)
