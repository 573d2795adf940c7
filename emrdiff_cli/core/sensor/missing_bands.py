"""Bands without a value at pixels where others have one: estimated from those, so that these can be fused there.

A detector that ends earlier than the next one, SWIR masked over water or a dead row leave few sets of missing bands
at many pixels. The estimate is the missing bands' mean given the others, by the covariance of the whole pixels: it
stands in wherever a spectrum must be whole, and is masked again in the output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.large_arrays import let_go

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]

_MOST_SETS = 256  # of missing bands, those of the most pixels; the others' pixels are left out in all bands
_LEAST_WHOLE = 16  # pixels that have all bands, which the covariance is taken from,
_MOST_WHOLE = 2**16  # and the most that it is
_RIDGE = 1e-3  # of a band's variance


@dataclass(frozen=True)
class MissingBands:
    """The `sets` (p, B) of bands that are missing together, and which is `at` each pixel (h, w): -1 for none."""

    sets: Mask
    at: NDArray[np.int16]

    @classmethod
    def none(cls, bands: int, shape: tuple[int, ...]) -> MissingBands:
        """Nothing is missing."""
        return cls(np.zeros((0, bands), bool), np.full(shape, -1, np.int16))

    def take(self, bands: NDArray[np.intp] | slice) -> MissingBands:
        """Of some bands (0-based)."""
        return MissingBands(self.sets[:, bands], self.at)

    @property
    def share(self) -> float:
        """Share of the pixels at which some bands are missing."""
        return float((self.at >= 0).mean())

    @property
    def bands(self) -> tuple[int, ...]:
        """The bands (0-based) that are missing somewhere."""
        return tuple(np.flatnonzero(self.sets.any(axis=0)).tolist())

    def mask(self, values: Field, rows: NDArray[np.integer[Any]], cols: NDArray[np.integer[Any]]) -> None:
        """Put NaN into `values` (B, n, m), which lie on the pixels (rows[i], cols[j]), where a band is missing."""
        at = self.at[rows][:, cols]
        for number in np.unique(at[at >= 0]):
            here = at == number
            for band in np.flatnonzero(self.sets[number]):
                values[band][here] = np.nan


def fill_missing(image: Field, bad: Sequence[int] = (), beside: Field | None = None) -> MissingBands:
    """Give pixels of (B, h, w) with some values one in all bands but `bad` (0-based) and empty ones, in place.

    Returns the bands that are estimates, from the image's other bands and those `beside` it (m, h, w), without
    holes: a pair's MSI. A pixel keeps its holes where whole pixels are too few, or the sets of
    missing bands too many, to estimate them.
    """
    usable, whole, some = (
        np.ones(len(image), bool),
        np.ones(image.shape[1:], bool),
        np.zeros(image.shape[1:], bool),
    )
    usable[list(bad)] = False
    for band in np.flatnonzero(usable):
        finite = np.isfinite(image[band])
        let_go(image)
        usable[band] = finite.any()
        if usable[band]:
            whole &= finite
            some |= finite
    partly = some & ~whole
    if not partly.any() or whole.sum() < _LEAST_WHOLE:
        return MissingBands.none(len(image), whole.shape)
    bands = np.flatnonzero(usable)
    absent = np.array([~np.isfinite(image[band][partly]) for band in bands])
    packed, found, counts = np.unique(
        np.packbits(absent, axis=0).T, axis=0, return_inverse=True, return_counts=True
    )
    kept = np.argsort(-counts, kind="stable")[:_MOST_SETS]
    numbers = np.full(len(counts), -1, np.int16)
    numbers[kept] = np.arange(len(kept))
    at = np.full(whole.shape, -1, np.int16)
    at[partly] = numbers[found.reshape(-1)]
    sets = np.unpackbits(packed[kept], axis=1, count=int(usable.sum())).astype(bool)
    every = np.zeros((len(kept), len(image)), bool)
    every[:, usable] = sets
    known = [image[band] for band in bands] + ([] if beside is None else list(beside))
    _fill(known, whole, MissingBands(np.pad(sets, ((0, 0), (0, len(known) - len(bands)))), at))
    let_go(image)
    return MissingBands(every, at)


def _fill(image: Sequence[Field], whole: Mask, missing: MissingBands) -> None:
    """Put estimates into the missing bands, of b bands (h, w), by their `whole` pixels (h, w)."""
    step = math.ceil(int(whole.sum()) / _MOST_WHOLE)
    rows, cols = (axis[::step] for axis in np.nonzero(whole))
    seen = np.array([band[rows, cols] for band in image], np.float64)
    mean, spread = seen.mean(axis=1), seen.std(axis=1)
    spread[spread == 0] = 1
    lowest, highest = seen.min(axis=1), seen.max(axis=1)
    seen = (seen - mean[:, None]) / spread[:, None]
    covariance = seen @ seen.T / seen.shape[1] + _RIDGE * np.eye(len(seen))
    for number, absent in enumerate(missing.sets):
        here = missing.at == number
        told = np.array([image[band][here] for band in np.flatnonzero(~absent).tolist()])
        known = (told - mean[~absent, None]) / spread[~absent, None]
        slopes = np.linalg.solve(covariance[np.ix_(~absent, ~absent)], covariance[np.ix_(~absent, absent)])
        estimates = mean[absent, None] + spread[absent, None] * (slopes.T @ known)
        # Where no whole pixel is like these, as over water, a line may lead anywhere.
        within = np.clip(estimates, lowest[absent, None], highest[absent, None])
        for band, row in zip(np.flatnonzero(absent).tolist(), within, strict=True):
            image[band][here] = row
