"""Where fused pixels lie: on the MSI's grid, whatever the axes, the CRS or the bounds of the pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from emrdiff_cli.errors import GridError, InputError
from emrdiff_cli.fusion.fusing import FusionOptions, fuse
from emrdiff_cli.raster.reading import ignoring_missing_georeference, read_info
from emrdiff_cli.simulation import simulate_raster
from tests.support.pairs import BANDS, FINE, MSI_BANDS, see, write_pair
from tests.support.rasters import NORTH_UP, UTM33
from tests.support.samplers import Fake, fuse_and_read, of_position, settings
from tests.support.scenes import read, textured, write_cube, write_srf

LR_GRID = (NORTH_UP, 16, 18)


def write_ramps(
    folder: Path, lr_grid: tuple[Affine, int, int], msi_grid: tuple[Affine, int, int]
) -> tuple[Path, Path]:
    """A pair whose values are linear in the ground coordinates at the pixels' centres."""
    return (
        write_cube(folder / "lr.tif", ground(BANDS, *lr_grid), transform=lr_grid[0], count=None),
        write_cube(folder / "msi.tif", ground(MSI_BANDS, *msi_grid), transform=msi_grid[0], count=None),
    )


def ground(bands: int, transform: Affine, height: int, width: int) -> NDArray[np.float64]:
    rows, cols = np.mgrid[:height, :width] + 0.5
    x, y = ~NORTH_UP @ transform @ (cols, rows)
    slopes = np.linspace(-0.02, 0.03, bands)[:, None, None]
    return np.asarray(0.5 + 0.01 * x + slopes * y)


@pytest.mark.parametrize("levels", [1, 3, 4])
def test_sizes_that_are_no_multiple_of_the_networks_stride(tmp_path: Path, levels: int) -> None:
    pair = write_ramps(tmp_path, LR_GRID, (NORTH_UP @ Affine.scale(3 / 25), 133, 150))
    config = settings(levels=levels, subspace=0, end_point="bicubic", ratio=25 / 3)
    expected = fuse_and_read(tmp_path, pair, method="bicubic")
    for tile in (32, 160):
        sampler = Fake(config)
        np.testing.assert_allclose(fuse_and_read(tmp_path, pair, sampler, tile=tile), expected, atol=1e-6)
        corners = np.array([corner for batch in sampler.batches for corner in batch])
        assert (corners % config.stride == 0).all()


@pytest.mark.parametrize(
    ("msi_grid", "rows", "cols"),
    [
        ((FINE, 64, 72), (0, 64), (0, 72)),
        ((NORTH_UP @ Affine.scale(3 / 25), 133, 150), (0, 133), (0, 150)),
        ((FINE @ Affine.translation(0.72, -0.4), 64, 72), (0, 64), (0, 71)),
        ((FINE @ Affine.translation(8, 12), 80, 100), (0, 52), (0, 64)),
        ((FINE @ Affine.translation(-13, -6), 60, 70), (6, 60), (13, 70)),
        ((FINE @ Affine.translation(17, 21), 28, 32), (0, 28), (0, 32)),
        (
            (NORTH_UP @ Affine.translation(0.3, 0.1) @ Affine.scale(1 / 4.1, 1 / 3.7), 57, 70),
            (0, 57),
            (0, 70),
        ),
    ],
    ids=["same", "25/3", "sub-pixel", "lower right", "upper left", "within", "other on each axis"],
)
@pytest.mark.parametrize("method", ["bicubic", "glp"])
def test_every_pixel_lies_where_the_outputs_transform_says(
    tmp_path: Path,
    method: str,
    msi_grid: tuple[Affine, int, int],
    rows: tuple[int, int],
    cols: tuple[int, int],
) -> None:
    pair = write_ramps(tmp_path, LR_GRID, msi_grid)
    fused = fuse_and_read(tmp_path, pair, method=method)
    grid = read_info(tmp_path / "fused.tif").grid
    assert (grid.height, grid.width) == (rows[1] - rows[0], cols[1] - cols[0])
    expected = msi_grid[0] @ Affine.translation(cols[0], rows[0])
    assert grid.transform.almost_equals(expected, 1e-6)
    assert rasterio.CRS.from_wkt(grid.crs_wkt).to_epsg() == 32633
    assert np.isfinite(fused).all()
    x, y = ~LR_GRID[0] @ grid.transform @ tuple(np.mgrid[: grid.height, : grid.width][::-1] + 0.5)
    # Away from the edges of the common area, where the outermost LR pixel is replicated.
    inner = (x > x.min() + 2.5) & (x < x.max() - 2.5) & (y > y.min() + 2.5) & (y < y.max() - 2.5)
    assert inner.any()
    truth = ground(BANDS, grid.transform, grid.height, grid.width)
    np.testing.assert_allclose(fused[:, inner], truth[:, inner], atol=2e-4)


