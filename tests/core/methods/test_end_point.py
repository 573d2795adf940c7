"""End points: exact where theory says so, no worse where nothing is to be gained, the same by parts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from emrdiff_cli.core.methods.detail_injection import DetailInjection, LocalWindow, local_detail
from emrdiff_cli.core.methods.end_point import back_projected, local_regression, regress
from emrdiff_cli.core.methods.glp_local import choose_window
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.errors import InputError
from emrdiff_cli.methods import END_POINTS
from tests.support.pair_arrays import RATIO, Pair, local_pair, texture


def linear_pair(seed: int = 0) -> Pair:
    """A scene whose bands are linear in the MSI's."""
    msi = texture(3, 64, 80, seed)
    mix = np.random.default_rng(seed).uniform(-1, 1, (7, 3))
    return Pair((np.tensordot(mix, msi, axes=1) + 0.5).astype(np.float32), msi)


def test_bicubic_is_the_upsampled_lr_hsi() -> None:
    pair = local_pair()
    np.testing.assert_array_equal(pair.fused("bicubic"), apply_taps(pair.lr.hsi, *pair.maps.up))


@pytest.mark.parametrize("method", ["glp", "glp-local", "kriging"])
def test_a_scene_linear_in_the_msi_is_recovered_exactly(method: str) -> None:
    pair = linear_pair()
    np.testing.assert_allclose(pair.fused(method), pair.truth, atol=2e-4)
    assert pair.error(pair.fused("bicubic")) > 0.02


def test_a_tiles_msi_detail_is_what_the_msi_lost_at_lr() -> None:
    pair = linear_pair()
    tile = pair.end("glp").fitted.tile(pair.msi, *pair.maps.up)
    lost = pair.msi - apply_taps(pair.lr.msi, *pair.maps.up)
    np.testing.assert_allclose(tile.msi_detail, lost, atol=1e-6)
    assert np.abs(lost).max() > 0.01


def test_unexplained_is_what_the_scenes_map_leaves_of_the_lr_hsi() -> None:
    pair = local_pair()
    anomalies = regress(pair.lr).unexplained[:, pair.lr.valid]
    np.testing.assert_allclose(anomalies.mean(axis=1), 0, atol=1e-5)
    design = pair.lr.msi[:, pair.lr.valid]
    np.testing.assert_allclose(anomalies @ (design - design.mean(axis=1, keepdims=True)).T, 0, atol=1e-2)
    for method in END_POINTS:
        np.testing.assert_array_equal(pair.end(method).unexplained[:, pair.lr.valid], anomalies)
    np.testing.assert_allclose(linear_pair().end("glp").unexplained, 0, atol=1e-4)


def test_local_is_the_scenes_map_where_nothing_is_unexplained() -> None:
    pair = linear_pair(5)
    np.testing.assert_allclose(pair.fused("glp-local"), pair.fused("glp"), atol=2e-4)


def test_each_end_point_beats_the_one_before_on_a_scene_that_changes() -> None:
    pair = local_pair()
    errors = [pair.error(pair.fused(method)) for method in END_POINTS]
    assert errors[0] > 1.2 * errors[1] > 1.2 * 1.2 * errors[2] > 1.2 * 1.2 * 2 * errors[3]
    assert pair.end("glp-local").fitted.window is not None


def test_kriging_gains_where_colour_tells_more_than_place() -> None:
    """Four materials side by side all over: two MSI bands tell them apart, but by no linear map."""
    rng = np.random.default_rng(4)
    material = ndimage.gaussian_filter(rng.normal(size=(4, 96, 96)), (0, 2.5, 2.5)).argmax(axis=0)
    light = np.exp(ndimage.gaussian_filter(rng.normal(size=(96, 96)), 1.5))
    truth = rng.uniform(0.1, 0.9, (6, 4))[:, material] * light
    pair = Pair(truth.astype(np.float32), truth[:2].astype(np.float32))
    local, kriged = (pair.error(pair.fused(method)) for method in ("glp-local", "kriging"))
    assert kriged < 0.85 * local


def test_local_regression_finds_slopes_that_change_over_the_scene() -> None:
    rng = np.random.default_rng(0)
    msi = rng.normal(size=(2, 40, 40)).astype(np.float32)
    turn = np.linspace(-1, 1, 40, dtype=np.float32)
    unexplained = np.stack([turn * msi[0], 0.5 * msi[1] + 0 * turn])
    valid = np.ones((40, 40), bool)
    slopes = local_regression(unexplained, msi, valid, LocalWindow(1.5, 1e-4))
    assert slopes.shape == (2, 2, 40, 40)
    inner = np.s_[5:-5, 5:-5]
    np.testing.assert_allclose(slopes[0, 0][inner], np.broadcast_to(turn, (40, 40))[inner], atol=0.1)
    np.testing.assert_allclose(slopes[1, 1][inner], 0.5, atol=0.01)
    np.testing.assert_allclose(slopes[1, 0][inner], 0, atol=0.01)


def test_a_heavy_ridge_leaves_no_slopes() -> None:
    pair = local_pair()
    unexplained = regress(pair.lr).unexplained
    steep, flat = (
        np.abs(local_regression(unexplained, pair.lr.msi, pair.lr.valid, LocalWindow(1.0, ridge))).mean()
        for ridge in (1e-4, 1e4)
    )
    assert flat < 1e-3 * steep


