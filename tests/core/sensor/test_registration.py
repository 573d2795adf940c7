"""Displacement and PSF width found again on pairs made with known ones; nothing found where nothing is."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.degradation import WALD_PSF
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.optimum import dip, jackknife, valley, without_each
from emrdiff_cli.core.sensor.registration import (
    REACH,
    PairBlock,
    Shift,
    estimate_shift,
    estimate_width,
    see_at_lr,
)
from emrdiff_cli.core.sensor.resampling import apply_taps, gaussian_downsampler
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA
from tests.support.scenes import textured

Image = NDArray[np.float32]
Point = tuple[float, float]
BANDS, SIDE = 8, 168


def see(cube: Image) -> Image:
    return np.stack([part.mean(axis=0) for part in np.array_split(cube, 3)])


def make_block(
    shift: Point = (0.0, 0.0),
    *,
    ratio: float = 4.0,
    width: float = 1.0,
    noise: float = 0.0,
    seed: int = 0,
    other: int | None = None,
) -> PairBlock:
    """A pair whose LR-HSI was taken `shift` LR pixels from where its placement says; `other`: the MSI's seed."""
    truth = textured(BANDS, SIDE, SIDE, seed)
    count = int(SIDE / ratio)
    taps = [
        gaussian_downsampler(AxisPlacement(ratio, at * ratio), count, SIDE, width * ratio / FWHM_PER_SIGMA)
        for at in shift
    ]
    hsi = apply_taps(truth, taps[0], taps[1])
    hsi = hsi + noise * np.random.default_rng(seed).normal(size=hsi.shape).astype(np.float32)
    msi = see(truth if other is None else textured(BANDS, SIDE, SIDE, other))
    place = AxisPlacement(ratio, 0.0)
    return PairBlock(hsi, np.ones(hsi.shape[1:], bool), msi, np.ones((SIDE, SIDE), bool), place, place)


def distance(found: Shift, shift: Point) -> float:
    return max(abs(found.rows - shift[0]), abs(found.cols - shift[1]))


@pytest.mark.parametrize("ratio", [4.0, 8.3])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.4, -0.7), (-0.05, 0.08), (-2.6, 1.3), (3.0, -3.0)])
def test_displacements_are_found_again(ratio: float, shift: Point) -> None:
    found = estimate_shift(make_block(shift, ratio=ratio))
    assert distance(found, shift) < 0.02
    assert found.confidence > 0.99
    assert found.r2_after > 0.99
    assert found.r2_chance < 0.5
    assert found.significant == (shift != (0.0, 0.0))
    assert not found.unrelated


@pytest.mark.parametrize("width", [0.7, 1.0, 1.4])
def test_noise_and_another_psf_hardly_change_the_displacement(width: float) -> None:
    block = make_block((0.4, -0.7), width=width, noise=0.02)
    found = estimate_shift(block)
    assert distance(found, (0.4, -0.7)) < 0.03
    psf = estimate_width(block, (found.rows, found.cols))
    assert psf is not None
    assert psf.value == pytest.approx(width, rel=0.05)
    assert 0 < psf.standard_error < 0.1
    assert distance(estimate_shift(block, psf.value), (0.4, -0.7)) < 0.02


def test_the_standard_error_is_that_of_repeated_draws() -> None:
    found = [estimate_shift(make_block((0.4, -0.7), noise=0.05, seed=seed)) for seed in range(8)]
    spread = np.std([[f.rows, f.cols] for f in found], axis=0, ddof=1)
    stated = np.mean([f.standard_errors for f in found], axis=0)
    assert (stated > spread / 3).all()
    assert (stated < spread * 3).all()


def test_gain_and_offset_of_the_msi_do_not_matter() -> None:
    block = make_block((0.4, -0.7))
    scaled = replace(block, msi=(block.msi * 2000 + 300).astype(np.float32))
    one, other = estimate_shift(block), estimate_shift(scaled)
    assert distance(one, (other.rows, other.cols)) < 1e-3


def test_holes_are_left_out() -> None:
    block = make_block((0.4, -0.7))
    valid, msi_valid = block.valid.copy(), block.msi_valid.copy()
    valid[5:12, 20:40], msi_valid[60:100, 10:60] = False, False
    hsi, msi = np.where(valid, block.hsi, 3.0), np.where(msi_valid, block.msi, 3.0).astype(np.float32)
    holed = replace(block, hsi=hsi, valid=valid, msi=msi, msi_valid=msi_valid)
    found = estimate_shift(holed)
    assert distance(found, (0.4, -0.7)) < 0.02
    assert found.pixels < valid.sum() - 100
    psf = estimate_width(holed, (found.rows, found.cols))
    assert psf is not None
    assert psf.value == pytest.approx(1, rel=0.05)


