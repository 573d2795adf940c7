"""A STAC item (1.1) beside a raster: where and when it is, its bands and their statistics, and what made it.

Its extensions are projection, eo, raster (2.0) and hsi (1.0), of stac-extensions.github.io.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import rasterio

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.acquisition import Span, acquired_in, parse_span
from emrdiff_cli.raster.crs import crs_label, pixel_width_m
from emrdiff_cli.raster.footprint import footprint
from emrdiff_cli.raster.metadata import wavelength_names
from emrdiff_cli.raster.reading import ignoring_missing_georeference, read_info
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster_info import Grid, RasterInfo
from emrdiff_cli.runtime.atomic import check_target, failing_as_write_error, refuse_existing, write_whole

AUTO_TIME = "auto"

_log = logging.getLogger(__name__)

_SCHEMA = "https://stac-extensions.github.io/{}/schema.json"
_TIFF = "image/tiff; application=geotiff"
_OWN = "emrdiff_"
_STATISTICS = {
    "minimum": "STATISTICS_MINIMUM",
    "maximum": "STATISTICS_MAXIMUM",
    "mean": "STATISTICS_MEAN",
    "stddev": "STATISTICS_STDDEV",
    "valid_percent": "STATISTICS_VALID_PERCENT",
}


def item_path(raster: Path) -> Path:
    """The file of a raster's item."""
    return raster.with_name(f"{raster.stem}.stac.json")


def check_item(raster: Path, when: str, tags: Mapping[str, str], overwrite: bool) -> None:
    """Refuse an item before any work: of a raster whose time nobody tells, or in place of another.

    `when`: `auto`, as the raster's tags say, or as `parse_span` reads it. Raises UsageError, InputError,
    OutputExistsError, WriteError.
    """
    _time(when, tags, raster)
    check_target(item_path(raster), overwrite)


def write_item(
    raster: Path, when: str, *, overwrite: bool = False, beside: Mapping[str, Path] | None = None, cog: bool
) -> None:
    """Describe a raster that is in place, and the rasters `beside` it by their assets' names.

    An older item goes first: where this one cannot be written, none is left that is of another raster. Raises as
    `check_item`.
    """
    path = item_path(raster)
    refuse_existing(path, overwrite)
    with failing_as_write_error(path):
        path.unlink(missing_ok=True)
    info = read_info(raster)
    content = _item(info, raster, _time(when, info.tags, raster), cog)
    for name, file in (beside or {}).items():
        content["assets"][name] = {"href": _href(file, path), "type": _TIFF, "roles": ["metadata"]}
    write_whole(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


@contextmanager
def writing_item(raster: Path, spec: RasterSpec, when: str | None, overwrite: bool) -> Iterator[None]:
    """Have a raster's item checked before it is written, and written after it; None: no item.

    Raises as `check_item`.
    """
    if when is None:
        yield
        warn_of_other_item(raster)
        return
    check_item(raster, when, spec.tags, overwrite)
    yield
    write_item(raster, when, overwrite=overwrite, cog=spec.driver == "COG")


def warn_of_other_item(raster: Path) -> None:
    """Say that an item lies beside a raster that was written without one: it describes what was there before."""
    if item_path(raster).is_file():
        _log.warning(
            "%s: describes what %s was before: write it anew by --stac, or remove it",
            *(item_path(raster), raster.name),
        )


def _time(when: str, tags: Mapping[str, str], raster: Path) -> Span:
    if when != AUTO_TIME:
        return parse_span(when)
    found = acquired_in(tags)
    if found is None:
        raise InputError(
            f"--stac auto: the input does not say when it was taken, for {item_path(raster).name}: give the day or "
            "time, e.g. --stac 2024-06-01"
        )
    return found


def _item(info: RasterInfo, raster: Path, taken: Span, cog: bool) -> dict[str, Any]:
    placed = footprint(info.grid)
    properties = {**_moments(taken), **_provenance(info.tags)}
    extensions = [_SCHEMA.format("raster/v2.0.0")]
    if placed is not None and info.grid.crs_wkt is not None:
        properties |= _projection(info.grid, info.grid.crs_wkt)
        extensions.append(_SCHEMA.format("projection/v2.0.0"))
    centres = info.bands.wavelengths_nm
    if centres is not None:
        extensions += [_SCHEMA.format("eo/v2.0.0"), _SCHEMA.format("hsi/v1.0.0")]
        properties |= {"hsi:wavelength_min": _um(min(centres)), "hsi:wavelength_max": _um(max(centres))}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": extensions,
        "id": raster.stem,
        "geometry": None if placed is None else placed.geometry,
        **({} if placed is None else {"bbox": placed.bbox}),
        "properties": properties,
        "links": [],
        "assets": {"data": _asset(info, raster, cog)} | _header(info, raster),
    }


