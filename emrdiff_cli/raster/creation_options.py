"""GDAL's creation options: ours, the user's, and those the driver does not know, which GDAL ignores."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.shutil import copy as gdal_copy

from emrdiff_cli.errors import UsageError
from emrdiff_cli.raster.cog_options import cog_defaults
from emrdiff_cli.raster.reading import ignoring_missing_georeference
from emrdiff_cli.raster.spec import RasterSpec

_BLOCK = 256
_BLOCK_ROW_BYTES = 2**26  # of all bands, which are held while a row of blocks is filled
_PREDICTABLE = {"ZSTD", "DEFLATE", "LZW"}
# They would have the COG driver warp what has its grid already.
_REGRIDDING = {"TILING_SCHEME", "TARGET_SRS", "RES", "EXTENT"}


def creation_options(spec: RasterSpec) -> dict[str, str]:
    """Collect the options for the format's driver; the user's win over the defaults."""
    own = {key.upper(): value for key, value in spec.creation_options.items()}
    if spec.driver == "ENVI":
        # The suffix is added to the part's name; what the header is called in the end is not GDAL's to say.
        return {**own, "SUFFIX": "ADD"}
    defaults = cog_defaults(spec) if spec.driver == "COG" else geotiff_defaults(spec)
    options = defaults | own
    dropped = set() if options["COMPRESS"].upper() in _PREDICTABLE else {"PREDICTOR", "LEVEL"}
    if options.get("TILED", "YES").upper() in {"NO", "FALSE", "OFF", "0"}:
        dropped |= {"BLOCKXSIZE", "BLOCKYSIZE"}
    if "RESAMPLING" in own:
        dropped.add("OVERVIEW_RESAMPLING")
    return {key: value for key, value in options.items() if key in own or key not in dropped}


def geotiff_defaults(spec: RasterSpec) -> dict[str, str]:
    """Blocks of 256, lower where a row of them would not fit memory, band after band, ZSTD at its fastest level."""
    row_bytes = spec.bands.count * spec.grid.width * np.dtype(spec.dtype).itemsize
    fitting = max(16, _BLOCK_ROW_BYTES // row_bytes // 16 * 16)

    def block(length: int, most: int = _BLOCK) -> str:
        return str(min(most, math.ceil(length / 16) * 16))

    return {
        "TILED": "YES",
        "BLOCKXSIZE": block(spec.grid.width),
        "BLOCKYSIZE": block(spec.grid.height, min(_BLOCK, fitting)),
        "INTERLEAVE": "BAND",
        "COMPRESS": "ZSTD",
        "ZSTD_LEVEL": "1",
        "PREDICTOR": "3" if np.dtype(spec.dtype).kind == "f" else "2",
        "BIGTIFF": "IF_SAFER",
        # Else GDAL takes the fourth of four uint8 bands for transparency.
        "PHOTOMETRIC": "MINISBLACK",
        "ALPHA": "NO",
    }


def refuse_unknown_options(spec: RasterSpec) -> None:
    """Raise UsageError for an option or a value that the driver does not know: GDAL itself would go on without.

    The driver is asked: a raster of one pixel is made in memory.
    """
    if not spec.creation_options:
        return
    regridding = sorted(_REGRIDDING & {key.upper() for key in spec.creation_options})
    if spec.driver == "COG" and regridding:
        raise UsageError(f"--co {regridding[0]}: would change the grid: use `gdalwarp -of COG` on the output")
    try:
        with rasterio.Env(), _complaints() as said, ignoring_missing_georeference():
            _make_in_memory(spec)
    except (RasterioError, CPLE_BaseError) as error:
        said.append(str(error))
    if said:
        given = ", ".join(f"{key}={value}" for key, value in spec.creation_options.items())
        page = "gtiff" if spec.driver == "GTiff" else spec.driver.lower()
        raise UsageError(
            f"--co {given}: {said[0].rstrip('.')}: the options are at https://gdal.org/drivers/raster/{page}.html"
        )


def _make_in_memory(spec: RasterSpec) -> None:
    options = creation_options(spec)
    # Photometric interpretations are for three or four bands.
    profile = {"width": 1, "height": 1, "count": min(spec.bands.count, 4), "dtype": spec.dtype}
    if spec.driver == "COG":
        with MemoryFile() as source, MemoryFile() as target:
            source.open(driver="GTiff", **profile).close()
            gdal_copy(source.name, target.name, driver="COG", **options)
    else:
        with MemoryFile() as file:
            file.open(driver=spec.driver, **profile, **options).close()


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect GDAL's warnings of this thread, which rasterio passes to its log, instead of logging them."""
    said: list[str] = []
    thread = threading.get_ident()

    def collect(record: logging.LogRecord) -> bool:
        ours = record.thread == thread and record.levelno >= logging.WARNING
        if ours:
            said.append(record.getMessage().partition(" in ")[2])
        return not ours

    log = logging.getLogger("rasterio._env")
    level = log.level
    log.addFilter(collect)
    log.setLevel(min(log.getEffectiveLevel(), logging.WARNING))
    try:
        yield said
    finally:
        log.setLevel(level)
        log.removeFilter(collect)