def test_without_georeference_an_exact_ratio_is_taken_as_the_same_ground(tmp_path: Path) -> None:
    placed = fuse_and_read(tmp_path, write_pair(tmp_path, count=None))
    bare = fuse_and_read(tmp_path, write_pair(tmp_path, count=None, crs=None))
    np.testing.assert_array_equal(bare, placed)
    assert read_info(tmp_path / "fused.tif").grid.crs_wkt is None


CORNERWISE = NORTH_UP @ Affine.translation(9, 8) @ Affine.rotation(45)


def placed_elsewhere(folder: Path, **msi: Any) -> tuple[Path, Path]:
    cube = textured(BANDS, 16, 18)
    usual = {"transform": FINE, "count": None}
    return (
        write_cube(folder / "lr.tif", cube, count=None, crs=msi.pop("lr_crs", UTM33)),
        write_cube(folder / "msi.tif", msi.pop("cube", see(textured(BANDS, 64, 72))), **usual | msi),
    )


@pytest.mark.parametrize(
    ("msi", "said"),
    [
        ({"transform": FINE @ Affine.translation(500, 0)}, "no ground in common"),
        ({"crs": None}, r"msi\.tif has no CRS but lr\.tif has"),
        ({"lr_crs": None}, r"lr\.tif has no CRS but msi\.tif has"),
        ({"crs": "EPSG:32634"}, "no ground in common"),
        ({"transform": NORTH_UP @ Affine.scale(2)}, "not finer"),
        ({"transform": NORTH_UP}, "not finer"),
        ({"transform": FINE @ Affine.translation(500, 0) @ Affine.rotation(3)}, "no ground in common"),
        ({"transform": FINE @ Affine.scale(1, -1)}, "no ground in common"),
        # Beside the LR-HSI, but within the rectangle around it along the MSI's axes.
        (
            {"transform": CORNERWISE @ Affine.translation(9.5, 9.5) @ Affine.scale(1 / 4)},
            "no ground in common",
        ),
        ({"crs": None, "lr_crs": None, "cube": see(textured(BANDS, 64, 71))}, "no exact ratio"),
    ],
)
def test_pairs_that_do_not_come_together(tmp_path: Path, msi: dict[str, Any], said: str) -> None:
    pair = placed_elsewhere(tmp_path, **msi)
    with pytest.raises(GridError, match=said):
        fuse_and_read(tmp_path, pair)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lr.tif", "msi.tif"]


def test_pair_given_the_wrong_way_round(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path)
    with pytest.raises(InputError, match="LR-HSI first"):
        fuse_and_read(tmp_path, (msi, lr))


def test_without_a_crs_the_geotransforms_place_the_pair_and_a_note_says_so(tmp_path: Path) -> None:
    fine = NORTH_UP @ Affine.scale(1 / 4)
    lr, msi = write_pair(tmp_path, crs=None, count=None)

    def move(path: Path, transform: Affine) -> None:
        with rasterio.open(path, "r+") as dataset:
            dataset.transform = transform

    with ignoring_missing_georeference():
        move(lr, NORTH_UP)
        move(msi, fine)
    report = fuse(lr, msi, tmp_path / "fused.tif", "glp", None, FusionOptions(register="off"))
    assert report.notes == ("neither raster has a CRS: placed by their geotransforms",)
    with ignoring_missing_georeference():
        move(lr, NORTH_UP @ Affine.translation(1000, 0))
    with pytest.raises(GridError, match="no ground in common"):
        fuse_and_read(tmp_path, (lr, msi))


