"""Displacements of many LR pixels found to the pixel; unrelated and repeated ground is not sure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from emrdiff_cli.core.sensor.coarse_registration import FAR_REACH, CoarseShift, WideScene, find_coarse_shift
from tests.support.scenes import textured

BANDS, HEIGHT, WIDTH = 8, 32, 36
SURE = 0.99


def make_scene(by: tuple[int, int] = (0, 0), *, seed: int = 0, reach: int = FAR_REACH) -> WideScene:
    """The ground at LR, of which the LR-HSI shows what lies `by` pixels from where its placement says."""
    ground = textured(BANDS, HEIGHT + 2 * reach, WIDTH + 2 * reach, seed)
    rows, cols = (slice(reach + at, reach + at + side) for at, side in zip(by, (HEIGHT, WIDTH), strict=True))
    msi = np.stack([part.mean(axis=0) for part in np.array_split(ground, 3)])
    hsi = ground[:, rows, cols]
    return WideScene(hsi, np.ones(hsi.shape[1:], bool), msi, np.ones(msi.shape[1:], bool), reach)


def found(scene: WideScene) -> CoarseShift:
    shift = find_coarse_shift(scene)
    assert shift is not None
    return shift


@pytest.mark.parametrize("by", [(0, 0), (1, -2), (12, -25), (-40, 40)])
def test_whole_pixels_are_found_exactly(by: tuple[int, int]) -> None:
    shift = found(make_scene(by))
    assert (shift.rows, shift.cols) == by
    assert shift.confidence > SURE
    assert shift.r2 > 0.95 > 0.6 > shift.r2_elsewhere


def test_the_msi_need_not_reach_farther_than_the_hsi_says() -> None:
    scene = make_scene((12, -17))
    nominal = np.zeros_like(scene.msi_valid)
    nominal[FAR_REACH:-FAR_REACH, FAR_REACH:-FAR_REACH] = True
    shift = found(replace(scene, msi=np.where(nominal, scene.msi, 7.0), msi_valid=nominal))
    assert (shift.rows, shift.cols) == (12, -17)
    assert shift.confidence > SURE


def test_holes_are_left_out() -> None:
    scene = make_scene((-9, 21))
    valid, msi_valid = scene.valid.copy(), scene.msi_valid.copy()
    valid[5:14, 20:30], msi_valid[30:50, 60:75] = False, False
    holed = replace(
        scene,
        hsi=np.where(valid, scene.hsi, 50.0),
        valid=valid,
        msi=np.where(msi_valid, scene.msi, -50.0),
        msi_valid=msi_valid,
    )
    shift = found(holed)
    assert (shift.rows, shift.cols) == (-9, 21)
    assert shift.confidence > SURE


def test_gain_offset_and_a_broad_gradient_of_the_msi_do_not_matter() -> None:
    scene = make_scene((15, 6))
    gradient = np.linspace(0, 3, scene.msi.shape[1])[:, None]
    shift = found(replace(scene, msi=2000 * (scene.msi + gradient) + 300))
    assert (shift.rows, shift.cols) == (15, 6)
    assert shift.confidence > SURE


def test_dark_surroundings_explain_nothing() -> None:
    scene = make_scene((6, -5))
    lit = np.zeros_like(scene.msi_valid)
    lit[50:66, 42:56] = True
    rows, cols = slice(46, 46 + HEIGHT), slice(35, 35 + WIDTH)
    dark = replace(scene, hsi=scene.hsi * lit[rows, cols], msi=scene.msi * lit)
    shift = found(dark)
    assert (shift.rows, shift.cols) == (6, -5)
    assert shift.confidence > SURE


def test_a_flat_band_among_others_is_passed_over() -> None:
    scene = make_scene((15, 6))
    more = np.concatenate([scene.msi, np.full_like(scene.msi[:1], 0.2)])
    assert find_coarse_shift(replace(scene, msi=more)) == find_coarse_shift(scene)


def test_nothing_given_is_changed() -> None:
    scene = make_scene((15, 6))
    before = [np.array(a) for a in (scene.hsi, scene.valid, scene.msi, scene.msi_valid)]
    find_coarse_shift(scene)
    for was, now in zip(before, (scene.hsi, scene.valid, scene.msi, scene.msi_valid), strict=True):
        np.testing.assert_array_equal(was, now)


@pytest.mark.parametrize("seed", range(8))
def test_other_ground_is_not_taken_for_the_same(seed: int) -> None:
    other = replace(make_scene(seed=seed), msi=make_scene(seed=seed + 100).msi)
    assert found(other).confidence < SURE


def test_what_lies_beyond_reach_is_not_taken_for_found() -> None:
    scene = make_scene((30, 0))
    cut = FAR_REACH - 10
    inner = np.s_[..., cut:-cut, cut:-cut]
    assert (
        found(replace(scene, msi=scene.msi[inner], msi_valid=scene.msi_valid[inner], reach=10)).confidence
        < SURE
    )


def test_ground_that_repeats_itself_is_not_sure() -> None:
    scene = make_scene((12, -8))
    cell = scene.msi[:, 41:53, 41:57]
    repeated = np.tile(cell, (1, 10, 8))[:, : scene.msi.shape[1], : scene.msi.shape[2]]
    hsi = np.concatenate([repeated, 1 - repeated])[:, 52 : 52 + HEIGHT, 32 : 32 + WIDTH]
    shift = found(replace(scene, hsi=hsi, msi=repeated))
    assert ((shift.rows - 12) % 12, (shift.cols + 8) % 16) == (0, 0)
    assert shift.confidence < 0.5


def test_ground_that_is_alike_elsewhere_is_not_sure() -> None:
    """Fields that repeat themselves all but for 1 % of their variance, which the LR-HSI sees too."""
    scene = make_scene()
    rng = np.random.default_rng(0)
    cell = rng.normal(size=(3, 12, 16))
    own, noise = (rng.normal(size=scene.msi.shape) for _ in range(2))
    ground = np.tile(cell, (1, 10, 8))[:, : scene.msi.shape[1], : scene.msi.shape[2]] + 0.12 * own
    seen = (ground + 0.45 * noise)[:, 52 : 52 + HEIGHT, 32 : 32 + WIDTH]
    shift = found(replace(scene, hsi=np.concatenate([seen, -seen]), msi=ground))
    assert shift.r2 > shift.r2_elsewhere + 0.005
    assert shift.confidence < SURE


def test_other_ground_of_few_features_is_not_taken_for_the_same() -> None:
    """Smooth ground, of which neighbouring pixels tell much the same."""
    sides = 14 + 2 * FAR_REACH, 18 + 2 * FAR_REACH
    inner = np.s_[:, FAR_REACH:-FAR_REACH, FAR_REACH:-FAR_REACH]
    for seed in range(30):
        noise = np.random.default_rng(seed).normal(size=(BANDS + 3, *sides))
        smooth = ndimage.gaussian_filter(noise, (0, 4, 4))
        hsi, msi = smooth[:BANDS][inner], smooth[BANDS:]
        scene = WideScene(hsi, np.ones(hsi.shape[1:], bool), msi, np.ones(sides, bool))
        assert found(scene).confidence < SURE


def test_flat_images_and_too_few_pixels_tell_nothing() -> None:
    scene = make_scene()
    few = np.zeros_like(scene.valid)
    few[3:10, 3:10] = True
    for silent in (
        replace(scene, hsi=np.full_like(scene.hsi, 0.3)),
        replace(scene, msi=np.full_like(scene.msi, 0.3)),
        replace(scene, valid=few),
        replace(scene, valid=np.zeros_like(few)),
        replace(scene, msi_valid=np.zeros_like(scene.msi_valid)),
    ):
        assert find_coarse_shift(silent) is None
