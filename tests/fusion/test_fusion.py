"""Fusion with a sampler of two lines: values, tiles and holes, without a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from emrdiff_cli.core.diffusion.conditioning import TileInputs, calibrate
from emrdiff_cli.core.sensor.edges import sobel_magnitude
from emrdiff_cli.core.sensor.observation import LrScene, observe_msi
from emrdiff_cli.errors import InputError, ModelError, UsageError
from emrdiff_cli.fusion.fusing import FusionOptions, fuse
from emrdiff_cli.fusion.fusion_plan import plan
from emrdiff_cli.methods import END_POINTS
from emrdiff_cli.pair.pair import open_pair
from tests.support.pairs import BANDS, FINE, write_pair
from tests.support.rasters import NORTH_UP, read_back
from tests.support.samplers import Fake, Image, fuse_and_read, of_position, settings, zeros
from tests.support.scenes import read, textured, write_cube

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
    truth = textured(BANDS, 64, 72)
    if method == "kriging":  # a model starts from one that is not made to agree with the MSI
        assert 0 < np.abs(by_sampler - by_method).mean() < 0.1 * np.abs(by_method - truth).mean()
    else:
        np.testing.assert_allclose(by_sampler, by_method, atol=1e-6)
    assert np.abs(by_method - truth).mean() < (0.08 if method == "bicubic" else 0.035)


@pytest.mark.slow
@pytest.mark.parametrize("residual", ["multimodal", "unimodal"])
@pytest.mark.parametrize("noise", ["edge", "gaussian"])
def test_tiles_batches_and_overlap_do_not_change_the_end_point(
    tmp_path: Path, residual: str, noise: str
) -> None:
    pair = write_pair(tmp_path, 48, 40, count=None)
    sampler = Fake(settings(residual=residual, noise=noise))
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
    pair, sampler = write_pair(tmp_path, 48, 40, count=None), Fake(settings(**changes), of_position)
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

    def fused(sampler: Fake) -> Image:
        return fuse_and_read(tmp_path, pair, sampler, physical=False)

    own, same = fused(Fake(settings(), of_position)), fused(Fake(config, of_position, kept))
    np.testing.assert_allclose(same, own, atol=1e-5)
    doubled = replace(kept, channels=replace(kept.channels, unit=2 * kept.channels.unit))
    zero, twice = fused(Fake(config, zeros, kept)), fused(Fake(config, of_position, doubled))
    np.testing.assert_allclose(twice - zero, 2 * (same - zero), atol=1e-5)


def test_values_in_other_units_than_the_models_are_refused(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, count=None)
    config = settings(calibration="archive")
    with open_pair(*pair) as opened:
        seen = observe_msi(opened.strips, opened.resampling.down)
        kept = calibrate(config, [LrScene(opened.read_lr() * 1e4, seen.msi_at_lr, seen.covered)])
    with pytest.raises(ModelError, match="other units"):
        fuse_and_read(tmp_path, pair, Fake(config, zeros, kept))
    assert not (tmp_path / "fused.tif").exists()


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
