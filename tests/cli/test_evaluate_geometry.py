"""Evaluation of rasters whose pair was put right, or lies elsewhere, through the front door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

from emrdiff_cli.core.sensor.degradation import Psf
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps
from tests.support.front_door import Run
from tests.support.pairs import BANDS, BY, FINE, RATIO, SIDE, displaced, see
from tests.support.rasters import NORTH_UP
from tests.support.scenes import textured, write_cube
from tests.support.scoring_rasters import place, write_raster

WORSE_IF_GREATER = ("spectral_rmse", "spectral_sam_deg", "srf_rmse")


def _fused(emrdiff: Run, folder: Path, name: str, *options: object) -> Path:
    """The pair `lr.tif`, `msi.tif` of a folder, fused."""
    pair = folder / "lr.tif", folder / "msi.tif"
    ended = emrdiff("fuse", *pair, folder / name, "--method", "glp", "-q", *options)
    assert ended.code == 0, ended.err
    return folder / name


def _held(emrdiff: Run, folder: Path, fused: Path) -> dict[str, Any]:
    """The record of a fused raster held against the pair of a folder."""
    inputs = ("--lr-hsi", folder / "lr.tif", "--hr-msi", folder / "msi.tif")
    ended = emrdiff("evaluate", fused, *inputs, "--json", "-q")
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def test_the_cube_of_the_pair_put_right_agrees_better_than_that_of_the_pair_as_it_lies(
    tmp_path: Path, emrdiff: Run
) -> None:
    displaced(tmp_path)
    right = _held(emrdiff, tmp_path, _fused(emrdiff, tmp_path, "right.tif"))
    wrong = _held(emrdiff, tmp_path, _fused(emrdiff, tmp_path, "wrong.tif", "--register", "off"))
    for key in WORSE_IF_GREATER:
        assert right[key] < 0.5 * wrong[key], key
    assert right["shift_lr_px"] == pytest.approx([-0.4, 0.7], abs=0.03)
    assert wrong["shift_lr_px"] == [0, 0]
    assert "as right.tif records it: the LR-HSI moved by 0.40 up and 0.70 right" in str(right["notes"])
    assert "records it" not in str(wrong["notes"])


@pytest.mark.parametrize("name", ["fused.tif", "fused.bsq"])
def test_the_psf_that_a_raster_records_is_told_by_axis(tmp_path: Path, emrdiff: Run, name: str) -> None:
    displaced(tmp_path, (0.0, 0.0))
    fused = _fused(emrdiff, tmp_path, name, "--psf-fwhm", "3,5")
    found = _held(emrdiff, tmp_path, fused)
    assert found["psf_sigma_px"] == pytest.approx([3 / 2.3548, 5 / 2.3548], rel=1e-4)
    assert found["protocol"] is None
    inputs = ("--lr-hsi", tmp_path / "lr.tif", "--hr-msi", tmp_path / "msi.tif")
    said = emrdiff("evaluate", fused, *inputs)
    assert "PSF of sigma 1.27389 x 2.12314 px" in said.out
    assert "a PSF of FWHM 3.00 x 5.00 MSI pixels" in said.err


def test_bands_displaced_against_the_others_are_held_where_they_were_brought(
    tmp_path: Path, emrdiff: Run
) -> None:
    displaced(tmp_path, (0.0, 0.0))
    groups = json.dumps([{"bands": [6, 7], "shift": [0.3, -0.4]}])
    fused = _fused(emrdiff, tmp_path, "fused.tif", "--register", "off")
    plain = _held(emrdiff, tmp_path, fused)
    with rasterio.open(fused, "r+") as dataset:
        dataset.update_tags(emrdiff_shift_lr_px="0,0", emrdiff_band_shifts_lr_px=groups)
    found = _held(emrdiff, tmp_path, fused)
    by_band = [np.array(one["per_band"]["spectral_rmse"]) for one in (plain, found)]
    assert (by_band[1][6:] > 2 * by_band[0][6:]).all()
    assert (by_band[1][:6] < 1.5 * by_band[0][:6] + 1e-4).all()


def test_the_factor_of_the_msi_that_a_raster_records_is_applied(tmp_path: Path, emrdiff: Run) -> None:
    displaced(tmp_path, (0.0, 0.0))
    fused = _fused(emrdiff, tmp_path, "fused.tif")
    before = _held(emrdiff, tmp_path, fused)
    with rasterio.open(tmp_path / "msi.tif", "r+") as msi:
        msi.write(msi.read() / 2)
    with rasterio.open(fused, "r+") as dataset:
        dataset.update_tags(emrdiff_msi_scale="2")
    after = _held(emrdiff, tmp_path, fused)
    assert after["srf_rmse"] == pytest.approx(before["srf_rmse"], rel=1e-3)
    assert "the HR-MSI multiplied by 2" in str(after["notes"])
    # Detail in the MSI's stored units, half of what it should be.
    with rasterio.open(fused, "r+") as dataset:
        values = dataset.read().astype(np.float64)
        smooth = ndimage.uniform_filter(values, (0, 9, 9))
        dataset.write((smooth + (values - smooth) / 2).astype(dataset.dtypes[0]))
    wrong = _held(emrdiff, tmp_path, fused)
    for key in WORSE_IF_GREATER:
        assert after[key] < 0.6 * wrong[key], key


def _seen_through(folder: Path, by: tuple[float, float], fwhm: tuple[float, float]) -> None:
    """A pair whose LR-HSI states a place `by` LR pixels off and has a PSF so wide, in shares of the ratio."""
    truth = textured(BANDS, 256, 256)
    psf, place = Psf.of_fwhm(RATIO * fwhm[0], RATIO * fwhm[1]), AxisPlacement(RATIO, 0.0)
    down = psf.down(place, place, (64, 64), (256, 256))
    stated = NORTH_UP @ Affine.translation(by[1], by[0])
    write_cube(folder / "lr.tif", apply_taps(truth, *down), transform=stated)
    write_cube(folder / "msi.tif", see(truth), transform=NORTH_UP @ Affine.scale(1 / RATIO))


def _wald(emrdiff: Run, folder: Path, *options: object) -> dict[str, Any]:
    inputs = ("--lr-hsi", folder / "lr.tif", "--hr-msi", folder / "msi.tif")
    ended = emrdiff("evaluate", *inputs, "--wald", "--method", "kriging", "--json", "-q", *options)
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def test_walds_test_of_a_displaced_pair_with_a_wide_psf_is_of_a_pair_of_the_same_kind(
    tmp_path: Path, emrdiff: Run
) -> None:
    exact, spoilt = tmp_path / "exact", tmp_path / "spoilt"
    for folder, by, fwhm in ((exact, (0, 0), (1, 1)), (spoilt, (0.6, -0.3), (1.3, 1.1))):
        folder.mkdir()
        _seen_through(folder, by, fwhm)
    best, found = _wald(emrdiff, exact), _wald(emrdiff, spoilt)
    assert found["shift_lr_px"] == pytest.approx([-0.6, 0.3], abs=0.03)
    assert found["psf_sigma_px"] == pytest.approx([RATIO * 1.3 / 2.3548, RATIO * 1.1 / 2.3548], rel=0.05)
    assert any("the LR-HSI was moved" in note for note in found["notes"])
    assert any("the PSF found on the pair is used" in note for note in found["notes"])
    as_it_lies = _wald(emrdiff, spoilt, "--register", "off")
    assert found["psnr_db"] > best["psnr_db"] - 1 > as_it_lies["psnr_db"] + 10


def test_walds_test_takes_a_geometry_that_is_given(tmp_path: Path, emrdiff: Run) -> None:
    displaced(tmp_path)
    found = _wald(emrdiff, tmp_path, "--shift", "-0.4,0.7", "--psf-fwhm", "4,4.4")
    assert found["shift_lr_px"] == [-0.4, 0.7]
    assert found["psf_sigma_px"] == pytest.approx([4 / 2.3548, 4.4 / 2.3548], rel=1e-4)


@pytest.mark.parametrize("option", [("--register", "off"), ("--shift", "0,1"), ("--psf-fwhm", "4")])
def test_a_geometry_is_asked_for_by_walds_test_alone(
    tmp_path: Path, emrdiff: Run, option: tuple[str, str]
) -> None:
    lr, msi = displaced(tmp_path, (0.0, 0.0))
    ended = emrdiff("evaluate", lr, "--lr-hsi", lr, "--hr-msi", msi, *option)
    assert (ended.code, ended.out) == (2, "")
    assert "give --wald too" in ended.err
    ended = emrdiff("evaluate", lr, lr, *option)
    assert (ended.code, ended.out) == (2, "")
    assert option[0] in ended.err


def _grainy(shape: tuple[int, int, int], by: tuple[float, float]) -> NDArray[np.float64]:
    """A smooth scene of chance, its first pixel `by` pixels down and right in it; exact at fractions."""
    rng = np.random.default_rng(4)
    waves = rng.uniform(-1.2, 1.2, (60, 2))
    phases, heights = rng.uniform(0, 2 * np.pi, 60), rng.normal(0, 0.02, (shape[0], 60))
    rows, cols = np.arange(shape[1]) + by[0], np.arange(shape[2]) + by[1]
    angles = waves[:, :1, None] * rows[:, None] + waves[:, 1:, None] * cols + phases[:, None, None]
    return np.asarray(0.4 + np.tensordot(heights, np.sin(angles), axes=1))


def _scored(emrdiff: Run, fused: Path, reference: Path, *options: object) -> dict[str, Any]:
    ended = emrdiff("evaluate", fused, reference, "--json", "-q", *options)
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


@pytest.mark.parametrize(("by", "most"), [((7.0, -21.0), 1e-6), ((0.4, -0.7), 2e-4), ((-12.3, 30.6), 2e-4)])
def test_a_cube_is_scored_where_the_reference_lies(
    tmp_path: Path, emrdiff: Run, by: tuple[float, float], most: float
) -> None:
    fused = write_raster(tmp_path / "fused.tif", _grainy((6, 130, 120), by), place())
    reference = write_raster(tmp_path / "truth.tif", _grainy((6, 130, 120), (0, 0)), place())
    as_it_lies, found = _scored(emrdiff, fused, reference), _scored(emrdiff, fused, reference, "--align")
    assert as_it_lies["align_px"] is None
    assert found["align_px"] == pytest.approx(by, abs=0.02)
    assert found["rmse"] < max(most, as_it_lies["rmse"] / 20)
    assert found["valid_pixels"] == np.prod([130, 120] - np.ceil(np.abs(by)))
    assert any("--align: the fused raster was moved by" in note for note in found["notes"])


def test_a_cube_moved_by_whole_pixels_keeps_its_values(tmp_path: Path, emrdiff: Run) -> None:
    fused = write_raster(tmp_path / "fused.tif", _grainy((6, 90, 90), (3, 5)), place())
    reference = write_raster(tmp_path / "truth.tif", _grainy((6, 90, 90), (0, 0)), place())
    found = _scored(emrdiff, fused, reference, "--align")
    assert (found["align_px"], found["area"]) == ([3, 5], {"row": 3, "col": 5, "height": 87, "width": 85})
    assert found["rmse"] < 1e-7


def test_rasters_a_fraction_of_a_pixel_apart_are_aligned_in_place_of_refused(
    tmp_path: Path, emrdiff: Run
) -> None:
    fused = write_raster(tmp_path / "fused.tif", _grainy((6, 90, 90), (0.5, 0.25)), place(0.5, 0.25))
    reference = write_raster(tmp_path / "truth.tif", _grainy((6, 90, 90), (0, 0)), place())
    assert "pixels off the grid" in emrdiff("evaluate", fused, reference).err
    found = _scored(emrdiff, fused, reference, "--align", "--border", 4)
    assert found["align_px"] == pytest.approx([0, 0], abs=0.02)
    assert found["rmse"] < 1e-3


def test_a_hole_stays_one_and_the_report_shows_the_moved_ground(tmp_path: Path, emrdiff: Run) -> None:
    cube = _grainy((6, 90, 90), (0.4, -0.3))
    cube[:, 40:43, 50:53] = np.nan
    fused = write_raster(tmp_path / "fused.tif", cube, place())
    reference = write_raster(tmp_path / "truth.tif", _grainy((6, 90, 90), (0, 0)), place())
    found = _scored(emrdiff, fused, reference, "--align", "--report", tmp_path / "report")
    assert found["valid_pixels"] == 89 * 89 - 16
    assert found["rmse"] < 0.005
    assert "--align" in (tmp_path / "report" / "report.html").read_text()


def test_rasters_that_do_not_tell_how_they_lie_are_refused(tmp_path: Path, emrdiff: Run) -> None:
    rng = np.random.default_rng(0)
    one, other = (
        write_raster(tmp_path / f"{name}.tif", rng.uniform(size=(6, 90, 90)), place()) for name in "ab"
    )
    ended = emrdiff("evaluate", one, other, "--align")
    assert (ended.code, ended.out) == (3, "")
    assert "do not tell how they lie on each other within 40 pixels" in ended.err


def test_a_cube_that_was_put_right_is_the_better_one_against_a_truth_that_lies_elsewhere(
    tmp_path: Path, emrdiff: Run
) -> None:
    displaced(tmp_path)
    right = _fused(emrdiff, tmp_path, "right.tif")
    wrong = _fused(emrdiff, tmp_path, "wrong.tif", "--register", "off")
    by = np.multiply(BY, RATIO)
    truth = ndimage.shift(textured(BANDS, SIDE, SIDE).astype(float), (0, *by), order=5, mode="mirror")
    reference = write_cube(
        tmp_path / "truth.tif", truth[:, 4:-4, 4:-4], transform=FINE @ Affine.translation(4, 4)
    )
    plain = [_scored(emrdiff, cube, reference)["psnr_db"] for cube in (right, wrong)]
    aligned = [_scored(emrdiff, cube, reference, "--align") for cube in (right, wrong)]
    assert aligned[0]["align_px"] == pytest.approx(by, abs=0.1)
    assert aligned[0]["psnr_db"] > aligned[1]["psnr_db"] + 3
    assert aligned[0]["psnr_db"] > plain[0] + 10


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"emrdiff_shift_lr_px": "near"}, "the geometry in its tags"),
        ({"emrdiff_msi_scale": "-1"}, "emrdiff_msi_scale"),
    ],
)
def test_damaged_tags_are_refused_with_the_raster_named(
    tmp_path: Path, emrdiff: Run, tags: dict[str, str], said: str
) -> None:
    displaced(tmp_path, (0.0, 0.0))
    fused = _fused(emrdiff, tmp_path, "fused.tif", "--register", "off")
    with rasterio.open(fused, "r+") as dataset:
        dataset.update_tags(**tags)
    inputs = ("--lr-hsi", tmp_path / "lr.tif", "--hr-msi", tmp_path / "msi.tif")
    ended = emrdiff("evaluate", fused, *inputs)
    assert (ended.code, ended.out) == (3, "")
    assert said in ended.err
    assert "fused.tif" in ended.err
