"""Rasters for the tests of scores: values are a linear function of band and ground coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.raster.reading import ignoring_missing_georeference

EAST, NORTH, PIXEL = 400_000.0, 4_000_000.0, 2.5
CRS = "EPSG:32654"


def place(row: float = 0, col: float = 0, pixel: float = PIXEL) -> Affine:
    """A north-up transform whose corner lies so many 2.5 m pixels south and east of the test ground's."""
    return Affine(pixel, 0, EAST + col * PIXEL, 0, -pixel, NORTH - row * PIXEL)


def ground(shape: tuple[int, int, int], transform: Affine) -> NDArray[np.float64]:
    """The test ground at the pixel centres: the mean over a pixel of any size, as it is linear."""
    bands, rows, cols = np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij")
    east, north = transform @ (cols + 0.5, rows + 0.5)
    values = 0.2 + 0.05 * bands + 0.003 * (east - EAST) / PIXEL + 0.002 * (NORTH - north) / PIXEL
    return np.asarray(values)


def write_raster(
    path: Path,
    cube: NDArray[np.floating],
    transform: Affine | None = None,
    *,
    crs: str | None = CRS,
    wavelengths_nm: Sequence[float] | None = None,
    tags: Mapping[str, str] | None = None,
    scale: float | None = None,
) -> Path:
    """Write a GeoTIFF: float32, or with `scale` int16 counts of it; NaN becomes nodata."""
    counts, height, width = cube.shape
    dtype, nodata = ("float32", np.nan) if scale is None else ("int16", -999)
    stored = cube if scale is None else np.where(np.isnan(cube), nodata, np.rint(cube / scale))
    where = {} if transform is None else {"transform": transform, "crs": crs}
    profile = {"driver": "GTiff", "count": counts, "height": height, "width": width}
    with (
        ignoring_missing_georeference(),
        rasterio.open(path, "w", **profile, dtype=dtype, nodata=nodata, **where) as dataset,
    ):
        dataset.write(stored.astype(dtype))
        dataset.update_tags(**(tags or {}))
        if scale is not None:
            dataset.scales = [scale] * counts
        for index, wavelength in enumerate(wavelengths_nm or (), start=1):
            dataset.update_tags(index, wavelength=str(wavelength), wavelength_units="Nanometers")
    return path
