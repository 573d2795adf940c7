"""What a fusion writes and reports, and which models, options and inputs it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from emrdiff_cli.core.diffusion.conditioning import TileInputs
from emrdiff_cli.errors import ModelError, OutputExistsError, UsageError
from emrdiff_cli.fusion.fusing import FusionOptions, FusionReport, check_fit, fuse
from emrdiff_cli.fusion.fusion_plan import plan
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.raster.spec import Driver
from tests.support.pairs import BANDS, write_pair
from tests.support.rasters import read_back
from tests.support.samplers import Fake, Image, archive_fake, fuse_and_read, settings, zeros
from tests.support.scenes import COUNT, NODATA, textured, wavelengths, write_cube

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
    report = fuse(
        *pair, tmp_path / "small.tif", "glp", None, FusionOptions(dtype="uint8", clip=True, register="off")
    )
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
        progress=lambda done, total, note="": seen.append((done, total)),
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
