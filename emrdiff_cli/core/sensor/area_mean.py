"""Means of a raster over the cells of another grid, finer or coarser, streamed over strips of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]


class AreaMean:
    """Mean of the valid values under each cell, every pixel by the area of it that the cell covers.

    `row_edges` and `col_edges` ascend, in pixels of the raster, and may lie between pixels or outside.
    Holds the cells, not the raster.
    """

    def __init__(self, bands: int, row_edges: _Floats, col_edges: _Floats) -> None:
        self._edges = row_edges, col_edges
        self._sums, self._weights = np.zeros((2, bands, len(row_edges) - 1, len(col_edges) - 1))

    def update(self, top: int, left: int, values: NDArray[np.floating[Any]]) -> None:
        """Add a strip, (bands, rows, columns), whose first pixel is (top, left); NaN is invalid."""
        rows, cols = self._edges
        first = max(0, int(np.searchsorted(rows, top, "right")) - 1)
        stop = min(len(rows) - 1, int(np.searchsorted(rows, top + values.shape[1], "left")))
        if stop <= first:
            return
        valid = np.isfinite(values)
        edges = rows[first : stop + 1] - top, cols - left
        self._sums[:, first:stop] += _integrate(np.where(valid, values, 0.0), *edges)
        self._weights[:, first:stop] += _integrate(valid.astype(np.float64), *edges)

    def result(self) -> NDArray[np.float32]:
        """Give the means, (bands, rows, columns) of cells; NaN where nothing valid is underneath."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(self._weights > 0, self._sums / self._weights, np.nan)
        return means.astype(np.float32)


def cell_edges(start: float, length: float, cells: int) -> _Floats:
    """Edges of so many equal cells over a length."""
    return np.linspace(start, start + length, cells + 1)


def _integrate(values: _Floats, row_edges: _Floats, col_edges: _Floats) -> _Floats:
    across = _between(values, col_edges)
    return _between(across.swapaxes(1, 2), row_edges).swapaxes(1, 2)


def _between(values: _Floats, edges: _Floats) -> _Floats:
    """Integrals of the last axis between neighbouring edges."""
    count = values.shape[-1]
    inside = np.clip(edges, 0, count)
    pixel = np.minimum(inside.astype(np.int64), count - 1)
    totals = np.zeros((*values.shape[:-1], count + 1))
    np.cumsum(values, axis=-1, out=totals[..., 1:])
    return np.diff(totals[..., pixel] + values[..., pixel] * (inside - pixel))
