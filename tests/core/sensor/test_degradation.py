"""Each protocol against its definition, written out as a convolution and a decimation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.sensor.degradation import (
    WALD_PSF,
    AxisPsf,
    DegradedImage,
    Protocol,
    Psf,
    degradation_taps,
    psf_sigma,
    sampling_offset,
    simulate_pair,
)
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import Taps, apply_taps
from tests.support.imresize import imresize_weights

IMAGE = np.random.default_rng(0).random((24, 40))
PROTOCOLS: tuple[Protocol, ...] = ("wald", "nssr", "emrdiff", "mtf")


def degrade(image: NDArray[np.float64], protocol: Protocol, ratio: int) -> NDArray[np.float64]:
    place = AxisPlacement(float(ratio), 0.0)
    rows, cols = (degradation_taps(protocol, place, n // ratio, n) for n in image.shape)
    return np.asarray(apply_taps(image, rows, cols), np.float64)


def blur_at_block_centres(image: NDArray[np.float64], sigma: float, ratio: int) -> NDArray[np.float64]:
    """Each LR pixel: the Gaussian around its centre to 3 sigma, normalised, the image mirrored outside."""
    reach = math.ceil(3 * sigma) + 1
    mirrored = np.pad(image, reach, mode="symmetric")
    result = np.empty((image.shape[0] // ratio, image.shape[1] // ratio))
    rows, cols = (np.arange(n) - reach for n in mirrored.shape)
    for i, j in np.ndindex(*result.shape):
        down, right = rows - ((i + 0.5) * ratio - 0.5), cols - ((j + 0.5) * ratio - 0.5)
        kernel = np.exp(-(down[:, None] ** 2 + right**2) / (2 * sigma**2))
        kernel *= (np.abs(down[:, None]) <= 3 * sigma + 1e-9) & (np.abs(right) <= 3 * sigma + 1e-9)
        result[i, j] = (kernel * mirrored).sum() / kernel.sum()
    return result


@pytest.mark.parametrize("ratio", [2, 4, 8])
def test_wald_is_a_gaussian_of_fwhm_r_at_block_centres(ratio: int) -> None:
    assert psf_sigma("wald", ratio) == pytest.approx(ratio / 2.355)
    expected = blur_at_block_centres(IMAGE, ratio / 2.355, ratio)
    np.testing.assert_allclose(degrade(IMAGE, "wald", ratio), expected, atol=1e-12)


def test_wald_at_odd_ratios_is_a_blur_decimated_at_the_block_centres() -> None:
    image, sigma = np.random.default_rng(1).random((15, 25)), 5 / 2.355
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / sigma) ** 2)
    for axis in (0, 1):
        image = ndimage.correlate1d(image, kernel / kernel.sum(), axis, mode="reflect")
    original = np.random.default_rng(1).random((15, 25))
    np.testing.assert_allclose(degrade(original, "wald", 5), image[2::5, 2::5], atol=1e-12)


@pytest.mark.parametrize("ratio", [4, 8, 5])
def test_nssr_is_a_circular_gaussian_decimated_from_half_the_ratio_less_one(ratio: int) -> None:
    image = np.random.default_rng(2).random((5 * ratio, 3 * ratio))
    at = np.arange(ratio) - (ratio - 1) / 2
    psf = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 2.0**2))
    # As psf2otf does: the kernel's centre, at half its size rounded down, goes to the origin.
    padded = np.zeros_like(image)
    padded[:ratio, :ratio] = psf / psf.sum()
    otf = np.fft.fft2(np.roll(padded, (-(ratio // 2), -(ratio // 2)), (0, 1)))
    blurred = np.fft.ifft2(np.fft.fft2(image) * otf).real
    first = ratio // 2 - 1
    np.testing.assert_allclose(degrade(image, "nssr", ratio), blurred[first::ratio, first::ratio], atol=1e-12)


@pytest.mark.parametrize("ratio", [2, 8])
def test_emrdiff_is_a_small_gaussian_and_an_antialiased_bicubic_resize(ratio: int) -> None:
    kernel = np.exp(-0.5 * (np.array([-1, 0, 1]) / 2.0) ** 2)
    blurred = IMAGE
    for axis in (0, 1):
        blurred = ndimage.correlate1d(blurred, kernel / kernel.sum(), axis, mode="reflect")
    rows, cols = (imresize_weights(n, ratio, n // ratio) for n in IMAGE.shape)
    np.testing.assert_allclose(degrade(IMAGE, "emrdiff", ratio), rows @ blurred @ cols.T, atol=1e-12)


@pytest.mark.parametrize("ratio", [4, 8])
@pytest.mark.parametrize("gain", [0.2, 0.3])
def test_mtf_has_its_gain_at_the_lr_nyquist_frequency(ratio: int, gain: float) -> None:
    sigma = psf_sigma("mtf", ratio, gain)
    assert math.exp(-2 * (math.pi * sigma / (2 * ratio)) ** 2) == pytest.approx(gain)
    np.testing.assert_allclose(
        degrade(IMAGE, "mtf", ratio),
        blur_at_block_centres(IMAGE, psf_sigma("mtf", ratio), ratio),
        atol=1e-12,
    )


def test_mtf_damps_a_wave_of_two_lr_pixels_to_a_third() -> None:
    at = np.arange(24 * 8) + 0.5
    wave = np.cos(math.pi * (at - 4) / 8)[None] * np.ones((8, 1))
    got = degrade(wave, "mtf", 8)[0]
    np.testing.assert_allclose(got[2:-2], 0.3 * (-1.0) ** np.arange(24)[2:-2], atol=0.01)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("ratio", [3, 4, 8])
def test_constants_and_ramps_keep_their_place(protocol: Protocol, ratio: int) -> None:
    """A pixel's value is its ground coordinate, shifted by the sampling offset where there is one."""
    n = 10 * ratio
    ramp = np.arange(n) + 0.5
    taps = degradation_taps(protocol, AxisPlacement(float(ratio), 0.0), 10, n)
    centres = ratio * (np.arange(10) + 0.5) + sampling_offset(protocol, ratio)
    np.testing.assert_allclose((taps.matrix(0, n) @ ramp)[3:-3], centres[3:-3], atol=1e-9)
    np.testing.assert_allclose(taps.matrix(0, n) @ np.ones(n), 1, atol=1e-12)


