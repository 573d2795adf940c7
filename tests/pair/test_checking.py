"""A pair looked at before it is fused: where it lies, what is wrong with it, and what that will cost."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.warp import Resampling, reproject, transform_bounds

from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.survey import BandStates, BandSurvey
from emrdiff_cli.errors import InputError
from emrdiff_cli.pair.check import Check, check
from emrdiff_cli.pair.rehearsal import rehearsal_ratio, rehearse
from emrdiff_cli.raster.acquisition import acquired_on
from tests.support.pairs import BERLIN, BY, RATIO, SIDE, displaced, see, write_pair
from tests.support.rasters import NORTH_UP, UTM33, pixels, read_back, write_tif
from tests.support.scenes import NODATA, textured, write_cube

FINE = NORTH_UP @ Affine.scale(1 / RATIO)


def tagged(path: Path, band: dict[int, dict[str, Any]] | None = None, **tags: str) -> Path:
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**tags)
        for number, own in (band or {}).items():
            dataset.update_tags(number, **own)
    return path


def test_a_pair_in_order(tmp_path: Path) -> None:
    result = check(*displaced(tmp_path, (0.0, 0.0)))
    assert result.usable
    assert (result.problems, result.warnings, result.notes) == ((), (), ())
    assert result.crs_agree
    assert result.lr_hsi.crs == result.hr_msi.crs == "WGS 84 / UTM zone 33N"
    assert result.ratio == (4, 4)
    assert result.sampling_phase_hr_px == (0, 0)
    for raster in (result.lr_hsi, result.hr_msi):
        assert (raster.overlap, raster.nodata_share, raster.saturated_share) == (1, 0, 0)
        assert raster.dead_bands == raster.constant_bands == raster.saturated_bands == ()
    assert result.shift is not None
    assert result.shift.confidence > 0.99
    assert result.shift.cost_db == pytest.approx(0, abs=0.1)
    assert result.psf is not None
    assert result.psf.fwhm_hr_px == pytest.approx(4, rel=0.02)
    assert result.psf.assumed_fwhm_hr_px == 4
    assert result.psf.cost_db == pytest.approx(0, abs=0.3)
    assert result.wald_ratio == (4, 4)


def test_a_displaced_pair(tmp_path: Path) -> None:
    result = check(*displaced(tmp_path))
    assert result.usable
    assert result.shift is not None
    assert (result.shift.rows_lr_px, result.shift.cols_lr_px) == pytest.approx((-BY[0], -BY[1]), abs=0.02)
    assert (result.shift.rows_hr_px, result.shift.cols_hr_px) == pytest.approx((-1.6, 2.8), abs=0.08)
    assert result.shift.cost_db is not None
    assert result.shift.cost_db > 3
    assert "--register off" in result.warnings[0]
    assert result.sampling_phase_hr_px == pytest.approx((-0.4, 0.2), abs=1e-3)
    assert result.lr_hsi.overlap == pytest.approx(39.6 / 40 * 39.3 / 40, abs=0.01)
    assert result.hr_msi.overlap == result.lr_hsi.overlap


def test_another_psf(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, 160, 160)
    truth = textured(8, 160, 160)
    write_cube(lr, blurred(truth, 1.5 * RATIO))
    result = check(lr, msi)
    assert result.psf is not None
    assert result.psf.fwhm_hr_px == pytest.approx(1.5 * RATIO, rel=0.05)
    assert result.psf.cost_db is not None
    assert result.psf.cost_db > 0.5
    assert any("PSF is 5.9" in line or "PSF is 6.0" in line for line in result.warnings)
    assert result.shift is not None
    assert abs(result.shift.rows_lr_px) < 0.02


def blurred(truth: Any, fwhm: float) -> Any:
    from emrdiff_cli.core.sensor.grid import AxisPlacement
    from emrdiff_cli.core.sensor.resampling import apply_taps, gaussian_downsampler

    taps = gaussian_downsampler(
        AxisPlacement(RATIO, 0.0), truth.shape[1] // RATIO, truth.shape[1], fwhm / 2.355
    )
    return apply_taps(truth, taps, taps)


@pytest.mark.parametrize("by", [(0.0, 0.0), BY])
def test_a_pair_in_two_crss(tmp_path: Path, by: tuple[float, float]) -> None:
    lr, msi = displaced(tmp_path, by)
    result = check(warped(lr, tmp_path / "warped.tif", "EPSG:32632"), msi)
    assert result.usable
    assert not result.crs_agree
    assert "warped" in result.notes[0]
    assert result.shift is not None
    assert (result.shift.rows_lr_px, result.shift.cols_lr_px) == pytest.approx((-by[0], -by[1]), abs=0.05)


def warped(source: Path, target: Path, crs: str) -> Path:
    with rasterio.open(source) as dataset:
        left, bottom, right, top = transform_bounds(dataset.crs, crs, *dataset.bounds)
        transform = Affine(30, 0, left, 0, -30, top)
        height, width = int((top - bottom) / 30) + 1, int((right - left) / 30) + 1
        values = np.full((dataset.count, height, width), NODATA, np.int16)
        reproject(
            rasterio.band(dataset, list(dataset.indexes)),
            values,
            dst_transform=transform,
            dst_crs=crs,
            dst_nodata=NODATA,
            resampling=Resampling.cubic,
        )
    return write_tif(target, values, crs=crs, transform=transform, nodata=NODATA)


# What makes fusion meaningless


@pytest.mark.parametrize(
    ("place", "what"),
    [
        (NORTH_UP @ Affine.translation(1000, 0), "no ground in common"),
        (NORTH_UP @ Affine.scale(0.2), "not finer"),
    ],
)
def test_grids_that_do_not_fit(tmp_path: Path, place: Affine, what: str) -> None:
    lr, msi = write_pair(tmp_path)
    write_cube(lr, see_lr(), transform=place)
    result = check(lr, msi)
    assert not result.usable
    assert what in result.problems[0]
    assert (result.ratio, result.shift, result.lr_hsi.overlap) == (None, None, None)
    assert result.lr_hsi.crs is not None


def see_lr() -> Any:
    return textured(8, 64, 72).reshape(8, 16, 4, 18, 4).mean(axis=(2, 4))


def test_unrelated_images(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, SIDE, SIDE)
    write_cube(msi, see(textured(8, SIDE, SIDE, seed=5)), transform=FINE)
    result = check(lr, msi)
    assert not result.usable
    assert "do not correlate" in result.problems[0]
    assert result.shift is not None
    assert (result.shift.rows_lr_px, result.shift.confidence, result.shift.cost_db) == (0, 0, None)
    assert result.shift.standard_error_lr_px is None


@pytest.mark.parametrize("which", [0, 1])
def test_nothing_valid(tmp_path: Path, which: int) -> None:
    pair = write_pair(tmp_path)
    with rasterio.open(pair[which], "r+") as dataset:
        dataset.write(np.full_like(dataset.read(), NODATA))
    result = check(*pair)
    assert not result.usable
    assert pair[which].name in result.problems[0]
    assert (result.lr_hsi, result.hr_msi)[which].nodata_share == 1


def test_too_few_valid_pixels(tmp_path: Path) -> None:
    result = check(*write_pair(tmp_path, msi_holes=np.s_[:, 6:]))
    assert not result.usable
    assert "valid LR pixels lie wholly on valid MSI pixels" in result.problems[0]


def test_undeclared_nan(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path)
    values = see_lr()
    values[:, 3, 3] = np.nan
    write_tif(lr, values.astype("float32"))
    result = check(lr, msi)
    assert not result.usable
    assert "declares no nodata" in result.problems[0]
    with pytest.raises(InputError, match="no such file"):
        check(tmp_path / "none.tif", msi)


# Bands, holes and dates


def test_holes_and_bands_are_reported(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, 128, 128, msi_holes=np.s_[:, :32, :64])
    with rasterio.open(lr, "r+") as dataset:
        values = dataset.read()
        values[:, 8:12, 8:24] = NODATA
        values[2] = NODATA
        values[4][values[4] != NODATA] = 77
        values[6][(values[6] != NODATA) & (values[6] > np.median(values[6]))] = 9000
        dataset.write(values)
        for band in dataset.indexes:
            dataset.update_tags(band, bbl=str(int(band != 3)))
    result = check(lr, msi)
    assert result.lr_hsi.nodata_share == pytest.approx(64 / 1024)
    assert result.hr_msi.nodata_share == pytest.approx(1 / 8)
    assert result.lr_hsi.bad_bands == result.lr_hsi.dead_bands == (3,)
    assert result.hr_msi.bad_bands is None
    assert result.lr_hsi.constant_bands == (5,)
    assert result.lr_hsi.saturated_bands == (7,)
    assert result.lr_hsi.saturated_share == pytest.approx(0.5 / 7, rel=0.1)
    said = " ".join(result.warnings)
    assert "one value alone in band 5" in said
    assert "cut off at their maximum in band 7" in said
    assert "no valid value" not in said


def test_dates_and_how_far_they_are_apart(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path)
    tagged(lr, acquisition_time="2021-07-28T10:15:00Z")
    tagged(msi, ACQUISITION_DATE="20210901")
    result = check(lr, msi)
    assert (result.lr_hsi.acquired, result.hr_msi.acquired) == ("2021-07-28", "2021-09-01")
    assert result.days_apart == 35
    assert any("35 days apart" in line for line in result.warnings)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"acquisition time": "2009-08-20T10:00:00"}, date(2009, 8, 20)),
        ({"SENSING_TIME": "2022/03/04 11:12"}, date(2022, 3, 4)),
        ({"TIFFTAG_DATETIME": "2024:01:01 00:00:00"}, None),
        ({"acquisition_date": "20.8.2009"}, None),
        ({"acquisition_date": "20091399"}, None),
        ({"acquisition_id": "1234567890"}, None),
        ({}, None),
    ],
)
def test_dates_in_tags(tags: dict[str, str], expected: date | None) -> None:
    assert acquired_on(tags) == expected


# Spectral coverage


def test_bands_under_msi_bands_by_wavelength(tmp_path: Path) -> None:
    """The HSI's bands lie 40 nm apart from 420.5 nm."""
    lr, msi = write_pair(tmp_path, 96, 96)
    seen = {1: (460.0, 90.0), 2: (540.0, 20.0), 3: (900.0, 30.0)}
    tagged(msi, {b: {"wavelength": str(w), "fwhm": str(f)} for b, (w, f) in seen.items()})
    result = check(lr, msi)
    assert result.coverage_by == "wavelengths"
    assert [(band.wavelength_nm, band.hsi_bands) for band in result.coverage] == [
        (460.0, (1, 2, 3)),
        (540.0, (4,)),
        (900.0, ()),
    ]
    assert result.uncovered_bands == (5, 6, 7, 8)
    assert any("no HSI band lies under MSI band 3" in line for line in result.warnings)


