"""Reading rasters: GeoTIFF (COG too) and ENVI, by windows, with what is known of them."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as GdalWindow

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.crs import same_crs
from emrdiff_cli.raster.envi import DATA_SUFFIXES, check_size, find_data, find_header, header_paths
from emrdiff_cli.raster.metadata import (
    StoredTags,
    common_value,
    fits_dtype,
    read_bands,
    read_scale,
    split_list,
)
from emrdiff_cli.scene import Grid, RasterInfo, Window

__all__ = [
    "RasterReader",
    "ignoring_missing_georeference",
    "open_raster",
    "read_info",
    "refuse_undeclared_nan",
    "same_crs",
]

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_filters_lock = threading.Lock()


def read_info(path: Path) -> RasterInfo:
    """Read what is known of a raster besides its pixels. Raises InputError as `open_raster` does."""
    with open_raster(path) as reader:
        return reader.info


def open_raster(path: Path) -> RasterReader:
    """Open a GeoTIFF, COG or ENVI raster; for ENVI the data file or its header.

    Raises InputError: no such file, another format, a header or data file missing, a size other than the
    header's, a GeoTIFF cut short, complex values, bands that differ in nodata or scale.
    """
    data, driver = _locate(Path(path))
    try:
        with ignoring_missing_georeference():
            dataset = rasterio.open(data.absolute(), driver=driver, sharing=False)
    except (RasterioError, OSError) as error:
        raise InputError(f"{path}: cannot be opened as {driver}: {_one_line(error)}") from error
    try:
        return RasterReader(data, dataset)
    except InputError:
        dataset.close()
        raise


class RasterReader:
    """An open raster, as a context manager. Not for use from several threads: open one for each."""

    def __init__(self, path: Path, dataset: Any) -> None:
        self._dataset = dataset
        self.info = _describe(path, dataset)
        """What is known of the raster."""
        flags = dataset.mask_flag_enums
        self.masked = not all(MaskFlags.all_valid in flag or MaskFlags.nodata in flag for flag in flags)
        """True with a mask of its own, or an alpha band, besides nodata."""
        if self.info.driver == "ENVI":
            _check_envi(self.info, dataset)
        else:
            _check_geotiff(self.info, dataset)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()

    def read(self, window: Window | None = None, bands: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Read physical values, stored x scale + offset, (bands, rows, columns).

        Invalid pixels (nodata, NaN, infinite, masked) are NaN. `window`: None for the whole raster;
        `bands`: 0-based, None for all. Raises InputError where the file cannot be read, ValueError on a
        window or band outside.
        """
        stored = self.read_stored(window, bands)
        values = np.empty(stored.shape, np.float32)
        # Band by band, so that the double precision copy stays small.
        for band, into in zip(stored, values, strict=True):
            with np.errstate(over="ignore", invalid="ignore"):
                into[:] = self._physical(band)
            into[~(self.valid(band) & np.isfinite(into))] = np.nan
        if self.masked:
            values[self._read(self._dataset.read_masks, window, bands) == 0] = np.nan
        return values

    def valid(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which stored values are neither nodata, NaN nor infinite."""
        valid: NDArray[np.bool_] = np.isfinite(stored)
        nodata = self.info.nodata
        if nodata is not None and not math.isnan(nodata):
            valid &= stored != stored.dtype.type(nodata)
        return valid

    def read_stored(self, window: Window | None = None, bands: Sequence[int] | None = None) -> NDArray[Any]:
        """Read values as they are in the file, in its dtype, (bands, rows, columns); raises as `read`."""
        return self._read(self._dataset.read, window, bands)

    def _physical(self, stored: NDArray[Any]) -> NDArray[Any]:
        if self.info.scale == 1.0 and self.info.offset == 0.0:
            return stored
        scaled: NDArray[np.float64] = np.multiply(stored, self.info.scale, dtype=np.float64)
        return scaled + self.info.offset

    def _read(self, method: Any, window: Window | None, bands: Sequence[int] | None) -> NDArray[Any]:
        grid, count = self.info.grid, self.info.bands.count
        area = window if window is not None else Window(0, 0, grid.height, grid.width)
        short = min(grid.height - area.row - area.height, grid.width - area.col - area.width)
        if min(area.row, area.col, short) < 0 or min(area.height, area.width) < 1:
            raise ValueError(f"{area} is not inside {grid.height} x {grid.width} pixels")
        order = range(count) if bands is None else bands
        if any(not 0 <= band < count for band in order):
            raise ValueError(f"bands {list(order)} are not all in 0..{count - 1}")
        place = GdalWindow(area.col, area.row, area.width, area.height)
        try:
            values: NDArray[Any] = method(indexes=[band + 1 for band in order], window=place)
        except (RasterioError, OSError) as error:
            raise InputError(
                f"{self.info.path}: cannot be read, it may be damaged: {_one_line(error)}"
            ) from error
        return values


def refuse_undeclared_nan(values: NDArray[np.float32], reader: RasterReader) -> None:
    """Raise InputError for NaN that no nodata value or mask declares: elsewhere NaN is a hole, here damage."""
    if reader.info.nodata is None and not reader.masked and np.isnan(values).any():
        name = reader.info.path.name
        raise InputError(
            f"{name} holds NaN or infinite values but declares no nodata: if they are holes, say so with "
            f"`gdal_edit.py -a_nodata nan {name}`"
        )


@contextmanager
def ignoring_missing_georeference() -> Iterator[None]:
    """Keep rasterio from warning about rasters without a georeference, which are legitimate here."""
    # The filters are the process's own: one thread at a time may change and restore them.
    with _filters_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _locate(path: Path) -> tuple[Path, str]:
    """Find the data file and its driver by content, so that no other driver of GDAL gets to see it."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder: name a raster file in it")
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if path.suffix.lower() == ".hdr":
            return find_data(path), "ENVI"
        with path.open("rb") as file:
            magic = file.read(4)
        header = find_header(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if magic in _TIFF_MAGIC and (header is None or path.suffix.lower() not in DATA_SUFFIXES):
        return path, "GTiff"
    if header is not None:
        return path, "ENVI"
    raise InputError(_no_driver(path))


def _no_driver(path: Path) -> str:
    replaced, added = header_paths(path)
    if path.suffix.lower() in DATA_SUFFIXES:
        return f"{path}: no ENVI header beside it (looked for {replaced.name} and {added.name}): put it there"
    return f"{path}: neither GeoTIFF nor ENVI: convert it, e.g. `gdal_translate {path.name} {path.stem}.tif`"


def _describe(path: Path, dataset: Any) -> RasterInfo:
    tags = _stored_tags(dataset)
    dtype = str(dataset.dtypes[0])
    if np.dtype(dtype).kind not in "iuf":
        raise InputError(f"{path}: holds {dtype} values: convert them to real ones")
    scale = common_value(dataset.scales, "scales", str(path))
    offset = common_value(dataset.offsets, "offsets", str(path))
    gdal = (1.0 if scale is None else scale, 0.0 if offset is None else offset)
    scale, offset, recorded = read_scale(tags, gdal)
    return RasterInfo(
        path=path,
        driver=dataset.driver,
        grid=Grid(dataset.height, dataset.width, dataset.transform, _crs_wkt(dataset)),
        bands=read_bands(tags),
        dtype=dtype,
        nodata=_stored_nodata(common_value(dataset.nodatavals, "nodata values", str(path)), dtype),
        scale=scale,
        offset=offset,
        scale_recorded=recorded,
        tags=tags.user_tags(),
    )


def _crs_wkt(dataset: Any) -> str | None:
    """Return the CRS; none for ENVI's "Arbitrary", which GDAL writes for a transform without a CRS."""
    wkt = str(dataset.crs.to_wkt()) if dataset.crs else ""
    return None if not wkt or wkt.startswith('LOCAL_CS["Arbitrary"') else wkt


def _stored_tags(dataset: Any) -> StoredTags:
    envi = dataset.tags(ns="ENVI")
    names = [name or "" for name in dataset.descriptions]
    if dataset.driver == "ENVI":
        # GDAL adds the wavelength to the names; the header's own stay the same from copy to copy.
        own = split_list(envi.get("band_names", ""))
        names = own if len(own) == dataset.count else [""] * dataset.count
    return StoredTags(
        dataset=dataset.tags(),
        envi=envi,
        bands=[dataset.tags(i) for i in dataset.indexes],
        imagery=[dataset.tags(i, ns="IMAGERY") for i in dataset.indexes],
        names=names,
    )


def _stored_nodata(nodata: float | None, dtype: str) -> float | None:
    """Round nodata to the dtype; None if no stored value can equal it."""
    if nodata is None or not fits_dtype(nodata, dtype):
        return None
    return float(np.dtype(dtype).type(nodata))


def _check_envi(info: RasterInfo, dataset: Any) -> None:
    header = dataset.tags(ns="ENVI")
    if header.get("file_compression", "0").strip() not in {"", "0"}:
        raise InputError(f"{info.path}: is a compressed ENVI file: decompress it with gunzip first")
    grid = info.grid
    expected = grid.height * grid.width * info.bands.count * np.dtype(info.dtype).itemsize
    offset = header.get("header_offset", "0").strip()
    check_size(info.path, int(offset) if offset.isdigit() else 0, expected)


def _check_geotiff(info: RasterInfo, dataset: Any) -> None:
    """Look whether the last band's blocks, which come last in the file, end within it."""
    size = info.path.stat().st_size
    (rows, cols), band = dataset.block_shapes[-1], dataset.count
    for row in range(math.ceil(info.grid.height / rows)):
        for col in range(math.ceil(info.grid.width / cols)):
            start = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
            length = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band)
            if start and length and int(start) + int(length) > size:
                raise InputError(f"{info.path}: the GeoTIFF is cut short at {size} bytes: get it again")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
