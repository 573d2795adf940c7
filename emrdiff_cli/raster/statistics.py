"""Statistics of each band while its rows go by, exact, as GDAL keeps them: of stored values that are valid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.raster.nodata import valid_values


class BandStatistics:
    """Minimum, maximum, mean and standard deviation (of the population) of each band.

    Invalid are nodata, NaN and infinite values. Blocks are joined by their means and squared deviations, which
    loses no digits as sums of squares would (Chan, Golub and LeVeque 1983).
    """

    def __init__(self, bands: int, nodata: float | None) -> None:
        self._nodata = nodata
        self._seen = 0
        self._counts = np.zeros(bands, np.int64)
        self._low, self._high = [math.inf] * bands, [-math.inf] * bands
        self._means, self._squares = np.zeros(bands), np.zeros(bands)

    def update(self, rows: NDArray[Any]) -> None:
        """Take in stored rows, (bands, n, width)."""
        self._seen += rows.shape[1] * rows.shape[2]
        for band, values in enumerate(rows):
            valid = valid_values(values, self._nodata)
            kept = values if valid.all() else values[valid]
            if kept.size:
                self._add(band, kept)

    def _add(self, band: int, values: NDArray[Any]) -> None:
        self._low[band] = min(self._low[band], values.min().item())
        self._high[band] = max(self._high[band], values.max().item())
        mean = float(values.mean(dtype=np.float64))
        away = (values.astype(np.float64) - mean).ravel()
        old, new = int(self._counts[band]), values.size
        step = mean - self._means[band]
        self._squares[band] += away @ away + step**2 * old * new / (old + new)
        self._means[band] += step * new / (old + new)
        self._counts[band] += new

    def tags(self, band: int) -> dict[str, str]:
        """GDAL's tags of a band; of one without a valid value only that there is none."""
        count = int(self._counts[band])
        share = {"STATISTICS_VALID_PERCENT": f"{100 * count / max(self._seen, 1):.4g}"}
        if not count:
            return share
        return share | {
            "STATISTICS_MINIMUM": repr(self._low[band]),
            "STATISTICS_MAXIMUM": repr(self._high[band]),
            "STATISTICS_MEAN": repr(float(self._means[band])),
            "STATISTICS_STDDEV": repr(math.sqrt(self._squares[band] / count)),
        }
