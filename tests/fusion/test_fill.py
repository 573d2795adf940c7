"""Fill that no nodata value declares: named, declared for one run, and never an output of no numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from emrdiff_cli.core.diffusion.conditioning import TileInputs
from emrdiff_cli.errors import InputError
from emrdiff_cli.responses import read_response
from emrdiff_cli.training.examples import read_archive, read_scene
from tests.support.front_door import Run
from tests.support.pairs import FINE, write_pair
from tests.support.rasters import read_back, write_envi, write_tif
from tests.support.samplers import Fake, fuse_and_read, settings
from tests.support.scenes import read, textured, write_cube, write_srf

SCALE = 1e4
FIELDS = {"map info": "{UTM, 1, 1, 383472.37, 5818302.35, 30, 30, 33, North, WGS-84, units=Meters}"}


def filled_pair(folder: Path, fill: float, dtype: str, where: object, which: str) -> tuple[Path, Path]:
    """The LR-HSI or the HR-MSI with undeclared fill."""
    written = write_pair(folder)
    stored: list[NDArray[np.generic]] = []
    for role, path in zip(("lr", "msi"), written, strict=True):
        values = (read(path) * SCALE).round().astype(dtype)
        if role == which:
            values[(slice(None), *where)] = fill  # type: ignore[misc]
        stored.append(values)
    return (
        write_tif(folder / "lr.tif", stored[0]),
        write_tif(folder / "msi.tif", stored[1], transform=FINE),
    )


@pytest.mark.parametrize(
    ("fill", "dtype", "named"),
    [(-9999, "int16", "-9999"), (0, "int16", "0"), (65535, "uint16", "65535"), (1e20, "float32", "1e+20")],
)
@pytest.mark.parametrize("which", ["lr", "msi"])
def test_fill_is_named_and_can_be_declared_for_one_run(
    emrdiff: Run, tmp_path: Path, fill: float, dtype: str, named: str, which: str
) -> None:
    side = slice(0, 5) if which == "lr" else slice(0, 20)
    pair = filled_pair(tmp_path, fill, dtype, (slice(None), side), which)
    option = f"{named},none" if which == "lr" else f"none,{named}"
    checked = json.loads(emrdiff("check", *pair, "--json", "-q").out)
    assert any(f"--src-nodata {option}" in line for line in checked["warnings"]), checked["warnings"]
    output = tmp_path / "fused.tif"
    ended = emrdiff("fuse", *pair, output, "--method", "glp", "--register", "off", "--json")
    assert f"{named} in all bands of" in ended.err
    assert f"--src-nodata {option}" in json.loads(ended.out)["warnings"][0]
    ended = emrdiff(
        *("fuse", *pair, output, "--method", "glp", "--register", "off"),
        *("--src-nodata", option, "--overwrite"),
    )
    assert ended.code == 0
    assert "probable fill" not in ended.err
    assert "probable fill" not in emrdiff("check", *pair, "--src-nodata", option).out
    fused = read(output)
    assert np.array_equal(np.isnan(fused).any(axis=0), np.arange(72) < 20) or np.isnan(fused[:, :, :20]).all()
    whole = tmp_path / "whole"
    whole.mkdir()
    plain = emrdiff(
        *("fuse", *filled_pair(whole, 0, dtype, (slice(0, 0),), which), whole / "fused.tif"),
        *("--method", "glp", "--register", "off"),
    )
    assert plain.code == 0
    assert np.abs(fused[:, :, 32:] - read(whole / "fused.tif")[:, :, 32:]).max() < 0.02 * SCALE
    told = json.loads(emrdiff("evaluate", output, "--lr-hsi", pair[0], "--hr-msi", pair[1], "--json").out)
    assert told["spectral_rmse"] < 0.02 * SCALE


def test_fill_that_differs_by_detector_is_named_and_can_be_declared(emrdiff: Run, tmp_path: Path) -> None:
    lr, msi = filled_pair(tmp_path, 0, "int16", (slice(0, 0),), "lr")
    values = read_back(lr)
    values[:5, :, :5], values[5:, :, :5] = -9999, 0
    write_tif(lr, values)
    named = "-9999 in some bands and 0 in the others of 27.78% of its pixels"
    assert named in str(json.loads(emrdiff("check", lr, msi, "--json", "-q").out)["warnings"])
    fuse = ("fuse", lr, msi, tmp_path / "fused.tif", "--method", "glp", "--register", "off", "--overwrite")
    said = emrdiff(*fuse).err
    assert named in said
    assert (
        f"`gdal_edit.py -a_nodata -9999 {lr.name}`, the other for one run with `--src-nodata 0,none`" in said
    )
    write_tif(lr, values, nodata=-9999)
    assert "probable fill" not in emrdiff(*fuse, "--src-nodata", "0,none").err
    assert np.array_equal(np.isnan(read(tmp_path / "fused.tif")[:, 0]).all(axis=0), np.arange(72) < 20)


@pytest.mark.parametrize(("dtype", "most"), [("uint8", 255), ("uint16", 65535), ("uint16", 4095)])
def test_an_msi_at_its_types_maximum_may_be_saturated(
    emrdiff: Run, tmp_path: Path, dtype: str, most: int
) -> None:
    lr, msi = write_pair(tmp_path)
    stored = np.clip(np.rint(read(msi) * 200 * (16 if most == 4095 else 1)), 1, most - 1).astype(dtype)
    stored[:, 20:24, 30:40] = most
    write_tif(msi, stored, transform=FINE)
    checked = json.loads(emrdiff("check", lr, msi, "--json", "-q").out)
    assert f"{most} in all bands of 0.87% of its pixels is probable fill or saturation" in str(checked)


def test_simulate_and_train_name_fill_too(
    emrdiff: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "archive").mkdir()
    for number in range(2):
        cube = textured(8, 32, 32, seed=number)
        cube[:, :, :6] = 0
        write_cube(tmp_path / "archive" / f"{number}.tif", cube)
    one = tmp_path / "archive" / "0.tif"
    srf = write_srf(tmp_path / "srf.csv")
    said = "0 in all bands of 18.75% of its pixels is probable fill"
    ended = emrdiff("simulate", one, tmp_path / "out", "--ratio", 4, "--srf", srf)
    assert f"Warning: 0.tif: {said}" in ended.err
    assert "declare it with `gdal_edit.py -a_nodata 0 0.tif`" in ended.err
    caplog.clear()
    read_archive(one.parent, 4, read_response(str(srf)), 0.5)
    assert [record.message.split(",")[0] for record in caplog.records] == [f"{n}.tif: {said}" for n in (0, 1)]
    caplog.clear()
    read_scene(*filled_pair(tmp_path, -9999, "int16", (slice(None), slice(0, 8)), "msi"), 0.15)
    assert [record.message[:48] for record in caplog.records] == [
        "msi.tif: -9999 in all bands of 11.11% of its pix"
    ]


def test_no_fill_is_seen_in_a_scene_without(emrdiff: Run, tmp_path: Path) -> None:
    ended = emrdiff("fuse", *write_pair(tmp_path), tmp_path / "fused.tif", "--method", "glp")
    assert "probable fill" not in ended.err


def test_a_value_that_neither_holds_is_a_usage_error(emrdiff: Run, tmp_path: Path) -> None:
    pair = filled_pair(tmp_path, 0, "uint16", (slice(0, 0),), "lr")
    for option in ("-9999", "none,-9999", "x", "1,2,3"):
        ended = emrdiff("fuse", *pair, tmp_path / "fused.tif", "--method", "glp", "--src-nodata", option)
        assert ended.code == 2, option
        assert "--src-nodata" in ended.err


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values_that_overflow_are_an_error_and_write_nothing(emrdiff: Run, tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path)
    values = read(lr)
    values[:, 3, 3] = np.finfo("float32").min
    write_tif(lr, values)
    output = tmp_path / "fused.tif"
    ended = emrdiff("fuse", lr, msi, output, "--method", "kriging", "--register", "off")
    assert ended.code == 3
    assert "--src-nodata" in ended.err.splitlines()[-1]
    assert not output.exists()
    declared = write_envi(
        tmp_path / "lr.bsq", values, fields={**FIELDS, "data ignore value": "-3.40282347e+38"}
    )
    assert emrdiff("fuse", declared, msi, output, "--method", "kriging", "--register", "off").code == 0
    hole = np.zeros((64, 72), bool)
    hole[12:16, 12:16] = True
    assert np.array_equal(np.isnan(read(output)).all(axis=0), hole)


def test_an_output_without_a_valid_pixel_is_an_error(emrdiff: Run, tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, lr_holes=[(0, col) for col in range(18)])
    output = tmp_path / "fused.tif"
    left, top = 383472.37, 5818302.35
    ended = emrdiff(
        *("fuse", lr, msi, output, "--method", "glp", "--register", "off"),
        *("--bounds", left, top - 30, left + 300, top),
    )
    assert ended.code == 3
    assert "no pixel of the output is valid" in ended.err
    assert not output.exists()
    assert read_back(lr).shape == (8, 16, 18)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_a_model_that_gives_no_number_where_both_are_valid_is_an_error(tmp_path: Path, dtype: str) -> None:
    def broken(tile: TileInputs, _corner: tuple[int, int]) -> NDArray[np.float32]:
        estimate = np.zeros_like(tile.a_0)
        estimate[:, 3, 3] = np.nan
        return estimate

    with pytest.raises(InputError, match="values that are no numbers: the model is at fault"):
        fuse_and_read(tmp_path, write_pair(tmp_path), Fake(settings(), broken), dtype=dtype)
    assert not (tmp_path / "fused.tif").exists()
