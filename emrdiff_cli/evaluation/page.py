"""Use case: an evaluation -> one HTML page: scores, pictures, error maps, curves, spectra, seams, provenance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.error_survey import ANGLE_STEP, ErrorSurvey, Point, Seams, Survey
from emrdiff_cli.core.metrics.full_reference import METRICS
from emrdiff_cli.evaluation.common_ground import Part, Source, Upsampled, pair, upsample
from emrdiff_cli.evaluation.full_reference import Evaluation
from emrdiff_cli.products.mask_choice import choose_masks
from emrdiff_cli.products.mask_classes import AskedMask
from emrdiff_cli.raster.reading import RasterReader, open_raster
from emrdiff_cli.raster_info import RasterInfo, Window
from emrdiff_cli.report import panels
from emrdiff_cli.report.charts import Chart, Line
from emrdiff_cli.report.colour import LINE_COLOURS
from emrdiff_cli.report.page import figure, notes, page, row, table, write_report
from emrdiff_cli.tiles.edges import TileEdges

_FUSED, _REFERENCE, _BASELINE = LINE_COLOURS[1], LINE_COLOURS[6], LINE_COLOURS[0]
_STRIP_VALUES = 4 * 2**20
_BARS = 60
_MOST_DETECTORS = 4  # whose bands follow one another in a file
_MOST_STEPS = 1200  # points of a line of steps: beyond, the largest of neighbours stands for them

Progress = Callable[[float, float, str], None]


@dataclass(frozen=True)
class _Compared:
    """The open rasters of an evaluation on their common ground; `kept` are positions among the compared bands."""

    result: Evaluation
    fused: Part
    reference: Part
    upsampled: Upsampled | None
    msi: RasterReader | None
    kept: tuple[int, ...]

    def survey(self, report: Progress) -> Survey:
        """One pass over both rasters."""
        area = self.reference.area
        grid = self.reference.reader.info.grid.crop(area)
        survey = ErrorSurvey(area.height, area.width, panels.shape_of(grid, panels.MAP_SIZE))
        step = max(1, _STRIP_VALUES // (max(1, len(self.kept)) * area.width))
        for top in range(0, area.height, step):
            report(top, area.height, "rows")
            strip = Window(top, 0, min(step, area.height - top), area.width)
            survey.update(*(self._read(source, strip) for source in (self.fused, self.reference)))
        report(area.height, area.height, "rows")
        return survey.result()

    def _read(self, source: Part, strip: Window) -> NDArray[np.float32]:
        if not self.kept:
            return np.full((1, strip.height, strip.width), np.nan, np.float32)
        return source.read(strip, self.kept)


@dataclass(frozen=True)
class Errors:
    """Result of a second pass over an evaluation's rasters, on `fused_area` of the fused one."""

    survey: Survey
    fused_area: Window

    def seams(self, edges: TileEdges) -> Seams:
        """Compare the steps of the error across edges of the fused raster's tiles with those elsewhere."""
        inside = edges.within(self.fused_area)
        return self.survey.seams(inside.rows, inside.cols)


def survey_errors(result: Evaluation, report: Progress = lambda done, total, note: None) -> Errors:
    """Go over both rasters of an evaluation once more, in strips. Raises InputError."""
    with ExitStack() as stack:
        compared = _open(result, None, stack)
        return Errors(compared.survey(report), compared.fused.area)


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
        compared = _open(result, msi, stack)
        inside = None if edges is None else edges.within(errors.fused_area)
        text = _page(compared, errors.survey, inside)
    return write_report(folder, text, overwrite)


def _open(result: Evaluation, msi: Path | None, stack: ExitStack) -> _Compared:
    def opened(path: Path, mask: AskedMask = ()) -> RasterReader:
        return stack.enter_context(open_raster(path, mask=mask))

    baseline = [] if result.baseline_path is None else [result.baseline_path]
    paths = [result.fused, result.reference, *baseline]
    compared = [opened(*raster) for raster in zip(paths, choose_masks(result.mask, paths), strict=True)]
    fused, reference, _ = pair(compared[0], compared[1], result.border_px, result.align_px)
    upsampled = None
    if result.baseline_path is not None:
        upsampled, _ = upsample(compared[2], reference)
    scored = set(result.scores.bands)
    kept = tuple(i for i, band in enumerate(reference.bands) if band + 1 in scored)
    return _Compared(result, fused, reference, upsampled, None if msi is None else opened(msi), kept)


