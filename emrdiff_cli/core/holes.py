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


def fill_dead_bands(image: Floats, dead: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A copy of (C, H, W) whose `dead` bands (C,) are interpolated between their live neighbours."""
    filled = np.array(image, dtype=np.float32)
    live = np.flatnonzero(~dead)
    if not live.size:
        return filled
    for band in np.flatnonzero(dead):
        next_live = int(np.searchsorted(live, band))
        above = int(live[min(next_live, live.size - 1)])
        below = int(live[max(next_live - 1, 0)])
        share = (band - below) / (above - below) if below < band < above else 0.0
        filled[band] = (1 - share) * filled[below] + share * filled[above]
    return filled


def mend(image: Floats) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """A whole image (C, H, W) without holes or dead bands, its valid pixels (H, W) and its dead bands (C,)."""
    valid = valid_pixels(image)
    dead = np.asarray(~np.isfinite(image).any(axis=(1, 2)))
    return fill_dead_bands(fill_holes(image, valid), dead), valid, dead
