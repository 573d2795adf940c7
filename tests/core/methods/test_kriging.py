"""Kriging: what is mixed in an LR pixel is told apart, noise is not followed, parts and blocks do not show."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from emrdiff_cli.core.methods.colour_kernel import ColourKernel, degraded_features, unit_axes
from emrdiff_cli.core.methods.colour_term import kriged_by_colour
from emrdiff_cli.core.methods.kriging import GaussianProcess, Kriged, KrigingData, krige
from emrdiff_cli.core.methods.scene_end_point import find_end_point
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, observe_msi
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.core.subspace import identity_basis
from tests.support.pair_arrays import by_strips, learned, local_pair, resampling, texture
from tests.support.places import SAMPLE

Image = NDArray[np.float32]
OVERLAP = (np.array([1.0, 0.25]), np.array([1.0, 0.25]))  # that of PSFs of FWHM = the ratio
Mask = NDArray[np.bool_]


class Observed(NamedTuple):
    """A scene's MSI as kriging sees it, with LR pixels of ratio 4."""

    maps: Resampling
    kernel: ColourKernel
    neighbourhood: Image
    features: Image
    msi: Image
    at_lr: Image
    valid: Mask

    def krige(self, values: Image, spread: float = 1.0, valid: Mask | None = None) -> Kriged:
        mask = self.valid if valid is None else valid
        spreads = np.full(len(values), spread)
        data = KrigingData(
            residual=values,
            spread=spreads,
            msi=self.at_lr,
            features=self.features,
            whitening=self.kernel.whitening(),
            valid=mask,
            overlap=OVERLAP,
            brightness=np.ones(mask.shape),
        )
        return krige(data)

    def at_hr(self, found: Kriged) -> Image:
        """What kriging makes of the colours."""
        return kriged_by_colour(self.kernel, found.weights, self.neighbourhood, self.msi, *self.maps.up)

    def predicted(self, found: Kriged) -> Image:
        """What it makes of the LR pixels."""
        by_slopes = np.einsum("kmhw,mhw->khw", found.slopes, self.at_lr)
        return np.asarray(apply_taps(self.at_hr(found), *self.maps.down) + by_slopes)


def observed(msi: Image) -> Observed:
    maps, (kernel, neighbourhood) = resampling(*msi.shape[1:]), learned(msi)
    seen = observe_msi(by_strips(msi), maps.down)
    axes = unit_axes(seen.msi_at_lr[:, seen.covered].astype(np.float64), 1e-6)
    centred = seen.msi_at_lr - seen.msi_at_lr[:, seen.covered].mean(axis=1)[:, None, None]
    features = degraded_features(kernel, neighbourhood, by_strips(msi), maps)
    at_lr = np.tensordot(axes, centred, axes=1)
    return Observed(maps, kernel, neighbourhood, features, msi, at_lr, seen.covered)


def fused(
    truth: Image, msi: Image, method: str = "kriging", height: int = 7, *, agreeing: bool = True
) -> Image:
    maps, strips = resampling(*msi.shape[1:]), by_strips(msi, height)
    seen = observe_msi(strips, maps.down)
    scene = LrScene(apply_taps(truth, *maps.down), seen.msi_at_lr, seen.covered)
    end = find_end_point(scene, strips, maps, method, identity_basis(len(truth)), agreeing=agreeing)
    return end.fitted.tile(msi, *maps.up).values


def error(image: Image, truth: Image) -> float:
    return float(np.sqrt(np.square(image - truth).mean()))


def psnr_db(image: Image, truth: Image) -> float:
    """Of the mean over the bands, each by its own peak."""
    squares, peaks = np.square(image - truth).mean(axis=(1, 2)), truth.max(axis=(1, 2))
    return float(np.mean(10 * np.log10(np.square(peaks) / squares)))


def hidden_bands(msi: Image) -> Image:
    """Bands that no linear map finds in two of an MSI."""
    one, other = msi
    return np.stack([np.sin(4 * one), one * other, np.square(one - 0.5), np.hypot(one, other)])


# What is found


def test_grains_of_materials_far_below_an_lr_pixel_are_told_apart() -> None:
    grain = np.random.default_rng(0).uniform(0.1, 0.9, (2, 96, 96)).astype(np.float32)
    truth = hidden_bands(grain)
    local, kriged = (error(fused(truth, grain, method), truth) for method in ("glp-local", "kriging"))
    assert kriged < 0.4 * local


