"""Which HSI bands lie under which MSI band: by wavelengths, by a response, by correlation; bad ones under none."""

from __future__ import annotations

import numpy as np

from emrdiff_cli.core.sensor.coverage import (
    coverage,
    covered_by_correlation,
    covered_by_response,
    covered_by_wavelengths,
)
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.srf import FittedResponse
from emrdiff_cli.raster_info import Bands


def test_coverage_needs_wavelengths_and_widths() -> None:
    hsi = Bands(3, (500.0, 510.0, 520.0), (4.0, 4.0, 4.0))
    msi = Bands(1, (515.0,), (6.0,))
    assert covered_by_wavelengths(hsi, msi) == [(1, 2)]
    assert covered_by_wavelengths(Bands(3, hsi.wavelengths_nm), msi) == [()]
    assert covered_by_wavelengths(hsi, Bands(1, (515.0,))) is None
    assert covered_by_wavelengths(Bands(3), msi) is None


def test_a_band_is_covered_from_half_of_the_greatest_response() -> None:
    matrix = np.array([[0.1, 0.19, 0.2, 0.4, 0.21, 0.0], [0.0] * 6, [0.0, 0.0, 0.0, 0.0, 0.0, 3.0]])
    assert covered_by_response(matrix) == [(2, 3, 4), (), (5,)]


def test_constant_bands_follow_nothing() -> None:
    hsi = np.stack([np.arange(9.0), np.ones(9), -np.arange(9.0)]).reshape(3, 3, 3).astype(np.float32)
    scene = LrScene(hsi, np.stack([2 + hsi[0], 0 * hsi[0]]), np.ones((3, 3), bool))
    assert covered_by_correlation(scene) == [(0, 2), ()]
    assert covered_by_correlation(LrScene(hsi, scene.msi, np.zeros((3, 3), bool))) == [(), ()]


def test_bad_bands_are_neither_covered_nor_extrapolated() -> None:
    hsi = Bands(5, good=(True, False, True, True, False))
    fitted = FittedResponse(np.eye(2, 5), np.array([2.0, 0.5]), np.array([0.25, 0.0]))
    found = coverage("estimate", [(0, 1), (2,)], hsi, Bands(2, (450.0, 550.0)), fitted)
    assert found.labels() == ["covered", "bad", "covered", "extrapolated", "bad"]
    assert (found.bad, found.uncovered) == ((2, 5), (4,))
    assert [(band.wavelength_nm, band.hsi_bands) for band in found.msi_bands] == [(450, (1,)), (550, (3,))]
    assert found.residuals() == (0.25, 0)
    assert [band.scale for band in found.msi_bands] == [2, 0.5]


def test_marks_that_call_all_bands_bad_say_nothing() -> None:
    found = coverage("wavelengths", [(1,)], Bands(2, good=(False, False)), Bands(1))
    assert found.labels() == ["extrapolated", "covered"]
    assert (found.bad, found.residuals()) == ((), None)
