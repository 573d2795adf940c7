"""What a fused cube says of the images it was made from, without a reference: sums over strips of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.observation import degrade_strip
from emrdiff_cli.core.resampling import Taps

Cube = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_COVERED = 0.999  # share of an LR pixel's PSF that must lie on valid pixels
_WHOLE = 0.85  # share of the PSF, on each axis, that lies on the image when the LR pixel does
_CUT = 1e-10  # share of the greatest eigenvalue under which a direction of the bands is rounding


class DegradedCube:
    """A cube seen through the PSF, summed up over strips (B, n, W); NaN marks invalid values."""

    def __init__(self, bands: int, rows: Taps, cols: Taps) -> None:
        self._rows, self._cols = rows, cols
        self._sum = np.zeros((bands, rows.n_out, cols.n_out))
        self._covered = np.zeros((1, rows.n_out, cols.n_out))

    def add(self, top: int, values: Cube) -> None:
        """Add rows top.. of the cube; a pixel counts where all bands are valid."""
        valid = np.asarray(np.isfinite(values).all(axis=0))
        self._sum += degrade_strip(np.where(valid, values, 0), top, self._rows, self._cols)
        self._covered += degrade_strip(valid[None].astype(np.float64), top, self._rows, self._cols)

    def finish(self) -> Cube:
        """The degraded cube (B, h, w); NaN where an LR pixel is not wholly on valid pixels."""
        whole = (self._rows.inside > _WHOLE)[:, None] & (self._cols.inside > _WHOLE)
        seen = whole & (self._covered[0] > _COVERED)
        return np.where(seen, self._sum / np.maximum(self._covered, _COVERED), np.nan)


class JointMoments:
    """Means and covariances of several bands, merged tile by tile."""

    def __init__(self, bands: int) -> None:
        self.count, self.mean = 0, np.zeros(bands)
        self._products = np.zeros((bands, bands))

    @property
    def covariance(self) -> Floats:
        """The covariances (bands, bands), divided by the count."""
        return self._products / max(self.count, 1)

    def add(self, values: Cube) -> None:
        """Merge the pixels of (bands, pixels), all valid."""
        if not values.size:
            return
        count = values.shape[1]
        mean = values.mean(axis=1, dtype=np.float64)
        centred = values - mean[:, None]
        step, share = mean - self.mean, count / (self.count + count)
        self._products += centred @ centred.T + np.outer(step, step) * self.count * share
        self.mean = self.mean + step * share
        self.count += count

    def unexplained(self, target: int, regressors: list[int]) -> float | None:
        """1 - R^2 of one band regressed, with an offset, on others; None where it is constant."""
        covariance = self.covariance
        power = float(covariance[target, target])
        if power <= 0 or not regressors:
            return None
        values, vectors = np.linalg.eigh(covariance[np.ix_(regressors, regressors)])
        kept = values > _CUT * max(float(values[-1]), 0.0)
        onto = vectors[:, kept].T @ covariance[regressors, target]
        return float(np.clip(1 - np.sum(onto**2 / values[kept]) / power, 0.0, 1.0))
