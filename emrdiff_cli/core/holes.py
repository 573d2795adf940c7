"""Invalid pixels: found once, filled so that no resampling spreads them, masked in the output."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]


def valid_pixels(image: Floats) -> NDArray[np.bool_]:
    """Where every band of (C, H, W) that has any finite value has one; False throughout for an empty image."""
    finite = np.isfinite(image)
    alive = finite.any(axis=(1, 2))
    if not alive.any():
        return np.zeros(image.shape[1:], bool)
    return np.asarray(finite[alive].all(axis=0))


def fill_holes(image: Floats, valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A copy of (C, H, W) whose invalid pixels hold the nearest valid pixel's values; dead bands hold zero."""
    filled = np.array(image, dtype=np.float32)
    if valid.any() and not valid.all():
        nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
        filled = filled[:, nearest[0], nearest[1]]
    return np.nan_to_num(filled, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
