"""Coordinate reference systems: the same or not, by what name, and where on the globe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster_info import Grid

Coordinates = NDArray[np.float64]
PixelMap = Callable[[Coordinates, Coordinates], tuple[Coordinates, Coordinates]]

_SURE = 70  # PROJ's confidence, in %, from which an EPSG code stands for a CRS spelt without one


class CrsLabel(NamedTuple):
    """A CRS for people: its name and its EPSG code, if it has one."""

    name: str
    epsg: int | None


@lru_cache(maxsize=64)
def same_crs(a_wkt: str | None, b_wkt: str | None) -> bool:
    """Compare two CRSs by what they mean, not how they are spelt; None equals None only.

    Raises InputError on a WKT that PROJ does not know.
    """
    if a_wkt is None or b_wkt is None:
        return a_wkt is b_wkt
    a, b = _parse(a_wkt), _parse(b_wkt)
    if a.equals(b, ignore_axis_order=True):
        return True
    code = a.to_epsg(min_confidence=_SURE)
    return code is not None and code == b.to_epsg(min_confidence=_SURE)


def crs_label(wkt: str) -> CrsLabel:
    """Name a CRS; by its EPSG name where it has a code. Raises InputError as `same_crs`."""
    crs = _parse(wkt)
    epsg = crs.to_epsg(min_confidence=_SURE)
    return CrsLabel(CRS.from_epsg(epsg).name if epsg is not None else crs.name, epsg)


def pixel_map(source: Grid, target: Grid) -> PixelMap:
    """Map pixel coordinates (columns, rows) of one georeferenced grid to those of another.

    Longitudes come out on the target's side of the antimeridian. Points beyond what the CRSs can say come out
    infinite or NaN. Raises InputError as `same_crs`, and where PROJ knows no way from one CRS to the other.
    """
    if source.crs_wkt is None or target.crs_wkt is None:
        raise ValueError("both grids need a CRS")
    one, other = _parse(source.crs_wkt), _parse(target.crs_wkt)
    try:
        between = Transformer.from_crs(one, other, always_xy=True)
    except ProjError as error:
        raise InputError(
            f"no way is known from the CRS {one.name} to {other.name}: assign both the CRS they are in, e.g. with "
            "`gdal_edit.py -a_srs`"
        ) from error
    back, turn, middle = ~target.transform, full_turn(target.crs_wkt), _middle(target)

    def to_pixels(cols: Coordinates, rows: Coordinates) -> tuple[Coordinates, Coordinates]:
        t = source.transform
        x, y = between.transform(t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f)
        with np.errstate(invalid="ignore"):  # infinite times 0
            if turn is not None:
                x = x - turn * np.round((x - middle) / turn)
            return back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f

    return to_pixels


@lru_cache(maxsize=64)
def full_turn(wkt: str) -> float | None:
    """The whole circle of longitudes in the units of a geographic CRS; None for another. Raises as `same_crs`."""
    crs = _parse(wkt)
    return None if not crs.is_geographic else 2 * math.pi / float(crs.axis_info[0].unit_conversion_factor)


def turned(grid: Grid, onto: Grid) -> Grid:
    """A grid of longitudes counted as another counts them, 0 to 360 or -180 to 180; any other as it is."""
    turn = None if grid.crs_wkt is None else full_turn(grid.crs_wkt)
    turns = 0 if turn is None else round((_middle(onto) - _middle(grid)) / turn)
    if not turns or turn is None:
        return grid
    return replace(grid, transform=Affine.translation(turns * turn, 0) @ grid.transform)


def _middle(grid: Grid) -> float:
    """First coordinate of a grid's centre."""
    x, _ = grid.transform @ (grid.width / 2, grid.height / 2)
    return float(x)


def lonlat_ring(grid: Grid, pieces: int = 1) -> list[tuple[float, float]] | None:
    """Outline a grid in WGS 84 degrees: a closed ring, counterclockwise as RFC 7946 has it.

    `pieces`: of each side. None without a georeference, or where the CRS has no way to longitude and latitude.
    """
    if grid.crs_wkt is None:
        return None
    corners = [(0, 0), (0, grid.height), (grid.width, grid.height), (grid.width, 0), (0, 0)]
    shares = np.arange(pieces) / pieces
    outline: list[tuple[float, float]] = [
        (x0 + share * (x1 - x0), y0 + share * (y1 - y0))
        for (x0, y0), (x1, y1) in pairwise(corners)
        for share in shares.tolist()
    ]
    try:
        to_lonlat = Transformer.from_crs(_parse(grid.crs_wkt), "EPSG:4326", always_xy=True)
        ring = [
            to_lonlat.transform(*(grid.transform @ corner), errcheck=True)
            for corner in [*outline, corners[0]]
        ]
    except ProjError:
        return None
    area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(ring))
    return [(float(x), float(y)) for x, y in (ring if area > 0 else ring[::-1])]


def pixel_width_m(grid: Grid) -> float | None:
    """Width on the ground, in metres, of the pixel in the middle; None without a CRS.

    Measured on the ellipsoid, so that a map's own scale, Mercator's for one, does not matter; by the CRS's unit
    where it has no way to longitude and latitude. Raises InputError as `same_crs`.
    """
    if grid.crs_wkt is None:
        return None
    crs = _parse(grid.crs_wkt)
    middle = grid.height / 2
    ends = [grid.transform @ (grid.width / 2 + side, middle) for side in (-0.5, 0.5)]
    try:
        to_lonlat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        (x0, y0), (x1, y1) = (to_lonlat.transform(*end, errcheck=True) for end in ends)
        length = float(Geod(ellps="WGS84").inv(x0, y0, x1, y1)[2])
    except ProjError:
        factor = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
        length = float(np.hypot(*np.subtract(ends[1], ends[0])) * factor)
    return length if np.isfinite(length) and length > 0 else None


def _parse(wkt: str) -> CRS:
    try:
        return CRS.from_wkt(wkt)
    except CRSError as error:
        raise InputError(f"a CRS cannot be understood: {' '.join(str(error).split())}") from error
