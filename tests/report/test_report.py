"""Reports read back: whole, self-contained, with the figures of --json and the right points in the charts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from emrdiff_cli.core.metrics.full_reference import METRICS
from emrdiff_cli.errors import InputError, OutputExistsError, UsageError, WriteError
from emrdiff_cli.evaluation.comparison import Errors, survey_errors
from emrdiff_cli.evaluation.full_reference import Evaluation, evaluate
from emrdiff_cli.evaluation.fusion_page import write_fusion_report
from emrdiff_cli.evaluation.page import write_evaluation_report
from emrdiff_cli.fusion.fusing import FusionOptions, fuse
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.raster_info import Window
from emrdiff_cli.report.charts import Chart, Line, colour_bar, ticks
from emrdiff_cli.report.colour import Limits, colour_map, viridis
from emrdiff_cli.tiles.edges import TileEdges, edges_of, parse_edges, recorded_edges, regular_edges
from emrdiff_cli.training.page import training_report
from tests.support.pages import Page, polylines
from tests.support.pairs import BY, displaced, write_pair
from tests.support.scoring_rasters import ground, place, write_raster

SHAPE = (6, 40, 48)
CONFIGURATION = {
    "kappa": 1.0,
    "widths": (16, 32),
    "residual": True,
    "msi": None,
    "by_step": {"first": 0.1, "last": 2},
}
NANOMETRES = [450.0, 550.0, 600.0, 650.0, 700.0, 850.0]


def truth() -> np.ndarray:
    """The linear ground, and structure that spectra differ in."""
    rng = np.random.default_rng(5)
    return ground(SHAPE, place()) * rng.uniform(0.5, 1, SHAPE)


def report(result: Evaluation, folder: Path, **options: Any) -> Page:
    return Page(write_evaluation_report(result, survey_errors(result), folder, **options))


@pytest.fixture
def rasters(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Fused, reference, LR-HSI; a hole in the fused one."""
    fused = truth() + np.random.default_rng(0).normal(0, 0.01, SHAPE)
    fused[:, 3, 5] = np.nan
    low = ground((6, 10, 12), place(0, 0, 10))
    return (
        write_raster(tmp_path / "fused.tif", fused, place(), wavelengths_nm=NANOMETRES),
        write_raster(tmp_path / "hr.tif", truth(), place(), wavelengths_nm=NANOMETRES, scale=1e-4),
        write_raster(tmp_path / "lr.tif", low, place(0, 0, 10), wavelengths_nm=NANOMETRES),
    )


def test_a_report_is_one_page_with_the_figures_of_json(
    tmp_path: Path, rasters: tuple[Path, Path, Path]
) -> None:
    fused, reference, lr = rasters
    result = evaluate(fused, reference, baseline=lr)
    page = report(result, tmp_path / "new" / "report", msi=reference)
    assert [path.name for path in (tmp_path / "new" / "report").iterdir()] == ["report.html"]
    page.assert_self_contained()
    for key in result.scores.overall:
        assert escape(METRICS[key].convention) in page.section("Scores")
        assert escape(METRICS[key].meaning) in page.section("Scores")
    assert page.record == json.loads(json.dumps(result.record()))
    assert page.headings == [
        *("Scores", "Pictures", "Where it errs", "By wavelength"),
        *("Spectral angles", "Spectra", "Seams", "Provenance"),
    ]
    assert result.baseline is not None
    shown = re.findall(r"<td[^>]*>([^<]*)</td>(?:<td[^>]*>([^<]*)</td>)<td class", page.section("Scores"))
    for key, texts in zip(result.scores.overall, shown, strict=True):
        values = [scores.overall[key] for scores in (result.scores, result.baseline)]
        for text, value in zip(texts, values, strict=True):
            assert not text[0].isdigit() if value is None else float(text) == pytest.approx(value, rel=0.01)
        assert len({len(text.partition(".")[2]) for text in texts if text[0].isdigit()}) < 2
    assert str(lr) in page.section("Provenance")


