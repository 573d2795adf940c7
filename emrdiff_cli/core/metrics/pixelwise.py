"""Statistics of two cubes over single pixels: errors, moments and co-moments by band, and spectral angles.

Sums run in float64 and are merged tile by tile (Chan, Golub, LeVeque 1983), so the split does not matter.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Cube = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]


class PixelSums:
    """Sums over the valid pixels of both cubes, by band and over spectra.

    `squared_error`, `co`, the reference's extremes, and `mean` and `m2` of (fused, reference) are by band;
    `angle` is the sum of the spectral angles in degrees over `angles` pixels.
    """

    def __init__(self, bands: int) -> None:
        self.count = 0
        self.squared_error = np.zeros(bands)
        self.mean, self.m2 = np.zeros((2, 2, bands))
        self.co = np.zeros(bands)
        self.reference_minimum, self.reference_maximum = np.full(bands, np.inf), np.full(bands, -np.inf)
        self.angle, self.angles = 0.0, 0

    def add(self, fused: Cube, reference: Cube) -> None:
        """Add the pixels of two arrays (bands, pixels) that are finite throughout."""
        if not fused.size:
            return
        with np.errstate(invalid="ignore", over="ignore"):
            tile = _TileSums(fused, reference)
        if not tile.finite:
            # Rare, so the sums above are made without a mask and once more where there are holes.
            valid = np.isfinite(fused).all(axis=0) & np.isfinite(reference).all(axis=0)
            if not valid.any():
                return
            tile = _TileSums(fused[:, valid], reference[:, valid])
        self._merge(tile)

    def mean_angle(self) -> float:
        """Mean spectral angle in degrees; NaN without a pixel that has one."""
        return self.angle / self.angles if self.angles else math.nan

    def _merge(self, tile: _TileSums) -> None:
        total = self.count + tile.count
        step, share = tile.mean - self.mean, tile.count / total
        self.squared_error += tile.squared_error
        self.m2 += tile.m2 + step**2 * self.count * share
        self.co += tile.co + step[0] * step[1] * self.count * share
        self.mean += step * share
        self.reference_minimum = np.minimum(self.reference_minimum, tile.reference_minimum)
        self.reference_maximum = np.maximum(self.reference_maximum, tile.reference_maximum)
        angle, angles = tile.spectral_angles()
        self.angle, self.angles = self.angle + angle, self.angles + angles
        self.count = total


class _TileSums:
    """Sums over the pixels of one tile, (bands, pixels); NaN or infinite where a value is.

    Moments are taken about the tile's first pixel: a constant band has a variance of exactly 0, and as that
    pixel is one of the sample, what cancels is bounded.
    """

    def __init__(self, fused: Cube, reference: Cube) -> None:
        bands, self.count = fused.shape
        self.squared_error, self.co, self.reference_minimum, self.reference_maximum = np.empty((4, bands))
        self.mean, self.m2 = np.empty((2, 2, bands))
        self._products = np.zeros((3, self.count))
        f, r, work = np.empty((3, self.count))
        for band in range(bands):
            f[:], r[:] = fused[band], reference[band]
            for total, (a, b) in zip(self._products, ((f, r), (f, f), (r, r)), strict=True):
                total += np.multiply(a, b, out=work)
            np.subtract(f, r, out=work)
            self.squared_error[band] = work @ work
            self.reference_minimum[band], self.reference_maximum[band] = (
                reference[band].min(),
                reference[band].max(),
            )
            self._moments(band, f, r)

    def _moments(self, band: int, f: Floats, r: Floats) -> None:
        pivot = float(f[0]), float(r[0])
        f -= pivot[0]
        r -= pivot[1]
        means = np.array([f.sum(), r.sum()]) / self.count
        self.mean[:, band] = means + pivot
        # Rounding may leave a little less than nothing.
        self.m2[:, band] = np.maximum(np.array([f @ f, r @ r]) - self.count * means**2, 0.0)
        self.co[band] = f @ r - self.count * means[0] * means[1]

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self._products[1:].sum()))

    def spectral_angles(self) -> tuple[float, int]:
        """Sum of the angles in degrees, and of how many pixels with both norms above 0."""
        dot, fused_square, reference_square = self._products
        norms = np.sqrt(fused_square * reference_square)
        seen = norms > 0
        if not seen.all():
            dot, norms = dot[seen], norms[seen]
        cosines = np.clip(dot / norms, -1.0, 1.0)
        return float(np.degrees(np.arccos(cosines)).sum()), cosines.size
