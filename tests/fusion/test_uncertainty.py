"""`fuse --uncertainty`: deviations on the output's grid, about as large as the errors; refused where unknown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from emrdiff_cli.pair.geometry import PairGeometry, pair_tag
from tests.support.front_door import Run, front_door
from tests.support.pairs import write_pair
from tests.support.scenes import read, textured

BANDS, HEIGHT, WIDTH = 8, 64, 72


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    return front_door(monkeypatch, capfd)


def test_it_lies_on_the_output_and_tells_its_errors(command: Run, tmp_path: Path) -> None:
    hole = np.s_[:, 8:12, 8:12]
    lr, msi = write_pair(tmp_path, HEIGHT, WIDTH, msi_holes=hole)
    out, told, mean = (tmp_path / name for name in ("out.tif", "told.tif", "told_mean.tif"))
    options = ("--method", "kriging", "--uncertainty", told, "--quiet")
    assert command("fuse", lr, msi, out, *options).code == 0
    with rasterio.open(out) as fused, rasterio.open(told) as source, rasterio.open(mean) as of_mean:
        for raster in (source, of_mean):
            assert (raster.crs, raster.transform, raster.shape) == (fused.crs, fused.transform, fused.shape)
            assert set(raster.dtypes) == {"float32"}
            assert raster.tags()["emrdiff_method"] == "kriging"
        assert (source.count, of_mean.count) == (fused.count, 1)
        assert source.scales == fused.scales
        assert source.descriptions == fused.descriptions
        for band in fused.indexes:
            known = source.tags(band)
            assert known["wavelength"] == fused.tags(band)["wavelength"]
            assert 0 < float(known["emrdiff_interval_scale"]) < 20
        half = float(source.tags()["emrdiff_interval_half"])
        assert "reduced resolution" in source.tags()["emrdiff_interval_scale_by"]
    values, deviation = read(out), read(told)
    np.testing.assert_array_equal(np.isnan(deviation), np.isnan(values))
    assert np.isnan(deviation[hole]).all()
    np.testing.assert_allclose(read(mean)[0], deviation.mean(axis=0), rtol=1e-5)
    z = (np.abs(values - textured(BANDS, HEIGHT, WIDTH)) / deviation)[:, ~np.isnan(deviation[0])]
    assert 0.75 < (z < 1.645).mean() < 0.99
    assert 0.35 < (z < 0.6745 * half).mean() < 0.8


def test_a_masked_middle_and_bands_that_are_saturated_or_one_leave_it_told(
    command: Run, tmp_path: Path
) -> None:
    lr, msi = write_pair(tmp_path, 72, 72, ratio=2)
    with rasterio.open(msi, "r+") as source:
        values = source.read()
        values[:, 10:60, 10:72] = source.nodata
        values[0, :10, :40] = 9000  # all that is seen of a corner
        values[2] = values[1]
        source.write(values)
    told = tmp_path / "told.tif"
    options = ("--method", "kriging", "--register", "off", "--uncertainty", told, "--quiet")
    assert command("fuse", lr, msi, tmp_path / "out.tif", *options) == (0, "", "")
    np.testing.assert_array_equal(np.isnan(read(told)), np.isnan(read(tmp_path / "out.tif")))
    with rasterio.open(told) as source:
        assert "held-out bands" in source.tags()["emrdiff_interval_scale_by"]


def test_standard_errors_of_the_geometry_widen_it_where_the_image_is_steep(
    command: Run, tmp_path: Path
) -> None:
    lr, msi = write_pair(tmp_path, 32, 40)
    told, errors = [], ((0.0, 0.0), (0.1, 0.0))
    for number, by in enumerate(errors):
        for path in (lr, msi):
            with rasterio.open(path, "r+") as source:
                source.update_tags(**pair_tag(PairGeometry(move_errors=by, known=True)))
        out, file = tmp_path / f"out{number}.tif", tmp_path / f"told{number}.tif"
        ended = command("fuse", lr, msi, out, "--method", "kriging", "--uncertainty", file, "--json")
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["shift_standard_error_lr_px"] == list(by)
        with rasterio.open(out) as fused:
            assert fused.tags()["emrdiff_shift_standard_error_lr_px"] == f"{by[0]:.5f},{by[1]:.5f}"
        told.append(np.square(read(file)))
    steep = np.square(0.1 * np.gradient(read(lr), axis=1)).repeat(4, axis=1).repeat(4, axis=2)
    more = told[1] - told[0]
    assert 0.4 < more.mean() / steep.mean() < 1.2  # less what the evidence at LR held of it
    assert np.corrcoef(more.ravel(), steep.ravel())[0, 1] > 0.6


def test_draws_lie_around_the_fused_cube_as_wide_as_the_deviations(command: Run, tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, 32, 40)
    out, told, again = tmp_path / "out.tif", tmp_path / "told.tif", tmp_path / "again"
    again.mkdir()
    asked = (
        "--method",
        "kriging",
        "--register",
        "off",
        "-q",
        "--dtype",
        "float32",
        "--seed",
        "3",
        "--no-physical",
    )
    draws = ("--samples", "20", "--samples-dir", tmp_path, "--uncertainty", told)
    assert command("fuse", lr, msi, out, *asked, *draws).code == 0
    cubes = np.stack([read(tmp_path / f"out_sample_{number:02}.tif") for number in range(1, 21)])
    z = (cubes - read(out)) / read(told)
    assert abs(z.mean()) < 0.1
    assert 0.75 < np.sqrt(np.square(z).mean()) < 1.25
    assert np.abs(z.mean(axis=0)).mean() < 0.3  # of standard error 0.22
    options = ("--samples", "1", "--samples-dir", again, "--overwrite")
    assert command("fuse", lr, msi, out, *asked, *options).code == 0
    np.testing.assert_array_equal(read(again / "out_sample_01.tif"), cubes[0])
    refused = command("fuse", lr, msi, tmp_path / "other.tif", "--method", "kriging", "--samples", "1")
    assert (refused.code, "--samples-dir" in refused.err) == (2, True)
    out.unlink()
    refused = command("fuse", lr, msi, out, *asked, *options[:-1])
    assert "--overwrite" in refused.err


@pytest.mark.slow
def test_a_part_is_as_in_the_whole(command: Run, tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, HEIGHT, WIDTH)
    found = []
    with rasterio.open(msi) as source:
        left, bottom, right, top = source.bounds
        side = source.res[0]
    part = (left + 8 * side, bottom + 12 * side, right - 16 * side, top - 20 * side)
    for name, bounds in (("whole", ()), ("part", ("--bounds", *part))):
        told = tmp_path / f"{name}_told.tif"
        options = ("--method", "kriging", "--register", "off", "--uncertainty", told, "--quiet")
        assert command("fuse", lr, msi, tmp_path / f"{name}.tif", *options, *bounds).code == 0
        found.append(read(told))
    np.testing.assert_array_equal(found[1], found[0][:, 20 : HEIGHT - 12, 8 : WIDTH - 16])


@pytest.mark.slow
def test_changed_ground_without_detail_is_as_uncertain_as_it_is_wrong(command: Run, tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, HEIGHT, WIDTH)
    cloud = np.s_[:, 24:44, 28:48]
    with rasterio.open(msi, "r+") as source:
        values = source.read()
        values[cloud] = 0.3 * values[cloud] + 0.6 * values.max()
        source.write(values)
    out, told, changed = (tmp_path / name for name in ("out.tif", "told.tif", "changed.tif"))
    asked = ("--method", "kriging", "--register", "off", "--no-physical", "-q", "--dtype", "float32")
    files = ("--uncertainty", told, "--changed", changed, "--samples", 1, "--samples-dir", tmp_path)
    assert command("fuse", lr, msi, out, *asked, *files).code == 0
    gone = np.kron(read(changed)[0], np.ones((4, 4))) == 1
    assert gone[24:44, 28:48].mean() > 0.5
    values, deviation, drawn = read(out), read(told), read(tmp_path / "out_sample_01.tif")
    z = ((values - textured(BANDS, HEIGHT, WIDTH)) / deviation)[:, gone]
    assert 0.5 < np.sqrt(np.square(z).mean()) < 1.5
    assert deviation[:, gone].mean() > 2 * np.median(deviation)
    of_draw = ((drawn - values) / deviation)[:, gone]
    assert 0.8 < np.sqrt(np.square(of_draw).mean()) < 1.2


def test_it_replaces_nothing_unasked_and_is_krigings_alone(command: Run, tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, 32, 32)
    out, told = tmp_path / "out.tif", tmp_path / "told.tif"
    refused = command("fuse", lr, msi, out, "--method", "glp", "--uncertainty", told)
    assert refused.code == 2
    assert "--method kriging" in refused.err
    for place in (lr, msi, out):
        options = ("--method", "kriging", "--uncertainty", place, "--overwrite")
        assert command("fuse", lr, msi, out, *options).code == 2
    for name in ("told.tif", "told_mean.tif"):
        there = tmp_path / name
        there.write_text("of somebody")
        refused = command("fuse", lr, msi, out, "--method", "kriging", "--uncertainty", told)
        assert "--overwrite" in refused.err
        assert (there.read_text(), out.exists()) == ("of somebody", False)
        there.unlink()


def test_a_manifest_names_it(command: Run, tmp_path: Path) -> None:
    write_pair(tmp_path, 32, 32)
    lr, msi = (path.name for path in write_pair(tmp_path, 32, 32))
    listed = tmp_path / "pairs.csv"
    listed.write_text(f"lr_hsi,hr_msi,output,uncertainty\n{lr},{msi},out.tif,told.tif\n")
    asked = ("fuse", "--manifest", listed, "--method", "kriging", "--register", "off")
    assert command(*asked, "--quiet").code == 0
    assert np.isfinite(read(tmp_path / "told.tif")).all()
    assert "skipped" in command(*asked, "--skip-done").out
