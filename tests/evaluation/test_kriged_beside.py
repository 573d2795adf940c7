"""Kriging beside a raster that is scored: in its geometry, by its peak and ratio, in every output."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import rasterio

from emrdiff_cli.core.metrics.cube import CHEAP
from tests.support.front_door import Run
from tests.support.pages import Page, polylines
from tests.support.pairs import BANDS, FINE, displaced
from tests.support.scenes import textured, write_cube

SIDE = 48
ASKED = ("--metrics", "cheap", "--json", "-q")


def test_kriging_is_scored_as_a_raster_by_it_would_be(tmp_path: Path, emrdiff: Run) -> None:
    lr, msi = displaced(tmp_path, (0.3, -0.2), side=SIDE, count=None)
    truth = write_cube(tmp_path / "truth.tif", textured(BANDS, SIDE, SIDE), transform=FINE, count=None)
    fused, kriged, scores = (tmp_path / name for name in ("fused.tif", "kriged.tif", "scores.csv"))
    for output, method in ((fused, "glp"), (kriged, "kriging")):
        # The place that the files state is 0.3 and 0.2 LR pixels off; both rasters are told.
        asked = ("--method", method, "--shift=-0.3,0.2", "-q")
        assert emrdiff("fuse", lr, msi, output, *asked).code == 0
    pair = ("--baseline", lr, "--hr-msi", msi)
    beside = emrdiff(
        "evaluate", fused, truth, *pair, "--csv", scores, "--report", tmp_path / "a.html", *ASKED
    )
    alone = emrdiff("evaluate", kriged, truth, *pair, *ASKED)
    assert (beside.code, alone.code) == (0, 0), beside.err
    got, itself = json.loads(beside.out), json.loads(alone.out)
    assert got["kriging"]["method"] == "kriging"
    assert {key: got["kriging"][key] for key in CHEAP} == pytest.approx(
        {key: itself[key] for key in CHEAP}, rel=1e-4
    )
    assert got["kriging"]["psnr_db"] != got["psnr_db"]
    assert itself["kriging"] is None
    assert "kriging is what made the fused raster: it is not scored once more" in itself["notes"]
    rows = list(csv.DictReader(io.StringIO(scores.read_text())))
    assert [row["method"] for row in rows] == ["fused", "bicubic", "kriging"]
    assert float(rows[2]["psnr_db"]) == got["kriging"]["psnr_db"]
    page = Page(tmp_path / "a.html")
    page.assert_self_contained()
    assert polylines(page.section("By wavelength")) == [BANDS] * 3
    assert page.section("By wavelength").count('class="msi"') == 3
    assert ">kriging</th>" in page.section("Scores")


def test_a_part_of_the_ground_is_said_to_be_one(tmp_path: Path, emrdiff: Run) -> None:
    _, msi = displaced(tmp_path, (0.0, 0.0), side=SIDE, count=None)
    truth = write_cube(tmp_path / "truth.tif", textured(BANDS, SIDE, SIDE), transform=FINE, count=None)
    write_cube(tmp_path / "part.tif", textured(BANDS, SIDE, SIDE)[:, :24], transform=FINE, count=None)
    with rasterio.open(tmp_path / "part.tif", "r+") as dataset:
        dataset.update_tags(emrdiff_shift_lr_px="0,0")
    manifest = tmp_path / "pairs.csv"
    manifest.write_text("fused,reference,baseline,hr_msi\npart.tif,truth.tif,lr.tif,msi.tif\n")
    ended = emrdiff("evaluate", "--manifest", manifest, "--metrics", "rmse", "-q")
    assert ended.code == 0, ended.err
    got = json.loads(ended.out)
    assert f"kriging is scored on {SIDE * SIDE} pixels, the fused raster on {SIDE * 24}" in got["notes"]
    assert got["kriging"]["rmse"] > got["rmse"] == 0
    assert "--hr-msi is shown in the report" in emrdiff("evaluate", truth, truth, "--hr-msi", msi).err
