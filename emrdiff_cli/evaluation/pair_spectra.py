"""Spectra of a fused raster beside those of its LR-HSI, with their intervals where those are known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.error_survey import BRIGHTNESS
from emrdiff_cli.evaluation.band_axis import BandAxis
from emrdiff_cli.raster.reading import RasterReader
from emrdiff_cli.raster_info import Grid, Window
from emrdiff_cli.report import panels
from emrdiff_cli.report.charts import Area, Chart
from emrdiff_cli.report.colour import LINE_COLOURS
from emrdiff_cli.report.page import figure, notes, row

Field = NDArray[np.float32]

_NINETY = 1.645  # standard deviations on both sides that hold 90 % of a Gaussian


@dataclass(frozen=True)
class SpectraSource:
    """What spectra are read from; `deviations`: the fused raster's standard deviations, None where unknown.

    `under`: the bands of the LR-HSI (0-based) under each of the MSI's.
    """

    lr: RasterReader
    fused: RasterReader
    deviations: RasterReader | None
    under: Sequence[Sequence[int]]


def spectra(source: SpectraSource) -> str:
    """An LR pixel of each class of brightness, and the fused pixels on its ground."""
    lr, fused = source.lr, source.fused
    if lr.info.bands.count != fused.info.bands.count:
        return ""
    pixels = list(_typical_pixels(lr, fused.info.grid))
    figures, places = [], []
    for number, (name, pixel) in enumerate(pixels, 1):
        ground = lr.info.grid.crop(pixel)
        above = _on(fused, ground)
        if above is not None:
            below = lr.read(pixel)[:, 0, 0]
            figures.append(figure(_chart(source, ground, below, above).svg(400, 260), name, f"{number}"))
            places.append(_place(ground, fused.info.grid, f"{number}"))
    if not figures:
        return ""
    where = figure(panels.marked(fused, fused.info.grid, places), "in the fused raster", "Points")
    return notes(_told(source)) + row(figures, 3) + row([where], 3)


def _told(source: SpectraSource) -> Iterator[str]:
    yield (
        "Of each third of the LR-HSI by brightness, the median pixel, and the mean of the fused pixels in it. Bad "
        "bands and those that the air's water takes are left open; blue bands are under those of the HR-MSI."
    )
    if source.deviations is not None:
        yield "Around the fused spectrum the 90 % interval of a single pixel, mean over the pixels."


def _chart(source: SpectraSource, ground: Grid, below: Field, above: Field) -> Chart:
    axis = BandAxis(source.lr.info.bands)
    lines = tuple(
        axis.line(title, dict(enumerate(line.tolist())), colour, dashes, absent=axis.bands.bad, air=True)
        for title, line, colour, dashes in (
            ("LR-HSI", below, LINE_COLOURS[6], ""),
            ("fused, mean", above, LINE_COLOURS[1], "6 4"),
        )
    )
    spread = None if source.deviations is None else _on(source.deviations, ground)
    areas = () if spread is None or len(spread) != len(above) else (_interval(axis, above, _NINETY * spread),)
    return Chart(
        axis.label,
        "reflectance" if source.lr.info.scale_recorded else "value",
        lines,
        msi=axis.msi_spans(source.under),
        areas=areas,
        from_zero=True,
    )


def _interval(axis: BandAxis, middle: Field, half: Field) -> Area:
    low = axis.line("low", dict(enumerate((middle - half).tolist())), "", absent=axis.bands.bad, air=True)
    high = axis.line("high", dict(enumerate((middle + half).tolist())), "", absent=axis.bands.bad, air=True)
    edges = zip(low.points, high.points, strict=True)
    return Area([(x, below, above) for (x, below), (_, above) in edges], LINE_COLOURS[1])


def _on(reader: RasterReader, ground: Grid) -> Field | None:
    """The mean of a raster's pixels on a ground, by band."""
    seen = panels.read_on(reader, range(reader.info.bands.count), ground, (1, 1))
    return None if seen is None else seen[:, 0, 0]


def _typical_pixels(lr: RasterReader, grid: Grid) -> Iterator[tuple[str, Window]]:
    """The LR pixel of median brightness of each third of those wholly on the fused ground."""
    box = panels.box_on(lr.info, grid)
    if box is None or not grid.georeferenced:
        return
    top, left = max(0, math.ceil(box.row - 1e-6)), max(0, math.ceil(box.col - 1e-6))
    bottom = min(lr.info.grid.height, math.floor(box.row + box.height + 1e-6))
    right = min(lr.info.grid.width, math.floor(box.col + box.width + 1e-6))
    if bottom <= top or right <= left:
        return
    cube = lr.read(Window(top, left, bottom - top, right - left))
    brightness = np.where(np.isfinite(cube).all(axis=0), cube.mean(axis=0, dtype=np.float64), np.nan)
    order = np.argsort(brightness, axis=None, kind="stable")[: int(np.isfinite(brightness).sum())]
    for name, members in zip(BRIGHTNESS, np.array_split(order, len(BRIGHTNESS)), strict=True):
        if members.size:
            rows, cols = np.unravel_index(members[len(members) // 2], brightness.shape)
            yield name, Window(top + int(rows), left + int(cols), 1, 1)


def _place(ground: Grid, grid: Grid, name: str) -> panels.Place:
    col, row_ = ~grid.transform @ ground.transform @ (0.5, 0.5)
    return panels.Place(row_ / grid.height, col / grid.width, name)