def test_pictures_and_maps_show_the_ground(tmp_path: Path, rasters: tuple[Path, Path, Path]) -> None:
    fused, reference, lr = rasters
    result = evaluate(fused, reference, baseline=lr)
    page = report(result, tmp_path / "report", msi=reference)
    found = page.pictures()
    assert set(found) == {"LR-HSI", "Fused", "Reference", "HR-MSI", "RMSE (data units)", "SAM (degrees)"}
    assert {picture.shape for picture in found.values()} == {(4, 40, 48)}
    hole = np.full((40, 48), 255)
    hole[3, 5] = 0
    for name in ("Fused", "RMSE (data units)", "SAM (degrees)"):
        np.testing.assert_array_equal(found[name][3], hole, err_msg=name)
    assert (found["Reference"][3] == 255).all()
    # The stretch is the reference's, so that the same value has the same colour in both.
    assert np.abs(found["Fused"][:3].astype(int) - found["Reference"][:3])[:, hole > 0].mean() < 12
    corner = found["LR-HSI"][:, :4, :4].reshape(4, -1)
    assert (corner == corner[:, :1]).all()
    survey = survey_errors(result).survey
    high = float(np.nanpercentile(survey.rmse, 98))
    expected = colour_map(survey.rmse, Limits(0, high))
    np.testing.assert_array_equal(found["RMSE (data units)"], expected)


def test_charts_have_a_point_for_each_band_and_nine_spectra(
    tmp_path: Path, rasters: tuple[Path, Path, Path]
) -> None:
    fused, reference, lr = rasters
    page = report(evaluate(fused, reference, baseline=lr), tmp_path / "report")
    assert polylines(page.section("By wavelength")) == [6, 6]
    assert polylines(page.section("Spectra")) == [6, 6, 6] * 9
    assert polylines(page.section("Seams")) == [39, 47]
    assert page.section("Where it errs").count('class="ring"') == 9
    assert page.section("Spectral angles").count('class="bar"') > 20
    alone = report(evaluate(fused, reference), tmp_path / "alone")
    assert polylines(alone.section("By wavelength")) == [6]
    assert polylines(alone.section("Spectra")) == [6, 6] * 9


def test_bad_bands_are_shaded_and_left_out(tmp_path: Path, rasters: tuple[Path, Path, Path]) -> None:
    import rasterio

    fused, reference, _ = rasters
    with rasterio.open(reference, "r+") as dataset:
        for band in dataset.indexes:
            dataset.update_tags(band, bbl=int(band not in (3, 4)))
    page = report(evaluate(fused, reference), tmp_path / "report")
    section = page.section("By wavelength")
    assert section.count('class="bad"') == 2
    assert "bad bands" in section
    assert polylines(section) == [2, 2]
    assert polylines(page.section("Spectra")) == [2, 2] * 2 * 9


@pytest.mark.parametrize(
    ("nanometres", "lines"),
    [((450, 550, 650, 600, 700, 850), [3, 3]), ((850, 700, 650, 600, 550, 450), [6])],
)
def test_overlapping_detectors_have_lines_of_their_own(
    tmp_path: Path, rasters: tuple[Path, Path, Path], nanometres: Sequence[float], lines: list[int]
) -> None:
    """And bands from the longest wavelength down make one."""
    import rasterio

    for path in rasters[:2]:
        with rasterio.open(path, "r+") as dataset:
            dataset.update_tags(ns="ENVI", wavelength="{" + ", ".join(map(str, nanometres)) + "}")
    page = report(evaluate(*rasters[:2]), tmp_path / "report")
    assert polylines(page.section("By wavelength")) == lines


def test_identical_cubes_do_not_trip_it(tmp_path: Path, rasters: tuple[Path, Path, Path]) -> None:
    reference = rasters[1]
    page = report(evaluate(reference, reference), tmp_path / "report")
    assert "<td>∞</td>" in page.section("Scores")
    assert "no finite value" in page.section("By wavelength")
    assert page.record["psnr_db"] is None


def test_nothing_valid_is_said(tmp_path: Path, rasters: tuple[Path, Path, Path]) -> None:
    nothing = np.full(SHAPE, np.nan)
    fused = write_raster(tmp_path / "none.tif", nothing, place(), wavelengths_nm=NANOMETRES)
    page = report(evaluate(fused, rasters[1]), tmp_path / "report")
    page.assert_self_contained()
    assert "No pixel is valid" in page.section("Spectra")
    assert "No pixel has a spectral angle" in page.section("Spectral angles")


