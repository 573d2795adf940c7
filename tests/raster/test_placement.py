"""One raster laid on another: by what, and which files a refusal names."""

from __future__ import annotations

from pathlib import Path

import pytest
from affine import Affine
from pyproj import CRS

from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.errors import GridError
from emrdiff_cli.raster.placement import By, place_on, placed_by, placing_notes
from emrdiff_cli.raster_info import Bands, Grid, RasterInfo, Window
from tests.support.rasters import NORTH_UP, UTM33

NOWHERE, FINE = Affine.identity(), NORTH_UP @ Affine.scale(1 / 4)


def raster(name: str, side: int, transform: Affine, crs: str | None) -> RasterInfo:
    wkt = None if crs is None else CRS.from_user_input(crs).to_wkt()
    return RasterInfo(Path(name), "GTiff", Grid(side, side, transform, wkt), Bands(3), "float32")


@pytest.mark.parametrize(
    ("coarse", "fine", "crs", "by"),
    [
        (NORTH_UP, FINE, UTM33, "CRS"),
        (NORTH_UP, FINE, None, "geotransforms"),
        (Affine.scale(4), NOWHERE, None, "geotransforms"),
        (NOWHERE, Affine.scale(1 / 4), None, "geotransforms"),
        (NOWHERE, NOWHERE, None, "sizes"),
        (NOWHERE, NOWHERE, UTM33, "sizes"),
    ],
)
def test_a_pair_is_laid_by_what_both_state(coarse: Affine, fine: Affine, crs: str | None, by: By) -> None:
    lr, hr = raster("lr.tif", 6, coarse, crs), raster("hr.tif", 24, fine, crs)
    placed = place_on(lr, hr)
    assert (placed.by, placed_by(hr, lr)) == (by, by)
    assert placing_notes(lr, hr) == (
        () if by == "CRS" else (f"neither raster has a CRS: placed by their {by}",)
    )
    assert (placed.alignment.lr_window, placed.alignment.hr_window) == (
        Window(0, 0, 6, 6),
        Window(0, 0, 24, 24),
    )
    assert placed.alignment.rows == placed.alignment.cols == AxisPlacement(4.0, 0.0)


@pytest.mark.parametrize("warped", [False, True])
@pytest.mark.parametrize(
    ("coarse", "crs", "fine_crs", "message"),
    [
        (NORTH_UP, None, UTM33, r"lr\.tif has no CRS but hr\.tif has: assign it"),
        (NOWHERE, UTM33, UTM33, r"lr\.tif has no geotransform but hr\.tif has: assign it"),
        (NORTH_UP, UTM33, None, r"hr\.tif has no CRS but lr\.tif has: .* hr\.tif`"),
        (NORTH_UP @ Affine.translation(99, 0), UTM33, UTM33, r"lr\.tif and hr\.tif: .*no ground in common"),
        (NORTH_UP @ Affine.translation(99, 0), None, None, r"lr\.tif and hr\.tif: .*no ground in common"),
    ],
)
def test_a_refusal_names_both(
    coarse: Affine, crs: str | None, fine_crs: str | None, message: str, warped: bool
) -> None:
    with pytest.raises(GridError, match=message):
        place_on(raster("lr.tif", 6, coarse, crs), raster("hr.tif", 24, FINE, fine_crs), warped=warped)


@pytest.mark.parametrize(
    ("coarse", "crs", "message"),
    [
        (NORTH_UP, "EPSG:32634", "they differ in CRS"),
        (NORTH_UP @ Affine.rotation(1), UTM33, "rotated"),
        (NORTH_UP @ Affine.translation(0, 6) @ Affine.scale(1, -1), UTM33, "mirrored"),
    ],
)
def test_other_axes_are_for_a_raster_that_may_be_warped(coarse: Affine, crs: str, message: str) -> None:
    lr, hr = raster("lr.tif", 6, coarse, crs), raster("hr.tif", 24, FINE, UTM33)
    with pytest.raises(GridError, match=rf"lr\.tif and hr\.tif: .*{message}"):
        place_on(lr, hr)
    if crs == UTM33:
        assert place_on(lr, hr, warped=True).grid != lr.grid


def test_files_of_one_name_are_told_apart_by_their_folders() -> None:
    with pytest.raises(GridError, match=r"fused.scene\.tif has no CRS but truth.scene\.tif has"):
        placed_by(raster("fused/scene.tif", 6, NORTH_UP, None), raster("truth/scene.tif", 6, NORTH_UP, UTM33))


@pytest.mark.parametrize("side", [25, 3])
def test_sizes_are_no_place_at_a_broken_ratio(side: int) -> None:
    with pytest.raises(GridError, match=r"no exact ratio.*georeference both"):
        place_on(raster("lr.tif", 6, NOWHERE, None), raster("hr.tif", side, NOWHERE, None))
