"""Invalid pixels: which they are, and what stands in for them."""

from __future__ import annotations

import numpy as np

from emrdiff_cli.core.sensor.holes import fill_each_band, fill_holes, fill_invalid, valid_pixels

NAN = np.nan


def test_a_pixel_is_valid_when_every_living_band_is() -> None:
    image = np.ones((3, 2, 3), np.float32)
    image[0, 0, 0] = NAN
    image[1, 1, 2] = np.inf
    np.testing.assert_array_equal(valid_pixels(image), [[False, True, True], [True, True, False]])


def test_a_dead_band_makes_no_pixel_invalid() -> None:
    image = np.ones((3, 2, 3), np.float32)
    image[1] = NAN
    image[2, 0, 1] = NAN
    np.testing.assert_array_equal(valid_pixels(image), [[True, False, True], [True, True, True]])


def test_an_empty_image_has_no_valid_pixel() -> None:
    assert not valid_pixels(np.full((2, 3, 3), NAN)).any()


def test_holes_take_the_nearest_valid_pixels_spectrum() -> None:
    image = np.arange(2 * 3 * 5, dtype=np.float32).reshape(2, 3, 5)
    valid = np.ones((3, 5), bool)
    valid[:, 3:] = False
    image[0, :, 3:] = NAN  # band 1 has values there, but not of a valid pixel
    filled = fill_holes(image, valid)
    np.testing.assert_array_equal(filled[:, :, :3], image[:, :, :3])
    np.testing.assert_array_equal(filled[:, :, 3:], np.repeat(image[:, :, 2:3], 2, axis=2))
    assert np.isnan(image[0, 0, 4])


def test_without_holes_nothing_changes() -> None:
    image = np.random.default_rng(0).random((2, 4, 4)).astype(np.float32)
    filled = fill_holes(image, np.ones((4, 4), bool))
    np.testing.assert_array_equal(filled, image)
    assert filled is not image


def test_dead_bands_and_empty_images_hold_zero() -> None:
    image = np.ones((2, 3, 3), np.float32)
    image[1] = NAN
    np.testing.assert_array_equal(fill_holes(image, np.ones((3, 3), bool))[1], np.zeros((3, 3)))
    empty = np.full((2, 3, 3), np.inf)
    np.testing.assert_array_equal(fill_holes(empty, np.zeros((3, 3), bool)), np.zeros((2, 3, 3)))


def test_an_image_without_a_valid_pixel_keeps_nothing_of_what_it_holds() -> None:
    image = np.full((2, 3, 3), 7, np.float32)
    image[0] = NAN
    assert (fill_holes(image, np.zeros((3, 3), bool)) == 0).all()


def test_bad_bands_make_no_pixel_invalid_and_give_no_value() -> None:
    image = np.random.default_rng(0).random((5, 4, 4)).astype(np.float32)
    image[0, 1, 1] = NAN
    other = image.copy()
    image[2], other[2] = 1e30, NAN
    one, two = (fill_invalid(values, (2,)) for values in (image, other))
    for ours, theirs in zip(one, two, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    filled, valid, unusable = one
    np.testing.assert_array_equal(np.flatnonzero(~valid), [5])
    np.testing.assert_array_equal(np.flatnonzero(unusable), [2])
    np.testing.assert_allclose(filled[2], (filled[1] + filled[3]) / 2)


def test_each_band_is_filled_from_itself() -> None:
    image = np.arange(2 * 2 * 3, dtype=np.float32).reshape(2, 2, 3)
    image[0, :, 1:] = NAN
    image[1, 0, 0] = np.inf
    filled, valid = fill_each_band(image)
    np.testing.assert_array_equal(filled[0], [[0, 0, 0], [3, 3, 3]])
    assert filled[1, 0, 0] in (7, 9)
    np.testing.assert_array_equal(valid, np.isfinite(image))
    assert fill_each_band(image[:0])[0].shape == (0, 2, 3)
