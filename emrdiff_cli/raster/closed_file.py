"""Access to a file that was written and closed, to read it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as GdalWindow

from emrdiff_cli.raster.reading import ignoring_missing_georeference


def open_closed(path: Path, driver: str = "GTiff", **options: Any) -> Any:
    """Open the file as a dataset that nothing else shares, by one driver. Raises rasterio's errors."""
    with ignoring_missing_georeference():
        return rasterio.open(path, driver=driver, sharing=False, **options)


def read_rows(dataset: Any, bands: list[int], first: int, stop: int) -> NDArray[Any]:
    """Rows `first` to `stop` (b, n, W) of some bands (from 1); of none nothing is read."""
    if stop == first:
        return np.empty((len(bands), 0, dataset.width), dataset.dtypes[0])
    rows: NDArray[Any] = dataset.read(bands, window=GdalWindow(0, first, dataset.width, stop - first))
    return rows
