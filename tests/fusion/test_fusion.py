"""Fusion with a sampler of two lines: grids, tiles, holes and metadata, without a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from emrdiff_cli.core.diffusion.conditioning import TileInputs, calibrate
from emrdiff_cli.core.sensor.edges import sobel_magnitude
from emrdiff_cli.core.sensor.observation import LrScene, observe_msi
from emrdiff_cli.errors import GridError, InputError, ModelError, OutputExistsError, UsageError
from emrdiff_cli.fusion.fusing import FusionOptions, FusionReport, check_fit, fuse, plan
from emrdiff_cli.methods import END_POINTS
from emrdiff_cli.pair.pair import open_pair
from emrdiff_cli.raster.reading import ignoring_missing_georeference, read_info
from emrdiff_cli.raster.spec import Driver
from emrdiff_cli.simulation import simulate_raster
from tests.support.pairs import BANDS, FINE, MSI_BANDS, see, write_pair
from tests.support.rasters import NORTH_UP, UTM33, read_back
from tests.support.samplers import Fake, Image, archive_fake, fuse_and_read, of_position, settings, zeros
from tests.support.scenes import COUNT, NODATA, read, textured, wavelengths, write_cube, write_srf


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


# Values and tiles


def test_a_model_s_method_without_a_sampler_is_refused(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    with pytest.raises(UsageError, match=r"--method emrdiff: .* sampler"):
        fuse(*pair, tmp_path / "out.tif", "emrdiff", None, FusionOptions())
    with pytest.raises(UsageError, match=r"--method emrdiff: .* sampler"):
        plan(*pair, tmp_path / "out.tif", None, "emrdiff", FusionOptions())
    assert not (tmp_path / "out.tif").exists()


def test_a_sampler_s_fusion_may_be_asked_for_by_its_name(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    named = fuse_and_read(tmp_path, pair, Fake(settings(), of_position), method="emrdiff")
    np.testing.assert_array_equal(named, fuse_and_read(tmp_path, pair, Fake(settings(), of_position)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tile": -16}, "--tile -16: must be 0 or more"),
        ({"tile": 17}, "--tile 17: this model needs a multiple of"),
        ({"tile": 16, "overlap": 16}, "--overlap 16: must be between 0 and"),
        ({"batch_size": 0}, "--batch-size 0: must be 1 or more"),
        ({"dtype": "int7"}, "--dtype int7: must be one of"),
    ],
)
def test_an_option_is_named_as_the_command_has_it(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    pair = write_pair(tmp_path)
    with pytest.raises(UsageError, match=said):
        fuse_and_read(tmp_path, pair, Fake(settings()), **changes)


@pytest.mark.parametrize("method", END_POINTS)
def test_zeros_give_the_end_point(tmp_path: Path, method: str) -> None:
    pair = write_pair(tmp_path, count=None)
    by_method = fuse_and_read(tmp_path, pair, method=method)
    by_sampler = fuse_and_read(tmp_path, pair, Fake(settings(subspace=0, end_point=method)))
    np.testing.assert_allclose(by_sampler, by_method, atol=1e-6)
    truth = textured(BANDS, 64, 72)
    assert np.abs(by_method - truth).mean() < (0.08 if method == "bicubic" else 0.035)


@pytest.mark.slow
@pytest.mark.parametrize("residual", ["multimodal", "unimodal"])
@pytest.mark.parametrize("noise", ["edge", "gaussian"])
def test_tiles_batches_and_overlap_do_not_change_the_end_point(
    tmp_path: Path, residual: str, noise: str
) -> None:
    pair, sampler = write_pair(tmp_path, count=None), Fake(settings(residual=residual, noise=noise))
    whole = fuse_and_read(tmp_path, pair, sampler, tile=80)
    others: list[dict[str, Any]] = [
        {"tile": 16, "overlap": 0},
        {"tile": 16, "overlap": 7, "batch_size": 3},
        {"tile": 34, "overlap": 17, "batch_size": 1},
        {},
    ]
    for options in others:
        np.testing.assert_allclose(fuse_and_read(tmp_path, pair, sampler, **options), whole, atol=1e-6)
    by_ones, by_fives = (fuse_and_read(tmp_path, pair, sampler, batch_size=size) for size in (1, 5))
    np.testing.assert_array_equal(by_ones, by_fives)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"subspace": 0}, {"residual": "none"}, {"units": "range"}])
def test_an_estimate_of_the_position_is_the_same_tiled_and_whole(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    pair, sampler = write_pair(tmp_path, count=None), Fake(settings(**changes), of_position)
    whole = fuse_and_read(tmp_path, pair, sampler, tile=80)
    assert np.abs(whole - fuse_and_read(tmp_path, pair, Fake(settings(**changes)))).mean() > 1e-3
    others: list[dict[str, Any]] = [{"tile": 16, "overlap": 5}, {"tile": 24, "overlap": 12, "batch_size": 2}]
    for options in (*others, {"tile": 30}):
        np.testing.assert_allclose(fuse_and_read(tmp_path, pair, sampler, **options), whole, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_where_tiles_differ_neither_counts_for_much_at_its_outermost_pixels(
    tmp_path: Path, axis: int
) -> None:
    """They are of the surroundings that a network sees in part: a Hann ramp alone gives them more."""

    def from_32_on(tile: TileInputs, corner: tuple[int, int]) -> Image:
        return np.full_like(tile.a_0, corner[axis] >= 32)

    def ones(tile: TileInputs, _corner: tuple[int, int]) -> Image:
        return np.ones_like(tile.a_0)

    pair, config = write_pair(tmp_path, 64, 64, count=None), settings(subspace=0, end_point="bicubic")
    none, some, all_over = (
        fuse_and_read(tmp_path, pair, Fake(config, estimate), tile=16, overlap=8)
        for estimate in (zeros, from_32_on, ones)
    )
    share = ((some - none).mean(axis=(0, 2 - axis)) / (all_over - none).mean(axis=(0, 2 - axis)))[32:40]
    np.testing.assert_allclose(share + share[::-1], 1, atol=1e-3)
    hann = np.sin(np.pi / 2 * (np.arange(8) + 0.5) / 8) ** 2
    assert (share[:3] < 0.5 * hann[:3]).all()
    assert (np.diff(share) > 0).all()


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


def test_corners_are_absolute_where_the_common_area_begins_within_the_msi(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, count=None)
    values = read_back(lr)[:, 3:, 2:]
    moved = write_cube(
        tmp_path / "moved.tif", values, transform=NORTH_UP @ Affine.translation(2, 3), count=None
    )
    sampler = Fake(settings(), of_position)
    fuse_and_read(tmp_path, (moved, msi), sampler)
    corners = [corner for batch in sampler.batches for corner in batch]
    assert corners[0] == min(corners) == (12, 8)
    assert corners[-1] == max(corners) == (64 - 16, 72 - 16)


def test_batches_are_full_and_keep_to_a_row_of_tiles(tmp_path: Path) -> None:
    sampler = Fake(settings())
    fuse_and_read(tmp_path, write_pair(tmp_path), sampler, tile=16, overlap=4, batch_size=4)
    assert [len(batch) for batch in sampler.batches] == [4, 2] * 5
    assert all(len({row for row, _ in batch}) == 1 for batch in sampler.batches)
    corners = [corner for batch in sampler.batches for corner in batch]
    assert corners == sorted(set(corners))


def test_models_with_settled_gates_run_on_tiles_of_twice_their_patch(tmp_path: Path) -> None:
    sampler = Fake(settings(gates="training"))
    fuse_and_read(tmp_path, write_pair(tmp_path), sampler, overlap=0)
    assert {corner for batch in sampler.batches for corner in batch} >= {(0, 0), (32, 0), (32, 40)}
    assert len(sampler.batches[0]) == 3


def test_a_scene_smaller_than_a_tile_is_one_tile(tmp_path: Path) -> None:
    sampler = Fake(settings(), of_position)
    fuse_and_read(tmp_path, write_pair(tmp_path, 32, 36), sampler, tile=64)
    assert sampler.batches == [[(0, 0)]]


def test_a_calibration_kept_with_the_model_is_used(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, count=None)
    config = settings(calibration="archive")
    with open_pair(*pair) as opened:
        seen = observe_msi(opened.strips, opened.resampling.down)
        kept = calibrate(config, [LrScene(opened.read_lr(), seen.msi_at_lr, seen.covered)])
    own = fuse_and_read(tmp_path, pair, Fake(settings(), of_position))
    same = fuse_and_read(tmp_path, pair, Fake(config, of_position, kept))
    np.testing.assert_allclose(same, own, atol=1e-5)
    doubled = replace(kept, channels=replace(kept.channels, unit=2 * kept.channels.unit))
    zero = fuse_and_read(tmp_path, pair, Fake(config, zeros, kept))
    np.testing.assert_allclose(
        fuse_and_read(tmp_path, pair, Fake(config, of_position, doubled)) - zero, 2 * (same - zero), atol=1e-5
    )


def test_values_in_other_units_than_the_models_are_refused(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, count=None)
    config = settings(calibration="archive")
    with open_pair(*pair) as opened:
        seen = observe_msi(opened.strips, opened.resampling.down)
        kept = calibrate(config, [LrScene(opened.read_lr() * 1e4, seen.msi_at_lr, seen.covered)])
    with pytest.raises(ModelError, match="other units"):
        fuse_and_read(tmp_path, pair, Fake(config, zeros, kept))
    assert not (tmp_path / "fused.tif").exists()


# Grids: values are linear in the ground coordinates, so each fused pixel tells where it lies.

LR_GRID = (NORTH_UP, 16, 18)


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


# Holes


def test_an_lr_hole_is_nodata_on_its_block_and_nowhere_else(tmp_path: Path) -> None:
    holes = [(3, 5), (0, 0), (15, 17)]
    whole = fuse_and_read(tmp_path, write_pair(tmp_path))
    for sampler in (None, Fake(settings())):
        fused = fuse_and_read(tmp_path, write_pair(tmp_path, lr_holes=holes), sampler)
        missing = np.zeros((64, 72), bool)
        for row, col in holes:
            missing[4 * row : 4 * row + 4, 4 * col : 4 * col + 4] = True
        assert (np.isnan(fused) == missing).all()
        assert np.abs(fused - whole)[:, ~missing].max() < 0.35
        far = np.ones((64, 72), bool)
        for row, col in holes:
            far[max(0, 4 * row - 12) : 4 * row + 16, max(0, 4 * col - 12) : 4 * col + 16] = False
        assert np.abs(fused - whole)[:, far].mean() < 0.02


def test_an_msi_hole_is_nodata_on_its_pixels_and_nowhere_else(tmp_path: Path) -> None:
    holes = np.s_[:, 20:23, 31:40]
    missing = np.zeros((64, 72), bool)
    missing[holes[1:]] = True
    for sampler in (None, Fake(settings(), of_position)):
        fused = fuse_and_read(tmp_path, write_pair(tmp_path, msi_holes=holes), sampler)
        assert (np.isnan(fused) == missing).all()
        assert np.nanmin(fused) > -0.3
        assert np.nanmax(fused) < 1.5


def test_a_hole_in_one_msi_band_is_a_hole(tmp_path: Path) -> None:
    fused = fuse_and_read(tmp_path, write_pair(tmp_path, msi_holes=np.s_[1, 20:23, 31:40]))
    missing = np.zeros((64, 72), bool)
    missing[20:23, 31:40] = True
    assert (np.isnan(fused) == missing).all()


def test_an_msi_band_missing_over_a_large_part_is_a_hole_there(tmp_path: Path) -> None:
    """However the scene is read: the part spans more than any strip or tile."""
    pair = write_pair(tmp_path, 160, 40, msi_holes=np.s_[1, :96])
    for sampler in (None, Fake(settings())):
        fused = fuse_and_read(tmp_path, pair, sampler)
        assert np.isnan(fused[:, :96]).all()
        assert np.isfinite(fused[:, 96:]).all()


def test_a_dead_band_of_the_lr_hsi_stays_dead_and_harms_nothing(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, count=None)
    values = read_back(lr)
    values[2] = np.nan
    dead = write_cube(tmp_path / "dead.tif", values, count=None)
    whole, fused = fuse_and_read(tmp_path, (lr, msi)), fuse_and_read(tmp_path, (dead, msi))
    assert np.isnan(fused[2]).all()
    others = [band for band in range(BANDS) if band != 2]
    np.testing.assert_allclose(fused[others], whole[others], atol=1e-5)


def test_a_wide_nodata_margin_draws_no_edge(tmp_path: Path) -> None:
    """The edge weights are the scene's; a margin as wide as a strip must not stretch their range."""
    lr, holed = write_pair(tmp_path, 288, 40, msi_holes=np.s_[:, :260])
    msi = write_cube(tmp_path / "faint.tif", 0.5 + 0.1 * read(holed), transform=FINE, count=None)
    with open_pair(lr, msi) as opened:
        _, high = observe_msi(opened.strips, opened.resampling.down).edge_range
    valid = read(msi)[:, 260:]
    magnitude = sobel_magnitude(np.pad(valid, ((0, 0), (1, 1), (1, 1)), mode="edge"))
    assert high == pytest.approx(float(magnitude.max()), rel=0.1)


