"""The part of an image that lies on another raster's ground."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.conversion.image import Image
from emrdiff_cli.errors import GridError
from emrdiff_cli.raster.crs import pixel_map
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.raster_info import Grid, RasterInfo, Window

MARGIN = 4  # pixels of the other raster around its ground
_POINTS = 64  # along each side of an outline: sides of one CRS are curves in another


def cut(image: Image, of: Path) -> Image:
    """The image on the ground of another raster, of any CRS, and a margin around it, in whole steps of its own.

    Raises GridError where either has no place, or they have no ground in common; InputError as `read_info`.
    """
    window = extent(read_info(of), image.info, image.snap)
    strips = partial(_dropped, image, window) if image.part is None else partial(image.part, window)
    return replace(
        image,
        info=replace(image.info, grid=image.info.grid.crop(window)),
        strips=strips,
        part=None,
        told=image.told if image.told is None or image.part is None else partial(image.told, window),
        valid=None if image.valid is None else image.valid[window.rows, window.cols],
    )


def extent(of: RasterInfo, info: RasterInfo, snap: int = 1) -> Window:
    """The window of a raster on another's ground and margin, its edges on every `snap`-th pixel's."""
    for each in (of, info):
        if not each.grid.georeferenced:
            raise GridError(f"--extent: {each.path.name} has no georeference: assign it one, or cut by hand")
    cols, rows = pixel_map(of.grid, info.grid)(*_outline(of.grid))
    seen = np.isfinite(cols) & np.isfinite(rows)
    if not seen.any():
        raise GridError(_apart(of, info))
    top, bottom = _snapped(rows[seen], info.grid.height, snap)
    left, right = _snapped(cols[seen], info.grid.width, snap)
    if bottom <= top or right <= left:
        raise GridError(_apart(of, info))
    return Window(top, left, bottom - top, right - left)


def _apart(of: RasterInfo, info: RasterInfo) -> str:
    return (
        f"--extent {of.path.name}: has no ground in common with {info.path.name}: compare their bounds with "
        "`emrdiff info`"
    )


def _outline(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns and rows along the sides of a raster with its margin."""
    across = np.linspace(-MARGIN, grid.width + MARGIN, _POINTS)
    down = np.linspace(-MARGIN, grid.height + MARGIN, _POINTS)
    ends = (np.full(_POINTS, -float(MARGIN)), np.full(_POINTS, 1.0))
    cols = np.concatenate([across, across, ends[0], ends[1] * (grid.width + MARGIN)])
    rows = np.concatenate([ends[0], ends[1] * (grid.height + MARGIN), down, down])
    return cols, rows


def _snapped(along: NDArray[np.float64], size: int, snap: int) -> tuple[int, int]:
    """The first pixel of an axis between these places, and the one after the last, inside of the raster."""
    first = math.floor(float(along.min()) / snap + 1e-6) * snap
    after = math.ceil(float(along.max()) / snap - 1e-6) * snap
    return max(0, first), min(size, after)


def _dropped(image: Image, window: Window) -> Iterator[NDArray[Any]]:
    """Strips of an image that is read whole, without what lies outside of a window."""
    top = 0
    for strip in image.strips():
        first, stop = max(window.row, top), min(window.rows.stop, top + strip.shape[1])
        if first < stop:
            yield strip[:, first - top : stop - top, window.cols]
        top += strip.shape[1]
        if top >= window.rows.stop:
            return
