"""Reading rasters: GeoTIFF (COG too) and ENVI, by windows, with what is known of them."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as GdalWindow

from emrdiff_cli.errors import InputError
from emrdiff_cli.products.mask_choice import choose_masks
from emrdiff_cli.products.mask_classes import AskedMask
from emrdiff_cli.products.product import Product
from emrdiff_cli.products.registry import recognise
from emrdiff_cli.raster.alpha import alpha_bands
from emrdiff_cli.raster.crs import same_crs
from emrdiff_cli.raster.description import describe
from emrdiff_cli.raster.envi import check_text, find_header
from emrdiff_cli.raster.envi_header import as_gdal_reads
from emrdiff_cli.raster.files import locate
from emrdiff_cli.raster.metadata import (
    fits_dtype,
)
from emrdiff_cli.raster.nodata import is_nodata
from emrdiff_cli.raster.product_dataset import ProductDataset
from emrdiff_cli.raster.sizes import check_envi, check_geotiff, refuse_beyond_memory
from emrdiff_cli.raster_info import Grid, RasterInfo, Window

__all__ = [
    "RasterReader",
    "bounded_cache",
    "ignoring_missing_georeference",
    "open_product",
    "open_raster",
    "read_info",
    "refuse_undeclared_nan",
    "same_crs",
]

# rasterio lets some of GDAL's errors through, raises SystemError where GDAL gives none, and insists on UTF-8.
_GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError, SystemError, UnicodeDecodeError)
_filters_lock = threading.Lock()


def read_info(path: Path) -> RasterInfo:
    """Read what is known of a raster besides its pixels. Raises InputError as `open_raster` does."""
    with open_raster(path) as reader:
        return reader.info


def open_raster(path: Path, nodata: float | None = None, mask: AskedMask = ()) -> RasterReader:
    """Open a GeoTIFF, COG or ENVI raster, for ENVI the data file or its header, or a product as it is shipped.

    `nodata`: a stored value that is invalid as well, besides what the file declares. `mask`: classes of pixels that
    are invalid by a product's own masks. Raises InputError: no such file, another format, a header or data file
    missing, a size other than the header's, a GeoTIFF cut short, complex values, bands that differ in nodata or
    scale, a mask's file missing; UsageError: a class that the raster has no mask of.
    """
    product = recognise(Path(path))
    choose_masks(mask, [Path(path)])
    if product is not None:
        return open_product(product, nodata, mask)
    data, driver = locate(Path(path))
    try:
        header = find_header(data) if driver == "ENVI" else None
        if driver == "ENVI":
            check_text(data)
        with as_gdal_reads(data, header) as source, ignoring_missing_georeference(), _any_nodata():
            return _opened(data, rasterio.open(source.absolute(), driver=driver, sharing=False), nodata)
    except _GDAL_ERRORS as error:
        remedy = "correct its header" if driver == "ENVI" else "write it anew"
        said = _one_line(error).rstrip(".")
        raise InputError(f"{path}: cannot be opened as {driver}: {said}: {remedy}") from error


def open_product(product: Product, nodata: float | None = None, mask: AskedMask = ()) -> RasterReader:
    """Open the bands of a product that was read. Raises InputError as `open_raster` does."""
    try:
        with ignoring_missing_georeference(), _any_nodata():
            reader = _opened(product.path, ProductDataset(product, mask), nodata)
        tags = reader.info.tags if not mask else {**reader.info.tags, "masked_classes": ",".join(mask)}
        reader.info = replace(reader.info, mask_classes=product.masks_there, tags=tags)
        return reader
    except _GDAL_ERRORS as error:
        said = _one_line(error).rstrip(".")
        raise InputError(
            f"{product.path}: cannot be opened as {product.name}: {said}: get the product again"
        ) from error


def _opened(data: Path, dataset: Any, nodata: float | None) -> RasterReader:
    try:
        return RasterReader(data, dataset, nodata)
    except InputError:
        dataset.close()
        raise
    except _GDAL_ERRORS as error:
        dataset.close()
        raise InputError(f"{data}: is damaged: {_one_line(error)}: get it again, or write it anew") from error


class RasterReader:
    """An open raster, as a context manager. Not for use from several threads: open one for each."""

    def __init__(self, path: Path, dataset: Any, nodata: float | None = None) -> None:
        self._dataset = dataset
        self._alpha = alpha_bands(path, dataset)
        self._indexes = [i for i in dataset.indexes if i not in self._alpha]
        self._own_mask = any(_is_mask(flags) for flags in dataset.mask_flag_enums)
        known = describe(path, dataset, self._indexes)
        if nodata is not None and known.nodata is None and fits_dtype(nodata, known.dtype):
            known = replace(known, nodata=float(np.dtype(known.dtype).type(nodata)))
        self.info = replace(known, has_mask=self._own_mask, has_alpha=bool(self._alpha))
        """Description of the raster; an alpha band is none of its bands."""
        self.stated_crs_wkt = known.grid.crs_wkt
        """The CRS that the file states, whatever grid its pixels are put on."""
        self.given_nodata = nodata
        """The nodata value that was given besides what the file declares; None: none."""
        self._mask = dataset.mask if isinstance(dataset, ProductDataset) else None
        self._nodata = [value for value in (nodata, known.nodata) if value is not None]
        self.masked = self.info.has_mask or self.info.has_alpha
        """True with a mask of its own, or an alpha band, besides nodata."""
        colours = dataset.colorinterp
        self.rgb = _rgb([colours[i - 1] for i in self._indexes])
        """Positions of the bands that the file itself calls red, green and blue; None without."""
        if self.info.driver == "ENVI":
            check_envi(path, dataset)
        elif self.info.driver == "GTiff":
            check_geotiff(path, dataset)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()

    def on_grid(self, grid: Grid) -> RasterReader:
        """The same open raster with its pixels on another grid of its size; closed with this one."""
        other = copy(self)
        other.info = replace(self.info, grid=grid)
        return other

    def reopened(self) -> RasterReader:
        """The same raster through another handle, for another thread."""
        if isinstance(self._dataset, ProductDataset):
            return open_product(self._dataset.product, self.given_nodata, self.given_mask)
        return open_raster(self.info.path, self.given_nodata)

    @property
    def given_mask(self) -> AskedMask:
        """The classes of pixels that a product's own masks make invalid, as was asked for."""
        return () if self._mask is None else self._mask.classes

    def mask_shares(self, area: Window | None = None) -> dict[str, float]:
        """The share of the raster, or of a window of it, that each of these classes takes."""
        grid = self.info.grid
        whole = Window(0, 0, grid.height, grid.width)
        return {} if self._mask is None else self._mask.shares(area or whole)

    def moved(self, down: float, right: float) -> RasterReader:
        """The same open raster with its grid moved by so many of its pixels; closed with this one."""
        return self.on_grid(
            replace(self.info.grid, transform=self.info.grid.transform @ Affine.translation(right, down))
        )

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns that the file stores together."""
        rows, cols = self._dataset.block_shapes[0]
        return int(rows), int(cols)

    def read(self, window: Window | None = None, bands: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Read physical values, stored x scale + offset, (bands, rows, columns).

        Invalid pixels (nodata, NaN, infinite, masked, of alpha 0) are NaN. `window`: None for the whole raster;
        `bands`: 0-based, None for all. Raises InputError where the file cannot be read, ValueError on a
        window or band outside.
        """
        stored = self.read_stored(window, bands)
        plain = stored.dtype == np.float32 and self.info.scale == 1.0 and self.info.offset == 0.0
        values = stored if plain else np.empty(stored.shape, np.float32)
        # Band by band, so that the double precision copy stays small.
        for band, into in zip(stored, values, strict=True):
            valid = self.valid(band)
            if not plain:
                with np.errstate(over="ignore", invalid="ignore"):
                    into[:] = self._physical(band)
                valid &= np.isfinite(into)
            if not valid.all():
                into[~valid] = np.nan
        if self._own_mask:
            values[self._read(self._dataset.read_masks, window, bands) == 0] = np.nan
        if self._alpha:
            alpha = self._read_indexes(self._dataset.read, window, self._alpha)
            values[:, (alpha == 0).any(axis=0)] = np.nan
        return values

    def valid(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which stored values are neither nodata, NaN nor infinite."""
        whole = stored.dtype.kind in "iu"
        valid: NDArray[np.bool_] = np.ones(stored.shape, bool) if whole else np.isfinite(stored)
        for nodata in self._nodata:
            valid &= ~is_nodata(stored, nodata)
        return valid

    def read_stored(self, window: Window | None = None, bands: Sequence[int] | None = None) -> NDArray[Any]:
        """Read values as they are in the file, in its dtype, (bands, rows, columns), without an alpha band.

        Raises as `read`.
        """
        return self._read(self._dataset.read, window, bands)

    def _physical(self, stored: NDArray[Any]) -> NDArray[Any]:
        if self.info.scale == 1.0 and self.info.offset == 0.0:
            return stored
        scaled: NDArray[np.float64] = np.multiply(stored, self.info.scale, dtype=np.float64)
        return scaled + self.info.offset if self.info.offset else scaled

    def _read(self, method: Any, window: Window | None, bands: Sequence[int] | None) -> NDArray[Any]:
        count = self.info.bands.count
        order = range(count) if bands is None else bands
        if any(not 0 <= band < count for band in order):
            raise ValueError(f"bands {list(order)} are not all in 0..{count - 1}")
        return self._read_indexes(method, window, [self._indexes[band] for band in order])

    def _read_indexes(self, method: Any, window: Window | None, indexes: Sequence[int]) -> NDArray[Any]:
        grid = self.info.grid
        area = window if window is not None else Window(0, 0, grid.height, grid.width)
        short = min(grid.height - area.row - area.height, grid.width - area.col - area.width)
        if min(area.row, area.col, short) < 0 or min(area.height, area.width) < 1:
            raise ValueError(f"{area} is not inside {grid.height} x {grid.width} pixels")
        refuse_beyond_memory(self.info, len(indexes), area)
        place = GdalWindow(area.col, area.row, area.width, area.height)
        try:
            values: NDArray[Any] = method(indexes=list(indexes), window=place)
        except _GDAL_ERRORS as error:
            raise InputError(
                f"{self.info.path}: cannot be read, it may be damaged: {_one_line(error)}"
            ) from error
        return values


def refuse_undeclared_nan(values: NDArray[np.float32], reader: RasterReader, *, bad_too: bool = True) -> None:
    """Raise InputError for NaN that no nodata value or mask declares: elsewhere NaN is a hole, here damage.

    `values` has all of the raster's bands; without `bad_too` those marked bad may hold what they will.
    """
    if reader.info.nodata is not None or reader.masked:
        return
    damaged = np.asarray(np.isnan(values).any(axis=(1, 2)))
    if not bad_too:
        damaged[list(reader.info.bands.bad)] = False
    if damaged.any():
        name = reader.info.path.name
        raise InputError(
            f"{name} holds NaN or infinite values but declares no nodata: if they are holes, say so with "
            f"`gdal_edit.py -a_nodata nan {name}`"
        )


@contextmanager
def bounded_cache(megabytes: int) -> Iterator[None]:
    """Hold GDAL's block cache, by default 5 % of the memory, to this size."""
    with rasterio.Env(GDAL_CACHEMAX=megabytes * 2**20):
        yield


@contextmanager
def ignoring_missing_georeference() -> Iterator[None]:
    """Keep rasterio from warning about rasters without a georeference, which are legitimate here."""
    # The filters are the process's own: one thread at a time may change and restore them.
    with _filters_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _any_nodata() -> AbstractContextManager[Any]:
    """Keep numpy from warning where rasterio compares a nodata value with the limits of a smaller type."""
    return np.errstate(over="ignore")


def _is_mask(flags: Sequence[MaskFlags]) -> bool:
    """Whether a band's pixels are masked by something other than its nodata value or an alpha band."""
    by_nodata = MaskFlags.nodata in flags and MaskFlags.per_dataset not in flags
    return not (by_nodata or MaskFlags.all_valid in flags or MaskFlags.alpha in flags)


def _rgb(meanings: Sequence[ColorInterp]) -> tuple[int, int, int] | None:
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if any(meaning not in meanings for meaning in wanted):
        return None
    red, green, blue = (list(meanings).index(meaning) for meaning in wanted)
    return red, green, blue


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
