"""Regression around each HR pixel, on the LR pixels that are near it both on the ground and in colour.

One map from the MSI to the HSI holds for a scene, or for a place in it, only where the materials there are
alike. A window that is narrow in the MSI's colour as well keeps apart what lies side by side. Each pixel is
worked out from its own neighbours alone, in one order: no tile, and no batch, changes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.resampling import Taps

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

_REACH = 2  # LR pixels to each side
_FAR = 1e-7  # weight of a neighbour of any other colour: a pixel without its like takes from all
_LEAST_SPREAD = 1e-6  # of the largest axis' variance: a narrower one is noise
_PIXELS = 1 << 16  # HR pixels whose weights are held at once


@dataclass(frozen=True)
class ColourWindow:
    """Gaussians over the ground (sigma, LR pixels) and over colour (bandwidth), and the ridge.

    Colour is in units in which the MSI at LR has unit variance along each of its axes.
    """

    sigma: float
    bandwidth: float
    ridge: float


# Near and of many colours, and wide and of few: as different as two good ones can be, so that their mean gains.
COLOUR_WINDOWS = (ColourWindow(0.8, 1.5, 1e-2), ColourWindow(1.5, 0.7, 5e-3))


def colour_axes(msi_at_lr: Floats, valid: NDArray[np.bool_]) -> Field:
    """(m, m): from the MSI's bands to axes along which its valid LR pixels (m, h, w) have unit variance."""
    variance, directions = np.linalg.eigh(np.atleast_2d(np.cov(msi_at_lr[:, valid].astype(np.float64))))
    floor = max(float(variance[-1]) * _LEAST_SPREAD, 1e-30)
    return np.asarray((directions / np.sqrt(np.maximum(variance, floor))).T, np.float32)


def regress_by_colour(
    window: ColourWindow,
    values: Floats,
    msi_at_lr: Floats,
    valid: NDArray[np.bool_],
    axes: Field,
    hr_msi: Floats,
    rows: Taps,
    cols: Taps,
) -> Field:
    """Values (k, h, w) predicted at each HR pixel of a tile from its MSI (m, H, W): (k, H, W).

    A linear fit, weighted and ridged, to the valid LR pixels within 2 of the one that holds the pixel. `rows` and
    `cols` are the tile's LR -> HR. No prediction is larger than the largest value of its channel; zero where no LR
    pixel around is valid.
    """
    limit = np.abs(np.where(valid, values, 0)).max(axis=(1, 2)).astype(np.float32)[:, None, None]
    known = _along(axes, msi_at_lr)
    result = np.empty((len(values), *hr_msi.shape[1:]), np.float32)
    step = max(1, _PIXELS // hr_msi.shape[2])
    for top in range(0, hr_msi.shape[1], step):
        part = slice(top, min(top + step, hr_msi.shape[1]))
        colour = _along(axes, hr_msi[:, part])
        around = _Neighbours(rows.part(part.start, part.stop), cols, valid, window.sigma)
        weights = _fit_weights(window, around, known, colour)
        predicted = np.zeros((len(values), *colour.shape[1:]), np.float32)
        for weight, (near_rows, near_cols) in zip(weights, around.places, strict=True):
            predicted += weight * values[:, near_rows][:, :, near_cols]
        result[:, part] = np.clip(predicted, -limit, limit)
    return result


class _Neighbours:
    """The LR pixels around each HR pixel: `places` (rows, columns) and their weights `near` on the ground."""

    def __init__(self, rows: Taps, cols: Taps, valid: NDArray[np.bool_], sigma: float) -> None:
        axes = [_around(taps, sigma) for taps in (rows, cols)]
        self.places: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
        self.near: list[Field] = []
        for row, row_weight in axes[0]:
            for col, col_weight in axes[1]:
                self.places.append((row, col))
                self.near.append(row_weight[:, None] * col_weight * valid[row][:, col])


def _around(taps: Taps, sigma: float) -> list[tuple[NDArray[np.intp], Field]]:
    """For each offset along an axis: the LR pixel beside each output, and its weight, 0 beyond the ends."""
    centre = (taps.indices * taps.weights).sum(axis=1)
    nearest = np.rint(centre).astype(np.intp)
    found = []
    for offset in range(-_REACH, _REACH + 1):
        place = nearest + offset
        inside = (place >= 0) & (place < taps.n_in)
        weight = np.where(inside, np.exp(-0.5 * ((place - centre) / sigma) ** 2), 0)
        found.append((np.clip(place, 0, taps.n_in - 1), weight.astype(np.float32)))
    return found


def _fit_weights(window: ColourWindow, around: _Neighbours, known: Field, colour: Field) -> Field:
    """(n, H, W): what each neighbour counts in the linear fit's value at the pixel's own colour."""
    away = np.stack([known[:, rows][:, :, cols] - colour for rows, cols in around.places])
    alike = np.exp(-0.5 * _total(np.moveaxis(np.square(away / np.float32(window.bandwidth)), 1, 0)))
    weights = np.stack(around.near) * (alike + np.float32(_FAR))
    weights /= np.maximum(_total(weights), np.float32(1e-30))
    mean = _total(weights[:, None] * away)
    away -= mean
    bands = len(colour)
    spread = np.empty((*colour.shape[1:], bands, bands), np.float32)
    for i in range(bands):
        for j in range(i + 1):
            spread[..., i, j] = spread[..., j, i] = _total(weights * away[:, i] * away[:, j])
    spread += np.float32(window.ridge) * np.eye(bands, dtype=np.float32)
    slope = np.linalg.solve(spread, -np.moveaxis(mean, 0, -1)[..., None])[..., 0]
    reach = _total(np.moveaxis(away * np.moveaxis(slope, -1, 0), 1, 0))
    return np.asarray(weights * (1 + reach), np.float32)


def _along(axes: Field, msi: Floats) -> Field:
    """The MSI (m, H, W) along each axis."""
    return np.stack([_total(msi * axis[:, None, None]) for axis in axes]).astype(np.float32)


def _total(parts: Floats) -> Floats:
    """The sum of parts (n, ...), one after another: numpy's own order depends on the shape."""
    return reduce(np.add, parts)
