"""Overviews inside a GeoTIFF or COG, and whether those of a closed file are what its pixels make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.windows import Window as GdalWindow

from emrdiff_cli.raster.cog_options import geotiff_options, overviews_of_cog
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


def wrong_overviews(path: Path, spec: RasterSpec) -> str | None:
    """Say what is wrong with the overviews of a closed GeoTIFF or COG; None: nothing.

    A mean has to lie between the least and the greatest of the next finer level's pixels around its place, of
    which GDAL makes it, and be valid where all of these are; nearest neighbours have to be the raster's own or, as
    where bands are stored pixel by pixel, the next finer level's. Those that the COG driver made are taken as they
    are. Raises rasterio's errors.
    """
    if spec.driver == "ENVI" or (spec.driver == "COG" and geotiff_options(spec) is None):
        return None
    factors = overview_factors(spec)
    with rasterio.Env(**_OPTIONS):
        with _opened(path) as dataset:
            if len(dataset.overviews(1)) != len(factors):
                return "its overviews are not there"
        for level in range(len(factors)):
            next_finer: dict[str, int] = {} if level == 0 else {"overview_level": level - 1}
            # Of a single band GDAL does not say how it is stored.
            sources = [{}, next_finer] if level and spec.undeclared_nan else [next_finer]
            if not any(_fits(path, spec, level, finer) for finer in sources):
                return f"its overview {level + 1} differs from its pixels"
    return None


def _fits(path: Path, spec: RasterSpec, level: int, finer: dict[str, int]) -> bool:
    """Whether an overview may be made of the raster, or of the finer one that the options open."""
    fits = _holds_neighbours if spec.undeclared_nan else _holds_means
    with _opened(path, **finer) as fine, _opened(path, overview_level=level) as coarse:
        return all(fits(fine, coarse, spec, strip) for strip in _strips(fine, coarse))


def _opened(path: Path, **options: Any) -> Any:
    with ignoring_missing_georeference():
        return rasterio.open(path, driver="GTiff", sharing=False, **options)


def _by_pixel(dataset: Any) -> bool:
    return str(dataset.interleaving).upper().endswith("PIXEL")


class _Strip(NamedTuple):
    """Rows of an overview, `top` to `stop`, of bands that are stored together."""

    bands: list[int]
    top: int
    stop: int


def _strips(fine: Any, coarse: Any) -> Iterator[_Strip]:
    """Strips of which no more than `_STRIP_VALUES` finer pixels are held at a time, or one row's."""
    groups = [list(coarse.indexes)] if _by_pixel(fine) else [[band] for band in coarse.indexes]
    row_values = fine.width * len(groups[0]) * fine.height / coarse.height
    step = max(1, min(256, int(_STRIP_VALUES / row_values)))
    for bands in groups:
        for top in range(0, coarse.height, step):
            safe_point()
            yield _Strip(bands, top, min(coarse.height, top + step))


def _read(dataset: Any, bands: list[int], first: int, stop: int) -> NDArray[Any]:
    rows: NDArray[Any] = dataset.read(bands, window=GdalWindow(0, first, dataset.width, stop - first))
    return rows


def _holds_neighbours(fine: Any, coarse: Any, spec: RasterSpec, strip: _Strip) -> bool:
    """Hold nearest neighbours against the raster's pixel or the next one, as sizes are rounded."""
    rows = [_nearest(fine.height, coarse.height, away)[strip.top : strip.stop] for away in (0, 1)]
    cols = [_nearest(fine.width, coarse.width, away) for away in (0, 1)]
    first = int(rows[0][0])
    below = _read(fine, strip.bands, first, int(rows[1][-1]) + 1)
    above = _read(coarse, strip.bands, strip.top, strip.stop)
    found = np.zeros(above.shape, bool)
    for row in rows:
        for col in cols:
            taken = below[:, row - first][:, :, col]
            found |= (taken == above) | (np.isnan(taken) & np.isnan(above))
    return bool(found.all())


def _nearest(fine: int, coarse: int, away: int) -> NDArray[np.intp]:
    return np.minimum((np.arange(coarse) * fine / coarse).astype(np.intp) + away, fine - 1)


def _holds_means(fine: Any, coarse: Any, spec: RasterSpec, strip: _Strip) -> bool:
    rows, cols = _Axis.of(fine.height, coarse.height), _Axis.of(fine.width, coarse.width)
    first, stop = max(0, rows.start(strip.top)), min(fine.height, rows.start(strip.stop) + 1)
    below = _read(fine, strip.bands, first, stop)
    above = _read(coarse, strip.bands, strip.top, strip.stop)
    rows = rows._replace(lead=first - rows.start(strip.top))
    return all(_between(a, b, (rows, cols), spec) for a, b in zip(above, below, strict=True))


class _Axis(NamedTuple):
    """An overview's pixels along rows or columns: `factor` of the finer ones, of whose first `lead` are not there.

    Sizes are rounded up: a pixel is a little shorter than `factor`, and the last ones begin one pixel earlier.
    """

    factor: int
    lead: int

    @classmethod
    def of(cls, fine: int, coarse: int) -> _Axis:
        return cls(1, 0) if fine == coarse else cls(2, 1)

    @property
    def span(self) -> int:
        """Finer pixels that one may be made of."""
        return 2 * self.factor - 1

    def start(self, index: int) -> int:
        return self.factor * index - (self.factor - 1)


def _between(above: NDArray[Any], below: NDArray[Any], axes: tuple[_Axis, _Axis], spec: RasterSpec) -> bool:
    """Hold rows of one band against those that they were made of."""
    seen, there = _valid(above, spec), _valid(below, spec)
    whole = above.dtype.kind in "iu"
    ends = np.iinfo(above.dtype) if whole else np.finfo(above.dtype)
    low = _extreme(np.where(there, below, ends.max), above.shape, axes, np.minimum, ends.max)
    high = _extreme(np.where(there, below, ends.min), above.shape, axes, np.maximum, ends.min)
    slack = 1.0 if whole else 1e-5 * np.abs(above[seen].astype(np.float64)).max(initial=0)
    # A mean of valid pixels may come out as the nodata value.
    fits = (above >= low - slack) & (above <= high + slack)
    if not fits.all():
        fits |= ~seen & _extreme(~there, above.shape, axes, np.logical_or, False)
    return bool(fits.all())


def _extreme(
    values: NDArray[Any], shape: tuple[int, ...], axes: tuple[_Axis, _Axis], joined: np.ufunc, empty: Any
) -> NDArray[Any]:
    """The extreme of the finer pixels that a coarser one may stand for."""
    rows, cols = axes
    sizes = [axis.factor * (length - 1) + axis.span for axis, length in zip(axes, shape, strict=True)]
    padded = np.full(sizes, empty, values.dtype)
    part = padded[rows.lead :, cols.lead :]
    part[: values.shape[0], : values.shape[1]] = values[: part.shape[0], : part.shape[1]]
    return _along_rows(_along_rows(padded, rows, joined).T, cols, joined).T


def _along_rows(values: NDArray[Any], axis: _Axis, joined: np.ufunc) -> NDArray[Any]:
    stop = len(values) - axis.span + 1
    found = values[: stop : axis.factor]
    for away in range(1, axis.span):
        found = joined(found, values[away : stop + away : axis.factor])
    return found


def _valid(values: NDArray[Any], spec: RasterSpec) -> NDArray[np.bool_]:
    valid: NDArray[np.bool_] = np.isfinite(values)
    return valid if spec.nodata is None else valid & ~is_nodata(values, spec.nodata)
