"""Bands without a value at some pixels, estimated from the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.missing_bands import MissingBands, fill_missing


def mixed(bands: int = 6, height: int = 20, width: int = 15) -> NDArray[np.float64]:
    """Bands that are a linear function of two of them."""
    rng = np.random.default_rng(0)
    leading = rng.uniform(1, 2, (2, height, width))
    return np.tensordot(rng.uniform(0.5, 1.5, (bands, 2)), leading, axes=1) + 3


def filled_of(image: NDArray[Any], *given: Any) -> tuple[NDArray[np.float32], MissingBands]:
    filled = image.astype(np.float32)
    return filled, fill_missing(filled, *given)


def test_bands_that_follow_from_the_others_come_back() -> None:
    image = mixed()
    holed = image.copy()
    holed[4:, 5:9, 3:9] = holed[0, 12, 12] = np.nan
    filled, missing = filled_of(holed)
    np.testing.assert_allclose(filled, image, atol=0.02)
    at_holes = np.isnan(holed)
    np.testing.assert_array_equal(filled[~at_holes], holed[~at_holes].astype(np.float32))
    masked = filled.copy()
    missing.mask(masked, np.arange(20), np.arange(15))
    np.testing.assert_array_equal(np.isnan(masked), at_holes)
    assert missing.bands == (0, 4, 5)
    assert missing.share == 25 / 300


def test_estimates_stay_within_what_the_whole_pixels_have() -> None:
    image = mixed()
    image[:4, 2, 2] = 40  # a cloud
    image[4:, 2, 2] = np.nan
    filled, _ = filled_of(image)
    assert (filled[4:, 2, 2] <= np.nanmax(image[4:], axis=(1, 2)) + 1e-6).all()


def test_bad_and_empty_bands_neither_tell_nor_are_filled() -> None:
    image = mixed()
    image[1], image[3, ::2] = np.nan, np.nan
    image[4, 6, 6] = np.nan
    other = image.copy()
    other[3, 1::2] *= 5
    (filled, missing), (again, _) = (filled_of(values, (3,)) for values in (image, other))
    np.testing.assert_array_equal(np.isnan(filled[[1, 3]]), np.isnan(image[[1, 3]]))
    np.testing.assert_array_equal(filled[4], again[4])
    assert np.isfinite(filled[4]).all()
    assert missing.bands == (4,)


def test_few_whole_pixels_tell_nothing() -> None:
    image = mixed()
    image[4:, 1:] = np.nan
    filled, missing = filled_of(image)
    assert not missing.share
    assert np.isnan(filled[4:, 1:]).all()


def test_what_lies_beside_tells_bands_that_the_others_do_not() -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(1, 2, (4, 20, 15))
    holed = image.copy()
    holed[2:, :5] = np.nan
    filled, _ = filled_of(holed, (), (2 * image[2:] + 1).astype(np.float32))
    np.testing.assert_allclose(filled, image, atol=0.01)
