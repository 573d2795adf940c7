"""Gain and offset of the MSI against the LR-HSI, as `check` finds them where the response is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps, gaussian_downsampler
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA
from tests.support.front_door import Run, front_door
from tests.support.rasters import NORTH_UP
from tests.support.scenes import read, textured, wavelengths, write_cube

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


def write_offset_pair(
    folder: Path, gains: Sequence[float], offsets: Sequence[float], *, clouded: bool = False, **options: Any
) -> tuple[Path, Path, Path]:
    """A pair whose MSI is the response's means with a gain and an offset in each band; and the response."""
    table, truth = folder / "srf.csv", textured(BANDS, SIDE, SIDE)
    msi = np.tensordot(write_table(table), truth, axes=1)
    msi = msi * np.array(gains)[:, None, None] + np.array(offsets)[:, None, None]
    if clouded:
        msi[:, 40:80, 40:80] = 0.9
    taps = gaussian_downsampler(AxisPlacement(RATIO, 0.0), SIDE // RATIO, SIDE, RATIO / FWHM_PER_SIGMA)
    lr = write_cube(folder / "lr.tif", apply_taps(truth, taps, taps))
    fine = NORTH_UP @ Affine.scale(1 / RATIO)
    return lr, write_cube(folder / "msi.tif", msi, transform=fine, spectral=False, **options), table


@pytest.mark.parametrize("clouded", [False, True])
def test_gain_and_offset_are_found_whatever_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], clouded: bool
) -> None:
    lr, fine, table = write_offset_pair(tmp_path, GAINS, OFFSETS, clouded=clouded)
    command = front_door(monkeypatch, capfd)
    said = json.loads(command("check", lr, fine, "--srf", table, "--json").out)["radiometry"]
    assert [line["band"] for line in said] == [1, 2, 3]
    assert [line["gain"] for line in said] == pytest.approx(GAINS, rel=0.01)
    assert [line["offset"] for line in said] == pytest.approx(OFFSETS, abs=0.005)
    assert max(line["residual"] for line in said) < 0.02
    assert "under the response" in command("check", lr, fine, "--srf", table).out
    assert json.loads(command("check", lr, fine, "--json").out)["radiometry"] == []


@pytest.mark.parametrize(
    ("offsets", "said", "not_said"),
    [
        ((0.1, 0.1, 0.1), ("all bands of msi.tif have an offset of +0.1", "takes it off"), "each its own"),
        ((-0.1, -0.1, -0.1), ("all bands of msi.tif have an offset of -0.1", "does not take it off"), "own"),
        (
            (0.1, 0.05, 0.2),
            ("bands of msi.tif have offsets", "(band 1 +0.1, band 2", "band 3 +0.2"),
            "all bands",
        ),
        ((0.005, -0.004, 0.004), (), "offset"),
    ],
)
def test_large_offsets_are_said(
    emrdiff: Run, tmp_path: Path, offsets: tuple[float, ...], said: tuple[str, ...], not_said: str
) -> None:
    lr, fine, table = write_offset_pair(tmp_path, (1, 1, 1), offsets)
    warned = json.loads(emrdiff("check", lr, fine, "--srf", table, "--json").out)["warnings"]
    lines = [line for line in warned if "offset" in line]
    assert len(lines) == bool(said)
    assert all(words in lines[0] for words in said)
    assert not any(not_said in line for line in lines)
    without = json.loads(emrdiff("check", lr, fine, "--json").out)["warnings"]
    assert any("all bands" in line for line in without) == (len(set(offsets)) == 1)


@pytest.mark.parametrize("key", ["BOA_ADD_OFFSET", "RADIO_ADD_OFFSET"])
def test_the_offset_that_a_product_states_is_taken_off(emrdiff: Run, tmp_path: Path, key: str) -> None:
    """Reflectance in counts of 1e-4, 1000 of which are Sentinel-2's offset."""
    lr, fine, table = write_offset_pair(tmp_path, (1, 1, 1), (0.1, 0.1, 0.1))
    plain = tmp_path / "plain"
    plain.mkdir()
    expected = read(write_offset_pair(plain, (1, 1, 1), (0, 0, 0))[1])
    with rasterio.open(fine, "r+") as dataset:
        for band in dataset.indexes:
            dataset.update_tags(band, **{key: "-1000"})
    np.testing.assert_allclose(read(fine), expected, atol=1e-6)
    warned = json.loads(emrdiff("check", lr, fine, "--srf", table, "--json").out)["warnings"]
    assert not any("offset" in line for line in warned)
    assert emrdiff("tile", fine, tmp_path / "tiles", "--size", 64).code == 0
    assert emrdiff("stitch", tmp_path / "tiles", tmp_path / "again.tif").code == 0
    np.testing.assert_allclose(read(tmp_path / "again.tif"), expected, atol=1e-6)


@pytest.mark.parametrize("stated", [("-1000", "-1000", "-900"), ("-1000", "-1000", None), ("x", "x", "x")])
def test_an_offset_that_bands_do_not_share_is_said_and_not_taken(
    emrdiff: Run, tmp_path: Path, stated: tuple[str | None, ...]
) -> None:
    _, fine, _ = write_offset_pair(tmp_path, (1, 1, 1), (0.1, 0.1, 0.1))
    before = read(fine)
    with rasterio.open(fine, "r+") as dataset:
        for band, text in enumerate(stated, 1):
            if text is not None:
                dataset.update_tags(band, BOA_ADD_OFFSET=text)
    np.testing.assert_array_equal(read(fine), before)
    assert "bands state different offsets" in emrdiff("info", fine).err
