"""Texture of the scene told from noise of the LR-HSI, and what back-projection makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from emrdiff_cli.core.methods.covariance import USUAL
from emrdiff_cli.core.methods.texture import common_texture_share, psf_overlap, texture_share
from tests.support.geometries import noisy
from tests.support.pair_arrays import Pair, resampling, texture

Doubles = NDArray[np.float64]
SIDE = 24
OVERLAP = psf_overlap(resampling(96, 96).down)
NUGGETS = np.full(4, 0.2) * USUAL.nugget_inflation


@dataclass(frozen=True)
class Block:
    """LR pixels of one block with a smooth signal under them."""

    residual: Doubles

    @property
    def places(self) -> Doubles:
        return np.argwhere(np.ones((SIDE, SIDE))).astype(np.float64)

    def in_core(self) -> NDArray[np.bool_]:
        return np.ones(SIDE**2, bool)

    def covariance_matrix(self) -> Doubles:
        return np.asarray(np.exp(-cdist(self.places, self.places, "sqeuclidean") / (2 * 4.0**2)))


def overlapping() -> Doubles:
    """The correlation of white texture between the LR pixels of the block."""

    def along(lags: Doubles, correlation: Doubles) -> Doubles:
        return np.asarray(np.append(correlation, 0.0)[np.minimum(lags.astype(int), len(correlation))])

    apart = np.abs(Block(np.empty(0)).places[:, None] - Block(np.empty(0)).places)
    return along(apart[..., 0], OVERLAP[0]) * along(apart[..., 1], OVERLAP[1])


def drawn(share: float, seed: int) -> Block:
    """A signal, and a nugget of which a share is texture."""
    rng = np.random.default_rng(seed)
    nugget = 0.2 * (share * overlapping() + (1 - share) * np.eye(SIDE**2))
    whole = Block(np.empty(0)).covariance_matrix() + nugget + 1e-9 * np.eye(SIDE**2)
    return Block((np.linalg.cholesky(whole) @ rng.normal(size=(SIDE**2, 4))).T)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_texture_is_told_by_the_correlation_of_neighbours(share: float) -> None:
    found = texture_share([drawn(share, seed) for seed in range(3)], NUGGETS, OVERLAP, USUAL)
    assert ((found >= 0) & (found <= 1)).all()
    assert found == pytest.approx(share, abs=0.2)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_channels_together_tell_it_better(share: float) -> None:
    """Of noise alone the shares by channel, none below 0, have a mean above it."""
    blocks = [drawn(share, seed) for seed in range(8)]
    many = replace(blocks[0], residual=np.concatenate([block.residual for block in blocks]))
    found = common_texture_share([many], np.tile(NUGGETS, 8), OVERLAP, USUAL)
    assert found == pytest.approx(share, abs=0.05)


def test_a_few_pixels_tell_nothing_and_all_is_taken_for_texture() -> None:
    assert texture_share([], NUGGETS, OVERLAP, USUAL).tolist() == [1, 1, 1, 1]
    assert common_texture_share([], NUGGETS, OVERLAP, USUAL) == 1


def test_neighbours_overlap_as_their_psfs_do() -> None:
    """Two Gaussians of FWHM = the ratio, one LR pixel apart: exp(-d^2 / 4 sigma^2) = 1 / 4."""
    for along in OVERLAP:
        assert along[:2] == pytest.approx([1.0, 0.25], abs=0.01)
        assert (np.diff(along) < 0).all()


def scene(noise: float) -> Pair:
    """Four bands that two MSI bands explain in part, seen with noise of a share of each band's spread."""
    truth = texture(4, 96, 96, 5)
    pair = Pair(truth, truth[:2] + 0.3 * truth[2:])
    pair.lr = replace(pair.lr, hsi=noisy(pair.lr.hsi, noise))
    return pair


def returned(pair: Pair, share: float | None, monkeypatch: pytest.MonkeyPatch) -> float:
    """The error of kriging with the share that it finds, or with one that is given."""
    if share is not None:
        monkeypatch.setattr(
            "emrdiff_cli.core.methods.kriging.texture_share",
            lambda _blocks, nuggets, *_: np.full(len(nuggets), share),
        )
    return pair.error(pair.fused("kriging"))


def test_noise_is_not_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = scene(noise=0.3)
    own = returned(pair, None, monkeypatch)
    assert own < 0.95 * returned(pair, 1.0, monkeypatch)


def test_what_an_exact_pair_leaves_is_returned_whatever_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = scene(noise=0.0)
    own = returned(pair, None, monkeypatch)
    assert returned(pair, 0.0, monkeypatch) == returned(pair, 1.0, monkeypatch) == own
