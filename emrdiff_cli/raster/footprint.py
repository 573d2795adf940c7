"""The ground of a grid as GeoJSON (RFC 7946): cut at the antimeridian, and whole around a pole."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from emrdiff_cli.raster.crs import lonlat_ring
from emrdiff_cli.raster_info import Grid

_PIECES = 8  # of each side, which is no straight line in longitude and latitude
_DIGITS = 7

Ring = list[tuple[float, float]]


class Footprint(NamedTuple):
    """Geometry, and west, south, east, north; west is beyond east across the antimeridian."""

    geometry: dict[str, Any]
    bbox: list[float]


def footprint(grid: Grid) -> Footprint | None:
    """The outline of a grid; None where it has no place on the globe."""
    ring = lonlat_ring(grid, _PIECES) if grid.georeferenced else None
    if ring is None or not np.isfinite(ring).all():
        return None
    longitudes = np.unwrap([x for x, _ in ring], period=360)
    latitudes = [y for _, y in ring]
    if abs(longitudes[-1] - longitudes[0]) > 180:
        return _around_a_pole(latitudes)
    longitudes -= 360 * np.floor((longitudes.min() + 180) / 360)
    unwrapped: Ring = list(zip(longitudes.tolist(), latitudes, strict=True))
    west, east = float(longitudes.min()), float(longitudes.max())
    south, north = min(latitudes), max(latitudes)
    if east <= 180:
        geometry = {"type": "Polygon", "coordinates": [_rounded(unwrapped)]}
    else:
        halves = [_cut(unwrapped, 1), [(x - 360, y) for x, y in _cut(unwrapped, -1)]]
        geometry = {"type": "MultiPolygon", "coordinates": [[_rounded(half)] for half in halves]}
        east -= 360
    return Footprint(geometry, [round(value, _DIGITS) for value in (west, south, east, north)])


def _around_a_pole(latitudes: list[float]) -> Footprint:
    """All longitudes from the outline's latitude farthest from the pole."""
    north = sum(latitudes) > 0
    south, top = (min(latitudes), 90.0) if north else (-90.0, max(latitudes))
    ring: Ring = [(-180.0, south), (180.0, south), (180.0, top), (-180.0, top), (-180.0, south)]
    bbox = [-180.0, round(south, _DIGITS), 180.0, round(top, _DIGITS)]
    return Footprint({"type": "Polygon", "coordinates": [_rounded(ring)]}, bbox)


def _cut(ring: Ring, side: int) -> Ring:
    """The part of a ring west (1) or east (-1) of 180 degrees (Sutherland and Hodgman 1974)."""
    kept: Ring = []
    for (x0, y0), (x1, y1) in pairwise(ring):
        inside = side * (180 - x0) >= 0, side * (180 - x1) >= 0
        if inside[0]:
            kept.append((x0, y0))
        if inside[0] != inside[1]:
            kept.append((180.0, y0 + (y1 - y0) * (180 - x0) / (x1 - x0)))
    return [*kept, kept[0]]


def _rounded(ring: Ring) -> list[list[float]]:
    """Coordinates to a centimetre, counterclockwise."""
    area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(ring))
    return [[round(x, _DIGITS), round(y, _DIGITS)] for x, y in (ring if area > 0 else ring[::-1])]
