"""Invalid pixels: found once, filled so that no resampling spreads them, masked in the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.large_arrays import let_go, one_by_one

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
    unusable = np.array([not np.isfinite(band).any() for band in one_by_one(image)], bool)
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
        filled = filled[:, *_nearest(valid)]
    return np.nan_to_num(filled, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _nearest(valid: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column (H, W) of the valid pixel that is nearest to each."""
    rows, cols = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return rows, cols


def fill_dead_bands(
    image: Floats, dead: NDArray[np.bool_], positions: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """A copy of (C, H, W) whose `dead` bands (C,) are interpolated between their live neighbours.

    Linearly over `positions` (C,), such as wavelengths, in any order; by default over the bands' numbers.
    """
    filled = np.array(image, dtype=np.float32)
    _interpolate(filled, dead, positions)
    return filled


def _interpolate(filled: Floats, dead: NDArray[np.bool_], positions: Sequence[float] | None) -> None:
    """`fill_dead_bands` in place."""
    at = np.arange(len(filled)) if positions is None else np.asarray(positions)
    live = np.flatnonzero(~dead)
    live = live[np.argsort(at[live], kind="stable")]
    for band in np.flatnonzero(dead) if live.size else ():
        next_live = int(np.searchsorted(at[live], at[band]))
        above = int(live[min(next_live, live.size - 1)])
        below = int(live[max(next_live - 1, 0)])
        gap = at[above] - at[below]
        share = min(1.0, (at[band] - at[below]) / gap) if gap > 0 else 0.0
        filled[band] = (1 - share) * filled[below] + share * filled[above]
        let_go(filled)


def fill_invalid(
    image: Floats, bad: Sequence[int] = (), positions: Sequence[float] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """A whole image (C, H, W) without holes or unusable bands, its valid pixels (H, W), the unusable bands (C,).

    Unusable are bands without any value and the `bad` ones (0-based), of which no value is used: they make no
    pixel invalid, and are interpolated between the others over `positions`.
    """
    filled = np.array(image, dtype=np.float32)
    return filled, *fill_in_place(filled, bad, positions)


def fill_in_place(
    image: NDArray[np.float32], bad: Sequence[int] = (), positions: Sequence[float] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """`fill_invalid`, of which no copy is made: the valid pixels (H, W) and the unusable bands (C,)."""
    unusable = unusable_bands(image, bad)
    usable = np.flatnonzero(~unusable)
    valid = np.full(image.shape[1:], bool(usable.size))
    for band in usable:
        valid &= np.isfinite(image[band])
        let_go(image)
    nearest = _nearest(valid) if valid.any() and not valid.all() else None
    for is_unusable, values in zip(unusable, image, strict=True):
        if is_unusable or not valid.any():
            values[:] = 0
        elif nearest is not None:
            values[:] = values[nearest]
        let_go(image)
    _interpolate(image, unusable, positions)
    return valid, unusable


def fill_each_band(image: Floats) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A copy of (C, H, W) in which each band's holes hold its own nearest value, and where each is valid."""
    valid = np.isfinite(image)
    filled = [fill_holes(band[None], mask) for band, mask in zip(image, valid, strict=True)]
    return np.concatenate(filled) if filled else np.zeros(image.shape, np.float32), valid