def test_a_pair_simulated_from_a_cube_without_georeference_is_fused(tmp_path: Path) -> None:
    """The LR-HSI's pixels are then 4 units wide, the MSI's 1."""
    cube = write_cube(tmp_path / "cube.tif", textured(BANDS, 64, 64), crs=None, count=None)
    write_srf(tmp_path / "srf.csv")
    simulate_raster(cube, tmp_path / "pair", 4, str(tmp_path / "srf.csv"))
    fused = fuse_and_read(tmp_path, (tmp_path / "pair" / "lr_hsi.tif", tmp_path / "pair" / "hr_msi.tif"))
    assert np.abs(fused - textured(BANDS, 64, 64)).mean() < 0.03


# Other axes, and parts


def test_south_up_hsi_fuses_as_north_up(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path)
    expected = fuse_and_read(tmp_path, (lr, msi), Fake(settings(), of_position))
    values = read(lr)
    turned = NORTH_UP @ Affine.translation(0, values.shape[1]) @ Affine.scale(1, -1)
    flipped = write_cube(tmp_path / "flipped.tif", values[:, ::-1], transform=turned)
    assert np.array_equal(fuse_and_read(tmp_path, (flipped, msi), Fake(settings(), of_position)), expected)


@pytest.mark.parametrize("angle", [0.0, 25.0])
def test_hsi_in_another_crs_is_fused_on_the_msis_grid(tmp_path: Path, angle: float) -> None:
    fine = FINE @ Affine.rotation(angle)
    msi = write_cube(tmp_path / "msi.tif", ground(MSI_BANDS, fine, 64, 72), transform=fine, count=None)
    there = Transformer.from_crs(UTM33, "EPSG:3035", always_xy=True)
    x, y = there.transform(*(fine @ (36, 32)))
    coarse = Affine.translation(x, y) @ Affine.scale(30, -30) @ Affine.translation(-20, -20)
    cols, rows = np.meshgrid(np.arange(40) + 0.5, np.arange(40) + 0.5)
    back = Transformer.from_crs("EPSG:3035", UTM33, always_xy=True)
    east, north = back.transform(*(coarse @ (cols, rows)))
    x, y = ~NORTH_UP @ (east, north)
    slopes = np.linspace(-0.02, 0.03, BANDS)[:, None, None]
    lr = write_cube(
        tmp_path / "lr.tif", 0.5 + 0.01 * x + slopes * y, transform=coarse, crs="EPSG:3035", count=None
    )
    fused = fuse_and_read(tmp_path, (lr, msi), method="bicubic", dtype="float32")
    with rasterio.open(tmp_path / "fused.tif") as dataset:
        assert dataset.transform.almost_equals(fine)
        assert dataset.crs.to_epsg() == 32633
    truth = ground(BANDS, fine, 64, 72)
    assert np.abs(fused - truth).max() < 2e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampled", "method"), [(False, "glp-local"), (False, "kriging"), (True, "glp-local")]
)
def test_bounds_give_the_pixels_of_the_whole(tmp_path: Path, sampled: bool, method: str) -> None:
    pair = write_pair(tmp_path, lr_holes=[(3, 4)])
    whole = fuse_and_read(tmp_path, pair, Fake(settings(), of_position) if sampled else None, method)
    for row, col, height, width in ((0, 0, 64, 72), (9, 13, 30, 27), (40, 50, 24, 22), (17, 5, 1, 1)):
        left, top = FINE @ (col, row)
        right, bottom = FINE @ (col + width, row + height)
        sampler = Fake(settings(), of_position) if sampled else None
        part = fuse_and_read(tmp_path, pair, sampler, method, bounds=(left, bottom, right, top))
        assert np.array_equal(part, whole[:, row : row + height, col : col + width], equal_nan=True)
        with rasterio.open(tmp_path / "fused.tif") as dataset:
            assert dataset.transform.almost_equals(FINE @ Affine.translation(col, row), precision=1e-6)
        if sampler is not None and height == width == 1:
            assert sum(len(batch) for batch in sampler.batches) <= 4


def test_bounds_without_a_pixel(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    left, top = FINE @ (0, 0)
    for bounds in ((left - 100, top, left - 50, top + 50), (left + 50, top, left, top - 50)):
        with pytest.raises(GridError, match="no pixel of the common ground"):
            fuse_and_read(tmp_path, pair, bounds=bounds)
