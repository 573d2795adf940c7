"""`emrdiff evaluate` from the command line to what is read back from it."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from front_door import Ended, Run
from scoring_rasters import ground, place, write_raster

from emrdiff_cli import __version__
from emrdiff_cli.core.metrics import KEYS, score

SHAPE = (4, 40, 48)


@pytest.fixture
def run(emrdiff: Run) -> Run:
    return partial(emrdiff, "evaluate")


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A fused raster, its reference and the LR-HSI of the same ground, ratio 4."""
    rng = np.random.default_rng(0)
    truth, low = ground(SHAPE, place()), ground((4, 14, 16), place(-8, -8, 10))
    nanometres = [450.0, 550.0, 650.0, 800.0]
    fused = truth + rng.normal(0, 0.01, SHAPE)
    fused[:, 3, 5] = np.nan
    return (
        write_raster(tmp_path / "fused.tif", fused, place(), wavelengths_nm=nanometres),
        write_raster(tmp_path / "hr_hsi.tif", truth, place(), wavelengths_nm=nanometres, scale=1e-4),
        write_raster(tmp_path / "lr_hsi.tif", low, place(-8, -8, 10), wavelengths_nm=nanometres),
    )


def expected_scores() -> dict[str, float | None]:
    rng = np.random.default_rng(0)
    truth = ground(SHAPE, place())
    fused = truth + rng.normal(0, 0.01, SHAPE)
    fused[:, 3, 5] = np.nan
    return dict(score(fused, np.rint(truth / 1e-4) * 1e-4, 1.0, 4.0).overall)


def table(ended: Ended) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(ended.out)))


def test_json_is_one_object_with_everything_stated(run: Run, scene: tuple[Path, Path, Path]) -> None:
    fused, reference, lr = scene
    ended = run(fused, reference, "--baseline", lr, "--json", "-q")
    assert (ended.code, ended.err, ended.out.count("\n")) == (0, "", 1)
    got = json.loads(ended.out)
    assert {key: got[key] for key in KEYS} == pytest.approx(expected_scores(), rel=1e-5)
    stated = {"peak": 1.0, "ratio": 4.0, "valid_pixels": 1919, "dropped_pixels": 1, "version": __version__}
    assert {key: got[key] for key in stated} == stated
    assert got["peak_source"] == "reflectance: the reference records its scale"
    assert got["bands"] == [1, 2, 3, 4]
    assert got["wavelengths_nm"] == [450, 550, 650, 800]
    assert {len(row) for row in got["per_band"].values()} == {4}
    assert got["notes"] == []
    assert set(KEYS) | {"per_band", "valid_pixels", "dropped_pixels"} <= set(got["baseline"])
    assert got["baseline"]["rmse"] < 1e-4 < got["rmse"]
    assert got["baseline"]["valid_pixels"] == 1919


def test_without_a_baseline_or_a_ratio_the_json_says_null_and_why(
    run: Run, scene: tuple[Path, Path, Path]
) -> None:
    got = json.loads(run(*scene[:2], "--json").out)
    assert (got["baseline"], got["ratio"], got["ergas"]) == (None, None, None)
    assert got["notes"] == ["ergas is null: the ratio is not known"]


def test_identical_rasters_give_null_in_json_and_inf_elsewhere(
    run: Run, scene: tuple[Path, Path, Path]
) -> None:
    same = (scene[1], scene[1], "--ratio", 4)
    ended = run(*same, "--json")
    got = json.loads(ended.out)
    assert {key: got[key] for key in KEYS if not key.startswith("psnr")} == {
        "sam_deg": 0,
        "ergas": 0,
        "ssim": 1,
        "cc": 1,
        "rmse": 0,
    }
    assert {got[key] for key in KEYS if key.startswith("psnr")} == {None}
    assert got["per_band"]["psnr_db"] == [None] * 4
    assert "identical in both cubes" in got["notes"][0]
    assert "Note: psnr_db is infinite" in ended.err
    assert table(run(*same, "--csv"))[0]["psnr_db"] == "inf"
    assert " inf " in run(*same).out


def test_csv_has_a_header_and_a_row_for_each_image(run: Run, scene: tuple[Path, Path, Path]) -> None:
    fused, reference, lr = scene
    ended = run(fused, reference, "--baseline", lr, "--csv", "--peak", 0.5)
    rows = table(ended)
    assert [(row["method"], row["raster"]) for row in rows] == [("fused", str(fused)), ("bicubic", str(lr))]
    assert float(rows[0]["psnr_db"]) == pytest.approx(
        expected_scores()["psnr_db"] - 20 * math.log10(2), rel=1e-5
    )
    assert [row["peak"] for row in rows] == ["0.5", "0.5"]
    unknown = table(run(fused, reference, "--csv"))[0]
    assert (unknown["ergas"], unknown["ratio"]) == ("", "")


def test_the_table_prints_what_the_json_holds(run: Run, scene: tuple[Path, Path, Path]) -> None:
    fused, reference, lr = scene
    arguments = (fused, reference, "--baseline", lr)
    text, got = run(*arguments, "-q"), json.loads(run(*arguments, "--json").out)
    assert text.err == ""
    for key in KEYS:
        assert f"{got[key]:#.6g}" in text.out
        assert f"{got['baseline'][key]:#.6g}" in text.out
    assert "degrees" in text.out
    convention = text.out.splitlines()[-1]
    assert convention == (
        "peak 1 (reflectance: the reference records its scale), ratio 4 (the grids of the LR-HSI and the "
        "reference), 4 bands, 1919 valid pixels, 1 dropped"
    )


def test_offset_rasters_are_compared_on_the_common_area(
    run: Run, scene: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    larger = write_raster(tmp_path / "larger.tif", ground((4, 60, 40), place(-5, 10)), place(-5, 10))
    got = json.loads(run(larger, scene[1], "--json").out)
    assert got["valid_pixels"] == 40 * 38
    assert got["rmse"] < 1e-4


def test_bad_inputs_give_one_line_and_exit_3(
    run: Run, scene: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    truth, reference = ground(SHAPE, place()), scene[1]
    bad = {
        "no such file": tmp_path / "nowhere.tif",
        "differ in size": write_raster(tmp_path / "a.tif", truth, place(pixel=5)),
        "no ground in common": write_raster(tmp_path / "b.tif", truth, place(200, 0)),
        "is not georeferenced": write_raster(tmp_path / "c.tif", truth, place(), crs=None),
        "has 3 bands": write_raster(tmp_path / "d.tif", truth[:3], place()),
    }
    for message, path in bad.items():
        ended = run(path, reference, "--json")
        assert (ended.code, ended.out) == (3, "")
        assert ended.err.startswith("Error: ")
        assert ended.err.count("\n") == 1
        assert message in ended.err
    ended = run(scene[0], reference, "--baseline", tmp_path / "nowhere.tif")
    assert (ended.code, ended.err.count("\n")) == (3, 1)


def test_misuse_exits_2(run: Run, scene: tuple[Path, Path, Path]) -> None:
    assert run(*scene[:2], "--json", "--csv").code == 2
    ended = run(*scene[:2], "--peak", 0)
    assert (ended.code, ended.err) == (2, "Error: --peak 0 is unusable: give a positive number\n")


def test_the_command_does_not_import_torch(scene: tuple[Path, Path, Path]) -> None:
    script = (
        "import sys; from pathlib import Path; from emrdiff_cli.evaluation import evaluate; "
        "evaluate(*map(Path, sys.argv[1:3]), baseline=Path(sys.argv[3])); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, *map(str, scene)], check=True)