def test_bands_under_msi_bands_by_the_estimate(tmp_path: Path) -> None:
    pair = displaced(tmp_path, spectral=False)
    tagged(pair[0], {band: {"bbl": str(int(band != 2))} for band in range(1, 9)})
    result = check(*pair)
    assert result.coverage_by == "estimate"
    assert [(band.wavelength_nm, band.hsi_bands) for band in result.coverage] == [
        (None, (1, 3)),
        (None, (4, 5, 6)),
        (None, (7, 8)),
    ]
    for band in result.coverage:
        assert band.residual is not None
        assert band.residual < 0.1
    assert result.lr_hsi.bad_bands == (2,)
    assert result.uncovered_bands == ()


def test_bands_under_msi_bands_by_correlation(tmp_path: Path) -> None:
    """No response of 0 or more makes the second band of this MSI: it is the HSI's turned round."""
    lr, msi = displaced(tmp_path, (0.0, 0.0), spectral=False)
    values = read_back(msi)
    values[1] = values.max() - values[1]
    write_tif(msi, values, transform=FINE)
    result = check(lr, msi)
    assert result.coverage_by == "correlation"
    assert [band.residual for band in result.coverage] == [None] * 3
    assert [bool(band.hsi_bands) for band in result.coverage] == [True] * 3