def _page(compared: _Compared, survey: Survey, edges: TileEdges | None) -> str:
    result = compared.result
    sections = [
        ("Scores", _scores(result)),
        ("Pictures", _pictures(compared)),
        ("Where it errs", _maps(compared, survey)),
        ("By wavelength" if result.wavelengths_nm is not None else "By band", _psnr(compared)),
        ("Spectral angles", _histogram(survey, result.scores.overall.get("sam_deg"))),
        ("Spectra", _spectra(compared, survey.points)),
        ("Seams", _seams(survey, edges)),
        ("Provenance", _provenance(compared)),
    ]
    lead = f"Compared with {result.reference}"
    return page(f"Evaluation of {result.fused.name}", lead, sections, result.record())


def _scores(result: Evaluation) -> str:
    columns = {"fused": result.scores}
    if result.baseline is not None:
        columns["bicubic"] = result.baseline
    head = "".join(f"<th>{name}</th>" for name in ("", *columns))
    body = "".join(
        f'<tr><td title="{escape(METRICS[key].convention)}">{escape(METRICS[key].title)}</td>'
        + "".join(f"<td>{_score(scores.overall.get(key))}</td>" for scores in columns.values())
        + "</tr>"
        for key in result.scores.overall
    )
    scores = result.scores
    ratio = "unknown" if scores.ratio is None else f"{scores.ratio:.6g} ({result.ratio_source})"
    convention = (
        f"Peak {scores.peak:.6g} ({result.peak_source}); ratio {ratio}; {len(scores.bands)} bands; "
        f"{scores.valid_pixels} valid pixels, {scores.dropped_pixels} dropped."
    )
    return f'<table class="scores"><tr>{head}</tr>{body}</table>' + notes([convention, *result.all_notes()])


def _score(value: float | None) -> str:
    if value is None:
        return "&ndash;"
    return f"{value:.6g}" if math.isfinite(value) else "&infin;"


def _pictures(compared: _Compared) -> str:
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


def _maps(compared: _Compared, survey: Survey) -> str:
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


def _psnr(compared: _Compared) -> str:
    result = compared.result
    info = compared.reference.reader.info
    if "psnr_db" not in result.scores.per_band:
        return ""
    lines = [_band_line("fused", result.scores.bands, result.scores.per_band["psnr_db"], info, _FUSED)]
    if result.baseline is not None:
        values = result.baseline.per_band["psnr_db"]
        lines.append(_band_line("bicubic", result.baseline.bands, values, info, _BASELINE, "6 4"))
    bad = _bad_ranges(compared)
    chart = Chart(_band_axis(info), "PSNR (dB)", tuple(lines), shaded=bad)
    caption = f"peak {result.scores.peak:.6g}" + ("; grey: bad bands and bands left out" if bad else "")
    return figure(chart.svg(1000, 300), caption, "PSNR of each band,")


def _band_line(
    name: str,
    numbers: Sequence[int],
    values: Sequence[float | None],
    info: RasterInfo,
    colour: str,
    dashes: str = "",
) -> Line:
    points = [(_place(info, n), math.nan if v is None else v) for n, v in zip(numbers, values, strict=True)]
    # Where two detectors overlap, each has a stretch of its own; bands in another order are sorted.
    back = sum(b[0] < a[0] for a, b in pairwise(points))
    return Line(name, points if back < _MOST_DETECTORS else sorted(points), colour, dashes)


def _place(info: RasterInfo, number: int) -> float:
    """The place of a band, counted from 1, on the axis."""
    centres = info.bands.wavelengths_nm
    return float(number) if centres is None else centres[number - 1]


def _band_axis(info: RasterInfo) -> str:
    return "band" if info.bands.wavelengths_nm is None else "wavelength (nm)"