@pytest.mark.parametrize(("ratio", "offset"), [(2.5, 0.0), (4.0, 1.0)])
def test_nssr_needs_a_whole_ratio_and_a_common_corner(ratio: float, offset: float) -> None:
    with pytest.raises(ValueError, match="integer ratio"):
        degradation_taps("nssr", AxisPlacement(ratio, offset), 4, 16)


def test_msi_is_the_response_times_the_cube() -> None:
    cube = np.random.default_rng(3).random((5, 16, 24))
    srf = np.array([[0.5, 0.5, 0, 0, 0], [0, 0, 0.2, 0.3, 0.5]])
    rows, cols = (degradation_taps("wald", AxisPlacement(4.0, 0.0), n // 4, n) for n in (16, 24))
    lr_hsi, hr_msi = simulate_pair(cube, srf, (rows, cols))
    assert (lr_hsi.shape, hr_msi.shape) == ((5, 4, 6), (2, 16, 24))
    for band in range(5):
        np.testing.assert_allclose(lr_hsi[band], degrade(cube[band], "wald", 4), atol=1e-6)
    np.testing.assert_allclose(hr_msi[0], (cube[0] + cube[1]) / 2, atol=1e-6)
    np.testing.assert_allclose(hr_msi[1], 0.2 * cube[2] + 0.3 * cube[3] + 0.5 * cube[4], atol=1e-6)


def test_a_found_psf_is_a_gaussian_with_its_own_width_on_each_axis() -> None:
    rows, cols = AxisPlacement(4.0, 0.0), AxisPlacement(5.0, -1.0)
    assumed = WALD_PSF.down(rows, cols, (8, 7), (32, 33))
    same = Psf().resolved(rows, cols).down(rows, cols, (8, 7), (32, 33))
    blurred = Psf(axes=(AxisPsf(psf_sigma("wald", 4.0)), AxisPsf(3.0))).down(rows, cols, (8, 7), (32, 33))
    for one, other in zip(assumed, same, strict=True):
        np.testing.assert_array_equal(one.matrix(0, one.n_in), other.matrix(0, other.n_in))
    ramp = np.arange(32.0)
    np.testing.assert_array_equal(blurred[0].matrix(0, 32) @ ramp, assumed[0].matrix(0, 32) @ ramp)

    def spread(taps: Taps) -> float:
        """Standard deviation of the weights of the pixel in the middle."""
        weights = taps.matrix(0, taps.n_in)[3]
        mean = weights @ np.arange(taps.n_in)
        return float(np.sqrt(weights @ np.square(np.arange(taps.n_in) - mean)))

    assert spread(blurred[1]) > 1.3 * spread(assumed[1])


@pytest.mark.parametrize("height", [96, 1600])
@pytest.mark.parametrize("step", [37, 64])
def test_strips_of_an_image_add_up_to_what_lr_pixels_see_of_its_valid_pixels(height: int, step: int) -> None:
    """However narrow the strips, and over axes long enough for sparse matrices too."""
    place = AxisPlacement(4.0, 0.0)
    down = WALD_PSF.down(place, place, (height // 4, 12), (height, 48))
    rng = np.random.default_rng(3)
    image, valid = rng.normal(size=(2, height, 48)), np.ones((height, 48), bool)
    valid[40:44, 20:30] = False
    image[:, ~valid] = np.nan
    degraded = DegradedImage(2, down, np.float64)
    for top in range(0, height, step):
        degraded.add(top, image[:, top : top + step], valid[top : top + step])
    share = apply_taps(valid[None].astype(np.float64), *down)
    expected = apply_taps(np.where(valid, image, 0.0), *down)
    np.testing.assert_allclose(degraded.share, share, atol=1e-12)
    np.testing.assert_allclose(degraded.mean(0.01), expected / np.maximum(share, 0.01), atol=1e-12)
    whole = share[0] > 0.999
    assert not whole.all()
    np.testing.assert_array_equal(degraded.whole(), whole)
    np.testing.assert_array_equal(np.isnan(degraded.masked_mean()).any(axis=0), ~whole)


def test_bands_with_masks_of_their_own_do_not_hold_each_other_up() -> None:
    place = AxisPlacement(4.0, 0.0)
    degraded = DegradedImage(2, WALD_PSF.down(place, place, (8, 8), (32, 32)), np.float64, masks=2)
    valid = np.ones((2, 32, 32), bool)
    valid[0, 12:20] = False
    degraded.add(0, np.full((2, 32, 32), 5.0), valid)
    assert degraded.share[0].min() < 0.2
    np.testing.assert_allclose(degraded.share[1], 1)
    np.testing.assert_allclose(degraded.total[1], 5)
    assert not degraded.whole().all()