# Surveys


def test_a_survey_does_not_depend_on_the_strips() -> None:
    values = np.random.default_rng(0).integers(0, 2000, (5, 60, 40)).astype(np.float32)
    values[0] = np.nan
    values[1, 5:] = 3
    values[1, :5] = np.nan
    values[2] = np.minimum(values[2], 1500)
    values[3, ::7] = np.nan
    results = []
    for rows in (1, 7, 60):
        survey = BandSurvey(5)
        for top in range(0, 60, rows):
            survey.update(values[:, top : top + rows])
        results.append(survey.result())
    assert results[0] == results[1] == results[2]
    share = (values[2] == 1500).sum() / np.isfinite(values).sum()
    assert replace(results[0], saturated_share=0.0) == BandStates((1,), (2,), (3,), 0.0)
    assert results[0].saturated_share == pytest.approx(float(share))


def test_few_levels_are_no_saturation() -> None:
    survey = BandSurvey(4)
    survey.update(pixels(4, 50, 50).astype(np.float32))
    assert survey.result() == BandStates((), (), (), 0)


# Costs


def make_scene(side: int = 56) -> LrScene:
    truth = textured(8, side, side)
    return LrScene(truth, see(truth), np.ones((side, side), bool))


def test_costs_grow_with_the_error() -> None:
    scene = make_scene()
    best = rehearse(scene, (4.0, 4.0))
    shifted = [rehearse(scene, (4.0, 4.0), (by, -by)) for by in (0.1, 0.4, 0.8)]
    assert best > shifted[0] > shifted[1] > shifted[2]
    for wider in ((1.2, 1.6), (0.85, 0.6)):
        near, far = (rehearse(scene, (4.0, 4.0), width=width) for width in wider)
        assert best > near > far


