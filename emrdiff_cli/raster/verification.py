"""A closed raster against what was handed in: shape, place, metadata, and its pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.creation import shown_colours
from emrdiff_cli.raster.envi import clean_name
from emrdiff_cli.raster.metadata import wavelength_names
from emrdiff_cli.raster.read_back import RowChecksums, wrong_pixels
from emrdiff_cli.raster.reading import RasterReader, ignoring_missing_georeference
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster.statistics import BandStatistics
from emrdiff_cli.raster.tags import printable
from emrdiff_cli.raster_info import Bands, RasterInfo


def difference(
    path: Path, spec: RasterSpec, checksums: RowChecksums, draft: RasterInfo | None = None
) -> str | None:
    """Say in what a file differs from what it should be; None: in nothing.

    `checksums`: of its rows. `draft`: of a COG, what was known of the GeoTIFF it was copied from, none of which may
    be lost. Raises rasterio's errors and OSError where the file cannot be read.
    """
    try:
        with open_part(path, spec) as reader:
            found = (
                _of_structure(reader.info, spec)
                or _of_metadata(reader.info, spec)
                or _of_colours(reader, spec)
                or (None if draft is None else _of_copy(reader.info, draft))
            )
        return found or wrong_pixels(path, spec, checksums)
    except InputError as error:
        raise OSError(str(error)) from error


def open_part(path: Path, spec: RasterSpec) -> RasterReader:
    """Open a file under way, whatever its name, with the driver that wrote it."""
    with rasterio.Env(), ignoring_missing_georeference():
        dataset = rasterio.open(path, driver="ENVI" if spec.driver == "ENVI" else "GTiff", sharing=False)
    try:
        return RasterReader(path, dataset)
    except InputError:
        dataset.close()
        raise


def wrong_statistics(path: Path, spec: RasterSpec, found: BandStatistics) -> str | None:
    """Say whether a GeoTIFF or COG lost what was found of its bands."""
    if spec.driver == "ENVI":
        return None
    with ignoring_missing_georeference(), rasterio.open(path, driver="GTiff", sharing=False) as dataset:
        kept = all(
            dataset.tags(band + 1).items() >= found.tags(band).items() for band in range(spec.bands.count)
        )
    return None if kept else "the format did not keep its statistics"


def _of_structure(info: RasterInfo, spec: RasterSpec) -> str | None:
    shape = (info.bands.count, info.grid.height, info.grid.width, info.dtype)
    if shape != (spec.bands.count, spec.grid.height, spec.grid.width, spec.dtype):
        return f"its shape is {shape}"
    wanted = spec.grid.transform
    if not info.grid.transform.almost_equals(wanted, 1e-6 * abs(wanted.a)):
        return "the format did not keep its geotransform"
    return None


def _of_metadata(info: RasterInfo, spec: RasterSpec) -> str | None:
    held, wanted = _comparable(info.bands), _comparable(spec.bands, spec.driver == "ENVI")
    pairs: dict[str, tuple[Any, Any]] = {
        "wavelengths": (held.wavelengths_nm, wanted.wavelengths_nm),
        "FWHM": (held.fwhm_nm, wanted.fwhm_nm),
        "bad-band list": (held.good, wanted.good),
        "band names": (held.names, wanted.names),
        "band units": (held.units, wanted.units),
        "nodata": (str(info.nodata), str(_stored(spec))),
        "scale": ((info.scale, info.offset), (spec.scale, spec.offset)),
    }
    return _first_lost(pairs)


def _of_colours(reader: RasterReader, spec: RasterSpec) -> str | None:
    wanted = None if spec.driver == "ENVI" else shown_colours(spec)
    return _first_lost({} if wanted is None else {"colours": (reader.rgb, wanted)})


def _of_copy(info: RasterInfo, draft: RasterInfo) -> str | None:
    tags = {f"tag {key}": (info.tags.get(key), value) for key, value in draft.tags.items()}
    return _first_lost({"CRS": (info.grid.crs_wkt, draft.grid.crs_wkt)} | tags)


def _first_lost(pairs: dict[str, tuple[Any, Any]]) -> str | None:
    lost = [what for what, (held, wanted) in pairs.items() if held != wanted]
    return f"the format did not keep its {lost[0]}" if lost else None


def _comparable(bands: Bands, envi: bool = False) -> Bands:
    """The bands with their names as a format gives them back: blanks joined, none if all are empty."""
    shown = [printable(name) for name in bands.names or ()]
    names = tuple(" ".join((clean_name(name) if envi else name).split()) for name in shown)
    if envi:  # where GDAL numbers those without one
        names = tuple(name or f"Band {i}" for i, name in enumerate(names, 1))
    unnamed = all(not name or name == f"Band {i}" for i, name in enumerate(names, 1))
    unnamed |= not envi and names == wavelength_names(bands.wavelengths_nm or ())
    units = tuple(clean_name(printable(unit)) if envi else printable(unit) for unit in bands.units or ())
    return replace(bands, names=None if unnamed else names, units=units if any(units) else None)


def _stored(spec: RasterSpec) -> float | None:
    return None if spec.nodata is None else float(np.dtype(spec.dtype).type(spec.nodata))
