"""Q2n, the quality index of hypercomplex pixels (Garzelli and Nencini 2009), in 32 x 32 blocks side by side.

A spectrum is one number z of the Cayley-Dickson algebra of 2^n dimensions, bands beyond the last being 0.
As in the authors' program both cubes are first brought to the reference's mean and deviation in the block,
z = (x - mean) / deviation + 1 in each band. In a block, with reference z and fused w,

    Q = |cov(z, w)| / (dev(z) dev(w)) * 2 dev(z) dev(w) / (var(z) + var(w))
        * 2 |mean z| |mean w| / (|mean z|^2 + |mean w|^2),   cov(z, w) = E[z w*] - E[z] E[w]*

and Q2n is the mean over blocks. The product being bilinear, E[z w*] follows from the matrix of covariances of
single bands, which one matrix product gives.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.windows import Mask

Cube = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]

BLOCK = 32
_FLAT = 1e-12  # share of the mean square under which a variance is rounding


class HypercomplexIndex:
    """Sum of Q over the blocks wholly inside valid data; they number `count`."""

    def __init__(self) -> None:
        self.sum, self.count = 0.0, 0

    def update(self, fused: Cube, reference: Cube, valid: Mask, core: tuple[int, int]) -> None:
        """Score the blocks in the `core` of a tile that starts a multiple of BLOCK from the scene's corner."""
        rows, cols = core
        for row in range(0, rows - BLOCK + 1, BLOCK):
            for col in range(0, cols - BLOCK + 1, BLOCK):
                block = (slice(row, row + BLOCK), slice(col, col + BLOCK))
                if valid[block].all():
                    self.sum += block_index(fused[:, *block], reference[:, *block])
                    self.count += 1

    def means(self) -> Floats:
        """Q2n, one for all bands (1,); NaN without a block."""
        return np.array([self.sum / self.count if self.count else np.nan])


def block_index(fused: Cube, reference: Cube) -> float:
    """Q of one block, (bands, rows, columns) without holes."""
    bands = len(reference)
    w, z = (cube.reshape(bands, -1).astype(np.float64) for cube in (fused, reference))
    shift, scale = _normal(z)
    z, w = ((values - shift) / scale for values in (z, w))
    mean_z, mean_w = z.mean(axis=1), w.mean(axis=1)
    z -= mean_z[:, None]
    w -= mean_w[:, None]
    count = z.shape[1]
    variances = (np.sum(z * z) + np.sum(w * w)) / count
    bias = _bias(mean_z + 1, mean_w + 1)
    if variances <= _FLAT * bands:
        return bias
    covariance = np.linalg.norm(_product(z @ w.T / count))
    return float(2 * covariance / variances) * bias


def _normal(z: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation of each band (bands, 1); of a flat band its mean's size, or 1 where that is 0."""
    mean, deviation = z.mean(axis=1, keepdims=True), z.std(axis=1, ddof=1, keepdims=True)
    flat = deviation**2 <= _FLAT * np.mean(z * z, axis=1, keepdims=True)
    size = np.where(mean == 0, 1.0, np.abs(mean))
    return mean, np.where(flat, size, deviation)


def _bias(mean_z: Floats, mean_w: Floats) -> float:
    a, b = np.linalg.norm(mean_z), np.linalg.norm(mean_w)
    return float(2 * a * b / (a * a + b * b))


def _product(covariances: Floats) -> Floats:
    """E[z w*] of centred z and w from the covariances E[z_i w_j], (bands, bands)."""
    bands = len(covariances)
    signs = conjugate_signs(bands)
    size = len(signs)
    padded = np.zeros((size, size))
    padded[:bands, :bands] = covariances
    i = np.arange(size)
    # Component k is made of the pairs i, j with i xor j = k.
    partners = i[:, None] ^ i
    return np.asarray((signs * padded)[i, partners].sum(axis=1))


@cache
def conjugate_signs(bands: int) -> Floats:
    """Signs s with e_i e_j* = s[i, j] e_(i xor j), for 2^n >= `bands` units of the Cayley-Dickson algebra.

    From (a, b)(c, d) = (a c - d* b, d a + b c*), doubled n times.
    """
    signs = np.ones((1, 1))
    while len(signs) < bands:
        size = len(signs)
        conjugate = np.where(np.arange(size) == 0, 1.0, -1.0)
        signs = np.block([[signs, signs.T], [signs * conjugate, -signs.T * conjugate]])
    conjugate = np.where(np.arange(len(signs)) == 0, 1.0, -1.0)
    return np.asarray(signs * conjugate)
