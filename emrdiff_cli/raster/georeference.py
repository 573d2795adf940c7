"""Where a raster lies: GDAL's transform and CRS, put right where GDAL misreads an ENVI `map info`."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio import crs as gdal_crs

from emrdiff_cli.products.metadata_envi import entries
from emrdiff_cli.raster.envi import find_header
from emrdiff_cli.raster.metadata import split_list

_log = logging.getLogger(__name__)

_FOOT, _SURVEY_FOOT = 0.3048, 1200 / 3937  # metres; State Plane is in the latter
_LEAST_PIXEL, _MOST_PIXEL = 1e-12, 1e12  # in units of any CRS
_GCP_ERROR = 0.1  # pixels by which ground control points may miss an affine map that stands for them
# Fields of a map info before its datum.
_DATUM_AT = {"utm": 9, "geographic lat/lon": 7}
# What GDAL knows besides the names in PROJ's data base.
_GDAL_DATUMS = (
    "wgs-84",
    "wgs-72",
    "north america 1983",
    "north america 1927",
    "european 1950",
    "nad27",
    "nad-27",
)
_ESRI_DATUMS = {"etrs 1989": "ETRS89", "gda 1994": "GDA94", "nzgd 2000": "NZGD2000", "jgd 2011": "JGD2011"}
# What GDAL makes of a transform without a CRS, and of a projected one that is not said which.
_NO_CRS = ('LOCAL_CS["Arbitrary"', 'LOCAL_CS["unnamed"')
_NAME = re.compile(r"[\w .()/-]{2,60}")


def georeference(path: Path, dataset: Any) -> tuple[Affine, str | None]:
    """Transform and CRS (WKT; None without one) of an open dataset, whose data are at `path`.

    Ground control points are replaced by the affine map that they fit. What a `map info` leaves open is said in a
    warning.
    """
    transform, wkt = dataset.transform, str(dataset.crs.to_wkt()) if dataset.crs else ""
    if transform.is_identity and not wkt and dataset.gcps[0]:
        points, crs = dataset.gcps
        fitted = _affine(points)
        if fitted is not None and crs:
            return fitted, str(crs.to_wkt())
    file = find_header(path) if dataset.driver == "ENVI" else None
    header = {} if file is None else entries(file)
    fields = split_list(header.get("map_info", ""))
    if fields:
        transform = _tied(transform, fields)
        if wkt and not header.get("coordinate_system_string", "").strip("{} "):
            wkt = _named(path, wkt, fields)
    return transform, None if not wkt or wkt.startswith(_NO_CRS) else wkt


def is_place(transform: Affine, height: int, width: int) -> bool:
    """Whether a raster of this size can lie so: numbers that a ground has, pixels of some width and height."""
    corners = [transform @ (col, row) for col in (0, width) for row in (0, height)]
    if not np.isfinite([*transform[:6], *np.ravel(corners)]).all() or transform.is_degenerate:
        return False
    sides = np.hypot(*np.reshape(transform[:6], (2, 3))[:, :2])
    return bool((sides >= _LEAST_PIXEL).all() and (sides <= _MOST_PIXEL).all())


def unplaced_remedy(path: Path, dataset: Any) -> str | None:
    """How to place a raster that has control points or RPCs alone; None where there is another way or none."""
    if dataset.crs or not dataset.transform.is_identity:
        return None
    points, crs = dataset.gcps
    if points and (not crs or _affine(points) is None):
        return (
            f"is placed by {len(points)} ground control points that fit no affine map: warp it, "
            f"`gdalwarp -tps {path.name} ...`"
        )
    if not points and dataset.rpcs is not None:
        return f"is placed by RPCs alone: orthorectify it, `gdalwarp -rpc {path.name} ...`"
    return None


def _affine(points: Sequence[Any]) -> Affine | None:
    """The affine map that control points fit, pixel corner to world; None where they do not, or are too few."""
    pixels = np.array([(point.col, point.row, 1.0) for point in points])
    world = np.array([(point.x, point.y) for point in points])
    middle = world.mean(axis=0)
    if not np.isfinite([*pixels.ravel(), *world.ravel()]).all() or np.linalg.matrix_rank(pixels) < 3:
        return None
    columns = np.linalg.lstsq(pixels, world - middle, rcond=None)[0]
    found = Affine(*columns.T.ravel().tolist())
    if found.is_degenerate:
        return None
    left = pixels @ columns + middle - world
    back = ~Affine(found.a, found.b, 0, found.d, found.e, 0)
    off = np.hypot(back.a * left[:, 0] + back.b * left[:, 1], back.d * left[:, 0] + back.e * left[:, 1])
    return Affine.translation(*middle) @ found if off.max() <= _GCP_ERROR else None


def _tied(transform: Affine, fields: Sequence[str]) -> Affine:
    """The transform of a map info that is rotated, of which GDAL forgets that the tie pixel turns with the rest."""
    turned = [field for field in fields if field.lower().replace(" ", "").startswith("rotation=")]
    try:
        angle = float(turned[0].split("=")[1]) if turned else 0.0
        col, row, x, y, width, height = (float(field) for field in fields[1:7])
    except (ValueError, IndexError):
        return transform
    if not angle or not width or not height or transform.is_identity:
        return transform
    # Rows run by the pixel's height, columns by its width.
    b, d = transform.b * height / width, transform.d * width / height
    linear = Affine(transform.a, b, 0, d, transform.e, 0)
    over, down = linear @ (col - 1, row - 1)
    return Affine(linear.a, linear.b, x - over, linear.d, linear.e, y - down)


def _named(path: Path, wkt: str, fields: Sequence[str]) -> str:
    """GDAL's CRS of a map info, on the datum and in the feet that it names."""
    projection = fields[0].lower().strip()
    if projection.startswith("state plane"):
        feet = any(field.lower().replace(" ", "") == "units=feet" for field in fields)
        return _in_survey_feet(wkt) if feet else wkt
    if projection not in _DATUM_AT:
        return wkt
    values = [field for field in fields if "=" not in field]
    datum = values[_DATUM_AT[projection]].strip() if len(values) > _DATUM_AT[projection] else ""
    if any(known in datum.lower() for known in _GDAL_DATUMS):
        return wkt
    found = CRS.from_epsg(4326) if not datum else _geographic(datum)
    if not datum:
        _log.warning(
            "%s: its 'map info' names no datum: taken for WGS 84, where GDAL takes NAD27 for UTM, 200 m away at "
            "times: name it there",
            path,
        )
    if found is None:
        _log.warning(
            "%s: the datum '%s' of its 'map info' is not known: taken for WGS 84: give the CRS as 'coordinate "
            "system string', e.g. with `gdal_edit.py -a_srs`",
            *(path, datum),
        )
        return wkt
    return _on_datum(wkt, found)


