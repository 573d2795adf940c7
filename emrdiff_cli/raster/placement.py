"""One raster laid on another: by their geotransforms, or by their sizes where neither says where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from affine import Affine

from emrdiff_cli.core.sensor.grid import Alignment, align, align_by_size
from emrdiff_cli.errors import GridError
from emrdiff_cli.raster.crs import same_crs
from emrdiff_cli.raster.warping import aligned_grid, restated
from emrdiff_cli.raster_info import Grid, RasterInfo

By = Literal["CRS", "geotransforms", "sizes"]


@dataclass(frozen=True)
class Placement:
    """An LR raster on an HR raster: `by` what, its `grid` along the HR raster's axes, and the common area."""

    by: By
    grid: Grid
    alignment: Alignment


def placed_by(a: RasterInfo, b: RasterInfo) -> By:
    """Means of laying two rasters on each other.

    `CRS`: both are georeferenced. `geotransforms`: neither is, but one at least has a geotransform, in units that
    both count in. `sizes`: neither says where it lies. Raises GridError where one alone is georeferenced,
    and for one that is placed by other means than a transform.
    """
    for info in (a, b):
        if info.unplaced is not None:
            raise GridError(f"{_names(info, b if info is a else a)[0]} {info.unplaced}")
    for bare, other in ((a, b), (b, a)):
        if other.grid.georeferenced and not bare.grid.georeferenced:
            lacking = "CRS" if bare.grid.crs_wkt is None else "geotransform"
            one, two = _names(bare, other)
            raise GridError(
                f"{one} has no {lacking} but {two} has: assign it, e.g. with "
                f"`gdal_edit.py -a_srs ... -a_ullr ... {bare.path.name}`"
            )
    if a.grid.georeferenced:
        return "CRS"
    somewhere = {a.grid.transform, b.grid.transform} - {Affine.identity()}
    return "geotransforms" if somewhere else "sizes"


def placing_notes(a: RasterInfo, b: RasterInfo) -> tuple[str, ...]:
    """Notes for the user on how two rasters were laid on each other; raises GridError as `placed_by`."""
    by = placed_by(a, b)
    return () if by == "CRS" else (f"neither raster has a CRS: placed by their {by}",)


def place_on(lr: RasterInfo, hr: RasterInfo, *, warped: bool = False) -> Placement:
    """Lay an LR raster on an HR raster.

    `warped`: one in another CRS, rotated or mirrored is laid as `aligned_grid` would bring it onto the HR axes.
    Raises GridError, which names both: one alone georeferenced, no common area, by sizes no whole ratio; without
    `warped` another CRS and grids rotated or mirrored against each other.
    """
    by = placed_by(lr, hr)
    with _naming(lr, hr):
        if by == "sizes":
            return Placement(by, lr.grid, align_by_size(lr.grid, hr.grid))
        grid = aligned_grid(lr.grid, hr.grid) if warped else restated(lr.grid, hr.grid)
        if by == "CRS" and not same_crs(grid.crs_wkt, hr.grid.crs_wkt):
            raise GridError("they differ in CRS: warp one to the other's, e.g. with `gdalwarp -t_srs`")
        return Placement(by, grid, align(grid, hr.grid))


@contextmanager
def _naming(a: RasterInfo, b: RasterInfo) -> Iterator[None]:
    """Put the names of both rasters before a GridError's message."""
    try:
        yield
    except GridError as error:
        one, other = _names(a, b)
        raise GridError(f"{one} and {other}: {error}") from error


def _names(a: RasterInfo, b: RasterInfo) -> tuple[str, str]:
    """Names that tell two rasters apart: the files', or their paths."""
    alike = a.path.name == b.path.name
    return (str(a.path), str(b.path)) if alike else (a.path.name, b.path.name)