def test_nothing_given_is_changed() -> None:
    block = make_block((0.4, -0.7))
    before = [np.array(a) for a in (block.hsi, block.valid, block.msi, block.msi_valid)]
    estimate_shift(block)
    estimate_width(block, (0.4, -0.7))
    for was, now in zip(before, (block.hsi, block.valid, block.msi, block.msi_valid), strict=True):
        np.testing.assert_array_equal(was, now)


def nothing(found: Shift) -> bool:
    return (found.rows, found.cols, found.confidence, found.significant) == (0, 0, 0, False)


@pytest.mark.parametrize("seed", range(6))
def test_unrelated_images_have_no_displacement(seed: int) -> None:
    block = make_block(seed=seed, other=seed + 100)
    found = estimate_shift(block)
    assert nothing(found)
    assert found.unrelated


@pytest.mark.parametrize("changes", [{"hsi": 0.3}, {"msi": 0.3}, {"hsi": 0.0}])
def test_flat_images_have_no_displacement(changes: dict[str, float]) -> None:
    block = make_block()
    flat: dict[str, Any] = {k: np.full_like(getattr(block, k), v) for k, v in changes.items()}
    found = estimate_shift(replace(block, **flat))
    assert nothing(found)
    assert found.unrelated
    assert estimate_width(replace(block, **flat), (0.0, 0.0)) is None


def test_a_flat_band_among_others_is_passed_over() -> None:
    block = make_block((0.4, -0.7))
    msi = np.concatenate([block.msi, np.full_like(block.msi[:1], 0.2)])
    assert estimate_shift(replace(block, msi=msi)) == estimate_shift(block)


def test_ramps_are_related_but_tell_nothing() -> None:
    rows, cols = (np.mgrid[:SIDE, :SIDE] + 0.5).astype(np.float32)
    msi = np.stack([rows, cols, rows + 2 * cols])
    hsi = np.stack([1 + rows, cols, rows - cols, rows + cols])[:, 2::4, 2::4]
    block = replace(make_block(), hsi=hsi, msi=msi)
    found = estimate_shift(block)
    assert nothing(found)
    assert not found.unrelated


def test_too_few_pixels_tell_nothing() -> None:
    block = make_block()
    few = np.zeros_like(block.valid)
    few[3:6, 3:6] = True
    for lonely in (replace(block, valid=few), replace(block, valid=np.zeros_like(few))):
        found = estimate_shift(lonely)
        assert nothing(found)
        assert found.pixels == 0
        assert not found.unrelated
        assert estimate_width(lonely, (0.0, 0.0)) is None
    assert estimate_shift(replace(block, msi_valid=np.zeros_like(block.msi_valid))).pixels == 0


def test_what_lies_beyond_reach_is_not_guessed() -> None:
    found = estimate_shift(make_block((REACH + 3.0, 0.0)))
    assert nothing(found)


def test_the_pair_at_lr_is_moved_with_it() -> None:
    block = make_block((0.4, -0.7))
    scene = see_at_lr(block, (0.4, -0.7), WALD_PSF)
    inner = np.s_[:, 4:-4, 4:-4]
    np.testing.assert_allclose(scene.msi[inner], see(np.asarray(scene.hsi))[inner], atol=1e-5)
    assert scene.valid[4:-4, 4:-4].all()
    assert not scene.valid[-1].any()


# Parabolas


@pytest.mark.parametrize("least", [(0.0, 0.0), (0.3, -0.8), (-1.0, 0.5)])
def test_a_paraboloids_least_value_is_found(least: Point) -> None:
    down, right = np.mgrid[-1:2, -1:2]
    a, b = down - least[0], right - least[1]
    assert valley(2 * a**2 + b**2 + 0.7 * a * b + 5) == pytest.approx(least)
    assert dip(3 * (np.arange(-1, 2) - least[0]) ** 2 + 1) == pytest.approx(least[0])


def test_what_has_no_least_value_gives_none() -> None:
    down, right = np.mgrid[-1.0:2.0, -1.0:2.0]
    for surface in (down**2 - right**2, down + right, np.zeros((3, 3)), -(down**2) - right**2):
        assert valley(surface) is None
    assert dip(np.array([0.0, 1.0, 0.0])) is None


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=16)
    means = [float(rest) / 15 for rest in without_each(values)]
    assert jackknife(means) == pytest.approx(values.std(ddof=1) / 4)
    assert jackknife([1.0, None, 1.0]) == math.inf
    assert jackknife([]) == jackknife([1.0]) == math.inf
