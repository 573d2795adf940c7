"""Bands marked bad in `bbl`: passed through, and without a say in anything else, in fusion and in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from emrdiff_cli.core.diffusion.supervision import end_point_image, mean_psnr, mean_sam_deg
from emrdiff_cli.core.sensor.holes import fill_dead_bands
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.errors import InputError
from emrdiff_cli.fusion.fusing import FusionOptions, fuse
from emrdiff_cli.pair.pair import open_pair
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.training.examples import read_archive, read_scene
from emrdiff_cli.training.loop import train
from emrdiff_cli.training.model_folder import make_job
from tests.support.pairs import BANDS, write_pair
from tests.support.rasters import read_back
from tests.support.samplers import Fake, archive_fake, fuse_and_read, of_position, settings
from tests.support.scenes import COUNT, NODATA, read, simulate, textured, write_cube
from tests.support.training_archives import RESPONSE, SIDE, SMALL_MODEL, SMALL_TRAINING, same, write_archive

Image = NDArray[np.float32]
BAD = (0, 3, 4)
GOOD = tuple(band for band in range(BANDS) if band not in BAD)
RNG = np.random.default_rng(0)
GARBAGE: dict[str, Callable[[Image], Image]] = {
    "random": lambda band: RNG.normal(0.3, 5, band.shape).astype(np.float32),
    "huge": lambda band: np.full_like(band, 1e30),
    "largest": lambda band: np.full_like(band, np.finfo(np.float32).max) * RNG.choice([-1, 1], band.shape),
    "NaN": lambda band: np.full_like(band, np.nan),
    "NaN here and there": lambda band: np.where(RNG.random(band.shape) < 0.3, np.nan, 7).astype(np.float32),
    "zero": np.zeros_like,
}


def mark(path: Path, bad: tuple[int, ...] = BAD) -> Path:
    with rasterio.open(path, "r+") as dataset:
        for band in dataset.indexes:
            dataset.update_tags(band, bbl=str(int(band - 1 not in bad)))
    return path


def garbled(lr: Path, garbage: str, folder: Path, **options: Any) -> Path:
    """With one kind of garbage in all bad bands, or `mixed`: another in each."""
    values = read(lr)
    kinds = ("huge", "NaN here and there", "random") if garbage == "mixed" else (garbage,) * len(BAD)
    for band, kind in zip(BAD, kinds, strict=True):
        values[band] = GARBAGE[kind](values[band])
    return mark(write_cube(folder / "garbled.tif", values, count=None, **options))


def upsampled(pair: tuple[Path, Path]) -> Image:
    with open_pair(*pair) as opened:
        return np.asarray(apply_taps(opened.read_lr(), *opened.resampling.up), np.float32)


def by(way: str, folder: Path) -> dict[str, Any]:
    """The method or the sampler of a way to fuse; an archive's calibration is that of a pair without holes."""
    if way in ("bicubic", "glp", "glp-local", "kriging"):
        return {"method": way}
    changes = {"subspace": 0} if way.endswith("all bands") else {}
    if way.startswith("scene"):
        return {"sampler": Fake(settings(**changes), of_position)}
    archive = archive_fake(write_pair(folder, count=None), **changes)
    return {"sampler": replace(archive, estimate=of_position)}


WAYS = (
    *("bicubic", "glp", "glp-local", "kriging"),
    *("scene's calibration", "scene's, all bands", "archive's calibration", "archive's, all bands"),
)


# Fusion


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_garbage_in_bad_bands_leaves_the_others_as_they_are(tmp_path: Path, way: str) -> None:
    how = by(way, tmp_path)
    lr, msi = write_pair(tmp_path, 48, 48, count=None, lr_holes=[(3, 5)])
    mark(lr)
    expected = fuse_and_read(tmp_path, (lr, msi), **how)[list(GOOD)]
    assert np.isfinite(expected).mean() > 0.99
    for garbage in GARBAGE:
        fused = fuse_and_read(tmp_path, (garbled(lr, garbage, tmp_path), msi), **how)
        np.testing.assert_array_equal(fused[list(GOOD)], expected, err_msg=garbage)