def _bad_ranges(compared: _Compared) -> tuple[tuple[float, float], ...]:
    """Ranges of bands that a raster calls bad, or that were left out; each reaches half-way to its neighbours."""
    info = compared.reference.reader.info
    good = info.bands.good
    bad = {b + 1 for b in range(info.bands.count) if good is not None and not good[b]}
    other = compared.fused.reader.info.bands.good
    pairs = zip(compared.reference.bands, compared.fused.bands, strict=True)
    bad |= {b + 1 for b, theirs in pairs if other is not None and not other[theirs]}
    bad |= set(compared.result.scores.left_out_bands)
    places = sorted((_place(info, number), number) for number in range(1, info.bands.count + 1))
    ranges = []
    for i, (x, number) in enumerate(places):
        if number in bad:
            before, after = places[max(0, i - 1)][0], places[min(len(places) - 1, i + 1)][0]
            ranges.append(((before + x) / 2, (x + after) / 2))
    return tuple(ranges)


def _histogram(survey: Survey, mean: float | None) -> str:
    total = int(survey.angles.sum())
    if not total:
        return notes(["No pixel has a spectral angle."])
    shares = np.cumsum(survey.angles) / total
    median, high = (ANGLE_STEP * int(np.searchsorted(shares, share)) for share in (0.5, 0.995))
    steps = max(1, math.ceil((high / ANGLE_STEP + 1) / _BARS))
    width = steps * ANGLE_STEP
    counts = survey.angles[: steps * _BARS]
    bars = tuple(
        (i * width, (i + 1) * width, 100 * float(counts[i * steps : (i + 1) * steps].sum()) / total)
        for i in range(math.ceil(len(counts) / steps))
    )
    marks = [(median, f"median {median:.2f}°")]
    if mean is not None:
        marks.append((mean, f"mean {mean:.2f}°"))
    beyond = 100 * (1 - float(counts.sum()) / total)
    caption = f"{beyond:.2g} % of the pixels lie beyond the right edge"
    chart = Chart(
        "spectral angle (degrees)", "pixels (%)", bars=bars, marks=tuple(sorted(marks)), from_zero=True
    )
    return figure(chart.svg(1000, 260), caption, "Histogram of SAM:")


def _spectra(compared: _Compared, points: Sequence[Point]) -> str:
    if not points:
        return notes(["No pixel is valid in all bands of both rasters."])
    figures = [_spectrum(compared, number, point) for number, point in enumerate(points, 1)]
    text = (
        "Pixels fall into thirds by the reference's brightness, its mean over the bands; of each, those with the "
        "least, the median and the greatest spectral angle."
    )
    return notes([text]) + row(figures, 3)


def _spectrum(compared: _Compared, number: int, point: Point) -> str:
    sources: list[tuple[str, Source, str, str]] = [
        ("reference", compared.reference, _REFERENCE, ""),
        ("fused", compared.fused, _FUSED, ""),
    ]
    if compared.upsampled is not None:
        sources.append(("bicubic", compared.upsampled, _BASELINE, "6 4"))
    info = compared.reference.reader.info
    centres = [compared.reference.bands[i] + 1 for i in compared.kept]
    lines = tuple(
        _band_line(name, centres, _pixel(source, point, compared.kept), info, colour, dashes)
        for name, source, colour, dashes in sources
    )
    chart = Chart(
        _band_axis(info), "reflectance" if compared.result.reflectance else "value", lines, from_zero=True
    )
    where = f"row {point.row}, column {point.col}"
    caption = f"{point.brightness}, {point.rank}: {point.sam_deg:.2f}°, {where}"
    return figure(chart.svg(400, 240), caption, f"{number}")


def _pixel(source: Source, point: Point, bands: Sequence[int]) -> list[float]:
    values: NDArray[np.float32] = source.read(Window(point.row, point.col, 1, 1), bands)[:, 0, 0]
    return [float(value) for value in values]


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


def _provenance(compared: _Compared) -> str:
    return table(_provenance_rows(compared))


def _provenance_rows(compared: _Compared) -> Iterator[tuple[str, object]]:
    fused = compared.fused.reader.info
    yield panels.facts("Fused", fused)
    yield panels.facts("Reference", compared.reference.reader.info)
    if compared.upsampled is not None:
        yield panels.facts("LR-HSI", compared.upsampled.reader.info)
    if compared.msi is not None:
        yield panels.facts("HR-MSI", compared.msi.info)
    for key, value in panels.recorded(fused):
        yield f"Fused: {key}", value