def test_rasters_without_place_or_wavelengths(tmp_path: Path) -> None:
    fused = write_raster(tmp_path / "a.tif", truth() + 0.01)
    reference = write_raster(tmp_path / "b.tif", truth())
    page = report(evaluate(fused, reference), tmp_path / "report")
    assert polylines(page.section("By band")) == [6]
    assert set(page.pictures()) == {"Fused", "Reference", "RMSE (data units)", "SAM (degrees)"}
    assert "px" in page.section("Pictures")


def test_names_are_text_not_markup(tmp_path: Path, rasters: tuple[Path, Path, Path]) -> None:
    odd = tmp_path / "<b>&'fused.tif"
    odd.write_bytes(rasters[0].read_bytes())
    page = report(evaluate(odd, rasters[1]), tmp_path / "report")
    assert "<b>&'" not in page.text
    assert "<b>&'fused.tif" in "".join(page.words)
    assert page.record["fused"] == str(odd)


def test_seams_of_tiles_are_found_where_they_are(tmp_path: Path, rasters: tuple[Path, Path, Path]) -> None:
    step = truth()
    step[:, 16:] += 0.05
    fused = write_raster(tmp_path / "step.tif", step, place(2, 0), wavelengths_nm=NANOMETRES)
    reference = write_raster(tmp_path / "true.tif", truth(), place(2, 0), wavelengths_nm=NANOMETRES)
    result = evaluate(fused, reference)
    errors = survey_errors(result)
    edges = TileEdges(rows=(16,), cols=())
    assert errors.seams(edges).elsewhere == pytest.approx(0, abs=1e-6)
    assert errors.seams(edges).at_edges == pytest.approx(0.05, rel=1e-4)
    page = Page(write_evaluation_report(result, errors, tmp_path / "report", edges=edges))
    assert page.section("Seams").count('class="mark"') == 1
    # Compared on a part of the ground, the edges count from that part's corner.
    shifted = Errors(errors.survey, Window(5, 0, 35, 48))
    assert shifted.seams(TileEdges(rows=(21,), cols=())).at_edges == pytest.approx(0.05, rel=1e-4)


def test_edges_of_tiles_recorded_and_regular(tmp_path: Path) -> None:
    windows = [Window(r, c, 16, 16) for r in (0, 8, 24) for c in (0, 16)]
    edges = edges_of(windows, Window(4, 0, 30, 32))
    assert edges == TileEdges(rows=(4, 12, 20), cols=(16,))
    plain = write_raster(tmp_path / "plain.tif", truth(), place())
    tagged = write_raster(tmp_path / "tagged.tif", truth(), place(), tags=edges.tags())
    single = write_raster(tmp_path / "single.tif", truth(), place(), tags=TileEdges((), ()).tags())
    assert recorded_edges(read_info(plain)) is None
    assert recorded_edges(read_info(tagged)) == parse_edges("auto", read_info(tagged)) == edges
    assert recorded_edges(read_info(single)) == TileEdges((), ())
    grid = read_info(plain).grid
    assert regular_edges(grid, 16, 4) == parse_edges("16,4", read_info(plain))
    assert regular_edges(grid, 16, 4).rows == (12, 16, 24, 28)
    for text in ("auto", "16", "16,16", "a,b"):
        with pytest.raises(UsageError, match="--seams"):
            parse_edges(text, read_info(plain))
    torn = write_raster(
        tmp_path / "torn.tif", truth(), place(), tags={"emrdiff_tile_rows": "x", "emrdiff_tile_cols": "1"}
    )
    with pytest.raises(InputError, match="emrdiff_tile_rows"):
        recorded_edges(read_info(torn))


def test_a_report_that_is_there_stays(tmp_path: Path, rasters: tuple[Path, Path, Path]) -> None:
    result = evaluate(*rasters[:2])
    folder = tmp_path / "report"
    report(result, folder)
    before = (folder / "report.html").read_bytes()
    with pytest.raises(OutputExistsError):
        report(result, folder)
    report(result, folder, overwrite=True)
    assert (folder / "report.html").read_bytes() == before
    with pytest.raises(WriteError, match="is a file"):
        report(result, rasters[0])


