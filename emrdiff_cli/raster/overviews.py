"""Overviews inside a GeoTIFF, and whether those of a closed file are what its pixels make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.windows import Window as GdalWindow

from emrdiff_cli.raster.nodata import is_nodata
from emrdiff_cli.raster.reading import ignoring_missing_georeference
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.runtime.interruption import safe_point

_LONG_SIDE = 2000  # from here on a whole raster is slow to show
_LEAST_SIDE = 256
_STRIP_VALUES = 2**22
_OPTIONS = {
    "GDAL_TIFF_OVR_BLOCKSIZE": "256",
    "ZSTD_LEVEL_OVERVIEW": "1",
    "GDAL_NUM_THREADS": "ALL_CPUS",
    "GDAL_CACHEMAX": 2**26,
}


def overview_factors(spec: RasterSpec) -> list[int]:
    """How many times coarser each overview of a GeoTIFF is to be; of a small one none unless they are asked for."""
    side = max(spec.grid.height, spec.grid.width)
    asked = side > _LONG_SIDE if spec.overviews is None else spec.overviews
    if spec.driver != "GTiff" or not asked:
        return []
    return [2**power for power in range(1, 32) if side > _LEAST_SIDE * 2 ** (power - 1)]


def spreads_nan(spec: RasterSpec) -> bool:
    """Whether means would spread NaN that no nodata value declares."""
    return np.dtype(spec.dtype).kind == "f" and spec.nodata is None


def add_overviews(path: Path, spec: RasterSpec) -> None:
    """Add overviews to a closed GeoTIFF: means of the valid pixels; raises GDAL's errors, not for every failure."""
    factors = overview_factors(spec)
    if factors:
        how = Resampling.nearest if spreads_nan(spec) else Resampling.average
        with rasterio.Env(**_OPTIONS), rasterio.open(path, "r+", driver="GTiff", sharing=False) as dataset:
            dataset.build_overviews(factors, how)


def wrong_overviews(path: Path, spec: RasterSpec) -> str | None:
    """Say what is wrong with the overviews of a closed GeoTIFF; None: nothing.

    Each pixel has to lie between the least and the greatest of the raster's own around its place, and means are
    valid where all of these are. Those of a COG are as GDAL made them, and so are those of bands stored pixel by
    pixel, of which single bands cannot be read by themselves. Raises rasterio's errors.
    """
    if spec.driver != "GTiff":
        return None
    with rasterio.Env(**_OPTIONS), _opened(path) as fine:
        levels = len(fine.overviews(1))
        if levels != len(overview_factors(spec)):
            return "its overviews are not there"
        for level in range(0 if str(fine.interleaving).upper().endswith("PIXEL") else levels):
            with _opened(path, overview_level=level) as coarse:
                times = round(max(fine.height / coarse.height, fine.width / coarse.width))
                if not all(_fits(fine, coarse, spec, times, *place) for place in _places(coarse, times)):
                    return f"its overview {level + 1} differs from its pixels"
    return None


def _opened(path: Path, **options: Any) -> Any:
    with ignoring_missing_georeference():
        return rasterio.open(path, driver="GTiff", sharing=False, **options)


def _places(coarse: Any, times: int) -> Iterator[tuple[int, int, int]]:
    """Bands with first row and count of rows, so that little is held at a time."""
    step = max(1, min(256, _STRIP_VALUES // (times**2 * coarse.width)))
    for band in coarse.indexes:
        for top in range(0, coarse.height, step):
            safe_point()
            yield band, top, min(step, coarse.height - top)


def _fits(fine: Any, coarse: Any, spec: RasterSpec, times: int, band: int, top: int, count: int) -> bool:
    wanted = times * top - (times - 1)
    first, stop = max(0, wanted), min(fine.height, times * (top + count + 1) - 1)
    below = fine.read(band, window=GdalWindow(0, first, fine.width, stop - first))
    above = coarse.read(band, window=GdalWindow(0, top, coarse.width, count))
    return _between(above, below, first - wanted, times, spec)


def _between(above: NDArray[Any], below: NDArray[Any], lead: int, times: int, spec: RasterSpec) -> bool:
    """Hold rows of one band against those that they were made of, of whose first rows `lead` are not there."""
    seen, there = _valid(above, spec), _valid(below, spec)
    slack = 1.0 if above.dtype.kind in "iu" else 1e-5 * np.abs(np.where(there, below, 0)).max()
    low = _around(np.where(there, below, np.inf), above.shape, lead, times, np.minimum, np.inf)
    high = _around(np.where(there, below, -np.inf), above.shape, lead, times, np.maximum, -np.inf)
    inside = (above >= low - slack) & (above <= high + slack)
    if not (inside | ~seen).all():
        return False
    if seen.all() or spreads_nan(spec):
        return True
    holes = _around((~there).astype(np.float64), above.shape, lead, times, np.maximum, 0)
    return bool((seen | (holes > 0)).all())


def _around(
    values: NDArray[Any], shape: tuple[int, ...], lead: int, times: int, joined: np.ufunc, empty: float
) -> NDArray[np.float64]:
    """The extreme of the finer pixels that a coarser one may stand for.

    Where a length is no multiple of `times`, GDAL's pixels are a little shorter than that, so that the last
    ones lie up to `times` - 1 away from a multiple of their number.
    """
    span = 3 * times - 2
    padded = np.full((times * (shape[0] + 2) - 2, times * (shape[1] + 2) - 2), empty)
    part = padded[lead:, times - 1 :]
    part[: values.shape[0], : values.shape[1]] = values
    rows = joined.reduce([padded[i : i + times * shape[0] : times][: shape[0]] for i in range(span)])
    columns = [rows[:, i : i + times * shape[1] : times][:, : shape[1]] for i in range(span)]
    found: NDArray[np.float64] = joined.reduce(columns)
    return found


def _valid(values: NDArray[Any], spec: RasterSpec) -> NDArray[np.bool_]:
    valid: NDArray[np.bool_] = np.isfinite(values)
    return valid if spec.nodata is None else valid & ~is_nodata(values, spec.nodata)
