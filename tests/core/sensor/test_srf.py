"""Responses: rows that sum to 1, Gaussians of the stated width, bands that see nothing, estimates from a pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.srf import (
    LEAST_PIXELS,
    SpectralResponse,
    estimate_response,
    fit_response,
    gaussian_response,
    srf_matrix,
)
from emrdiff_cli.errors import InputError

TRIANGLE = SpectralResponse(
    ("A", "B"),
    np.array([500.0, 550.0, 600.0, 700.0]),
    np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]]),
)


def test_responses_are_sampled_at_the_hsis_wavelengths_and_normalised() -> None:
    matrix = srf_matrix(TRIANGLE, [450, 510, 525, 550, 575, 650, 800])
    a = np.array([0, 0.2, 0.5, 1, 0.5, 0, 0])
    b = np.array([0, 0, 0, 0, 1, 1, 0])
    np.testing.assert_allclose(matrix, [a / a.sum(), b / b.sum()])


def test_a_flat_spectrum_keeps_its_level() -> None:
    response = gaussian_response([480, 560, 660, 850], [65, 35, 30, 110])
    matrix = srf_matrix(response, np.arange(400, 1000, 7.3).tolist())
    np.testing.assert_allclose(matrix @ np.full(matrix.shape[1], 0.3), 0.3)
    assert matrix.min() >= 0


def test_gaussian_bands_have_their_centre_and_width() -> None:
    response = gaussian_response([500, 800], [40, 90], ["Blue", "NIR"])
    at = response.wavelengths_nm
    for row, centre, width in zip(response.values, (500, 800), (40, 90), strict=True):
        assert at[row.argmax()] == centre
        # sigma = FWHM / 2.355, which is rounded.
        np.testing.assert_allclose(
            np.interp([centre - width / 2, centre + width / 2], at, row), 0.5, atol=1e-3
        )
    assert response.names == ("Blue", "NIR")
    assert response.centres_nm() == pytest.approx((500, 800), abs=0.5)
    assert response.fwhm_nm() == pytest.approx((40, 90), abs=2)
    assert gaussian_response([500], [40]).names == ("500 nm",)


def test_centre_is_weighted_by_the_response() -> None:
    assert TRIANGLE.centres_nm() == (550, 600)


def test_a_band_that_sees_none_of_the_hsi_is_named() -> None:
    with pytest.raises(InputError, match=r"MSI band B sees none .* \(510-590 nm\)"):
        srf_matrix(
            SpectralResponse(("A", "B"), np.array([500.0, 600, 700]), np.array([[1.0, 1, 0], [0, 0, 1]])),
            [510, 590],
        )


# Estimates

SPACING = np.concatenate([np.arange(400, 700, 6.0), np.arange(700, 1000, 11.0)])
EVERYWHERE = np.ones((24, 30), bool)


def spectra(seed: int = 0) -> NDArray[Any]:
    """Smooth spectra (B, 24, 30), no two pixels alike, over SPACING: random bumps of 15 to 80 nm."""
    draws = np.random.default_rng(seed)
    centres, widths = draws.uniform(380, 1020, (40, 1)), draws.uniform(15, 80, (40, 1))
    bumps = np.exp(-0.5 * ((SPACING - centres) / widths) ** 2)
    return np.tensordot(bumps, draws.uniform(0, 1, (40, 24, 30)), axes=(0, 0))


def response_to_find() -> NDArray[Any]:
    return srf_matrix(gaussian_response([480, 560, 660, 850], [60, 40, 30, 90]), SPACING.tolist())


@pytest.mark.parametrize(("noise", "tolerance"), [(0.0, 0.06), (0.01, 0.2)])
def test_a_smooth_response_is_found_again(noise: float, tolerance: float) -> None:
    """The tolerance is of each MSI band's greatest weight; noise is a share of a band's deviation."""
    hsi, truth = spectra(), response_to_find()
    msi = 3.5 * np.tensordot(truth, hsi, axes=1) + 0.7
    draws = np.random.default_rng(1)
    noisy = [
        v + noise * v.std(axis=(1, 2), keepdims=True) * draws.standard_normal(v.shape) for v in (hsi, msi)
    ]
    found = estimate_response(noisy[0], noisy[1], EVERYWHERE, SPACING.tolist())
    assert found.matrix.min() >= 0
    np.testing.assert_allclose(found.matrix.sum(axis=1), 1)
    assert (np.abs(found.matrix - truth).max(axis=1) <= tolerance * truth.max(axis=1)).all()
    np.testing.assert_allclose(found.scale, 3.5, rtol=0.01)
    assert (found.residual <= 3 * noise**2 + 1e-6).all()


def test_units_and_levels_change_the_scale_alone() -> None:
    hsi = spectra()
    msi = np.tensordot(response_to_find(), hsi, axes=1)
    found = estimate_response(hsi, msi, EVERYWHERE, SPACING.tolist())
    other = estimate_response(1e4 * hsi + 20, 50 * msi - 3, EVERYWHERE, (SPACING / 1000).tolist())
    np.testing.assert_allclose(other.matrix, found.matrix, atol=1e-3 * found.matrix.max())
    np.testing.assert_allclose(other.scale, 50 / 1e4 * found.scale, rtol=1e-4)


def test_order_of_the_bands_and_pixels_left_out_do_not_matter() -> None:
    hsi, truth = spectra(), response_to_find()
    msi = np.tensordot(truth, hsi, axes=1)
    valid = EVERYWHERE.copy()
    valid[5:9, 10:20] = False
    order = np.random.default_rng(0).permutation(len(SPACING))
    spoiled = np.where(valid, msi, 99.0)
    found = estimate_response(hsi[order], spoiled, valid, SPACING[order].tolist())
    assert (np.abs(found.matrix - truth[:, order]).max(axis=1) <= 0.06 * truth.max(axis=1)).all()


def test_unused_and_constant_bands_weigh_nothing() -> None:
    hsi = spectra()
    msi = np.tensordot(response_to_find(), hsi, axes=1)
    free = estimate_response(hsi, msi, EVERYWHERE, SPACING.tolist())
    assert (free.matrix[2, 41:44] > 0.5 * free.matrix[2].max()).all()
    hsi[43] = 5.0
    used = np.ones(len(hsi), bool)
    used[41:43] = False
    found = estimate_response(hsi, msi, EVERYWHERE, SPACING.tolist(), used)
    assert (found.matrix[:, 41:44] == 0).all()
    hsi[41:43] = np.random.default_rng(0).uniform(0, 1e6, (2, 24, 30))
    spoiled = estimate_response(hsi, msi, EVERYWHERE, SPACING.tolist(), used)
    assert np.array_equal(spoiled.matrix, found.matrix)


def test_an_msi_band_that_follows_nothing() -> None:
    hsi = spectra()
    noise = np.random.default_rng(3).standard_normal((1, 24, 30))
    msi = np.concatenate([np.full((1, 24, 30), 4.0), -hsi[:1], noise])
    found = estimate_response(hsi, msi, EVERYWHERE)
    assert (found.matrix[0] == 0).all()
    assert (found.scale[0], found.residual[0]) == (0, 1)
    assert found.residual[1] > 0.5
    assert found.residual[2] > 0.8


def test_too_few_pixels_are_refused() -> None:
    few = np.zeros((24, 30), bool)
    few.flat[: LEAST_PIXELS - 1] = True
    with pytest.raises(ValueError, match=f"{LEAST_PIXELS - 1} valid pixels: {LEAST_PIXELS}"):
        estimate_response(spectra(), spectra()[:2], few)


def test_a_known_response_is_held_against_a_pair() -> None:
    hsi, truth = spectra(), response_to_find()
    msi = 0.2 * np.tensordot(truth, hsi, axes=1) + 9
    fitted = fit_response(7 * truth, hsi, msi, EVERYWHERE)
    np.testing.assert_allclose(fitted.matrix, truth)
    np.testing.assert_allclose(fitted.scale, 0.2)
    np.testing.assert_allclose(fitted.residual, 0, atol=1e-9)
    assert (fit_response(truth[[1, 2, 3, 0]], hsi, msi, EVERYWHERE).residual > 0.1).all()
    turned = fit_response(truth, hsi, -msi, EVERYWHERE)
    np.testing.assert_array_equal([turned.scale, turned.residual], [[0] * 4, [1] * 4])
