"""What is negative nowhere in the LR-HSI is not so in the fused cube, at no LR pixel's cost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps, gaussian_downsampler
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA
from tests.support.front_door import Run, succeed
from tests.support.pairs import see
from tests.support.rasters import NORTH_UP, read_back
from tests.support.samplers import Fake, fuse_and_read, of_position, settings
from tests.support.scenes import Cube, textured, write_cube

RATIO = 4


def dark_pair(folder: Path, offset: float = 0.0) -> tuple[Path, Path, Cube]:
    """A pair with its truth, of which a third is black; `offset` is subtracted from all."""
    truth = np.maximum(textured(8, 96, 72) - 0.3, 0) + np.float32(1e-3)
    truth -= np.float32(offset)
    sizes, axis = zip((24, 18), truth.shape[1:], strict=True), AxisPlacement(RATIO, 0.0)
    lr = apply_taps(truth, *(gaussian_downsampler(axis, *size, RATIO / FWHM_PER_SIGMA) for size in sizes))
    fine = NORTH_UP @ NORTH_UP.scale(1 / RATIO)
    hsi = write_cube(folder / "lr.tif", lr, count=None)
    return hsi, write_cube(folder / "msi.tif", see(truth), transform=fine, count=None), truth


def by_lr_pixel(cube: Cube) -> Cube:
    return np.asarray(cube.reshape(len(cube), -1, RATIO, cube.shape[2] // RATIO, RATIO).mean(axis=(2, 4)))


@pytest.mark.parametrize("method", ["glp", "kriging"])
def test_nothing_is_negative_and_no_lr_pixel_pays(tmp_path: Path, method: str) -> None:
    lr, msi, truth = dark_pair(tmp_path)
    out, as_is = tmp_path / "out.tif", tmp_path / "as_is.tif"
    common = (lr, msi, "--register", "off", "--method", method, "--json", "-q")
    said = json.loads(succeed("fuse", *common[:2], out, *common[2:]))
    plain = json.loads(succeed("fuse", *common[:2], as_is, *common[2:], "--no-physical"))
    lifted, raw = read_back(out), read_back(as_is)
    share = float((raw < -1e-6).mean())
    assert share > 0.01
    assert plain["impossible_share"] == plain["impossible_left"] == pytest.approx(share, rel=0.05)
    assert (said["impossible_share"], said["impossible_left"]) == (plain["impossible_share"], 0)
    assert [said["physical"], plain["physical"]] == [True, False]
    assert any("cannot be" in text for text in plain["warnings"])
    assert lifted.min() >= 0
    np.testing.assert_allclose(by_lr_pixel(lifted), np.maximum(by_lr_pixel(raw), 0), atol=1e-6)
    assert ((lifted - truth) ** 2).mean() < ((raw - truth) ** 2).mean()
    with rasterio.open(out) as dataset:
        assert dataset.tags()["emrdiff_physical"] == "yes"


def test_legal_negative_values_are_left_alone(tmp_path: Path) -> None:
    lr, msi, _ = dark_pair(tmp_path, offset=0.1)
    made = [fuse_and_read(tmp_path, (lr, msi), method="glp", physical=physical) for physical in (True, False)]
    assert made[0].min() < -0.1
    np.testing.assert_array_equal(made[0], made[1])


@pytest.mark.parametrize("model", [False, True])
def test_a_part_is_as_the_whole(tmp_path: Path, model: bool) -> None:
    lr, msi, _ = dark_pair(tmp_path)
    sampler = Fake(settings(), of_position) if model else None
    whole = fuse_and_read(tmp_path, (lr, msi), sampler)
    assert not np.array_equal(whole, fuse_and_read(tmp_path, (lr, msi), sampler, physical=False))
    with rasterio.open(msi) as dataset:
        left, top = dataset.transform @ (5, 6)
        right, bottom = dataset.transform @ (50, 71)
    part = fuse_and_read(tmp_path, (lr, msi), sampler, bounds=(left, bottom, right, top))
    np.testing.assert_array_equal(part, whole[:, 6:71, 5:50])


@pytest.mark.parametrize(
    ("dtype", "said"), [("uint8", "of the LR-HSI's values lie beyond 0 to 255"), ("int16", "rounding")]
)
def test_a_type_that_does_not_hold_the_values_is_refused(
    tmp_path: Path, emrdiff: Run, dtype: str, said: str
) -> None:
    lr, msi, truth = dark_pair(tmp_path)
    if dtype == "uint8":
        write_cube(lr, by_lr_pixel(truth) * 1e4, count=None)
    ended = emrdiff(
        "fuse", lr, msi, tmp_path / "out.tif", "--register", "off", "-t", dtype, "--method", "glp"
    )
    assert ended.code == 2
    assert said in ended.err
    assert "--dtype" in ended.err
    assert not (tmp_path / "out.tif").exists()
    if dtype == "uint8":
        ended = emrdiff("fuse", lr, msi, tmp_path / "out.tif", "-t", dtype, "--method", "glp", "--clip")
        assert ended.code == 0
        assert "clipped" in ended.err