def _geographic(datum: str) -> CRS | None:
    """The geographic CRS of a datum by its name, in ESRI's spelling too."""
    name = re.sub(r"^D[_ ]", "", datum).replace("_", " ")
    name = _ESRI_DATUMS.get(name.lower(), name)
    if not _NAME.fullmatch(name):
        return None
    try:
        found = CRS.from_user_input(name)
    except CRSError:
        return None
    return found if found.is_geographic else None


def _on_datum(wkt: str, geographic: CRS) -> str:
    stated = CRS.from_wkt(wkt).to_json_dict()
    if stated["type"] != "ProjectedCRS":
        return str(gdal_crs.CRS.from_wkt(geographic.to_wkt()).to_wkt())
    zone = stated["conversion"].get("name", "")
    base = geographic.to_json_dict()
    changed = CRS.from_json_dict({**stated, "base_crs": base, "name": f"{geographic.name} {zone}".strip()})
    return str(gdal_crs.CRS.from_wkt(changed.to_wkt()).to_wkt())


def _in_survey_feet(wkt: str) -> str:
    """The same CRS with its international feet, which GDAL takes State Plane's for, as US survey feet."""
    stated = CRS.from_wkt(wkt).to_json_dict()
    changed = CRS.from_json_dict(_survey_feet(stated))
    return str(gdal_crs.CRS.from_wkt(changed.to_wkt()).to_wkt())


def _survey_feet(node: Any) -> Any:
    if isinstance(node, list):
        return [_survey_feet(part) for part in node]
    if not isinstance(node, dict):
        return node
    changed = {key: _survey_feet(value) for key, value in node.items()}
    unit = node.get("unit")
    if isinstance(unit, dict) and abs(float(unit.get("conversion_factor", 0)) - _FOOT) < 1e-9:
        changed["unit"] = {"type": "LinearUnit", "name": "US survey foot", "conversion_factor": _SURVEY_FOOT}
        if "value" in node:
            changed["value"] = node["value"] * _FOOT / _SURVEY_FOOT
    return changed