def _moments(taken: Span) -> dict[str, Any]:
    first, last = taken
    if first == last:
        return {"datetime": _text(first)}
    return {"datetime": None, "start_datetime": _text(first), "end_datetime": _text(last)}


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _provenance(tags: Mapping[str, str]) -> dict[str, Any]:
    """What the tags of a fused raster tell, the verdict and its evidence among them."""
    own = {key.removeprefix(_OWN): value for key, value in tags.items() if key.startswith(_OWN)}
    return {f"emrdiff:{key}": _value(value) for key, value in own.items() if key != "run"}


def _value(text: str) -> Any:
    """A tag's JSON object as such, numbers that are not finite as null; any other text as it is.

    That of a file of strangers may be nested too deeply to be read, or to be written again: it stays text.
    """
    if not text.startswith("{"):
        return text
    try:
        found = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
        json.dumps({"properties": {"value": found}}, indent=2)
    except (ValueError, RecursionError):
        return text
    return found


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _projection(grid: Grid, wkt: str) -> dict[str, Any]:
    epsg = crs_label(wkt).epsg
    t = grid.transform
    corners = [
        t @ corner for corner in ((0, 0), (grid.width, 0), (0, grid.height), (grid.width, grid.height))
    ]
    xs, ys = zip(*corners, strict=True)
    width = pixel_width_m(grid)
    return {
        **({} if width is None else {"gsd": float(f"{width:.6g}")}),
        "proj:code": None if epsg is None else f"EPSG:{epsg}",
        **({"proj:wkt2": wkt} if epsg is None else {}),
        "proj:shape": [grid.height, grid.width],
        "proj:transform": [t.a, t.b, t.c, t.d, t.e, t.f],
        "proj:bbox": [min(xs), min(ys), max(xs), max(ys)],
    }


def _asset(info: RasterInfo, raster: Path, cog: bool) -> dict[str, Any]:
    kind = "application/octet-stream" if info.driver == "ENVI" else _TIFF
    dtype = np.dtype(info.dtype)
    known: dict[str, Any] = {
        "href": _href(raster, raster),
        "type": f"{kind}; profile=cloud-optimized" if cog else kind,
        "roles": ["data"],
        "data_type": dtype.name,
        "raster:sampling": "area",
        "bands": _bands(info, raster),
    }
    if info.nodata is not None:
        known["nodata"] = info.nodata if np.isfinite(info.nodata) else str(float(info.nodata))
    if info.scale_recorded or (info.scale, info.offset) != (1.0, 0.0):
        known |= {"raster:scale": info.scale, "raster:offset": info.offset}
    return known


def _header(info: RasterInfo, raster: Path) -> dict[str, Any]:
    if info.driver != "ENVI":
        return {}
    header = raster.with_suffix(".hdr")
    return {"header": {"href": _href(header, raster), "type": "text/plain", "roles": ["metadata"]}}


def _bands(info: RasterInfo, raster: Path) -> list[dict[str, Any]]:
    bands = info.bands
    with ignoring_missing_georeference(), rasterio.open(raster) as dataset:
        tags = [dataset.tags(index) for index in range(1, bands.count + 1)]
    numbers = tuple(f"Band {number}" for number in range(1, bands.count + 1))
    names = bands.names or (wavelength_names(bands.wavelengths_nm) if bands.wavelengths_nm else numbers)
    described: list[dict[str, Any]] = []
    for index, name in enumerate(names):
        band: dict[str, Any] = {"name": name or numbers[index]}
        if bands.wavelengths_nm is not None:
            band["eo:center_wavelength"] = _um(bands.wavelengths_nm[index])
        if bands.fwhm_nm is not None and bands.fwhm_nm[index] > 0:
            band["eo:full_width_half_max"] = _um(bands.fwhm_nm[index])
        if bands.units is not None and bands.units[index]:
            band["unit"] = bands.units[index]
        if index in bands.bad:
            band["emrdiff:bad"] = True
        detail = info.band_tags.get("emrdiff_detail", ())
        if detail and detail[index]:
            band["emrdiff:detail"] = detail[index]
        statistics = {key: float(tags[index][tag]) for key, tag in _STATISTICS.items() if tag in tags[index]}
        described.append(band | ({"statistics": statistics} if statistics else {}))
    return described


def _um(nm: float) -> float:
    return round(nm / 1000, 9)


def _href(file: Path, item: Path) -> str:
    """A path relative to the item's folder, as a URL."""
    relative = Path(os.path.relpath(file.absolute(), item.absolute().parent)).as_posix()
    return "./" + quote(relative) if not relative.startswith("..") else quote(relative)
