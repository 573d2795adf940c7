"""Cloud-optimised GeoTIFFs: GDAL makes them of a finished raster only, so rows go into a GeoTIFF first."""

from __future__ import annotations

from pathlib import Path

from rasterio.shutil import copy as gdal_copy

from emrdiff_cli.raster.cog_options import geotiff_options
from emrdiff_cli.raster.creation_options import creation_options
from emrdiff_cli.raster.spec import RasterSpec


def copy_as_cog(draft: Path, target: Path, spec: RasterSpec) -> None:
    """Copy a GeoTIFF and its overviews in the order of a COG, band after band where the options let it.

    Raises GDAL's errors, but not for every failure.
    """
    options = geotiff_options(spec)
    if options is None:
        gdal_copy(str(draft), str(target), driver="COG", **creation_options(spec))
    else:
        gdal_copy(str(draft), str(target), driver="GTiff", COPY_SRC_OVERVIEWS="YES", **options)
