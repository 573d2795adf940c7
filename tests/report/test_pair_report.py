"""Pages on a fused raster and its inputs: what stands in them, where maps and spectra show what was put there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio

from emrdiff_cli.core.evidence.bootstrap import Estimate
from emrdiff_cli.core.evidence.verdict import HELD_OUT, Score, Standing, Verdict
from emrdiff_cli.core.metrics.consistency_metrics import METRICS
from emrdiff_cli.methods import END_POINTS
from tests.support.front_door import Run
from tests.support.pages import Page, polylines
from tests.support.pairs import displaced
from tests.support.rasters import read_back
from tests.support.scenes import wavelengths, write_cube

RATIO = 4
VERDICT = Verdict(
    "kriging",
    (
        Standing("kriging", {HELD_OUT: Score(20.0, Estimate(0.0, 0.0))}),
        Standing("glp", {HELD_OUT: Score(18.75, Estimate(-1.25, float("inf")))}),
    ),
)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return displaced(tmp_path, (0.0, 0.0), count=None)


@pytest.fixture
def fused(tmp_path: Path, pair: tuple[Path, Path], emrdiff: Run) -> Path:
    output = tmp_path / "fused.tif"
    assert emrdiff("fuse", *pair, output, "--method", "glp", "--register", "off", "-q").code == 0
    return output


def evaluated(emrdiff: Run, fused: Path, pair: tuple[Path, Path]) -> Page:
    lr, msi = pair
    folder = fused.parent / "page"
    ended = emrdiff(
        "evaluate", fused, "--lr-hsi", lr, "--hr-msi", msi, "--report", folder, "--json", "--overwrite"
    )
    assert ended.code == 0, ended.err
    page = Page(folder / "report.html")
    page.assert_self_contained()
    assert page.record == json.loads(ended.out) | {"sha256": page.record["sha256"]}
    return page


def test_an_evaluation_without_a_reference_has_a_page(
    fused: Path, pair: tuple[Path, Path], emrdiff: Run
) -> None:
    page = evaluated(emrdiff, fused, pair)
    assert page.headings == [
        *("Scores", "Pictures", "Agreement with the inputs", "Geometry", "Spectra", "Values", "Provenance"),
    ]
    assert "Share of impossible values" in page.section("Values")
    assert polylines(page.section("Agreement with the inputs")) == [len(page.record["bands"])]
    assert METRICS["spectral_rmse"].texts([page.record["spectral_rmse"]])[0] in page.section("Scores")


def test_the_verdict_comes_first_and_is_text(fused: Path, pair: tuple[Path, Path], emrdiff: Run) -> None:
    with rasterio.open(fused, "r+") as dataset:
        tags = {"emrdiff_verdict": "fused by <b>", "emrdiff_evidence": json.dumps(VERDICT.record())}
        dataset.update_tags(**tags)
    page = evaluated(emrdiff, fused, pair)
    assert page.headings[0] == "Verdict"
    said = page.section("Verdict")
    assert '<p class="verdict">fused by &lt;b&gt;</p>' in said
    assert re.findall(r"<(?:td|th )[^>]*>([^<]*)</", said) == [
        *("method", "band held out", "kriging", "+0.00 ± 0.00", "glp", "-1.25"),
    ]
    with rasterio.open(fused, "r+") as dataset:
        dataset.update_tags(emrdiff_evidence="[damaged")
    assert "<table" not in evaluated(emrdiff, fused, pair).section("Verdict")


def test_evidence_is_gathered_in_the_recorded_geometry_and_shown(tmp_path: Path, emrdiff: Run) -> None:
    lr, msi = displaced(tmp_path, (0.0, 0.0), side=80, count=None)
    fused = tmp_path / "fused.tif"
    assert emrdiff("fuse", lr, msi, fused, "--method", "glp", "--register", "off", "-q").code == 0
    asked = ("evaluate", fused, "--lr-hsi", lr, "--hr-msi", msi, "--evidence")
    ended = emrdiff(*asked, "--json", "--report", fused.parent / "told")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)["evidence"]
    assert (told["fused_by"], {row["method"] for row in told["evidence"]}) == ("glp", set(END_POINTS))
    page = Page(fused.parent / "told" / "report.html")
    assert page.record["evidence"] == told
    assert told["sentence"].startswith(f"the pair's own evidence names {told['method']}: ")
    said = page.section("Verdict")
    assert f"{told['evidence'][0]['gain_db']:+.2f}" in said
    assert "band held out" in emrdiff(*asked, "-q").out
    assert emrdiff("evaluate", fused, fused, "--evidence").code == 2


def test_maps_are_bright_where_the_cube_contradicts_its_inputs(
    fused: Path, pair: tuple[Path, Path], emrdiff: Run
) -> None:
    values = read_back(fused)
    values[:, 40:60, 80:120] += 0.5
    with rasterio.open(fused, "r+") as dataset:
        dataset.write(values)
    page = evaluated(emrdiff, fused, pair)
    found = re.search(r"([\d.]+)% of the pixels differ", page.section("Agreement with the inputs"))
    assert found is not None
    assert float(found[1]) == pytest.approx(100 * 20 * 40 / 160**2, abs=0.3)
    brightness = page.pictures()["RMS difference (data units)"][:3].sum(axis=0).astype(float)
    inside = np.zeros(brightness.shape, bool)
    inside[40:60, 80:120] = True
    assert brightness[inside].min() > brightness[~inside].max()


def test_spectra_leave_water_and_bad_bands_open_and_shade_the_bands_of_the_msi(
    tmp_path: Path, pair: tuple[Path, Path], emrdiff: Run
) -> None:
    lr, msi = pair
    centres = [*wavelengths(8)[:5], 1400.0, 1600.0, 1700.0]
    with rasterio.open(lr, "r+") as dataset:
        for band, centre in enumerate(centres, 1):
            dataset.update_tags(band, wavelength=str(centre), fwhm="40", bbl=str(int(band != 2)))
    page_folder = tmp_path / "made"
    said = emrdiff("fuse", lr, msi, tmp_path / "out.tif", "--method", "glp", "--report", page_folder, "-q")
    assert said.code == 0, said.err
    page = Page(page_folder / "report.html")
    # Band 1 alone is a point; 3 to 5 and 7 to 8 are lines, of the LR-HSI and the fused.
    assert polylines(page.section("Spectra"))[:4] == [3, 2, 3, 2]
    assert page.section("Spectra").count('class="msi"') > 0
    assert page.record["method"] == "glp"
    assert "they were corrected" in page.section("Values")


def test_uncertainty_is_a_map_and_an_interval(tmp_path: Path, pair: tuple[Path, Path], fused: Path) -> None:
    from emrdiff_cli.evaluation.fusion_page import write_fusion_report
    from emrdiff_cli.fusion.fusing import FusionOptions, fuse

    result = fuse(*pair, tmp_path / "again.tif", "glp", None, FusionOptions(register="off"))
    with rasterio.open(fused) as dataset:
        write_cube(tmp_path / "sd.tif", np.full((8, 160, 160), 0.01), count=None, transform=dataset.transform)
    page = Page(write_fusion_report(result, *pair, tmp_path / "page", uncertainty=tmp_path / "sd.tif"))
    assert "Uncertainty" in page.headings
    assert page.section("Spectra").count('class="area"') == 3


def test_a_page_of_a_varying_displacement_has_its_arrows(
    fused: Path, pair: tuple[Path, Path], emrdiff: Run
) -> None:
    with rasterio.open(fused, "r+") as dataset:
        field = [[0.2, 0.1, 0.0], [0.0, 0.0, 0.3]]
        dataset.update_tags(emrdiff_shift_lr_px="0.2,0", emrdiff_displacement_field=json.dumps(field))
    said = evaluated(emrdiff, fused, pair).section("Geometry")
    assert said.count('<path class="ring"') > 9
    assert "the mean over the scene" in said


def test_a_page_needs_a_raster(pair: tuple[Path, Path], tmp_path: Path, emrdiff: Run) -> None:
    lr, msi = pair
    common = ("--lr-hsi", lr, "--hr-msi", msi, "--report", tmp_path / "page")
    ended = emrdiff("evaluate", "--wald", "--method", "glp", *common)
    assert (ended.code, "give FUSED too" in ended.err) == (2, True)
