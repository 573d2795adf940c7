"""Arguments for GDAL on creating a raster: its shape, place and metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.colours import rgb_bands
from emrdiff_cli.raster.creation_options import creation_options, geotiff_defaults
from emrdiff_cli.raster.envi import clean_name, clean_value
from emrdiff_cli.raster.metadata import (
    band_tags,
    envi_lists,
    format_factor,
    is_structure,
    join_list,
    wavelength_names,
)
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster.statistics import BandStatistics
from emrdiff_cli.raster.tags import clean_tags, printable


def creation_profile(spec: RasterSpec) -> dict[str, Any]:
    """Collect the keywords of `rasterio.open` for writing; for a COG those of the GeoTIFF it is copied from."""
    cog = spec.driver == "COG"
    return {
        "driver": "GTiff" if cog else spec.driver,
        "height": spec.grid.height,
        "width": spec.grid.width,
        "count": spec.bands.count,
        "dtype": spec.dtype,
        "nodata": spec.nodata,
        "crs": _crs(spec.grid.crs_wkt),
        "transform": None if spec.grid.transform == Affine.identity() else spec.grid.transform,
        **(geotiff_defaults(spec) if cog else creation_options(spec)),
    }


def _crs(wkt: str | None) -> CRS | None:
    """Raises InputError for one that GDAL cannot write."""
    try:
        return None if wkt is None else CRS.from_wkt(wkt)
    except CRSError as error:
        raise InputError(f"a CRS cannot be understood: {' '.join(str(error).split())}") from error


def named_interleave(output: Path, spec: RasterSpec) -> dict[str, str]:
    """The order of an ENVI file by its name, which a creation option overrules."""
    interleave = output.suffix.lower().removeprefix(".")
    named = spec.driver == "ENVI" and interleave in ("bil", "bip")
    return {"INTERLEAVE": interleave.upper()} if named else {}


def write_metadata(dataset: Any, spec: RasterSpec) -> None:
    """Hand over wavelengths, names, colours, scale and tags to a dataset open for writing."""
    lists = envi_lists(spec.bands)
    if spec.driver == "ENVI":
        _write_envi(dataset, spec, lists)
        return
    if lists:
        dataset.update_tags(ns="ENVI", **lists)
    _write_colours(dataset, spec)
    for band in range(spec.bands.count):
        _write_band(dataset, spec, band)
    if spec.bands.units is not None:
        dataset.units = tuple(printable(unit) for unit in spec.bands.units)
    tags = clean_tags(spec.tags)
    if (spec.scale, spec.offset) != (1.0, 0.0):
        _write_scale(dataset, spec)
    elif spec.scale_recorded:
        tags["reflectance_scale_factor"] = "1"
    dataset.update_tags(**tags)


def _write_band(dataset: Any, spec: RasterSpec, band: int) -> None:
    own, imagery = band_tags(spec.bands, band)
    if own:
        dataset.update_tags(band + 1, **own)
        dataset.update_tags(band + 1, ns="IMAGERY", **imagery)
    if spec.bands.names is not None:
        dataset.set_band_description(band + 1, printable(spec.bands.names[band]))
    elif spec.bands.wavelengths_nm is not None:
        (name,) = wavelength_names(spec.bands.wavelengths_nm[band : band + 1])
        dataset.set_band_description(band + 1, name)
    dataset.update_tags(band + 1, **clean_tags({key: values[band] for key, values in spec.band_tags.items()}))


def shown_colours(spec: RasterSpec) -> tuple[int, int, int] | None:
    """The bands that a GeoTIFF calls red, green and blue; None where the user's options say what bands are."""
    if {"PHOTOMETRIC", "ALPHA"} & {key.upper() for key in spec.creation_options}:
        return None
    return rgb_bands(spec.bands, spec.tags)


def _write_colours(dataset: Any, spec: RasterSpec) -> None:
    shown = shown_colours(spec)
    if shown is not None:
        colours = [ColorInterp.undefined] * spec.bands.count
        for band, colour in zip(shown, (ColorInterp.red, ColorInterp.green, ColorInterp.blue), strict=True):
            colours[band] = colour
        dataset.colorinterp = colours


def _write_envi(dataset: Any, spec: RasterSpec, lists: dict[str, str]) -> None:
    fields = {key: clean_value(value) for key, value in clean_tags(spec.tags).items()} | lists
    by_band = {key: values for key, values in spec.band_tags.items() if not is_structure(key)}
    if spec.bands.units is not None:
        by_band["band_units"] = [printable(unit) for unit in spec.bands.units]
    fields |= {key: join_list(clean_name(v) for v in values) for key, values in by_band.items()}
    if spec.offset != 0.0 or spec.scale < 0:
        _write_scale(dataset, spec)
    elif spec.scale != 1.0 or spec.scale_recorded:
        fields["reflectance_scale_factor"] = format_factor(spec.scale)
    shown = rgb_bands(spec.bands, spec.tags)
    if shown is not None:
        fields.setdefault("default_bands", join_list(band + 1 for band in shown))
    dataset.update_tags(ns="ENVI", **fields)
    for band, name in enumerate(spec.bands.names or (), 1):
        dataset.set_band_description(band, clean_name(printable(name)))


def write_statistics(dataset: Any, spec: RasterSpec, found: BandStatistics) -> None:
    """Add what was found of the bands to a dataset with all its rows; an ENVI header has no place for it."""
    if spec.driver != "ENVI":
        for band in range(spec.bands.count):
            dataset.update_tags(band + 1, **found.tags(band))


def _write_scale(dataset: Any, spec: RasterSpec) -> None:
    dataset.scales = (spec.scale,) * spec.bands.count
    dataset.offsets = (spec.offset,) * spec.bands.count
