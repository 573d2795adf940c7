"""Values that can be: the range that the LR-HSI shows for each band, and fused values brought back into it.

What is negative nowhere in the LR-HSI is taken for a quantity that cannot be: reflectance, radiance, counts. Values
below are lifted, and what was added is taken from the other HR pixels of the same LR pixel alike, down to the least
value too, so that the LR pixel's mean stays: the nearest image with these means and none below (Michelot 1986). An
image of the same means that lies above the least values everywhere, as the truth does, is not further from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.large_arrays import one_by_one
from emrdiff_cli.core.sensor.resampling import Taps

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]
Numbers = NDArray[np.intp]

_USUAL = 0.01  # share of a band's LR pixels that are negative above which negative values are its nature
_ROUNDING = 1e-6  # of a band's largest value
_PIXELS_AT_ONCE = 1 << 18  # of the cells that values are lifted in


@dataclass(frozen=True)
class PossibleValues:
    """The least and the greatest value that each band (B,) can have; infinite where nothing is known of it.

    `rounding` (B,): so far beyond is not told from rounding.
    """

    lowest: Field
    highest: Field
    rounding: Field

    @classmethod
    def of(cls, hsi: Floats, valid: Mask, down: tuple[Taps, Taps]) -> PossibleValues:
        """The range by the valid pixels (h, w) of an LR-HSI (B, h, w) that sees the HR grid through a PSF (`down`).

        The least is 0, or the LR-HSI's own least value where a few of a band's pixels are negative. The greatest is
        what one HR pixel alone must be for the greatest LR value, all others being at their least. A band with more
        negative pixels has neither (noise around zero, an index); nor has any band where most bands are such
        (standardised values).
        """
        if not valid.any():
            return cls.unknown(len(hsi))
        found = [
            (seen.min(), seen.max(), (seen < 0).mean()) for seen in (band[valid] for band in one_by_one(hsi))
        ]
        least, most, negative = np.array(found, np.float64).reshape(-1, 3).T
        signed = negative > _USUAL
        if signed.mean() > 0.5:
            signed[:] = True
        peak = float(np.prod([taps.weights.max() for taps in down]))
        lowest = np.where(signed, -np.inf, np.minimum(least, 0.0))
        highest = np.where(signed, np.inf, np.minimum(least, 0.0) + (most - np.minimum(least, 0.0)) / peak)
        rounding = _ROUNDING * np.maximum(np.abs(least), np.abs(most))
        return cls(*(np.asarray(part, np.float32) for part in (lowest, highest, rounding)))

    @classmethod
    def unknown(cls, bands: int) -> PossibleValues:
        """No limit for any band."""
        endless = np.full(bands, np.inf, np.float32)
        return cls(-endless, endless, np.zeros(bands, np.float32))

    def take(self, bands: Numbers, unlimited: Mask) -> PossibleValues:
        """The ranges of some bands (0-based), without those where `unlimited` (B,) is True."""
        lowest = np.where(unlimited, np.float32(-np.inf), self.lowest)[bands]
        highest = np.where(unlimited, np.float32(np.inf), self.highest)[bands]
        return PossibleValues(lowest, highest, self.rounding[bands])

    def part(self, bands: slice) -> PossibleValues:
        """The ranges of neighbouring bands."""
        return PossibleValues(self.lowest[bands], self.highest[bands], self.rounding[bands])

    def count_beyond(self, values: Floats) -> int:
        """Count of the values (B, H, W) beyond the range; NaN is not."""
        low, high = (limit[:, None, None] for limit in (self.lowest, self.highest))
        rounding = self.rounding[:, None, None]
        return int(np.count_nonzero(values < low - rounding) + np.count_nonzero(values > high + rounding))

    def lifted(self, values: Field, valid: Mask, rows: Numbers, cols: Numbers) -> Field:
        """The values (B, H, W) with no valid one below its band's least, each cell's sum kept where it can be.

        `rows` (H,) and `cols` (W,) number the cells that a pixel lies in, whole ones, in ascending order. Only
        `valid` (H, W) pixels count, and give. A cell whose mean is below the least comes out at the least.
        """
        below = values < self.lowest[:, None, None]
        if not valid.all():
            below &= valid
        places = np.flatnonzero(below)
        if not places.size:
            return values
        lifted = values.copy()
        cells = _Cells(rows, cols)
        at = cells.of(places, len(values))
        step = max(1, _PIXELS_AT_ONCE // cells.most_pixels)
        for start in range(0, len(at[0]), step):
            band, row, col = (part[start : start + step] for part in at)
            place, inside = cells.pixels(row, col)
            within = inside & valid[place]
            lowest = self.lowest[band, None, None]
            above = np.where(within, values[band[:, None, None], *place] - lowest, 0).astype(np.float64)
            nearest = (lowest + _nearest_positive(above, within)).astype(np.float32)
            changed = np.nonzero(within)
            where = (band[changed[0]], *(axis[changed] for axis in np.broadcast_arrays(*place)))
            lifted[where] = nearest[within]
        return lifted


def _nearest_positive(image: Floats, pixels: Mask) -> Floats:
    """The nearest images (n, h, w) without negative values of the same sums over `pixels`; 0 where that is none.

    0 throughout an image whose sum is not positive.
    """
    total = np.where(pixels, image, 0).sum(axis=(1, 2), keepdims=True)
    left = pixels & (image > 0) & (total > 0)
    while True:
        count = np.maximum(left.sum(axis=(1, 2), keepdims=True), 1)
        excess = (np.where(left, image, 0).sum(axis=(1, 2), keepdims=True) - total) / count
        lowered = image - excess
        still = left & (lowered > 0)
        if np.array_equal(still, left):
            return np.asarray(np.where(left, lowered, 0))
        left = still


def cell_numbers(nearest: NDArray[np.integer[Any]], most: int) -> Numbers:
    """Number the runs of equal LR pixels along an axis (n,); one longer than `most` is cut into equal parts."""
    starts = np.flatnonzero(np.diff(nearest, prepend=nearest[0] - 1))
    lengths = np.diff(starts, append=len(nearest))
    parts = -(-lengths // most)
    within = np.arange(len(nearest)) - np.repeat(starts, lengths)
    part = within * np.repeat(parts, lengths) // np.repeat(lengths, lengths)
    first = np.cumsum(parts) - parts
    return np.asarray(np.repeat(first, lengths) + part, np.intp)


class _Cells:
    """The cells of an image whose pixels are numbered by row and by column, each from its first pixel on."""

    def __init__(self, rows: Numbers, cols: Numbers) -> None:
        (self._tops, self._heights), (self._lefts, self._widths) = map(_runs, (rows, cols))
        self._row_of, self._col_of = (
            np.repeat(np.arange(len(sizes)), sizes) for sizes in (self._heights, self._widths)
        )

    @property
    def most_pixels(self) -> int:
        """The pixels of the largest cell."""
        return int(self._heights.max() * self._widths.max())

    def of(self, places: Numbers, bands: int) -> tuple[Numbers, Numbers, Numbers]:
        """Band, row and column of the cells with any of the pixels, numbered in images (bands, H, W), in order."""
        lines, right = np.divmod(places, len(self._col_of))
        band, down = np.divmod(lines, len(self._row_of))
        touched = np.zeros((bands, len(self._tops), len(self._lefts)), bool)
        touched[band, self._row_of[down], self._col_of[right]] = True
        band, row, col = np.unravel_index(np.flatnonzero(touched), touched.shape)
        return band, row, col

    def pixels(self, row: Numbers, col: Numbers) -> tuple[tuple[Numbers, Numbers], Mask]:
        """Rows (n, h, 1) and columns (n, 1, w) of n cells' pixels, and which of them (n, h, w) are their own."""
        down, right = np.arange(self._heights.max())[:, None], np.arange(self._widths.max())
        height, width = (part[:, None, None] for part in (self._heights[row], self._widths[col]))
        inside = (down < height) & (right < width)
        rows = self._tops[row][:, None, None] + np.minimum(down, height - 1)
        cols = self._lefts[col][:, None, None] + np.minimum(right, width - 1)
        return (rows, cols), inside


def _runs(numbers: Numbers) -> tuple[Numbers, Numbers]:
    """Where the cells of an axis begin, and their lengths."""
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
    return starts, np.diff(starts, append=len(numbers))
