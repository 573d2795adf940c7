"""Charts of an evaluation with a reference: PSNR by band, spectral angles, spectra of typical pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.error_survey import ANGLE_STEP, Point, Survey
from emrdiff_cli.evaluation.band_axis import BandAxis, Span, bands_under
from emrdiff_cli.evaluation.common_ground import Source
from emrdiff_cli.evaluation.comparison import Compared
from emrdiff_cli.fusion.output import DETAIL_TAG
from emrdiff_cli.raster_info import Window
from emrdiff_cli.report.charts import Chart
from emrdiff_cli.report.colour import LINE_COLOURS
from emrdiff_cli.report.page import figure, notes, row

_FUSED, _REFERENCE = LINE_COLOURS[1], LINE_COLOURS[6]
_STYLES = {"fused": (_FUSED, ""), "bicubic": (LINE_COLOURS[0], "6 4"), "kriging": (LINE_COLOURS[2], "2 3")}
_BARS = 60


def psnr_chart(compared: Compared, width: int = 1000, height: int = 300) -> str:
    """PSNR of each band of the fused raster and of what stands beside it; nothing where that was not scored."""
    result, bad = compared.result, compared.bad
    if "psnr_db" not in result.scores.per_band:
        return ""
    axis = BandAxis(compared.reference.reader.info.bands)
    lines = tuple(
        axis.line(
            name,
            {b - 1: v for b, v in zip(scores.bands, scores.per_band["psnr_db"], strict=True)},
            *_STYLES[name],
            absent=bad,
        )
        for name, scores in result.columns().items()
    )
    shaded = tuple(span for band in sorted(bad) for span in axis.spans({band}))
    msi = _msi_spans(compared, axis)
    chart = Chart(axis.label, "PSNR (dB)", lines, shaded=shaded, msi=msi)
    caption = f"peak {result.scores.peak:.6g}" + ("; grey: bad bands and bands left out" if bad else "")
    return figure(
        chart.svg(width, height), caption + ("; blue: the MSI's bands" if msi else ""), "PSNR of each band,"
    )


def _msi_spans(compared: Compared, axis: BandAxis) -> tuple[Span, ...]:
    """What lies under the MSI's bands by the MSI itself, else as the fused raster records it of each band."""
    told = () if compared.msi is None else bands_under(compared.reference.reader.info, compared.msi.info)
    if not told:
        detail = compared.fused.reader.info.band_tags.get(DETAIL_TAG, ())
        pairs = zip(compared.reference.bands, compared.fused.bands, strict=True)
        told = (tuple(band for band, own in pairs if detail and detail[own] == "covered"),)
    return axis.msi_spans(told)


def angle_histogram(survey: Survey, mean: float | None) -> str:
    """The pixels by the angle between their spectra."""
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


def spectra(compared: Compared, points: Sequence[Point]) -> str:
    """Spectra of pixels that were picked, in both rasters and upsampled."""
    if not points:
        return notes(["No pixel is valid in all bands of both rasters."])
    axis = BandAxis(compared.reference.reader.info.bands)
    msi = _msi_spans(compared, axis)
    figures = [_spectrum(compared, axis, msi, number, point) for number, point in enumerate(points, 1)]
    text = (
        "Pixels fall into thirds by the reference's brightness, its mean over the bands; of each, those with the "
        "least, the median and the greatest spectral angle. Bad bands, and those that the air's water takes, are "
        "left open." + (" Blue: the MSI's bands." if msi else "")
    )
    return notes([text]) + row(figures, 3)


def _spectrum(compared: Compared, axis: BandAxis, msi: tuple[Span, ...], number: int, point: Point) -> str:
    sources: list[tuple[str, Source, str, str]] = [
        ("reference", compared.reference, _REFERENCE, ""),
        ("fused", compared.fused, *_STYLES["fused"]),
    ]
    if compared.upsampled is not None:
        sources.append(("bicubic", compared.upsampled, *_STYLES["bicubic"]))
    bands = [compared.reference.bands[i] for i in compared.kept]
    lines = tuple(
        axis.line(
            name,
            dict(zip(bands, _pixel(source, point, compared.kept), strict=True)),
            colour,
            dashes,
            absent=compared.bad,
            air=True,
        )
        for name, source, colour, dashes in sources
    )
    unit = "reflectance" if compared.result.reflectance else "value"
    chart = Chart(axis.label, unit, lines, msi=msi, from_zero=True)
    where = f"row {point.row}, column {point.col}"
    caption = f"{point.brightness}, {point.rank}: {point.sam_deg:.2f}\u00b0, {where}"
    return figure(chart.svg(400, 240), caption, f"{number}")


def _pixel(source: Source, point: Point, bands: Sequence[int]) -> list[float]:
    values: NDArray[np.float32] = source.read(Window(point.row, point.col, 1, 1), bands)[:, 0, 0]
    return [float(value) for value in values]
