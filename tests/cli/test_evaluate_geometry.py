"""Evaluation of rasters whose pair was put right, or lies elsewhere, through the front door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from emrdiff_cli.core.sensor.degradation import Psf
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps
from tests.support.front_door import Run
from tests.support.pairs import BANDS, RATIO, displaced, see
from tests.support.rasters import NORTH_UP
from tests.support.scenes import textured, write_cube

WORSE_IF_GREATER = ("spectral_rmse", "spectral_sam_deg", "srf_rmse")


def _fused(emrdiff: Run, folder: Path, name: str, *options: object) -> Path:
    """The pair `lr.tif`, `msi.tif` of a folder, fused."""
    pair = folder / "lr.tif", folder / "msi.tif"
    ended = emrdiff("fuse", *pair, folder / name, "--method", "kriging", "-q", *options)
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


def test_the_psf_that_a_raster_records_is_told_by_axis(tmp_path: Path, emrdiff: Run) -> None:
    displaced(tmp_path, (0.0, 0.0))
    fused = _fused(emrdiff, tmp_path, "fused.tif", "--psf-fwhm", "3,5")
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
