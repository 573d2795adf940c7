"""Use case: an evaluation -> one HTML page: scores, pictures, error maps, curves, spectra, seams, provenance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.error_survey import Survey
from emrdiff_cli.core.metrics.full_reference import METRICS
from emrdiff_cli.evaluation.comparison import Compared, Errors, open_compared
from emrdiff_cli.evaluation.error_charts import angle_histogram, psnr_chart, spectra
from emrdiff_cli.evaluation.full_reference import Evaluation
from emrdiff_cli.evaluation.pair_sections import GEOMETRY_TAGS, recorded_geometry
from emrdiff_cli.report import panels
from emrdiff_cli.report.charts import Chart, Line
from emrdiff_cli.report.colour import LINE_COLOURS
from emrdiff_cli.report.page import figure, notes, page, row, table, write_report
from emrdiff_cli.report.tables import score_table
from emrdiff_cli.tiles.edges import TileEdges

_MOST_STEPS = 1200  # points of a line of steps: beyond, the largest of neighbours stands for them


def write_evaluation_report(
    result: Evaluation,
    errors: Errors,
    folder: Path,
    *,
    msi: Path | None = None,
    edges: TileEdges | None = None,
    overwrite: bool = False,
) -> Path:
    """Write `report.html` into a folder: what `result` says, and what the second pass over its rasters shows.

    `msi` is shown beside them. `edges` of the fused raster's tiles are marked in the plot of seams. Raises
    OutputExistsError, WriteError, InputError.
    """
    with ExitStack() as stack:
        compared = open_compared(result, msi, stack)
        inside = None if edges is None else edges.within(errors.fused_area)
        text = _page(compared, errors.survey, inside)
    return write_report(folder, text, overwrite)


def _page(compared: Compared, survey: Survey, edges: TileEdges | None) -> str:
    result = compared.result
    sections = [
        ("Scores", _scores(result)),
        ("Pictures", _pictures(compared)),
        ("Where it errs", _maps(compared, survey)),
        ("By wavelength" if result.wavelengths_nm is not None else "By band", psnr_chart(compared)),
        ("Spectral angles", angle_histogram(survey, result.scores.overall.get("sam_deg"))),
        ("Spectra", spectra(compared, survey.points)),
        ("Seams", _seams(survey, edges)),
        ("Provenance", _provenance(compared)),
    ]
    lead = f"Compared with {result.reference}"
    return page(f"Evaluation of {result.fused.name}", lead, sections, result.record())


def _scores(result: Evaluation) -> str:
    scores = result.scores
    columns = {name: each.overall for name, each in result.columns().items()}
    ratio = "unknown" if scores.ratio is None else f"{scores.ratio:.6g} ({result.ratio_source})"
    convention = (
        f"Peak {scores.peak:.6g} ({result.peak_source}); ratio {ratio}; {len(scores.bands)} bands; "
        f"{scores.valid_pixels} valid pixels, {scores.dropped_pixels} dropped."
    )
    shown = [METRICS[key] for key in scores.overall]
    return score_table(shown, columns) + notes([convention, *result.all_notes()])


def _pictures(compared: Compared) -> str:
    shown = [
        panels.Shown("Fused", compared.fused.reader),
        panels.Shown("Reference", compared.reference.reader),
    ]
    if compared.upsampled is not None:
        shown.insert(0, panels.Shown("LR-HSI", compared.upsampled.reader))
    if compared.msi is not None:
        shown.append(panels.Shown("HR-MSI", compared.msi, own_stretch=True))
    reference = compared.reference
    grid = reference.reader.info.grid.crop(reference.area)
    columns = max(3, len(shown))
    rows = row(panels.true_colour(shown, grid), columns), row(panels.false_colour(shown, grid), columns)
    stretch = (
        "Each band is stretched between the reference's 2nd and 98th percentiles; the HR-MSI by its own."
    )
    if compared.msi is None:
        stretch = stretch.replace("; the HR-MSI by its own", "")
    return "".join(rows) + notes([stretch])


def _maps(compared: Compared, survey: Survey) -> str:
    info, area = compared.reference.reader.info, compared.reference.area
    grid = info.grid.crop(area)
    places = [
        panels.Place((point.row + 0.5) / area.height, (point.col + 0.5) / area.width, str(number))
        for number, point in enumerate(survey.points, 1)
    ]
    figures = [
        figure(panels.error_map(survey.rmse, grid, "RMSE (data units)"), "over the bands of a pixel", "RMSE"),
        figure(panels.error_map(survey.sam, grid, "SAM (degrees)"), "between spectra", "Spectral angle"),
        figure(
            panels.marked(compared.reference.reader, grid, places),
            "in the reference",
            "Points of the spectra",
        ),
    ]
    return row(figures) + notes(["Colours end at the 98th percentile; beyond it, the last one is kept."])


def _seams(survey: Survey, edges: TileEdges | None) -> str:
    if edges is None:
        said = "The fused raster's tags do not record its tiles; a seam would be a peak in both curves."
    elif not (edges.rows or edges.cols):
        said = "The fused raster was made in one tile."
    else:
        ratio = survey.seams(edges.rows, edges.cols).ratio
        said = "Steps at tile edges (dashed) against elsewhere: " + (
            "undefined." if ratio is None else f"{ratio:.3f} times as large; 1 is no seam."
        )
    figures = [
        figure(
            _step_chart(steps, name, () if edges is None else at).svg(500, 230), f"between {name}s", "Steps"
        )
        for name, steps, at in (
            ("row", survey.row_steps, () if edges is None else edges.rows),
            ("column", survey.col_steps, () if edges is None else edges.cols),
        )
    ]
    what = "Mean over the bands and pixels of the change of the error from one row, or column, to the next."
    return notes([what, said]) + row(figures)


def _step_chart(steps: NDArray[np.float64], name: str, edges: Sequence[int]) -> Chart:
    group = max(1, math.ceil(len(steps) / _MOST_STEPS))
    points = [(float(i + 1), _largest(steps[i : i + group])) for i in range(0, len(steps), group)]
    line = Line("steps", points, LINE_COLOURS[0])
    return Chart(name, "mean step", (line,), marks=tuple((float(edge), "") for edge in edges), from_zero=True)


def _largest(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else math.nan


def _provenance(compared: Compared) -> str:
    return table(_provenance_rows(compared))


def _provenance_rows(compared: Compared) -> Iterator[tuple[str, object]]:
    fused = compared.fused.reader.info
    yield panels.facts("Fused", fused)
    yield panels.facts("Reference", compared.reference.reader.info)
    if compared.upsampled is not None:
        yield panels.facts("LR-HSI", compared.upsampled.reader.info)
    if compared.msi is not None:
        yield panels.facts("HR-MSI", compared.msi.info)
    for key, value in (*recorded_geometry(fused), *panels.recorded(fused, GEOMETRY_TAGS)):
        yield f"Fused: {key}", value
