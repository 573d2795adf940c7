"""Pages on the scenes of a manifest: scores side by side, the best and the worst, means, what was not scored."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emrdiff_cli.core.metrics.full_reference import METRICS
from emrdiff_cli.evaluation import full_reference
from emrdiff_cli.evaluation.scenes_page import ScenesPage
from tests.support.front_door import Run
from tests.support.pages import Page, polylines
from tests.support.scoring_rasters import ground, place, write_raster

SHAPE = (4, 40, 48)
ERRORS = {"noisy": 0.04, "best": 0.005, "<b> & co": 0.02}
NANOMETRES = [450.0, 550.0, 650.0, 800.0]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Three scenes with errors of known sizes, of which two have a baseline, and one that is not there."""
    rng = np.random.default_rng(0)
    truth = ground(SHAPE, place())
    write_raster(tmp_path / "hr.tif", truth, place(), wavelengths_nm=NANOMETRES, scale=1e-4)
    write_raster(
        tmp_path / "lr.tif", ground((4, 10, 12), place(0, 0, 10)), place(0, 0, 10), wavelengths_nm=NANOMETRES
    )
    rows = ["name,fused,reference,baseline", "lost,gone.tif,hr.tif,"]
    for number, (name, size) in enumerate(ERRORS.items()):
        fused = truth + rng.normal(0, size, SHAPE)
        write_raster(tmp_path / f"{number}.tif", fused, place(), wavelengths_nm=NANOMETRES)
        rows.append(f"{name},{number}.tif,hr.tif,{'lr.tif' if number else ''}")
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def cells(row: str) -> list[tuple[str, str]]:
    """The marks and figures of a row of a table."""
    return re.findall(r'<td(?: class="(\w*)"[^>]*)?>([^<]*)</td>', row)


def test_scenes_are_compared_in_one_page(manifest: Path, emrdiff: Run) -> None:
    asked = ("--report", manifest.parent / "scenes.html", "--csv", manifest.parent / "scores.csv")
    ended = emrdiff("evaluate", "--manifest", manifest, *asked, "--metrics", "cheap")
    assert ended.code == 3
    assert "3 of 4 scenes scored; means: psnr_db " in ended.err
    assert (manifest.parent / "scores.csv").read_text().count("\n") == 1 + 3 + 2
    lost, *scored = map(json.loads, ended.out.splitlines())
    page = Page(manifest.parent / "scenes.html")
    page.assert_self_contained()
    # Of the scenes the best by PSNR comes first, in the table as below it.
    assert page.headings == ["Scenes", "best", "&lt;b&gt; &amp; co", "noisy"]
    table = page.section("Scenes")
    body, foot = table.split("<tbody>")[1].split("</tbody>")
    best, _, worst, failed, _ = body.split("</tr>")
    assert re.findall('href="#([^"]*)"', body) == ["best", "b-co", "noisy"]
    assert {mark for mark, _ in cells(best)} == {"best"}
    assert {mark for mark, text in cells(worst) if text[0].isdigit()} == {"worst"}
    assert f"not scored: {lost['error']}" in failed
    own, bicubic, _ = foot.split("</tr>", 2)
    assert ("fused, mean of 3" in own, "bicubic, mean of 2" in bicubic) == (True, True)
    keys = [key for key in METRICS if key in scored[0]]
    # Without a baseline and a tag the ratio is not known, and ERGAS is not defined.
    assert "ERGAS: the mean is of the 2 scenes" in table
    for key, (_, text) in zip(keys, cells(own), strict=True):
        known = [each[key] for each in scored if each[key] is not None]
        assert float(text) == pytest.approx(np.mean(known), rel=0.01)
        assert page.record["mean"][key] == pytest.approx(np.mean(known))
    assert [each.get("psnr_db") for each in page.record["scenes"]] == [None, *(s["psnr_db"] for s in scored)]
    assert page.record["scenes"][0]["exit_code"] == 3


def test_each_scene_has_its_scores_pictures_and_bands(manifest: Path, emrdiff: Run) -> None:
    folder = manifest.parent / "page"
    asked = ("evaluate", "--manifest", manifest, "--report", folder, "-q", "--metrics", "psnr_db,sam_deg")
    assert emrdiff(*asked).code == 3
    page = Page(folder / "report.html")
    section = page.section("best")
    assert polylines(section) == [4, 4]
    assert section.count("<img") == 3
    assert len(cells(section)) == 2 * 2
    assert "0.tif compared with" in page.section("noisy")
    assert polylines(page.section("noisy")) == [4]
    written = (folder / "report.html").read_bytes()
    again = emrdiff(*asked)
    assert (again.code, again.out, (folder / "report.html").read_bytes()) == (2, "", written)


def test_a_row_that_ends_in_a_fault_loses_no_other(
    manifest: Path, emrdiff: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = full_reference.evaluate

    def without_memory(fused: Path, *given: Any, **options: Any) -> full_reference.Evaluation:
        if fused.name == "1.tif":
            raise MemoryError
        return evaluate(fused, *given, **options)

    monkeypatch.setattr(full_reference, "evaluate", without_memory)
    ended = emrdiff(
        "evaluate", "--manifest", manifest, "--report", manifest.parent / "a.html", "--metrics", "rmse"
    )
    records = [json.loads(line) for line in ended.out.splitlines()]
    assert [record.get("exit_code") for record in records] == [3, None, 1, None]
    assert Page(manifest.parent / "a.html").section("Scenes").count("not scored: ") == 2
    assert "means: rmse" in ended.err


def test_pictures_get_smaller_with_the_number_of_scenes(manifest: Path) -> None:
    result = full_reference.evaluate(manifest.parent / "0.tif", manifest.parent / "hr.tif")
    in_counts = replace(result, scores=replace(result.scores, peak=10000.0))
    sides = []
    for count in (1, 200, 2000):
        page = ScenesPage(manifest, count)
        page.add("scene", 2, result)
        sides.append(
            [
                picture.shape[1:]
                for picture in Page(page.write(manifest.parent / f"{count}.html")).pictures().values()
            ]
        )
    page.add("in counts", 3, in_counts)
    assert "peaks differ (1, 10000)" in Page(page.write(manifest.parent / "both.html")).section("Scenes")
    assert sides == [[(40, 48)] * 3, [(32, 38)] * 3, []]