def test_nan_without_a_declared_nodata_is_refused(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, lr_holes=[(3, 5)], msi_holes=np.s_[:, 40, 50], count=None)
    for damaged in (lr, msi):
        values = read_back(damaged)
        bare = damaged.with_name("bare.tif")
        with rasterio.open(damaged) as source:
            profile = source.profile | {"nodata": None}
        with rasterio.open(bare, "w", **profile) as dataset:
            dataset.write(values)
        with pytest.raises(InputError, match=r"bare\.tif holds NaN .* declares no nodata"):
            fuse_and_read(tmp_path, (bare, msi) if damaged == lr else (lr, bare))
        assert not (tmp_path / "fused.tif").exists()


def test_a_pair_without_a_valid_pixel_in_common(tmp_path: Path) -> None:
    every = [(row, col) for row in range(8) for col in range(9)]
    with pytest.raises(InputError, match="valid LR pixels"):
        fuse_and_read(tmp_path, write_pair(tmp_path, 32, 36, lr_holes=every))
    assert not (tmp_path / "fused.tif").exists()


# What is written


def test_the_output_keeps_what_is_known_of_the_hsi(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    fuse_and_read(tmp_path, pair, Fake(settings()), provenance={"emrdiff_seed": "7"})
    source, made = read_info(pair[0]), read_info(tmp_path / "fused.tif")
    assert made.bands == source.bands
    assert made.bands.wavelengths_nm == tuple(wavelengths(BANDS))
    assert (made.dtype, made.nodata) == ("int16", NODATA)
    assert made.scale == pytest.approx(COUNT)
    expected = {"emrdiff_method": "emrdiff", "emrdiff_lr_hsi": "lr.tif", "emrdiff_hr_msi": "msi.tif"}
    assert {**expected, "emrdiff_ratio": "4", "emrdiff_seed": "7"}.items() <= made.tags.items()


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("int16", NODATA), ("float32", np.nan), ("uint16", 65535), ("int32", -(2**31))]
)
def test_another_dtype_gets_a_nodata_of_its_own(tmp_path: Path, dtype: str, nodata: float) -> None:
    fused = fuse_and_read(tmp_path, write_pair(tmp_path, lr_holes=[(1, 1)]), dtype=dtype)
    info = read_info(tmp_path / "fused.tif")
    assert info.dtype == dtype
    np.testing.assert_equal(info.nodata, nodata)
    assert np.isnan(fused[:, 4:8, 4:8]).all()
    assert np.isnan(fused).sum() == BANDS * 16
    assert 0.2 < np.nanmean(fused) < 0.45


