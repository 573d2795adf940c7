"""Overviews inside a GeoTIFF or COG, and whether those of a closed file are what its pixels make."""

from __future__ import annotations

from pathlib import Path

import rasterio
from rasterio.enums import Resampling

from emrdiff_cli.raster.cog_options import overviews_of_cog
from emrdiff_cli.raster.spec import RasterSpec

_LONG_SIDE = 2000  # from here on a whole raster is slow to show
_LEAST_SIDE = 256
_STRIP_VALUES = 2**22
_OPTIONS = {
    "GDAL_TIFF_OVR_BLOCKSIZE": "256",
    "ZSTD_LEVEL_OVERVIEW": "1",
    "GDAL_NUM_THREADS": "1",  # with more it takes as long, and twice the processor time
    "GDAL_CACHEMAX": 2**26,
}


def overview_factors(spec: RasterSpec) -> list[int]:
    """How many times coarser each overview is to be; of a small GeoTIFF none unless they are asked for."""
    short, side = sorted((spec.grid.height, spec.grid.width))
    asked = side > _LONG_SIDE if spec.overviews is None else spec.overviews
    if spec.driver == "COG":
        asked = overviews_of_cog(spec)
    if spec.driver == "ENVI" or spec.wide_integers or not asked:
        return []
    factors = [2**power for power in range(1, 32) if side > _LEAST_SIDE * 2 ** (power - 1)]
    return [factor for factor in factors if factor <= short]


def add_overviews(path: Path, spec: RasterSpec) -> None:
    """Add overviews to a closed GeoTIFF: means of the valid pixels; raises GDAL's errors, not for every failure."""
    factors = overview_factors(spec)
    if factors:
        how = Resampling.nearest if spec.undeclared_nan else Resampling.average
        with rasterio.Env(**_OPTIONS), rasterio.open(path, "r+", driver="GTiff", sharing=False) as dataset:
            dataset.build_overviews(factors, how)