def test_two_materials_in_patches_below_an_lr_pixel_under_changing_light() -> None:
    rng = np.random.default_rng(1)
    material = (ndimage.gaussian_filter(rng.normal(size=(96, 96)), 0.8) > 0).astype(int)
    light = np.exp(ndimage.gaussian_filter(rng.normal(size=(96, 96)), 1.0)).astype(np.float32)
    msi = np.array([[0.2, 0.5], [0.4, 0.3]], np.float32)[:, material] * light
    truth = np.concatenate([hidden_bands(msi), np.array([[0.1, 0.6]], np.float32)[:, material]])
    local, kriged = (error(fused(truth, msi, method), truth) for method in ("glp-local", "kriging"))
    assert kriged < 0.5 * local


def test_what_goes_with_colour_is_followed_and_noise_is_not() -> None:
    scene = observed(texture(2, 96, 96, 6))
    signal = scene.features[[3, 17]] - scene.features[[3, 17]].mean(axis=(1, 2), keepdims=True)
    signal /= signal.std(axis=(1, 2), keepdims=True)
    noise = np.random.default_rng(0).normal(size=signal.shape).astype(np.float32)
    predicted = scene.predicted(scene.krige(np.concatenate([signal, noise])))
    assert error(predicted[:2], signal) < 0.1
    assert predicted[2:].std() < 0.3


@pytest.mark.slow
def test_the_noisier_a_channel_the_less_of_it_is_followed() -> None:
    scene = observed(texture(2, 96, 96, 6))
    signal = scene.features[[3]] - scene.features[3].mean()
    signal /= signal.std()
    noise = np.random.default_rng(0).normal(size=signal.shape).astype(np.float32)
    followed = []
    for share in (0.1, 0.3, 1.0):
        clean, noisy = (scene.predicted(scene.krige(values)) for values in (signal, signal + share * noise))
        followed.append(float((noisy - clean).std()) / share)
    assert followed[0] > followed[1] > followed[2]
    assert followed[2] < 0.5


def test_slopes_that_change_over_the_ground_are_found() -> None:
    scene = observed(texture(2, 96, 96, 7))
    turn = np.linspace(-1, 1, 24, dtype=np.float32)
    values = turn * scene.at_lr[:1]
    slopes = scene.krige(values).slopes[0]
    inner = np.s_[3:-3, 3:-3]
    assert np.corrcoef(slopes[0][inner].ravel(), np.broadcast_to(turn, (24, 24))[inner].ravel())[0, 1] > 0.9
    assert np.abs(slopes[1]).mean() < 0.3 * np.abs(slopes[0]).mean()


def test_a_block_of_the_sample_scene_scores_what_the_covariance_was_settled_for() -> None:
    """Without the caution about noise it is 0.11 dB less, without what lies beside a block on one side 0.07."""
    with rasterio.open(SAMPLE / "hr_hsi.tif") as hsi, rasterio.open(SAMPLE / "hr_msi.tif") as hr_msi:
        bands, part = hsi.indexes[::8], Window(0, 0, 96, 96)
        truth, msi = (
            (1e-4 * image).astype(np.float32)
            for image in (hsi.read(bands, window=part), hr_msi.read(window=part))
        )
    assert psnr_db(fused(truth, msi), truth) > 41.89


def test_a_channel_that_the_msi_explains_has_no_say_in_the_covariance_of_those_it_does_not() -> None:
    pair = local_pair()
    rng = np.random.default_rng(0)
    explained = pair.msi.sum(axis=0, keepdims=True) + 1 + 1e-3 * rng.normal(size=(1, 96, 96))
    more = np.concatenate([pair.truth, explained.astype(np.float32)])
    one, other = (fused(truth, pair.msi, agreeing=False) for truth in (more, pair.truth))
    np.testing.assert_allclose(one[:-1], other, atol=1e-4)