@pytest.mark.parametrize("way", WAYS)
def test_bad_bands_are_the_upsampled_lr_hsi(tmp_path: Path, way: str) -> None:
    how = by(way, tmp_path)
    lr, msi = write_pair(tmp_path, count=None)
    noise = garbled(lr, "random", tmp_path)
    fused = fuse_and_read(tmp_path, (noise, msi), **how)
    np.testing.assert_allclose(fused[list(BAD)], upsampled((noise, msi))[list(BAD)], atol=1e-5)
    if way != "bicubic":
        assert np.abs(fused[list(GOOD)] - upsampled((noise, msi))[list(GOOD)]).max() > 0.05


def test_where_upsampling_overflows_the_nearest_value_stands(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, count=None)
    pair = garbled(lr, "largest", tmp_path), msi
    fused = fuse_and_read(tmp_path, pair)[list(BAD)]
    assert np.isfinite(fused).all()
    nearest = np.kron(read(pair[0])[list(BAD)], np.ones((1, 4, 4), np.float32))
    assert (np.sign(fused) == np.sign(nearest)).mean() > 0.7
    assert np.abs(fused).max() > 3e38


def test_the_output_marks_them_and_the_report_names_them(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path)
    report = fuse(mark(lr), msi, tmp_path / "fused.tif", "glp", None, FusionOptions())
    assert any(note.endswith("used for no other: 1, 4-5") for note in report.notes)
    assert read_info(tmp_path / "fused.tif").bands.bad == BAD


@pytest.mark.parametrize("count", [None, COUNT])
def test_a_hole_of_a_bad_band_is_its_own(tmp_path: Path, count: float | None) -> None:
    lr, msi = write_pair(tmp_path, count=None, lr_holes=[(9, 9)])
    values = read(lr)
    values[3, 5, 6:8] = np.nan
    fused = fuse_and_read(tmp_path, (mark(write_cube(tmp_path / "holed.tif", values, count=count)), msi))
    missing = np.zeros((BANDS, 64, 72), bool)
    missing[:, 36:40, 36:40] = True
    missing[3, 20:24, 24:32] = True
    assert (np.isnan(fused) == missing).all()


def test_nan_in_bad_bands_needs_no_declared_nodata(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, count=None)
    expected = fuse_and_read(tmp_path, (mark(lr), msi))
    values = read_back(lr)
    values[3, 2, 2] = np.nan

    def bare(name: str) -> Path:
        with rasterio.open(lr) as source:
            profile, tags = source.profile | {"nodata": None}, [source.tags(i) for i in source.indexes]
        with rasterio.open(tmp_path / name, "w", **profile) as dataset:
            dataset.write(values)
            for band, own in enumerate(tags, 1):
                dataset.update_tags(band, **own)
        return tmp_path / name

    fused = fuse_and_read(tmp_path, (bare("bad.tif"), msi))
    np.testing.assert_array_equal(fused[list(GOOD)], expected[list(GOOD)])
    assert np.isnan(fused[3, 8:12, 8:12]).all()
    values[1, 2, 2] = np.nan
    with pytest.raises(InputError, match="declares no nodata"):
        fuse_and_read(tmp_path, (bare("good.tif"), msi))


def test_a_list_that_marks_every_band_says_nothing(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path)
    expected = fuse_and_read(tmp_path, (lr, msi))
    np.testing.assert_array_equal(fuse_and_read(tmp_path, (mark(lr, tuple(range(BANDS))), msi)), expected)


def test_a_model_of_fixed_bands_sees_them_interpolated_over_wavelength(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, count=None)
    seen: list[Image] = []

    def look(tile: Any, _corner: tuple[int, int]) -> Image:
        seen.append(tile.a_0[:BANDS])
        return np.zeros_like(tile.a_0)

    sampler = replace(archive_fake((lr, msi), subspace=0, end_point="bicubic", tile=80), estimate=look)
    fuse_and_read(tmp_path, (garbled(lr, "huge", tmp_path), msi), sampler)
    assert sampler.calibration is not None
    channels = sampler.calibration.channels
    values = seen[0][:, :64, :72] * channels.hsi_scale[:, None, None] + channels.hsi_shift[:, None, None]
    np.testing.assert_allclose(values[0], values[1], atol=1e-5)
    np.testing.assert_allclose(values[3], (2 * values[2] + values[5]) / 3, atol=1e-5)