def test_values_beyond_the_range_are_clipped_and_counted(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    plain = fuse_and_read(tmp_path, pair, dtype="float32")
    report = fuse(*pair, tmp_path / "small.tif", "glp", None, FusionOptions(dtype="uint8", register="off"))
    stored = np.rint(plain / COUNT)
    assert report.clipped_values == pytest.approx(((stored < 0) | (stored > 255)).sum(), abs=3)
    assert read_back(tmp_path / "small.tif").max() == 255 - 1  # 255 is nodata


def test_report_and_plan_tell_the_same(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, lr_holes=[(0, 0)])
    options, seen = FusionOptions(tile=16, overlap=4), []
    facts = plan(*pair, tmp_path / "out.tif", settings(), "emrdiff", options)
    assert not (tmp_path / "out.tif").exists()
    report: FusionReport = fuse(
        *pair,
        tmp_path / "out.tif",
        "bicubic",
        Fake(settings()),
        options,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (facts.bands, facts.height, facts.width) == (report.bands, report.height, report.width)
    assert (facts.tiles, facts.ratio) == (report.tiles, report.ratio) == (30, 4)
    assert facts.uncompressed_bytes == read_back(tmp_path / "out.tif").nbytes
    assert report.valid_share == pytest.approx(1 - 16 / (64 * 72))
    assert seen == sorted(seen)
    assert seen[-1] == (64, 64)


def test_a_failing_sampler_leaves_the_output_as_it_was(tmp_path: Path) -> None:
    def fail(tile: TileInputs, corner: tuple[int, int]) -> Image:
        if corner[0] > 20:
            raise KeyboardInterrupt
        return zeros(tile, corner)

    pair = write_pair(tmp_path)
    fuse_and_read(tmp_path, pair)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        fuse_and_read(tmp_path, pair, Fake(settings(), fail))
    journal = tmp_path / ".fused.tif.journal"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path != journal} == before


def test_an_output_that_is_there_stays(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    fuse_and_read(tmp_path, pair)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        fuse_and_read(tmp_path, pair, overwrite=False)


# What does not fit


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"msi_bands": 4}, "takes 4 MSI bands"),
        ({"hsi_bands": 9, "subspace": 0}, "takes 9 HSI bands"),
        ({"hsi_bands": 9, "calibration": "archive"}, "takes 9 HSI bands"),
    ],
)
def test_a_model_for_other_bands(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    pair = write_pair(tmp_path)
    with pytest.raises(ModelError, match=said):
        fuse_and_read(tmp_path, pair, Fake(settings(**changes)))
    assert not (tmp_path / "fused.tif").exists()


def test_a_model_calibrated_on_the_scene_takes_any_number_of_hsi_bands(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, bands=11)
    check_fit(settings(), read_info(pair[0]), read_info(pair[1]))
    assert fuse_and_read(tmp_path, pair, Fake(settings())).shape == (11, 64, 72)


@pytest.mark.parametrize(
    "options",
    [
        {"tile": 17},
        {"tile": 16, "overlap": 9},
        {"overlap": 9},
        {"overlap": 16},
        {"overlap": -1},
        {"tile": -16},
        {"batch_size": 0},
        {"dtype": "real"},
        {"dtype": "complex64"},
        {"dtype": "bool"},
    ],
    ids=str,
)
def test_options_that_cannot_be(tmp_path: Path, options: dict[str, Any]) -> None:
    """The model's tile is 16."""
    pair = write_pair(tmp_path)
    with pytest.raises(UsageError):
        fuse_and_read(tmp_path, pair, Fake(settings()), **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lr.tif", "msi.tif"]


# Units, dead bands and margins with an archive's calibration


@pytest.mark.parametrize(
    ("changes", "other"),
    [
        ({}, "LR-HSI"),
        ({"subspace": 0}, "LR-HSI"),
        ({"subspace": 0, "units": "range"}, "LR-HSI"),
        ({"subspace": 0, "units": "range"}, "HR-MSI"),
    ],
    ids=str,
)
def test_either_input_in_other_units_than_the_models_is_refused(
    tmp_path: Path, changes: dict[str, Any], other: str
) -> None:
    """But for an MSI whose scale can be found (test_radiometry), for which `range` keeps too little."""
    lr, msi = write_pair(tmp_path, count=None)
    sampler = archive_fake((lr, msi), **changes)
    scaled = lr if other == "LR-HSI" else msi
    transform = read_info(scaled).grid.transform
    counts = write_cube(tmp_path / "counts.tif", 1e4 * read_back(scaled), transform=transform, count=None)
    with pytest.raises(ModelError, match=f"the {other}'s values .* other units"):
        fuse_and_read(tmp_path, (counts, msi) if other == "LR-HSI" else (lr, counts), sampler)


def test_dead_bands_cost_the_others_little_under_an_archives_basis(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, count=None)
    sampler = archive_fake((lr, msi))
    values = read_back(lr)
    values[2] = np.nan
    dead = write_cube(tmp_path / "dead.tif", values, count=None)
    whole, fused = fuse_and_read(tmp_path, (lr, msi), sampler), fuse_and_read(tmp_path, (dead, msi), sampler)
    others = [band for band in range(BANDS) if band != 2]
    assert np.isnan(fused[2]).all()
    assert np.abs(fused[others] - whole[others]).mean() < 0.2 * np.abs(whole[2]).mean()


def test_a_margin_without_data_does_not_leak_into_the_scene(tmp_path: Path) -> None:
    """The margin covers whole strips of the MSI."""
    truth = textured(BANDS, 512, 40)
    lr, msi = write_pair(tmp_path, 512, 40, msi_holes=np.s_[:, :256], count=None)
    fused = fuse_and_read(tmp_path, (lr, msi))
    error = np.abs(fused - truth).mean(axis=(0, 2))
    assert np.isnan(error[:256]).all()
    assert error[256:264].mean() < 2 * error[280:].mean()


def test_an_input_is_never_the_output(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    before = [path.read_bytes() for path in pair]
    for path in pair:
        with pytest.raises(UsageError, match="is an input"):
            fuse(*pair, path, "glp", None, FusionOptions(overwrite=True))
    assert [path.read_bytes() for path in pair] == before


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
@pytest.mark.parametrize("window", [(0, 0, 64, 72), (9, 13, 30, 27), (40, 50, 24, 22), (17, 5, 1, 1)])
@pytest.mark.parametrize(
    ("sampled", "method"), [(False, "glp-local"), (False, "kriging"), (True, "glp-local")]
)
def test_bounds_give_the_pixels_of_the_whole(
    tmp_path: Path, window: tuple[int, int, int, int], sampled: bool, method: str
) -> None:
    pair = write_pair(tmp_path, lr_holes=[(3, 4)])
    whole = fuse_and_read(tmp_path, pair, Fake(settings(), of_position) if sampled else None, method)
    row, col, height, width = window
    left, top = FINE @ (col, row)
    right, bottom = FINE @ (col + width, row + height)
    sampler = Fake(settings(), of_position) if sampled else None
    part = fuse_and_read(tmp_path, pair, sampler, method, bounds=(left, bottom, right, top))
    assert np.array_equal(part, whole[:, row : row + height, col : col + width], equal_nan=True)
    with rasterio.open(tmp_path / "fused.tif") as dataset:
        assert dataset.transform.almost_equals(FINE @ Affine.translation(col, row), precision=1e-6)
    if sampler is not None and window == (17, 5, 1, 1):
        assert sum(len(batch) for batch in sampler.batches) <= 4


def test_bounds_without_a_pixel(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    left, top = FINE @ (0, 0)
    for bounds in ((left - 100, top, left - 50, top + 50), (left + 50, top, left, top - 50)):
        with pytest.raises(GridError, match="no pixel of the common ground"):
            fuse_and_read(tmp_path, pair, bounds=bounds)


@pytest.mark.parametrize("driver", ["GTiff", "ENVI"])
def test_bands_are_marked_covered_or_extrapolated(tmp_path: Path, driver: Driver) -> None:
    lr, msi = write_pair(tmp_path)
    with rasterio.open(lr, "r+") as dataset:
        for band in range(1, BANDS + 1):
            dataset.update_tags(band, wavelength=str(400 + 50 * band), wavelength_units="nm", fwhm="10")
    with rasterio.open(msi, "r+") as dataset:
        for band, centre in enumerate((450, 550, 650), 1):
            dataset.update_tags(band, wavelength=str(centre), wavelength_units="nm", fwhm="60")
    output = tmp_path / ("fused.dat" if driver == "ENVI" else "fused.tif")
    fuse(lr, msi, output, "glp", None, FusionOptions(driver=driver))
    seen = [band % 2 == 1 and band < 7 for band in range(1, BANDS + 1)]
    expected = ["covered" if covered else "extrapolated" for covered in seen]
    if driver == "ENVI":
        header = output.with_suffix(".hdr").read_text()
        assert f"emrdiff detail = {{{', '.join(expected)}}}" in header.replace("\n", " ")
    else:
        with rasterio.open(output) as dataset:
            assert [dataset.tags(band)["emrdiff_detail"] for band in dataset.indexes] == expected
            assert dataset.tags()["emrdiff_detail_by"] == "wavelengths"
