"""An MSI band held out: what stands in its place, and what its errors are."""

from __future__ import annotations

import numpy as np
import pytest

from emrdiff_cli.core.evidence.held_out_band import held_out_bands
from emrdiff_cli.core.methods.least_squares import fit_linear
from emrdiff_cli.core.sensor.resampling import apply_taps
from tests.support.pair_arrays import Pair, by_strips, texture


def pair_of_three() -> Pair:
    truth = texture(6, 64, 48, 4)
    return Pair(truth, np.stack([truth[:3].mean(axis=0), truth[2:5].mean(axis=0), truth[5]]))


def test_a_band_is_fused_from_the_others_and_scored_against_itself() -> None:
    """GLP worked by hand: the degraded band upsampled, plus the others' lost detail by least squares."""
    pair = pair_of_three()
    up, down = pair.maps.up, pair.maps.down
    for held in held_out_bands(pair.lr, by_strips(pair.msi), pair.maps):
        others = np.delete(pair.msi, held.band, axis=0)
        at_lr = apply_taps(others, *down)
        own_at_lr = apply_taps(pair.msi[[held.band]], *down)
        slopes, _ = fit_linear(at_lr[:, pair.lr.valid], own_at_lr[:, pair.lr.valid])
        detail = others - apply_taps(at_lr, *up)
        image = apply_taps(own_at_lr, *up) + np.tensordot(slopes, detail, axes=1)
        squares = np.square(image[0] - pair.msi[held.band], dtype=np.float64)
        by_lr_pixel = squares.reshape(16, 4, 12, 4).sum(axis=(1, 3))
        found = held.errors(held.fitted("glp"))
        np.testing.assert_allclose(found.squares[0], np.where(pair.lr.valid, by_lr_pixel, 0), rtol=2e-3)
        np.testing.assert_array_equal(found.counts, np.where(pair.lr.valid, 16, 0))
    assert held.band == 2


def test_what_is_not_valid_is_not_scored() -> None:
    pair = pair_of_three()
    seen = np.ones(pair.msi.shape[1:], bool)
    seen[8:12, 20:24] = False
    lr_valid = pair.lr.valid.copy()
    lr_valid[3] = False
    scene = type(pair.lr)(pair.lr.hsi, pair.lr.msi, lr_valid)
    (held, *_) = held_out_bands(scene, by_strips(pair.msi, valid=seen), pair.maps)
    counts = held.errors(held.fitted("bicubic")).counts
    assert counts[3].sum() == 0
    assert (counts[2, 5], counts[2, 4]) == (0, 16)
    assert held.errors(held.fitted("bicubic")).within((slice(3, 4), slice(0, 12))).counts.sum() == 0


@pytest.mark.parametrize("method", ["glp", "glp-local", "kriging"])
def test_a_band_that_is_a_mean_of_the_others_is_found_again(method: str) -> None:
    truth = texture(6, 64, 48, 4)
    msi = np.stack([truth[0], truth[3], 0.5 * (truth[0] + truth[3])])
    pair = Pair(truth, msi)
    for held in held_out_bands(pair.lr, pair.strips, pair.maps):
        rmse = np.sqrt(held.errors(held.fitted(method)).mse[0])
        assert rmse < 1e-3 * held.spread


def test_one_band_alone_has_no_others() -> None:
    pair = Pair(texture(6, 64, 48, 4), texture(1, 64, 48, 5))
    assert list(held_out_bands(pair.lr, pair.strips, pair.maps)) == []