def test_a_fusion_is_reported_without_a_reference(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, 64, 80)
    output = tmp_path / "out.tif"
    result = fuse(lr, msi, output, "glp", None, FusionOptions())
    page = Page(write_fusion_report(result, lr, msi, tmp_path / "report"))
    page.assert_self_contained()
    assert set(page.pictures()) == {"LR-HSI", "Fused", "HR-MSI", "RMS difference (data units)"}
    assert polylines(page.section("Spectra")) == [read_info(lr).bands.count] * 6
    assert page.record["method"] == "glp"
    assert str(msi) in page.section("Provenance")


def test_spectra_of_a_co_registered_fusion_are_of_the_same_ground(tmp_path: Path) -> None:
    lr, msi = displaced(tmp_path, BY)
    output = tmp_path / "out.tif"
    result = fuse(lr, msi, output, "glp", None, FusionOptions(shift=(-BY[0], -BY[1])))

    def apart(folder: str) -> float:
        page = Page(write_fusion_report(result, lr, msi, tmp_path / folder))
        lines = re.findall(r'<polyline class="line" points="([^"]*)"', page.section("Spectra"))
        heights = np.array([[float(point.split(",")[1]) for point in line.split()] for line in lines])
        return float(np.abs(heights[::2] - heights[1::2]).mean())

    known = apart("report")
    with rasterio.open(output, "r+") as dataset:
        dataset.update_tags(emrdiff_shift_lr_px="0,0")
    assert known < 0.5 * apart("as it lay")


def test_the_curves_of_a_training(tmp_path: Path) -> None:
    losses = [(i, 1 / i) for i in range(1, 2501)]
    curves = [(0, (20.0, 21.0)), (1000, (22.0, 24.5)), (2000, (22.5, 23.0))]
    path = tmp_path / "report.html"
    path.write_text(
        training_report("m", losses, curves, 24.6, 20.5, {"model": CONFIGURATION}), encoding="utf-8"
    )
    page = Page(path)
    page.assert_self_contained()
    assert "24.50 dB at iteration 1000" in page.text
    assert "24.60 dB" in page.text
    validation, loss = page.section("Curves").split("</figure>")[:2]
    assert polylines(validation) == [3, 3, 3]
    assert polylines(loss) == [834]
    assert page.record["loss"][-1] == [2500, 1 / 2500]
    assert re.findall(r"<td>(.*?)</td>", page.section("Model")) == [
        *("1", "16, 32", "yes", "\u2013", "first 0.1; last 2")
    ]


def test_lines_are_broken_by_gaps_and_by_what_is_not_finite() -> None:
    points = [(1.0, 1.0), (2, 2), (3, math.nan), (4, 1), (5, 2), (6, 2), (50, 1), (51, 3), (60, 5)]
    svg = Chart("x", "y", (Line("a", points),)).svg()
    assert polylines(svg) == [2, 3, 2]
    assert svg.count("<circle") == 1
    back = Chart("x", "y", (Line("a", [(1, 1), (2, 2), (3, 3), (2.5, 4), (3.5, 5)]),)).svg()
    assert polylines(back) == [3, 2]


def test_neighbouring_ticks_have_different_texts() -> None:
    for low, high in ((48.5301, 48.5309), (0, 0.03), (-1e-9, 3e-9), (0, 4e5)):
        svg = Chart("x", "y", (Line("a", [(0, low), (1, high)]),)).svg()
        texts = re.findall(r'text-anchor="end">([^<]*)<', svg)
        assert 3 <= len(texts) == len(set(texts))


def test_ticks_are_round_and_inside() -> None:
    for low, high in ((0, 1), (363, 1018), (-0.013, 0.0004), (43.08, 43.09), (0, 7e6)):
        found = ticks(low, high, 5)
        assert 2 <= len(found) <= 6
        assert low - 1e-9 <= found[0]
        assert found[-1] <= high + 1e-9 * abs(high)
        assert np.allclose(np.diff(found), found[1] - found[0])


def test_the_colour_map_gets_lighter_throughout() -> None:
    table = viridis(256).astype(float)
    lightness = table @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > -0.5).all()
    assert lightness[-1] - lightness[0] > 150
    assert colour_bar(Limits(0, 0), "none").startswith("<svg")
