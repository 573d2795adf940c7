"""Bringing a raster onto the axes of another: other CRS, rotated, or mirrored (south-up)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject

from emrdiff_cli.core.sensor.grid import NEAR_WHOLE, SNAP, rotated
from emrdiff_cli.core.sensor.resampling import CUBIC_REACH
from emrdiff_cli.errors import GridError
from emrdiff_cli.raster.crs import PixelMap, pixel_map, same_crs, turned
from emrdiff_cli.raster.reading import RasterReader, refuse_undeclared_nan
from emrdiff_cli.raster_info import Grid, RasterInfo, Window

Field = NDArray[np.float32]

_EDGE_POINTS = 21  # along each side of the outline: straight sides become curves in another CRS


class AlignedReader:
    """A raster on the axes of another grid, read whole when it is first read; else like a RasterReader.

    Mirrored axes are flipped, which changes no value; else pixels are resampled by GDAL's cubic kernel.
    `how` says which, for the user.
    """

    masked = True

    def __init__(self, reader: RasterReader, target: Grid) -> None:
        self.given_nodata, self.given_mask = reader.given_nodata, reader.given_mask
        self.info: RasterInfo = replace(reader.info, grid=target)
        self._reader = reader
        self.stated_crs_wkt = reader.stated_crs_wkt
        self._flips = flipped_axes(reader.info.grid, target)

    @property
    def how(self) -> str:
        """Note on the warping done."""
        if self._flips is not None:
            return f"{self.info.path.name} was flipped onto the MSI's axes"
        t = self.info.grid.transform
        width, height = math.hypot(t.a, t.d), math.hypot(t.b, t.e)
        size = (
            f"{width:.6g}"
            if math.isclose(width, height, rel_tol=NEAR_WHOLE)
            else f"{width:.6g} x {height:.6g}"
        )
        return (
            f"{self.info.path.name} was warped onto the MSI's axes (cubic, pixels of {size} in the MSI's CRS), "
            "which blurs it a little"
        )

    def mask_shares(self, _area: Window | None = None) -> dict[str, float]:
        """The share of the raster as it is stored that each masked class takes."""
        return self._reader.mask_shares()

    @cached_property
    def _values(self) -> Field:
        if self._flips is not None:
            return _flipped(self._reader, self._flips)
        return _warped(self._reader, self.info.grid)

    def read(self, window: Window | None = None, bands: Sequence[int] | None = None) -> Field:
        """Read physical values (bands, rows, columns), NaN where invalid, as a RasterReader does."""
        values = self._values if bands is None else self._values[list(bands)]
        return values.copy() if window is None else values[:, window.rows, window.cols].copy()


def aligned_grid(grid: Grid, onto: Grid) -> Grid:
    """The grid of the same ground whose axes run along those of `onto`; the grid itself where its own do.

    Its pixels are as large as the grid's are where the grid's centre lies; without a CRS on both, only
    the transforms are compared. Raises GridError without common ground, InputError for a CRS unknown to PROJ.
    """
    if not (grid.georeferenced and onto.georeferenced):
        return grid
    grid = restated(grid, onto)
    if same_crs(grid.crs_wkt, onto.crs_wkt) and not rotated(grid, onto):
        between = ~onto.transform @ grid.transform
        mirrored = between.e < 0, between.a < 0
        return _mirrored(grid, *mirrored) if any(mirrored) else grid
    return _enclosing(grid, onto)


def restated(grid: Grid, onto: Grid) -> Grid:
    """A grid of the same pixels in the CRS of another, where the map between the two only moves and scales them.

    So it is between CRSs of the same numbers (ETRS89 and WGS 84), in other units, with or without heights; and
    between longitudes from 0 to 360 and from -180 to 180. Else the grid itself. Raises InputError as `pixel_map`.
    """
    if not (grid.georeferenced and onto.georeferenced):
        return grid
    if same_crs(grid.crs_wkt, onto.crs_wkt):
        return turned(grid, onto)
    cols, rows = _outline(grid)
    points = np.column_stack([cols, rows, np.ones_like(cols)])
    stated = turned(replace(grid, crs_wkt=onto.crs_wkt), onto)
    plain = ~onto.transform @ stated.transform
    there = np.column_stack(pixel_map(grid, onto)(cols, rows))
    if not np.isfinite(there).all():
        return grid
    if np.abs(points @ _columns(plain) - there).max() < SNAP:
        return stated
    fitted = np.linalg.lstsq(points, there, rcond=None)[0]
    if np.abs(points @ fitted - there).max() >= SNAP:
        return grid
    scaled = replace(stated, transform=onto.transform @ Affine(*fitted.T.ravel().tolist()))
    return grid if rotated(scaled, onto) else scaled


def _columns(transform: Affine) -> NDArray[np.float64]:
    """A transform as the matrix that rows (column, row, 1) are multiplied by."""
    return np.array([[transform.a, transform.d], [transform.b, transform.e], [transform.c, transform.f]])


def flipped_axes(grid: Grid, target: Grid) -> tuple[bool, bool] | None:
    """Whether rows, and columns, run the other way in a target of the same pixels; None for other pixels."""
    for rows in (False, True):
        for cols in (False, True):
            if _mirrored(grid, rows, cols) == target:
                return rows, cols
    return None


def _mirrored(grid: Grid, rows: bool, cols: bool) -> Grid:
    transform = grid.transform
    if rows:
        transform = transform @ Affine.translation(0, grid.height) @ Affine.scale(1, -1)
    if cols:
        transform = transform @ Affine.translation(grid.width, 0) @ Affine.scale(-1, 1)
    return replace(grid, transform=transform)


def _enclosing(grid: Grid, onto: Grid) -> Grid:
    """Pixels along the axes of `onto` that cover what the two have in common."""
    to_pixels = pixel_map(grid, onto)
    xs, ys = to_pixels(*_outline(grid))
    if not (np.isfinite(xs).all() and np.isfinite(ys).all()):
        raise GridError(
            "the HSI's outline does not lie within the MSI's CRS: compare their bounds with `emrdiff info`; "
            "assign the CRS it is in with `gdal_edit.py -a_srs`, or warp it yourself with gdalwarp"
        )
    across, down = _pixel_ratios(grid, to_pixels)
    beside, above = CUBIC_REACH * across, CUBIC_REACH * down
    left, right = max(_snapped(xs.min()), -beside), min(_snapped(xs.max()), onto.width + beside)
    top, bottom = max(_snapped(ys.min()), -above), min(_snapped(ys.max()), onto.height + above)
    if left >= right or top >= bottom:
        raise GridError("the two rasters have no ground in common: compare their bounds with `emrdiff info`")
    col, row = math.floor(left), math.floor(top)
    transform = onto.transform @ Affine.translation(col, row) @ Affine.scale(across, down)
    return Grid(
        math.ceil((bottom - row) / down - 1e-9),
        math.ceil((right - col) / across - 1e-9),
        transform,
        onto.crs_wkt,
    )


def _snapped(coordinate: float) -> float:
    """A pixel coordinate without the noise of a map between two CRSs."""
    near = round(coordinate)
    return float(near) if abs(coordinate - near) < SNAP else float(coordinate)


def _pixel_ratios(grid: Grid, to_pixels: PixelMap) -> tuple[float, float]:
    """Columns and rows of the other grid in the sides of one of this grid's pixels, at its centre.

    The sides run along the other's axes; the pixel is as large as this grid's, and as long and wide on the ground,
    also where the other's pixels are no squares there (degrees far from the equator, for one).
    """
    x, y = grid.width / 2, grid.height / 2
    xs, ys = to_pixels(np.array([x - 0.5, x + 0.5, x, x]), np.array([y, y, y - 0.5, y + 0.5]))
    area = (xs[1] - xs[0]) * (ys[3] - ys[2]) - (xs[3] - xs[2]) * (ys[1] - ys[0])
    across, down = (math.hypot(along[1] - along[0], along[3] - along[2]) for along in (xs, ys))
    kept = math.sqrt(abs(area) / (across * down))
    return _near_whole(across * kept), _near_whole(down * kept)


def _near_whole(ratio: float) -> float:
    whole = round(ratio)
    return float(whole) if whole >= 1 and abs(ratio / whole - 1) < NEAR_WHOLE else ratio


def _outline(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    along = np.linspace(0, 1, _EDGE_POINTS)
    zero, one = np.zeros_like(along), np.ones_like(along)
    xs = np.concatenate([along, one, along, zero]) * grid.width
    ys = np.concatenate([zero, along, one, along]) * grid.height
    return xs, ys


def _flipped(reader: RasterReader, flips: tuple[bool, bool]) -> Field:
    axes = tuple(axis for axis, flip in zip((1, 2), flips, strict=True) if flip)
    return np.ascontiguousarray(np.flip(_read_whole(reader), axes))


def _warped(reader: RasterReader, target: Grid) -> Field:
    values = _read_whole(reader)
    result = np.full((len(values), target.height, target.width), np.nan, np.float32)
    grid = reader.info.grid
    for band, into in zip(values, result, strict=True):
        reproject(
            band,
            into,
            src_transform=grid.transform,
            src_crs=grid.crs_wkt,
            src_nodata=np.nan,
            dst_transform=target.transform,
            dst_crs=target.crs_wkt,
            dst_nodata=np.nan,
            resampling=Resampling.cubic,
        )
    if not np.isfinite(result).any():
        raise GridError("the two rasters have no ground in common: compare their bounds with `emrdiff info`")
    return result


def _read_whole(reader: RasterReader) -> Field:
    values = reader.read()
    refuse_undeclared_nan(values, reader, bad_too=False)
    return values