def test_kriging_scales_with_its_values_and_units() -> None:
    scene = observed(texture(2, 64, 64, 8))
    values = np.random.default_rng(1).normal(size=(2, 16, 16)).astype(np.float32) + 3 * scene.at_lr
    one, other = scene.krige(values, 2.0), scene.krige(1000 * values, 2000.0)
    for small, large in ((one.weights, other.weights), (one.slopes, other.slopes)):
        np.testing.assert_allclose(large, 1000 * small, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(other.texture, one.texture, atol=1e-3)


# What has no say


def test_invalid_lr_pixels_have_no_influence() -> None:
    scene = observed(texture(2, 64, 64, 8))
    values = np.random.default_rng(1).normal(size=(3, 16, 16)).astype(np.float32)
    valid = scene.valid.copy()
    valid[4:7, 9:14] = False
    expected = scene.krige(values, valid=valid)
    wild = (np.where(valid, image, np.float32(99)) for image in (values, scene.at_lr, scene.features))
    garbled, at_lr, features = wild
    found = scene._replace(at_lr=at_lr, features=features).krige(garbled, valid=valid)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(scene.krige(values).weights - expected.weights).max() > 1e-6


def test_a_masked_side_has_no_say_in_the_covariance() -> None:
    rng = np.random.default_rng(3)
    values = 4 * ndimage.gaussian_filter(rng.normal(size=(2, 64, 24)), (0, 2, 2))
    values[1] += rng.normal(size=(64, 24))
    valid = np.zeros((64, 24), bool)
    valid[:, 16:] = True

    def nuggets(cols: slice) -> NDArray[np.float64]:
        image = values[:, :, cols].astype(np.float32)
        seen = {"msi": image[:1], "features": image[:1], "valid": valid[:, cols], "brightness": image[0]}
        data = KrigingData(image, np.ones(2), whitening=np.eye(1), overlap=OVERLAP, **seen)
        return GaussianProcess.likeliest(data, sampled=8).nuggets

    np.testing.assert_array_equal(nuggets(slice(None)), nuggets(slice(16, None)))


def test_values_of_zero_have_no_weights() -> None:
    scene = observed(texture(2, 64, 64, 8))
    found = scene.krige(np.zeros((2, 16, 16), np.float32))
    assert not found.weights.any()
    assert not found.slopes.any()


def test_far_from_valid_pixels_there_are_no_weights() -> None:
    scene = observed(texture(2, 96, 112, 9))
    valid = np.zeros((24, 28), bool)
    valid[:5, :4] = True
    found = scene.krige(np.ones((1, 24, 28), np.float32), valid=valid)
    assert found.weights[0, 0].any()
    assert not found.weights[:, 4:].any()
    assert not found.weights[4:].any()
    assert np.isfinite(found.weights).all()
    assert np.isfinite(found.slopes).all()


# By parts


@pytest.mark.slow
@pytest.mark.parametrize("height", [1, 7, 50])
def test_any_strips_of_the_msi_give_the_same_image(height: int) -> None:
    pair = local_pair()
    whole = fused(pair.truth, pair.msi, height=96)
    np.testing.assert_allclose(fused(pair.truth, pair.msi, height=height), whole, atol=2e-5)


@pytest.mark.parametrize(
    ("rows", "cols"), [((0, 96), (40, 41)), ((13, 50), (31, 96)), ((95, 96), (0, 3)), ((70, 90), (6, 22))]
)
def test_a_tile_is_the_part_of_the_whole(rows: tuple[int, int], cols: tuple[int, int]) -> None:
    scene = observed(texture(3, 96, 96, 10))
    weights = np.random.default_rng(0).normal(size=(6, 6, len(scene.features), 2)).astype(np.float32)
    part = np.s_[:, slice(*rows), slice(*cols)]
    whole = kriged_by_colour(scene.kernel, weights, scene.neighbourhood, scene.msi, *scene.maps.up)
    up = scene.maps.up[0].part(*rows), scene.maps.up[1].part(*cols)
    tile = kriged_by_colour(scene.kernel, weights, scene.neighbourhood, scene.msi[part], *up)
    np.testing.assert_allclose(tile, whole[part], atol=1e-5 * np.abs(whole).max())


def test_between_nodes_weights_are_linear_and_beyond_the_last_they_stay() -> None:
    scene = observed(np.full((2, 64, 80), 0.4, np.float32))
    assert len(scene.features) == 1
    down, across = np.mgrid[:4, :5]
    weights = np.stack([down, across], axis=2)[:, :, None].astype(np.float32)
    of_one = scene.kernel(scene.msi[:, 0, 0], scene.msi[:, 0, 0])
    none = np.zeros(0, np.float32)
    image = scene.at_hr(Kriged(weights, none, np.ones(2, np.float32), none)) / of_one
    rows, cols = (
        np.interp((np.arange(4 * n) + 0.5) / 4 - 0.5, 4 * np.arange(n // 4) + 1.5, range(n // 4))
        for n in (16, 20)
    )
    expected = np.stack(np.broadcast_arrays(rows[:, None], cols))
    np.testing.assert_allclose(image, expected, atol=1e-3)


@pytest.mark.parametrize("axis", [1, 2])
def test_blocks_see_as_much_on_one_side_as_on_the_other(axis: int) -> None:
    pair = local_pair()
    turned = fused(np.flip(pair.truth, axis), np.flip(pair.msi, axis))
    np.testing.assert_allclose(np.flip(turned, axis), fused(pair.truth, pair.msi), atol=2e-3)


def test_blocks_do_not_show() -> None:
    """Steps of slopes from one LR pixel to the next are no larger where blocks meet."""
    scene = observed(texture(2, 160, 160, 11))
    rows, cols = np.mgrid[:40, :40] / 10
    slopes = scene.krige((np.sin(rows + cols) * scene.at_lr[:1]).astype(np.float32)).slopes[0, 0]
    steps = np.abs(np.diff(slopes, axis=0)).mean(axis=1)
    between = steps[7::8].mean()
    assert between < 1.5 * np.delete(steps, np.s_[7::8]).mean()


# Scenes of little


def test_a_constant_channel_stays_constant() -> None:
    pair = local_pair()
    truth = np.concatenate([pair.truth, np.full((1, 96, 96), 0.7, np.float32)])
    np.testing.assert_allclose(fused(truth, pair.msi)[-1], 0.7, atol=1e-5)


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_a_constant_msi_tells_nothing(level: float) -> None:
    truth = texture(3, 64, 64, 12)
    nothing = np.full((2, 64, 64), level, np.float32)
    by_kriging, upsampled = fused(truth, nothing), fused(truth, nothing, "bicubic")
    assert error(by_kriging, truth) < 1.02 * error(upsampled, truth)


def test_one_band_serves() -> None:
    pan = texture(1, 64, 64, 13)
    truth = np.concatenate([np.sqrt(np.maximum(pan, 0)), np.sin(3 * pan)])
    assert error(fused(truth, pan), truth) < 0.25 * error(fused(truth, pan, "bicubic"), truth)


@pytest.mark.parametrize(("height", "width"), [(12, 16), (16, 16), (12, 80), (36, 36)])
def test_small_scenes(height: int, width: int) -> None:
    msi = local_pair().msi[:, :height, :width]
    truth = hidden_bands(msi)
    image = fused(truth, msi)
    assert np.isfinite(image).all()
    assert error(image, truth) < 0.8 * error(fused(truth, msi, "bicubic"), truth)


@pytest.mark.parametrize("shift", [0.3, 5.0])
def test_an_msi_below_zero_serves(shift: float) -> None:
    pair = local_pair()
    usual = error(fused(pair.truth, pair.msi), pair.truth)
    assert error(fused(pair.truth, pair.msi - np.float32(shift)), pair.truth) < 1.2 * usual


# The MSI's axes


def test_along_unit_axes_valid_pixels_vary_by_one_and_apart() -> None:
    rng = np.random.default_rng(2)
    msi = np.tensordot(rng.normal(size=(3, 3)), rng.normal(size=(3, 20, 20)), axes=1)
    valid = rng.random((20, 20)) < 0.7
    msi[:, ~valid] = 1e3
    along = unit_axes(msi[:, valid].astype(np.float64), 1e-6) @ msi[:, valid]
    np.testing.assert_allclose(np.cov(along), np.eye(3), atol=1e-4)


def test_bands_that_tell_the_same_are_not_stretched_to_noise() -> None:
    rng = np.random.default_rng(3)
    band = rng.normal(size=(1, 20, 20))
    msi = np.concatenate([band, 2 * band, 0 * band + 0.3]) + 1e-9 * rng.normal(size=(3, 20, 20))
    along = unit_axes(msi.reshape(3, -1).astype(np.float64), 1e-6) @ msi.reshape(3, -1)
    np.testing.assert_allclose(np.sort(np.var(along, axis=1, ddof=1)), [0, 0, 1], atol=1e-3)
