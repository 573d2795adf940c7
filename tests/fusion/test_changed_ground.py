"""An MSI that changed in a part: the rest is fused as ever, the part follows the LR-HSI, and both are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps, gaussian_downsampler
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA
from tests.support.front_door import Run, front_door
from tests.support.pairs import see
from tests.support.rasters import NORTH_UP
from tests.support.scenes import read, textured, write_cube

BANDS, SIDE, RATIO = 8, 128, 4
PLACE = np.s_[:, 40:80, 44:84]  # a tenth of the MSI
FAR = np.ones((SIDE, SIDE), bool)
FAR[40 - RATIO : 80 + RATIO, 44 - RATIO : 84 + RATIO] = False


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    return front_door(monkeypatch, capfd)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path, Path]:
    """The LR-HSI, its MSI, and the same MSI with a cloud."""
    truth = textured(BANDS, SIDE, SIDE)
    taps = gaussian_downsampler(AxisPlacement(RATIO, 0.0), SIDE // RATIO, SIDE, RATIO / FWHM_PER_SIGMA)
    clean = see(truth)
    clouded = clean.copy()
    clouded[PLACE] = 0.3 * clean[PLACE] + 0.6
    fine = NORTH_UP @ Affine.scale(1 / RATIO)
    return (
        write_cube(tmp_path / "lr.tif", apply_taps(truth, taps, taps)),
        write_cube(tmp_path / "clean.tif", clean, transform=fine),
        write_cube(tmp_path / "clouded.tif", clouded, transform=fine),
    )


def psnr(fused: Path, where: NDArray[np.bool_]) -> float:
    truth = textured(BANDS, SIDE, SIDE)
    return float(-10 * np.log10(np.square(read(fused) - truth)[:, where].mean()))


@pytest.mark.parametrize("method", ["glp", "glp-local", pytest.param("kriging", marks=pytest.mark.slow)])
def test_the_rest_is_fused_as_without_the_change(
    command: Run, tmp_path: Path, pair: tuple[Path, Path, Path], method: str
) -> None:
    lr, *msis = pair
    scores, within = [], []
    for msi in msis:
        out = tmp_path / f"fused_{msi.name}"
        assert command("fuse", lr, msi, out, "--method", method, "--quiet").code == 0
        scores.append(psnr(out, FAR))
        within.append(read(out)[PLACE])
    assert command("fuse", lr, pair[1], tmp_path / "bicubic.tif", "--method", "bicubic", "-q").code == 0
    assert abs(scores[1] - scores[0]) < 0.1
    inner = np.s_[:, 8:-8, 8:-8]
    np.testing.assert_allclose(
        within[1][inner], read(tmp_path / "bicubic.tif")[PLACE][inner], atol=0.02, rtol=0
    )


def test_the_change_is_told_and_its_mask_written(
    command: Run, tmp_path: Path, pair: tuple[Path, Path, Path]
) -> None:
    lr, clean, clouded = pair
    mask, out = tmp_path / "mask.tif", tmp_path / "out.tif"
    said = command("fuse", lr, clouded, out, "--method", "glp", "--changed", mask, "--json")
    share = json.loads(said.out)["changed_share"]
    assert 0.08 < share < 0.14
    assert f"{share:.2%} of the LR pixels contradict" in said.err
    with rasterio.open(out) as fused, rasterio.open(mask) as changed, rasterio.open(lr) as coarse:
        assert float(fused.tags()["emrdiff_changed_share"]) == share
        assert (changed.crs, changed.transform, changed.shape) == (coarse.crs, coarse.transform, coarse.shape)
        assert (changed.dtypes, changed.nodata) == (("uint8",), 255)
        values = changed.read(1)
    assert (values[12:19, 12:20] == 1).all()
    assert not (values[FAR[::RATIO, ::RATIO]] == 1).any()
    said = command("fuse", lr, clean, tmp_path / "still.tif", "--method", "glp", "--json")
    assert json.loads(said.out)["changed_share"] == 0
    with rasterio.open(tmp_path / "still.tif") as fused:
        assert "emrdiff_changed_share" not in fused.tags()


def test_a_mask_replaces_nothing_unasked(command: Run, tmp_path: Path, pair: tuple[Path, Path, Path]) -> None:
    lr, clean, _ = pair
    out, mask = tmp_path / "out.tif", tmp_path / "mask.tif"
    for place in (lr, clean, out):
        refused = command("fuse", lr, clean, out, "--method", "glp", "--changed", place, "--overwrite")
        assert (refused.code, out.exists()) == (2, False)
    mask.write_text("of somebody")
    refused = command("fuse", lr, clean, out, "--method", "glp", "--changed", mask)
    assert "--overwrite" in refused.err
    assert (mask.read_text(), out.exists()) == ("of somebody", False)


def test_a_manifest_names_masks(command: Run, tmp_path: Path, pair: tuple[Path, Path, Path]) -> None:
    listed = tmp_path / "pairs.csv"
    listed.write_text("lr_hsi,hr_msi,output,changed\nlr.tif,clouded.tif,out.tif,mask.tif\n")
    assert command("fuse", "--manifest", listed, "--method", "glp", "--quiet").code == 0
    assert (read(tmp_path / "mask.tif") == 1).any()
