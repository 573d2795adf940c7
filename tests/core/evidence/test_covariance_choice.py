"""The covariance that a pair asks for: chosen where it helps, and the usual one where nothing is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.evidence.covariance_choice import by_own_colour, by_shape, choose_covariance, smoother
from emrdiff_cli.core.evidence.scene_part import spread_parts
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.scene_end_point import find_end_point
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.core.subspace import identity_basis
from tests.support.pair_arrays import Pair, local_pair, texture


def one_meaning() -> Pair:
    """Bands that are functions of two, the same ones all over the scene."""
    one, other = texture(2, 64, 64, 5)
    msi = np.stack([one, other, np.sin(4 * one) * other + 0.5, np.square(one - other)])
    truth = np.stack([np.sin(3 * one + other), one * other, np.hypot(one, other), np.cos(5 * other)])
    return Pair(truth.astype(np.float32), msi.astype(np.float32))


def chosen_for(pair: Pair) -> Covariance:
    return choose_covariance(pair.lr, pair.strips, pair.maps)


def error_of(pair: Pair, covariance: Covariance) -> float:
    basis = identity_basis(len(pair.truth))
    end = find_end_point(pair.lr, pair.strips, pair.maps, "kriging", basis, covariance)
    return pair.error(end.fitted.tile(pair.msi, *pair.maps.up).values)


def test_colours_of_one_meaning_all_over_the_scene_are_followed_over_longer_ways() -> None:
    pair = one_meaning()
    chosen = chosen_for(pair)
    assert chosen == smoother(by_own_colour(USUAL))
    assert error_of(pair, chosen) < 0.7 * error_of(pair, USUAL)


@pytest.mark.slow
def test_colours_whose_meaning_changes_are_not() -> None:
    pair = local_pair()
    chosen = chosen_for(pair)
    assert (chosen.colour_sill, chosen.colour_range) == (USUAL.colour_sill, USUAL.colour_range)
    assert error_of(pair, chosen) <= error_of(pair, USUAL)


@pytest.mark.parametrize(("bands", "valid"), [(1, 16), (4, 8)])
def test_where_nothing_is_held_out_or_too_little_is_seen_colours_are_as_usual(bands: int, valid: int) -> None:
    pair = one_meaning()
    few = Pair(pair.truth, pair.msi[:bands])
    few.lr = replace(few.lr, valid=few.lr.valid & (np.arange(16) < valid) & (np.arange(16)[:, None] < valid))
    assert chosen_for(few).colour_range == USUAL.colour_range


def shaded(shade_seed: int) -> Pair:
    """Ground whose spectra change slowly, under light and shade: a PAN that tells brightness and no colour."""
    rng = np.random.default_rng(shade_seed)
    shade = ndimage.gaussian_filter(rng.normal(size=(64, 64)), 1.5)
    shade = 0.3 + np.exp(4 * shade / np.ptp(shade))
    spectra = ndimage.gaussian_filter(rng.normal(size=(6, 64, 64)), (0, 10, 10))
    spectra = 1 + 0.5 * spectra / spectra.std()
    spectra = np.maximum(spectra, 0.1) / np.maximum(spectra, 0.1).mean(axis=0)
    truth = (0.05 * shade * spectra).astype(np.float32)
    return Pair(truth, truth.mean(axis=0, keepdims=True))


def angle(image: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    products = (image * truth).sum(axis=0)
    cosine = products / np.linalg.norm(image, axis=0) / np.linalg.norm(truth, axis=0)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))[4:-4, 4:-4].mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_a_band_that_tells_nothing_of_spectra_leaves_their_shape_to_the_lr_hsi(seed: int) -> None:
    pair = shaded(seed)
    chosen = chosen_for(pair)
    assert chosen.shape_sill == by_shape(USUAL).shape_sill
    angles = {}
    for method, covariance in (("bicubic", USUAL), ("kriging", USUAL), ("kriging", chosen)):
        end = find_end_point(pair.lr, pair.strips, pair.maps, method, identity_basis(6), covariance)
        angles[method, covariance] = angle(end.fitted.tile(pair.msi, *pair.maps.up).values, pair.truth)
    assert angles["kriging", chosen] <= angles["bicubic", USUAL]
    assert angles["kriging", chosen] < 0.9 * angles["kriging", USUAL]


def test_more_bands_are_not_asked_about_shape() -> None:
    truth = shaded(0).truth
    assert chosen_for(Pair(truth, truth[::3])).shape_sill == 0


def test_parts_see_what_the_scene_sees_there() -> None:
    truth = texture(3, 160, 144, 1)
    pair = Pair(truth, truth[:2])
    parts = spread_parts(pair.lr, pair.strips, pair.maps, 16)
    assert [part.lr.valid.shape for part in parts] == [(16, 16), (16, 16)]
    first = np.s_[:, 5:21, 4:20]
    np.testing.assert_array_equal(parts[0].lr.hsi, pair.lr.hsi[first])
    np.testing.assert_allclose(
        apply_taps(parts[0].msi, *parts[0].resampling.down), pair.lr.msi[first], atol=1e-6
    )
    whole, inside = (
        apply_taps(pair.lr.msi, *pair.maps.up),
        apply_taps(parts[0].lr.msi, *parts[0].resampling.up),
    )
    own = np.s_[:, 16:40, 16:40]
    top, left = (
        taps.part(start, start + 16).reach()[0] for taps, start in zip(pair.maps.down, (5, 4), strict=True)
    )
    np.testing.assert_allclose(inside[own], whole[:, top + 16 : top + 40, left + 16 : left + 40], atol=1e-6)
