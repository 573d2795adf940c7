"""Consistency of a fused cube with the images it was made from: sums over strips of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Cube = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]

_CUT = 1e-10  # share of the greatest eigenvalue under which a direction of the bands is rounding


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
