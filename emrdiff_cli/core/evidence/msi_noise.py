"""The noise of an MSI, told by the detail that its own bands do not share.

Detail of the ground is alike in all bands, within a few pixels a sum of the other bands' (Roger and Arnold 1996);
noise is not. A Laplacian that a plane leaves at zero (Immerkaer 1996) takes off what is smooth. Of small blocks
those where least is left count: there the ground is plain. Texture that is each band's own is not told from noise,
nor is a PAN's, which has no other band.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

_LAPLACIAN = np.outer((1, -2, 1), (1, -2, 1)) / 6.0  # white noise keeps its variance
_SIDE = 8  # pixels of a block, more where
_PIXELS_EACH = 4  # for each band are more
_PLAINEST = 0.25  # of the blocks
_LEAST_BLOCKS = 8
_RIDGE = 1e-9  # of a band's variance


def msi_noise(msi: Floats, valid: Mask) -> Doubles:
    """Noise variances (m,) of MSI bands (m, H, W), taken for alike everywhere; 0 where too few pixels are valid.

    Bands of one value alone have none, and no say in the others'.
    """
    side = max(_SIDE, math.ceil(math.sqrt(_PIXELS_EACH * len(msi))))
    detail = np.stack([ndimage.convolve(band.astype(np.float64), _LAPLACIAN) for band in msi])
    whole = ndimage.minimum_filter(valid, 3, mode="constant")
    told = _blocks(whole[None], side).all(axis=(1, 2))
    blocks = _blocks(detail, side)[told]
    bands = np.flatnonzero(blocks.any(axis=(0, 2)))
    blocks = blocks[:, bands]
    shared = blocks @ blocks.transpose(0, 2, 1) / side**2
    own = np.einsum("nii->ni", shared)
    varied, noise = (own > 0).all(axis=1), np.zeros(len(msi))
    if not bands.size or varied.sum() < _LEAST_BLOCKS:
        return noise
    shared = shared[varied] + np.eye(len(bands)) * (_RIDGE * own[varied])[:, None]
    left = 1 / np.einsum("nii->ni", np.linalg.inv(shared)) * side**2 / (side**2 - len(bands) + 1)
    noise[bands] = np.quantile(left, _PLAINEST, axis=0)
    return noise


def _blocks(image: NDArray[Any], side: int) -> NDArray[Any]:
    """Whole blocks (n, m, side x side) of an image (m, H, W)."""
    rows, cols = (length // side for length in image.shape[1:])
    cut = image[:, : rows * side, : cols * side].reshape(len(image), rows, side, cols, side)
    return cut.transpose(1, 3, 0, 2, 4).reshape(rows * cols, len(image), side**2)
