"""The LR-HSI of a pair as it was used: its pixels brought onto its grid, and that moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.evaluation.pair_view import PairView
from emrdiff_cli.raster.reading import RasterReader
from emrdiff_cli.raster_info import Window


class PlacedReader(RasterReader):
    """Reads the LR-HSI of a view as an open raster is read; NaN beyond what the pair has in common."""

    def __init__(self, view: PairView) -> None:
        info = view.pair.lr_info
        down, right = view.move
        grid = replace(info.grid, transform=info.grid.transform @ Affine.translation(right, down))
        self.info = replace(info, grid=grid)
        self.rgb = None
        self._values, self._place = view.lr, view.pair.alignment.lr_window

    def close(self) -> None:
        """Nothing is open."""

    def read(self, window: Window | None = None, bands: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Values, as of the raster."""
        grid, place = self.info.grid, self._place
        whole = Window(0, 0, grid.height, grid.width)
        asked = whole if window is None else window
        kept = self._values if bands is None else self._values[list(bands)]
        read = np.full((len(kept), asked.height, asked.width), np.nan, np.float32)
        top, left = max(asked.row, place.row), max(asked.col, place.col)
        bottom, right = min(asked.rows.stop, place.rows.stop), min(asked.cols.stop, place.cols.stop)
        if bottom > top and right > left:
            rows, cols = (
                slice(top - asked.row, bottom - asked.row),
                slice(left - asked.col, right - asked.col),
            )
            read[:, rows, cols] = kept[
                :, top - place.row : bottom - place.row, left - place.col : right - place.col
            ]
        return read
