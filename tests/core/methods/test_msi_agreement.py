"""Agreement with the MSI: what the detail contradicts is met, noise of the MSI is not followed, means stay."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli.core.methods.end_point import regress
from emrdiff_cli.core.methods.msi_agreement import MsiAgreement, MsiResponse
from emrdiff_cli.core.methods.scene_end_point import find_end_point
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.core.subspace import identity_basis
from tests.support.pair_arrays import Pair, texture

Image = NDArray[np.float32]
WEIGHTS = np.array([[0.4, 0.3, 0.3, 0, 0, 0], [0, 0, 0.2, 0.3, 0.3, 0.2]], np.float32)


def seen_pair(noise: float = 0.0) -> Pair:
    """A pair whose MSI is sums of its bands, beside noise."""
    truth = texture(6, 96, 96, 1)
    msi = np.tensordot(WEIGHTS, truth, axes=1)
    return Pair(truth, msi + noise * np.random.default_rng(0).standard_normal(msi.shape, np.float32))


def fused(pair: Pair, agreeing: bool) -> Image:
    basis = identity_basis(len(pair.truth))
    end = find_end_point(pair.lr, pair.strips, pair.maps, "kriging", basis, agreeing=agreeing)
    return end.fitted.tile(pair.msi, *pair.maps.up).values


def contradiction(pair: Pair, image: Image) -> float:
    return float(np.square(np.tensordot(WEIGHTS, image, axes=1) - pair.msi).mean())


def test_the_fused_bands_show_the_msi_and_are_nearer_to_the_truth() -> None:
    pair = seen_pair()
    before, after = (fused(pair, agreeing) for agreeing in (False, True))
    assert contradiction(pair, after) < 0.3 * contradiction(pair, before)
    assert pair.error(after) < pair.error(before)


def test_the_means_of_lr_pixels_are_kept_as_before() -> None:
    pair = seen_pair()
    off = [
        np.abs(apply_taps(fused(pair, agreeing), *pair.maps.down) - pair.lr.hsi)[:, 1:-1, 1:-1].mean()
        for agreeing in (False, True)
    ]
    assert off[1] < 1.02 * off[0]


def test_noise_of_the_msi_is_not_followed() -> None:
    clean, noisy = (
        MsiAgreement.of(pair.lr, regress(pair.lr).unexplained, pair.maps)
        for pair in (seen_pair(), seen_pair(0.1))
    )
    assert clean is not None
    assert noisy is not None
    followed = [np.trace(found.weights @ found.gain) / 2 for found in (clean, noisy)]
    assert followed[0] == pytest.approx(1, abs=0.05)
    assert 0 < followed[1] < 0.1


def test_no_more_channels_than_msi_bands_tell_nothing_of_it() -> None:
    pair = Pair(texture(2, 96, 96, 1), texture(2, 96, 96, 2))
    assert MsiAgreement.of(pair.lr, regress(pair.lr).unexplained, pair.maps) is None


def test_the_response_is_the_sums_that_the_msi_is() -> None:
    pair = seen_pair()
    response = MsiResponse.of(pair.lr)
    np.testing.assert_allclose(response.weights, WEIGHTS, atol=1e-3)
    np.testing.assert_allclose(response.seen(pair.lr.hsi), pair.lr.msi, atol=1e-4)
    assert np.trace(response.noise) < 1e-8