def test_invalid_pixels_have_no_say_in_the_fit() -> None:
    pair = local_pair()
    valid = np.ones_like(pair.lr.valid)
    valid[5:9, 7:12] = False
    wild = pair.lr.hsi.copy()
    wild[:, ~valid] = 50.0
    usual, other = (regress(LrScene(hsi, pair.lr.msi, valid)) for hsi in (pair.lr.hsi, wild))
    np.testing.assert_array_equal(usual.slopes, other.slopes)
    window = LocalWindow(1.0, 1e-3)
    for one, two in zip(
        local_regression(usual.unexplained, pair.lr.msi, valid, window),
        local_regression(np.where(valid, usual.unexplained, 1e3), pair.lr.msi, valid, window),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_back_projection_brings_the_fused_image_nearer_to_the_lr_hsi() -> None:
    pair = local_pair()
    linear = regress(pair.lr)
    slopes = local_regression(linear.unexplained, pair.lr.msi, pair.lr.valid, LocalWindow(1.0, 1e-3))
    up, down = pair.maps.up, pair.maps.down
    detail = pair.msi - apply_taps(pair.lr.msi, *up)

    def inconsistency(with_slopes: bool, projected: bool) -> float:
        injected = np.zeros_like(slopes) if not with_slopes else slopes
        bare = DetailInjection(pair.lr.hsi, pair.lr.msi, linear.slopes, injected)
        lost = apply_taps(local_detail(bare, detail, *up), *down)
        used = back_projected(bare, lost, up, down, pair.lr.valid) if projected else bare
        degraded = apply_taps(used.tile(pair.msi, *up).values, *down)
        return float(np.sqrt(np.square(degraded - pair.lr.hsi).mean()))

    for with_slopes in (False, True):
        assert inconsistency(with_slopes, True) < 0.3 * inconsistency(with_slopes, False)


@pytest.mark.parametrize("hole", [np.s_[8:13, 6:11], np.s_[8:13, 19:24]])
def test_back_projection_leaves_invalid_lr_pixels_as_they_are(hole: tuple[slice, ...]) -> None:
    """Without the MSI's detail it alone tells `glp-local` from `bicubic`: that goes five LR pixels far at most."""
    pair = Pair(local_pair().truth, np.full((1, 96, 96), 0.3, np.float32))
    valid = np.ones_like(pair.lr.valid)
    valid[hole] = False
    hsi = np.where(valid, pair.lr.hsi, pair.lr.hsi + np.linspace(-1, 1, 24, dtype=np.float32))
    pair.lr = LrScene(hsi, pair.lr.msi, valid)
    changed = np.abs(pair.fused("glp-local") - pair.fused("bicubic"))
    rows, cols = (slice(RATIO * (side.start + 2), RATIO * (side.stop - 2)) for side in hole)
    assert changed[:, rows, cols].max() < 1e-6
    assert changed.mean() > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_no_window_is_chosen_for_an_hsi_that_is_noise_beside_the_msi(seed: int) -> None:
    msi = texture(3, 40, 44, seed)
    noise = np.random.default_rng(seed).normal(size=(6, 40, 44)).astype(np.float32)
    explained = np.tensordot(np.ones((6, 3)), msi, axes=1)
    valid = np.ones((40, 44), bool)
    assert choose_window(LrScene((explained + 0.3 * noise).astype(np.float32), msi, valid)) is None


def test_too_few_valid_pixels_are_refused() -> None:
    pair = linear_pair()
    valid = np.zeros_like(pair.lr.valid)
    valid[:2, :3] = True
    with pytest.raises(InputError, match=r"6 valid LR pixels .* 3 MSI bands"):
        regress(LrScene(pair.lr.hsi, pair.lr.msi, valid))


@pytest.mark.parametrize("method", END_POINTS)
def test_a_tile_is_the_part_of_the_whole(method: str) -> None:
    pair = local_pair()
    fitted = pair.end(method).fitted
    whole = fitted.tile(pair.msi, *pair.maps.up)
    rows, cols = slice(13, 50), slice(31, 96)
    part = fitted.tile(pair.msi[:, rows, cols], pair.maps.up[0].part(13, 50), pair.maps.up[1].part(31, 96))
    np.testing.assert_allclose(part.values, whole.values[:, rows, cols], atol=1e-5)
    np.testing.assert_allclose(part.local_detail, whole.local_detail[:, rows, cols], atol=1e-5)


@pytest.mark.parametrize("method", END_POINTS)
@pytest.mark.parametrize("level", [0.0, 0.3])
def test_a_constant_msi_band_changes_nothing(method: str, level: float) -> None:
    pair = local_pair()
    constant = np.full((1, *pair.msi.shape[1:]), level, np.float32)
    more = Pair(pair.truth, np.concatenate([pair.msi, constant]))
    # It lies in the mean brightness, a power of which kriging goes by.
    tolerance = 8e-3 if method == "kriging" else 2e-3
    np.testing.assert_allclose(more.fused(method), pair.fused(method), atol=tolerance)


def test_in_a_subspace_of_all_that_is_there_the_end_point_is_the_same() -> None:
    pair = linear_pair()
    end = pair.end("glp", subspace=3)
    values = end.basis.expand(end.fitted.tile(pair.msi, *pair.maps.up).values)
    assert end.outside is not None
    np.testing.assert_allclose(end.outside, 0, atol=1e-4)
    np.testing.assert_allclose(values, pair.fused("glp"), atol=1e-3)
