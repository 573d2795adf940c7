"""Rasters brought onto the axes of another: flipped exactly, or warped to the same ground."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS

from emrdiff_cli.errors import GridError
from emrdiff_cli.raster.reading import open_raster
from emrdiff_cli.raster.warping import AlignedReader, aligned_grid
from emrdiff_cli.raster_info import Grid
from tests.support.rasters import NORTH_UP, UTM33, pixels, write_tif

WKT = CRS.from_string(UTM33).to_wkt()
FINE = Grid(120, 160, NORTH_UP @ Affine.scale(1 / 5), WKT)


def coarse(transform: Affine, height: int = 24, width: int = 32, crs: str = UTM33) -> Grid:
    return Grid(height, width, transform, CRS.from_string(crs).to_wkt())


def smooth(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """A value on the ground, from coordinates in UTM zone 33."""
    east, north = x - NORTH_UP.c, y - NORTH_UP.f
    return np.asarray(100 + 20 * np.sin(east / 300) + 15 * np.cos(north / 250))


def centres(grid: Grid) -> tuple[NDArray[Any], NDArray[Any]]:
    rows, cols = np.mgrid[: grid.height, : grid.width] + 0.5
    t = grid.transform
    return t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f


def test_a_grid_whose_axes_run_along_stays_itself() -> None:
    grid = coarse(NORTH_UP @ Affine.translation(0.3, -1.2))
    assert aligned_grid(grid, FINE) is grid


@pytest.mark.parametrize(("rows", "cols"), [(True, False), (False, True), (True, True)])
def test_mirrored_axes_are_flipped_and_no_value_changes(tmp_path: Path, rows: bool, cols: bool) -> None:
    values = pixels(3, 24, 32)
    mirrored = NORTH_UP
    if rows:
        mirrored = mirrored @ Affine.translation(0, 24) @ Affine.scale(1, -1)
    if cols:
        mirrored = mirrored @ Affine.translation(32, 0) @ Affine.scale(-1, 1)
    axes = tuple(axis for axis, flip in ((1, rows), (2, cols)) if flip)
    path = write_tif(tmp_path / "mirrored.tif", np.flip(values, axes), transform=mirrored)
    with open_raster(path) as reader:
        grid = aligned_grid(reader.info.grid, FINE)
        aligned = AlignedReader(reader, grid)
        seen = aligned.read()
    assert grid.transform.almost_equals(NORTH_UP, precision=1e-6)
    assert np.array_equal(seen, values)
    assert "flipped" in aligned.how


@pytest.mark.parametrize(
    ("crs", "angle"), [("EPSG:32632", 0.0), ("EPSG:3035", 0.0), (UTM33, 17.0), ("EPSG:32634", -30.0)]
)
def test_another_crs_or_rotation_is_warped_to_the_same_ground(tmp_path: Path, crs: str, angle: float) -> None:
    to_other = Transformer.from_crs(UTM33, crs, always_xy=True)
    x, y = to_other.transform(NORTH_UP.c - 500, NORTH_UP.f + 500)
    transform = Affine.translation(x, y) @ Affine.rotation(angle) @ Affine.scale(30, -30)
    if angle:
        x, y = to_other.transform(NORTH_UP.c + 480, NORTH_UP.f - 360)
        transform = Affine.translation(x, y) @ Affine.rotation(angle) @ Affine.scale(30, -30)
        transform = transform @ Affine.translation(-40, -40)
    grid = coarse(transform, 80, 80, crs)
    back = Transformer.from_crs(crs, UTM33, always_xy=True)
    values = smooth(*back.transform(*centres(grid)))[None].astype(np.float32)
    path = write_tif(tmp_path / "far.tif", values, crs=crs, transform=transform)
    with open_raster(path) as reader:
        target = aligned_grid(reader.info.grid, FINE)
        aligned = AlignedReader(reader, target)
        seen = aligned.read()
    assert target.crs_wkt == FINE.crs_wkt
    ratio = target.transform.a / FINE.transform.a
    assert ratio == pytest.approx(5, rel=5e-3)
    assert target.transform.b == target.transform.d == 0
    # All of the fine grid is covered, with the two pixels around it that the cubic kernel reaches, and each pixel
    # holds the value of its own ground.
    corner = ~FINE.transform @ target.transform
    assert max(corner.c, corner.f) <= -2 * ratio
    assert corner.c + ratio * (target.width - 2) >= FINE.width
    assert corner.f + ratio * (target.height - 2) >= FINE.height
    inside = seen[0][2:-2, 2:-2]
    truth = smooth(*centres(target))[2:-2, 2:-2]
    assert np.isfinite(inside).all()
    assert np.abs(inside - truth).max() < 0.15  # a tenth of a pixel would be 0.25
    assert "warped" in aligned.how


@pytest.mark.parametrize(("angle", "sides"), [(17.0, (30, 30)), (90.0, (10, 40)), (1.0, (40, 10))])
def test_on_pixels_that_are_no_squares_its_own_stay_as_long_and_wide(
    tmp_path: Path, angle: float, sides: tuple[int, int]
) -> None:
    flat = Grid(120, 320, NORTH_UP @ Affine.scale(1 / 10, 1 / 5), WKT)
    turned = NORTH_UP @ Affine.translation(16, 12) @ Affine.rotation(angle)
    scaled = turned @ Affine.scale(sides[0] / 30, sides[1] / 30)
    grid = coarse(scaled @ Affine.translation(-40, -40), 80, 80)
    values = smooth(*centres(grid))[None].astype(np.float32)
    path = write_tif(tmp_path / "far.tif", values, transform=grid.transform)
    target = aligned_grid(grid, flat)
    wanted = sides[::-1] if angle == 90 else sides
    assert (target.transform.a, -target.transform.e) == pytest.approx(wanted, rel=5e-3)
    with open_raster(path) as reader:
        aligned = AlignedReader(reader, target)
        off = np.abs(aligned.read()[0] - smooth(*centres(target)))
    assert np.nanmax(off[4:-4, 4:-4]) < 0.3
    assert "warped" in aligned.how


def test_holes_stay_holes(tmp_path: Path) -> None:
    transform = NORTH_UP @ Affine.translation(16, 12) @ Affine.rotation(45) @ Affine.translation(-30, -30)
    values = np.full((1, 60, 60), 50, np.int16)
    values[0, 28:34, 28:34] = -99
    path = write_tif(tmp_path / "holes.tif", values, transform=transform, nodata=-99)
    with open_raster(path) as reader:
        seen = AlignedReader(reader, aligned_grid(reader.info.grid, FINE)).read()
    assert set(np.unique(seen[np.isfinite(seen)].round(3))) == {50.0}
    assert 30 < np.isnan(seen[0, 4:-4, 4:-4]).sum() < 60


def test_no_common_ground_of_rasters_whose_outlines_meet(tmp_path: Path) -> None:
    """Turned by 45 degrees, a raster leaves the corners of the rectangle around it empty."""
    beyond = NORTH_UP @ Affine.translation(-14, -14) @ Affine.rotation(45) @ Affine.translation(-15, -15)
    path = write_tif(tmp_path / "beside.tif", pixels(1, 30, 30), transform=beyond)
    with open_raster(path) as reader:
        aligned = AlignedReader(reader, aligned_grid(reader.info.grid, FINE))
        with pytest.raises(GridError, match="no ground in common"):
            aligned.read()


def test_no_common_ground() -> None:
    with pytest.raises(GridError, match="no ground in common"):
        aligned_grid(coarse(NORTH_UP @ Affine.translation(500, 0) @ Affine.rotation(20)), FINE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("EPSG:25833", UTM33),
        ("EPSG:6691", "EPSG:32654"),
        ("EPSG:26910", "EPSG:32610"),
        ("EPSG:7855", "EPSG:32755"),
        ("EPSG:4258", "EPSG:4326"),
        ("EPSG:32633+5773", UTM33),
        ("+proj=utm +zone=33 +datum=WGS84 +units=m", UTM33),
        ("+proj=utm +zone=33 +ellps=WGS84 +towgs84=0,0,0,0,0,0,0 +units=m", UTM33),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_crss_of_the_same_numbers_warp_nothing(one: str, other: str, swapped: bool) -> None:
    transform, wkt = NORTH_UP, [CRS.from_string(crs).to_wkt() for crs in (one, other)]
    if other == "EPSG:4326":
        transform = Affine(3e-4, 0, 13.1, 0, -3e-4, 52.4)
    fine = Grid(120, 160, transform @ Affine.scale(1 / 5), wkt[not swapped])
    grid = aligned_grid(Grid(24, 32, transform, wkt[swapped]), fine)
    assert (grid.height, grid.width, grid.transform) == (24, 32, transform)


def test_a_crs_in_other_units_is_restated_and_nothing_warped() -> None:
    feet = CRS.from_string("+proj=utm +zone=33 +datum=WGS84 +units=us-ft").to_wkt()
    foot = 1200 / 3937
    transform = Affine.scale(1 / foot) @ NORTH_UP
    grid = aligned_grid(Grid(24, 32, transform, feet), FINE)
    assert (grid.height, grid.width, grid.crs_wkt) == (24, 32, WKT)
    assert grid.transform.almost_equals(NORTH_UP, precision=1e-4)


@pytest.mark.parametrize("turns", [-1, 0, 1, 2])
@pytest.mark.parametrize("west", [-0.005, 179.995])
def test_longitudes_are_counted_as_the_other_raster_counts_them(west: float, turns: int) -> None:
    wkt = CRS.from_epsg(4326).to_wkt()
    place = Affine(3e-4, 0, west, 0, -3e-4, 52.4)
    fine = Grid(120, 160, place @ Affine.scale(1 / 5), wkt)
    moved = Affine.translation(360 * turns, 0) @ place
    grid = aligned_grid(Grid(24, 32, moved, wkt), fine)
    assert (grid.height, grid.width) == (24, 32)
    assert grid.transform.almost_equals(place, precision=1e-9)


@pytest.mark.parametrize(("longitude", "crs"), [(180, "EPSG:32660"), (180, "EPSG:32601"), (0, "EPSG:32631")])
@pytest.mark.parametrize("counted_from", [0, -180])
@pytest.mark.parametrize("geographic", ["coarse", "fine"])
def test_a_raster_across_the_antimeridian_is_warped_to_the_same_ground(
    tmp_path: Path, longitude: float, crs: str, counted_from: float, geographic: str
) -> None:
    to_utm = Transformer.from_crs(4326, crs, always_xy=True)
    east, north = to_utm.transform(longitude, 52)
    centre = (longitude - counted_from) % 360 + counted_from
    size = {"coarse": 40, "fine": 100}
    scale = {"coarse": 100.0, "fine": 20.0}
    grids = {}
    for which in ("coarse", "fine"):
        n, px = size[which], scale[which]
        if which == geographic:
            place = Affine(
                px / 68000, 0, centre - n / 2 * px / 68000, 0, -px / 111000, 52 + n / 2 * px / 111000
            )
            grids[which] = Grid(n, n, place, CRS.from_epsg(4326).to_wkt())
        else:
            place = Affine(px, 0, east - n / 2 * px, 0, -px, north + n / 2 * px)
            grids[which] = Grid(n, n, place, CRS.from_string(crs).to_wkt())

    def truth(grid: Grid) -> NDArray[Any]:
        x, y = centres(grid)
        if CRS.from_wkt(grid.crs_wkt or "").is_geographic:
            x, y = to_utm.transform(x, y)
        return np.asarray(100 + 20 * np.sin((x - east) / 500) + 15 * np.cos((y - north) / 400), np.float32)

    coarse_grid = grids["coarse"]
    values = truth(coarse_grid)[None]
    path = write_tif(tmp_path / "a.tif", values, crs=coarse_grid.crs_wkt, transform=coarse_grid.transform)
    with open_raster(path) as reader:
        target = aligned_grid(reader.info.grid, grids["fine"])
        seen = AlignedReader(reader, target).read()[0]
    assert max(target.height, target.width) < 60
    assert np.isfinite(seen).mean() > 0.9
    assert np.nanmax(np.abs(seen - truth(target))) < 0.5


def test_corners_beside_a_whole_pixel_take_no_pixel_more() -> None:
    wkt = CRS.from_string(UTM33).to_wkt()
    turned_by = Affine.rotation(90)
    fine = Grid(120, 160, NORTH_UP @ Affine.scale(1 / 5), wkt)
    corner = NORTH_UP @ (15 + 1e-7, 12 - 1e-7)
    transform = Affine.translation(*corner) @ turned_by @ Affine.scale(30, -30)
    grid = aligned_grid(Grid(10, 8, transform, wkt), fine)
    assert (grid.height, grid.width) == (8, 10)
