"""Invalid pixels: found once, filled so that no resampling spreads them, masked in the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]


def valid_pixels(image: Floats) -> NDArray[np.bool_]:
    """Pixels (H, W) at which every band that has any finite value has one; all False for an empty image."""
    valid, alive = np.ones(image.shape[1:], bool), False
    for band in image:
        finite = np.isfinite(band)
        if finite.any():
            valid, alive = valid & finite, True
    return valid & alive


def unusable_bands(image: Floats, bad: Sequence[int] = ()) -> NDArray[np.bool_]:
    """The bands (C,) of an image (C, H, W) without any value, and the `bad` ones (0-based)."""
    unusable = np.array([not np.isfinite(band).any() for band in image], bool)
    unusable[list(bad)] = True
    return unusable


def fill_holes(image: Floats, valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A copy of (C, H, W) whose invalid pixels hold the nearest valid pixel's values, 0 where there is none.

    Dead bands hold 0.
    """
    if not valid.any():
        return np.zeros(image.shape, np.float32)
    filled = np.array(image, dtype=np.float32)
    if not valid.all():
        nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
        filled = filled[:, nearest[0], nearest[1]]
    return np.nan_to_num(filled, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def fill_dead_bands(
    image: Floats, dead: NDArray[np.bool_], positions: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """A copy of (C, H, W) whose `dead` bands (C,) are interpolated between their live neighbours.

    Linearly over `positions` (C,), such as wavelengths, in any order; by default over the bands' numbers.
    """
    filled = np.array(image, dtype=np.float32)
    at = np.arange(len(filled)) if positions is None else np.asarray(positions)
    live = np.flatnonzero(~dead)
    live = live[np.argsort(at[live], kind="stable")]
    if not live.size:
        return filled
    for band in np.flatnonzero(dead):
        next_live = int(np.searchsorted(at[live], at[band]))
        above = int(live[min(next_live, live.size - 1)])
        below = int(live[max(next_live - 1, 0)])
        gap = at[above] - at[below]
        share = min(1.0, (at[band] - at[below]) / gap) if gap > 0 else 0.0
        filled[band] = (1 - share) * filled[below] + share * filled[above]
    return filled


def fill_invalid(
    image: Floats, bad: Sequence[int] = (), positions: Sequence[float] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """A whole image (C, H, W) without holes or unusable bands, its valid pixels (H, W), the unusable bands (C,).

    Unusable are bands without any value and the `bad` ones (0-based), of which no value is used: they make no
    pixel invalid, and are interpolated between the others over `positions`.
    """
    unusable = unusable_bands(image, bad)
    usable = np.where(unusable[:, None, None], np.nan, image) if unusable.any() else image
    valid = valid_pixels(usable)
    filled = fill_holes(usable, valid)
    return fill_dead_bands(filled, unusable, positions) if unusable.any() else filled, valid, unusable


def fill_each_band(image: Floats) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A copy of (C, H, W) in which each band's holes hold its own nearest value, and where each is valid."""
    valid = np.isfinite(image)
    filled = [fill_holes(band[None], mask) for band, mask in zip(image, valid, strict=True)]
    return np.concatenate(filled) if filled else np.zeros(image.shape, np.float32), valid
