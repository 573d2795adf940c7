"""Gain and offset of the MSI against the LR-HSI, as `check` finds them where the response is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps, gaussian_downsampler
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA
from tests.support.front_door import front_door
from tests.support.rasters import NORTH_UP
from tests.support.scenes import textured, wavelengths, write_cube

BANDS, SIDE, RATIO = 8, 128, 4
GAINS, OFFSETS = (1.2, 0.9, 1.0), (0.05, -0.02, 0.0)


def write_table(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """A response of three bands, each of two or three of the HSI's."""
    response = np.zeros((3, BANDS))
    for row, seen in zip(response, np.array_split(np.arange(BANDS), 3), strict=True):
        row[seen] = 1 / len(seen)
    lines = [
        f"{at},{','.join(map(str, row))}" for at, row in zip(wavelengths(BANDS), response.T, strict=True)
    ]
    path.write_text("\n".join(["wavelength_nm,a,b,c", *lines]) + "\n")
    return response


@pytest.mark.parametrize("clouded", [False, True])
def test_gain_and_offset_are_found_whatever_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], clouded: bool
) -> None:
    table, truth = tmp_path / "srf.csv", textured(BANDS, SIDE, SIDE)
    msi = np.tensordot(write_table(table), truth, axes=1)
    msi = msi * np.array(GAINS)[:, None, None] + np.array(OFFSETS)[:, None, None]
    if clouded:
        msi[:, 40:80, 40:80] = 0.9
    taps = gaussian_downsampler(AxisPlacement(RATIO, 0.0), SIDE // RATIO, SIDE, RATIO / FWHM_PER_SIGMA)
    lr = write_cube(tmp_path / "lr.tif", apply_taps(truth, taps, taps))
    fine = write_cube(tmp_path / "msi.tif", msi, transform=NORTH_UP @ Affine.scale(1 / RATIO), spectral=False)
    command = front_door(monkeypatch, capfd)
    said = json.loads(command("check", lr, fine, "--srf", table, "--json").out)["radiometry"]
    assert [line["band"] for line in said] == [1, 2, 3]
    assert [line["gain"] for line in said] == pytest.approx(GAINS, rel=0.01)
    assert [line["offset"] for line in said] == pytest.approx(OFFSETS, abs=0.005)
    assert max(line["residual"] for line in said) < 0.02
    assert "under the response" in command("check", lr, fine, "--srf", table).out
    assert json.loads(command("check", lr, fine, "--json").out)["radiometry"] == []