def test_a_pair_is_degraded_by_its_ratio_where_enough_is_left() -> None:
    assert rehearsal_ratio(make_scene(64), (4.0, 4.5)) == (4.0, 4.5)
    assert rehearsal_ratio(make_scene(32), (8.0, 8.0)) == (2, 2)
    assert rehearsal_ratio(make_scene(12), (8.0, 8.0)) is None


def test_small_pairs_are_checked_without_costs(tmp_path: Path) -> None:
    result = check(*write_pair(tmp_path, 40, 40))
    assert result.usable
    assert result.wald_ratio is None
    assert result.shift is not None
    assert result.shift.cost_db is None


@pytest.mark.parametrize("crs", [UTM33, None])
def test_json_holds_everything(tmp_path: Path, crs: str | None) -> None:
    result: Check = check(*write_pair(tmp_path, crs=crs))
    facts = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert facts["usable"] is True
    assert facts["crs_agree"] is True
    assert (facts["lr_hsi"]["crs"] is None) == (crs is None)
    assert ("placed by their sizes" in " ".join(facts["notes"])) == (crs is None)


@pytest.mark.skipif(not BERLIN.exists(), reason="needs the Berlin scene")
def test_berlin() -> None:
    result = check(BERLIN / "enmap_sim_30m_244b.hdr", BERLIN / "hymap_4band_3p6m.hdr")
    assert result.usable
    assert result.ratio == pytest.approx((25 / 3, 25 / 3), abs=1e-3)
    assert result.psf is not None
    assert result.psf.fwhm_hr_px == pytest.approx(25 / 3, rel=0.1)
    assert result.shift is not None
    assert result.shift.cost_db is not None
    assert 0.5 < result.shift.cost_db < 4
    assert [len(band.hsi_bands) > 0 for band in result.coverage] == [True] * 4
    assert result.wald_ratio == (2, 2)
