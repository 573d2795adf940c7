"""Response matrices: rows that sum to 1, Gaussians of the stated width, bands that see nothing."""

from __future__ import annotations

import numpy as np
import pytest

from emrdiff_cli.core.srf import SpectralResponse, gaussian_response, srf_matrix
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
    matrix = srf_matrix(response, np.arange(400, 1000, 7.3))
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
