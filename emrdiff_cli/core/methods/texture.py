"""Texture of the HR scene told from noise of the LR-HSI, by the correlation of neighbouring LR pixels.

Both are white at their own resolution and both end in kriging's nugget. But the PSFs of neighbouring LR pixels
overlap, so that texture seen through them is correlated as they overlap, and noise is not. With the weights
alpha = (K + nugget I)^-1 y of a block and a part of variance nu, the expected products of neighbours are those of
C (K + nu A) C, C = (K + nugget I)^-1, with A the overlap for texture and the identity for noise; where the observed
ones lie between the two is the share (method of moments).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.methods.covariance import Covariance
from emrdiff_cli.core.sensor.resampling import Taps
from emrdiff_cli.core.side_by_side import side_by_side

Doubles = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

_LAGS = 4  # LR pixels apart at which PSFs still overlap
_LEAST = 9  # pixels of a block that tells anything
_LEAST_APART = 1e-9  # of the two kinds' correlations
_DOUBT = 0.5  # standard errors of the correlation in favour of texture, which costs less where it is wrong


class CorrelatedBlock(Protocol):
    """N LR pixels of kriging, in and around `core`: their places, their residual and its covariance."""

    @property
    def places(self) -> Doubles:
        """Rows and columns (N, 2)."""

    @property
    def residual(self) -> Doubles:
        """The residual (k, N), in units of the channels' spread."""

    def in_core(self) -> Mask:
        """Which of them (N,) the block is solved for."""

    def covariance_matrix(self) -> Floats:
        """K (N, N), without a nugget."""


def psf_overlap(down: tuple[Taps, Taps]) -> tuple[Doubles, Doubles]:
    """The correlation of white HR texture between LR pixels 0, 1, .. apart along rows and along columns."""
    rows, cols = (_overlap(taps) for taps in down)
    return rows, cols


def _overlap(taps: Taps) -> Doubles:
    middle = taps.n_out // 2
    seen = taps.part(middle, min(middle + _LAGS, taps.n_out)).matrix(0, taps.n_in)
    return np.asarray(seen @ seen[0] / max(float(seen[0] @ seen[0]), 1e-30))


def texture_share(
    blocks: Sequence[CorrelatedBlock],
    nuggets: Doubles,
    overlap: tuple[Doubles, Doubles],
    covariance: Covariance,
) -> Doubles:
    """The share (k,), from 0 to 1, of each channel's nugget (inflated) that is texture; 1 where none tells."""
    found = _correlations(blocks, nuggets, overlap, covariance)
    if found is None:
        return np.ones(len(nuggets))
    share = (found.in_favour(1) - found.noise) / np.maximum(found.texture - found.noise, _LEAST_APART)
    return np.asarray(np.clip(share, 0.0, 1.0))


def common_texture_share(
    blocks: Sequence[CorrelatedBlock],
    nuggets: Doubles,
    overlap: tuple[Doubles, Doubles],
    covariance: Covariance,
) -> float:
    """The share, from 0 to 1, of the channels' nuggets that is texture, were it that of all; 1 where none tells.

    By least squares: shares that are told by channel and kept between 0 and 1 lie above it in the mean where most
    of the nuggets is noise.
    """
    found = _correlations(blocks, nuggets, overlap, covariance)
    if found is None:
        return 1.0
    apart = found.texture - found.noise
    share = (found.in_favour(len(nuggets)) - found.noise) @ apart / max(float(apart @ apart), _LEAST_APART**2)
    return float(np.clip(share, 0.0, 1.0))


class _Correlations(NamedTuple):
    """Correlations (k,) of neighbours: observed, and expected of noise and of texture; by so many pairs."""

    observed: Doubles
    noise: Doubles
    texture: Doubles
    pairs: float

    def in_favour(self, channels: int) -> Doubles:
        """Those observed (k,), in favour of texture by their doubt where so many channels are told together."""
        return self.observed + _DOUBT / math.sqrt(self.pairs * channels)


def _correlations(
    blocks: Sequence[CorrelatedBlock],
    nuggets: Doubles,
    overlap: tuple[Doubles, Doubles],
    covariance: Covariance,
) -> _Correlations | None:
    """Those of all blocks; None where none tells."""
    told = [block for block in blocks if len(block.places) >= _LEAST]

    def of_block(block: CorrelatedBlock) -> _Moments:
        return _Moments.of(block, nuggets, overlap, covariance.nugget_inflation)

    found = side_by_side(of_block, told) if told else []
    pairs = sum(moments.pairs for moments in found)
    if not pairs:
        return None
    return _Correlations(
        _correlation([moments.observed for moments in found]),
        _correlation([moments.noise for moments in found]),
        _correlation([moments.texture for moments in found]),
        pairs,
    )


def _correlation(moments: Sequence[Doubles]) -> Doubles:
    """Products of neighbours over squares (k,), from their sums by block."""
    products, squares = np.sum(moments, axis=0)
    return np.asarray(products / np.maximum(squares, 1e-300))


@dataclass(frozen=True)
class _Moments:
    """Sums of products of neighbours and of squares (2, k) of a block: observed, and expected of each kind.

    `pairs`: how many neighbours were summed over.
    """

    observed: Doubles
    noise: Doubles
    texture: Doubles
    pairs: float

    @classmethod
    def of(
        cls, block: CorrelatedBlock, nuggets: Doubles, overlap: tuple[Doubles, Doubles], inflation: float
    ) -> _Moments:
        """Of the core's pixels, by the eigenvectors of the covariance: one decomposition serves all nuggets."""
        variances, directions = np.linalg.eigh(block.covariance_matrix())
        variances = np.maximum(variances, 0)
        apart = np.abs(block.places[:, None] - block.places)
        core = block.in_core()
        beside = (apart.sum(axis=2) == 1) & core[:, None]
        summed = [
            directions.T @ (weights @ directions)
            for weights in ((beside + beside.T) / 2, np.diag(core * 1.0))
        ]
        overlapping = _at(overlap[0], apart[..., 0]) * _at(overlap[1], apart[..., 1])
        overlapping = directions.T @ (overlapping @ directions)
        residual = block.residual @ directions
        observed, noise, texture = np.zeros((3, 2, len(nuggets)))
        for nugget in np.unique(nuggets):
            channels = nuggets == nugget
            damping, part = 1 / (variances + nugget), nugget / inflation
            alpha = residual[channels] * damping
            for row, weights in enumerate(summed):
                signal = float((variances * damping**2) @ np.diag(weights))
                observed[row, channels] = np.einsum("ke,ef,kf->k", alpha, weights, alpha, optimize=True)
                noise[row, channels] = signal + part * float(damping**2 @ np.diag(weights))
                texture[row, channels] = signal + part * float(damping @ (overlapping * weights) @ damping)
        return cls(observed, noise, texture, float(beside.sum()) / 2)


def _at(correlation: Doubles, lags: Doubles) -> Doubles:
    """The correlation at these distances, 0 beyond those known."""
    known = np.append(correlation, 0.0)
    return np.asarray(known[np.minimum(lags.astype(np.intp), len(correlation))])