def test_dead_bands_are_interpolated_over_positions_in_any_order() -> None:
    at = [500.0, 400.0, 460.0, 600.0, 430.0]
    image = np.asarray(at, np.float32)[:, None, None] * np.ones((5, 2, 3), np.float32)
    dead = np.array([False, False, True, False, True])
    image[dead] = 0
    filled = fill_dead_bands(image, dead, at)
    np.testing.assert_allclose(filled[:, 0, 0], at)
    ends = fill_dead_bands(image, np.array([True, False, False, True, False]), at)
    assert (ends[0] == ends[3]).all()


# Training


def weights_of(examples: Any, folder: Path, **changes: Any) -> tuple[dict[str, torch.Tensor], list[Any]]:
    folder.mkdir()
    job = make_job(examples, SMALL_MODEL | {"levels": 1} | changes, SMALL_TRAINING | {"iterations": 3})
    model, history = train(job.training_set, job.model, job.training, folder, torch.device("cpu"))
    return model.state_dict(), history


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"subspace": 0}, {"calibration": "scene"}], ids=str)
def test_training_on_a_pair_learns_nothing_from_them(tmp_path: Path, changes: dict[str, Any]) -> None:
    lr, msi = write_pair(tmp_path, 128, 144, count=None)
    mark(lr)
    expected, history = weights_of(read_scene(lr, msi, 0.25), tmp_path / "clean", **changes)
    assert history[-1].end_point_db > 20
    pair = garbled(lr, "mixed", tmp_path), msi
    weights, scores = weights_of(read_scene(*pair, 0.25), tmp_path / "garbled", **changes)
    assert same(weights, expected)
    assert scores == history


def test_training_on_an_archive_learns_nothing_from_them(tmp_path: Path) -> None:
    trained = []
    for garbage in (None, "mixed"):
        archive = write_archive(tmp_path / f"archive {garbage}")
        for number in range(3):
            values = textured(BANDS, SIDE, SIDE, number)
            path = write_cube(archive / f"scene-{number}.tif", values, count=None)
            mark(path) if garbage is None else garbled(path, garbage, archive).replace(path)
        trained.append(weights_of(read_archive(archive, 4, RESPONSE, 0.3), tmp_path / f"of {garbage}"))
    (weights, history), (others, scores) = trained
    assert same(others, weights)
    assert scores == history
    assert (weights["vectors"].any(dim=1).numpy() == [band in GOOD for band in range(BANDS)]).all()


def test_validation_is_over_the_good_bands(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, 128, 144, count=None)
    job = make_job(read_scene(mark(lr), msi, 0.25), SMALL_MODEL, SMALL_TRAINING)
    (sample,) = job.training_set.held_out
    image = end_point_image(sample)
    expected = mean_psnr(image, sample, 1.0)
    image[list(BAD)] = 9
    assert mean_psnr(image, sample, 1.0) == expected
    image[GOOD[0]] += 0.1
    assert mean_psnr(image, sample, 1.0) < expected
    # A pixel without a spectrum has no angle, as in `evaluate`.
    image[:] = sample.pair.hr_hsi
    image[:, *np.argwhere(sample.pair.scored)[0]] = 0
    assert mean_sam_deg(image, sample) < 1e-3


def test_simulated_pairs_are_made_without_them(tmp_path: Path) -> None:
    cube = mark(write_cube(tmp_path / "cube.tif", textured(BANDS, 32, 32), count=None))
    lr, msi, _ = simulate(tmp_path, cube)
    expected = read(lr)[list(GOOD)], read(msi)
    lr, msi, _ = simulate(tmp_path, garbled(cube, "mixed", tmp_path), overwrite=True)
    np.testing.assert_allclose(
        read(lr)[list(GOOD)], expected[0], rtol=3e-7
    )  # a matrix product of other shapes
    np.testing.assert_allclose(read(msi), expected[1], rtol=3e-7)
    assert np.isnan(read(lr)[3]).any()


def test_nodata_is_the_garbage_of_counts(tmp_path: Path) -> None:
    """In an integer raster a bad band that is nodata throughout."""
    lr, msi = write_pair(tmp_path)
    expected = fuse_and_read(tmp_path, (mark(lr), msi), method="glp-local")
    with rasterio.open(lr, "r+") as dataset:
        for band in BAD:
            dataset.write(np.full(dataset.shape, NODATA, "int16"), band + 1)
    fused = fuse_and_read(tmp_path, (lr, msi), method="glp-local")
    np.testing.assert_array_equal(fused[list(GOOD)], expected[list(GOOD)])
    assert np.isnan(fused[list(BAD)]).all()
